"""`hf-ssl train` for people who are tired: too little of everything, slips, and a screen that can be read."""

import json
import re
import shutil

import numpy as np
import pytest
import soundfile

from hf_ssl.cli import main

from tests.helpers.command_data import audio_folders, image_folders, save_model, texts, write_csv
from tests.helpers.tiny_tasks import NAMES


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Models of three modalities and data for each; nothing is changed in it."""
    folder = tmp_path_factory.mktemp("shelf")
    for modality in ("text", "image", "audio"):
        save_model(modality, folder / modality)
    rows = texts(12, 3)
    write_csv(folder / "labeled.csv", texts(9, 0))
    write_csv(folder / "test.csv", texts(6, 1))
    write_csv(folder / "pool.csv", texts(10, 2))
    write_csv(folder / "nothing.csv", [])
    write_csv(folder / "one.csv", rows[:1])
    write_csv(folder / "three.csv", rows[:3])
    write_csv(folder / "one class.csv", [rows[0], rows[3]])
    write_csv(folder / "gap.csv", [*rows, (" \u00a0", "red"), ("", "blue")])
    write_csv(folder / "purple.csv", [*rows, ("x", "purple"), ("y", "pink")])
    (folder / "blank.txt").write_text("\n \n")
    image_folders(folder / "images", per_class=1)
    audio_folders(folder / "sounds")
    for part, name in (("images/labeled/red", "a.png"), ("sounds/labeled/low", "a.wav")):
        first, kind = min((folder / part).iterdir()), part.split("/")[0]
        for state in ("whole", "broken"):
            for class_name in ("one", "other"):
                (folder / f"{state} {kind}" / class_name).mkdir(parents=True)
                shutil.copy(first, folder / f"{state} {kind}" / class_name / name)
    (folder / "broken images" / "other" / "a.png").write_text("no picture")
    soundfile.write(folder / "broken sounds" / "other" / "a.wav", np.zeros(0), 16_000)
    return folder


def train(shelf, out, *options, **given):
    """The exit status of a run; `given` has other values for its options, None leaves one out."""
    words = {"model": "text", "labeled": "labeled.csv", "unlabeled": "pool.csv", "test": "test.csv"}
    words = {name: value for name, value in (words | given).items() if value is not None and name != "steps"}
    line = [word for name, value in words.items() for word in (f"--{name}", str(shelf / value))]
    line += ["--algorithm", "fixmatch", "--max-steps", "2", "--per_device_train_batch_size", "4", "--use_cpu"]
    return main(["train", *line, "--output-dir", str(out), "--save_strategy", "no", *options])


# case: (options, other data, what the line says)
REFUSED = {
    "no steps": (["--max-steps", "0"], {}, "max_steps must be at least 1, or -1 for num_train_epochs, got 0"),
    "steps below zero": (["--max-steps", "-5"], {}, "max_steps must be at least 1"),
    "no epochs": (["--max-steps", "-1", "--num_train_epochs", "0"], {}, "num_train_epochs must be above 0, got 0.0"),
    "no steps for auto": (["--max-steps", "0", "--algorithm", "auto"], {}, "max_steps must be at least 1"),
    "no batch": (["--per_device_train_batch_size", "0"], {}, "per_device_train_batch_size must be at least 1, got 0"),
    "a batch below zero": (["--per_device_train_batch_size", "-4"], {}, "must be at least 1, got -4"),
    "no batch to evaluate": (["--per_device_eval_batch_size", "0"], {}, "per_device_eval_batch_size must be at"),
    "no passes": (["--gradient_accumulation_steps", "0"], {}, "gradient_accumulation_steps must be at least 1"),
    "no pool part": (["--unlabeled_batch_ratio", "0"], {}, "unlabeled_batch_ratio must be at least 1, got 0"),
    "a negative rate": (["--lr_scheduler_type", "linear", "--learning_rate", "-1"], {}, "learning_rate must be at"),
    "a negative decay": (["--weight_decay", "-1"], {}, "weight_decay must be at least 0, got -1.0"),
    "evaluation steps below zero": (["--eval_steps", "-1"], {}, "eval_steps must be above 0, got -1.0"),
    "log steps below zero": (["--logging_steps", "-1"], {}, "logging_steps must be above 0, got -1.0"),
    "workers below zero": (["--dataloader_num_workers", "-2"], {}, "dataloader_num_workers must be at least 0"),
    "one label": ([], {"labeled": "one.csv"}, "must have at least two classes, got one class only ('red')"),
    "one class": ([], {"labeled": "one class.csv"}, "must have at least two classes, got one class only ('red')"),
    "no labels": ([], {"labeled": "nothing.csv"}, "nothing.csv has no rows"),
    "no pool": ([], {"unlabeled": "nothing.csv"}, "nothing.csv has no rows"),
    "a blank pool": ([], {"unlabeled": "blank.txt"}, "blank.txt holds no text"),
    "no test": ([], {"test": "nothing.csv"}, "nothing.csv has no rows"),
    "too few to set aside": (
        ["--test-fraction", "0.5"],
        {"labeled": "three.csv", "test": None},
        "of 3 labeled examples must leave each of the 3 classes one to train and one to test, and the smallest is "
        "'blue' with 1",
    ),
    "almost all set aside": (["--test-fraction", "0.99"], {"test": None}, "must leave each of the 3 classes one to"),
    "an empty text in the labels": ([], {"labeled": "gap.csv"}, "row 12 of {shelf}/gap.csv has a label and no text"),
    "an empty text in the test": ([], {"test": "gap.csv"}, "row 12 of the evaluation dataset has no text"),
    "classes that nobody labeled": ([], {"test": "purple.csv"}, "the label 'pink', which is not a class"),
    "a file for a folder": ([], {"out": "one.csv"}, "--output-dir must be a folder, got the file"),
    "a folder in a file": ([], {"out": "one.csv/run"}, "--output-dir must be"),
    "a folder in the data": (
        [],
        {"out": "images/labeled/run", "labeled": "images/labeled"},
        "must be outside the data",
    ),
}
PICTURES = {"model": "image", "labeled": "images/labeled", "unlabeled": "images/pool", "test": "images/test"}
SOUNDS = {"model": "audio", "labeled": "sounds/labeled", "unlabeled": "sounds/pool", "test": "sounds/test"}


@pytest.mark.parametrize(("options", "given", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_trained_is_one_line_and_leaves_nothing(shelf, tmp_path, capsys, options, given, message):
    before = sorted(shelf.rglob("*"))
    out = shelf / given["out"] if "out" in given else tmp_path / "run"
    data = {name: value for name, value in given.items() if name != "out"}
    assert train(shelf, out, *options, **data) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("hf-ssl: warning: ")]
    assert len(errors) == 1 and errors[0].startswith("hf-ssl: error: ")
    assert message.format(shelf=shelf) in errors[0]
    assert sorted(shelf.rglob("*")) == before and not (tmp_path / "run").exists()


@pytest.mark.parametrize("part", ["labeled", "test"])
@pytest.mark.parametrize(("kind", "problem"), [("images", "is not an image"), ("sounds", "holds no samples")])
def test_a_broken_file_of_labels_or_test_is_found_before_training(shelf, tmp_path, capsys, part, kind, problem):
    given = PICTURES if kind == "images" else SOUNDS
    given = {**given, "labeled": f"whole {kind}", "test": f"whole {kind}", part: f"broken {kind}"}
    assert train(shelf, tmp_path / "run", **given) == 2
    out, err = capsys.readouterr()
    (error,) = [line for line in err.splitlines() if line.startswith("hf-ssl: error: ")]
    assert f"broken {kind}/other/a." in error and problem in error and "row 1" in error
    assert "step 1" not in out and not (tmp_path / "run").exists()


# case: (options, other data, numbers of labels, pool and steps)
FEW = {
    "one label per class": ([], {"labeled": "three.csv"}, (3, 10, 2)),
    "a pool of one, smaller than a batch": ([], {"unlabeled": "one.csv"}, (9, 1, 2)),
    "a test of one": ([], {"test": "one.csv"}, (9, 10, 2)),
    "a batch larger than all": (["--per_device_train_batch_size", "64", "--max-steps", "1"], {}, (9, 10, 1)),
    "one epoch, of whole batches": (["--max-steps", "-1", "--num_train_epochs", "1"], {}, (9, 10, 2)),
}


@pytest.mark.parametrize(("options", "given", "numbers"), FEW.values(), ids=FEW)
def test_little_is_enough(shelf, tmp_path, options, given, numbers):
    assert train(shelf, tmp_path / "run", *options, **given) == 0
    (row,) = json.loads((tmp_path / "run" / "results.json").read_text())["runs"]
    assert (row["num_labeled"], row["num_unlabeled"], row["steps"]) == numbers
    assert 0 <= row["test_accuracy"] <= 1


# ---- The screen ----


def on_screen(written):
    """The lines that a terminal shows of what was written: returns, line ends and steps upwards are obeyed."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[A|[\r\n]|[^\r\n\x1b]+", written):
        if part == "\x1b[A":
            row = max(row - 1, 0)
        elif part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        else:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + part + line[column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines if line.strip()]


def test_the_screen_is_obeyed():
    assert on_screen("50%\r100%\nab\x1b[A\rx\n\n") == ["x00%", "ab"]


def test_warnings_have_lines_of_their_own_and_labels_alone_have_no_pool(shelf, tmp_path, capfd):
    assert train(shelf, tmp_path / "run", "--eval_steps", "1") == 0
    out, err = capfd.readouterr()
    lines = on_screen(err)
    assert [line for line in lines if "took part in the last 2 steps" in line and line.startswith("hf-ssl: warning: ")]
    assert all(line.startswith("hf-ssl: warning: ") or "it/s" in line for line in lines)
    assert "pin_memory" not in err and "LOAD REPORT" not in err and "{'" not in out
    assert [line for line in out.splitlines() if line.startswith("fixmatch: step 2 of 2, evaluated: accuracy ")]
    assert f"  classes         {', '.join(f'{name} 3' for name in sorted(NAMES))}" in out


def test_labels_alone_do_not_mention_batches_of_the_pool(shelf, tmp_path, capsys):
    assert train(shelf, tmp_path / "run", "--algorithm", "Supervised") == 0
    block = dict(re.findall(r"^  (\w[\w ]*?)  +(.*)$", capsys.readouterr().out, re.MULTILINE))
    assert block["batch"] == "4 labeled per step (1 device, 1 pass)"
    assert block["steps"] == "2, 0.9 passes over the labeled examples"
    assert block["unlabeled"] == "10 examples, which supervised does not use"


def test_an_error_in_mid_training_has_a_line_of_its_own(shelf, tmp_path, capfd):
    given = dict(PICTURES)
    cut = shelf / "images" / "labeled" / "red" / "9.png"
    # Whole as far as its header.
    cut.write_bytes((shelf / "images" / "labeled" / "red" / "0.png").read_bytes()[:-200])
    try:
        assert train(shelf, tmp_path / "run", "--max-steps", "8", **given) == 2
    finally:
        cut.unlink()
    lines = on_screen(capfd.readouterr().err)
    assert lines[-1].startswith("hf-ssl: error: ") and "9.png" in lines[-1]
