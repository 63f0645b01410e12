"""What SSLTrainer finds out about datasets by itself."""

import datasets
import pytest

from hf_ssl.data.columns import inspect_data
from hf_ssl.data.prepare import check_columns


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
        ({"text": ["a", "b"], "label": [-1, 0]}, (None, None), "from -1 to 0"),
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
