"""What DebiasPL, SAW, TRAS, DASO and Adsh keep and compute from it; and errors of published code that they lack."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from hf_ssl import ModelForward, Progress, SSLBatch
from hf_ssl.algorithms.imbalance.daso import ClassQueues
from hf_ssl.algorithms.imbalance.pool_predictions import PoolPredictions
from hf_ssl.algorithms.imbalance.saw import effective_weights

from tests.helpers.algorithm_cases import CLASSES, DIM, POOL, make_algorithm, make_batch, make_models, run_step

COUNTS = torch.tensor([2, 3, 1])
RARE, LARGEST = 2, 1


def corrected(name, **settings):
    return make_algorithm("fixmatch", threshold=0.5, imbalance=name, imbalance_kwargs=settings, class_counts=COUNTS)


# ---- Errors of published code: each test fails with the erroneous formula ----


def test_debiaspl_keeps_one_mean_per_class():
    """A mean over all entries is 1 / C for each class, and cancels: the plain algorithm."""
    plain, algorithm = make_algorithm("fixmatch", threshold=0.5), corrected("debiaspl", momentum=0.0)
    models, batch = make_models(), make_batch(0)
    models[0].classifier.bias.data[LARGEST] += 2
    for step in range(2):
        output, without = (run_step("fixmatch", each, step, models, batch) for each in (algorithm, plain))
    predicted = models[0](batch.unlabeled["weak"]["x"]).softmax(dim=-1).mean(dim=0)
    torch.testing.assert_close(algorithm.running_mean, predicted)
    assert predicted[LARGEST] > 0.6
    assert abs(output.loss - without.loss) > 0.02
    assert (output.pseudo_labels != without.pseudo_labels).any()


def test_debiaspl_predicts_the_rarely_predicted_more_often():
    algorithm = corrected("debiaspl")
    algorithm.running_mean.copy_(torch.tensor([0.05, 0.9, 0.05]))
    logits = torch.zeros(1, CLASSES, dtype=torch.float64)
    shifted = algorithm.correction.weak_logits(logits, {}, make_batch(0), Progress(0, 10, 3))
    torch.testing.assert_close(shifted.softmax(dim=-1)[0], torch.tensor([18, 1, 18], dtype=torch.float64) / 37)


def test_tras_moves_pseudo_labels_towards_the_rare_classes():
    """With the opposite sign they would move towards the largest class."""
    correction = corrected("tras").correction
    undecided = torch.zeros(1, CLASSES, dtype=torch.float64)
    assert correction.weak_logits(undecided, {}, make_batch(0), Progress(0, 10, 3)).argmax() == RARE
    targets, _ = correction.transferred(undecided)
    temperature = 2 * torch.tensor([1 / 2, 1 / 3, 1.0]).softmax(dim=-1) + 2
    assert targets.argmax() == RARE and targets.argmin() == LARGEST
    assert not torch.allclose(correction.class_temperature, temperature.double())
    # T = A softmax(-la) + B with softmax(-la) proportional to 1 / n.
    inverse = torch.tensor([3.0, 2.0, 6.0], dtype=torch.float64)
    torch.testing.assert_close(correction.class_temperature, 2 * inverse / 11 + 2, rtol=1e-6, atol=0)


def test_daso_blends_with_the_similarities_of_this_batch():
    """Whatever the unlabeled batch before was, the same labeled ones before lead to the same pseudo-labels."""
    outputs = []
    for other in (1, 2):
        algorithm, models = corrected("daso", pretrain_steps=0, distribution_aware=False), make_models()
        before, now = make_batch(0), make_batch(3)
        before.unlabeled = make_batch(other).unlabeled
        run_step("fixmatch", algorithm, 0, models, before)
        outputs.append(run_step("fixmatch", algorithm, 1, models, now))
    torch.testing.assert_close(outputs[0].mask, outputs[1].mask)
    torch.testing.assert_close(outputs[0].loss, outputs[1].loss)
    weak, similar = now.unlabeled["weak"]["x"], algorithm.correction.similarity
    blended = 0.5 * models[0](weak).softmax(dim=-1) + 0.5 * similar(weak).softmax(dim=-1)
    assert torch.equal(outputs[1].pseudo_labels, blended.argmax(dim=-1))
    assert not torch.equal(outputs[1].pseudo_labels, models[0](weak).argmax(dim=-1))


# ---- Statistics ----


def test_queues_hold_the_last_features_of_each_class():
    generator = torch.Generator().manual_seed(0)
    queues = ClassQueues(num_classes=5, size=3, width=2).double()
    lists = [[] for _ in range(5)]
    for count in (1, 4, 9, 2, 7, 3):
        features = torch.randn(count, 2, generator=generator, dtype=torch.float64)
        labels = torch.randint(4, (count,), generator=generator)
        means = queues.push(features, labels)
        for row, label in zip(features, labels, strict=True):
            lists[label] = [*lists[label], row][-3:]
        expected = [torch.stack(rows).mean(dim=0) if rows else torch.zeros(2).double() for rows in lists]
        torch.testing.assert_close(means, torch.stack(expected))


def test_a_further_pass_gets_back_what_the_queues_lost():
    features, labels = torch.arange(12.0).reshape(6, 2), torch.tensor([0, 1, 0, 0, 1, 0])
    queues = ClassQueues(num_classes=2, size=2, width=2)
    queues.begin_pass(False)
    queues.push(features, labels)
    whole = deepcopy(queues)
    for further, rows in ((False, slice(0, 2)), (True, slice(2, 3)), (True, slice(3, 6))):
        queues.begin_pass(further)
        queues.push(*queues.joined(features[rows] + 100, labels[rows]))
    whole.begin_pass(False)
    whole.push(features + 100, labels)
    for name, buffer in whole.named_buffers():
        assert torch.equal(dict(queues.named_buffers())[name], buffer), name


def test_the_table_of_the_pool_keeps_the_last_pseudo_label():
    table = PoolPredictions(size=5, num_classes=3)
    assert table.counts().tolist() == [0, 0, 0]
    table.record(torch.tensor([4, 1, 4]), torch.tensor([0, 2, 2]), torch.tensor([0.9, 0.5, 0.7]))
    table.record(torch.tensor([0]), torch.tensor([2]), torch.tensor([0.6]))
    assert table.pool_labels.tolist() == [2, 2, 3, 3, 2]
    assert table.counts().tolist() == [0, 0, 3]
    torch.testing.assert_close(table.ranked()[:3], torch.tensor([0.7, 0.6, 0.5]))


def test_weights_tell_the_classes_of_a_large_pool_apart():
    counts = np.array([1e6, 3e5, 2e3, 1.0])
    inverse = 1 / -np.expm1(counts * np.log1p(-1 / counts.mean()))
    found = effective_weights(torch.from_numpy(counts).float())
    np.testing.assert_allclose(found.numpy(), 4 * inverse / inverse.sum(), rtol=1e-5)
    torch.testing.assert_close(effective_weights(torch.tensor([7.0, 7.0, 7.0])), torch.ones(3))
    torch.testing.assert_close(effective_weights(torch.zeros(3)), torch.ones(3))


def test_epochs_begin_with_what_the_last_one_left():
    """Weights of the pool change in the first step of an epoch only, from what was seen before it."""
    algorithm, models, seen = corrected("saw"), make_models(), []
    for step in range(7):
        expected = algorithm.correction.pool.counts()
        run_step("fixmatch", algorithm, step, models)
        seen.append(algorithm.unlabeled_class_weights.clone())
        if step in (3, 6):
            torch.testing.assert_close(seen[-1], effective_weights(expected).double())
        elif step:
            assert torch.equal(seen[-1], seen[-2])
    assert torch.equal(seen[0], torch.ones(CLASSES).double()) and not torch.equal(seen[3], seen[6])


@pytest.mark.parametrize("tau", [0.6, 0.9, 0.999])
def test_thresholds_of_adsh_admit_the_same_share(tau):
    generator, adsh = torch.Generator().manual_seed(3), corrected("adsh", tau_1=tau).correction
    for _ in range(4):
        before = adsh.thresholds.clone()
        logits = 3 * torch.randn(POOL, CLASSES, generator=generator, dtype=torch.float64)
        logits[:, 0] -= 100
        probs = logits.softmax(dim=-1)
        adsh.see_pool(probs)
        confidences, labels = probs.float().max(dim=-1)
        largest, rare = (sorted(confidences[labels == c].tolist(), reverse=True) for c in (LARGEST, RARE))
        sure = sum(each >= tau for each in largest)
        rank = (sure - 1) * len(rare) // len(largest) if sure else len(rare)
        assert adsh.thresholds[RARE].item() == pytest.approx(rare[rank - 1] if rank >= 1 else rare[-1])
        # Class 0 is never predicted.
        assert adsh.thresholds[0] == before[0]


@pytest.mark.parametrize("name", ["debiaspl", "saw", "tras", "daso", "adsh"])
def test_a_step_in_passes_leaves_the_statistics_of_the_whole(name):
    settings = {"debiaspl": {"momentum": 0.5}, "daso": {"pretrain_steps": 1, "queue_size": 2}}.get(name, {})
    found = []
    for division in (((4,), (8,)), ((3, 1), (2, 6))):
        algorithm, models = corrected(name, **settings), make_models()
        for step in range(5):
            batch, starts = make_batch(step), [0, 0]
            for sizes in zip(*division, strict=True):
                rows = [slice(start, start + size) for start, size in zip(starts, sizes, strict=True)]
                starts = [part.stop for part in rows]
                run_step("fixmatch", algorithm, step, models, part_of(batch, *rows))
        found.append(algorithm.state_dict())
    assert found[0].keys() == found[1].keys() and any(key.startswith("correction.") for key in found[0])
    for key, expected in found[0].items():
        torch.testing.assert_close(found[1][key], expected, rtol=1e-12, atol=1e-14, msg=key)


def part_of(batch, labeled, unlabeled):
    views = {name: {"x": view["x"][unlabeled]} for name, view in batch.unlabeled.items()}
    index = {"labeled_index": batch.labeled_index[labeled], "unlabeled_index": batch.unlabeled_index[unlabeled]}
    return SSLBatch({"x": batch.labeled["x"][labeled]}, batch.labels[labeled], views, **index)


def test_the_second_head_answers_once_it_has_learned():
    algorithm, (student, _) = corrected("tras", warmup_epochs=1), make_models()
    algorithm.correction.begin_with(student.classifier.weight, student.classifier.bias)
    frequencies = (COUNTS / COUNTS.sum()).double()
    expected = student.classifier.bias - frequencies.log()
    torch.testing.assert_close(algorithm.balanced_head.bias, expected, rtol=1e-6, atol=1e-7)
    forward = ModelForward(student)
    for step in range(4):
        assert (algorithm.correction.corrected_head(forward) is None) == (step < 4), step
        output = run_step("fixmatch", algorithm, step)
        assert (output.terms["balanced"] > 0) == (step >= 3)
        output.loss.backward()
        assert algorithm.balanced_head.weight.grad is not None
    weight, bias = algorithm.correction.corrected_head(forward)
    assert torch.equal(weight, algorithm.balanced_head.weight) and torch.equal(bias, algorithm.balanced_head.bias)
    assert weight.shape == (CLASSES, DIM)


def test_classes_without_labels_are_not_preferred_beyond_measure():
    unseen = make_algorithm("fixmatch", imbalance="tras", class_counts=torch.tensor([5, 1, 0]))
    torch.testing.assert_close(
        unseen.logit_adjustment.exp(), torch.tensor([10, 2, 1]).double() / 13, rtol=1e-6, atol=0
    )
