"""The formulas of the algorithms for several labels once more, as `algorithm_references`: label after label."""

import math

import numpy as np

from tests.helpers.algorithm_references import ramp, weight


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def probabilities(rows):
    return np.array([[sigmoid(z) for z in row] for row in rows])


def loss_of(case, rows, targets, mask=None):
    """The asymmetric loss, which is the binary cross-entropy with gammas and clip of 0."""
    s, total, count = case.settings, 0.0, 0
    for i, row in enumerate(rows):
        for c, z in enumerate(row):
            p, y, m = sigmoid(z), targets[i][c], 1.0 if mask is None else mask[i][c]
            shifted = max(p - s["clip"], 0.0)
            positive = (1 - p) ** s["gamma_positive"] * math.log(p)
            negative = shifted ** s["gamma_negative"] * math.log(1 - shifted)
            total -= m * (y * positive + (1 - y) * negative)
            count += 1
    return total / count


def supervised(case):
    return loss_of(case, case.labeled, case.y), None


def judged(probs, positive, negative):
    """Present, and present or absent, by thresholds for each label."""
    targets = np.array([[float(p >= positive[c]) for c, p in enumerate(row)] for row in probs])
    mask = np.array([[float(p >= positive[c] or p <= negative[c]) for c, p in enumerate(row)] for row in probs])
    return targets, mask


def constant(case):
    s, classes = case.settings, len(case.weak[0])
    return judged(probabilities(case.weak), [s["threshold"]] * classes, [s["negative_threshold"]] * classes)


def pseudo_label(case):
    targets, mask = constant(case)
    return supervised(case)[0] + weight(case) * ramp(case) * loss_of(case, case.weak, targets, mask), mask


def fixmatch(case):
    targets, mask = constant(case)
    return supervised(case)[0] + weight(case) * loss_of(case, case.strong, targets, mask), mask


def mean_teacher(case):
    wanted = probabilities(case.teach(case.x["weak"]))
    error = np.mean([(p - q) ** 2 for p, q in zip(probabilities(case.strong).flat, wanted.flat, strict=True)])
    return supervised(case)[0] + weight(case) * ramp(case) * error, None


def cap(case):
    s, state, classes = case.settings, case.state, len(case.weak[0])
    probs = probabilities(case.weak)
    positive = state.get("positive_threshold", np.full(classes, 2.0))
    negative = state.get("negative_threshold", np.full(classes, -1.0))
    targets, mask = judged(probs, positive, negative)
    loss = supervised(case)[0] + weight(case) * ramp(case) * loss_of(case, case.strong, targets, mask)
    # The last two steps, of eight examples each, the newest first.
    seen = [*probs.tolist(), *state.get("recent_probabilities", np.empty(0)).tolist()]
    seen = [row for row in seen if row[0] >= 0][: s["queue_size"]]
    state["positive_threshold"], state["negative_threshold"] = np.full(classes, 2.0), np.full(classes, -1.0)
    for c in range(classes):
        share, values = float(case.class_distribution[c]), sorted(row[c] for row in seen)
        wanted = round(s["positive_share"] * share * len(seen))
        absent = min(round(s["negative_share"] * (1 - share) * len(seen)), len(seen) - wanted)
        if wanted:
            state["positive_threshold"][c] = values[-wanted]
        if absent:
            state["negative_threshold"][c] = values[absent - 1]
    missing = np.full((s["queue_size"] - len(seen), classes), -1.0)
    state["recent_probabilities"], state["recent_count"] = np.concatenate([seen, missing]), len(seen)
    return loss, mask
