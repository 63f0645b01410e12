"""100,000 classes in the commands: nothing compares each class with every other, or holds a number for each pair."""

import json
import time

import datasets
import numpy as np
import pytest

from hf_ssl.cli.answers import Answer
from hf_ssl.cli.evaluation import compare, shown, write_evaluation
from hf_ssl.cli.evaluation_data import Examples
from hf_ssl.confusion import Confusion
from hf_ssl.data import labels as labels_module
from hf_ssl.data.labels import StreamIndex, find_classes
from hf_ssl.data.sources import load_source
from hf_ssl.metrics import classification_metrics, ranking_metrics

from tests.helpers.command_data import write_image

CLASSES = 100_000
NAMES = [f"class {index:06d}" for index in range(CLASSES)]


def evaluated(truth, guesses, names=NAMES):
    """The evaluation of answers with five classes each: the guess, and the four after it."""
    examples = Examples("data", [f"text {row}" for row in range(len(truth))], np.array(truth), [])
    ranks = [[(guess + k) % len(names) for k in range(5)] for guess in guesses]
    answers = [Answer({names[i]: 0.5 - 0.1 * k for k, i in enumerate(row)}) for row in ranks]
    return compare(examples, answers, names)


def test_an_evaluation_of_100000_classes_has_the_right_numbers_in_bounded_files(tmp_path):
    # 90 right; 6 of class 5 taken for class 4 (5 is then second), 4 of class 9 for class 80,000.
    truth, guesses = [*range(90), *[5] * 6, *[9] * 4], [*range(90), *[4] * 6, *[80_000] * 4]
    evaluation = evaluated(truth, guesses)
    assert evaluation.metrics == pytest.approx(
        {
            "accuracy": 0.9,
            "balanced_accuracy": (88 + 1 / 7 + 1 / 5) / 90,
            "precision": (89 + 1 / 7 + 0) / 91,
            "recall": (88 + 1 / 7 + 1 / 5) / 91,
            "f1": (87 + 2 / 8 + 2 / 8 + 2 / 6) / 91,
            "top5_accuracy": 0.96,
        }
    )
    text = shown(evaluation)
    assert len(text.splitlines()) < 130 and "99,900 more classes, with fewer errors, are not listed" in text
    pairs = text.split("Most frequent confusions")[1].splitlines()[3:]
    assert [line.split() for line in pairs] == [
        ["class", "000005", "class", "000004", "6", "of", "7"],
        ["class", "000009", "class", "080000", "4", "of", "5"],
    ]
    write_evaluation(tmp_path, evaluation)
    content = json.loads((tmp_path / "evaluation.json").read_text())
    assert len(content["classes"]) == 91 and content["classes"][NAMES[5]] == {"examples": 7, "recall": 1 / 7}
    expected = {(NAMES[i], NAMES[i]): 1 for i in range(90)} | {(NAMES[5], NAMES[4]): 6, (NAMES[9], NAMES[80_000]): 4}
    assert {(true, guess): count for true, guess, count in content["confusion_matrix"]["pairs"]} == expected
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 500_000


def test_a_few_classes_keep_the_whole_matrix(tmp_path):
    write_evaluation(tmp_path, evaluated([0, 1, 2, 2], [0, 1, 1, 2], ["a", "b", "c", "d", "e", "f"]))
    content = json.loads((tmp_path / "evaluation.json").read_text())
    counts = np.zeros((6, 6), int)
    counts[0, 0] = counts[1, 1] = counts[2, 1] = counts[2, 2] = 1
    assert content["confusion_matrix"]["counts"] == counts.tolist() and list(content["classes"]) == list("abcdef")


@pytest.mark.parametrize("classes", [3, 6, 40])
def test_ranks_give_the_metrics_of_all_scores(classes):
    rng = np.random.default_rng(classes)
    scores, labels = rng.normal(size=(200, classes)), rng.integers(0, classes, 200)
    ranked = np.argsort(-scores, axis=1)[:, :5]
    assert ranking_metrics(ranked, labels, classes) == pytest.approx(classification_metrics(scores, labels))


def test_counts_of_pairs_are_those_of_the_matrix():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 7, 300), rng.integers(0, 7, 300)
    matrix = np.zeros((7, 7), int)
    for true, guess in zip(labels, predicted, strict=True):
        matrix[true, guess] += 1
    confusion = Confusion.of(predicted, labels, 7)
    assert np.array_equal(confusion.matrix(range(7)), matrix)
    assert np.array_equal(confusion.matrix([5, 2]), matrix[np.ix_([5, 2], [5, 2])])
    assert np.array_equal(confusion.hits, matrix.diagonal())
    assert np.array_equal(confusion.examples, matrix.sum(axis=1))
    assert np.array_equal(confusion.guesses, matrix.sum(axis=0))


def test_the_labels_of_a_stream_are_looked_up_and_not_searched_for(monkeypatch):
    classes = find_classes(NAMES, datasets.Value("string"))
    index = StreamIndex(datasets.Value("string"), classes, "test")
    monkeypatch.setattr(labels_module, "index_labels", None)
    started = time.process_time()
    assert [index(name) for name in NAMES[::-1]] == [*range(CLASSES)][::-1]
    # Looking through all classes for each label takes minutes.
    assert time.process_time() - started < 5


def test_folders_are_classes_by_position(tmp_path):
    names = [f"{index:03d}" for index in range(40)]
    for name in names:
        (tmp_path / name).mkdir()
        write_image(tmp_path / "0.png", "red").rename(tmp_path / name / "0.png")
    dataset = load_source(str(tmp_path), "labeled").dataset
    assert dataset["label"][:] == [*range(40)] and dataset.features["label"].names == names
