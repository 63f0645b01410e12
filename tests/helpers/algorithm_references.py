"""The formulas of the algorithms once more, written out with loops over examples, for the tests to compare with.

Each takes a `Case`: logits and inputs of the views as NumPy arrays, settings, and a `state` dictionary that lasts over
the steps. It returns the loss, and the mask if the algorithm has one; what it leaves in `state` under the name of a
buffer is compared as well.
"""

from types import SimpleNamespace

import numpy as np


class Case(SimpleNamespace):
    """labeled, weak, strong, ...: logits; x: inputs by view; y: labels; index, labeled_index; settings; state; ..."""


def softmax(row, temperature=1.0):
    powers = np.exp((row - np.max(row)) / temperature)
    return powers / powers.sum()


def hot(label, size):
    return np.array([1.0 if c == label else 0.0 for c in range(size)])


def ce(logits, target):
    if np.ndim(target) == 0:
        target = hot(target, len(logits))
    return -sum(t * np.log(p) for t, p in zip(target, softmax(logits), strict=True))


def mean_ce(rows, targets, mask=None):
    mask = np.ones(len(rows)) if mask is None else mask
    return sum(m * ce(row, target) for row, target, m in zip(rows, targets, mask, strict=True)) / len(rows)


def kl(p, q):
    return sum(a * (np.log(a) - np.log(b)) for a, b in zip(p, q, strict=True))


def sharpen(p, temperature):
    powered = p ** (1 / temperature)
    return powered / powered.sum()


def normalize(p):
    return p / p.sum()


def unit(v):
    return v / np.sqrt((v * v).sum())


def ramp(case):
    return min(case.step / (case.settings["warmup_fraction"] * case.max_steps), 1.0)


def weight(case):
    """Of what the pool teaches: `unsupervised_weight` and the trainer's warm-up."""
    return case.unsupervised_weight * case.unsupervised_ramp


def average(state, name, start, value, momentum):
    state[name] = momentum * state.get(name, start) + (1 - momentum) * value
    return state[name]


def sup(case):
    return mean_ce(case.labeled, case.y)


def fixed(rows, threshold):
    return np.array([1.0 if max(softmax(row)) >= threshold else 0.0 for row in rows])


def hard(rows):
    return [int(np.argmax(row)) for row in rows]


def supervised(case):
    return sup(case), None


def pseudo_label(case):
    mask = fixed(case.weak, case.settings["threshold"])
    return sup(case) + weight(case) * ramp(case) * mean_ce(case.weak, hard(case.weak), mask), mask


def brier(rows, targets):
    return np.mean([((softmax(row) - target) ** 2).mean() for row, target in zip(rows, targets, strict=True)])


def pi_model(case):
    return sup(case) + weight(case) * ramp(case) * brier(case.strong, [softmax(row) for row in case.weak]), None


def mean_teacher(case):
    targets = [softmax(row) for row in case.teach(case.x["weak"])]
    return sup(case) + weight(case) * ramp(case) * brier(case.strong, targets), None


def vat(case):
    # The Hessian of the divergence at the input itself.
    divergence, entropy = [], []
    for x, logits, noise in zip(case.x["weak"], case.weak, case.noise, strict=True):
        p = softmax(logits)
        hessian = case.weight.T @ (np.diag(p) - np.outer(p, p)) @ case.weight
        direction = unit(hessian @ noise)
        moved = case.classify((x + case.settings["epsilon"] * direction)[None])[0]
        divergence.append(kl(p, softmax(moved)))
        entropy.append(-sum(p * np.log(p)))
    unsupervised = weight(case) * ramp(case) * np.mean(divergence)
    return sup(case) + unsupervised + case.settings["entropy_weight"] * np.mean(entropy), None


def mixed(case, names, guesses):
    size = case.weak.shape[1]
    inputs = np.concatenate([case.x[name] for name in names])
    targets = np.array([hot(label, size) for label in case.y] + [g for _ in names[1:] for g in guesses])
    lam, order = case.mix_lambda, case.mix_permutation
    inputs = [lam * inputs[i] + (1 - lam) * inputs[j] for i, j in enumerate(order)]
    targets = [lam * targets[i] + (1 - lam) * targets[j] for i, j in enumerate(order)]
    return case.classify(np.array(inputs)), targets


def mixmatch(case):
    pairs = zip(case.weak, case.strong, strict=True)
    guesses = [sharpen((softmax(a) + softmax(b)) / 2, case.settings["temperature"]) for a, b in pairs]
    logits, targets = mixed(case, ["labeled", "weak", "strong"], guesses)
    n = len(case.y)
    return mean_ce(logits[:n], targets[:n]) + weight(case) * ramp(case) * brier(logits[n:], targets[n:]), None


def moving_alignment(case, momentum, target=None):
    size = case.weak.shape[1]
    probs = [softmax(row) for row in case.weak]
    mean = np.mean(probs, axis=0)
    model = average(case.state, "alignment_model", mean, mean, momentum)
    if target is None:
        labeled = np.mean([softmax(row) for row in case.labeled], axis=0)
        target = average(case.state, "alignment_target", np.ones(size) / size, labeled, momentum)
    return [normalize(p * (target + 1e-6) / (model + 1e-6)) for p in probs]


def rotation(case):
    turned = case.head("rotation", case.x["rotated"])
    return mean_ce(turned, case.turns)


def remixmatch(case):
    settings = case.settings
    guesses = [
        sharpen(p, settings["temperature"])
        for p in moving_alignment(case, settings["momentum"], case.class_distribution)
    ]
    logits, targets = mixed(case, ["labeled", "strong", "strong_2", "weak"], guesses)
    n = len(case.y)
    unsupervised = weight(case) * ramp(case) * mean_ce(logits[n:], targets[n:])
    anchored = settings["kl_weight"] * case.unsupervised_ramp * ramp(case) * mean_ce(case.strong, guesses)
    turned = settings["rotation_weight"] * rotation(case)
    return mean_ce(logits[:n], targets[:n]) + unsupervised + anchored + turned, None


def fixmatch(case):
    mask = fixed(case.weak, case.settings["threshold"])
    return sup(case) + weight(case) * mean_ce(case.strong, hard(case.weak), mask), mask


def uda(case):
    size, progress = case.weak.shape[1], case.step / case.max_steps
    limit = np.exp(5 * (progress - 1)) * (1 - 1 / size) + 1 / size
    known = [1.0 if max(softmax(row)) <= limit else 0.0 for row in case.labeled]
    mask = fixed(case.weak, case.settings["threshold"])
    soft = [softmax(row, case.settings["temperature"]) for row in case.weak]
    return mean_ce(case.labeled, case.y, known) + weight(case) * mean_ce(case.strong, soft, mask), mask


def flexmatch(case):
    size, state, threshold = case.weak.shape[1], case.state, case.settings["threshold"]
    status = state.setdefault("class_learning_status", np.zeros(size))
    selected = state.setdefault("selected_labels", -np.ones(case.pool))
    mask, labels = [], hard(case.weak)
    for row, label in zip(case.weak, labels, strict=True):
        mask.append(1.0 if max(softmax(row)) >= threshold * status[label] / (2 - status[label]) else 0.0)
    for row, label, i in zip(case.weak, labels, case.index, strict=True):
        if max(softmax(row)) >= threshold:
            selected[i] = label
    counts = [int((selected == label).sum()) for label in range(-1, size)]
    if max(counts) < case.pool:
        state["class_learning_status"] = np.array(counts[1:]) / max(counts)
    return sup(case) + weight(case) * mean_ce(case.strong, labels, mask), mask


def adamatch(case):
    aligned = moving_alignment(case, case.settings["momentum"])
    limit = case.settings["threshold"] * np.mean([max(softmax(row)) for row in case.labeled])
    mask = [1.0 if max(p) >= limit else 0.0 for p in aligned]
    return sup(case) + weight(case) * mean_ce(case.strong, hard(aligned), mask), mask


def dash(case):
    settings = case.settings
    limit = settings["c"] * settings["gamma"] ** -(case.epoch // 10) * settings["initial_loss_threshold"]
    limit = case.state["loss_threshold"] = max(limit, settings["min_loss_threshold"])
    soft = [softmax(row, settings["temperature"]) for row in case.weak]
    mask = [1.0 if ce(row, target) <= limit else 0.0 for row, target in zip(case.weak, soft, strict=True)]
    return sup(case) + weight(case) * mean_ce(case.strong, soft, mask), mask


def freematch(case):
    size, state, m = case.weak.shape[1], case.state, case.settings["momentum"]
    probs = [softmax(row) for row in case.weak]
    labels = hard(probs)
    limit = average(state, "global_threshold", 1 / size, np.mean([max(p) for p in probs]), m)
    classes = average(state, "class_probability", np.ones(size) / size, np.mean(probs, axis=0), m)
    histogram = np.array([labels.count(c) for c in range(size)]) / len(labels)
    histogram = average(state, "label_histogram", np.ones(size) / size, histogram, m)
    mask = [1.0 if max(p) >= limit * classes[c] / max(classes) else 0.0 for p, c in zip(probs, labels, strict=True)]
    chosen = [softmax(row) for row, weight in zip(case.strong, mask, strict=True) if weight]
    fairness = 0.0
    if chosen:
        counts = np.array([hard(chosen).count(c) for c in range(size)]) / len(chosen)
        mean = np.mean(chosen, axis=0)
        present = normalize(np.array([mean[c] / counts[c] if counts[c] else 0.0 for c in range(size)]))
        fairness = sum(normalize(classes / histogram) * np.log(present + 1e-12))
    unsupervised = weight(case) * mean_ce(case.strong, labels, mask)
    return sup(case) + unsupervised + case.settings["fairness_weight"] * fairness, mask


def softmatch(case):
    size, state, m = case.weak.shape[1], case.state, case.settings["momentum"]
    confidence = [max(p) for p in moving_alignment(case, m, np.ones(size) / size)]
    mean = average(state, "confidence_mean", 1 / size, np.mean(confidence), m)
    variance = average(state, "confidence_variance", 1.0, np.var(confidence, ddof=1), m)
    mask = [np.exp(-(min(c - mean, 0) ** 2) / (2 * variance / case.settings["n_sigma"] ** 2)) for c in confidence]
    return sup(case) + weight(case) * mean_ce(case.strong, hard(case.weak), mask), mask


def crmatch(case):
    loss, mask = fixmatch(case)
    pairs = zip(case.head("distance", case.x["weak"]), case.head("distance", case.x["strong"]), mask, strict=True)
    apart = np.mean([m * max(unit(a) @ unit(b), 0.0) for a, b, m in pairs])
    return loss + apart + case.settings["rotation_weight"] * rotation(case), mask


def defixmatch(case):
    _, mask = fixmatch(case)
    labeled_mask = fixed(case.labeled, case.settings["threshold"])
    debias = mean_ce(case.labeled_strong, hard(case.labeled), labeled_mask)
    both = (sup(case) + mean_ce(case.labeled_strong, case.y)) / 2
    return both + weight(case) * (mean_ce(case.strong, hard(case.weak), mask) - debias), mask


def refixmatch(case):
    loss, mask = fixmatch(case)
    temperature = case.settings["temperature"]
    for weak, strong, m in zip(case.weak, case.strong, mask, strict=True):
        low = (1 - m) * kl(softmax(softmax(weak), temperature), softmax(strong, temperature))
        loss += weight(case) * low / len(mask)
    return loss, mask


def queue_alignment(case):
    size, length = case.weak.shape[1], case.settings["alignment_queue_size"]
    probs = [softmax(row) for row in case.weak]
    rows = case.state.setdefault("alignment_model", np.zeros((length, size)))
    rows[case.step % length] = np.mean(probs, axis=0)
    return [normalize(p * (1 / size + 1e-6) / (rows.mean(axis=0) + 1e-6)) for p in probs]


def comatch(case):
    settings, state, size = case.settings, case.state, case.weak.shape[1]
    t, alpha = settings["temperature"], settings["smoothing"]
    aligned = queue_alignment(case)
    views = ("weak", "labeled", "strong", "strong_2")
    weak, labeled, first, second = ([unit(v) for v in case.head("projection", case.x[name])] for name in views)
    slots = settings["queue_batches"] * (len(weak) + len(labeled))
    features = state.setdefault("queue_features", np.zeros((slots, len(weak[0]))))
    classes = state.setdefault("queue_probabilities", np.zeros((slots, size)))
    q = aligned
    if case.epoch > 0 and case.step > settings["queue_batches"]:
        q = [alpha * p + (1 - alpha) * softmax(features @ e, t) @ classes for p, e in zip(aligned, weak, strict=True)]
    place = case.step * (len(weak) + len(labeled))
    for e, p in zip(weak + labeled, aligned + [hot(label, size) for label in case.y], strict=True):
        features[place % slots], classes[place % slots] = e, p
        place += 1
    mask = [1.0 if max(p) >= settings["threshold"] else 0.0 for p in q]
    contrast = 0.0
    for i, e in enumerate(first):
        links = np.array([1.0 if i == j else q[i] @ q[j] for j in range(len(q))])
        links = normalize(np.where(links >= settings["graph_threshold"], links, 0.0))
        contrast -= links @ np.log(softmax(np.array([e @ other for other in second]), t) + 1e-7) / len(first)
    unsupervised = weight(case) * mean_ce(case.strong, q, mask)
    return sup(case) + unsupervised + settings["contrastive_weight"] * contrast, mask


def simmatch(case):
    settings, state, size = case.settings, case.state, case.weak.shape[1]
    t, alpha = settings["temperature"], settings["smoothing"]
    bank = state.setdefault("memory_bank", case.memory_bank.copy())
    owners = state.setdefault("memory_labels", np.zeros(bank.shape[1], dtype=int))
    written = state.setdefault("memory_written", np.zeros(bank.shape[1], dtype=bool))
    aligned = queue_alignment(case)
    weak, strong, labeled = (
        [unit(v) for v in case.head("projection", case.x[name])] for name in ("weak", "strong", "labeled")
    )
    q, instance = [], 0.0
    for p, e, s in zip(aligned, weak, strong, strict=True):
        q.append(p)
        if not written.any():
            continue
        known, classes = bank[:, written], owners[written]
        near = softmax(e @ known, t)
        votes = np.array([sum(near[i] for i in range(len(classes)) if classes[i] == c) for c in range(size)])
        q[-1] = alpha * p + (1 - alpha) * votes if case.epoch > 0 else p
        target = normalize(np.array([near[i] * p[classes[i]] for i in range(len(classes))]))
        instance += ce(s @ known / t, target) / len(aligned)
    for i, e, label in zip(case.labeled_index, labeled, case.y, strict=True):
        bank[:, i], owners[i], written[i] = e, label, True
    mask = [1.0 if max(p) >= settings["threshold"] else 0.0 for p in q]
    second = settings["instance_weight"] * instance if case.epoch > 0 else 0.0
    return sup(case) + weight(case) * mean_ce(case.strong, q, mask) + second, mask
