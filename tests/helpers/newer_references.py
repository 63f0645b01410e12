"""The formulas of the methods after USB's paper, as in `algorithm_references.py`."""

from collections import Counter

import numpy as np

from tests.helpers.algorithm_references import (
    average,
    ce,
    fixed,
    flexmatch,
    hard,
    kl,
    mean_ce,
    moving_alignment,
    ramp,
    softmax,
    sup,
    weight,
)


def entropy_minimization(case):
    probs = [softmax(row) for row in case.weak]
    return sup(case) - weight(case) * ramp(case) * np.mean([p @ np.log(p) for p in probs]), None


def sequencematch(case):
    loss, mask = flexmatch(case)
    t = case.settings["temperature"]
    for weak, medium, strong, m in zip(case.weak, case.medium, case.strong, mask, strict=True):
        first, second = softmax(softmax(weak), t), softmax(softmax(medium), t)
        apart = kl(first, softmax(medium)) + kl(second, softmax(strong)) + kl(first, softmax(strong))
        loss += weight(case) * m * apart / len(mask)
    return loss, mask


def shrinkmatch(case):
    settings, state = case.settings, case.state
    probs = [softmax(row) for row in case.weak]
    mask = fixed(case.weak, settings["threshold"])
    ratio = average(state, "certain_ratio", mask.mean(), mask.mean(), settings["ratio_momentum"])
    shrink = 0.0
    for p, m, logits in zip(probs, mask, case.head("auxiliary_head", case.x["strong"]), strict=True):
        order = np.argsort(-p)
        for removed in range(1, len(p) - 1):
            left = [order[0], *order[1 + removed :]]
            if not m and p[order[0]] / p[left].sum() >= settings["threshold"]:
                shrink += max(p) * ce(logits[left], 0) / len(mask)
                break
    unsupervised = mean_ce(case.strong, hard(case.weak), mask)
    return sup(case) + weight(case) * (unsupervised + ratio * shrink), mask


def gap(predictions):
    counts = Counter(label for label in predictions if label >= 0)
    first, second = [*(count for _, count in counts.most_common(2)), 0, 0][:2]
    return first - second


def cgmatch(case):
    settings, state, size, m = case.settings, case.state, case.weak.shape[1], case.settings["momentum"]
    aligned = moving_alignment(case, m, np.ones(size) / size)
    labels, confidence = hard(aligned), [max(p) for p in aligned]
    past = state.setdefault("label_queue", -np.ones((case.pool, settings["queue_size"]), dtype=int))
    place = state.setdefault("label_position", np.zeros(case.pool, dtype=int))
    for i, label in zip(case.index, labels, strict=True):
        past[i, place[i]] = label
        place[i] = (place[i] + 1) % settings["queue_size"]
    gaps = [gap(past[i]) for i in case.index]
    start = np.mean([gap(each) for each in past])
    steady = average(state, "count_gap_mean", start, np.mean(gaps), m)
    level = average(state, "confidence_mean", 1 / size, np.mean(confidence), m)
    mask = [1.0 if c >= level else 0.0 for c in confidence]
    ambiguous = [1.0 if c < level and g >= steady else 0.0 for c, g in zip(confidence, gaps, strict=True)]
    q, second = settings["gce_q"], 0.0
    for weak, strong, label, a in zip(case.weak, case.strong, labels, ambiguous, strict=True):
        second += a * sum((1 - softmax(row)[label] ** q) / q for row in (weak, strong)) / len(mask)
    factor = settings["ambiguous_weight"] * case.unsupervised_ramp * (case.step / case.max_steps) ** 2
    return sup(case) + weight(case) * mean_ce(case.strong, labels, mask) + factor * second, mask
