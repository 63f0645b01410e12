"""Which kind of problem labels pose, and what they become: one class, several labels, or numbers."""

import re

import datasets
import numpy as np
import pytest

from hf_ssl.data.columns import inspect_data
from hf_ssl.data.doubts import warn_of_doubtful_labels
from hf_ssl.data.prepare import prepare, prepare_pool
from hf_ssl.problem_types import MULTI_LABEL, REGRESSION, SINGLE_LABEL

TEXTS = ["one", "two", "three"]


def table(**columns):
    return datasets.Dataset.from_dict({"text": TEXTS[: len(next(iter(columns.values())))], **columns})


def tags_of(names, rows, column="label"):
    feature = datasets.List(datasets.ClassLabel(names=names))
    return table(**{column: rows}).cast_column(column, feature)


def found_in(dataset, **settings):
    found = inspect_data(dataset, **settings)
    rows = prepare(dataset, found, "labeled")
    prepared = [rows[place][found.label_column] for place in range(len(rows))]
    return found, prepared


# case: (dataset, settings, kind of problem, names, labels)
FORMS = {
    "lists of names": (table(label=[["b", "a"], [], ["b"]]), {}, MULTI_LABEL, ["a", "b"], [[1, 1], [0, 0], [0, 1]]),
    "lists of indices": (
        table(label=[[0, 2], [1], [0]]),
        {},
        MULTI_LABEL,
        ["0", "1", "2"],
        [[1, 0, 1], [0, 1, 0], [1, 0, 0]],
    ),
    "lists of numbers that are names": (
        table(label=[[7], [3, 7], []]),
        {},
        MULTI_LABEL,
        ["3", "7"],
        [[0, 1], [1, 1], [0, 0]],
    ),
    "lists of a ClassLabel": (
        tags_of(["b", "c", "a"], [[2, 0], [0], []]),
        {},
        MULTI_LABEL,
        ["b", "c", "a"],
        [[1, 0, 1], [1, 0, 0], [0, 0, 0]],
    ),
    "a label twice": (table(label=[["a", "a"], ["b"]]), {}, MULTI_LABEL, ["a", "b"], [[1, 0], [0, 1]]),
    "0 or 1 for each label": (
        table(label=[[0, 1, 1], [0, 0, 0]]),
        {},
        MULTI_LABEL,
        ["0", "1", "2"],
        [[0, 1, 1], [0, 0, 0]],
    ),
    "truth values": (table(label=[[True, False], [False, False]]), {}, MULTI_LABEL, ["0", "1"], [[1, 0], [0, 0]]),
    "decimals 0 and 1": (table(label=[[0.0, 1.0], [1.0, 1.0]]), {}, MULTI_LABEL, ["0", "1"], [[0, 1], [1, 1]]),
    "a separator": (
        table(label=["b; a", ";", "b"]),
        {"label_separator": ";"},
        MULTI_LABEL,
        ["a", "b"],
        [[1, 1], [0, 0], [0, 1]],
    ),
    "numbers with a separator": (
        table(label=["0|1", "1"]),
        {"label_separator": "|"},
        MULTI_LABEL,
        ["0", "1"],
        [[1, 1], [0, 1]],
    ),
    "columns of 0 and 1": (
        table(b=[0, 1], a=[1, 1]),
        {"label_columns": ["b", "a"]},
        MULTI_LABEL,
        ["b", "a"],
        [[0, 1], [1, 1]],
    ),
    "columns of texts 0 and 1": (
        table(b=["0", "1"], a=["1.0", "1"]),
        {"label_columns": ["b", "a"]},
        MULTI_LABEL,
        ["b", "a"],
        [[0, 1], [1, 1]],
    ),
    "columns of truth values": (
        table(b=[False, True], a=[True, True]),
        {"label_columns": ["b", "a"]},
        MULTI_LABEL,
        ["b", "a"],
        [[0, 1], [1, 1]],
    ),
    "decimals": (table(label=[0.5, 2.0, -1.0]), {}, REGRESSION, ["label"], [[0.5], [2], [-1]]),
    "more decimals than codes have": (
        datasets.Dataset.from_dict(
            {
                "text": [f"text {row}" for row in range(87)],
                "target": [f"{3 + place / 4}" for place in range(1, 30) for _ in range(3)],
            }
        ),
        {},
        REGRESSION,
        ["target"],
        [[3 + place / 4] for place in range(1, 30) for _ in range(3)],
    ),
    "texts of decimals": (table(target=["0.5", "2", "-1"]), {}, REGRESSION, ["target"], [[0.5], [2], [-1]]),
    "whole numbers that are said to be numbers": (
        table(label=[3, 5, 5]),
        {"problem_type": REGRESSION},
        REGRESSION,
        ["label"],
        [[3], [5], [5]],
    ),
    "columns of numbers": (
        table(x=[0.5, 1.0], y=[3, 4]),
        {"label_columns": ["x", "y"]},
        REGRESSION,
        ["x", "y"],
        [[0.5, 3], [1, 4]],
    ),
    "columns of 0 and 1 that are said to be numbers": (
        table(x=[0, 1], y=[1, 0]),
        {"label_columns": ["x", "y"], "problem_type": REGRESSION},
        REGRESSION,
        ["x", "y"],
        [[0, 1], [1, 0]],
    ),
    "lists of decimals": (
        table(label=[[0.5, 3], [1.0, 4]]),
        {},
        REGRESSION,
        ["label 1", "label 2"],
        [[0.5, 3], [1, 4]],
    ),
    "lists that a model names": (
        table(label=[[0.5, 3], [1.0, 4]]),
        {"model_names": ["x", "y"]},
        REGRESSION,
        ["x", "y"],
        [[0.5, 3], [1, 4]],
    ),
    "lists that a model numbers": (
        table(label=[[0.5, 3], [1.0, 4]]),
        {"model_names": ["0", "1"]},
        REGRESSION,
        ["label 1", "label 2"],
        [[0.5, 3], [1, 4]],
    ),
    "0 or 1 for each label that a model names": (
        table(label=[[0, 1], [1, 1]]),
        {"model_names": ["x", "y"]},
        MULTI_LABEL,
        ["x", "y"],
        [[0, 1], [1, 1]],
    ),
    "one column of several": (
        table(price=[1.5, 2.5]),
        {"label_columns": ["price"]},
        REGRESSION,
        ["price"],
        [[1.5], [2.5]],
    ),
    "whole numbers": (table(label=[1, 5, 1]), {}, SINGLE_LABEL, ["1", "5"], [0, 1, 0]),
    "codes with a point": (
        table(label=["1.1", "1.2", "1.1", "1.2"][:3]),
        {"problem_type": SINGLE_LABEL},
        SINGLE_LABEL,
        ["1.1", "1.2"],
        [0, 1, 0],
    ),
    "versions": (table(label=["1.10", "1.1", "1.2"]), {}, SINGLE_LABEL, ["1.1", "1.10", "1.2"], [1, 0, 2]),
}


@pytest.mark.parametrize(("dataset", "settings", "kind", "names", "labels"), FORMS.values(), ids=FORMS)
def test_the_kind_of_problem_follows_from_the_labels(dataset, settings, kind, names, labels):
    found, prepared = found_in(dataset, **settings)
    assert (found.problem_type, found.label_names, found.labels.tolist()) == (kind, names, labels)
    assert prepared == labels and found.labels.dtype == (np.int64 if kind == SINGLE_LABEL else np.float32)
    assert found.label_columns == tuple(settings.get("label_columns", [found.label_column]))
    counts = {MULTI_LABEL: np.sum(labels, axis=0).tolist(), REGRESSION: None}
    if kind in counts:
        assert (None if found.label_counts is None else found.label_counts.tolist()) == counts[kind]


# case: (labeled, settings, pool, labels of its rows)
POOLS = {
    "names": (table(label=[["a"], ["b"]]), {}, table(label=[["b", "z"], [], None]), [[0, 1], [0, 0], None]),
    "a separator": (
        table(label=["a", "b"]),
        {"label_separator": ","},
        table(label=["b,z", ",", " "]),
        [[0, 1], [0, 0], None],
    ),
    "another order": (tags_of(["a", "b"], [[0], [1]]), {}, tags_of(["b", "a"], [[0], [1]]), [[0, 1], [1, 0]]),
    "0 or 1": (table(label=[[0, 1], [1, 1]]), {}, table(label=[[1, 0], [-1, -1], None]), [[1, 0], None, None]),
    "of another length": (table(label=[[0, 1], [1, 1]]), {}, table(label=[[1, 0], [0, 1, 1]]), [[1, 0], None]),
    "columns": (
        table(a=[0, 1], b=[1, 1]),
        {"label_columns": ["a", "b"]},
        table(a=[1, None], b=[0, 0]),
        [[1, 0], None],
    ),
    "numbers": (table(label=[0.5, 1.0]), {}, table(label=[2.0, None, float("nan")]), [[2], None, None]),
    "no number": (table(label=[0.5, 1.0]), {}, table(label=["2.5", "", "many"]), [[2.5], None, None]),
}


@pytest.mark.parametrize(("labeled", "settings", "pool", "labels"), POOLS.values(), ids=POOLS)
@pytest.mark.parametrize("is_stream", [False, True], ids=["dataset", "stream"])
def test_hidden_labels_of_the_pool_are_kept_and_may_be_missing(labeled, settings, pool, labels, is_stream):
    found = inspect_data(labeled, **settings)
    prepared = prepare_pool(pool.to_iterable_dataset() if is_stream else pool, found, files=False)
    rows = prepared.first(len(labels)) if is_stream else [prepared[place] for place in range(len(pool))]
    assert [row[found.label_column] for row in rows] == labels
    assert found.has_labels(prepared) and not found.has_labels(pool.select_columns(["text"]))


def test_an_evaluation_dataset_has_the_labels_of_the_labeled_one():
    found = inspect_data(table(label=[["a"], ["b"]]))
    other = table(label=[["b", "a"], []])
    for dataset in (other, other.to_iterable_dataset()):
        assert [row["label"] for row in prepare(dataset, found, "test")] == [[1, 1], [0, 0]]
    kept = prepare(other.with_format("torch"), found, "test", as_given=True)
    assert [row["label"] for row in kept] == [[1, 1], [0, 0]]
    found = inspect_data(table(a=[0, 1], b=[1, 1]), label_columns=["a", "b"])
    rows = prepare(table(b=[0, 1], a=[1, 0]).to_iterable_dataset(), found, "test")
    assert [row["labels"] for row in rows] == [[1, 0], [0, 1]]


SEVERAL, NUMBERS = {"problem_type": MULTI_LABEL}, {"problem_type": REGRESSION}
AB = {"label_columns": ["a", "b"]}
# case: (labeled, settings, what the error says)
WRONG = {
    "classes for several labels": (
        table(label=["x", "y"]),
        SEVERAL,
        "must be lists, texts with a label_separator or several label_columns .* got 'x'",
    ),
    "lists for one class": (
        table(label=[[0], [1]]),
        {"problem_type": SINGLE_LABEL},
        "is a list: each example needs one class",
    ),
    "half a class": (table(label=[0.5, 1.0]), {"problem_type": SINGLE_LABEL}, "row 0 .* is 0.5: not a class"),
    "columns for one class": (
        table(a=[0, 1], b=[1, 1]),
        AB | {"problem_type": SINGLE_LABEL},
        "must be one column .* got a, b; name one",
    ),
    "decimals for several labels": (
        table(label=[[0.5, 1.0], [1.0, 0.0]]),
        SEVERAL,
        "must be texts, whole numbers, .* got 0.5 .* set problem_type='regression'",
    ),
    "columns of numbers for several labels": (
        table(a=[0, 3], b=[1, 1]),
        AB | SEVERAL,
        "must hold 0 and 1 .* got 3 in one of a, b",
    ),
    "columns of texts": (
        table(a=[0, 1], b=["x", "1"]),
        AB,
        "must hold 0 and 1, or numbers; in row 0 of column 'b' is 'x': not a number",
    ),
    "columns of 0, 1 and -1": (
        table(a=[0, 1], b=[-1, 1]),
        AB,
        "hold 0, 1 and -1: set problem_type='multi_label_classification' if",
    ),
    "a column that is missing": (
        table(a=[0, 1]),
        AB,
        "label_columns 'b' is not in the labeled dataset; its columns are text, a",
    ),
    "a column twice": (table(a=[0, 1]), {"label_columns": ["a", "a"]}, "must be different columns, got a, a"),
    "both": (
        table(a=[0, 1], b=[1, 1]),
        AB | {"label_column": "a"},
        "label_column must be left out beside label_columns, got 'a'",
    ),
    "a separator for one class": (
        table(label=["x", "y"]),
        {"label_separator": ";", "problem_type": SINGLE_LABEL},
        "label_separator must be left out for problem_type",
    ),
    "a separator for lists": (
        table(label=[["x"], ["y"]]),
        {"label_separator": ";"},
        "label_separator must be left out for lists",
    ),
    "a separator for columns": (
        table(a=[0, 1], b=[1, 1]),
        AB | {"label_separator": ";"},
        "must be left out beside several label_columns",
    ),
    "names as numbers": (table(label=["x", "y"]), NUMBERS, "row 0 .* is 'x': not a number"),
    "class names as numbers": (
        table(label=[0, 1]).cast_column("label", datasets.ClassLabel(names=["x", "y"])),
        NUMBERS,
        "must be numbers .* got the class names",
    ),
    "an infinite number": (table(label=[0.5, float("inf")]), NUMBERS, "row 1 .* is inf: too large"),
    "lists of several lengths": (table(label=[[0.5, 1.0], [1.0]]), {}, "row 1 .* must be a list of 2 numbers, got 1"),
    "a list that is missing": (table(label=[["a"], None]), {}, "no label in row 1 .* got None; .* unlabeled dataset"),
    "a text that is missing": (table(label=["a;b", ""]), {"label_separator": ";"}, "no label in row 1 .* got ''"),
    "a number that is missing": (table(label=[0.5, None]), {}, "no label in row 1 .*got None"),
    "a cell that is missing": (table(a=[0, 1], b=[1, None]), AB, r"no label in row 1 \(column 'b'\), got None"),
    "-1 among 0 and 1": (table(a=[0, 1], b=[1, -1]), AB | SEVERAL, r"no label in row 1 \(column 'b'\), got -1"),
    "an empty entry": (table(label=[["a", None], ["b"]]), {}, r"row 0 .* is \['a', None\] with None in it"),
    "no labels": (
        table(label=[[], []]).cast_column("label", datasets.List(datasets.Value("string"))),
        {},
        "must have examples with labels, got none in column 'label'",
    ),
    "lists of lists": (table(label=[[["a"]], [["b"]]]), {}, "must be lists of texts or of numbers, got lists of List"),
    "a negative index": (table(label=[[0, -3], [1]]), {}, "must be at least 0, got labels from -3"),
}


@pytest.mark.parametrize(("labeled", "settings", "message"), WRONG.values(), ids=WRONG)
def test_labels_that_contradict_the_settings_are_one_line(labeled, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        inspect_data(labeled, **settings)
    assert "\n" not in str(error.value)


def test_labels_of_other_datasets_that_do_not_fit_are_one_line():
    several, number = inspect_data(table(label=[["a"], ["b"]])), inspect_data(table(label=[0.5, 1.0]))
    hot = inspect_data(table(label=[[0, 1], [1, 1]]))
    cases = [
        (several, table(label=[["a"], ["z"]]), "the label 'z', which is not a class of the labeled dataset"),
        (several, table(label=[["a"], None]), "the test dataset has no label in row 1"),
        (several, table(label=["a", "b"]), "row 0 of the test dataset .* is 'a': not a list of labels"),
        (number, table(label=["x", "1"]), "row 0 of the test dataset .* is 'x': not a number"),
        (hot, table(label=[[0, 1], [1, 2]]), r"row 1 of the test dataset .* is \[1, 2\]: not a 0 or 1"),
        (hot, table(label=[[0, 1, 1]]), "row 0 of the test dataset .* must be a list of 2 numbers, got 3"),
        (several, table(text=["a"]), "the test dataset has no column 'label'"),
    ]
    for data, dataset, message in cases:
        with pytest.raises(ValueError, match=message) as error:
            prepare(dataset, data, "test")
        assert "\n" not in str(error.value)
    for data, dataset, message in [(number, table(label=["x"]), "a label of the test dataset is 'x': not a number")]:
        with pytest.raises(ValueError, match=message):
            list(prepare(dataset.to_iterable_dataset(), data, "test"))


def test_label_columns_are_never_the_input():
    rows = datasets.Dataset.from_dict({"sad": ["0", "1"], "glad": ["1", "1"], "comment": ["a", "b"]})
    found = inspect_data(rows, label_columns=["sad", "glad"])
    assert (found.input_columns, found.label_column) == (("comment",), "labels")


# case: (labeled, settings, what is warned of)
DOUBTS = {
    "joined texts": (
        table(label=["cat", "dog", "dog;cat"]),
        {},
        "look like several labels in one text: .* label_separator=';'",
    ),
    "several texts alike": (table(label=[["Cat"], ["cat "], ["dog"]]), {}, "labels that differ only in case"),
    "a label without an example": (
        tags_of(["a", "b", "c"], [[0], [1], []]),
        {},
        "1 of 3 labels have no labeled example",
    ),
    "one number": (table(label=[2.5, 2.5]), {}, "have the same number, so that there is nothing to learn: label"),
    "a separator that is nowhere": (
        table(label=["a", "b"]),
        {"label_separator": "|"},
        "no label .* has the label_separator",
    ),
    "two answers": (
        datasets.Dataset.from_dict({"text": ["one", "one"], "label": [["a", "b"], ["b"]]}),
        {},
        r"more than one set of labels .* row 0 \('a, b'\) and row 1 \('b'\)",
    ),
    "two numbers": (
        datasets.Dataset.from_dict({"text": ["one", "one"], "label": [0.5, 2.0]}),
        {},
        r"more than one number .* row 0 \('0.5'\) and row 1 \('2'\)",
    ),
    "many numbers": (
        datasets.Dataset.from_dict({"text": [f"text {i}" for i in range(40)], "label": [7 * i for i in range(40)]}),
        {},
        "if these are numbers to predict, problem_type='regression'",
    ),
}


@pytest.mark.parametrize(("labeled", "settings", "message"), DOUBTS.values(), ids=DOUBTS)
def test_labels_that_may_not_be_meant_are_warned_of(labeled, settings, message, monkeypatch):
    warned = []
    for module in ("label_forms", "doubts"):
        monkeypatch.setattr(f"hf_ssl.data.{module}.logger.warning_once", warned.append)
    warn_of_doubtful_labels(labeled, inspect_data(labeled, **settings))
    assert len(warned) == 1 and re.search(message, warned[0]) and "\n" not in warned[0]


def test_places_with_commas_are_no_lists(monkeypatch):
    monkeypatch.setattr("hf_ssl.data.doubts.logger.warning_once", pytest.fail)
    labeled = table(label=["Lyon, France", "Paris, France", "Lyon, France"])
    warn_of_doubtful_labels(labeled, inspect_data(labeled))
