"""Which class a label means: in the labeled dataset, in others, in the pool, and in a stream."""

import re

import datasets
import pytest

from hf_ssl.data.columns import inspect_data
from hf_ssl.data.doubts import warn_of_doubtful_labels
from hf_ssl.data.labels import UNKNOWN, Classes, as_number, index_labels
from hf_ssl.data.prepare import empty_row, prepare, prepare_evaluation, prepare_pool

WORDS = [f"text {i}" for i in range(12)]


def rows(labels, names=None, **columns):
    """A table with these labels; of a ClassLabel if there are names."""
    dataset = datasets.Dataset.from_dict({"text": WORDS[: len(labels)], "label": labels, **columns})
    if names is None:
        return dataset
    feature = datasets.ClassLabel(names=names)
    return datasets.Dataset.from_dict(
        {"text": WORDS[: len(labels)], "label": labels},
        features=datasets.Features({"text": datasets.Value("string"), "label": feature}),
    )


def mixed(labels):
    """As `datasets` reads a JSON file whose cells are of several types."""
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.Json()})
    return datasets.Dataset.from_dict({"text": WORDS[: len(labels)], "label": labels}, features=features)


def labels_of(dataset):
    return [dataset[i]["label"] for i in range(len(dataset))]


@pytest.fixture
def warned(monkeypatch):
    found = []
    for module in ("labels", "doubts", "columns"):
        monkeypatch.setattr(f"hf_ssl.data.{module}.logger.warning_once", found.append)
    return found


# ---- The labeled dataset ----

# case: (labels, names of the model's classes, names, indices)
CLASSES = {
    "texts of numbers are in the order of the numbers": (["10", "9", "9"], None, ["9", "10"], [1, 0, 0]),
    "texts of numbers that are indices": (["2", "0", "1"], None, ["0", "1", "2"], [2, 0, 1]),
    "indices into a model's classes": (["1", "0", "1"], ["neg", "pos"], ["neg", "pos"], [1, 0, 1]),
    "leading zeros": (["001", "010", "002"], None, ["001", "002", "010"], [0, 2, 1]),
    "decimals": (["1.10", "1.1", "1e3"], None, ["1.1", "1.10", "1e3"], [1, 0, 2]),
    "minus one as a text": (["-1", "1", "0"], None, ["-1", "0", "1"], [0, 2, 1]),
    "numbers that name a model's classes": ([1, 2, 1], ["3", "2", "1"], ["3", "2", "1"], [2, 1, 2]),
    "a model's spelling": (["neg", "pos", "neg"], ["POS", "NEG"], ["pos", "neg"], [1, 0, 1]),
}


@pytest.mark.parametrize(("labels", "model_names", "names", "indices"), CLASSES.values(), ids=CLASSES)
def test_labels_are_classes_by_what_they_say(labels, model_names, names, indices):
    found = inspect_data(rows(labels), model_names=model_names)
    assert (found.label_names, found.labels.tolist()) == (names, indices)
    assert [int(label) for label in labels_of(prepare(rows(labels), found, "labeled"))] == indices


@pytest.mark.parametrize(
    ("labels", "names", "indices"),
    [(["a", 1, "a", 2], ["1", "2", "a"], [2, 0, 2, 1]), ([1, "1", "b", 1], ["1", "b"], [0, 0, 1, 0])],
    ids=["texts and numbers", "a number as text and as number"],
)
def test_labels_of_several_types_are_texts(labels, names, indices):
    found = inspect_data(mixed(labels))
    assert (found.label_names, found.labels.tolist()) == (names, indices)
    assert labels_of(prepare(mixed(labels), found, "labeled")) == indices
    assert labels_of(prepare(mixed(labels), found, "unlabeled", label=False)) == indices


def test_the_order_of_a_classlabel_is_kept_whatever_the_order_of_the_model():
    found = inspect_data(rows([0, 1, 2], ["b", "c", "a"]), model_names=["a", "b", "c"])
    assert (found.label_names, found.labels.tolist()) == (["b", "c", "a"], [0, 1, 2])


# case: (dataset, what the error says)
NO_CLASSES = {
    "-1": (rows([0, 1, -1, 0]), r"no label in row 2 \(column 'label'\), got -1; .* write the classes as texts"),
    "-1 in a table with gaps": (rows([0.0, 1.0, -1.0]), "no label in row 2 .*got -1"),
    "-1 of a ClassLabel": (rows([0, -1], ["a", "b"]), "no label in row 1 .*got -1"),
    "an empty text": (rows(["a", "b", ""]), "no label in row 2 .*got ''"),
    "a blank text": (rows(["a", "  ", "b"]), "no label in row 1 .*got '  '"),
    "None": (rows(["a", None, "b"]), "no label in row 1 .*got None"),
    "NaN": (rows([1.0, float("nan"), 2.0]), "no label in row 1 .*got nan"),
    "true beside 1": (mixed([True, 1, "a"]), "must all be true or false, or all be numbers, got both"),
    "numbers that a float cannot hold": (
        rows([12345678901234568.0, 12345678901234569.0]),
        "row 0 .* is 1.2345678901234568e.16, which is too large to be exact .* as texts",
    ),
    "half a class": (mixed([0.5, "a"]), "row 0 .* is 0.5: not a class, which must be a text or a whole number"),
}


@pytest.mark.parametrize(("dataset", "message"), NO_CLASSES.values(), ids=NO_CLASSES)
def test_a_labeled_row_without_a_class_is_named(dataset, message):
    with pytest.raises(ValueError, match=message) as error:
        inspect_data(dataset)
    assert "\n" not in str(error.value)


def test_classes_that_are_alike_are_warned_of_with_their_counts(warned):
    dataset = rows(["neg", "NEG", "pos ", "neg", "pos", "other"])
    warn_of_doubtful_labels(dataset, inspect_data(dataset))
    (line,) = warned
    assert "'NEG' (1) and 'neg' (2), 'pos' (1) and 'pos ' (1); they are trained as different classes" in line


# case: (labels, names of a ClassLabel, whether they may be another column's)
MANY = {
    "texts": ([f"text {number}" for number in range(20)], None, True),
    "numbers of rows": ([*range(20), *range(8)], None, True),
    "two of each": ([*range(20)] * 2, None, False),
    "one of each of a few": ([f"text {number}" for number in range(19)], None, False),
    "folders": ([*range(20)], [f"folder {number}" for number in range(20)], False),
}


@pytest.mark.parametrize(("labels", "names", "warns"), MANY.values(), ids=MANY)
def test_almost_as_many_classes_as_examples_are_doubted(warned, labels, names, warns):
    dataset = datasets.Dataset.from_dict({"text": [f"word {i}" for i in range(len(labels))], "label": labels})
    if names:
        dataset = dataset.cast_column("label", datasets.ClassLabel(names=names))
    warn_of_doubtful_labels(dataset, inspect_data(dataset))
    assert [f"{len(labels)} labeled examples have 20 classes in column 'label'" in line for line in warned] == [
        True
    ] * warns


# case: (labels of the test set, what is said of them)
UNTESTED = {
    "all classes": (["a", "b", "c"], None),
    "one is missing": (["a", "c", "c"], "has no example of 1 of 3 classes, so that nothing is measured of them: b"),
    "one alone": (["a"], "has no example of 2 of 3 classes, so that nothing is measured of them: b, c"),
    "in another spelling": (["A", "B ", "c"], None),
}


@pytest.mark.parametrize(("labels", "said"), UNTESTED.values(), ids=UNTESTED)
def test_classes_that_a_test_set_does_not_measure_are_named(warned, monkeypatch, labels, said):
    monkeypatch.setattr("hf_ssl.data.prepare.logger.warning_once", warned.append)
    data = inspect_data(rows(["a", "b", "c"]))
    for what in ("labeled", "evaluation"):
        prepare(rows(labels), data, what)
    found = [line for line in warned if "is measured" in line]
    assert found == ([] if said is None else [f"the evaluation dataset {said}"])


def test_all_classes_that_nobody_labeled_are_named():
    with pytest.raises(
        ValueError, match=r"the label 'd', which is not a class .* \(nor are 'e', 'f'\); its classes are a"
    ):
        prepare(rows(["a", "f", "d", "e"]), inspect_data(rows(["a", "b", "a"])), "evaluation")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"text": ["a", "b", "a", "c", "a"]}, "1 text has more than one class .* row 0 .'x'. and row 2 .'y'.: 'a'"),
        ({"premise": ["a"] * 5, "hypothesis": ["b", "c", "b", "d", "e"]}, "1 text has .* row 0 .* and row 2"),
        ({"premise": ["a"] * 5, "hypothesis": ["b", "c", "d", "e", "f"]}, None),
        ({"text": ["a", "b", "c", "a", "b"]}, None),
    ],
    ids=["a text", "a pair", "pairs with one text in common", "the same class again"],
)
def test_a_text_with_two_classes_is_warned_of(warned, columns, expected):
    dataset = datasets.Dataset.from_dict({**columns, "label": ["x", "y", "y", "x", "y"]})
    warn_of_doubtful_labels(dataset, inspect_data(dataset))
    if expected is None:
        assert warned == []
    else:
        assert re.search(expected, warned[0])


# ---- Other datasets ----

# case: (labeled, other, classes of the other's rows)
MATCHED = {
    "other case and spaces": (rows(["neg", "pos"]), rows(["POS", " Neg"]), [1, 0]),
    "numbers with a decimal point": (rows(["1", "2", "5"]), rows(["5.0", "1.0", "2.0"]), [2, 0, 1]),
    "a decimal point in the labeled dataset": (rows(["1.0", "2.0"]), rows(["2", "1"]), [1, 0]),
    "texts of a ClassLabel's numbers": (rows([0, 1, 2], ["a", "b", "c"]), rows(["2", "0"]), [2, 0]),
    "truth values as texts": (rows([True, False]), rows(["true", "false", "true"]), [1, 0, 1]),
    "truth values as numbers": (rows([True, False]), rows([1, 0]), [1, 0]),
    "a ClassLabel that hides other names": (rows(["b", "a"]), rows([1, 0], ["a", "b"]), [1, 0]),
    "minus one that is a class": (rows(["-1", "0", "1"]), rows([-1, 1, 0]), [0, 2, 1]),
    "names before numbers": (rows([0, 1, 2], ["1", "2", "0"]), rows([1, 2, 0]), [0, 1, 2]),
}


@pytest.mark.parametrize(("labeled", "other", "expected"), MATCHED.values(), ids=MATCHED)
def test_labels_of_other_datasets_are_the_same_classes(labeled, other, expected, warned):
    data = inspect_data(labeled)
    assert [int(label) for label in labels_of(prepare(other, data, "evaluation"))] == expected
    assert [int(label) for label in labels_of(prepare_pool(other, data, files=False))] == expected


def test_another_spelling_is_said(warned):
    prepare(rows(["POS", "neg"]), inspect_data(rows(["neg", "pos"])), "evaluation")
    assert warned == [
        "the evaluation dataset spells classes of the labeled dataset in another way, and its labels are taken for "
        "those: 'POS' for 'pos'"
    ]


def test_decimals_that_are_no_classes_are_told_to_be_numbers_perhaps():
    classes = Classes(["1.5", "2"], {"1.5": 0, "2": 1}, True)
    for label, ending in (
        ("1.75", "2; set problem_type='regression' if they are numbers to be predicted"),
        ("cat", "2"),
    ):
        with pytest.raises(ValueError) as error:
            index_labels([label], datasets.Value("string"), classes, "test")
        assert str(error.value).endswith(f"its classes are 1.5, {ending}")


@pytest.mark.parametrize("label", ["cat", "Pos", "001", "1.10"])
def test_a_class_that_nobody_labeled_is_an_error_in_a_test_set(label):
    data = inspect_data(rows(["neg", "pos", "POS", "1", "1.1"]))
    with pytest.raises(ValueError, match=f"the evaluation dataset has the label '{label}', which is not a class"):
        prepare(rows(["neg", label]), data, "evaluation")


# case: (labels of the pool, classes of its rows for the labeled classes "0", "1", "2")
POOLS = {
    "integers": ([0, -1, 2, -1], [0, None, 2, None]),
    "floats of a table with gaps": ([0.0, None, float("nan"), -1.0], [0, None, None, None]),
    "texts": (["0", "", "-1", None, " "], [0, None, None, None, None]),
    "nothing but gaps": ([None, None], [None, None]),
    "other classes": ([0, 7, -1], [0, UNKNOWN, None]),
}


@pytest.mark.parametrize(("labels", "expected"), POOLS.values(), ids=POOLS)
@pytest.mark.parametrize("labeled", [rows([0, 1, 2]), rows(["0", "1", "2"]), rows([0, 1, 2], ["0", "1", "2"])])
def test_what_the_pool_does_not_say_is_unknown_and_not_wrong(labels, expected, labeled, warned):
    pool = prepare_pool(rows(labels), inspect_data(labeled), files=False)
    assert labels_of(pool) == expected
    assert len(warned) == (UNKNOWN in expected)


@pytest.mark.parametrize("labels", [[0, -1], [0.0, float("nan")]])
def test_an_evaluation_row_without_a_class_is_named(labels):
    with pytest.raises(ValueError, match=r"the evaluation dataset has no label in row 1 .*; leave such rows out"):
        prepare(rows(labels), inspect_data(rows([0, 1, 2])), "evaluation")


# case: (labeled, stream, classes of its rows)
STREAMS = {
    "numbers that are names": (rows([1, 2, 5]), rows([5, 1, 2]), [2, 0, 1]),
    "numbers of named classes": (rows([0, 1, 2], ["a", "b", "c"]), rows([2, 0]), [2, 0]),
    "a ClassLabel": (rows(["a", "b"]), rows([0, 1], ["b", "a"]), [1, 0]),
    "texts": (rows(["a", "b"]), rows(["b", "a"]), [1, 0]),
    "truth values": (rows([True, False]), rows([True, False]), [1, 0]),
    "missing": (rows([0, 1]), rows([1, -1, None]), [1, None, None]),
}


@pytest.mark.parametrize(("labeled", "other", "expected"), STREAMS.values(), ids=STREAMS)
def test_labels_of_a_stream_are_the_same_classes(labeled, other, expected):
    stream = prepare_evaluation(other.to_iterable_dataset(), inspect_data(labeled), False)
    assert [row["label"] for row in stream] == expected


@pytest.mark.parametrize(
    ("labeled", "label"),
    [
        (rows(["a", "b"]), "c"),
        (rows([1, 2, 5]), 3),
        (rows([0, 1], ["a", "b"]), 2),
        (rows([0, 1, 2], ["1", "2", "3"]), 0),
    ],
)
def test_a_class_that_only_a_stream_has_is_named(labeled, label):
    stream = prepare_evaluation(rows([label]).to_iterable_dataset(), inspect_data(labeled), False)
    with pytest.raises(ValueError, match=f"the evaluation dataset has the label '{label}', which is not a class"):
        list(stream)


def test_numbers_as_people_write_them():
    written = [3, "3", "3.0", "-3", "03", "3.5", "3e0", " 3", "three", True]
    assert [as_number(label) for label in written] == [3, 3, 3, -3, None, None, None, None, None, 1]


# ---- Texts that are not there ----


@pytest.mark.parametrize("gap", [None, "", " \n"], ids=["missing", "empty", "blank"])
def test_an_empty_text_is_named_before_training(gap):
    data = inspect_data(rows([0, 1]))
    texts = [*WORDS[:7], gap, WORDS[8]]
    dataset = datasets.Dataset.from_dict({"text": texts, "label": [0, 1, 0, 1, 0, 1, 0, 1, 0]})
    for what in ("labeled", "evaluation", "easy"):
        given = {"easy": dataset} if what == "easy" else dataset
        with pytest.raises(ValueError, match=rf"row 7 of the {what} dataset has no text \(column 'text'\)"):
            prepare_evaluation(given, data, False) if what == "easy" else prepare(dataset, data, what)
    assert len(prepare_pool(dataset, data, files=False)) == 9
    with pytest.raises(ValueError, match="row 7 of the unlabeled dataset has no text"):
        prepare_pool(dataset, data, files=True)


def test_of_a_pair_one_text_may_be_blank_but_not_missing():
    def pairs(second):
        columns = {"premise": ["a", "b", "c"], "hypothesis": ["d", second, "e"], "label": [0, 1, 0]}
        return datasets.Dataset.from_dict(columns)

    data = inspect_data(pairs("x"))
    assert len(prepare(pairs(""), data, "labeled")) == 3
    with pytest.raises(ValueError, match=r"row 1 of the labeled dataset has no text"):
        prepare(pairs(None), data, "labeled")


@pytest.mark.parametrize("gap", [None, "", " "], ids=["missing", "empty", "blank"])
def test_a_row_that_names_no_file_is_named_before_training(gap, tmp_path):
    (tmp_path / "a.png").write_bytes(b"not looked at")
    paths = [str(tmp_path / "a.png")] * 3
    columns = {"image": [*paths, gap, *paths], "label": [0, 1, 0, 1, 0, 1, 0]}
    data = inspect_data(datasets.Dataset.from_dict({"image": paths, "label": [0, 1, 0]}))
    of_paths = datasets.Dataset.from_dict(columns)
    for dataset in (of_paths, of_paths.cast_column("image", datasets.Image())):
        with pytest.raises(ValueError, match=r"row 3 of the labeled dataset has no image \(column 'image'\)"):
            prepare(dataset, data, "labeled")
        assert len(prepare_pool(dataset, data, files=False)) == 7


def test_a_file_may_be_stored_in_its_row_beside_others_that_are_not(tmp_path):
    (tmp_path / "a.png").write_bytes(b"not looked at")
    cells = [{"path": str(tmp_path / "a.png"), "bytes": None}, {"path": None, "bytes": b"x"}, None]
    features = datasets.Features({"image": datasets.Image(decode=False), "label": datasets.Value("int64")})
    dataset = datasets.Dataset.from_dict({"image": cells, "label": [0, 1, 0]}, features=features)
    assert empty_row(dataset, ["image"]) == 2 and empty_row(dataset.select([0, 1]), ["image"]) is None
