"""One row for each algorithm, and the small problem on which the tests run them.

Algorithms for one class per example go by their names, others by the kind of problem as well: "multi_label/fixmatch".
"""

from copy import deepcopy
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from hf_ssl import ModelForward, Progress, SSLBatch, get_algorithm
from hf_ssl.algorithms import BY_PROBLEM_TYPE
from hf_ssl.algorithms.rounds import InRounds, Picks
from hf_ssl.problem_types import MULTI_LABEL, SINGLE_LABEL

from tests.helpers import algorithm_references as references
from tests.helpers import multi_label_references, newer_references

CLASSES, DIM, LABELED, UNLABELED, POOL, LABELED_SET = 3, 4, 4, 8, 12, 6
MAX_STEPS = 10


@dataclass
class Row:
    """One algorithm.

    Args:
        settings: to run with.
        gradient: the views through which gradient flows.
        bad: a setting outside its range.
        splits: whether two processes with B/2 each train like one with B.
        steps_per_epoch: of the `Progress` that it gets.
        views: the views that it asks for.
        own_head: whether the model's own head is trained; if not, it is replaced for evaluation and saving.
    """

    settings: dict
    gradient: set
    bad: dict
    splits: bool = True
    steps_per_epoch: int = 3
    views: set = field(default_factory=lambda: {"weak", "strong"})
    own_head: bool = True


WEAK_STRONG = {"labeled", "strong"}
MIXED = {"labeled", "weak", "strong"}
QUEUE = {"smoothing": 0.8, "alignment_queue_size": 2, "projection_size": 3, "temperature": 0.3}
CASES = {
    "supervised": Row({}, {"labeled"}, {"unsupervised_weight": -1.0}, views=set()),
    "entropy_minimization": Row(
        {"warmup_fraction": 0.4}, {"labeled", "weak"}, {"warmup_fraction": -0.1}, views={"weak"}
    ),
    "pseudo_label": Row(
        {"threshold": 0.7, "warmup_fraction": 0.4}, {"labeled", "weak"}, {"threshold": -0.1}, views={"weak"}
    ),
    "pi_model": Row({"warmup_fraction": 0.4}, WEAK_STRONG, {"warmup_fraction": -0.1}),
    "mean_teacher": Row({"warmup_fraction": 0.4}, WEAK_STRONG, {"warmup_fraction": -0.1}),
    "vat": Row(
        {"epsilon": 2.0, "entropy_weight": 0.1, "warmup_fraction": 0.4},
        {"labeled", "weak"},
        {"epsilon": 0.0},
        views={"weak"},
    ),
    "mixmatch": Row(
        {"temperature": 0.5, "warmup_fraction": 0.4, "mixup_alpha": 0.5}, MIXED, {"mixup_alpha": 0.0}, splits=False
    ),
    "remixmatch": Row(
        {
            "temperature": 0.5,
            "warmup_fraction": 0.2,
            "mixup_alpha": 0.7,
            "kl_weight": 0.4,
            "rotation_weight": 0.3,
            "momentum": 0.6,
        },
        {*MIXED, "strong_2", "rotated"},
        {"kl_weight": -1.0},
        splits=False,
        views={"weak", "strong", "strong_2", "rotated"},
    ),
    "fixmatch": Row({"threshold": 0.7}, WEAK_STRONG, {"threshold": 1.5}),
    "uda": Row({"threshold": 0.7, "tsa_schedule": "exp"}, WEAK_STRONG, {"tsa_schedule": "cosine"}),
    "noisy_student": Row(
        {"threshold": 0.4}, {"labeled_strong", "strong"}, {"threshold": 1.5}, views={"labeled_strong", "strong"}
    ),
    "propagation": Row({"refresh_steps": 2, "neighbors": 3, "alpha": 0.7}, WEAK_STRONG, {"alpha": 1.0}),
    "flexmatch": Row({"threshold": 0.8}, WEAK_STRONG, {"threshold": 0.0}),
    "adamatch": Row({"threshold": 0.9, "momentum": 0.6}, WEAK_STRONG, {"momentum": 1.0}),
    "dash": Row(
        {"initial_loss_threshold": 0.7, "gamma": 1.3, "c": 1.01, "min_loss_threshold": 0.05},
        WEAK_STRONG,
        {"gamma": 1.0},
    ),
    "freematch": Row({"momentum": 0.6, "fairness_weight": 0.3}, WEAK_STRONG, {"fairness_weight": -1.0}),
    "softmatch": Row({"momentum": 0.6, "n_sigma": 3}, WEAK_STRONG, {"n_sigma": 0}),
    "crmatch": Row(
        {"threshold": 0.7, "rotation_weight": 0.5},
        {*WEAK_STRONG, "weak", "rotated"},
        {"rotation_weight": -1.0},
        views={"weak", "strong", "rotated"},
    ),
    "defixmatch": Row(
        {"threshold": 0.7},
        {*WEAK_STRONG, "labeled_strong"},
        {"temperature": 0.0},
        views={"weak", "strong", "labeled_strong"},
    ),
    "refixmatch": Row({"threshold": 0.7, "temperature": 0.6}, WEAK_STRONG, {"temperature": 0.0}),
    "comatch": Row(
        {"threshold": 0.5, "graph_threshold": 0.4, "contrastive_weight": 0.7, "queue_batches": 1, **QUEUE},
        {*WEAK_STRONG, "strong_2"},
        {"queue_batches": 0},
        splits=False,
        steps_per_epoch=1,
        views={"weak", "strong", "strong_2"},
    ),
    "simmatch": Row(
        {"threshold": 0.5, "instance_weight": 0.6, **QUEUE}, WEAK_STRONG, {"smoothing": 1.5}, steps_per_epoch=1
    ),
    "sequencematch": Row(
        {"threshold": 0.8}, {*WEAK_STRONG, "medium"}, {"temperature": 0.0}, views={"weak", "medium", "strong"}
    ),
    "shrinkmatch": Row({"threshold": 0.9, "ratio_momentum": 0.6}, WEAK_STRONG, {"ratio_momentum": 1.0}),
    "cgmatch": Row({"momentum": 0.5, "queue_size": 2, "warmup_steps": 0}, {*WEAK_STRONG, "weak"}, {"gce_q": 0.0}),
    "multimatch": Row(
        {"momentum": 0.6, "smoothness": 0.8}, WEAK_STRONG, {"num_heads": 2}, steps_per_epoch=1, own_head=False
    ),
    "regmixmatch": Row(
        {"threshold_high": 0.8, "momentum": 0.6, "fairness_weight": 0.3},
        WEAK_STRONG,
        {"threshold_high": 1.5},
        splits=False,
    ),
    "semireward": Row({"threshold": 0.8, "reward_start": 0.4}, WEAK_STRONG, {"reward_start": 1.0}),
    "allmatch": Row(
        {"momentum": 0.6, "candidate_mass": 0.8, "candidate_weight": 0.3}, WEAK_STRONG, {"candidate_mass": 0.0}
    ),
    "openmatch": Row(
        {"threshold": 0.5, "start_fraction": 0.1, "entropy_weight": 0.3, "consistency_weight": 0.7},
        {*WEAK_STRONG, "weak", "weak_2"},
        {"start_fraction": 1.0},
        views={"weak", "weak_2", "strong"},
    ),
    "iomatch": Row(
        {"threshold": 0.5, "open_weight": 0.6, "multi_binary_weight": 0.8, "alignment_queue_size": 2},
        WEAK_STRONG,
        {"open_threshold": 1.5},
        steps_per_epoch=1,
    ),
}


# The asymmetric loss in one of them, beside the one that has it by default.
ASYMMETRIC = {"gamma_positive": 0.5, "gamma_negative": 2.0, "clip": 0.1}
MULTI_LABEL_CASES = {
    "multi_label/supervised": Row(ASYMMETRIC, {"labeled"}, {"gamma_negative": -1.0}, views=set()),
    "multi_label/pseudo_label": Row(
        {"threshold": 0.7, "negative_threshold": 0.2, "warmup_fraction": 0.4},
        {"labeled", "weak"},
        {"negative_threshold": 0.8},
        views={"weak"},
    ),
    "multi_label/mean_teacher": Row({"warmup_fraction": 0.4}, WEAK_STRONG, {"warmup_fraction": -0.1}),
    "multi_label/fixmatch": Row({"threshold": 0.7, "negative_threshold": 0.2}, WEAK_STRONG, {"threshold": 1.5}),
    "multi_label/cap": Row(
        {"queue_size": 2 * UNLABELED, "positive_share": 0.8, "negative_share": 0.7, "warmup_fraction": 0.1},
        WEAK_STRONG,
        {"clip": 1.0},
    ),
}
ALL_CASES = {**CASES, **MULTI_LABEL_CASES}
# What a class [B] of `make_batch` becomes for other kinds of problems.
_LABELS = {MULTI_LABEL: torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]])}
_PREFIXES = {"multi_label": MULTI_LABEL}
_REFERENCES = {SINGLE_LABEL: (references, newer_references), MULTI_LABEL: (multi_label_references,)}
_FREQUENCIES = {SINGLE_LABEL: [0.5, 0.3, 0.2], MULTI_LABEL: [0.5, 0.35, 0.1]}


def kind_of(name):
    """The problem_type of a row, and the algorithm's name."""
    prefix, _, plain = name.rpartition("/")
    return _PREFIXES.get(prefix, SINGLE_LABEL), plain


def class_of(name):
    kind, plain = kind_of(name)
    return BY_PROBLEM_TYPE[kind][plain]


def in_kind(name, batch):
    """The batch with the labels that a row's kind of problem has."""
    labels = _LABELS.get(kind_of(name)[0])
    if labels is None or batch.labels.is_floating_point():
        return batch
    values = next(iter(batch.labeled.values()))
    return replace(batch, labels=labels.to(values.device)[batch.labels])


class Linear(nn.Module):
    """Features are the inputs."""

    def __init__(self):
        super().__init__()
        self.classifier = nn.Linear(DIM, CLASSES)

    def forward(self, x):
        return self.classifier(x)


def make_models():
    """A student and a teacher that differ, in float64 so that sums in another order change nothing that matters."""
    torch.manual_seed(0)
    student = Linear().double()
    teacher = deepcopy(student).requires_grad_(False)
    with torch.no_grad():
        teacher.classifier.weight.add_(0.3 * torch.randn_like(teacher.classifier.weight))
    return student, teacher


def make_algorithm(name, dtype=torch.float64, **changes):
    torch.manual_seed(1)
    settings = {**ALL_CASES[name].settings, **changes}
    kind, plain = kind_of(name)
    algorithm = get_algorithm(
        plain,
        problem_type=kind,
        num_classes=CLASSES,
        num_labeled=LABELED_SET,
        num_unlabeled=POOL,
        feature_size=DIM,
        labeled_batch_size=LABELED,
        unlabeled_batch_size=UNLABELED,
        class_distribution=torch.tensor(_FREQUENCIES[kind]),
        **settings,
    )
    if isinstance(algorithm, InRounds):
        algorithm.begin_round(1, Picks(*map(np.array, zip(*newer_references.PICKED.items(), strict=True))))
    return algorithm.to(dtype)


def make_batch(step, dtype=torch.float64, device="cpu"):
    generator = torch.Generator().manual_seed(100 + step)

    def draw(*shape):
        return (2.5 * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(device, dtype)

    names = ("weak", "strong", "strong_2", "rotated")
    batch = SSLBatch(
        labeled={"x": draw(LABELED, DIM)},
        labels=torch.randint(CLASSES, (LABELED,), generator=generator).to(device),
        unlabeled={name: {"x": draw(UNLABELED, DIM)} for name in names},
        labeled_index=torch.randperm(LABELED_SET, generator=generator)[:LABELED].to(device),
        unlabeled_index=torch.randperm(POOL, generator=generator)[:UNLABELED].to(device),
        labeled_strong={"x": draw(LABELED, DIM)},
        rotation_labels=torch.randint(4, (UNLABELED,), generator=generator).to(device),
        perturbation=draw(UNLABELED, DIM),
    )
    batch.unlabeled["medium"] = {"x": draw(UNLABELED, DIM)}
    batch.unlabeled["weak_2"] = {"x": draw(UNLABELED, DIM)}
    return batch


def fix_mixup(name, batch, identity=False):
    """Give the batch a draw of mixup of the right size, for the models of `make_models`."""
    if name == "regmixmatch":
        return fix_partners(batch, identity)
    views = {"mixmatch": 2, "remixmatch": 3}.get(name, 0)
    size = len(batch.labels) + views * len(batch.unlabeled["weak"]["x"])
    batch.mix_lambda = torch.tensor(0.7, dtype=torch.float64)
    generator = torch.Generator().manual_seed(5)
    batch.mix_permutation = torch.arange(size) if identity else torch.randperm(size, generator=generator)
    return batch


def fix_partners(batch, identity):
    """The confident examples in reverse order, or each by itself; the others with the first ones of their class."""
    weak = batch.unlabeled["weak"]["x"]
    if weak.is_meta:
        return batch
    probs = make_models()[0](weak.double()).softmax(-1)
    confident, labels = probs.amax(-1) >= CASES["regmixmatch"].settings["threshold_high"], probs.argmax(-1)
    known = torch.cat([batch.labels, labels[confident]]).tolist()
    partners = [known.index(label) if label in known else -1 for label in labels[~confident].tolist()]
    count = int(confident.sum())
    batch.mix_lambda, batch.class_mix_lambda = (torch.tensor(value, dtype=torch.float64) for value in (0.7, 0.4))
    batch.mix_permutation = torch.arange(count) if identity else torch.arange(count).flip(0)
    batch.class_mix_partner = torch.tensor([-1] * len(partners) if identity else partners, dtype=torch.int64)
    return batch


def progress_of(name, step, ramp=1.0):
    return Progress(step, MAX_STEPS, ALL_CASES[name].steps_per_epoch, ramp)


def run_step(name, algorithm, step, models=None, batch=None, dtype=torch.float64, ramp=1.0):
    student, teacher = models or make_models()
    student.to(dtype), teacher.to(dtype)
    batch = fix_mixup(name, make_batch(step, dtype)) if batch is None else batch
    forward = ModelForward(student, teacher=teacher if algorithm.uses_teacher else None)
    return algorithm(forward, in_kind(name, batch), progress_of(name, step, ramp))


def make_reference(name, algorithm, models, ramp=1.0, correct=None):
    """The independent formula of an algorithm: batch, step -> loss, mask. Its `state` lasts over the steps.

    `correct`, if given, changes the `Case` first.
    """
    student, teacher = models
    state = {}

    def numpy_through(module):
        return lambda x: module(torch.from_numpy(x)).detach().numpy()

    bank = algorithm.memory_bank.detach().numpy().copy() if name == "simmatch" else None

    def reference(batch, step):
        batch = in_kind(name, batch)
        x = {view: inputs["x"].detach().numpy() for view, inputs in batch.unlabeled.items()}
        x |= {"labeled": batch.labeled["x"].detach().numpy(), "labeled_strong": batch.labeled_strong["x"].numpy()}
        progress = progress_of(name, step)
        case = references.Case(
            **{view: numpy_through(student)(values) for view, values in x.items()},
            x=x,
            y=batch.labels.numpy(),
            turns=batch.rotation_labels.numpy(),
            index=batch.unlabeled_index.numpy(),
            labeled_index=batch.labeled_index.numpy(),
            pool=POOL,
            noise=batch.perturbation.numpy(),
            mix_lambda=float(batch.mix_lambda),
            mix_permutation=batch.mix_permutation.numpy(),
            class_mix_lambda=None if batch.class_mix_lambda is None else float(batch.class_mix_lambda),
            class_mix_partner=None if batch.class_mix_partner is None else batch.class_mix_partner.numpy(),
            classify=numpy_through(student),
            teach=numpy_through(teacher),
            weight=student.classifier.weight.detach().numpy(),
            head=lambda part, values: numpy_through(algorithm.get_submodule(part))(values),
            class_distribution=algorithm.class_distribution.numpy(),
            memory_bank=bank,
            unsupervised_weight=algorithm.unsupervised_weight,
            unsupervised_ramp=ramp,
            step=step,
            max_steps=progress.max_steps,
            epoch=progress.epoch,
            settings={**defaults(name), **ALL_CASES[name].settings},
            state=state,
        )
        if correct is not None:
            correct(case)
        kind, plain = kind_of(name)
        return next(getattr(module, plain) for module in _REFERENCES[kind] if hasattr(module, plain))(case)

    reference.state = state
    return reference


def defaults(name):
    return {key: parameter.default for key, parameter in class_of(name).settings().items()}
