"""Several labels and numbers in files: CSV, JSON Lines, Parquet and folders with a table."""

import json

import datasets
import pytest

from hf_ssl.data.columns import inspect_data
from hf_ssl.data.sources import load_source
from hf_ssl.problem_types import MULTI_LABEL, REGRESSION

CSV = "text,tags,cold,warm,price,grade\none,cold;warm,1,1,2.5,3\ntwo,;,0,0,4,1\nthree,warm,0,1,3.5,2\n"
ROWS = [
    {"text": "one", "tags": ["cold", "warm"], "price": 2.5, "both": [2.5, 3]},
    {"text": "two", "tags": [], "price": 4, "both": [4, 1]},
    {"text": "three", "tags": ["warm"], "price": 3.5, "both": [3.5, 2]},
]
TAGS = (MULTI_LABEL, ["cold", "warm"], [[1, 1], [0, 0], [0, 1]])
PRICES = (REGRESSION, ["price"], [[2.5], [4], [3.5]])
# case: (file, settings of the labels, what is found)
TABLES = {
    "texts with a separator": ("rows.csv", {"label_column": "tags", "label_separator": ";"}, TAGS),
    "columns of 0 and 1": ("rows.csv", {"label_columns": ["cold", "warm"]}, TAGS),
    "decimals": ("rows.csv", {"label_column": "price"}, PRICES),
    "two columns": (
        "rows.csv",
        {"label_columns": ["price", "grade"]},
        (REGRESSION, ["price", "grade"], [[2.5, 3], [4, 1], [3.5, 2]]),
    ),
    "whole numbers that are said to be numbers": (
        "rows.csv",
        {"label_column": "grade", "problem_type": REGRESSION},
        (REGRESSION, ["grade"], [[3], [1], [2]]),
    ),
    "lists in JSON Lines": ("rows.jsonl", {"label_column": "tags"}, TAGS),
    "decimals in JSON Lines": ("rows.jsonl", {"label_column": "price"}, PRICES),
    "lists of numbers": (
        "rows.jsonl",
        {"label_column": "both"},
        (REGRESSION, ["both 1", "both 2"], [[2.5, 3], [4, 1], [3.5, 2]]),
    ),
    "lists in Parquet": ("rows.parquet", {"label_column": "tags"}, TAGS),
    "decimals in Parquet": ("rows.parquet", {"label_column": "price"}, PRICES),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same rows in each kind of file."""
    folder = tmp_path_factory.mktemp("tables")
    (folder / "rows.csv").write_text(CSV)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    datasets.Dataset.from_list(ROWS).to_parquet(folder / "rows.parquet")
    return folder


@pytest.mark.parametrize(("file", "settings", "expected"), TABLES.values(), ids=TABLES)
def test_labels_of_tables(file, settings, expected, folder):
    source = load_source(str(folder / file), "labeled", label_column=settings.get("label_column"))
    found = inspect_data(source.dataset, **settings)
    assert (found.problem_type, found.label_names, found.labels.tolist()) == expected
    assert found.input_columns == ("text",)
