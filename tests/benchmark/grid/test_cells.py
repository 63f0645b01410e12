"""A cell's key, path and selection."""

from dataclasses import replace

import pytest

from hf_ssl.benchmark.grid import cells
from hf_ssl.benchmark.grid.cells import Cell, key_of, safe_name, select

CELL = Cell(
    "ag_news",
    40,
    1,
    "freematch",
    "google-bert/bert-base-uncased",
    {"training": {"max_steps": 9, "learning_rate": 1e-4}, "algorithm": {"momentum": 0.9}},
    modality="text",
    schedule="short",
    task_revision="abc",
)


def test_the_order_of_settings_does_not_change_the_key():
    turned = {"algorithm": {"momentum": 0.9}, "training": {"learning_rate": 0.0001, "max_steps": 9}}
    assert replace(CELL, settings=turned).key == CELL.key


@pytest.mark.parametrize(
    "change",
    [
        {"task": "aclImdb"},
        {"num_labeled": 200},
        {"seed": 2},
        {"algorithm": "fixmatch"},
        {"imbalance": "abc"},
        {"backbone": "other"},
        {"backbone_revision": "f" * 40},
        {"task_revision": "abd"},
        {"settings": {"training": {"max_steps": 10, "learning_rate": 1e-4}, "algorithm": {"momentum": 0.9}}},
        {"settings": {"training": {"max_steps": 9, "learning_rate": 1e-4}}},
    ],
)
def test_what_the_result_depends_on_changes_the_key(change):
    assert replace(CELL, **change).key != CELL.key


@pytest.mark.parametrize("change", [{"schedule": "own"}, {"modality": "image"}, {"variant": "low"}])
def test_names_for_people_do_not_change_the_key(change):
    assert replace(CELL, **change).key == CELL.key


def test_the_version_of_the_package_and_the_layout_of_the_file_change_the_key(monkeypatch):
    record = CELL.record()
    key = key_of(record, CELL.settings, cells.__version__)
    assert key_of(record, CELL.settings, "999.0") != key
    assert key_of(record, CELL.settings, cells.__version__, schema=cells.SCHEMA + 1) != key
    monkeypatch.setattr(cells, "__version__", "999.0")
    assert replace(CELL).key == key_of(record, CELL.settings, "999.0")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({}, "ag_news/40/freematch/google-bert__bert-base-uncased/seed1.json"),
        ({"imbalance": "abc"}, "ag_news/40/freematch+abc/google-bert__bert-base-uncased/seed1.json"),
        ({"variant": "low"}, "ag_news/40/freematch-low/google-bert__bert-base-uncased/seed1.json"),
        ({"backbone": "../../etc", "task": ".."}, "_/40/freematch/..__..__etc/seed1.json"),
    ],
)
def test_the_path_tells_what_ran_and_stays_below_the_folder(change, path):
    assert str(replace(CELL, **change).path) == path


def test_the_error_file_is_beside_the_result():
    assert CELL.error_path.parent == CELL.path.parent
    assert CELL.error_path.name == "seed1.error.json"


@pytest.mark.parametrize("name", ["", ".", "..", "..."])
def test_no_name_is_a_step_up(name):
    assert safe_name(name) == "_"


GRID = [
    replace(CELL, seed=seed, algorithm=algorithm, imbalance=imbalance)
    for seed in (0, 1)
    for algorithm in ("fixmatch", "uda")
    for imbalance in (None, "abc")
]


@pytest.mark.parametrize(
    ("conditions", "number"),
    [
        ("", 8),
        ("seed=0", 4),
        ("algorithm=fixmatch,uda seed=1", 4),
        ("imbalance=none labels=40", 4),
        ("label=uda+abc", 2),
        ("task=ag_news  modality=text", 8),
    ],
)
def test_select(conditions, number):
    assert len(select(GRID, conditions)) == number


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ("seed", "--select must be conditions NAME=VALUE,..., got 'seed'; the names are task, labels"),
        ("colour=red", "got 'colour=red'"),
        ("seed=0 seed=1", "--select must have each name once, got seed twice; write such as seed=A,B"),
        ("seed=7", "--select seed must be one of 0, 1, got '7'"),
        ("algorithm=", "got 'algorithm='"),
    ],
)
def test_a_condition_that_no_cell_meets_is_an_error(conditions, message):
    with pytest.raises(ValueError, match="--select") as error:
        select(GRID, conditions)
    assert message in str(error.value) and "\n" not in str(error.value)
