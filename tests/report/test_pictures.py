"""What pictures say: chance, what a flat mask ratio means, shares per class, and no legend over a curve."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from hf_ssl.calibration import Bin
from hf_ssl.report.plots import draw_confusion, draw_curves, draw_reliability


@pytest.fixture
def figure(monkeypatch):
    """The figures that are saved, laid out as they are drawn."""
    saved: list[Figure] = []
    save = Figure.savefig

    def keep(self, path, **options):
        save(self, path, **options)
        saved.append(self)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


def history(accuracy, mask_ratio):
    rows = [{"step": 10 * place, "eval_accuracy": value} for place, value in enumerate(accuracy, start=1)]
    return rows + [{"step": 10 * place, "mask_ratio": value} for place, value in enumerate(mask_ratio, start=1)]


def legend(axis):
    return [text.get_text().replace("\n", " ") for text in axis.get_legend().get_texts()]


# Accuracies that end in every corner of the panel.
CURVES = {"rising": np.linspace(0.3, 0.95, 9), "falling": np.linspace(0.95, 0.3, 9), "flat": np.full(9, 0.3)}


@pytest.mark.parametrize("accuracy", CURVES.values(), ids=CURVES)
def test_the_legend_is_below_the_panel_and_inside_the_picture(figure, tmp_path, accuracy):
    draw_curves(tmp_path / "c.png", {"fixmatch": [history(accuracy, accuracy)]}, "title", num_classes=4)
    for axis in figure[0].axes:
        panel, box = axis.get_window_extent(), axis.get_legend().get_window_extent()
        assert 0 <= box.y0 < box.y1 < panel.y0


def test_chance_is_drawn_where_it_is(figure, tmp_path):
    histories = {"supervised": [history([0.9, 0.95], [])], "fixmatch": [history([0.9, 0.99], [0.5, 0.6])]}
    draw_curves(tmp_path / "c.png", histories, "title", num_classes=8)
    accuracy, mask_ratio = figure[0].axes
    (chance,) = [line for line in accuracy.get_lines() if line.get_label().startswith("chance")]
    assert set(chance.get_ydata()) == {12.5} and accuracy.get_ylim()[0] <= 12.5
    assert legend(accuracy) == ["supervised: 95.0 %", "fixmatch: 99.0 %", "chance: 12.5 %"]
    assert legend(mask_ratio) == ["fixmatch: 60.0 %"] and mask_ratio.get_ylim()[0] == 0
    assert [line.get_color() for line in accuracy.get_lines()[:2]] == ["#777777", "#0b6fb8"]


OTHER_MEASURES = {
    "eval_map": ([0.4, 0.625], "cap: 62.5 %", "Test mean average precision"),
    "pseudo_label_f1": ([0.4, 0.5], "cap: 50.0 %", "Micro F1 of its pseudo-labels"),
    "eval_mae": ([130.25, 99.5], "cap: 99.5", "Test mean absolute error"),
    "pseudo_label_mae": ([0.004, 0.00312], "cap: 0.00312", "Mean absolute error of its pseudo-labels"),
}


@pytest.mark.parametrize("key", OTHER_MEASURES)
def test_several_labels_and_numbers_have_curves_without_a_level_of_chance(figure, tmp_path, key):
    values, label, title = OTHER_MEASURES[key]
    rows = [{"step": 10 * place, key: value} for place, value in enumerate(values, start=1)]
    draw_curves(tmp_path / "c.png", {"cap": [rows]}, "title", num_classes=8)
    (axis,) = figure[0].axes
    assert (legend(axis), axis.get_title()) == ([label], title)
    # An error may be of any size, and is no share.
    assert all(axis.get_ylim()[0] <= each * (1 if "mae" in key else 100) <= axis.get_ylim()[1] for each in values)
    texts = [axis.yaxis.get_major_formatter()(tick, 0) for tick in axis.get_yticks()]
    assert any("%" in text for text in texts) == ("mae" not in key)


RATIOS = {
    "all": ([1.0, 1.0, 1.0], "fixmatch: 100.0 % (all pseudo-labels used, right or wrong)"),
    "none": ([0.0, 0.0], "fixmatch: 0.0 % (no pseudo-label used)"),
    "all at last": ([0.5, 1.0], "fixmatch: 100.0 %"),
    "some": ([0.0, 0.25], "fixmatch: 25.0 %"),
}


@pytest.mark.parametrize(("ratios", "label"), RATIOS.values(), ids=RATIOS)
def test_a_flat_mask_ratio_is_called_what_it_is(figure, tmp_path, ratios, label):
    draw_curves(tmp_path / "c.png", {"fixmatch": [history([], ratios)]}, "title")
    assert legend(figure[0].axes[0]) == [label]


def test_a_single_point_can_be_seen(figure, tmp_path):
    draw_curves(tmp_path / "c.png", {"fixmatch": [history([0.5], [])]}, "title")
    (line,) = figure[0].axes[0].get_lines()
    assert line.get_marker() == "o" and figure[0].axes[0].get_xlim()[0] == 0


def test_a_confusion_matrix_has_a_title_counts_and_shares(figure, tmp_path):
    draw_confusion(tmp_path / "m.png", np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]]), ["red", "$1 off$", "none\nat all"])
    axis = figure[0].axes[0]
    assert axis.get_title() == "Confusion matrix: 6 examples, 83.3 % right"
    cells = [text.get_text() for text in axis.texts]
    assert cells == ["3\n75 %", "1\n25 %", "", "", "2\n100 %", "", "", "", ""]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["red", r"\$1 off\$", "none at all"]


@pytest.mark.parametrize(("classes", "named", "numbers"), [(13, 13, True), (60, 60, False), (100, 50, False)])
def test_many_classes_stay_legible(figure, tmp_path, classes, named, numbers):
    names = [f"a name that is much too long {number}" for number in range(classes)]
    draw_confusion(tmp_path / "m.png", np.eye(classes, dtype=int), names, title="the hardest")
    axis = figure[0].axes[0]
    labels = [label.get_text() for label in axis.get_xticklabels()]
    assert len(labels) == named and max(map(len, labels)) <= 24
    assert axis.get_title() == "the hardest"
    assert [text.get_text() for text in axis.texts][:1] == (["1"] if numbers else [])
    assert max(figure[0].get_size_inches()) <= 17


@pytest.mark.parametrize("bins", [2, 15])
def test_a_reliability_picture_shows_accuracies_gaps_and_counts(figure, tmp_path, bins):
    empty = [Bin(i / bins, (i + 1) / bins, 0, None, None) for i in range(bins - 1)]
    draw_reliability(tmp_path / "r.png", [*empty, Bin(1 - 1 / bins, 1.0, 40, 0.9, 0.6)])
    left, right = figure[0].axes
    accuracy, gap = left.patches
    assert accuracy.get_height() == pytest.approx(60) and gap.get_height() == pytest.approx(30)
    assert [patch.get_height() for patch in right.patches] == [100]
    assert legend(right) == ["mean confidence: 90.0 %", "accuracy: 60.0 %"]
    assert figure[0]._suptitle.get_text() == "40 answers, expected calibration error 30.0 %"
    for axis in (left, right):
        panel, box = axis.get_window_extent(), axis.get_legend().get_window_extent()
        assert 0 <= box.y0 < box.y1 < panel.y0
