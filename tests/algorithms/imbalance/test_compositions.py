"""Corrections of pseudo-labels around several algorithms: right values from formulas, and refusals with a reason."""

import numpy as np
import pytest
import torch

from hf_ssl import get_algorithm
from hf_ssl.algorithms import ALGORITHMS, IMBALANCE

from tests.helpers.algorithm_cases import (
    CLASSES,
    DIM,
    LABELED,
    LABELED_SET,
    UNLABELED,
    make_algorithm,
    make_batch,
    make_models,
    make_reference,
    progress_of,
    run_step,
)
from tests.helpers.algorithm_references import ce, softmax, unit

BASES = ("fixmatch", "freematch", "adamatch", "softmatch", "comatch", "simmatch")
CONSTANT = ("fixmatch", "comatch", "simmatch")
COUNTS = np.array([2.0, 3.0, 1.0])
STEPS = 7
EXACT = {"rtol": 1e-5, "atol": 1e-6}


class DebiasPL:
    settings = {"tau": 0.7, "momentum": 0.6}
    # FreeMatch's fairness term reads the strong predictions as they are.
    base_settings = {"freematch": {"fairness_weight": 0.0}}

    def __init__(self, algorithm):
        self.mean = np.ones(CLASSES) / CLASSES

    def correct(self, case):
        probs = [softmax(row) for row in case.weak]
        case.weak = case.weak - 0.7 * np.log(self.mean)
        self.mean = 0.6 * self.mean + 0.4 * np.mean(probs, axis=0)
        case.strong = case.strong + 0.7 * np.log(self.mean)
        self.case = case

    def added(self, output, mask):
        return 0.0


class SAW:
    settings = {}
    base_settings = {}

    def __init__(self, algorithm):
        self.pool, self.weights = {}, np.ones(CLASSES)

    @staticmethod
    def effective(counts):
        counts = np.maximum(counts, 1)
        inverse = 1 / (1 - (1 - 1 / counts.mean()) ** counts)
        return CLASSES * inverse / inverse.sum()

    def correct(self, case):
        self.case = case
        if case.step > 0 and case.begins_epoch:
            self.weights = self.effective(np.array([list(self.pool.values()).count(c) for c in range(CLASSES)]))

    def added(self, output, mask):
        case, labeled = self.case, self.effective(COUNTS)
        found = output.pseudo_labels.detach().numpy()
        supervised = np.mean([(labeled[y] - 1) * ce(row, y) for row, y in zip(case.labeled, case.y, strict=True)])
        unsupervised = 0.0
        for row, target, m, i in zip(case.strong, found, mask, case.index, strict=True):
            weight = self.weights[target] if target.ndim == 0 else self.weights @ target
            unsupervised += (weight - 1) * m * ce(row, target) / len(mask)
            self.pool[i] = int(target if target.ndim == 0 else target.argmax())
        return supervised + unsupervised


class TRAS:
    settings = {"A": 1.5, "B": 0.5, "tro": 0.8, "warmup_epochs": 1}
    base_settings = {}

    def __init__(self, algorithm):
        self.head = algorithm.balanced_head
        self.threshold = algorithm.threshold.threshold
        self.la = 0.8 * np.log(COUNTS / COUNTS.sum())
        self.temperature = 1.5 * softmax(-self.la) + 0.5

    def logits(self, view):
        return self.head(torch.from_numpy(self.case.x[view])).detach().numpy()

    def correct(self, case):
        case.weak, self.case = case.weak - self.la, case

    def added(self, output, mask):
        case, loss = self.case, 0.0
        if case.epoch < 1:
            return 0.0
        for row, y in zip(self.logits("labeled"), case.y, strict=True):
            loss += ce(row + self.la, y) / len(case.y)
        for weak, strong in zip(self.logits("weak"), self.logits("strong"), strict=True):
            if max(softmax(weak)) >= self.threshold:
                moved = weak - self.temperature[weak.argmax()] * self.la
                loss += ce(strong, softmax(moved, 2.0)) / len(mask)
        return loss


class DASO:
    settings = {"pretrain_steps": 2, "distribution_update_period": 3, "queue_size": 2, "weight": 0.4}
    base_settings = {}

    def __init__(self, algorithm):
        self.queues, self.counts, self.known = [[] for _ in range(CLASSES)], np.zeros(CLASSES), np.zeros(CLASSES)

    def similar(self, features):
        means = [np.mean(queue, axis=0) if queue else None for queue in self.queues]
        cosines = np.array([0.0 if mean is None else unit(mean) @ unit(features) for mean in means])
        return cosines / 0.05

    def correct(self, case):
        self.case = case
        for features, label in zip(case.x["labeled"], case.y, strict=True):
            self.queues[label] = [*self.queues[label], features][-2:]
        self.blend(case)
        self.counts = self.counts + np.bincount(case.weak.argmax(axis=1), minlength=CLASSES)
        if (case.step + 1) % 3 == 0:
            self.known, self.counts = self.counts, np.zeros(CLASSES)

    def blend(self, case):
        if case.step < 2:
            return
        shares = (self.known if self.known.any() else self.counts) ** (1 / 1.5)
        shares = shares / shares.max()
        blended = []
        for logits, features in zip(case.weak, case.x["weak"], strict=True):
            p = softmax(logits)
            v = shares[p.argmax()]
            blended.append(np.log((1 - v) * p + v * softmax(self.similar(features))))
        case.weak = np.array(blended)

    def added(self, output, mask):
        pairs = zip(self.case.x["strong"], self.case.x["weak"], strict=True)
        terms = [ce(self.similar(strong), softmax(self.similar(weak))) for strong, weak in pairs]
        return 0.4 * np.mean(terms) if self.case.step >= 2 else 0.0


CORRECTIONS = {"debiaspl": DebiasPL, "saw": SAW, "tras": TRAS, "daso": DASO}
FALLING = ("freematch", "softmatch", "flexmatch", "dash")
PAIRS = [(name, base) for name in CORRECTIONS for base in BASES if name != "tras" or base not in FALLING]


@pytest.mark.parametrize(("name", "base"), PAIRS)
def test_the_loss_is_that_of_the_formula(name, base):
    cls = CORRECTIONS[name]
    more = cls.base_settings.get(base, {})
    algorithm = make_algorithm(base, imbalance=name, imbalance_kwargs=cls.settings, class_counts=COUNTS, **more)
    models, formula = make_models(), cls(algorithm)

    def correct(case):
        case.begins_epoch = progress_of(base, case.step).begins_epoch
        case.settings.update(more)
        formula.correct(case)

    reference = make_reference(base, algorithm, models, correct=correct)
    for step in range(STEPS):
        batch = make_batch(step)
        batch.mix_lambda, batch.mix_permutation = torch.tensor(0.5), torch.arange(LABELED)
        output = run_step(base, algorithm, step, models, batch)
        loss, mask = reference(batch, step)
        np.testing.assert_allclose(output.mask.numpy(), mask, **EXACT)
        np.testing.assert_allclose(output.loss.item(), loss + formula.added(output, mask), **EXACT)


@pytest.mark.parametrize("base", CONSTANT)
def test_adsh_replaces_a_constant_threshold(base):
    algorithm = make_algorithm(base, imbalance="adsh", imbalance_kwargs={"tau_1": 0.8}, class_counts=COUNTS)
    models, seen, thresholds, told = make_models(), {}, np.full(CLASSES, np.exp(-0.8)), []
    # What the algorithm judges, from the outside.
    refine = algorithm.refine
    algorithm.refine = lambda *args: told.append(refine(*args)) or told[-1]
    for step in range(STEPS):
        if progress_of(base, step).begins_epoch:
            thresholds = by_hand(seen, thresholds, largest=1, tau=0.8)
        batch = make_batch(step)
        output = run_step(base, algorithm, step, models, batch)
        probs = told[-1].detach().numpy()
        expected = probs.max(axis=1) >= thresholds[probs.argmax(axis=1)]
        np.testing.assert_array_equal(output.mask.numpy(), expected)
        for i, p in zip(batch.unlabeled_index.tolist(), probs, strict=True):
            seen[i] = int(p.argmax()), float(p.max())
    assert len(set(thresholds)) > 1


def by_hand(seen, thresholds, largest, tau):
    groups = [sorted((p for label, p in seen.values() if label == c), reverse=True) for c in range(CLASSES)]
    sure = sum(p >= tau for p in groups[largest])
    found = thresholds.copy()
    for c, group in enumerate(groups):
        rank = int(len(group) * (sure - 1) / len(groups[largest]) + 1e-9) if sure else len(group)
        if group:
            found[c] = group[rank - 1] if rank >= 1 else group[-1]
    return found


REFUSED = {
    **{("adsh", base): "rule of its own" for base in (*FALLING, "adamatch")},
    **{("tras", base): "threshold that stays high" for base in FALLING},
    **{(name, "defixmatch"): "labeled examples would stay" for name in (*CORRECTIONS, "adsh")},
    **{(name, base): "weak view" for name in (*CORRECTIONS, "adsh") for base in ("mixmatch", "pi_model", "vat")},
}


@pytest.mark.parametrize(("name", "base"), REFUSED)
def test_what_does_not_fit_is_refused_with_the_reason(name, base):
    with pytest.raises(ValueError, match=f"imbalance must be a correction that .* allows, .*{REFUSED[name, base]}"):
        make_algorithm(base, imbalance=name)


@pytest.mark.parametrize("name", [*CORRECTIONS, "adsh"])
def test_what_is_not_refused_trains(name):
    fitting = [base for base in ALGORITHMS if IMBALANCE[name].refusal(make_algorithm(base)) is None]
    assert set(CONSTANT) <= set(fitting)
    for base in fitting:
        output = run_step(base, make_algorithm(base, imbalance=name, class_counts=COUNTS), 0)
        assert output.mask.shape == (UNLABELED,), base


def test_a_stream_is_refused_where_the_pool_is_remembered():
    sizes = {"num_labeled": LABELED_SET, "labeled_batch_size": LABELED, "unlabeled_batch_size": UNLABELED}
    for name in ("saw", "adsh"):
        with pytest.raises(ValueError, match="keeps something for each example of the pool"):
            get_algorithm(
                "fixmatch", num_classes=CLASSES, feature_size=DIM, num_unlabeled=None, imbalance=name, **sizes
            )
