"""What SSLTrainer finds out about datasets by itself."""

import itertools

import datasets
import pytest
from PIL import Image

from hf_ssl.cli.inputs import input_columns
from hf_ssl.data.columns import find_input, inspect_data
from hf_ssl.data.prepare import check_columns

from tests.helpers.tiny_tasks import TASKS


def text(**columns):
    return datasets.Dataset.from_dict(columns)


def test_images_are_found_by_their_feature(images):
    found = inspect_data(images["labeled"], None, None)
    assert (found.modality, found.input_column, found.label_column) == ("image", "image", "label")
    assert found.label_names == ["dark", "middle", "bright"]
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("columns", "given", "expected"),
    [
        ({"text": ["a", "b"], "label": [0, 1]}, (None, None), ("text", "label")),
        ({"title": ["a", "b"], "class": [0, 1]}, (None, None), ("title", "class")),
        ({"title": ["a", "b"], "sentence": ["c", "d"], "label": [0, 1]}, (None, None), ("sentence", "label")),
        ({"one": ["a", "b"], "two": ["c", "d"], "y": [0, 1]}, ("two", "y"), ("two", "y")),
    ],
)
def test_text_columns(columns, given, expected):
    found = inspect_data(text(**columns), *given)
    assert found.modality == "text"
    assert (found.input_column, found.label_column) == expected


@pytest.mark.parametrize(
    ("columns", "given", "message"),
    [
        ({"text": ["a"], "kind": [0]}, (None, None), "no label column found among text, kind; set label_column"),
        (
            {"text": ["a"], "label": [0]},
            (None, "topic"),
            "'topic' is not in the labeled dataset; its columns are text, label",
        ),
        ({"one": ["a"], "two": ["b"], "label": [0]}, (None, None), "set input_column"),
        ({"text": ["a"], "label": ["sport"]}, (None, None), "one class only"),
        (
            {"text": ["a", "b"], "label": [-1, 0]},
            (None, None),
            "no label in row 0 .*got -1; .* write the classes as texts",
        ),
        ({"text": ["a", "b"], "label": [-3, 0]}, (None, None), "from -3 to 0"),
        ({"text": [], "label": []}, (None, None), "empty"),
    ],
)
def test_what_cannot_be_decided_is_said_in_one_line(columns, given, message):
    with pytest.raises(ValueError, match=message) as error:
        inspect_data(text(**columns), *given)
    assert "\n" not in str(error.value)


def test_a_missing_column_lists_those_there_are():
    with pytest.raises(ValueError, match="the unlabeled dataset has no column 'image'; its columns are text"):
        check_columns(text(text=["a"]), "unlabeled", ["image"])


@pytest.fixture
def columns(tmp_path):
    """Columns of all kinds, of which tables are put together."""
    for name in ("a.png", "b.dat"):
        Image.new("RGB", (4, 4)).save(tmp_path / name, format="PNG")
    return {
        "text": ["x", "y"],
        "class": ["p", "q"],
        "title": ["c", "d"],
        "premise": ["e", "f"],
        "hypothesis": ["g", "h"],
        "file": [str(tmp_path / "a.png")] * 2,
        "path": [str(tmp_path / "b.dat")] * 2,
        "clip": ["gone.wav"] * 2,
        "picture": [Image.new("RGB", (3, 3))] * 2,
        "number": [1, 2],
    }


@pytest.mark.parametrize("modality", TASKS)
def test_predict_finds_the_columns_on_which_training_would_train(columns, modality):
    """For all tables of three of the columns: the same columns, or an error of both."""
    processor, decided = TASKS[modality][1](), 0
    for names in itertools.combinations(columns, 3):
        table = text(**{name: columns[name] for name in names}, label=[0, 1])
        try:
            found = inspect_data(table, processor=processor)
            expected = list(found.input_columns)
            decided += 1
        except ValueError:
            expected = None
        try:
            chosen = input_columns(table, modality, None, "table.csv")
        except ValueError as error:
            assert "name it with --column" in str(error)
            chosen = None
        assert chosen == expected, names
    assert decided > 20


RULES = [
    ({"one": ["a"], "two": ["b"]}, {"input_column": "two"}, ("two",)),
    ({"one": ["a"], "two": ["b"]}, {"input_column": "two", "text_pair_column": "one"}, ("two", "one")),
    ({"one": ["a"], "two": ["b"]}, {"text_pair_column": "one"}, ("two", "one")),
    (
        {"sentence1": ["a"], "title": ["b"], "sentence2": ["c"]},
        {"text_pair_column": "sentence2"},
        ("sentence1", "sentence2"),
    ),
    ({"text": ["a"], "premise": ["b"], "hypothesis": ["c"]}, {}, ("premise", "hypothesis")),
    ({"title": ["a"], "content": ["b"], "text": ["c"]}, {}, ("text",)),
    ({"number": [1], "title": ["a"]}, {}, ("title",)),
    ({"one": ["a"], "two": ["b"]}, {}, None),
    ({"one": ["a"]}, {"input_column": "one", "text_pair_column": "one"}, None),
    ({"one": ["a"]}, {"input_column": "two"}, None),
    ({"number": [1]}, {}, None),
]


@pytest.mark.parametrize(("rows", "given", "expected"), RULES)
def test_the_first_rule_that_decides_wins(rows, given, expected):
    assert find_input(text(**rows), **given) == (None if expected is None else ("text", expected))


def test_a_text_is_not_its_own_pair():
    table = text(one=["a", "b"], label=[0, 1])
    with pytest.raises(ValueError, match="must be another column than input_column, got 'one' twice; leave it out"):
        inspect_data(table, "one", text_pair_column="one")


def test_a_given_column_that_the_processor_cannot_read_is_named():
    table = text(one=["a", "b"], two=["c", "d"], label=[0, 1])
    with pytest.raises(ValueError, match="column 'one' holds texts and ViTImageProcessor processes none"):
        inspect_data(table, "one", text_pair_column="two", processor=TASKS["image"][1]())
