"""`hf-ssl evaluate`: classes matched by name, and numbers that are those of its own predictions."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

from hf_ssl.cli import main
from hf_ssl.confusion import Confusion
from hf_ssl.report.tables import confusion_text

from tests.helpers.command_data import read_csv, save_model, texts, write_csv, write_image
from tests.helpers.tiny_tasks import NAMES


def named_model(modality, folder, names):
    """A tiny model whose classes have these names."""
    save_model(modality, folder)
    kind = AutoModelForImageClassification if modality == "image" else AutoModelForSequenceClassification
    model = kind.from_pretrained(folder)
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: i for i, name in enumerate(names)}
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def colored(tmp_path):
    """A folder for each of two classes of a model that knows three, in another order."""
    for name in ("red", "blue"):
        for i in range(4):
            write_image(tmp_path / "data" / name / f"{i}.png", name, i)
    (tmp_path / "data" / "red" / "cut.png").write_bytes((tmp_path / "data" / "red" / "0.png").read_bytes()[:50])
    return named_model("image", tmp_path / "model", ["green", "red", "blue"]), str(tmp_path / "data")


def test_classes_are_matched_by_name_and_numbers_are_those_of_the_predictions(colored, tmp_path, capsys):
    model, data = colored
    out = tmp_path / "out"
    assert main(["evaluate", model, data, "--output-dir", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "1 of 9 examples could not be read" in printed and "Confusion matrix" in printed
    rows = [row for row in read_csv(out / "predictions.csv") if not row["error"]]
    content = json.loads((out / "evaluation.json").read_text())
    names = ["green", "red", "blue"]
    counts = np.zeros((3, 3), dtype=int)
    for row in rows:
        assert row["true_label"] == row["input"].split("/")[-2]
        counts[names.index(row["true_label"]), names.index(row["label"])] += 1
    assert content["confusion_matrix"]["counts"] == counts.tolist()
    assert content["examples"] == 8 and content["unreadable"] == 1
    assert content["metrics"]["accuracy"] == pytest.approx(counts.trace() / 8)
    assert content["classes"]["green"] == {"examples": 0, "recall": None}
    assert content["classes"]["red"]["recall"] == pytest.approx(counts[1, 1] / 4)
    with Image.open(out / "confusion_matrix.png") as picture:
        assert picture.size[0] > 300


@pytest.mark.parametrize("kind", ["names", "numbers"])
def test_labels_of_a_table_are_names_or_positions(tmp_path, kind):
    model = named_model("text", tmp_path / "model", NAMES)
    rows = texts(9, 0)
    table = write_csv(
        tmp_path / "t.csv", rows if kind == "names" else [(text, NAMES.index(label)) for text, label in rows]
    )
    assert main(["evaluate", model, str(table), "--output-dir", str(tmp_path / "out")]) == 0
    assert [row["true_label"] for row in read_csv(tmp_path / "out" / "predictions.csv")] == [
        label for _, label in rows
    ]


def test_many_classes_show_the_most_frequent_confusions():
    labels = [*range(16)] * 5 + [3, 3, 7, 7, 7, 7]
    confusion = Confusion.of(np.array([*range(16)] * 5 + [4, 4, 1, 1, 1, 1]), np.array(labels), 16)
    lines = confusion_text(confusion, [f"class {i}" for i in range(16)]).splitlines()
    assert lines[0] == "Most frequent confusions"
    assert [line.split() for line in lines[3:]] == [
        ["class", "7", "class", "1", "4", "of", "9"],
        ["class", "3", "class", "4", "2", "of", "7"],
    ]


WRONG_EVALUATE = {
    "a class the model does not know": ([("a", "purple")], ("text", "label"), "'purple'"),
    "no label column": ([("a", "b")], ("text", "kind"), "name it with --label-column"),
    "a row without label": ([("a", "red"), ("b", "")], ("text", "label"), "row 1 has no label"),
}


@pytest.mark.parametrize(("rows", "header", "message"), WRONG_EVALUATE.values(), ids=WRONG_EVALUATE)
def test_labels_that_do_not_fit_are_one_line(tmp_path, rows, header, message, capsys):
    model = named_model("text", tmp_path / "model", NAMES)
    table = write_csv(tmp_path / "t.csv", rows, header)
    assert main(["evaluate", model, str(table), "--output-dir", str(tmp_path / "out")]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-ssl: error: ")]
    assert len(errors) == 1 and message in errors[0]
    assert not (tmp_path / "out").exists()


def test_texts_that_training_has_cut_are_cut_in_use(tmp_path):
    """Cut to four tokens, most texts lose the last word, which decides: other tokens give other answers."""
    model = save_model("text", tmp_path / "model")
    labeled = write_csv(tmp_path / "labeled.csv", texts(9, 0))
    test = write_csv(tmp_path / "test.csv", texts(60, 2))
    out, seen = tmp_path / "out", tmp_path / "seen"
    data = ["--model", model, "--labeled", str(labeled), "--unlabeled", str(labeled), "--test", str(test)]
    settings = ["--algorithm", "supervised", "--max-length", "4", "--max-steps", "20", "--learning-rate", "0.01"]
    assert main(["train", *data, *settings, "--output-dir", str(out)]) == 0
    (run,) = json.loads((out / "results.json").read_text())["runs"]
    assert main(["evaluate", str(out), str(test), "--output-dir", str(seen)]) == 0
    measured = json.loads((seen / "evaluation.json").read_text())["metrics"]["accuracy"]
    assert measured == pytest.approx(run["test_accuracy"])


def test_an_earlier_evaluation_is_replaced_only_if_told_to(colored, tmp_path, capsys):
    model, data = colored
    out = tmp_path / "out"
    out.mkdir()
    (out / "evaluation.json").write_text("hours of work")
    assert main(["evaluate", model, data, "--output-dir", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "must not hold an evaluation yet" in error and "evaluation.json" in error
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [("evaluation.json", "hours of work")]
    assert main(["evaluate", model, data, "--output-dir", str(out), "--overwrite"]) == 0
    assert json.loads((out / "evaluation.json").read_text())["examples"] == 8


@pytest.mark.parametrize("inside", ["", "out", "red/deeper"])
def test_nothing_is_written_into_a_folder_of_data(colored, capsys, inside):
    model, data = colored
    before = sorted(Path(data).rglob("*"))
    assert main(["evaluate", model, data, "--output-dir", str(Path(data, inside))]) == 2
    assert "--output-dir must be outside the data" in capsys.readouterr().err
    assert sorted(Path(data).rglob("*")) == before
