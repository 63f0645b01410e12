"""The small problem on which the algorithms that predict numbers are tested, and their formulas written out."""

from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from hf_ssl import ModelForward, Progress, SSLBatch, get_algorithm
from hf_ssl.problem_types import REGRESSION

NUMBERS, DIM, LABELED, UNLABELED, POOL, LABELED_SET = 2, 4, 4, 8, 12, 6
MAX_STEPS = 10
MEAN, SCALE = (30.0, -2.0), (8.0, 0.5)


@dataclass
class Row:
    """One algorithm with settings.

    Args:
        name: in the table.
        settings: to run with.
        gradient: the views through which gradient flows.
        bad: a setting outside its range.
        splits: whether two processes with B/2 each train like one with B.
    """

    name: str
    settings: dict = field(default_factory=dict)
    gradient: tuple = ("labeled", "strong")
    bad: dict = field(default_factory=dict)
    splits: bool = True


ALIGNED = {"distribution_alignment": True, "refresh_steps": 2, "alignment_weight": 0.7, "warmup_fraction": 0.4}
CASES = {
    "supervised": Row("supervised", gradient=("labeled",), bad={"unsupervised_weight": -1.0}),
    "pi_model": Row("pi_model", {"warmup_fraction": 0.4}, bad={"warmup_fraction": -0.1}),
    "mean_teacher": Row("mean_teacher", {"warmup_fraction": 0.4}, bad={"warmup_fraction": -0.1}),
    "ucvme": Row("ucvme", {"dropout": 0.0, "num_passes": 3}, ("labeled", "weak"), {"num_passes": 0}),
    "rankup": Row("rankup", {"threshold": 0.6, "ranking_weight": 0.3}, bad={"threshold": 1.5}, splits=False),
    "rankup with rda": Row(
        "rankup",
        {"threshold": 0.6, "ranking_weight": 0.3, **ALIGNED},
        ("labeled", "strong", "weak"),
        {"refresh_steps": 0},
        splits=False,
    ),
}


class Numbers(nn.Module):
    """Features are the inputs; the numbers are in the user's units."""

    def __init__(self):
        super().__init__()
        self.classifier = nn.Linear(DIM, NUMBERS)

    def forward(self, x):
        return self.classifier(x)


def make_models():
    """A student and a teacher that differ, in float64 so that sums in another order change nothing that matters."""
    torch.manual_seed(0)
    student = Numbers().double()
    with torch.no_grad():
        for parameter, shift in ((student.classifier.weight, 0.0), (student.classifier.bias, 1.0)):
            scale = torch.tensor(SCALE, dtype=torch.float64)
            parameter.mul_(scale if parameter.ndim == 1 else scale.unsqueeze(-1))
            parameter.add_(shift * torch.tensor(MEAN, dtype=torch.float64) if shift else 0.0)
    teacher = deepcopy(student).requires_grad_(False)
    with torch.no_grad():
        teacher.classifier.weight.add_(0.3 * torch.randn_like(teacher.classifier.weight))
    return student, teacher


def make_algorithm(case, **changes):
    torch.manual_seed(1)
    row = CASES[case]
    task = {
        "num_classes": NUMBERS,
        "num_labeled": LABELED_SET,
        "num_unlabeled": POOL,
        "feature_size": DIM,
        "labeled_batch_size": LABELED,
        "unlabeled_batch_size": UNLABELED,
        "problem_type": REGRESSION,
        "target_mean": torch.tensor(MEAN),
        "target_scale": torch.tensor(SCALE),
    }
    return get_algorithm(row.name, **task | row.settings | changes).double()


def make_batch(step):
    generator = torch.Generator().manual_seed(100 + step)

    def draw(*shape):
        return 2.5 * torch.randn(*shape, generator=generator, dtype=torch.float64)

    index = torch.randperm(LABELED_SET, generator=generator)[:LABELED]
    # The same numbers for an example whenever it is drawn; two are equal.
    labels = torch.randn(LABELED_SET, NUMBERS, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    labels[1] = labels[0]
    return SSLBatch(
        labeled={"x": draw(LABELED, DIM)},
        labels=labels[index] * torch.tensor(SCALE) + torch.tensor(MEAN),
        unlabeled={name: {"x": draw(UNLABELED, DIM)} for name in ("weak", "strong")},
        labeled_index=index,
        unlabeled_index=torch.randperm(POOL, generator=generator)[:UNLABELED],
    )


def run_step(algorithm, step, models=None, batch=None, ramp=1.0):
    student, teacher = models or make_models()
    forward = ModelForward(student, teacher=teacher if algorithm.uses_teacher else None)
    return algorithm(forward, make_batch(step) if batch is None else batch, Progress(step, MAX_STEPS, 3, ramp))


# ---- The formulas, in NumPy ----


class Reference:
    """What an algorithm computes of a batch: step after step, loss and mask.

    Args:
        case: in `CASES`.
        algorithm: with its heads, which are read.
        models: student and teacher.
    """

    def __init__(self, case, algorithm, models, ramp=1.0):
        self.row, self.algorithm, self.ramp = CASES[case], algorithm, ramp
        self.student, self.teacher = models
        self.predictions, self.labels, self.targets = {}, {}, {}

    def __call__(self, batch, step):
        self.step, self.batch = step, batch
        self.x = {name: view["x"].numpy() for name, view in batch.unlabeled.items()}
        self.x["labeled"] = batch.labeled["x"].numpy()
        self.y = standard(batch.labels.numpy())
        return getattr(self, self.row.name)()

    def numbers(self, view, model=None):
        linear = (model or self.student).classifier
        values = self.x[view] @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
        return standard(values)

    def head(self, name, view):
        linear = self.algorithm.get_submodule(name)
        return self.x[view] @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()

    def warmup(self):
        return min(self.step / (self.row.settings["warmup_fraction"] * MAX_STEPS), 1.0)

    @property
    def weight(self):
        return self.algorithm.unsupervised_weight * self.ramp

    def supervised(self):
        return np.mean((self.numbers("labeled") - self.y) ** 2), None

    def consistency(self, teacher):
        error = np.mean((self.numbers("strong") - self.numbers("weak", teacher)) ** 2)
        return self.supervised()[0] + self.weight * self.warmup() * error, None

    def pi_model(self):
        return self.consistency(self.student)

    def mean_teacher(self):
        return self.consistency(self.teacher)

    def ucvme(self):
        def of(view):
            logs = self.head("variances", view)
            return [self.numbers(view), self.head("second", view)], [logs[:, :NUMBERS], logs[:, NUMBERS:]]

        (first, second), (one, two) = of("labeled")
        s = (one + two) / 2
        loss = sum(np.mean((np.exp(-s) * (m - self.y) ** 2 + s) / 2) for m in (first, second))
        loss += np.mean((one - two) ** 2)
        (first, second), (one, two) = of("weak")
        q, v = (first + second) / 2, (one + two) / 2
        pool = sum(np.mean((np.exp(-v) * (m - q) ** 2 + v) / 2) for m in (first, second))
        pool += np.mean((one - v) ** 2) + np.mean((two - v) ** 2)
        return loss + self.weight * pool, None

    def pairs(self, view):
        """[i, j, k, 2]: score of j minus score of i."""
        scores = self.head("ranking", view).reshape(len(self.x[view]), NUMBERS, 2)
        return scores[None] - scores[:, None]

    def rankup(self):
        settings, n = self.row.settings, LABELED
        logs = log_softmax(self.pairs("labeled"))
        ranking = 0.0
        for i in range(n):
            for j in range(n):
                for k in range(NUMBERS):
                    larger = (1 + np.sign(self.y[j, k] - self.y[i, k])) / 2
                    ranking -= larger * logs[i, j, k, 0] + (1 - larger) * logs[i, j, k, 1]
        ranking /= n * n * NUMBERS
        probs = np.exp(log_softmax(self.pairs("weak")))
        counts = probs.max(-1) >= settings["threshold"]
        chosen = np.take_along_axis(log_softmax(self.pairs("strong")), probs.argmax(-1)[..., None], -1)[..., 0]
        pool = settings["ranking_weight"] * np.mean(-chosen * counts)
        if settings.get("distribution_alignment"):
            pool += settings["alignment_weight"] * self.warmup() * self.aligned()
        loss = self.supervised()[0] + settings["ranking_weight"] * ranking + self.weight * pool
        return loss, counts.mean(axis=(1, 2))

    def aligned(self):
        if self.step > 0 and self.step % self.row.settings["refresh_steps"] == 0:
            seen, labels = sorted(self.predictions), np.array([self.labels[i] for i in sorted(self.labels)])
            for k in range(NUMBERS):
                values = np.array([self.predictions[i][k] for i in seen])
                ranks = values.argsort().argsort() / (len(seen) - 1)
                wanted = np.interp(ranks, np.linspace(0, 1, len(labels)), np.sort(labels[:, k]))
                for i, value in zip(seen, wanted, strict=True):
                    self.targets.setdefault(i, {})[k] = value
        weak, index = self.numbers("weak"), self.batch.unlabeled_index.tolist()
        self.predictions.update(zip(index, weak, strict=True))
        self.labels.update(zip(self.batch.labeled_index.tolist(), self.y, strict=True))
        errors = [
            (weak[row, k] - self.targets[i][k]) ** 2 if i in self.targets else 0.0
            for row, i in enumerate(index)
            for k in range(NUMBERS)
        ]
        return np.mean(errors)


def standard(numbers):
    return (numbers - np.array(MEAN)) / np.array(SCALE)


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))
