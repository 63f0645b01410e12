"""The document of a run: strict JSON, columns of one length, and what was put in is found."""

import json
import time

import datasets
import numpy as np
import pytest

from hf_ssl.features.label_errors import LabelError
from hf_ssl.report.inspection.gather import gather
from hf_ssl.report.inspection.parts import Part
from hf_ssl.report.inspection.subject import Subject

COLUMNS = {"part", "row", "name", "x", "y", "label", "predicted", "confidence", "disagreement", "change", "foreign"}


def answers(classes, sure, count=3):
    """Probabilities that give each class `sure`, and the others the rest."""
    rows = np.full((len(classes), count), (1 - sure) / (count - 1), dtype=np.float32)
    rows[np.arange(len(classes)), classes] = sure
    return rows


def make_part(first, size, hidden=False):
    """Examples in three groups, with their features; every fifth answer of the first method is wrong."""
    rng = np.random.default_rng(first)
    classes = (first + np.arange(size)) % 3
    features = (np.eye(8)[classes] + 0.2 * rng.normal(size=(size, 8))).astype(np.float32)
    wrong = np.where(np.arange(size) % 5 == 0, (classes + 1) % 3, classes)
    texts = datasets.Dataset.from_dict({"text": [f"text {first + i} of class {c}" for i, c in enumerate(classes)]})
    probabilities = {"probe": answers(wrong, 0.6), "features": answers(classes, 0.9)}
    labels = np.full(size, -1) if hidden else classes
    return Part(size, np.arange(size), labels, texts, features, probabilities)


@pytest.fixture
def subject():
    parts = {"labeled": make_part(0, 24), "pool": make_part(100, 90, hidden=True), "test": make_part(300, 30)}
    rows = [
        {"algorithm": "probe", "test_accuracy": 0.8},
        {"algorithm": "features", "test_accuracy": 1.0, "kept": True},
    ]
    return Subject(
        "run",
        results={"runs": rows, "settings": {"seed": 0}, "versions": {"hf-ssl": "1"}},
        names=["a", "b", "c"],
        modality="text",
        columns=("text",),
        parts=parts,
        methods=["probe", "features"],
        of_pretrained=True,
    )


def test_all_keys_are_there_and_columns_have_one_length(subject):
    found = gather(subject)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    examples = found["examples"]
    assert set(examples) == COLUMNS | {"media"}
    assert {len(column) for name, column in examples.items() if name != "predicted"} == {144}
    assert {name: len(column) for name, column in examples["predicted"].items()} == {"probe": 144, "features": 144}
    assert examples["part"] == [0] * 24 + [1] * 90 + [2] * 30
    assert examples["row"] == [*range(24), *range(90), *range(30)]
    for name in ("x", "y", "confidence", "disagreement", "change", "foreign"):
        assert all(0 <= value <= 1 for value in examples[name]), name


def test_numbers_are_those_of_the_answers(subject):
    examples = gather(subject)["examples"]
    wrong, right = 0, 1  # of the labeled examples the first is wrong by the probe
    assert examples["confidence"][right] == 0.9
    # From 0.2, 0.6, 0.2 to 0.9, 0.05, 0.05, and from 0.6, 0.2, 0.2.
    assert (examples["change"][wrong], examples["change"][right]) == (0.7, 0.3)
    assert examples["disagreement"][wrong] > examples["disagreement"][right] > 0
    assert examples["foreign"][:24] == [0.0] * 24 and max(examples["foreign"]) > 0.8


def test_changes_that_were_counted_win_and_are_of_the_pool(subject):
    subject.changes = np.full(90, 0.25)
    subject.changes[3] = np.nan
    found = gather(subject)
    change = found["examples"]["change"]
    assert change[:24] == [None] * 24 and change[24:28] == [0.25, 0.25, 0.25, None]
    assert any(name == "Change" and "in training" in value for name, value in found["facts"])


def test_the_classes_the_confusion_and_the_calibration_are_those_of_the_kept_method(subject):
    found = gather(subject)
    assert found["classes"] == [{"name": n, "labeled": 8, "predicted": 30, "recall": 1.0} for n in "abc"]
    assert found["confusion"] == {"of": "test", "counts": [[10, 0, 0], [0, 10, 0], [0, 0, 10]]}
    assert found["calibration"]["ece"] == pytest.approx(0.1, abs=1e-4) and found["calibration"]["of"] == "test"
    assert sum(row[2] for row in found["calibration"]["bins"]) == 30
    subject.methods = ["features", "probe"]
    assert gather(subject)["confusion"]["counts"] == [[8, 2, 0], [0, 8, 2], [2, 0, 8]]


def test_without_a_test_set_labels_that_were_held_out_tell(subject):
    del subject.parts["test"]
    classes = np.array([0, 1, 2, 2])
    subject.held_out = Part(4, np.arange(4), classes, probabilities={"features": answers([0, 1, 2, 0], 0.8)})
    found = gather(subject)
    assert found["confusion"] == {"of": "labeled, held out", "counts": [[1, 0, 0], [0, 1, 0], [1, 0, 1]]}
    assert found["calibration"]["of"] == "labeled, held out"
    assert [row["recall"] for row in found["classes"]] == [1.0, 1.0, 0.5]


def test_a_part_of_the_test_set_is_called_one(subject):
    subject.parts["test"].size = 500
    assert gather(subject)["confusion"]["of"] == "test, 30 of 500 examples"


def test_labels_that_looked_wrong_in_training_are_shown_by_their_rows(subject):
    subject.parts["labeled"].positions = np.arange(24) + 10
    subject.label_errors = [LabelError(17, 2, 1, 0.91), LabelError(3, 0, 1, 0.6)]
    assert gather(subject)["label_errors"] == [{"example": 7, "given": 2, "suggested": 1, "probability": 0.91}]


def test_duplicates_are_found_by_features_that_have_not_seen_labels(subject):
    labeled, pool = subject.parts["labeled"], subject.parts["pool"]
    pool.features[5] = pool.features[7] = labeled.features[2]
    assert {"first": 2, "second": 24 + 7, "similarity": 1.0} in gather(subject)["duplicates"]
    subject.of_pretrained = False
    assert gather(subject)["duplicates"] == []


def test_picked_examples_that_stayed_in_the_pool_are_not_listed_as_near_duplicates(subject):
    labeled, pool = subject.parts["labeled"], subject.parts["pool"]
    pool.features[:24] = labeled.features * (1 + 1e-6)
    found = gather(subject)
    assert ["Note", "24 labeled examples are in the pool, too"] in found["facts"]
    assert [pair for pair in found["duplicates"] if pair["second"] in range(24, 48)] == []


def test_every_text_is_shown_if_there_is_room(subject):
    found = gather(subject)
    texts = [found["media"][place]["text"] for place in found["examples"]["media"]]
    assert texts[:2] == ["text 0 of class 0", "text 1 of class 1"] and texts[24] == "text 100 of class 1"


# What is missing of a run -> what the document says, and how many examples there are.
def without_data(subject):
    for part in subject.parts.values():
        part.rows = part.features = None


def without_answers(subject):
    subject.methods = []
    for part in subject.parts.values():
        part.probabilities = {}


def without_test(subject):
    del subject.parts["test"]


def without_anything(subject):
    subject.parts, subject.methods, subject.names = {}, [], []


def with_broken(subject):
    subject.parts["pool"].features[4] = np.nan


MISSING = {
    "data": (without_data, 144, {"duplicates": [], "label_errors": [], "media": []}),
    "answers": (without_answers, 144, {"confusion": None, "calibration": None, "methods": []}),
    "test": (without_test, 114, {"confusion": None, "calibration": None}),
    "anything": (without_anything, 0, {"confusion": None, "classes": [], "media": [], "curves": {}}),
    "a file": (with_broken, 143, {}),
}


@pytest.mark.parametrize(("spoil", "size", "expected"), MISSING.values(), ids=MISSING)
def test_what_is_missing_is_left_out_and_the_rest_is_there(subject, spoil, size, expected):
    spoil(subject)
    found = gather(subject)
    json.dumps(found, allow_nan=False)
    assert {name: found[name] for name in expected} == expected
    assert {len(column) for name, column in found["examples"].items() if name != "predicted"} == {size}
    if spoil is with_broken:
        assert ["Note", "pool: 1 example could not be read and left out"] in found["facts"]


def test_a_large_run_is_sampled_fits_on_a_page_and_is_gathered_in_seconds(subject):
    subject.parts["pool"] = make_part(100, 20_000, hidden=True)
    subject.parts["pool"].rows = subject.parts["pool"].rows.map(lambda row: {"text": row["text"] + " word" * 60})
    start = time.perf_counter()
    found = gather(subject)
    seconds = time.perf_counter() - start
    assert len(found["examples"]["row"]) == 10_000 and found["examples"]["part"].count(1) == 10_000 - 54
    assert len(json.dumps(found)) < 4_500_000 and len(found["media"]) > 5_000
    assert seconds < 60
    assert ["Examples shown", "24 labeled, 9,946 of 20,000 pool, 30 test"] in found["facts"]
