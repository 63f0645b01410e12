"""Classes by name through the commands: a checkpoint trained on, evaluated and used for prediction."""

import json

import pytest
from transformers import AutoConfig

from hf_ssl.cli import main

from tests.helpers.command_data import read_csv, save_model, texts, write_csv
from tests.helpers.expert import expert
from tests.helpers.tiny_tasks import NAMES, tokenizer

QUICK = ["--max-steps", "2", "--per_device_train_batch_size", "3", "--use_cpu", "--disable_tqdm", "true"]
QUICK += ["--save_strategy", "no", "--learning_rate", "1e-6", "--lr_scheduler_type", "constant"]


@pytest.fixture
def folder(tmp_path):
    """A checkpoint that is right on every text, labeled.csv, test.csv, and a pool with labels."""
    model = expert()
    model.config.problem_type = "multi_label_classification"
    model.save_pretrained(tmp_path / "expert")
    tokenizer().save_pretrained(tmp_path / "expert")
    write_csv(tmp_path / "labeled.csv", texts(9, 0))
    write_csv(tmp_path / "test.csv", texts(12, 1))
    write_csv(tmp_path / "pool.csv", texts(24, 2))
    return tmp_path


def train(folder, model, *more):
    given = {"model": model, "labeled": "labeled.csv", "unlabeled": "pool.csv", "test": "test.csv"}
    words = [word for name, path in given.items() for word in (f"--{name}", str(folder / path))]
    return main(["train", *words, "--output-dir", str(folder / "run"), *QUICK, *more])


def test_training_goes_on_from_the_classes_of_a_checkpoint(folder):
    """The file's classes are in the order blue, green, red, and those of the checkpoint are red, green, blue."""
    assert train(folder, "expert", "--baseline") == 0
    for row in json.loads((folder / "run" / "results.json").read_text())["runs"]:
        assert row["test_accuracy"] == 1.0
    assert row["pseudo_label_accuracy"] == 1.0
    config = AutoConfig.from_pretrained(folder / "run")
    assert config.id2label == {0: "blue", 1: "green", 2: "red"}
    assert config.problem_type == "single_label_classification"
    table = str(folder / "p.csv")
    assert main(["predict", str(folder / "run"), str(folder / "test.csv"), "--output", table, "--top-k", "3"]) == 0
    for row, (_, name) in zip(read_csv(folder / "p.csv"), texts(12, 1), strict=True):
        assert row["label"] == name
        assert sum(float(row[key]) for key in row if key.startswith("probability")) == pytest.approx(1, abs=3e-4)
    assert main(["evaluate", str(folder / "run"), str(folder / "test.csv"), "--output-dir", str(folder / "e")]) == 0
    assert json.loads((folder / "e" / "evaluation.json").read_text())["metrics"]["accuracy"] == 1.0


# case: labels of the evaluation file for red, green, blue
LABELS = {
    "names": NAMES,
    "names in other case": ["RED", " green", "Blue "],
    "numbers": ["0", "1", "2"],
    "numbers of a table with gaps": ["0.0", "1.0", "2.0"],
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_evaluation_is_by_name(folder, labels):
    rows = [(text, labels[NAMES.index(name)]) for text, name in texts(9, 3)]
    table = write_csv(folder / "other.csv", reversed(rows))
    config = AutoConfig.from_pretrained(folder / "expert")
    config.problem_type = "single_label_classification"
    config.save_pretrained(folder / "expert")
    assert main(["evaluate", str(folder / "expert"), str(table), "--output-dir", str(folder / "e")]) == 0
    assert json.loads((folder / "e" / "evaluation.json").read_text())["metrics"]["accuracy"] == 1.0


def test_classes_of_a_table_keep_their_zeros(folder):
    names = {"red": "010", "green": "001", "blue": "002"}
    for file in ("labeled.csv", "test.csv", "pool.csv"):
        rows = [(row["text"], names[row["label"]]) for row in read_csv(folder / file)]
        write_csv(folder / file, rows)
    assert train(folder, "expert", "--algorithm", "supervised") == 0
    assert AutoConfig.from_pretrained(folder / "run").id2label == {0: "001", 1: "002", 2: "010"}
    card = (folder / "run" / "README.md").read_text()
    assert "001, 002, 010" in card


# case: (name of the file, rows that are added, what the error says)
WRONG = {
    "a labeled row without a text": ("labeled.csv", [("", "red")], "row 10 of {} has a label and no text"),
    "a test row without a text": ("test.csv", [(" ", "red")], "row 13 of the evaluation dataset has no text"),
    "a test row without a label": ("test.csv", [("a leaf", "")], "no label in row 13"),
    "an unknown class": ("test.csv", [("a leaf", "purple")], "has the label 'purple', which is not a class"),
}


@pytest.mark.parametrize(("file", "added", "message"), WRONG.values(), ids=WRONG)
def test_a_row_that_cannot_be_used_is_named_before_training(folder, file, added, message, capsys):
    rows = [(row["text"], row["label"]) for row in read_csv(folder / file)]
    # A row without a label before it: the number is that of the file.
    first = [("the sky", "" if file == "labeled.csv" else "red")]
    write_csv(folder / file, [*first, *rows, *added])
    assert train(folder, "expert") == 2
    out, error = capsys.readouterr()
    assert message.format(folder / file) in error and "{'loss'" not in out
    assert len([line for line in error.splitlines() if line.startswith("hf-ssl: error: ")]) == 1


def test_a_model_that_names_two_classes_alike_cannot_be_measured(folder, capsys):
    model = save_model("text", folder / "twins")
    config = json.loads((folder / "twins" / "config.json").read_text())
    config["id2label"] = {"0": "red", "1": "red", "2": "blue"}
    (folder / "twins" / "config.json").write_text(json.dumps(config))
    assert main(["evaluate", model, str(folder / "test.csv")]) == 2
    assert "must name each of its 3 classes, and each differently" in capsys.readouterr().err
