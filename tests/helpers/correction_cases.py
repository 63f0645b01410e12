"""One row for each correction for long tails, on the small problem of the algorithms (`algorithm_cases.py`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch

from hf_ssl import SSLBatch, get_algorithm
from hf_ssl.algorithms import IMBALANCE

from tests.helpers import algorithm_cases
from tests.helpers.algorithm_cases import CASES, CLASSES, DIM, LABELED, LABELED_SET, POOL, UNLABELED, make_models

# Every correction is put around each of these, unless its row names others.
BASES = ("fixmatch", "freematch", "adamatch")
# The middle class is the largest: none may take the first one for it.
COUNTS = torch.tensor([2.0, 3.0, 1.0])
# Fields of a batch that are of the pool, and those that are of no example; the others are of labeled examples.
_OF_POOL = ("unlabeled", "unlabeled_index", "opinions", "rotation_labels", "perturbation")
_OF_NONE = ("content_free",)
Fields = Mapping[str, Any]


def _content_free(batch: SSLBatch, step: int) -> Fields:
    return {"content_free": {"x": torch.full((1, DIM), 0.3).to(batch.labeled["x"])}}


def _nothing(batch: SSLBatch, step: int) -> Fields:
    return {}


def _mixtures(batch: SSLBatch, step: int) -> Fields:
    """The fixed randomness of CoSSL, for as many examples as the batch has labeled ones."""
    generator, x, size = torch.Generator().manual_seed(step), batch.labeled["x"], len(batch.labels)
    return {
        "balanced_labeled": {"x": x.flip(1)},
        "balanced_labels": (batch.labels + 1) % CLASSES,
        "balanced_unlabeled": {"x": batch.unlabeled["weak"]["x"][:size]},
        "mix_lambda": torch.full((size,), 0.7).to(x),
        "mix_choice": (torch.arange(size) + int(torch.randint(2, (), generator=generator))).to(x.device) % 2 == 0,
    }


@dataclass
class Row:
    """One correction.

    Args:
        settings: to run with.
        bad: a setting outside its range; empty without settings.
        neutral: settings and class counts under which nothing is corrected: the algorithm is then the plain one, bit
            for bit. None if there are none.
        bases: algorithms that it is put around.
        refuses: an algorithm that it cannot be put around, and the reason.
        fields: further fields of the batch.
        entangled: whether it and the algorithm use each other's statistics of the step in progress. What they keep of
            the first passes of a step is then not what they would keep of a single one, unless one of them has none.
        waits: whether it reads values on the host in some steps, and says so.
    """

    settings: dict = field(default_factory=dict)
    bad: dict = field(default_factory=dict)
    neutral: tuple[dict, torch.Tensor] | None = None
    bases: tuple[str, ...] = BASES
    refuses: tuple[str, str] | None = ("pi_model", "it needs pseudo-labels")
    fields: Callable[[SSLBatch, int], Fields] = _nothing
    entangled: bool = False
    waits: bool = False


ROWS = {
    "balanced_sampling": Row(neutral=({}, COUNTS), refuses=None),
    "logit_adjustment": Row({"tau": 0.5}, {"tau": -1.0}, ({"tau": 0.0}, COUNTS), refuses=None),
    "abc": Row({"threshold": 0.5, "weight": 0.7}, {"threshold": 1.5}, ({"weight": 0.0}, COUNTS)),
    "cdmad": Row({"start_step": 1}, {"start_step": -1}, ({"start_step": 1_000}, COUNTS), fields=_content_free),
    "debiaspl": Row({"tau": 0.5, "momentum": 0.6}, {"momentum": 1.0}, ({"tau": 0.0}, COUNTS)),
    "saw": Row(entangled=True),
    "adsh": Row({"tau_1": 0.7}, {"tau_1": 1.5}, bases=("fixmatch",), refuses=("freematch", "threshold")),
    "tras": Row(
        {"warmup_epochs": 1},
        {"A": -1.0},
        bases=("fixmatch", "adamatch"),
        refuses=("freematch", "threshold that stays"),
    ),
    "daso": Row(
        {"pretrain_steps": 1, "distribution_update_period": 2, "queue_size": 20}, {"queue_size": 0}, entangled=True
    ),
    "darp": Row({"warmup_epochs": 0, "refine_every": 1}, {"alpha": 0.5}, entangled=True, waits=True),
    "cossl": Row({"max_lambda": 0.6}, {"max_lambda": 1.5}, fields=_mixtures),
    "crest": Row({"generations": 3, "generation": 1}, {"generations": 0}, ({"generation": 0}, COUNTS)),
    "crest_plus": Row({"generations": 3, "generation": 1, "momentum": 0.6}, {"momentum": 1.0}, entangled=True),
    "simis": Row(refuses=("simmatch", "its memory has a slot for each given label")),
}
CORRECTIONS = {name: ROWS[name] for name in IMBALANCE if name in ROWS}
PAIRS = [(name, base) for name, row in CORRECTIONS.items() for base in row.bases]


def make_corrected(
    name: str, base: str = "fixmatch", dtype=torch.float64, counts=COUNTS, settings=None, threshold=None, **changes
):
    """The algorithm `base` with its settings of `algorithm_cases`, corrected; None as `name` leaves it plain."""
    torch.manual_seed(1)
    given = {**CASES[base].settings, **changes}
    if name is not None:
        row = CORRECTIONS[name].settings if settings is None else settings
        given |= {"imbalance": name, "imbalance_kwargs": row, "class_counts": counts}
    algorithm = get_algorithm(
        base,
        num_classes=CLASSES,
        num_labeled=LABELED_SET,
        num_unlabeled=POOL,
        feature_size=DIM,
        labeled_batch_size=LABELED,
        unlabeled_batch_size=UNLABELED,
        class_distribution=counts / counts.sum(),
        **given,
    )
    return algorithm.to(dtype)


def make_batch(name: str | None, step: int, **options) -> SSLBatch:
    """The batch of `algorithm_cases`, with what the correction reads."""
    batch = algorithm_cases.make_batch(step, **options)
    return batch if name is None else replace(batch, **CORRECTIONS[name].fields(batch, step))


def taken(batch: SSLBatch, labeled, unlabeled) -> SSLBatch:
    """Some labeled examples of a batch, and some of the pool, by slices or positions."""

    def take(value, rows):
        if isinstance(value, dict):
            return {key: take(each, rows) for key, each in value.items()}
        return value if value is None or value.ndim == 0 else value[rows]

    given = {each.name: getattr(batch, each.name) for each in fields(SSLBatch) if each.name not in _OF_NONE}
    parts = {name: take(value, unlabeled if name in _OF_POOL else labeled) for name, value in given.items()}
    return SSLBatch(**parts, **{name: getattr(batch, name) for name in _OF_NONE})


def run_step(name, base, algorithm, step, models=None, batch=None, dtype=torch.float64):
    """One step of `algorithm_cases.run_step`, whose epochs are those of the base."""
    batch = make_batch(name, step, dtype=dtype) if batch is None else batch
    return algorithm_cases.run_step(base, algorithm, step, models or make_models(), batch, dtype=dtype)
