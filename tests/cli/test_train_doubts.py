"""What `hf-ssl train` says of labels and test examples before it trains, and the files that name them."""

from types import SimpleNamespace

import datasets
import numpy as np
import pytest

from hf_ssl.cli.train_doubts import LABEL_ERRORS, NEAR_DUPLICATES, report_doubts
from hf_ssl.cli.train_resume import prepare_folder
from hf_ssl.features.reading import Reading
from hf_ssl.hub.upload import is_published

from tests.helpers.command_data import read_csv

NAMES = ["cat", "dog", "eel"]


def run(wrong=(), test_copies=0, contradicting=False, columns=("text",)):
    """A trainer and the features of its 30 labeled texts, 90 texts of the pool, and 30 test texts."""
    rng = np.random.default_rng(0)
    truth = np.tile(np.arange(3), 50)
    features = (np.eye(16)[truth] + 0.15 * rng.normal(size=(150, 16))).astype(np.float32)
    labels = np.where(np.arange(150) < 30, truth, -1)
    labels[list(wrong)] = (labels[list(wrong)] + 1) % 3
    labeled = [{"text": f"=text {row}", "label": int(labels[row])} for row in range(30)]
    test = [{"text": f"test {row}", "label": int(truth[120 + row])} for row in range(30)]
    for row in range(test_copies):
        features[120 + row] = features[row] + 0.001 * row
        test[row]["text"] = "=text 0" if row == 0 else test[row]["text"]
    if contradicting:
        features[29] = features[27]
    tests = {"": (features[120:], features[120:], truth[120:])}
    reading = Reading(features[:120], features[:120], labels[:120], 3, np.arange(90), tests=tests)
    data = SimpleNamespace(modality="text", input_columns=columns, label_names=NAMES)
    sets = {"train_dataset": datasets.Dataset.from_list(labeled), "eval_dataset": datasets.Dataset.from_list(test)}
    return SimpleNamespace(data=data, **sets), reading


def test_nothing_is_printed_or_written_if_nothing_looks_wrong(tmp_path, capsys):
    report_doubts(*run(), tmp_path)
    assert capsys.readouterr().out == "" and list(tmp_path.iterdir()) == []


def test_wrong_labels_are_counted_in_a_line_and_named_in_a_file(tmp_path, capsys):
    folder = tmp_path / "run"  # not there yet
    report_doubts(*run(wrong=[4, 17]), folder)
    assert capsys.readouterr().out == f"2 of your 30 labels look wrong: {folder / LABEL_ERRORS}\n"
    rows = sorted(read_csv(folder / LABEL_ERRORS), key=lambda row: int(row["row"]))
    assert [(row["row"], row["label"], row["suggested"]) for row in rows] == [
        ("4", "eel", "dog"),
        ("17", "cat", "eel"),
    ]
    assert rows[0]["text"] == "'=text 4"  # which no spreadsheet runs
    assert all(0.6 <= float(row["probability"]) <= 1 for row in rows)
    assert [path.name for path in folder.iterdir()] == [LABEL_ERRORS]


def test_one_label_looks_wrong(tmp_path, capsys):
    report_doubts(*run(wrong=[4]), tmp_path)
    assert capsys.readouterr().out.startswith("1 of your 30 labels looks wrong: ")


def test_test_examples_that_are_labeled_ones_are_said_to_be_identical_or_nearly_so(tmp_path, capsys):
    report_doubts(*run(test_copies=2), tmp_path)
    path = tmp_path / NEAR_DUPLICATES
    assert capsys.readouterr().out == f"2 of the 30 test examples are labeled ones, or nearly so: {path}\n"
    rows = sorted(read_csv(path), key=lambda row: row["row"])
    assert [(row["set"], row["row"], row["labeled row"]) for row in rows] == [("test", "0", "0"), ("test", "1", "1")]
    assert [row["identical"] for row in rows] == ["yes", "no"] and float(rows[1]["similarity"]) > 0.99
    assert rows[1]["text"] == "test 1" and rows[1]["its label"] == "dog"


def test_labeled_examples_that_are_nearly_the_same_contradict_each_other(tmp_path, capsys):
    report_doubts(*run(contradicting=True), tmp_path)
    line = f"1 pair of labeled examples is nearly the same and differently labeled: {tmp_path / NEAR_DUPLICATES}\n"
    assert line in capsys.readouterr().out
    (row,) = read_csv(tmp_path / NEAR_DUPLICATES)
    assert (row["set"], row["row"], row["label"], row["labeled row"], row["its label"]) == (
        "labeled",
        "27",
        "cat",
        "29",
        "eel",
    )


def test_rows_of_model_inputs_have_no_content_to_show(tmp_path):
    report_doubts(*run(wrong=[4], test_copies=1, columns=()), tmp_path)
    assert list(read_csv(tmp_path / LABEL_ERRORS)[0]) == ["row", "label", "suggested", "probability"]
    assert read_csv(tmp_path / NEAR_DUPLICATES)[0]["identical"] == "no"


def test_a_run_that_finds_nothing_leaves_no_file_of_an_earlier_one(tmp_path):
    report_doubts(*run(wrong=[4], test_copies=1), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {LABEL_ERRORS, NEAR_DUPLICATES}
    report_doubts(*run(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_overwrite_deletes_the_files_and_no_push_takes_them(tmp_path):
    for name in ("results.json", LABEL_ERRORS, NEAR_DUPLICATES):
        (tmp_path / name).write_text("{}")
    prepare_folder(tmp_path, resume=False, overwrite=True)
    assert list(tmp_path.iterdir()) == []
    assert not is_published(LABEL_ERRORS) and not is_published(NEAR_DUPLICATES)


def test_sets_of_very_many_labels_are_not_looked_at(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hf_ssl.cli.train_doubts._MOST", 29)
    report_doubts(*run(wrong=[4]), tmp_path)
    assert capsys.readouterr().out == ""


def test_a_file_that_cannot_be_written_is_an_error_in_a_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match=LABEL_ERRORS):
        report_doubts(*run(wrong=[4]), tmp_path)
