"""The small tasks: what is in them, that no split holds another's examples, and their models."""

import numpy as np
import pytest

from hf_ssl.benchmark.grid.data import cell_data, rows_hash
from hf_ssl.benchmark.grid.engines.base import Work
from hf_ssl.benchmark.grid.grid_file import parse_grid
from hf_ssl.benchmark.grid.small import manual, tones
from hf_ssl.benchmark.grid.small.models import SMALL_MODELS
from hf_ssl.benchmark.grid.small.table import SMALL_TASKS
from hf_ssl.benchmark.grid.tasks import task_revision

SIZES = {"digits": (1144, 203, 450), "tones": (900, 120, 300)}


@pytest.fixture(scope="module", params=list(SMALL_TASKS))
def loaded(request):
    task = SMALL_TASKS[request.param]
    return task, task.load()


def test_the_splits_have_every_class_and_no_example_twice(loaded):
    task, splits = loaded
    assert set(splits) == {"train", "validation", "test"}
    if task.name in SIZES:
        assert tuple(len(splits[name]) for name in ("train", "validation", "test")) == SIZES[task.name]
    assert tuple(splits["train"].features["label"].names) == task.class_names
    for split in splits.values():
        assert set(split["label"]) == set(range(len(task.class_names)))
    tables = [split.with_format("arrow")[:] for split in splits.values()]
    stored = [value for table in tables for value in table.column(task.modality).to_pylist()]
    contents = [value["bytes"] if isinstance(value, dict) else value for value in stored]
    # Two of the 1,797 scans are equal at 16 levels of gray; sounds and paragraphs are all different.
    assert len(contents) - len(set(contents)) <= (2 if task.name == "digits" else 0)


def test_a_model_is_small_and_knows_the_classes(loaded):
    task, splits = loaded
    model, _ = SMALL_MODELS[task.backbone](task.class_names, splits["train"])
    assert list(model.config.id2label.values()) == list(task.class_names)
    assert sum(parameter.numel() for parameter in model.parameters()) < 200_000


def test_a_draw_has_equally_many_of_each_class_and_follows_the_seed():
    grid = parse_grid({"tasks": ["tones"], "labels": [18], "algorithms": ["uda"], "seeds": [0, 1]}, "mine")
    drawn = [cell_data(cell, Work("results")) for cell in grid.cells]
    for data in drawn:
        assert np.bincount(data.labeled["label"]).tolist() == [3] * 6
        assert len(data.unlabeled) == 900
    assert drawn[0].draw != drawn[1].draw
    assert drawn[0].draw == cell_data(grid.cells[0], Work("results")).draw == rows_hash(drawn[0].labeled)


def test_a_long_tail_is_drawn_from_the_whole_task():
    entry = {"task": "digits", "name": "tail", "labels": [50], "labeled_imbalance": 10}
    entry |= {"num_unlabeled": 40, "unlabeled_imbalance": -10, "test_examples": 100}
    grid = parse_grid({"tasks": [entry], "algorithms": ["uda"], "seeds": [0]}, "mine")
    data = cell_data(grid.cells[0], Work("results"))
    labeled, pool = (np.bincount(part["label"], minlength=10) for part in (data.labeled, data.unlabeled))
    assert (labeled[0], labeled[-1]) == (50, 5) and (np.diff(labeled) <= 0).all()
    # As in USB's long-tailed settings, the labeled examples are not in the pool.
    assert (pool[0], pool[-1]) == (4, 40) and (np.diff(pool) >= 0).all()
    assert np.bincount(data.test["label"]).tolist() == [10] * 10


def test_paragraphs_of_one_docstring_are_in_one_split():
    splits, owners = manual.load_manual(), {}
    for label, part in enumerate(manual.CLASSES):
        owners |= {text: (label, owner) for text, owner in manual._paragraphs(part).items()}
    found = {name: {owners[text][1] for text in split["text"]} for name, split in splits.items()}
    assert not found["train"] & found["test"] and not found["validation"] & found["test"]
    assert all(owners[text][0] == label for text, label in zip(*splits["test"][:].values(), strict=True))


def test_the_notes_are_the_same_each_time_and_do_not_clip():
    sounds = [[tones.note(name, np.random.RandomState(3)) for name in tones.CLASSES] for _ in range(2)]
    assert np.array_equal(*sounds)
    assert np.abs(sounds[0]).max() <= 1 and np.abs(sounds[0]).max(axis=1).min() > 0.1


def test_another_version_of_the_documented_package_is_another_task(monkeypatch):
    before = task_revision.__wrapped__("scipy_manual")
    monkeypatch.setattr("hf_ssl.benchmark.grid.tasks.version", lambda name: "999.0")
    assert task_revision.__wrapped__("scipy_manual") != before
    assert task_revision.__wrapped__("tones") == task_revision("tones")
