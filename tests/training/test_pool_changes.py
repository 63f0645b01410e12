"""How often the class of an example of the pool changed, counted while training."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from hf_ssl.training.pool_changes import ChangeCounts, CountChanges, changes_of


def counted_one_by_one(size, batches):
    seen = [[] for _ in range(size)]
    for index, classes in batches:
        for place, label in zip(index, classes, strict=True):
            seen[place].append(label)
    return [np.mean([a != b for a, b in pairwise(each)]) if len(each) > 1 else np.nan for each in seen]


@pytest.mark.parametrize("distributions", [False, True])
def test_counts_are_those_of_looking_one_by_one(distributions):
    rng = np.random.default_rng(0)
    batches = [(rng.permutation(30)[:6], rng.integers(0, 3, 6)) for _ in range(40)]
    counts = ChangeCounts(30, torch.device("cpu"))
    for index, classes in batches:
        labels = torch.from_numpy(np.eye(3)[classes] if distributions else classes)
        counts.see(torch.from_numpy(index), labels)
    np.testing.assert_allclose(counts.shares(), counted_one_by_one(30, batches), rtol=1e-6)


def test_labels_of_several_views_are_not_counted():
    counts = ChangeCounts(4, torch.device("cpu"))
    counts.see(torch.tensor([0, 1]), torch.tensor([0, 1, 2, 0]))
    assert np.isnan(counts.shares()).all()


def train(make_trainer, **config):
    trainer = make_trainer(**config)
    trainer.add_callback(CountChanges(trainer))
    trainer.train()
    return trainer


def test_a_training_counts_and_stops_listening_when_it_ends(make_trainer):
    trainer = train(make_trainer, algorithm="pseudo_label", max_steps=8)
    shares = changes_of(trainer)
    assert shares.shape == (len(trainer.unlabeled_dataset),)
    known = shares[~np.isnan(shares)]
    assert len(known) and (known >= 0).all() and (known <= 1).all()
    assert not trainer.algorithm._forward_hooks


def test_counting_changes_nothing_of_a_training(make_trainer):
    counted = train(make_trainer, algorithm="fixmatch", max_steps=3)
    plain = make_trainer(algorithm="fixmatch", max_steps=3)
    plain.train()
    for first, second in zip(counted.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(first, second)
    assert changes_of(plain) is None


def test_without_pseudo_labels_there_is_nothing_to_count(make_trainer):
    assert changes_of(train(make_trainer, algorithm="supervised", max_steps=2)) is None
