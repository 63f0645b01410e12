"""`hf-ssl train` on what a person has: texts in a CSV and a .txt, folders of images, folders of recordings."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from huggingface_hub import ModelCard

from hf_ssl.cli import main

from tests.helpers.command_data import (
    audio_folders,
    image_folders,
    read_csv,
    save_model,
    texts,
    write_csv,
    write_image,
)
from tests.helpers.tiny_tasks import NAMES, make_texts

QUICK = [
    "--algorithm",
    "fixmatch",
    "--max-steps",
    "4",
    "--per_device_train_batch_size",
    "4",
    "--use_cpu",
    "--disable_tqdm",
    "true",
]
QUICK += ["--save_strategy", "no", "--eval_steps", "0.5"]


@pytest.fixture
def text_run(tmp_path):
    """Arguments of a run on 100 labeled texts and a .txt of unlabeled lines, and its folder."""
    write_csv(tmp_path / "labeled.csv", texts(100, 0))
    write_csv(tmp_path / "test.csv", texts(12, 1))
    (tmp_path / "pool.txt").write_text("\n".join(text for text, _ in texts(40, 2)) + "\n\n")
    data = ["--labeled", str(tmp_path / "labeled.csv"), "--unlabeled", str(tmp_path / "pool.txt")]
    folder = tmp_path / "run"
    return [
        "train",
        "--model",
        save_model("text", tmp_path / "model"),
        *data,
        "--output-dir",
        str(folder),
        *QUICK,
    ], folder


def test_texts_from_a_csv_and_lines_with_the_baseline(text_run, tmp_path, capsys):
    arguments, folder = text_run
    assert (
        main(
            [
                *arguments,
                "--test",
                str(tmp_path / "test.csv"),
                "--baseline",
                "--algorithm-kwargs",
                '{"threshold": 0.3}',
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert "1 empty line left out" in printed and "hf-ssl predict" in printed and "pipeline(" in printed
    results = json.loads((folder / "results.json").read_text())
    supervised, fixmatch = results["runs"]
    assert (supervised["algorithm"], fixmatch["algorithm"]) == ("supervised", "fixmatch")
    assert supervised["mask_ratio"] is None and 0 < fixmatch["mask_ratio"] <= 1
    for row in results["runs"]:
        assert (row["num_labeled"], row["num_unlabeled"], row["steps"], row["best_split"]) == (100, 40, 4, "test")
        assert row["best_accuracy"] >= row["test_accuracy"]
    assert results["settings"]["algorithm_kwargs"] == {"threshold": 0.3}
    assert {"curves.png", "README.md", "config.json", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
    card = ModelCard.load(folder / "README.md")
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.eval_results[0].metric_value == pytest.approx(fixmatch["test_accuracy"], abs=1e-6)
    for name in ("results.json", "README.md"):
        assert str(tmp_path) not in (folder / name).read_text()

    assert (
        main(["predict", str(folder), str(tmp_path / "test.csv"), "--output", str(tmp_path / "p.csv"), "--top-k", "3"])
        == 0
    )
    rows = read_csv(tmp_path / "p.csv")
    assert [row["row"] for row in rows] == [str(i) for i in range(12)]
    assert {row["label"] for row in rows} <= set(NAMES)
    right = np.mean([row["label"] == label for row, (_, label) in zip(rows, texts(12, 1), strict=True)])
    assert right == pytest.approx(fixmatch["test_accuracy"], abs=1e-6)
    for row in rows:
        shown = [float(row[name]) for name in ("probability", "probability_2", "probability_3")]
        assert sum(shown) == pytest.approx(1, abs=3e-4) and shown == sorted(shown, reverse=True)


def test_image_folders_with_a_truncated_file_in_the_pool(tmp_path, capsys):
    folders, run = image_folders(tmp_path / "data"), tmp_path / "run"
    arguments = ["--labeled", folders["labeled"], "--unlabeled", folders["pool"], "--test", folders["test"]]
    arguments += ["--model", save_model("image", tmp_path / "model"), "--output-dir", str(run), *QUICK]
    assert main(["train", *arguments, "--max-steps", "16", "--learning_rate", "1e-2"]) == 0
    assert "1 file, no images, ignored" in capsys.readouterr().out
    (row,) = json.loads((run / "results.json").read_text())["runs"]
    assert (row["num_labeled"], row["num_unlabeled"]) == (15, 13)
    assert row["test_accuracy"] == 1.0
    assert main(["predict", str(run), folders["pool"], "--output", str(tmp_path / "p.csv")]) == 0
    rows = read_csv(tmp_path / "p.csv")
    colors = {row["input"].rsplit("/", 1)[1]: row for row in rows}
    assert "cut.jpg" in colors.pop("cut.jpg")["error"]
    assert [colors[f"{i}.jpg"]["label"] for i in range(12)] == ["blue", "green", "red"] * 4


def test_audio_folders_of_three_formats_and_rates(tmp_path):
    folders, run = audio_folders(tmp_path / "data"), tmp_path / "run"
    arguments = ["--labeled", folders["labeled"], "--unlabeled", folders["pool"], "--test", folders["test"]]
    arguments += ["--model", save_model("audio", tmp_path / "model"), "--output-dir", str(run), *QUICK]
    assert main(["train", *arguments]) == 0
    assert main(["predict", str(run), folders["pool"], "--output", str(tmp_path / "p.csv")]) == 0
    rows = read_csv(tmp_path / "p.csv")
    assert len(rows) == 9 and not any(row["error"] for row in rows)
    # The same tone, whatever the format and rate: the same class.
    assert len({row["label"] for row in rows if row["input"].rsplit("/", 1)[1][0] in "147"}) == 1
    assert {row["label"] for row in rows} <= {"high", "low", "middle"}


def test_image_size_is_saved_with_the_processor(tmp_path):
    from transformers import AutoImageProcessor

    folders, run = image_folders(tmp_path / "data", per_class=1), tmp_path / "run"
    arguments = ["--labeled", folders["labeled"], "--unlabeled", folders["pool"], "--image-size", "12"]
    arguments += ["--model", save_model("image", tmp_path / "model"), "--output-dir", str(run), *QUICK]
    assert main(["train", *arguments, "--max-steps", "1"]) == 0
    size = AutoImageProcessor.from_pretrained(run).size
    assert (size["height"], size["width"]) == (12, 12)


def test_without_a_test_set_it_says_so(text_run, capsys):
    arguments, folder = text_run
    assert main([*arguments, "--max-steps", "1"]) == 0
    assert "Nothing was evaluated" in capsys.readouterr().out
    (row,) = json.loads((folder / "results.json").read_text())["runs"]
    assert row["test_accuracy"] is None and row["best_split"] is None


def test_a_part_of_the_labels_can_be_the_test_set(text_run):
    arguments, folder = text_run
    assert main([*arguments, "--max-steps", "1", "--test-fraction", "0.2"]) == 0
    (row,) = json.loads((folder / "results.json").read_text())["runs"]
    assert row["num_labeled"] == 80 and row["test_accuracy"] is not None


def test_rows_without_a_label_are_the_pool(text_run, tmp_path, capsys):
    arguments, folder = text_run
    rows = [(text, label if i < 10 else "") for i, (text, label) in enumerate(texts(40, 0))]
    write_csv(tmp_path / "labeled.csv", rows)
    arguments = [value for value in arguments if value not in ("--unlabeled", str(tmp_path / "pool.txt"))]
    assert main([*arguments, "--max-steps", "1"]) == 0
    assert "30 rows without a label join the pool" in capsys.readouterr().out
    (row,) = json.loads((folder / "results.json").read_text())["runs"]
    assert (row["num_labeled"], row["num_unlabeled"]) == (10, 30)


def test_test_examples_among_the_labeled_ones_are_warned_of_once(text_run, tmp_path, capsys, monkeypatch):
    arguments, _ = text_run
    warnings = []
    monkeypatch.setattr("hf_ssl.data.duplicates.logger.warning", warnings.append)
    write_csv(tmp_path / "test.csv", [*texts(3, 0), ("never seen before", "red")])
    assert main([*arguments, "--max-steps", "1", "--test", str(tmp_path / "test.csv")]) == 0
    told = [text for text in warnings if "among the labeled ones" in text]
    assert [text.split(" (")[0] for text in told] == [
        "3 of 4 examples of the evaluation dataset are also among the labeled ones"
    ]
    assert "among the labeled" not in capsys.readouterr().out


def test_a_benchmark_task_brings_its_own_data(tmp_path, monkeypatch):
    asked = {}

    def load_task(name, **options):
        asked.update(options, name=name)
        return {"labeled": make_texts(6, 0), "unlabeled": make_texts(12, 1), "test": make_texts(6, 2)}

    monkeypatch.setitem(sys.modules, "hf_ssl.benchmark", SimpleNamespace(load_task=load_task))
    run = tmp_path / "run"
    arguments = ["train", "--task", "ag_news", "--num-labeled", "40", "--source", "mine"]
    arguments += ["--model", save_model("text", tmp_path / "model"), "--output-dir", str(run), *QUICK]
    assert main([*arguments, "--max-steps", "1"]) == 0
    # Without a seed it is the first of the draws that tasks have, and not the seed of other trainings.
    assert asked == {"name": "ag_news", "num_labeled": 40, "source": "mine", "seed": 0}
    assert "| seed | 0 |" in (run / "README.md").read_text()
    results = json.loads((run / "results.json").read_text())
    # The pool's labels are known here, so pseudo-labels could be judged.
    assert results["runs"][0]["num_unlabeled"] == 12 and results["settings"]["labeled"] == "ag_news"


# ---- What can be wrong ----


def wrong_arguments(tmp_path):
    image_model, text_model = (
        save_model("image", tmp_path / "image-model"),
        save_model("text", tmp_path / "text-model"),
    )
    bare = save_model("text", tmp_path / "bare", processor=False)
    rows = str(write_csv(tmp_path / "rows.csv", texts(9, 0)))
    other = str(write_csv(tmp_path / "other.csv", [("a", "purple"), ("b", "red")]))
    nameless = str(write_csv(tmp_path / "nameless.csv", [("a", "b")], header=("body", "kind")))
    (tmp_path / "pool.txt").write_text("a\nb\nc\nd\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.yaml").write_text("- a")
    (tmp_path / "near.yaml").write_text("learning_rat: 1")
    (tmp_path / "type.yaml").write_text("model: m\nmax_steps: many")
    write_image(tmp_path / "used" / "holiday.png", "red")
    pool = ["--unlabeled", str(tmp_path / "pool.txt")]
    return {
        "no model": (["--labeled", rows], "--model is missing"),
        "no labeled data": (["--model", text_model], "--labeled is missing"),
        "no pool": (["--model", text_model, "--labeled", rows], "--unlabeled is missing"),
        "a column that is not there": (
            ["--model", text_model, "--labeled", rows, *pool, "--input_column", "body"],
            "columns are text, label",
        ),
        "no label column": (["--model", text_model, "--labeled", nameless, *pool], "body, kind"),
        "an image model with text": (["--model", image_model, "--labeled", rows, *pool], "texts"),
        "a text model with images": (
            ["--model", text_model, "--labeled", str(tmp_path / "used"), *pool],
            f"must hold texts, because {text_model} is a text model, got images; give texts, or an image model",
        ),
        "labels training never saw": (["--model", text_model, "--labeled", rows, *pool, "--test", other], "'purple'"),
        "an empty folder": (["--model", image_model, "--labeled", str(tmp_path / "empty"), *pool], "is empty"),
        "no tokenizer": (["--model", bare, "--labeled", rows, *pool], "comes without a tokenizer"),
        "no model folder": (["--model", str(tmp_path / "gone"), "--labeled", rows, *pool], "there is no folder"),
        "a folder without model": (
            ["--model", str(tmp_path / "used"), "--labeled", rows, *pool],
            "config.json is missing",
        ),
        "an unknown algorithm": (
            ["--model", "m", "--labeled", rows, "--algorithm", "fixmatc"],
            "unknown algorithm 'fixmatc'",
        ),
        "an unknown option": (["--model", "m", "--learning-rat", "1"], "did you mean --learning"),
        "a recipe that is a list": (["--config", str(tmp_path / "list.yaml")], "must hold options by name"),
        "an unknown key in a recipe": (["--config", str(tmp_path / "near.yaml")], "did you mean learning_rate"),
        "a wrong type in a recipe": (["--config", str(tmp_path / "type.yaml")], "max_steps"),
        "no recipe": (["--config", str(tmp_path / "gone.yaml")], "there is no file"),
        "a task and data": (["--model", text_model, "--task", "imdb", "--labeled", rows], "leave --labeled out"),
        "a task without number": (["--model", text_model, "--task", "imdb"], "--num-labeled is missing"),
        "a fraction out of range": (
            ["--model", text_model, "--labeled", rows, *pool, "--test-fraction", "2"],
            "between 0 and 1",
        ),
        "a fraction too small": (
            ["--model", text_model, "--labeled", rows, *pool, "--test-fraction", "0.1"],
            "--test-fraction 0.1",
        ),
        "both ways to go on": (["--model", "m", "--resume", "--overwrite"], "give only one of them"),
        "a folder in use": (
            ["--model", text_model, "--labeled", rows, *pool, "--output-dir", str(tmp_path / "used")],
            "is not empty",
        ),
        "a folder in use, overwritten": (
            ["--model", text_model, "--labeled", rows, *pool, "--output-dir", str(tmp_path / "used"), "--overwrite"],
            "no earlier run",
        ),
    }


def test_wrong_input_is_one_line_and_status_2(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for case, (arguments, message) in wrong_arguments(tmp_path).items():
        before = {path for path in tmp_path.rglob("*") if "used" not in path.parts}
        assert main(["train", *arguments, "--use_cpu"]) == 2, case
        error = capsys.readouterr().err
        lines = [line for line in error.splitlines() if line.startswith("hf-ssl: error: ")]
        assert len(lines) == 1 and message in lines[0], (case, error)
        assert {path for path in tmp_path.rglob("*") if "used" not in path.parts} == before, case


# ---- An output folder that holds something ----


def test_an_earlier_run_is_kept_resumed_or_replaced(text_run, tmp_path, capsys):
    arguments, folder = text_run
    arguments = [
        *arguments,
        "--test",
        str(tmp_path / "test.csv"),
        "--save_strategy",
        "steps",
        "--save_steps",
        "2",
        "--baseline",
    ]
    assert main(arguments) == 0
    first = json.loads((folder / "results.json").read_text())["runs"]
    assert main(arguments) == 2
    assert "--resume continues the run" in capsys.readouterr().err
    assert main([*arguments, "--resume", "--max-steps", "6"]) == 0
    resumed = json.loads((folder / "results.json").read_text())["runs"]
    # The baseline was finished and is read back; the algorithm goes on from step 4.
    assert resumed[0] == first[0] and resumed[1]["steps"] == 6
    assert main([*arguments, "--overwrite"]) == 0
    assert json.loads((folder / "results.json").read_text())["runs"][1]["steps"] == 4
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-4"]
