"""What a run leaves for a later look: whole, readable from anywhere, and never published."""

import os

import numpy as np
import pytest

from hf_ssl.features.reading import LinearHead, Reading
from hf_ssl.hub.upload import is_published
from hf_ssl.report.inspection.record import (
    MOST,
    PREDICTIONS,
    SOURCES,
    Answers,
    Predictions,
    read_sources,
    sample,
    softmax,
    stage_predictions,
    write_sources,
)


def test_neither_file_nor_the_page_is_ever_published():
    assert not any(map(is_published, (SOURCES, PREDICTIONS, "inspect.html")))


def test_predictions_are_read_back_as_they_were(tmp_path):
    logits = np.random.default_rng(0).normal(size=(5, 3))
    given = Predictions(
        rows={"pool": np.array([1, 4, 6, 7, 9])},
        labels={"pool": np.array([-1, 0, 2, -1, 1])},
        probabilities={"probe": {"pool": softmax(logits)}, "fixmatch": {"pool": softmax(-logits)}},
        changes=np.array([0.5, np.nan, 0.25], dtype=np.float32),
    )
    given.save(tmp_path)
    found = Predictions.load(tmp_path)
    assert found.rows["pool"].tolist() == [1, 4, 6, 7, 9] and found.labels["pool"].tolist() == [-1, 0, 2, -1, 1]
    for method, parts in given.probabilities.items():
        np.testing.assert_allclose(found.probabilities[method]["pool"], parts["pool"], atol=1e-3)
        np.testing.assert_allclose(found.probabilities[method]["pool"].sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(found.changes, given.changes)


def test_nothing_to_say_is_no_file_and_a_damaged_one_is_named(tmp_path):
    Predictions().save(tmp_path)
    assert list(tmp_path.iterdir()) == [] and Predictions.load(tmp_path).rows == {}
    (tmp_path / PREDICTIONS).write_bytes(b"\0" * 40)
    with pytest.raises(ValueError, match=rf"{PREDICTIONS} is damaged .*train again"):
        Predictions.load(tmp_path)


def test_stages_answer_all_parts_and_a_trained_one_the_test_set():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(7, 4)).astype(np.float32)
    test = rng.normal(size=(3, 4)).astype(np.float32)
    reading = Reading(
        features,
        features,
        np.array([0, 1, -1, -1, -1, -1, -1]),
        2,
        pool_rows=np.array([0, 1, 3, 4, 5]),
        hidden_labels=np.array([1, 0, -1, 1, 0]),
        tests={"": (test, test, np.array([0, 1, 1]))},
    )
    head = LinearHead(rng.normal(size=(2, 4)).astype(np.float32), np.zeros(2, dtype=np.float32))
    logits = rng.normal(size=(3, 2))
    held_out = rng.normal(size=(2, 2))
    stages = {"probe": Answers(head, held_out=held_out), "uda": Answers(test=logits, temperature=2.0)}
    found = stage_predictions(reading, stages, np.array([0, 1]))
    assert {part: rows.tolist() for part, rows in found.rows.items()} == {
        "labeled": [0, 1],
        "pool": [0, 1, 3, 4, 5],
        "test": [0, 1, 2],
    }
    assert found.labels["pool"].tolist() == [1, 0, -1, 1, 0] and found.labels["test"].tolist() == [0, 1, 1]
    np.testing.assert_allclose(found.probabilities["probe"]["pool"], softmax(head.logits(features[2:])))
    np.testing.assert_allclose(found.probabilities["probe"]["test"], softmax(head.logits(test)))
    assert list(found.probabilities["uda"]) == ["test"]
    np.testing.assert_allclose(found.probabilities["uda"]["test"], softmax(logits / 2))
    assert found.labels["held_out"].tolist() == [0, 1] and "held_out" not in found.rows
    np.testing.assert_allclose(found.probabilities["probe"]["held_out"], softmax(held_out))


def test_a_sample_is_ascending_without_repetition_and_always_the_same():
    found = sample(3 * MOST)
    assert len(found) == MOST and (np.diff(found) > 0).all() and found.max() < 3 * MOST
    np.testing.assert_array_equal(found, sample(3 * MOST))
    assert 0.3 < (found < 1.5 * MOST).mean() < 0.7


# What was written on the command line -> what is noted, in a folder that holds `data.csv` and a folder `cifar10`.
PLACES = {
    "labeled": ("data.csv", "{here}/data.csv"),
    "unlabeled": ("cifar10@train", "{here}/cifar10@train"),
    "model": ("org/name", "org/name"),
    "test": (None, None),
    "task": ("cifar10", "cifar10"),
    "num_labeled": (40, 40),
}


def test_files_are_found_from_another_folder(tmp_path, monkeypatch):
    (tmp_path / "data.csv").touch()
    (tmp_path / "cifar10").mkdir()
    monkeypatch.chdir(tmp_path)
    write_sources(tmp_path, "train", {name: given for name, (given, _) in PLACES.items()}, verdict="Kept: probe.")
    found = read_sources(tmp_path)
    assert found["verdict"] == "Kept: probe."
    for name, (_, noted) in PLACES.items():
        assert found["arguments"][name] == (noted.format(here=os.getcwd()) if isinstance(noted, str) else noted)


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 2, "arguments": {}}', '{"format": 1}'])
def test_a_record_of_another_kind_is_an_error_that_says_what_to_do(tmp_path, content):
    assert read_sources(tmp_path) is None
    (tmp_path / SOURCES).write_text(content)
    with pytest.raises(ValueError, match=f"{SOURCES}"):
        read_sources(tmp_path)
