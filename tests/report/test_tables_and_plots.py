"""Tables of text and pictures, from numbers that can be checked by eye."""

import numpy as np
import pytest
from PIL import Image

from hf_ssl.confusion import Confusion
from hf_ssl.report.plots import draw_class_recalls, draw_confusion, draw_curves
from hf_ssl.report.tables import class_table, confusion_text, results_table

COUNTS = Confusion(3, np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([3, 1, 2]))


def run(algorithm, accuracy, mask_ratio=None):
    row = {"algorithm": algorithm, "test_accuracy": accuracy, "mask_ratio": mask_ratio}
    return {**row, "pseudo_label_accuracy": None, "seconds": 10.0}


def test_results_are_means_over_seeds_with_their_deviation():
    lines = results_table([run("fixmatch", 0.9, 0.5), run("fixmatch", 0.8, 0.7), run("supervised", 0.5)]).splitlines()
    assert " ".join(lines[0].split()).startswith("algorithm seeds test accuracy seconds per seed mask ratio")
    assert lines[2].split() == ["fixmatch", "2", "85.0", "%", "±", "7.1", "10", "60.0", "%", "±", "14.1", "-"]
    assert lines[3].split() == ["supervised", "1", "50.0", "%", "10", "-", "-"]


def test_balanced_accuracy_has_a_column_if_labels_were_imbalanced():
    lines = results_table([{**run("abc", 0.9), "balanced_accuracy": 0.7}, run("probe", 0.8)]).splitlines()
    assert " ".join(lines[0].split()).startswith("algorithm seeds test accuracy balanced accuracy seconds")
    assert lines[2].split()[:6] == ["abc", "1", "90.0", "%", "70.0", "%"] and lines[3].split()[4:5] == ["-"]


@pytest.mark.parametrize("classes", [2, 10, 200])
def test_recalls_are_drawn_from_the_largest_class_to_the_smallest(classes, tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    bars = []
    monkeypatch.setattr(Axes, "bar", lambda self, x, height, **_: bars.extend(zip(x, height, strict=True)))
    counts = np.random.default_rng(0).permutation(np.geomspace(1000, 2, classes).astype(int))
    recalls = counts / counts.max()
    recalls[counts.argmin()] = np.nan
    draw_class_recalls(tmp_path / "recalls.png", counts, recalls, [f"class {i}" for i in range(classes)])
    drawn = [height for _, height in sorted(bars)]
    known = [height for height in drawn if not np.isnan(height)]
    assert len(drawn) == classes == len(known) + 1
    assert known == sorted(known, reverse=True) and known[0] == 100
    width, height = Image.open(tmp_path / "recalls.png").size
    assert width >= height


def test_a_class_without_examples_or_predictions_has_no_ratio():
    lines = class_table(COUNTS, ["a", "b", "c"]).splitlines()
    assert lines[2].split() == ["a", "4", "75.0", "%", "100.0", "%", "85.7", "%"]
    assert lines[3].split() == ["b", "2", "100.0", "%", "66.7", "%", "80.0", "%"]
    assert lines[4].split() == ["c", "0", "-", "-", "-"]


def test_many_classes_are_shown_by_their_most_frequent_confusions():
    assert confusion_text(COUNTS, ["a", "b", "c"]).splitlines()[3].split() == ["a", "3", "1", "."]
    lines = confusion_text(COUNTS, ["a", "b", "c"], largest=2).splitlines()
    assert [line.split() for line in lines[3:]] == [["a", "b", "1", "of", "4"]]


HISTORIES = {
    "nothing logged": {"fixmatch": [[]]},
    "one seed": {"fixmatch": [[{"step": 1, "eval_accuracy": 0.5}, {"step": 2, "mask_ratio": 0.1}]]},
    "seeds of different lengths": {
        "fixmatch": [[{"step": 1, "eval_accuracy": 0.5}], [{"step": 1, "eval_accuracy": 0.7}]],
        "supervised": [[{"step": 1, "eval_accuracy": 0.4}, {"step": 2, "eval_accuracy": 0.6}], []],
    },
}


@pytest.mark.parametrize("histories", HISTORIES.values(), ids=HISTORIES)
def test_curves_are_drawn_of_what_was_logged(histories, tmp_path):
    draw_curves(tmp_path / "curves.png", histories, "title")
    width, height = Image.open(tmp_path / "curves.png").size
    assert width > height > 100


@pytest.mark.parametrize("classes", [2, 25])
def test_a_confusion_matrix_is_drawn(classes, tmp_path):
    draw_confusion(tmp_path / "matrix.png", np.eye(classes, dtype=int), [str(i) for i in range(classes)])
    assert Image.open(tmp_path / "matrix.png").size[1] > 100
