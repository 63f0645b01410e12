"""Calibration: known answers, batches that add up, temperatures that are never infinite."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from hf_ssl.calibration import (
    HIGHEST,
    LOWEST,
    RunningCalibration,
    Selected,
    calibration_metrics,
    carry_temperature,
    fit_temperature,
    reliability,
)

# Worked out by hand: ten answers in two bins of fifths, 0.6..0.8 (confidence 0.7, right 3 of 5) and 0.8..1.
HALVES = np.array([[0.7, 0.3]] * 5 + [[0.1, 0.9]] * 5)
LABELS = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1, 0])


def drawn(size, classes, scale, seed=0):
    """Logits, and labels that are drawn from their softmax."""
    rng = np.random.default_rng(seed)
    logits = scale * rng.normal(size=(size, classes))
    labels = (softmax(logits, axis=1).cumsum(axis=1) > rng.random((size, 1))).argmax(axis=1)
    return logits, labels


def test_known_answers():
    found = calibration_metrics(HALVES, LABELS, bins=5)
    assert found["ece"] == pytest.approx(0.5 * abs(0.7 - 0.6) + 0.5 * abs(0.9 - 0.8))
    squares = (6 * 0.3**2 + 4 * 0.7**2 + 8 * 0.1**2 + 2 * 0.9**2) / 10
    assert found["brier"] == pytest.approx(squares)
    logs = 3 * np.log(0.7) + 2 * np.log(0.3) + 4 * np.log(0.9) + np.log(0.1)
    assert found["nll"] == pytest.approx(-logs / 10)
    low, high = reliability(HALVES, LABELS, bins=5)[3:]
    assert low == pytest.approx((0.6, 0.8, 5, 0.7, 0.6)) and high == pytest.approx((0.8, 1.0, 5, 0.9, 0.8))


def test_perfect_answers_and_confident_mistakes_are_the_ends_of_the_scales():
    right, wrong = calibration_metrics(np.eye(3), [0, 1, 2]), calibration_metrics(np.eye(3), [1, 2, 0])
    assert right == {"ece": 0, "brier": 0, "nll": 0}
    assert wrong["ece"] == 1 and wrong["brier"] == 2 and np.isfinite(wrong["nll"]) and wrong["nll"] > 700


def test_bins_are_closed_above_and_empty_ones_have_no_means():
    bins = reliability([[0.5, 0.5], [1.0, 0.0]], [0, 0], bins=4)
    assert [part.count for part in bins] == [0, 1, 0, 1]
    assert bins[0] == (0.0, 0.25, 0, None, None)


@pytest.mark.parametrize("classes", [2, 1000])
def test_batches_add_up_to_the_whole(classes):
    logits, labels = drawn(500, classes, 2.0)
    probabilities = softmax(logits, axis=1)
    running = RunningCalibration()
    for part in np.array_split(np.arange(500), 7):
        running.add(probabilities[part], labels[part])
    assert running.metrics() == pytest.approx(calibration_metrics(probabilities, labels), rel=1e-12)
    assert running.reliability() == reliability(probabilities, labels)
    assert sum(part.count for part in running.reliability()) == running.count == 500


def test_the_most_confident_are_those_that_a_threshold_lets_pass():
    running = RunningCalibration()
    running.add([[0.9, 0.1], [0.8, 0.2], [0.8, 0.2], [0.6, 0.4]], [0, 0, 1, 1])
    assert running.selective([0.25, 0.5, 1.0]) == [
        Selected(0.25, 0.9, 1.0),
        Selected(0.75, 0.8, pytest.approx(2 / 3)),  # as confident as the second
        Selected(1.0, 0.6, 0.5),
    ]


@pytest.mark.parametrize(("classes", "too_sure"), [(2, 3.0), (10, 0.25), (100, 1.0)])
def test_the_temperature_that_logits_were_scaled_by_is_found(classes, too_sure):
    logits, labels = drawn(20_000, classes, 3.0)
    assert fit_temperature(too_sure * logits, labels) == pytest.approx(too_sure, rel=0.04)


@pytest.mark.parametrize(("gap", "right"), [(2.0, 3), (0.5, 3), (40.0, 9)])
def test_the_temperature_of_equal_gaps_has_a_closed_form(gap, right):
    logits, labels = np.array([[gap, 0.0]] * (right + 1)), [0] * right + [1]
    assert fit_temperature(logits, labels) == pytest.approx(gap / np.log(right), rel=1e-4)
    assert fit_temperature(log_softmax(logits, axis=1), labels) == pytest.approx(gap / np.log(right), rel=1e-4)


@pytest.mark.parametrize("count", [1, 40])
def test_labels_that_are_all_right_make_a_model_as_sure_as_laplace_would(count):
    logits = np.array([[5.0, 0.0]] * count)
    confidence = softmax(logits / fit_temperature(logits, [0] * count), axis=1)[0, 0]
    assert confidence == pytest.approx((count + 1) / (count + 2), abs=1e-4)


@pytest.mark.parametrize("scale", [0.4, 1.0, 5.0])
def test_a_model_is_made_as_sure_as_one_that_differs_by_a_factor(scale):
    logits, _ = drawn(300, 4, 2.0)
    assert carry_temperature(scale * logits, softmax(logits, axis=1)) == pytest.approx(scale, rel=1e-3)


def test_a_model_that_contradicts_the_other_one_is_made_unsure():
    logits, _ = drawn(300, 4, 2.0)
    assert carry_temperature(logits, softmax(-logits, axis=1)) == HIGHEST


EDGES = {
    "labels that speak against the logits": ([[1.0, 0.0]] * 3, [1, 1, 1], HIGHEST),
    "no differences": ([[1.0, 1.0]] * 3, [0, 1, 1], None),
    "a class that is ruled out": ([[1.0, 0.0, -np.inf]] * 4, [0, 0, 0, 1], 1 / np.log(3)),
    "tiny logits": ([[1e-9, 0.0]] * 4, [0, 0, 0, 1], LOWEST),
}


@pytest.mark.parametrize(("logits", "labels", "expected"), EDGES.values(), ids=EDGES)
def test_a_temperature_is_always_a_number_within_its_bounds(logits, labels, expected):
    found = fit_temperature(logits, labels)
    assert LOWEST <= found <= HIGHEST and (expected is None or found == pytest.approx(expected, rel=1e-4))


WRONG = {
    "logits instead": (calibration_metrics, ([[2.0, -1.0]], [0]), "take the softmax"),
    "sums": (calibration_metrics, ([[0.9, 0.9]], [0]), "sums up to 1.8"),
    "shapes": (calibration_metrics, ([[0.9, 0.1]], [0, 1]), r"got \(1, 2\) and \(2,\)"),
    "unlabeled": (calibration_metrics, ([[0.9, 0.1]], [-1]), "leave unlabeled rows out"),
    "floats": (calibration_metrics, ([[0.9, 0.1]], [0.0]), "integers, got float64"),
    "nan": (calibration_metrics, ([[np.nan, 0.1]], [0]), "NaN or infinity in 1 of 1 rows"),
    "none": (calibration_metrics, (np.empty((0, 2)), np.empty(0, int)), "at least one answer"),
    "no logits": (fit_temperature, (np.empty((0, 2)), np.empty(0, int)), "at least one example"),
    "one class": (fit_temperature, ([[1.0]], [0]), "at least 2 classes"),
    "other examples": (carry_temperature, ([[1.0, 0.0]], [[0.5, 0.5, 0.0]]), "of the same rows"),
    "infinite": (fit_temperature, ([[np.inf, 0.0]], [0]), "NaN or infinity in 1 of 1 rows"),
}


@pytest.mark.parametrize(("function", "given", "message"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_one_line(function, given, message):
    with pytest.raises(ValueError, match=message) as error:
        function(*given)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        reliability(HALVES, LABELS, bins=0)
    running = RunningCalibration()
    running.add(HALVES, LABELS)
    with pytest.raises(ValueError, match=r"shares must be in \(0, 1\], got 0"):
        running.selective([0])
