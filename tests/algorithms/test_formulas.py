"""The loss of every algorithm from its named terms: which weight each has, for any unsupervised weight and warm-up."""

import re

import pytest
import torch
from torch import nn

from hf_ssl import ModelForward, Progress, SSLBatch, get_algorithm

from tests.helpers.algorithm_cases import (
    ALL_CASES,
    MAX_STEPS,
    class_of,
    fix_mixup,
    make_algorithm,
    make_batch,
    make_models,
    progress_of,
    run_step,
)

# The weights of an algorithm's terms, with w = unsupervised_weight, r = `Progress.unsupervised_ramp` (the trainer's
# warm-up), and s = its own warm-up, a line from 0 to 1 over `warmup_fraction` of the run.
WEIGHTS = {
    "supervised": "supervised",
    "entropy_minimization": "supervised + w*r*s * unsupervised",
    "pseudo_label": "supervised + w*r*s * unsupervised",
    "pi_model": "supervised + w*r*s * unsupervised",
    "mean_teacher": "supervised + w*r*s * unsupervised",
    "vat": "supervised + w*r*s * unsupervised + 0.1 * entropy",
    "mixmatch": "supervised + w*r*s * unsupervised",
    "remixmatch": "supervised + w*r*s * unsupervised + 0.4*r*s * anchored + 0.3 * rotation",
    "fixmatch": "supervised + w*r * unsupervised",
    "uda": "supervised + w*r * unsupervised",
    "noisy_student": "supervised + w*r * unsupervised",
    "propagation": "supervised + w*r * unsupervised",
    "flexmatch": "supervised + w*r * unsupervised",
    "adamatch": "supervised + w*r * unsupervised",
    "dash": "supervised + w*r * unsupervised",
    "freematch": "supervised + w*r * unsupervised + 0.3 * fairness",
    "softmatch": "supervised + w*r * unsupervised",
    "crmatch": "supervised + w*r * unsupervised + distance + 0.5 * rotation",
    "defixmatch": "supervised + w*r * unsupervised - w*r * debias",
    "refixmatch": "supervised + w*r * unsupervised + w*r * low_confidence",
    "comatch": "supervised + w*r * unsupervised + 0.7 * contrastive",
    "simmatch": "supervised + w*r * unsupervised + 0.6 * instance",
    "sequencematch": "supervised + w*r * unsupervised + w*r * divergences",
    "shrinkmatch": "supervised + w*r * unsupervised + w*r*certain_ratio * shrink",
    # The second of ten steps.
    "cgmatch": "supervised + w*r * unsupervised + r*0.2**2 * ambiguous",
    "multimatch": "supervised + w*r * unsupervised",
    "regmixmatch": "supervised + w*r * unsupervised + 0.3 * fairness + r * regmix + r * class_aware",
    "semireward": "supervised + w*r * unsupervised + rewarder",
    "allmatch": "supervised + w*r * unsupervised + w*r*0.3 * binary",
    "multi_label/supervised": "supervised",
    "multi_label/pseudo_label": "supervised + w*r*s * unsupervised",
    "multi_label/mean_teacher": "supervised + w*r*s * unsupervised",
    "multi_label/fixmatch": "supervised + w*r * unsupervised",
    "multi_label/cap": "supervised + w*r*s * unsupervised",
    "openmatch": "supervised + w*r * unsupervised + one_vs_all + 0.3 * certainty + 0.7 * agreement",
    "iomatch": "supervised + w*r * unsupervised + 0.6 * open + 0.8 * multi_binary",
}
# Metrics that weigh a term.
SHARES = {"certain_ratio"}
every_algorithm = pytest.mark.parametrize("name", list(ALL_CASES))


@pytest.mark.parametrize(("weight", "ramp"), [(0.0, 1.0), (0.5, 1.0), (2.0, 0.25), (2.0, 0.0)])
@every_algorithm
def test_each_term_has_its_weight(name, weight, ramp):
    algorithm, models = make_algorithm(name, unsupervised_weight=weight), make_models()
    # Memories and thresholds are in use after two steps.
    for step in range(3):
        output = run_step(name, algorithm, step, models, ramp=ramp)
    fraction = ALL_CASES[name].settings.get("warmup_fraction", 0.0)
    own = min(2 / (fraction * MAX_STEPS), 1.0) if fraction else 1.0
    expected = eval(WEIGHTS[name], {"w": weight, "r": ramp, "s": own, **output.metrics, **output.terms})
    torch.testing.assert_close(output.loss, expected, rtol=1e-12, atol=0)
    assert set(output.terms) == set(re.findall(r"[a-z_]{2,}", WEIGHTS[name])) - SHARES


@every_algorithm
def test_the_docstring_states_the_formula_and_its_source(name):
    text = class_of(name).__doc__
    assert re.search(r"^        loss = ", text, re.MULTILINE), "no line with the loss"
    terms = {
        "supervised": ("CE(", "SL(")[name == "multi_label/cap"],
        "unsupervised": "unsupervised_weight",
        "rotation": "rotation_weight",
    }
    terms |= {"anchored": "kl_weight", "entropy": "entropy_weight", "fairness": "fairness_weight"}
    terms |= {"contrastive": "contrastive_weight", "instance": "instance_weight", "distance": "cos("}
    terms |= {"divergences": "D(weak", "shrink": "certain_ratio", "ambiguous": "ambiguous_weight"}
    terms |= {"regmix": "regmix = sum", "class_aware": "class_aware = mean"}
    terms |= {
        "binary": "binary = mean",
        "certainty": "entropy_weight",
        "agreement": "consistency_weight",
        "open": "open_weight",
    }
    terms |= {"one_vs_all": "one_vs_all = mean", "multi_binary": "multi_binary_weight"}
    for term in set(re.findall(r"[a-z_]{2,}", WEIGHTS[name])) & set(terms):
        assert terms[term] in text, term
    assert ("warmup *" in text) == ("*s" in WEIGHTS[name])
    assert name.endswith("supervised") or re.search(r"Papers?: ", text)


class Flat(nn.Module):
    """Features are the inputs."""

    def __init__(self, weight):
        super().__init__()
        self.classifier = nn.Linear(*reversed(weight.shape), bias=False)
        self.classifier.weight.data.copy_(weight)

    def forward(self, x):
        return self.classifier(x)


LOGITS = {  # [labeled: 1 example of class 0], [unlabeled: a certain one of class 1 and an uncertain one]
    "labeled": [[1.0, 0.0, 0.5]],
    "weak": [[0.0, 4.0, 1.0], [0.2, 0.0, 0.1]],
    "strong": [[1.0, 0.0, -1.0], [0.0, 1.0, 2.0]],
    "rotated": [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
}
SIZES = {"num_classes": 3, "feature_size": 3, "num_labeled": 1, "num_unlabeled": 2}
SIZES |= {"labeled_batch_size": 1, "unlabeled_batch_size": 2, "threshold": 0.8}


def run_flat(algorithm, ramp=1.0):
    views = {name: {"x": torch.tensor(rows, dtype=torch.float64)} for name, rows in LOGITS.items()}
    batch = SSLBatch(views.pop("labeled"), torch.tensor([0]), views, rotation_labels=torch.tensor([0, 1]))
    return algorithm.double()(ModelForward(Flat(torch.eye(3)).double()), batch, Progress(3, 10, 5, ramp))


def log_softmax(row, temperature=1.0):
    row = torch.tensor(row, dtype=torch.float64) / temperature
    return row - row.exp().sum().log()


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize(("weight", "ramp"), [(0.0, 1.0), (0.5, 1.0), (2.0, 1.0), (2.0, 0.25), (2.0, 0.0)])
def test_refixmatch_by_hand(hard, weight, ramp):
    algorithm = get_algorithm("refixmatch", unsupervised_weight=weight, hard_labels=hard, temperature=0.5, **SIZES)
    weak, strong = LOGITS["weak"], LOGITS["strong"]
    target = torch.tensor([0.0, 1.0, 0.0]).double() if hard else log_softmax(weak[0], 0.5).exp()
    high = -(target * log_softmax(strong[0])).sum() / 2
    q = log_softmax(log_softmax(weak[1]).exp().tolist(), 0.5)
    low = (q.exp() * (q - log_softmax(strong[1], 0.5))).sum() / 2
    expected = -log_softmax(LOGITS["labeled"][0])[0] + weight * ramp * (high + low)
    torch.testing.assert_close(run_flat(algorithm, ramp).loss, expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("weight", [0.5, 2.0])
@pytest.mark.parametrize("turned", [1.0, -1.0])
def test_crmatch_pushes_features_apart_until_they_are_orthogonal(hard, weight, turned):
    settings = {"unsupervised_weight": weight, "hard_labels": hard, "temperature": 0.5, "rotation_weight": 0.0}
    algorithm = get_algorithm("crmatch", **settings, **SIZES).double()
    distance = torch.tensor([[1.0, 2.0, 0.0], [0.0, -1.0, 1.0], [1.0, 0.0, 3.0]]).double()
    algorithm.distance.weight.data.copy_(distance)
    algorithm.distance.bias.data.zero_()
    strong = [turned * value for value in LOGITS["strong"][0]]
    views = {"weak": LOGITS["weak"], "strong": [strong, LOGITS["strong"][1]]}
    batch = SSLBatch(
        {"x": torch.tensor(LOGITS["labeled"]).double()},
        torch.tensor([0]),
        {name: {"x": torch.tensor(rows).double()} for name, rows in views.items()},
    )
    output = algorithm(ModelForward(Flat(torch.eye(3)).double()), batch, Progress(3, 10, 5))
    first, second = distance @ torch.tensor(LOGITS["weak"][0]).double(), distance @ torch.tensor(strong).double()
    cosine = first @ second / (first.norm() * second.norm())
    assert cosine * turned > 0 and abs(cosine) > 0.1
    # The first example alone is certain; there are two.
    apart = max(cosine.item(), 0.0) / 2
    assert output.terms["distance"].item() == pytest.approx(apart, rel=1e-10, abs=0)
    target = torch.tensor([0.0, 1.0, 0.0]).double() if hard else log_softmax(LOGITS["weak"][0], 0.5).exp()
    unsupervised = -(target * log_softmax(strong)).sum() / 2
    expected = -log_softmax(LOGITS["labeled"][0])[0] + weight * unsupervised + apart
    torch.testing.assert_close(output.loss, expected, rtol=1e-10, atol=0)
    output.loss.backward()
    assert (algorithm.distance.weight.grad.abs().sum() > 0) == (cosine > 0)


class Normalized(nn.Module):
    """Notes how many examples each call has that batch normalization records."""

    def __init__(self):
        super().__init__()
        self.norm, self.classifier = nn.BatchNorm1d(4), nn.Linear(4, 3)
        self.recorded = []

    def forward(self, x):
        if self.norm.track_running_stats and self.training:
            self.recorded.append(x.detach())
        return self.classifier(self.norm(x))


@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.parametrize("views", ["published", "labeled"])
@pytest.mark.parametrize("name", ["pseudo_label", "pi_model", "vat", "mixmatch", "remixmatch"])
def test_batch_normalization_records_what_the_reference_records(name, views, modality):
    algorithm, model = make_algorithm(name, modality=modality), Normalized().double()
    batch = fix_mixup(name, make_batch(3))
    algorithm(ModelForward(model, batch_norm_views=views), batch, progress_of(name, 3))
    (recorded,) = model.recorded
    labeled = batch.labeled["x"]
    if modality == "image" and name in ("mixmatch", "remixmatch"):
        order = ("weak", "strong") if name == "mixmatch" else ("strong", "strong_2", "weak")
        joined = torch.cat([labeled, *(batch.unlabeled[view]["x"] for view in order)])
        labeled = (0.7 * joined + 0.3 * joined[batch.mix_permutation])[: len(labeled)]
    torch.testing.assert_close(recorded, labeled)
    assert model.norm.num_batches_tracked == 1
