"""What CReST and SimiS pick: known answers of the published code, and what no choice may do."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hf_ssl import get_algorithm
from hf_ssl.algorithms.imbalance.crest import crest_picks, generation_temperatures
from hf_ssl.algorithms.imbalance.simis import simis_picks
from hf_ssl.algorithms.rounds import Picks, confident_classes

KNOWN = Path(__file__).resolve().parents[2] / "known_answers"
COUNTS = np.array([8, 5, 2, 1])
NOTHING = Picks(np.zeros(0, np.int64), np.zeros(0, np.int64))
SIMIS_COUNTS = np.array([80, 50, 20, 10])
SIZES = {"num_unlabeled": 40, "feature_size": 6, "labeled_batch_size": 4, "unlabeled_batch_size": 8}


def correction(name, counts, **settings):
    sizes = {**SIZES, "num_labeled": int(counts.sum()), "num_classes": len(counts)}
    algorithm = get_algorithm("fixmatch", imbalance=name, imbalance_kwargs=settings, class_counts=counts, **sizes)
    return algorithm.correction


@pytest.mark.parametrize("name", ["crest", "crest_plus"])
def test_crest_picks_what_the_reference_picks(name):
    golden = load_file(KNOWN / "imbalance" / f"{name}-default.safetensors")
    predicted = confident_classes(golden["selection/input/pool_logits"])
    picks = correction(name, COUNTS, alpha=3.0).pick(*predicted, 1, COUNTS)
    assert picks.index.tolist() == golden["selection/indices"].tolist()
    assert picks.labels.tolist() == golden["selection/labels"].tolist()
    assert picks.counts(4).tolist() == golden["selection/counts"].tolist()
    temperatures = torch.tensor(generation_temperatures(6, 0.5), dtype=torch.float64)
    torch.testing.assert_close(temperatures, golden["alignment/temperatures"])


@pytest.mark.parametrize("chain", ["", "chain/"])
@pytest.mark.parametrize("epoch", range(4))
def test_simis_picks_what_the_reference_picks(epoch, chain):
    golden = load_file(KNOWN / "pool" / "simis-default.safetensors")
    predicted = confident_classes(golden[f"epoch{epoch}/input/pool_logits"])
    used = golden.get(f"{chain}epoch{epoch}/distribution_used", torch.from_numpy(SIMIS_COUNTS / 160)).numpy()
    picks = simis_picks(*predicted, used, 160, epoch / int(golden["epochs"]))
    assert picks.index.tolist() == golden[f"{chain}epoch{epoch}/indices"].tolist()
    assert picks.labels.tolist() == golden[f"{chain}epoch{epoch}/labels"].tolist()


def test_simis_follows_the_extended_set_only_if_asked_to():
    golden = load_file(KNOWN / "pool" / "simis-default.safetensors")
    predicted = confident_classes(golden["epoch3/input/pool_logits"])
    extended = np.array([80, 54, 29, 20])
    for asked, counts in ((False, SIMIS_COUNTS), (True, extended)):
        part = correction("simis", SIMIS_COUNTS, rounds=4, extended_distribution=asked)
        expected = simis_picks(*predicted, counts / counts.sum(), 160, 0.75)
        assert part.pick(*predicted, 3, extended).index.tolist() == expected.index.tolist()


@pytest.mark.parametrize("name", ["crest", "simis"])
def test_classes_may_have_any_order(name):
    """A published implementation takes the index of a class for its rank by size."""
    generator = np.random.default_rng(0)
    counts = {"crest": COUNTS, "simis": SIMIS_COUNTS}[name]
    classes, confidence, order = generator.integers(4, size=60), generator.random(60), np.array([2, 0, 3, 1])
    sorted_picks = correction(name, counts).pick(classes, confidence, 2, counts)
    # Class c is called order[c].
    renamed = counts[np.argsort(order)]
    picks = correction(name, renamed).pick(order[classes], confidence, 2, renamed)
    found = dict(zip(picks.index.tolist(), picks.labels.tolist(), strict=True))
    assert len(found) > 5
    assert found == dict(zip(sorted_picks.index.tolist(), order[sorted_picks.labels].tolist(), strict=True))


@pytest.mark.parametrize("name", ["crest", "simis"])
@pytest.mark.parametrize("seed", range(5))
def test_no_example_is_picked_twice_and_each_as_what_it_was_predicted(name, seed):
    generator = np.random.default_rng(seed)
    counts = generator.integers(0, 50, size=6) + (np.arange(6) == 2)
    # Many are equally sure.
    classes, confidence = generator.integers(6, size=300), generator.integers(5, size=300) / 5
    picks = correction(name, counts).pick(classes, confidence, 9, counts)
    assert len(set(picks.index.tolist())) == len(picks) > 0
    assert (classes[picks.index] == picks.labels).all()
    for label in range(6):
        taken = np.zeros(300, dtype=bool)
        taken[picks.index] = True
        mine, rest = confidence[taken & (classes == label)], confidence[~taken & (classes == label)]
        assert mine.min(initial=1.0) >= rest.max(initial=0.0)


def test_a_rare_class_without_labels_is_taken_whole():
    counts, classes = np.array([9, 0, 3]), np.array([0, 1, 1, 2, 0, 2])
    picks = crest_picks(classes, np.full(6, 0.5), counts, alpha=1.0)
    assert picks.index[picks.labels == 1].tolist() == [1, 2]


def test_crest_aligns_less_to_the_labels_from_generation_to_generation():
    part = correction("crest_plus", COUNTS, generations=3, alignment_temperature=0.0)
    seen = []
    for number in range(3):
        part.begin_round(number, NOTHING)
        seen.append(part.align.alignment_target)
    torch.testing.assert_close(seen[0], torch.tensor([0.5, 0.3125, 0.125, 0.0625]))
    torch.testing.assert_close(seen[2], torch.full((4,), 0.25))
    assert seen[0][0] > seen[1][0] > seen[2][0]


def test_simis_refuses_a_memory_of_the_given_labels():
    with pytest.raises(ValueError, match=r"SimMatch allows, got SimiS: its memory has a slot for each given label"):
        get_algorithm("simmatch", imbalance="simis", num_classes=4, num_labeled=16, **SIZES)
    assert (
        get_algorithm("supervised", imbalance="simis", num_classes=4, num_labeled=16, **SIZES).correction.rounds == 10
    )
