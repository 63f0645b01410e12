"""The evidence of all algorithms on stored features: its loop trains each of them, and its table is right."""

import numpy as np
import pytest

from hf_ssl.algorithms import ALGORITHMS

SIZE, CLASSES, WIDTH = 240, 3, 6


@pytest.fixture
def script(benchmark_scripts):
    import every_algorithm

    return every_algorithm


@pytest.fixture
def data(benchmark_scripts):
    """Three clusters, whose views are noise around them."""
    from frozen_views import Encoded

    rng = np.random.default_rng(0)
    labels = np.arange(SIZE) % CLASSES
    centers = 4 * np.eye(WIDTH, dtype=np.float32)[:CLASSES]

    def views(count, classes, noise):
        return (centers[classes] + noise * rng.normal(size=(count, len(classes), WIDTH))).astype(np.float32)

    noises = {"plain": (1, 0.5), "weak": (2, 0.6), "medium": (2, 0.8), "strong": (3, 1.0)}
    train = {kind: views(count, labels, noise) for kind, (count, noise) in noises.items()}
    test = views(1, labels, 0.5)[0]
    return Encoded(train, labels, test, labels, ["a", "b", "c"], np.zeros(WIDTH, dtype=np.float32))


@pytest.fixture
def prepared(script, data, monkeypatch):
    monkeypatch.setitem(script.TRAINING, "max_steps", 6)
    monkeypatch.setitem(script.LABELS, "text", 6)
    return script.prepare("text", 0, data, validation=False)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_loop_trains_every_algorithm(script, prepared, name):
    before = [weight.clone() for weight in prepared.start.parameters()]
    row = script.run(prepared, name, 0, {})
    assert row["accuracy"] > 0.9 and row["settings"] == script.settings_of(name)
    assert (row["mask_ratio"] is None) == (row["pseudo_label_accuracy"] is None) or row["mask_ratio"] == 0
    # The next algorithm begins with the same weights.
    assert all((old == new).all() for old, new in zip(before, prepared.start.parameters(), strict=True))


def test_a_run_is_repeated_exactly_and_settings_can_be_changed(script, prepared):
    first, again = (script.run(prepared, "freematch", 0, {"momentum": 0.5, "max_steps": 3}) for _ in range(2))
    assert first["settings"]["momentum"] == 0.5
    keys = ("accuracy", "mask_ratio", "pseudo_label_accuracy")
    assert [first[key] for key in keys] == [again[key] for key in keys]


def test_batches_take_every_example_of_an_epoch_once(script, prepared):
    batches = script.Batches(prepared.data, prepared.drawn, {"weak": "weak"}, seed=0)
    steps = len(prepared.drawn.pool) // script.POOL_BATCH
    seen = np.concatenate([batches.next().unlabeled_index.numpy() for _ in range(steps)])
    assert len(seen) == len(set(seen))


def test_the_table_has_paired_gains_and_their_errors(script):
    accuracies = {"supervised": (0.5, 0.6, 0.7), "fixmatch": (0.6, 0.7, 0.8), "freematch": (0.4, 0.7, 0.65)}
    rows = [
        {"task": "text", "algorithm": name, "seed": seed, "accuracy": value}
        for name, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    lines = script.table(rows).splitlines()
    assert lines[0] == "|  | AG News, 40 labels |"
    assert lines[2:] == [
        "| `supervised` | 60.0 ± 5.8 (3) |",
        "| `fixmatch` | **+10.0 ± 0.0** |",
        "| **`freematch`** | -1.7 ± 6.0 |",
    ]
