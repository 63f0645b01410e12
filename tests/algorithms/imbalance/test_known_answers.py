"""Every correction against known answers of the published reference implementations, step by step, in float64."""

import json
from copy import deepcopy
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from hf_ssl import ModelForward, Progress, SSLBatch, get_algorithm
from hf_ssl.algorithms import IMBALANCE

KNOWN_ANSWERS = Path(__file__).resolve().parents[2] / "known_answers"
FILES = sorted((KNOWN_ANSWERS / "imbalance").glob("*.safetensors"))
# What is computed once from the labeled counts is kept in float32.
CLOSE = {"rtol": 1e-6, "atol": 1e-7}
VIEWS = ("weak", "strong", "strong_2")
# Inputs of fixed randomness that are model keywords, like the views.
FIXED_VIEWS = ("balanced_labeled", "balanced_unlabeled", "content_free")
# Statistics that a step finds; the others are those that it leaves.
FOUND = ("thresholds", "unlabeled_class_weights", "label_distribution")
# What exists only inside a step, and shows in its loss and gradients.
INSIDE = (
    "balanced_labeled_weight",
    "balanced_mask",
    "pseudo_label_confidence",
    "pseudo_probabilities",
    "aligned_probabilities",
    "bias_logits",
    "refined_sum",
    "pool_predictions_after",
    "pool_probabilities_after",
    "thresholds_after",
    "thresholds_share_m_over_n",
)


class Linear(nn.Module):
    """Features are the inputs."""

    def __init__(self, dim, num_classes):
        super().__init__()
        self.classifier = nn.Linear(dim, num_classes)

    def forward(self, x):
        return self.classifier(x)


def read(path):
    with safe_open(path, "pt") as file:
        meta = json.loads(file.metadata()["meta"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open has no __iter__)
    return meta, {key: each.double() if each.is_floating_point() else each for key, each in tensors.items()}


def close(actual, expected, what):
    torch.testing.assert_close(actual.to(expected.dtype), expected, **CLOSE, msg=lambda text: f"{what}: {text}")


def below(golden, place):
    """The tensors under `place`, by the rest of their names."""
    return {key.removeprefix(place): value for key, value in golden.items() if key.startswith(place)}


def make_batch(golden, step):
    given = below(golden, "input/") | below(golden, f"step{step}/input/")
    fixed = {each.name for each in fields(SSLBatch)} & set(given) - {"labeled", "labels"}
    more = {name: {"x": given[name]} if name in FIXED_VIEWS else given[name] for name in fixed}
    # The gradient for the strong view is that for the features, which this model hands through.
    unlabeled = {name: {"x": given[name].clone().requires_grad_(name == "strong")} for name in VIEWS if name in given}
    return SSLBatch({"x": given["labeled"]}, given["labels"], unlabeled, **more)


def make_algorithm(meta):
    kwargs, size = dict(meta["imbalance_kwargs"]), meta["batch_size"]
    kwargs.pop("class_counts", None)
    algorithm = get_algorithm(
        meta["algorithm"],
        num_classes=meta["num_classes"],
        num_labeled=meta["num_labeled"],
        num_unlabeled=meta["num_unlabeled"],
        feature_size=meta["dim"],
        labeled_batch_size=size,
        unlabeled_batch_size=size * meta["uratio"],
        unsupervised_weight=meta["lambda_u"],
        imbalance=meta["imbalance"],
        imbalance_kwargs=kwargs,
        class_counts=meta["labeled_class_counts"],
        **meta["hyperparameters"],
    )
    return algorithm.double()


def begin(model, algorithm, golden):
    """The trained parameters by name, at their initial values; what else is known of the start is compared."""
    parameters = {**dict(model.named_parameters()), **dict(algorithm.named_parameters())}
    for name, value in below(golden, "init/").items():
        if name in parameters:
            parameters[name].data.copy_(value)
        else:
            close(getattr(algorithm, name), value, f"initial {name}")
    for name in (key for key in golden if "/" not in key):
        close(getattr(algorithm, name), golden[name], name)
    return parameters


def check_step(algorithm, output, golden, step):
    """The answer of a step, and the statistics that it leaves."""
    found = {**output.terms, **output.metrics}
    found |= {"loss": output.loss, "mask": output.mask, "pseudo_labels": output.pseudo_labels}
    for name, expected in below(golden, f"step{step}/").items():
        kind, _, inner = name.partition("/")
        if kind in ("input", "grad") or name in FOUND + INSIDE:
            continue
        actual = found[inner or name] if (inner or name) in found else getattr(algorithm, name)
        close(actual, expected, f"{name} of step {step}")


def check_gradients(parameters, batch, golden, step):
    strong = batch.unlabeled["strong"]["x"]
    for name, expected in below(golden, f"step{step}/grad/").items():
        gradient = strong.grad if name == "features_strong" else parameters[name].grad
        close(gradient, expected, f"gradient of {name} in step {step}")


def update(model, teacher, parameters, meta):
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.sub_(meta["lr"] * parameter.grad)
            parameter.grad = None
        for average, parameter in zip(teacher.parameters(), model.parameters(), strict=True):
            average.lerp_(parameter, 1 - meta["ema_decay"])


def answers(algorithm, forward, golden):
    """Logits of the classifier that is evaluated and saved."""
    head = algorithm.correction.corrected_head(forward, {"x": golden["input/content_free"]})
    return nn.functional.linear(golden["input/test"], *head)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_reproduces_the_reference(path):
    meta, golden = read(path)
    algorithm, model = make_algorithm(meta), Linear(meta["dim"], meta["num_classes"]).double()
    parameters = begin(model, algorithm, golden)
    teacher = deepcopy(model).requires_grad_(False)
    forward = ModelForward(model, teacher=teacher if algorithm.uses_teacher else None)
    for step in range(meta["steps"]):
        for name in (name for name in FOUND if f"step{step}/{name}" in golden):
            close(getattr(algorithm, name), golden[f"step{step}/{name}"], f"{name} before step {step}")
        batch = make_batch(golden, step)
        output = algorithm(forward, batch, Progress(step, meta["max_steps"], meta["steps_per_epoch"]))
        check_step(algorithm, output, golden, step)
        output.loss.backward()
        check_gradients(parameters, batch, golden, step)
        update(model, teacher, parameters, meta)
        if "input/pool" in golden and (step + 1) % meta["steps_per_epoch"] == 0:
            algorithm.correction.see_pool(teacher(golden["input/pool"]).softmax(dim=-1))
    for name, expected in below(golden, "final/").items():
        found = answers(algorithm, forward, golden) if name == "test_logits" else getattr(algorithm, name)
        close(found, expected, f"final {name}")


def test_covers_every_correction():
    """But for the simple baselines, which have no reference; files of other folders have tests of their own."""
    known = {path.stem.split("-")[0] for path in KNOWN_ANSWERS.rglob("*.safetensors")}
    assert known >= set(IMBALANCE) - {"balanced_sampling", "logit_adjustment"}
