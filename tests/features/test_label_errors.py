"""Labels that look wrong: those that the others contradict, and none where nothing can be known."""

import importlib.util

import numpy as np
import pytest

from hf_ssl.features.label_errors import SURE, _doubt, _groups, _held_out, find_label_errors
from hf_ssl.features.probe import fit_probe, one_hot
from hf_ssl.graph.spreading import Graph


def examples(per_class=20, num_classes=4, pool=40, noise=0.15, seed=0):
    """Features around one center per class, the labeled examples first, and the classes of all."""
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.tile(np.arange(num_classes), per_class), np.tile(np.arange(num_classes), pool)])
    features = np.eye(max(num_classes, 16))[truth] + noise * rng.normal(size=(len(truth), max(num_classes, 16)))
    labels = np.where(np.arange(len(truth)) < per_class * num_classes, truth, -1)
    return features.astype(np.float32), labels, truth


def flipped(labels, rows, num_classes):
    """The labels with those of some rows wrong, no class taken for the same other one twice."""
    changed = labels.copy()
    changed[rows] = (changed[rows] + 1 + np.arange(len(rows)) % (num_classes - 1)) % num_classes
    return changed


@pytest.mark.parametrize(("num_classes", "per_class"), [(2, 10), (4, 5), (4, 20), (20, 3)])
def test_wrong_labels_are_found_with_the_right_class_and_no_right_one_is_accused(num_classes, per_class):
    features, labels, truth = examples(per_class, num_classes)
    wrong = [1, 6] if num_classes > 2 else [1]
    found = find_label_errors(features, flipped(labels, wrong, num_classes), num_classes)
    assert sorted(error.row for error in found) == wrong
    assert all(error.suggested == truth[error.row] and error.given != truth[error.row] for error in found)
    assert all(SURE <= error.probability < 1 for error in found)
    assert find_label_errors(features, labels, num_classes) == []


def test_mistakes_that_agree_with_each_other_look_like_classes_that_overlap():
    features, labels, _ = examples()
    labels[[1, 5]] = 2
    assert find_label_errors(features, labels, 4) == []


def test_the_most_suspicious_label_comes_first():
    features, labels, _ = examples()
    found = find_label_errors(features, flipped(labels, [3, 8, 13], 4), 4)
    probabilities = [error.probability for error in found]
    assert len(found) >= 2 and probabilities == sorted(probabilities, reverse=True)


def test_the_order_of_the_rows_does_not_matter():
    features, labels, _ = examples()
    labels = flipped(labels, [3, 8], 4)
    order = np.random.default_rng(1).permutation(len(labels))
    moved = find_label_errors(features[order], labels[order], 4)
    assert sorted(order[error.row] for error in moved) == [3, 8]


@pytest.mark.parametrize(
    ("labels", "num_classes"),
    [
        ([0, 1, 2, 3], 4),  # one label per class: nothing says what a class looks like
        ([0, 0, 0, 0], 1),
        ([0, 0, 0, 0], 3),  # one class alone
        ([-1, -1, -1, -1], 2),
        ([0, -1, 1, -1], 2),
    ],
)
def test_nothing_is_said_where_nothing_can_be_known(labels, num_classes):
    features = np.random.default_rng(0).normal(size=(4, 8))
    assert find_label_errors(features, np.array(labels), num_classes) == []


def test_the_only_label_of_a_class_is_never_accused():
    features, labels, _ = examples(per_class=6)
    labels[np.flatnonzero(labels == 3)[1:]] = -1
    assert find_label_errors(features, labels, 4) == []
    # Nor if it lies in the midst of another class.
    features[labels == 3] = features[labels == 0][0]
    assert find_label_errors(features, labels, 4) == []


def test_labels_that_say_nothing_of_the_features_are_hardly_accused():
    features, labels, _ = examples(per_class=10)
    random = np.where(labels >= 0, np.random.default_rng(0).integers(0, 4, len(labels)), -1)
    assert len(find_label_errors(features, random, 4)) <= 4  # of 40, of which 29 are wrong
    # Exchanged throughout, they agree with each other.
    assert find_label_errors(features, np.where(labels >= 0, (labels + 1) % 4, -1), 4) == []


def test_right_labels_of_classes_that_overlap_are_rarely_accused():
    accused = 0
    for seed in range(10):
        features, labels, _ = examples(per_class=10, noise=0.45, seed=seed)
        accused += len(find_label_errors(features, labels, 4))
    assert accused <= 4  # of 400


def test_a_long_tail_does_not_make_its_head_suspicious():
    features, labels, _ = examples(per_class=40)
    for number, count in ((1, 8), (2, 3), (3, 2)):
        labels[np.flatnonzero(labels == number)[count:]] = -1
    assert find_label_errors(features, labels, 4) == []


def test_an_example_that_could_not_be_read_changes_nothing():
    features, labels, _ = examples()
    labels = flipped(labels, [3], 4)
    features[-1] = np.nan
    assert [error.row for error in find_label_errors(features, labels, 4)] == [3]


def test_many_labels_are_left_out_in_groups():
    given = np.repeat([0, 1, 2], [2_000, 30, 2])
    groups = _groups(given)
    assert [len(np.unique(groups[given == number])) for number in range(3)] == [250, 5, 2]
    assert all(len(np.unique(given[groups == number])) == 1 for number in range(groups.max() + 1))
    features, labels, _ = examples(per_class=150)
    wrong = list(range(0, 60, 7))
    assert sorted(error.row for error in find_label_errors(features, flipped(labels, wrong, 4), 4)) == wrong


def test_a_label_has_no_part_in_what_is_said_of_its_own_example():
    features, labels, _ = examples(per_class=5)
    given = labels[labels >= 0]
    graph, alone = Graph.build(features), np.arange(len(given))
    whole = _held_out(graph, given, alone, np.ones(len(given)), 4)
    for place in (0, 7):
        fewer = labels.copy()
        fewer[place] = -1
        without = graph.propagate(fewer, num_classes=4)[place]
        assert whole[place] == pytest.approx(without, abs=1e-5)
    changed = given.copy()
    changed[0] = 3
    # Only the class that has lost a label weighs differently for itself.
    assert _held_out(graph, changed, alone, np.ones(len(given)), 4)[0].argmax() == 0


def test_doubt_is_bayes_rule_at_the_fitted_share_and_temperature():
    # 38 of 40 labels are certain, two are certainly not: 0.05 of them are wrong, and the temperature stays at 1.
    probabilities = np.full((40, 2), [0.999, 0.001])
    given = np.zeros(40, dtype=int)
    given[:2] = 1
    wrong, tempered = _doubt(probabilities, given)
    assert wrong[:2].min() > 0.95 and wrong[2:].max() < 0.001
    own = tempered[np.arange(40), given]
    share = wrong[0] * own[0] / (wrong[0] * own[0] + (1 - own[0]) * (1 - wrong[0]))
    assert share == pytest.approx(0.05, abs=0.021)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.zeros((3, 2)), [0, 1], "one per row of features, got 2 for 3 rows"),
        (np.zeros((2, 2)), [0, 4], "below num_classes, 3, got 4"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(features, labels, message):
    with pytest.raises(ValueError, match=message):
        find_label_errors(features, np.array(labels), 3)


@pytest.mark.skipif(importlib.util.find_spec("cleanlab") is None, reason="needs cleanlab")
def test_cleanlab_accuses_the_same_labels_where_they_are_clear():
    from cleanlab.filter import find_label_issues

    features, labels, _ = examples()
    labels = flipped(labels, [3, 8], 4)
    given = labels[labels >= 0]
    probabilities = np.zeros((len(given), 4))
    for part in range(5):
        out = np.arange(len(given)) // 4 % 5 == part
        probe = fit_probe(features[: len(given)][~out], one_hot(given[~out], 4))
        probabilities[out] = probe.probabilities(features[: len(given)][out])
    issues = set(np.flatnonzero(find_label_issues(given, probabilities, n_jobs=1)).tolist())
    assert issues and issues <= {error.row for error in find_label_errors(features, labels, 4)} == {3, 8}
