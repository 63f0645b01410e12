"""Batches arrive from other processes in one piece, as they were sent."""

import copy
import pickle
from multiprocessing.reduction import ForkingPickler

import pytest
import torch
from torch.multiprocessing import reductions
from torch.utils.data import DataLoader

from hf_ssl.batches.packing import PackedBatch

BATCHES = {
    "nested": {
        "labels": torch.arange(3),
        "views": {"weak": {"x": torch.rand(3, 5)}, "strong": {"x": torch.rand(3, 7)}},
    },
    "types": {
        "a": torch.arange(7, dtype=torch.uint8),
        "b": torch.tensor([True, False, True]),
        "c": torch.rand(3, dtype=torch.float64),
        "d": torch.rand(2, 2).bfloat16(),
        "e": torch.tensor(4),
    },
    "not contiguous": {"x": torch.rand(4, 6).T, "y": torch.rand(1, 3).expand(5, 3)},
    "empty": {"x": torch.rand(0, 4), "none": {}, "y": torch.rand(2)},
    "nothing": {},
    "more than tensors": {"x": torch.rand(2), "names": ["a", "b"], "deep": {"n": 3}},
    "sparse": {"x": torch.eye(3).to_sparse(), "y": torch.rand(2)},
}


def leaves(batch, path=()):
    for name, value in batch.items():
        yield from leaves(value, (*path, name)) if isinstance(value, dict) and value else [((*path, name), value)]


def there_and_back(batch):
    return ForkingPickler.loads(bytes(ForkingPickler.dumps(batch)))


@pytest.mark.filterwarnings("ignore:Sparse invariant")
@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_arrives_as_it_was_sent(name):
    sent = PackedBatch(BATCHES[name])
    arrived = there_and_back(sent)
    assert isinstance(arrived, PackedBatch)
    expected, got = dict(leaves(sent)), dict(leaves(arrived))
    assert got.keys() == expected.keys()
    for path, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert got[path].dtype == value.dtype and got[path].shape == value.shape
            assert torch.equal(got[path].to_dense(), value.to_dense())
        else:
            assert got[path] == value


def test_all_tensors_of_a_batch_are_sent_as_one(monkeypatch):
    sent = []
    reduce = reductions.reduce_storage
    count = {torch.UntypedStorage: lambda storage: sent.append(len(storage)) or reduce(storage)}
    monkeypatch.setattr(ForkingPickler, "_extra_reducers", ForkingPickler._extra_reducers | count)
    there_and_back(BATCHES["nested"])
    assert len(sent) == 3
    sent.clear()
    there_and_back(PackedBatch(BATCHES["nested"]))
    # 3 int64, 15 and 21 float32, each from a multiple of 64 bytes on.
    assert sent == [64 + 64 + 128]


def test_a_gradient_is_not_lost():
    weight = torch.rand(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="requires_grad"):
        there_and_back(PackedBatch({"x": weight * 2}))


def test_a_plain_copy_shares_the_tensors():
    batch = PackedBatch(BATCHES["nested"])
    other = copy.copy(batch)
    assert isinstance(other, PackedBatch) and other["labels"] is batch["labels"]


def test_a_batch_can_be_pickled_into_a_file_as_well():
    batch = pickle.loads(pickle.dumps(PackedBatch(BATCHES["nested"])))
    assert torch.equal(batch["views"]["weak"]["x"], BATCHES["nested"]["views"]["weak"]["x"])


def collate(items):
    return PackedBatch({"x": torch.stack(items), "deep": {"y": -torch.stack(items)}})


@pytest.mark.multiprocess
def test_what_a_worker_makes_is_what_the_main_process_makes():
    items = list(torch.arange(12.0).reshape(6, 2))
    batches = [list(DataLoader(items, batch_size=2, collate_fn=collate, num_workers=workers)) for workers in (0, 2)]
    for here, there in zip(*batches, strict=True):
        assert torch.equal(here["x"], there["x"]) and torch.equal(here["deep"]["y"], there["deep"]["y"])
