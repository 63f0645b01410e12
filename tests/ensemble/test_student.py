"""The student's loss: nothing but the votes, on both views."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hf_ssl import ModelForward, Progress, SSLBatch, get_algorithm
from hf_ssl.ensemble import EnsembleDistillation

CLASSES, POOL, SIZES = 3, 6, {"num_labeled": 4, "labeled_batch_size": 2, "unlabeled_batch_size": 4}


class Linear(nn.Module):
    """A model whose features are its inputs."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(5, CLASSES)

    def forward(self, inputs):
        return {"logits": self.head(inputs)}


def student(**changes):
    rng = np.random.default_rng(0)
    given = {"targets": rng.dirichlet(np.ones(CLASSES), POOL), "num_unlabeled": POOL, "unsupervised_weight": 2.0}
    return get_algorithm(EnsembleDistillation, num_classes=CLASSES, feature_size=5, **{**SIZES, **given, **changes})


def batch(labels=(0, 1)):
    torch.manual_seed(0)
    views = {name: {"inputs": torch.randn(4, 5)} for name in ("weak", "strong")}
    index = torch.tensor([5, 0, 3, 3])
    return SSLBatch({"inputs": torch.randn(2, 5)}, torch.tensor(labels), views, unlabeled_index=index)


def step(algorithm, given):
    torch.manual_seed(1)
    model = Linear()
    output = algorithm(ModelForward(model), given, Progress(0, 10, 5))
    output.loss.backward()
    return output, model.head, model.head.weight.grad


def test_the_loss_is_the_divergence_of_both_views_from_the_votes():
    algorithm, given = student(), batch()
    output, head, gradient = step(algorithm, given)
    votes = algorithm.targets[given.unlabeled_index]
    logs = [head(given.unlabeled[view]["inputs"]).log_softmax(dim=-1) for view in ("weak", "strong")]
    parts = [(votes * (votes.log() - log)).sum(dim=-1).mean() for log in logs]
    torch.testing.assert_close(output.loss, 2.0 * sum(parts))
    assert output.terms["supervised"] == 0 and output.mask.tolist() == [1, 1, 1, 1]
    torch.testing.assert_close(output.pseudo_labels, votes)
    # The gradient of a divergence is the difference of the distributions, from both views.
    both = [
        (log.exp() - votes).T @ given.unlabeled[v]["inputs"] for log, v in zip(logs, ("weak", "strong"), strict=True)
    ]
    torch.testing.assert_close(gradient, 2.0 * sum(both) / 4)


def test_labels_are_not_looked_at():
    assert torch.equal(step(student(), batch((0, 1)))[2], step(student(), batch((2, 2)))[2])


def test_hard_votes_give_the_cross_entropy():
    classes = np.array([0, 1, 2, 0, 1, 2])
    given = batch()
    output, head, _ = step(student(targets=np.eye(CLASSES)[classes]), given)
    wanted = torch.as_tensor(classes)[given.unlabeled_index]
    parts = [F.cross_entropy(head(view["inputs"]), wanted) for view in given.unlabeled.values()]
    torch.testing.assert_close(output.loss, 2.0 * sum(parts))


def test_votes_are_part_of_a_checkpoint():
    algorithm, other = student(), student(targets=np.full((POOL, CLASSES), 1 / CLASSES))
    other.load_state_dict(algorithm.state_dict())
    assert torch.equal(other.targets, algorithm.targets)


def test_votes_of_another_pool_are_refused():
    with pytest.raises(ValueError, match=r"targets must have shape \(6, 3\), got \(5, 3\)"):
        student(targets=np.ones((5, CLASSES)) / CLASSES)
