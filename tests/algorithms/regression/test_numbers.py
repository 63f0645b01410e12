"""What holds for every algorithm that predicts numbers, one table row each (tests/helpers/number_cases.py)."""

import inspect
from copy import deepcopy

import numpy as np
import pytest
import torch

from hf_ssl import ModelForward, Progress, SSLBatch, get_algorithm
from hf_ssl.algorithms import BY_PROBLEM_TYPE, resolve_algorithm
from hf_ssl.algorithms.regression.alignment import at_quantiles
from hf_ssl.problem_types import REGRESSION

from tests.helpers.number_cases import (
    CASES,
    DIM,
    LABELED,
    MEAN,
    NUMBERS,
    SCALE,
    UNLABELED,
    Reference,
    make_algorithm,
    make_batch,
    make_models,
    run_step,
)

every_case = pytest.mark.parametrize("case", list(CASES))


def test_the_table_covers_every_algorithm():
    assert list(dict.fromkeys(row.name for row in CASES.values())) == list(BY_PROBLEM_TYPE[REGRESSION])


@pytest.mark.parametrize(("weight", "ramp"), [(1.0, 1.0), (0.0, 1.0), (2.0, 0.25)])
@every_case
def test_equals_the_formula_written_out(case, weight, ramp):
    algorithm, models = make_algorithm(case, unsupervised_weight=weight), make_models()
    reference = Reference(case, algorithm, models, ramp)
    for step in range(6):
        batch = make_batch(step)
        loss, mask = reference(batch, step)
        output = run_step(algorithm, step, models, batch, ramp)
        assert output.loss.item() == pytest.approx(float(loss), rel=1e-6)
        assert (mask is None) == (output.mask is None)
        if mask is not None:
            assert 0 < mask.mean() < 1
            torch.testing.assert_close(output.mask, torch.from_numpy(mask))
    assert not CASES[case].settings.get("distribution_alignment") or len(reference.targets) > UNLABELED


@every_case
def test_gradient_flows_through_the_views_that_are_trained(case):
    algorithm, models = make_algorithm(case), make_models()
    for step in range(5):
        run_step(algorithm, step, models)
    batch = make_batch(5)
    inputs = {"labeled": batch.labeled, **batch.unlabeled}
    for view in inputs.values():
        view["x"].requires_grad_()
    output = run_step(algorithm, 5, models, batch)
    output.loss.backward()
    flowing = {name for name, view in inputs.items() if view["x"].grad is not None and view["x"].grad.abs().sum() > 0}
    assert flowing == set(CASES[case].gradient)
    assert models[0].classifier.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in models[1].parameters())
    for parameter in algorithm.parameters():
        assert parameter.grad.abs().sum() > 0
    values = [*output.terms.values(), *output.metrics.values(), *algorithm.buffers()]
    assert not any(value.requires_grad for value in values)
    assert output.pseudo_labels is None or not output.pseudo_labels.requires_grad


@every_case
def test_pseudo_labels_are_in_the_user_s_units(case):
    output = run_step(make_algorithm(case), 3)
    if case != "supervised":
        assert output.pseudo_labels.shape == (UNLABELED, NUMBERS)
        # Of models that begin around the mean of the labels.
        off = (output.pseudo_labels.mean(dim=0) - torch.tensor(MEAN)) / torch.tensor(SCALE)
        assert off.abs().max() < 3


@every_case
def test_other_units_change_nothing_but_rounding(case):
    """Feet instead of meters, and counted from another place: the same loss and the same gradients of the heads."""
    factor, shift = torch.tensor([1000.0, 0.25]).double(), torch.tensor([5000.0, -3.0]).double()
    mean, scale = torch.tensor(MEAN) * factor + shift, torch.tensor(SCALE) * factor
    algorithm, other = make_algorithm(case), make_algorithm(case, target_mean=mean, target_scale=scale)
    other.target_mean, other.target_scale = mean, scale
    models = make_models()
    changed = deepcopy(models)
    with torch.no_grad():
        for model in changed:
            model.classifier.weight.mul_(factor.unsqueeze(-1))
            model.classifier.bias.mul_(factor).add_(shift)
    for step in range(4):
        batch = make_batch(step)
        first = run_step(algorithm, step, models, batch)
        batch.labels = batch.labels * factor + shift
        second = run_step(other, step, changed, batch)
        assert second.loss.item() == pytest.approx(first.loss.item(), rel=1e-7)
    first.loss.backward(), second.loss.backward()
    for one, two in zip(algorithm.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-6, atol=1e-9)


@every_case
def test_state_round_trip_continues_identically(case):
    algorithm, models = make_algorithm(case), make_models()
    for step in range(3):
        run_step(algorithm, step, models)
    copy = make_algorithm(case, target_mean=torch.zeros(NUMBERS), target_scale=torch.ones(NUMBERS))
    copy.load_state_dict({name: tensor.clone() for name, tensor in algorithm.state_dict().items()})
    assert copy.target_mean.tolist() == list(MEAN)
    for step in range(3, 6):
        assert torch.equal(run_step(algorithm, step, models).loss, run_step(copy, step, models).loss)
    for (name, first), (_, second) in zip(algorithm.named_buffers(), copy.named_buffers(), strict=True):
        assert torch.equal(first, second), name


def halves(batch):
    def part(view, number):
        size = len(view["x"]) // 2
        return {"x": view["x"][number * size : (number + 1) * size]}

    for number in range(2):
        yield SSLBatch(
            labeled=part(batch.labeled, number),
            labels=batch.labels.chunk(2)[number],
            unlabeled={name: part(view, number) for name, view in batch.unlabeled.items()},
            labeled_index=batch.labeled_index.chunk(2)[number],
            unlabeled_index=batch.unlabeled_index.chunk(2)[number],
        )


@every_case
def test_two_passes_of_a_step_leave_the_state_of_one(case):
    models = make_models()
    whole, divided = make_algorithm(case), make_algorithm(case)
    for step in range(5):
        batch = make_batch(step)
        output = run_step(whole, step, models, batch)
        parts = [run_step(divided, step, models, part).loss for part in halves(batch)]
        if CASES[case].splits:
            assert sum(parts).item() / 2 == pytest.approx(output.loss.item(), rel=1e-9)
    for (name, first), (_, second) in zip(whole.named_buffers(), divided.named_buffers(), strict=True):
        assert torch.equal(first, second), name


@every_case
def test_a_setting_outside_its_range_is_refused(case):
    (name, value), *_ = CASES[case].bad.items()
    with pytest.raises(ValueError, match=f"{name} must be .*got {value}"):
        make_algorithm(case, **CASES[case].bad)


@every_case
def test_it_says_what_it_is(case):
    cls = resolve_algorithm(CASES[case].name, REGRESSION)
    assert cls.title and cls.summary
    for name in cls.settings():
        assert f"{name}:" in inspect.getdoc(cls), name
    assert make_algorithm(case).current_settings() == {
        key: {**{n: p.default for n, p in cls.settings().items()}, **CASES[case].settings}[key]
        for key in make_algorithm(case).current_settings()
    }
    if not CASES[case].splits:
        assert "processes" in cls.__doc__


# ---- RankUp ----


def test_ranks_become_numbers_at_the_same_rank():
    predicted = torch.tensor([[5.0, 1.0], [7.0, 3.0], [6.0, 2.0], [8.0, 4.0], [9.0, 0.0]])
    labels = torch.tensor([[0.0, 10.0], [4.0, 30.0], [1.0, 20.0]])
    # Quantiles 0, 1/4, 2/4, 3/4, 1 of 0, 1, 4 and of 10, 20, 30.
    expected = torch.tensor([[0.0, 15.0], [1.0, 25.0], [0.5, 20.0], [2.5, 30.0], [4.0, 10.0]])
    torch.testing.assert_close(at_quantiles(predicted, labels), expected)
    assert at_quantiles(predicted[:1], labels).tolist() == [[0.0, 10.0]]
    # As many predictions as labels are the labels in another order.
    torch.testing.assert_close(at_quantiles(predicted[:3], labels).sort(dim=0).values, labels.sort(dim=0).values)


def test_targets_are_refreshed_a_256th_of_the_run_apart():
    algorithm = make_algorithm("rankup with rda", refresh_steps=None)
    every = [algorithm.refreshes_every(Progress(0, steps, 1)) for steps in (262_144, 1_000, 100)]
    assert every == [1024, 3, 1]
    assert algorithm.milestones(Progress(0, 1_000, 1)) == {"aligned targets": 3}
    assert make_algorithm("rankup").milestones(Progress(0, 1_000, 1)) == {}


def test_alignment_needs_a_pool_with_an_end_and_the_positions_of_its_examples():
    make_algorithm("rankup", num_unlabeled=None)
    with pytest.raises(ValueError, match="RankUp keeps something for each example of the pool, and a stream has no"):
        make_algorithm("rankup with rda", num_unlabeled=None)
    batch = make_batch(0)
    batch.unlabeled_index = None
    with pytest.raises(ValueError, match="unlabeled_index must be in the batch"):
        run_step(make_algorithm("rankup with rda"), 0, batch=batch)
    run_step(make_algorithm("rankup"), 0, batch=batch)


def test_the_order_alone_teaches_the_encoder_what_is_large():
    """Ranked pairs of the pool move features along the direction of the number, from labels at its two ends."""
    torch.manual_seed(0)
    algorithm = make_algorithm("rankup", threshold=0.5, num_classes=1, target_mean=None, target_scale=None)
    optimizer = torch.optim.SGD(algorithm.parameters(), lr=0.5)
    model = ModelForward(torch.nn.Sequential(torch.nn.Linear(DIM, 1)).double())
    for step in range(60):
        x = torch.randn(LABELED, DIM, dtype=torch.float64)
        pool = {"input": torch.randn(UNLABELED, DIM, dtype=torch.float64)}
        batch = SSLBatch({"input": x}, x[:, :1], {"weak": pool, "strong": pool})
        optimizer.zero_grad()
        algorithm(model, batch, Progress(step, 60, 1)).loss.backward()
        optimizer.step()
    weight = algorithm.ranking.weight.detach()
    direction = (weight[0] - weight[1]) / (weight[0] - weight[1]).norm()
    assert direction[0] > 0.95


# ---- UCVME ----


def test_the_saved_variance_is_that_of_the_labels_units():
    algorithm = make_algorithm("ucvme")
    with torch.no_grad():
        algorithm.variances.bias.copy_(torch.tensor([0.0, 1.0, 2.0, 3.0]))
        algorithm.variances.weight.normal_()
    weight, bias = algorithm.log_variance_layer()
    assert weight.shape == (NUMBERS, DIM)
    # Means of 0 and 2, and of 1 and 3; variances are of standardized numbers, times the square of the scale.
    expected = np.exp([1.0, 2.0]) * np.array(SCALE) ** 2
    np.testing.assert_allclose(bias.exp().numpy(), expected, rtol=1e-6)
    torch.testing.assert_close(weight, (algorithm.variances.weight[:2] + algorithm.variances.weight[2:]).detach() / 2)
    assert make_algorithm("rankup").log_variance_layer() is None


def test_uncertain_examples_teach_less_and_get_a_larger_variance():
    """Labels with noise in one half of the space: the variance that is learned there is the noise's."""
    torch.manual_seed(0)
    sizes = {"num_labeled": 512, "num_unlabeled": 512, "labeled_batch_size": 128, "unlabeled_batch_size": 128}
    algorithm = get_algorithm("ucvme", num_classes=1, feature_size=2, problem_type=REGRESSION, dropout=0.0, **sizes)
    model = torch.nn.Sequential(torch.nn.Linear(2, 1))
    optimizer = torch.optim.Adam([*model.parameters(), *algorithm.parameters()], lr=0.05)
    for step in range(300):
        side = torch.randint(2, (128, 1)).float()
        x = torch.cat([torch.randn(128, 1), side], dim=1)
        y = x[:, :1] + (0.1 + 0.9 * side) * torch.randn(128, 1)
        batch = SSLBatch({"input": x}, y, {"weak": {"input": x}})
        optimizer.zero_grad()
        algorithm(ModelForward(model), batch, Progress(step, 300, 1)).loss.backward()
        optimizer.step()
    weight, bias = algorithm.log_variance_layer()
    deviations = (torch.tensor([[0.0, 0.0], [0.0, 1.0]]).double() @ weight.T + bias).div(2).exp().flatten().tolist()
    assert deviations[0] == pytest.approx(0.12, abs=0.06) and deviations[1] == pytest.approx(1.0, abs=0.2)


def test_masks_differ_and_their_mean_is_the_target():
    algorithm = make_algorithm("ucvme", dropout=0.5, num_passes=400, unsupervised_weight=1.0)
    models = make_models()
    torch.manual_seed(3)
    first, second = (run_step(algorithm, 0, models).pseudo_labels for _ in range(2))
    plain = run_step(make_algorithm("ucvme"), 0, models).pseudo_labels
    assert not torch.equal(first, second)
    scale = torch.tensor(SCALE)
    assert ((first - plain) / scale).abs().max() < 0.5 and ((first - second) / scale).abs().max() < 0.5


def test_labeled_numbers_are_taken_in_the_user_s_units():
    algorithm, models = make_algorithm("supervised"), make_models()
    batch = make_batch(0)
    predicted = models[0](batch.labeled["x"])
    expected = ((predicted - batch.labels) / torch.tensor(SCALE)).square().mean()
    assert run_step(algorithm, 0, models, batch).loss.item() == pytest.approx(expected.item(), rel=1e-6)
    # A loss of the user gets them as they are.
    algorithm.criterion = lambda logits, targets, weights: (logits - targets).abs().mean()
    expected = (predicted - batch.labels).abs().mean()
    assert run_step(algorithm, 0, models, batch).loss.item() == pytest.approx(expected.item())
    assert len(batch.labels) == LABELED


@pytest.mark.parametrize("case", ["ucvme", "rankup"])
def test_every_algorithm_takes_a_loss_of_the_user(case):
    algorithm = make_algorithm(case)
    seen = []
    algorithm.criterion = lambda logits, targets, weights: seen.append(logits) or (logits - targets).abs().mean()
    run_step(algorithm, 0)
    assert seen[0].shape == (LABELED, NUMBERS) and (seen[0].mean(dim=0) - torch.tensor(MEAN)).abs().max() < 30
