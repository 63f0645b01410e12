"""`hf-ssl predict`: what the pipeline says, in the order of the inputs, broken ones included."""

import csv

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageClassification, pipeline

from hf_ssl.cli import main
from hf_ssl.cli.classifier import Classifier

from tests.helpers.command_data import audio_folders, read_csv, save_model, texts, write_csv, write_image


@pytest.fixture
def pictures(tmp_path):
    """Two good pictures, and between them one that is cut off and one that is not a picture."""
    folder = tmp_path / "pictures"
    write_image(folder / "a.png", "red")
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:60])
    (folder / "c.jpg").write_text("not a picture")
    write_image(folder / "d.jpg", "blue")
    (folder / "notes.md").write_text("x")
    return folder


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_a_broken_file_is_a_row_and_the_others_are_what_the_pipeline_says(tmp_path, pictures, capsys, batch_size):
    model = save_model("image", tmp_path / "model")
    output = tmp_path / "p.csv"
    assert (
        main(
            ["predict", model, str(pictures), "--output", str(output), "--top-k", "3", "--batch-size", str(batch_size)]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert "1 file, no images, ignored" in printed and "2 of 4 inputs could not be read" in printed
    rows = read_csv(output)
    assert [row["input"].rsplit("/", 1)[1] for row in rows] == ["a.png", "b.png", "c.jpg", "d.jpg"]
    assert [bool(row["error"]) for row in rows] == [False, True, True, False]
    classifier = pipeline("image-classification", model, device="cpu")
    for row in (rows[0], rows[3]):
        expected = classifier(Image.open(row["input"]).convert("RGB"), top_k=3)
        shown = [(row[f"label{end}"], float(row[f"probability{end}"])) for end in ("", "_2", "_3")]
        assert [label for label, _ in shown] == [answer["label"] for answer in expected]
        assert [p for _, p in shown] == pytest.approx([answer["score"] for answer in expected], abs=6e-5)
    assert not list(tmp_path.glob("*.tmp*"))


def test_recordings_are_decoded_at_any_rate(tmp_path):
    folder = audio_folders(tmp_path / "data")["pool"]
    assert main(["predict", save_model("audio", tmp_path / "model"), folder, "--output", str(tmp_path / "p.csv")]) == 0
    rows = read_csv(tmp_path / "p.csv")
    by_tone = [
        [float(row["probability"]) for row in rows if int(row["input"].rsplit("/", 1)[1][0]) % 3 == i]
        for i in range(3)
    ]
    # WAV, FLAC and OGG at three rates hold the same three tones.
    assert all(max(values) - min(values) < 0.02 for values in by_tone)


def test_texts_come_from_tables_lines_and_the_command_line(tmp_path, capsys):
    model = save_model("text", tmp_path / "model")
    table = write_csv(tmp_path / "rows.csv", [("the sky", 1), ("", 2)], header=("body", "id"))
    (tmp_path / "lines.txt").write_text("a red rose\n\n")
    inputs = [str(table), str(tmp_path / "lines.txt"), "the sea was blue"]
    assert main(["predict", model, *inputs, "--column", "body"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "1 empty line left out" in lines[0]
    assert [line.split()[0] for line in lines[3:6]] == [str(table), str(table), str(tmp_path / "lines.txt")]
    assert "there is no text" in lines[4]
    assert lines[6].startswith("the sea was blue")


def test_a_table_may_name_files(tmp_path):
    write_image(tmp_path / "a.png", "red")
    table = write_csv(tmp_path / "list.csv", [("a.png", "x"), ("gone.png", "y")], header=("picture", "note"))
    assert (
        main(["predict", save_model("image", tmp_path / "model"), str(table), "--output", str(tmp_path / "p.csv")])
        == 0
    )
    first, second = read_csv(tmp_path / "p.csv")
    assert first["label"] and not first["error"] and "gone.png" in second["error"]


def test_a_pair_of_texts_is_two_columns(tmp_path):
    model = save_model("text", tmp_path / "model")
    answers = list(Classifier(model, device="cpu")([("the sky", "is blue"), ("the sky is blue",)]))
    classifier = pipeline("text-classification", model, device="cpu")
    expected = classifier({"text": "the sky", "text_pair": "is blue"}, top_k=3)
    assert answers[0].probabilities == pytest.approx({row["label"]: row["score"] for row in expected})
    table = write_csv(tmp_path / "p.csv", [("the sky", "is blue")], header=("one", "two"))
    columns = ["--column", "one", "--column", "two"]
    assert main(["predict", model, str(table), *columns, "--output", str(tmp_path / "out.csv")]) == 0
    assert float(read_csv(tmp_path / "out.csv")[0]["probability"]) == pytest.approx(expected[0]["score"], abs=6e-5)


WRONG_PREDICT = {
    "no such file": (["{image}", "gone.png"], "there is no file or folder gone.png"),
    "no such model": (["{tmp}/gone", "gone.png"], "there is no folder"),
    "a folder without model": (["{tmp}/words", "x.png"], "config.json is missing"),
    "a folder without images": (["{image}", "{tmp}/words"], "holds no images"),
    "texts for an image model": (["{image}", "{tmp}/words/lines.txt"], "the model classifies images"),
    "a folder for a text model": (["{text}", "{tmp}/words"], "the model classifies texts"),
    "a column that is not there": (["{text}", "{tmp}/rows.csv", "--column", "body"], "its columns are text, label"),
    "no usable column": (["{image}", "{tmp}/rows.csv"], "name it with --column"),
    "a number that is too small": (
        ["{text}", "{tmp}/rows.csv", "--top-k", "0"],
        "--top-k must be at least 1, or all, got 0",
    ),
    "an output that is no csv": (["{text}", "{tmp}/rows.csv", "--output", "p.xlsx"], "must be a .csv file"),
    "an output in no folder": (
        ["{text}", "{tmp}/rows.csv", "--output", "{tmp}/gone/p.csv"],
        "in an existing folder",
    ),
    "nothing readable": (["{image}", "{tmp}/broken.png"], "none of the 1 input could be read"),
}


@pytest.fixture(scope="module")
def wrong_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrong")
    save_model("image", folder / "image")
    save_model("text", folder / "text")
    (folder / "words").mkdir()
    (folder / "words" / "lines.txt").write_text("one\n")
    (folder / "broken.png").write_bytes(b"\x89PNG")
    write_csv(folder / "rows.csv", texts(3, 0))
    return folder


@pytest.mark.parametrize(("arguments", "message"), WRONG_PREDICT.values(), ids=WRONG_PREDICT)
def test_wrong_input_is_one_line_and_status_2(wrong_folder, arguments, message, capsys):
    names = {"tmp": wrong_folder, "image": wrong_folder / "image", "text": wrong_folder / "text"}
    assert main(["predict", *(argument.format(**names) for argument in arguments)]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-ssl: error: ")]
    assert len(errors) == 1 and message in errors[0]


def test_a_damaged_model_predicts_nothing(tmp_path, pictures, capsys):
    """The largest of NaN probabilities is the first class: no input may get it."""
    model = save_model("image", tmp_path / "model")
    loaded = AutoModelForImageClassification.from_pretrained(model)
    torch.nn.init.constant_(loaded.classifier.weight, float("nan"))
    loaded.save_pretrained(model)
    output = tmp_path / "p.csv"
    assert main(["predict", model, str(pictures / "a.png"), str(pictures / "d.jpg"), "--output", str(output)]) == 2
    assert "the model's scores are NaN" in capsys.readouterr().out
    rows = read_csv(output)
    assert [(row["label"], row["probability"]) for row in rows] == [("", "")] * 2
    assert all("the model's scores are NaN" in row["error"] for row in rows)
    for name in ("red", "blue"):
        write_image(tmp_path / "data" / name / "0.png", name)
    loaded.config.id2label = {0: "red", 1: "green", 2: "blue"}
    loaded.save_pretrained(model)
    assert main(["evaluate", model, str(tmp_path / "data")]) == 2
    assert "accuracy" not in capsys.readouterr().out


FORMULAS = ["=1+2", "+cmd|' /C calc'!A0", "-1+1", "@SUM(A1)", "\t=1", "\r=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_table_runs_nothing_in_a_spreadsheet(text, tmp_path):
    from hf_ssl.report.spreadsheets import write_csv

    write_csv(tmp_path / "a.csv", ["input", "label"], [[text, text], ["cat", "-0.5"]])
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["input", "label"], [f"'{text}", f"'{text}"], ["cat", "-0.5"]]
