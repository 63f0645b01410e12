"""The work of a training does not grow with its pool: the start reads next to nothing of it, and so does a step."""

import importlib.util
from itertools import islice
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from accelerate.data_loader import SkipBatchSampler

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.algorithms.parts.thresholds import FlexibleThreshold
from hf_ssl.batches.dataset import ViewDataset
from hf_ssl.batches.sampler import ExampleKey, JointBatchSampler
from hf_ssl.data.duplicates import SAMPLE

from tests.helpers.tiny_tasks import new_model, task

BENCHMARKS = Path(__file__).parents[2] / "examples" / "benchmarks"
POOL = 3_024


class Reads:
    """What is read of datasets of `POOL` rows: columns -> rows."""

    def __init__(self, monkeypatch):
        self.rows = {}
        getitem, iterate = datasets.Dataset._getitem, datasets.Dataset.iter

        def counted_getitem(dataset, key, **kwargs):
            if isinstance(key, str):
                self.note(dataset, POOL, (key,))
            else:
                self.note(
                    dataset, 1 if isinstance(key, int) else len(range(POOL)[key] if isinstance(key, slice) else key)
                )
            return getitem(dataset, key, **kwargs)

        def counted_iterate(dataset, *args, **kwargs):
            self.note(dataset, POOL)
            return iterate(dataset, *args, **kwargs)

        monkeypatch.setattr(datasets.Dataset, "_getitem", counted_getitem)
        monkeypatch.setattr(datasets.Dataset, "iter", counted_iterate)
        # Other ways to the rows would not be seen.
        for name in ("__iter__", "to_dict", "to_list", "to_pandas", "map", "filter", "unique", "sort"):
            monkeypatch.setattr(datasets.Dataset, name, self.refused(name, getattr(datasets.Dataset, name)))

    def note(self, dataset, rows, columns=None):
        if len(dataset) == POOL:
            columns = tuple(dataset.column_names) if columns is None else columns
            self.rows[columns] = self.rows.get(columns, 0) + rows

    @staticmethod
    def refused(name, real):
        def method(dataset, *args, **kwargs):
            assert len(dataset) != POOL, f"{name} of the pool"
            return real(dataset, *args, **kwargs)

        return method


RANGE = 64
NO_SEARCH = {"duplicate_check_seconds": 0}
# Modality, labels of the pool, settings, and what is read of the pool before the first batch: columns -> rows.
STARTS = {
    # Of images some show the range of their numbers.
    "images": ("image", "names", NO_SEARCH, {("image",): RANGE}),
    "audio": ("audio", "names", NO_SEARCH, {}),
    "texts": ("text", "names", NO_SEARCH, {}),
    "texts by length": ("text", "names", {**NO_SEARCH, "train_sampling_strategy": "group_by_length"}, {}),
    "no labels": ("text", "none", NO_SEARCH, {}),
    # Which labels there are has to be known where no feature names them; their column alone is read.
    "labels without names": ("text", "strings", NO_SEARCH, {("label",): POOL}),
    "images, search for duplicates": ("image", "names", {}, {("image",): RANGE + SAMPLE}),
    "texts, search for duplicates": ("text", "names", {}, {("text",): SAMPLE}),
}


@pytest.mark.parametrize(("modality", "labels", "config", "expected"), STARTS.values(), ids=STARTS)
def test_a_start_reads_nothing_of_the_pool_but_a_sample(monkeypatch, tmp_path, modality, labels, config, expected):
    given = task(modality)
    pool = datasets.concatenate_datasets([given["unlabeled_dataset"]] * (POOL // 24))
    if labels != "names":
        names = given["train_dataset"].features["label"].names
        pool = pool.remove_columns("label")
        pool = pool.add_column("label", [names[i % 3] for i in range(POOL)]) if labels == "strings" else pool
    reads, before = Reads(monkeypatch), []
    args = SSLConfig(
        str(tmp_path),
        algorithm="flexmatch",
        max_steps=1,
        use_cpu=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        **config,
    )
    trainer = SSLTrainer(new_model(modality), args, **{**given, "unlabeled_dataset": pool})
    real = ViewDataset.__getitems__
    monkeypatch.setattr(ViewDataset, "__getitems__", lambda *a: before.append(dict(reads.rows)) or real(*a))
    trainer.train()
    # Two examples of the pool are in the step that is tried when a trainer is made.
    columns = (modality, "label") if "label" in pool.column_names else (modality,)
    assert before[0] == {**expected, columns: 2}
    # That is not because nothing is counted.
    assert sum(reads.rows.values()) > sum(expected.values())


def test_skipped_batches_are_not_made(monkeypatch):
    """Resuming deep in an epoch finds the examples of the batches that are read, and of no others."""
    found = []
    real = JointBatchSampler._rows
    monkeypatch.setattr(JointBatchSampler, "_rows", lambda *args: found.append(args[3]) or real(*args))
    sampler = JointBatchSampler(40, 100_000, 8, 8, seed=1)
    whole = list(islice(sampler, 9_010))
    assert found == []
    resumed = list(islice(SkipBatchSampler(sampler, 9_000), 10))
    assert resumed == whole[9_000:]
    # Of the second sampler and of the first one: 50 batches each that 9,000 begins.
    assert found == [9_000, 9_000]


@pytest.mark.parametrize("pool", [24, 1_000, 100_000])
def test_the_order_of_existing_seeds_stays(pool):
    """The order is part of what a published seed means: a permutation of NumPy's for each epoch and cycle."""
    sampler = JointBatchSampler(5, pool, 2, 6, seed=3)
    sampler.set_epoch(2)
    keys = [key for batch in islice(sampler, 4) for key in batch]
    expected = np.random.default_rng((3, 2, 0, 0)).permutation(pool)[:24]
    assert [key.index for key in keys if not key.labeled] == expected.tolist()
    cycles = [np.random.default_rng((3, 2, cycle, 1)).permutation(5) for cycle in range(2)]
    assert [key.index for key in keys if key.labeled] == np.concatenate(cycles)[:8].tolist()
    assert keys[0] == ExampleKey(True, int(cycles[0][0]), 2, 0) and all(type(key.index) is int for key in keys)


def test_the_benchmark_measures(tmp_path):
    spec = importlib.util.spec_from_file_location("pool_size", BENCHMARKS / "pool_size.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    pool = benchmark.write_pool(tmp_path / "pool.arrow", 2_500, chunk=1_000)
    assert len(pool) == 2_500 and set(pool.column_names) == {"text", "label"}
    found = benchmark.start(str(tmp_path / "pool.arrow"))
    assert found["start_s"] > 0 and found["memory_mb"] >= 0
    times = benchmark.sampling([100, 1_000], 10), benchmark.bookkeeping("flexmatch", [100, 1_000], 10, "cpu")
    assert all(row.keys() == {100, 1_000} and min(row.values()) > 0 for row in times)


def elements_touched(pool):
    """Elements of all tensors that FlexMatch's bookkeeping makes in one step."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Count(TorchDispatchMode):
        made = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple | list) else [result]:
                # What is written in place into the pool's tensor touches the entries of the batch alone.
                if isinstance(tensor, torch.Tensor) and function.overloadpacket.__name__ not in (
                    "index_put_",
                    "_index_put_impl_",
                ):
                    self.made += tensor.numel()
            return result

    rule = FlexibleThreshold(0.5, 3, pool)
    with Count() as count:
        rule(torch.softmax(torch.arange(24.0).reshape(8, 3), -1), index=torch.arange(8))
    return count.made


def test_flexmatch_touches_as_much_of_a_large_pool_as_of_a_small_one():
    assert elements_touched(100) == elements_touched(100_000) < 1_000
