"""100,000 classes, one labeled example of each: every algorithm trains on them in the memory that C numbers need."""

import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hf_ssl import ModelForward, Progress, SSLBatch, get_algorithm
from hf_ssl.algorithms import ALGORITHMS
from hf_ssl.algorithms.parts import memory

CLASSES = 100_000
SIZES = {"num_unlabeled": 50, "feature_size": 3, "labeled_batch_size": 2, "unlabeled_batch_size": 4}


class Linear(nn.Module):
    """Four numbers, three features, and a head with as many outputs as there are classes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(4, 3), nn.Linear(3, CLASSES)

    def forward(self, x):
        return {"logits": self.head(torch.tanh(self.body(x)))}


@pytest.fixture
def two_gigabytes():
    """A limit for what is allocated from here on."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2_000_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def batch_of(step):
    generator = torch.Generator().manual_seed(step)

    def draw(count):
        return {"x": torch.randn(count, 4, generator=generator)}

    return SSLBatch(
        labeled=draw(2),
        labels=torch.randint(CLASSES, (2,), generator=generator),
        unlabeled={name: draw(4) for name in ("weak", "weak_2", "medium", "strong", "strong_2", "rotated")},
        labeled_index=torch.tensor([5, CLASSES - 1]),
        unlabeled_index=torch.arange(4),
        labeled_strong=draw(2),
        rotation_labels=torch.arange(4),
    )


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit is set from Linux's numbers")
@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_trains_on_100000_classes(name, two_gigabytes):
    model = Linear()
    algorithm = get_algorithm(name, num_classes=CLASSES, num_labeled=CLASSES, class_distribution=None, **SIZES)
    parameters = [*model.parameters(), *algorithm.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    for step in range(2):
        batch = batch_of(step)
        output = algorithm(ModelForward(model, teacher=model), batch, Progress(step, 4, 1))
        optimizer.zero_grad()
        output.loss.backward()
        if step == 0 and name in ("supervised", "fixmatch", "flexmatch", "freematch", "simmatch"):
            logits = model(batch.labeled["x"])["logits"].detach().double().numpy()
            expected = np.mean([np.log(np.exp(z).sum()) - z[y] for z, y in zip(logits, batch.labels, strict=True)])
            assert output.terms["supervised"].item() == pytest.approx(expected, rel=1e-5)
        optimizer.step()
    assert model.body.weight.grad.abs().sum() > 0


def test_votes_are_the_same_with_and_without_the_matrix(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(5, 40, generator=generator, dtype=torch.float64)
    labels = torch.randint(7, (40,), generator=generator)
    expected = [[sum(row[i] for i in range(40) if labels[i] == c) for c in range(9)] for row in weights.tolist()]
    for largest in (360, 359):
        monkeypatch.setattr(memory, "_LARGEST_MATRIX", largest)
        np.testing.assert_allclose(memory.votes_of(weights, labels, 9), expected, rtol=1e-12)
