"""Every algorithm against known answers of the published reference implementation, step by step."""

import json
from copy import deepcopy
from operator import attrgetter
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from hf_ssl import ModelForward, Progress, SSLBatch, get_algorithm
from hf_ssl.algorithms import ALGORITHMS

FOLDER = Path(__file__).resolve().parents[1] / "known_answers"
FILES = sorted([*FOLDER.glob("*.safetensors"), *FOLDER.glob("newer/*.safetensors")])
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
TWO_STEP_EPOCHS = {"comatch", "simmatch"}
HEADS = ("projection", "projection_2", "projection_3", "rotation", "distance", "auxiliary_head", "heads")
HEADS += ("multi_binary_head", "open_head")
# Names of terms in the files that are not those of `AlgorithmOutput.terms`; a weight is not one of these.
TERMS = {"cgmatch/easy": "unsupervised", "cgmatch/ambiguous_weight": None, "regmixmatch/entropy": "fairness"}
TERMS |= {"iomatch/selected_ratio": "mask_ratio"}
# Compared after each step, where a file has them.
STATISTICS = {name: name for name in ("alignment_model", "confidence_mean", "count_gap_mean")}
FREEMATCH = ("global_threshold", "class_probability", "label_histogram")
STATISTICS |= {name: name for name in FREEMATCH}
STATISTICS |= {"margin_thresholds_after": "margin_thresholds"}
# Settings beside those of a file.
VARIANTS = {"multimatch-published": {"published": True}}
# Those of which there is no published code to compare with; their formulas are in the helpers.
WITHOUT = {"allmatch", "entropy_minimization", "noisy_student", "openmatch", "propagation", "semireward"}
# Switches of the published code that ours has not.
SWITCHES = {"iomatch": ["rotation"]}


class Linear(nn.Module):
    """Features are the inputs."""

    def __init__(self, dim, num_classes):
        super().__init__()
        self.classifier = nn.Linear(dim, num_classes)

    def forward(self, x):
        return self.classifier(x)


def read(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["meta"]), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open has no __iter__)


def close(actual, expected, what):
    expected = expected.to(actual.dtype)
    torch.testing.assert_close(actual, expected, **CLOSE, msg=lambda text: f"{what}: {text}")


def make_batch(golden, step):
    given = {key.split("/")[-1]: value for key, value in golden.items() if key.startswith(f"step{step}/input/")}
    views = ("weak", "medium", "strong", "strong_2", "rotated")
    return SSLBatch(
        labeled={"x": given["labeled"]},
        labels=given["labels"],
        unlabeled={name: {"x": given[name]} for name in views if name in given},
        labeled_index=given.get("labeled_index"),
        unlabeled_index=given.get("unlabeled_index"),
        labeled_strong={"x": given["labeled_strong"]} if "labeled_strong" in given else None,
        rotation_labels=given.get("rotation_labels"),
        mix_lambda=given.get("mix_lambda"),
        mix_permutation=given.get("mix_permutation"),
        perturbation=given.get("vat_direction"),
        class_mix_lambda=given.get("class_mix_lambda"),
        class_mix_partner=given.get("class_mix_partner"),
    )


def trained(model, algorithm):
    """Name -> parameter, as the files name them."""
    named = dict(model.named_parameters())
    for head in HEADS:
        part = getattr(algorithm, head, None)
        if part is not None:
            named.update({f"{head}.{name}": parameter for name, parameter in part.named_parameters()})
    return named


def prepare(meta, golden, dtype, **variant):
    """The algorithm and the model of a file, with their initial parameters and statistics."""
    name, size = meta["algorithm"], meta["batch_size"]
    settings = {key: value for key, value in meta["hyperparameters"].items() if key not in SWITCHES.get(name, ())}
    algorithm = get_algorithm(
        name,
        num_classes=meta["num_classes"],
        num_labeled=meta["num_labeled"],
        num_unlabeled=meta["num_unlabeled"],
        feature_size=meta["dim"],
        labeled_batch_size=size,
        unlabeled_batch_size=size * meta["uratio"],
        class_distribution=golden.get("final/alignment_target") if name == "remixmatch" else None,
        unsupervised_weight=meta["lambda_u"],
        **settings,
        **variant,
    ).to(dtype)
    model = Linear(meta["dim"], meta["num_classes"]).to(dtype)
    parameters = {key: value for key, value in trained(model, algorithm).items() if f"init/{key}" in golden}
    with torch.no_grad():
        for key, parameter in parameters.items():
            parameter.copy_(golden[f"init/{key}"])
        for statistic in (*FREEMATCH, "memory_bank", "label_queue"):
            if f"init/{statistic}" in golden:
                getattr(algorithm, statistic).copy_(golden[f"init/{statistic}"])
        if "init/memory_bank" in golden:
            # In the reference slots vote before they are written, as examples of class 0.
            algorithm.memory_written.fill_(True)
    return algorithm, model, parameters


def compare_terms(name, golden, step, progress, algorithm, output):
    """Loss, terms, ratios, statistics and mask of a step."""
    close(output.loss, golden[f"step{step}/loss"], f"loss of step {step}")
    known = {"ramp": torch.tensor(progress.warmup(getattr(algorithm, "warmup_fraction", 0.0))), **output.metrics}
    for key in (key for key in golden if key.startswith(f"step{step}/terms/")):
        term = key.split("/")[-1]
        term = TERMS.get(f"{name}/{term}", term)
        if term is not None:
            close(known[term] if term in known else output.terms[term], golden[key], key)
    for key, statistic in STATISTICS.items():
        if f"step{step}/{key}" in golden:
            close(getattr(algorithm, statistic), golden[f"step{step}/{key}"], f"{statistic} of step {step}")
    if f"step{step}/open_mask" in golden:
        close(known["open_ratio"], golden[f"step{step}/open_mask"].mean(), f"open mask of step {step}")
    if f"step{step}/mask" in golden:
        mask = output.mask if output.labeled_mask is None else output.labeled_mask
        close(mask, golden[f"step{step}/mask"], f"mask of step {step}")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_reproduces_the_reference(path):
    meta, golden = read(path)
    # The newer files are in float64 throughout, but for their inputs.
    dtype = torch.float64 if meta.get("precision") == "float64" else torch.float32
    golden = {key: value.to(dtype) if value.is_floating_point() else value for key, value in golden.items()}
    name = meta["algorithm"]
    algorithm, model, parameters = prepare(meta, golden, dtype, **VARIANTS.get(path.stem, {}))
    teacher = deepcopy(model).requires_grad_(False) if algorithm.uses_teacher else None
    steps_per_epoch = 2 if name in TWO_STEP_EPOCHS else meta["steps_per_epoch"]
    for step in range(meta["steps"]):
        progress = Progress(step, meta["max_steps"], steps_per_epoch)
        output = algorithm(ModelForward(model, teacher=teacher), make_batch(golden, step), progress)
        compare_terms(name, golden, step, progress, algorithm, output)
        for parameter in parameters.values():
            parameter.grad = None
        output.loss.backward()
        for key, parameter in parameters.items():
            close(parameter.grad, golden[f"step{step}/grad/{key}"], f"gradient of {key} in step {step}")
        with torch.no_grad():
            for parameter in parameters.values():
                parameter.sub_(meta["lr"] * parameter.grad)
            if teacher is not None:
                for average, parameter in zip(teacher.parameters(), model.parameters(), strict=True):
                    average.lerp_(parameter, 1 - meta["ema_decay"])
    for key in (key for key in golden if key.startswith("final/")):
        statistic = attrgetter(key.removeprefix("final/").replace("/", "."))(algorithm)
        close(statistic.to(golden[key].dtype), golden[key], key)


def test_covers_every_algorithm():
    assert {path.stem.split("-")[0] for path in FILES} | WITHOUT == set(ALGORITHMS)
