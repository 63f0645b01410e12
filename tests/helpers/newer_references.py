"""The formulas of the methods after USB's paper, as in `algorithm_references.py`."""

from collections import Counter

import numpy as np

from tests.helpers.algorithm_references import (
    average,
    ce,
    fixed,
    flexmatch,
    freematch,
    hard,
    hot,
    kl,
    mean_ce,
    moving_alignment,
    queue_alignment,
    ramp,
    softmax,
    sup,
    weight,
)

LABELED_SET = 6
# Row of the pool -> class: what was picked for the second round of those that train in rounds.
PICKED = {0: 0, 2: 1, 3: 1, 5: 0, 6: 2, 7: 1, 9: 0, 11: 1}


def entropy_minimization(case):
    probs = [softmax(row) for row in case.weak]
    return sup(case) - weight(case) * ramp(case) * np.mean([p @ np.log(p) for p in probs]), None


def noisy_student(case):
    labels, counts = PICKED, Counter(PICKED.values())
    # Class 0 was picked three times, class 1 four times, class 2 once: repeated as often as needed, all are equal.
    weights = {row: case.pool / (len(counts) * counts[label]) for row, label in labels.items()}
    mask = np.array([row in labels for row in case.index], dtype=float)
    each = [
        weights[row] * ce(logits, labels[row]) if row in labels else 0.0
        for row, logits in zip(case.index, case.strong, strict=True)
    ]
    return mean_ce(case.labeled_strong, case.y) + weight(case) * np.mean(each), mask


def spread(features, labels, classes, k, alpha):
    """Rows of (I - alpha P)^-1 Y, each with a sum of 1, by plain loops over a dense matrix."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    centered = unit - unit.mean(axis=0)
    centered /= np.linalg.norm(centered, axis=1, keepdims=True)
    cosines, size = centered @ centered.T, len(features)
    chosen = np.zeros((size, size))
    for i in range(size):
        for j in sorted(set(range(size)) - {i}, key=lambda j: -cosines[i, j])[:k]:
            chosen[i, j] = max(cosines[i, j], 0.0) ** 3
    weights = chosen + chosen.T
    scale = 1 / np.sqrt(np.maximum(weights.sum(axis=1), 1e-300))
    targets = np.array([[1.0 if label == c else 0.0 for c in range(classes)] for label in labels])
    z = np.linalg.solve(np.eye(size) - alpha * weights * scale[:, None] * scale[None, :], targets)
    sums = z.sum(axis=1, keepdims=True)
    return np.where(sums > 0, z / np.where(sums > 0, sums, 1.0), 1 / classes)


def certainty(row):
    return 1 + sum(p * np.log(p) for p in row if p > 0) / np.log(len(row))


def propagation(case):
    settings, state, size, first = case.settings, case.state, case.weak.shape[1], LABELED_SET
    features = state.setdefault("seen_features", np.zeros((first + case.pool, case.x["weak"].shape[1])))
    seen = state.setdefault("seen", np.zeros(first + case.pool))
    labels = state.setdefault("labeled_classes", -np.ones(first, dtype=int))
    found = state.setdefault("pool_probabilities", np.full((case.pool, size), 1 / size))
    v, largest = state.setdefault("class_weights", np.ones(size)), state.setdefault("most_certain", 1.0)
    if case.step > 0 and case.step % settings["refresh_steps"] == 0:
        places = np.flatnonzero(seen)
        known = [labels[place] if place < first else -1 for place in places]
        rows = spread(features[places], known, size, settings["neighbors"], settings["alpha"])
        largest = state["most_certain"] = max(map(certainty, rows))
        classes = [np.argmax(row) if label < 0 else label for label, row in zip(known, rows, strict=True)]
        v[:] = [len(places) / (size * max(classes.count(c), 1)) for c in range(size)]
        for place, row in zip(places, rows, strict=True):
            if place >= first:
                found[place - first] = row
    rows = [found[i] for i in case.index]
    mask = [certainty(row) / largest * v[np.argmax(row)] for row in rows]
    supervised = np.mean([v[y] * ce(logits, y) for logits, y in zip(case.labeled, case.y, strict=True)])
    labels[case.labeled_index] = case.y
    for place, view in ((case.labeled_index, "labeled"), (first + case.index, "weak")):
        seen[place], features[place] = 1, case.x[view]
    return supervised + weight(case) * mean_ce(case.strong, hard(rows), mask), mask


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
    begin, steady = "count_gap_mean" not in state, np.mean([gap(each) for each in past])
    steady = average(state, "count_gap_mean", steady, steady if begin else np.mean(gaps), m)
    level = average(state, "confidence_mean", 1 / size, np.mean(confidence), m)
    mask = [1.0 if c >= level else 0.0 for c in confidence]
    ambiguous = [1.0 if c < level and g >= steady else 0.0 for c, g in zip(confidence, gaps, strict=True)]
    q, second = settings["gce_q"], 0.0
    for weak, strong, label, a in zip(case.weak, case.strong, labels, ambiguous, strict=True):
        second += a * sum((1 - softmax(row)[label] ** q) / q for row in (weak, strong)) / len(mask)
    factor = settings["ambiguous_weight"] * case.unsupervised_ramp * (case.step / case.max_steps) ** 2
    return sup(case) + weight(case) * mean_ce(case.strong, labels, mask) + factor * second, mask


def multimatch(case):
    """With 1 step in an epoch."""
    settings, state, size = case.settings, case.state, case.weak.shape[1]
    labeled, weak, strong = (
        [case.head(f"heads.{h}", case.x[view]) for h in range(3)] for view in ("labeled", "weak", "strong")
    )
    averages = state.setdefault("average_margin", np.zeros((3, case.pool, size)))
    last = state.setdefault("last_labels", -np.ones((3, case.pool), dtype=int))
    limits = state.setdefault("margin_thresholds", np.zeros((3, size)))
    m, f = settings["momentum"], settings["smoothness"] / (1 + case.epoch)
    masks = []
    for h in range(3):
        probs, rule = [softmax(row) for row in weak[h]], f"freematch_{h}"
        level = average(state, f"{rule}.global_threshold", 1 / size, np.mean([max(p) for p in probs]), m)
        classes = average(state, f"{rule}.class_probability", np.ones(size) / size, np.mean(probs, axis=0), m)
        masks.append([1.0 if max(p) >= level * classes[np.argmax(p)] / max(classes) else 0.0 for p in probs])
        for i, row in zip(case.index, weak[h], strict=True):
            for c in range(size):
                margin = row[c] - max(row[j] for j in range(size) if j != c)
                averages[h, i, c] = f * margin + (1 - f) * averages[h, i, c]
            last[h, i] = np.argmax(row)
    supervised, unsupervised, weights = 0.0, 0.0, np.zeros(len(case.weak))
    for h in range(3):
        a, b = (other for other in range(3) if other != h)
        supervised += mean_ce(labeled[h], case.y)
        for n, i in enumerate(case.index):
            first, second = np.argmax(weak[a][n]), np.argmax(weak[b][n])
            sure = averages[a, i, first] >= limits[h, first], averages[b, i, second] >= limits[h, second]
            w = 0.0
            if all(sure) and first == second:
                w = 1.0
            elif sum(sure) == 1:
                w = settings["disagreement_weight"]
            w *= max(masks[a][n], masks[b][n]) if case.epoch > 0 else 0.0
            unsupervised += w * ce(strong[h][n], int(first if sure[0] else second)) / len(case.index) / 3
            weights[n] += w / 3
    for h in range(3):
        a, b = (other for other in range(3) if other != h)
        for c in range(size):
            common = [i for i in range(case.pool) if last[a, i] == last[b, i] == c]
            values = [averages[other, i, c] for other in (a, b) for i in common]
            limits[h, c] = max(np.quantile(values, settings["percentile"]), 0.0) if values else 0.0
    return supervised + weight(case) * unsupervised, weights


def regmixmatch(case):
    loss, mask = freematch(case)
    size, count, x = case.weak.shape[1], len(case.weak), case.x["strong"]
    probs = [softmax(row) for row in case.weak]
    sure = [i for i in range(count) if max(probs[i]) >= case.settings["threshold_high"]]
    others = [i for i in range(count) if i not in sure]
    known = [*case.x["labeled"], *(x[i] for i in sure)]
    targets = [*(hot(label, size) for label in case.y), *(hot(np.argmax(probs[i]), size) for i in sure)]
    regmix, aware, lam = 0.0, 0.0, case.mix_lambda
    for i, place in zip(sure, case.mix_permutation, strict=True):
        logits = case.classify((lam * x[i] + (1 - lam) * x[sure[place]])[None])[0]
        mixed = lam * hot(np.argmax(probs[i]), size) + (1 - lam) * hot(np.argmax(probs[sure[place]]), size)
        regmix += ce(logits, mixed) / count
    for i, place in zip(others, case.class_mix_partner, strict=True):
        lam = 1.0 if place < 0 else case.class_mix_lambda
        logits = case.classify((lam * x[i] + (1 - lam) * known[place])[None])[0]
        error = ((softmax(logits) - lam * probs[i] - (1 - lam) * targets[place]) ** 2).mean()
        aware += max(probs[i]) ** 3 * error / len(others)
    return loss + case.unsupervised_ramp * (regmix + aware), mask


def reward(case, features, label):
    """R of one example: attention over its features and a class, then a small network."""
    part, given = "reward.rewarder", (features[None], np.array([label]))
    first, second = (case.head(f"{part}.{name}", x)[0] for name, x in zip(("feature", "label"), given, strict=True))
    shares = softmax(np.array([case.head(f"{part}.attention", each[None]).item() for each in (first, second)]))
    z = case.head(f"{part}.network", (shares[0] * first + shares[1] * second + second)[None]).item()
    return 1 / (1 + np.exp(-z))


def semireward(case):
    _, mask = flexmatch(case)
    size, begin = case.weak.shape[1], round(case.settings["reward_start"] * case.max_steps)
    known, keep = list(zip(case.x["labeled"], case.y, strict=True)), np.ones(len(mask))
    lessons = [(1 / len(known), *each) for each in known]
    if case.step >= begin:
        guessed = list(zip(case.x["weak"], hard(case.weak), strict=True))
        rewards = np.array([reward(case, *each) for each in guessed])
        keep = (rewards >= rewards.mean()).astype(float)
        if (case.step - begin) % 10 == 0:
            lessons += [(kept / len(guessed), *each) for kept, each in zip(keep, guessed, strict=True)]
    taught = 0.0
    for share, features, label in lessons:
        for c in range(size):
            error = reward(case, features, c) - (1.0 if c == label else 0.5)
            taught += share * error**2 / (2 if c == label else 2 * (size - 1))
    mask = mask * keep
    return sup(case) + weight(case) * mean_ce(case.strong, hard(case.weak), mask) + taught, mask


def allmatch(case):
    settings, probs = case.settings, [softmax(row) for row in case.weak]
    start, now = 1 / case.weak.shape[1], np.mean([max(p) for p in probs])
    level = average(case.state, "global_threshold", start, now, settings["momentum"])
    lengths = np.sqrt((case.weight**2).sum(axis=1))
    mask = np.array([1.0 if max(p) >= level * lengths[np.argmax(p)] / max(lengths) else 0.0 for p in probs])
    binary = 0.0
    for p, row in zip(probs, case.strong, strict=True):
        candidates, held = [], 0.0
        for c in np.argsort(-p):
            if held < settings["candidate_mass"]:
                candidates.append(c)
            held += p[c]
        binary -= np.log(softmax(row)[candidates].sum()) / len(probs)
    unsupervised = mean_ce(case.strong, hard(case.weak), mask) + settings["candidate_weight"] * binary
    return sup(case) + weight(case) * unsupervised, mask


def one_vs_all(logits):
    """r [N, C] of the two-way classifiers, by their softmax."""
    size = logits.shape[1] // 2
    return np.array([[softmax(row[[c, size + c]])[1] for c in range(size)] for row in logits])


def nearest_wrong(known, labels):
    """mean(-log r_y - log(1 - r_j)) with the most likely wrong class j."""
    rows = zip(known, labels, strict=True)
    return np.mean([-np.log(row[y]) - np.log(1 - max(np.delete(row, y))) for row, y in rows])


def openmatch(case):
    settings = case.settings
    known = {view: one_vs_all(case.head("multi_binary_head", case.x[view])) for view in ("labeled", "weak", "weak_2")}
    begun = case.step >= round(settings["start_fraction"] * case.max_steps)
    mask = fixed(case.weak, settings["threshold"]) * begun
    mask = mask * [row[label] > 0.5 for row, label in zip(known["weak"], hard(case.weak), strict=True)]
    entropies = [-r * np.log(r) - (1 - r) * np.log(1 - r) for r in (known["weak"], known["weak_2"])]
    apart = 2 * ((known["weak"] - known["weak_2"]) ** 2).sum(axis=1).mean()
    loss = sup(case) + weight(case) * mean_ce(case.strong, hard(case.weak), mask)
    loss += nearest_wrong(known["labeled"], case.y) + settings["entropy_weight"] * np.mean(entropies)
    return loss + settings["consistency_weight"] * apart, mask


def iomatch(case):
    settings = case.settings
    labeled, known = (
        one_vs_all(case.head("multi_binary_head", case.head("projection", case.x[view])))
        for view in ("labeled", "weak")
    )
    mask, opened = [], 0.0
    aligned = queue_alignment(case)
    logits = case.head("open_head", case.head("projection", case.x["strong"]))
    for p, r, row in zip(aligned, known, logits, strict=True):
        target = np.array([*(p * r), sum(p * (1 - r))])
        mask.append(1.0 if max(p) >= settings["threshold"] and target[-1] < 0.5 else 0.0)
        if case.epoch > 0 and max(target) >= settings["open_threshold"]:
            opened += ce(row, target) / len(aligned)
    loss = sup(case) + weight(case) * mean_ce(case.strong, aligned, mask) + settings["open_weight"] * opened
    return loss + settings["multi_binary_weight"] * nearest_wrong(labeled, case.y), np.array(mask)
