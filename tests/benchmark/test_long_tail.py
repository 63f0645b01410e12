"""Long tails from any dataset, from any task, and as configurations of built repositories."""

from collections import Counter
from dataclasses import replace

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest

from hf_ssl.benchmark import TASKS, build_task, load_task, long_tailed, verify_task
from hf_ssl.benchmark.baselines import published_long_tails
from hf_ssl.benchmark.long_tail import largest_pool
from hf_ssl.benchmark.splits import POOL_SHAPES, pool_sizes
from hf_ssl.benchmark.tasks import LongTail

from tests.helpers.benchmark_sources import make_source


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def classes_of(data, names=None):
    counts = Counter(data["label"])
    return [counts[number] for number in (names or sorted(counts))]


# ---- Any dataset ----


def test_a_dataset_with_class_names_as_labels_becomes_long_tailed():
    rows = {"text": [str(i) for i in range(90)], "kind": ["b", "a", "c"] * 30}
    drawn = long_tailed(
        datasets.Dataset.from_dict(rows),
        num_labeled=9,
        labeled_imbalance=9,
        num_unlabeled=16,
        unlabeled_imbalance=-4,
        label_column="kind",
    )
    assert [Counter(drawn["labeled"]["kind"])[name] for name in "abc"] == [9, 3, 1]
    assert [Counter(drawn["unlabeled"]["kind"])[name] for name in "abc"] == [4, 8, 16]
    assert not set(drawn["labeled"]["text"]) & set(drawn["unlabeled"]["text"])


@pytest.mark.parametrize("shape", POOL_SHAPES)
def test_the_pool_is_as_large_as_every_class_allows(shape):
    available = [40, 37, 31, 50]
    largest = largest_pool(available, 5, shape)
    assert all(size <= left for size, left in zip(pool_sizes(largest, 4, 5, shape), available, strict=True))
    assert any(size > left for size, left in zip(pool_sizes(largest + 1, 4, 5, shape), available, strict=True))


WRONG = [
    ({"num_labeled": 40}, "every class must have examples left for the pool, got"),
    ({"num_unlabeled": 500}, "class 0 has 30 examples, this draw needs 504 of it"),
    ({"pool_shape": "flat"}, "pool_shape must be one of"),
    ({"label_column": "kind"}, "label_column"),
    ({"num_labeled": 5, "labeled_imbalance": 100}, "labeled_imbalance must leave every class a label, got 100"),
    ({"labeled_imbalance": float("nan")}, "an imbalance must be at least 1"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=lambda value: str(value)[:30])
def test_long_tails_that_are_not_there_are_refused(settings, message):
    data = datasets.Dataset.from_dict({"text": [str(i) for i in range(60)], "label": [0, 1] * 30})
    with pytest.raises(ValueError, match=message):
        long_tailed(data, **{"num_labeled": 4, "labeled_imbalance": 2, **settings})


# ---- Any task ----


@pytest.fixture(scope="module")
def news(tmp_path_factory):
    source = make_source("ag_news", tmp_path_factory.mktemp("raw"), per_class=50)
    source.task = replace(source.task, label_settings=TASKS["ag_news"].label_settings)
    return build_task(source.task, source.folder, tmp_path_factory.mktemp("built") / "usb-ag_news")


def test_a_task_without_long_tails_of_its_own_has_any(news):
    given = {"num_labeled": 8, "seed": 7, "source": news, "labeled_imbalance": 8}
    drawn = load_task("ag_news", **given, unlabeled_imbalance=4, pool_shape="reversed")
    assert classes_of(drawn["labeled"]) == [8, 4, 2, 1]
    sizes = classes_of(drawn["unlabeled"])
    assert sizes == pool_sizes(max(sizes), 4, 4, "reversed") and sizes[3] == 49
    assert set(drawn) == {"labeled", "unlabeled", "validation", "test"}
    again = load_task("ag_news", **given, unlabeled_imbalance=4, pool_shape="reversed")
    assert again["labeled"]["text"] == drawn["labeled"]["text"]


def test_a_pool_of_unknown_classes_is_taken_as_it_is(tmp_path):
    with pytest.raises(ValueError, match="the pool of stl10 is a split of its own whose classes are not known"):
        load_task("stl10", 150, source=tmp_path, labeled_imbalance=10, pool_shape="uniform")


def test_the_labeled_set_of_a_task_with_a_pool_of_its_own_is_long_tailed(tmp_path, monkeypatch):
    source = make_source("stl10", tmp_path / "raw", per_class=8)
    monkeypatch.setitem(TASKS, "stl10", source.task)
    drawn = load_task("stl10", 8, seed=3, source=source.folder, labeled_imbalance=8)
    assert classes_of(drawn["labeled"]) == [8, 6, 5, 4, 3, 2, 2, 1, 1, 1]
    assert len(drawn["unlabeled"]) == source.task.sizes["unlabeled"]


# ---- Configurations ----

SETTING, REVERSED = LongTail(4, 8, 4, 4), LongTail(4, 8, 4, -4)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """CIFAR-10 with 15 images per class, 3 in each of its five files, and two long tails."""
    source = make_source("cifar10", tmp_path_factory.mktemp("raw"), per_class=3)
    task = replace(source.task, label_settings=(10,), seeds=(0, 1), long_tails=(SETTING, REVERSED))
    return task, build_task(task, source.folder, tmp_path_factory.mktemp("built") / "usb-cifar10")


def test_a_long_tail_loads_with_plain_datasets(built):
    task, folder = built
    names = range(len(task.class_names))
    data = datasets.load_dataset(str(folder), "longtail4_8_gamma4_reversed4_seed1")
    assert set(data) == {"labeled", "unlabeled", "test"}
    assert classes_of(data["labeled"], names) == [4, 3, 2, 2, 2, 1, 1, 1, 1, 1]
    assert classes_of(data["unlabeled"], names) == [2, 2, 2, 3, 3, 4, 5, 5, 6, 8]
    assert set(data["unlabeled"].features) == {"image", "label"}
    full = datasets.load_dataset(str(folder), "full")
    assert set(full["train"].features) == {"image", "label"} and len(full["train"]) == 150
    assert len(data["test"]) == len(full["test"])
    pixels = [np.asarray(row["image"]).tobytes() for split in ("labeled", "unlabeled") for row in data[split]]
    assert len(set(pixels)) == len(pixels), "no pool example is labeled"


def test_what_the_configuration_holds_is_what_load_task_draws(built, monkeypatch):
    task, folder = built
    monkeypatch.setitem(TASKS, "cifar10", task)
    drawn = load_task("cifar10", 4, 1, folder, labeled_imbalance=4, unlabeled_imbalance=-4, num_unlabeled=8)
    loaded = datasets.load_dataset(str(folder), "longtail4_8_gamma4_reversed4_seed1")
    for split, in_order in (("labeled", True), ("unlabeled", False)):
        both = [[np.asarray(row["image"]).tobytes() for row in data[split]] for data in (drawn, loaded)]
        assert both[0] == both[1] if in_order else sorted(both[0]) == sorted(both[1])


def test_the_pools_are_not_stored_twice(built):
    _, folder = built
    rows = sum(pq.read_metadata(path).num_rows for path in folder.rglob("*.parquet"))
    # Train and test, ten labels for each of two seeds, and the labels of two long tails with two seeds each.
    assert rows == 150 + len(datasets.load_dataset(str(folder), "full")["test"]) + 2 * 10 + 4 * 18


def test_verify_draws_long_tails_again(built, tmp_path):
    task, folder = built
    checks = {check.name: check for check in verify_task(folder, task)}
    name = "longtail4_8_gamma4_4_seed0"
    assert checks[name].passed and checks[name].found == "18 labels, 1 to 4 per class; pool: 40 of train"
    path = next((folder / "data").glob("train-*"))
    before = path.read_bytes()
    table = pq.read_table(path)
    place = table.column_names.index(f"in_{name}")
    flipped = [not value for value in table.column(place).to_pylist()]
    pq.write_table(table.set_column(place, table.schema.field(place), [flipped]), path)
    try:
        checks = {check.name: check for check in verify_task(folder, task)}
    finally:
        path.write_bytes(before)
    assert checks[name].found == f"column in_{name} of data/train-* does not mark the drawn pool"


def test_tasks_too_small_for_their_long_tails_are_built_without(tmp_path, caplog):
    source = make_source("cifar100", tmp_path / "raw")
    task = replace(source.task, long_tails=TASKS["cifar100"].long_tails)
    folder = build_task(task, source.folder, tmp_path / "usb-cifar100")
    assert "9 long-tailed configurations are left out" in caplog.text
    card = (folder / "README.md").read_text()
    assert "\n  columns:" not in card and "config_name: longtail" not in card
    assert pq.read_schema(next((folder / "data").glob("train-*"))).names == ["image", "label"]


# ---- USB's numbers ----


def test_usb_s_settings_and_numbers_go_together():
    for task in TASKS.values():
        assert set(published_long_tails(task.name)) == set(task.long_tails)
    reversed_pool = published_long_tails("cifar10")[LongTail(1500, 3000, 100, -100)]
    assert reversed_pool["fixmatch"][:2] == (69.95, 1.18) and reversed_pool["fixmatch"].note == ""
    assert (
        "never mixes" in reversed_pool["fixmatch_cossl"].note
        and "changes nothing" in reversed_pool["remixmatch_debiaspl"].note
    )
    assert published_long_tails("cifar100")[LongTail(150, 300, 15, 15)]["remixmatch_cossl"] is None
