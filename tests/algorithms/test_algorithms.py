"""What holds for every algorithm, one table row each (tests/helpers/algorithm_cases.py)."""

import dataclasses
import inspect
import pickle
import re
from copy import deepcopy
from operator import attrgetter

import pytest
import torch
from torch import nn

from hf_ssl import ModelForward, Progress, SSLBatch, get_algorithm, losses
from hf_ssl.algorithms import ALGORITHMS, SSLAlgorithm
from hf_ssl.algorithms.multi_label import MULTI_LABEL_ALGORITHMS
from hf_ssl.algorithms.problem import PROBLEM_KEYWORDS

from tests.helpers.algorithm_cases import (
    ALL_CASES,
    CASES,
    CLASSES,
    DIM,
    LABELED,
    MULTI_LABEL_CASES,
    UNLABELED,
    class_of,
    fix_mixup,
    kind_of,
    make_algorithm,
    make_batch,
    make_models,
    make_reference,
    run_step,
)

every_algorithm = pytest.mark.parametrize("name", list(ALL_CASES))
TASK = {
    "num_classes": CLASSES,
    "num_labeled": 6,
    "num_unlabeled": 12,
    "feature_size": DIM,
    "labeled_batch_size": LABELED,
    "unlabeled_batch_size": UNLABELED,
}


def test_the_table_covers_every_algorithm():
    assert list(CASES) == list(ALGORITHMS)
    assert sorted(name.partition("/")[2] for name in MULTI_LABEL_CASES) == sorted(MULTI_LABEL_ALGORITHMS)


@pytest.mark.parametrize(("weight", "ramp"), [(1.0, 1.0), (0.0, 1.0), (0.5, 1.0), (2.0, 0.25), (2.0, 0.0)])
@every_algorithm
def test_equals_the_formula_written_out(name, weight, ramp):
    algorithm, models = make_algorithm(name, unsupervised_weight=weight), make_models()
    reference = make_reference(name, algorithm, models, ramp)
    for step in range(4):
        batch = fix_mixup(name, make_batch(step))
        loss, mask = reference(batch, step)
        output = run_step(name, algorithm, step, models, batch, ramp=ramp)
        assert output.loss.item() == pytest.approx(float(loss), rel=1e-6)
        if mask is None:
            assert output.mask is None
        else:
            torch.testing.assert_close(output.mask, torch.as_tensor(mask, dtype=torch.float64), rtol=1e-6, atol=1e-8)
    for key, value in reference.state.items():
        actual = attrgetter(key)(algorithm).double()
        torch.testing.assert_close(actual, torch.as_tensor(value, dtype=torch.float64), rtol=1e-6, atol=1e-8)


@every_algorithm
def test_gradient_flows_through_the_views_that_are_trained(name):
    algorithm, models = make_algorithm(name), make_models()
    run_step(name, algorithm, 3, models)
    batch = fix_mixup(name, make_batch(4))
    inputs = {"labeled": batch.labeled, "labeled_strong": batch.labeled_strong, **batch.unlabeled}
    for view in inputs.values():
        view["x"].requires_grad_()
    output = run_step(name, algorithm, 4, models, batch)
    output.loss.backward()
    flowing = {
        view for view, given in inputs.items() if given["x"].grad is not None and given["x"].grad.abs().sum() > 0
    }
    assert flowing == ALL_CASES[name].gradient
    assert (models[0].classifier.weight.grad.abs().sum() > 0) == ALL_CASES[name].own_head
    assert all(p.grad is None for p in models[1].parameters())
    for parameter in algorithm.parameters():
        assert parameter.grad.abs().sum() > 0
    values = [*output.terms.values(), *output.metrics.values(), *algorithm.buffers()]
    assert not any(value.requires_grad for value in values)
    assert output.pseudo_labels is None or not output.pseudo_labels.requires_grad


@every_algorithm
def test_state_round_trip_continues_identically(name):
    algorithm, models = make_algorithm(name), make_models()
    for step in range(3):
        run_step(name, algorithm, step, models)
    restored = make_algorithm(name)
    restored.load_state_dict({key: value.clone() for key, value in algorithm.state_dict().items()})
    for step in (3, 4):
        expected, actual = (run_step(name, each, step, models) for each in (algorithm, restored))
        torch.testing.assert_close(actual.loss, expected.loss, rtol=0, atol=0)
    for key, value in algorithm.state_dict().items():
        torch.testing.assert_close(restored.state_dict()[key], value, rtol=0, atol=0)


def permuted(batch, labeled, unlabeled):
    def take(view, order):
        return {key: value[order] for key, value in view.items()}

    return SSLBatch(
        labeled=take(batch.labeled, labeled),
        labels=batch.labels[labeled],
        unlabeled={name: take(view, unlabeled) for name, view in batch.unlabeled.items()},
        labeled_index=batch.labeled_index[labeled],
        unlabeled_index=batch.unlabeled_index[unlabeled],
        labeled_strong=take(batch.labeled_strong, labeled),
        rotation_labels=batch.rotation_labels[unlabeled],
        perturbation=batch.perturbation[unlabeled],
    )


@every_algorithm
def test_the_order_of_a_batch_does_not_matter(name):
    results = []
    generator = torch.Generator().manual_seed(3)
    for shuffle in (False, True):
        algorithm, models = make_algorithm(name), make_models()
        for step in range(3):
            batch = make_batch(step)
            if shuffle:
                orders = (torch.randperm(n, generator=generator) for n in (LABELED, UNLABELED))
                batch = permuted(batch, *orders)
            output = run_step(name, algorithm, step, models, fix_mixup(name, batch, identity=True))
        results.append(output.loss)
    torch.testing.assert_close(*results, rtol=1e-10, atol=0)


# A graph is made on the host, at long intervals.
BETWEEN = {"propagation": {"refresh_steps": 100}}


@every_algorithm
def test_nothing_is_read_back_from_the_device(name, monkeypatch):
    algorithm, models = make_algorithm(name, **BETWEEN.get(name, {})), make_models()

    def refuse(*_, **__):
        raise AssertionError("a tensor's value was read on the host")

    for method in ("item", "tolist", "numpy", "cpu", "nonzero", "__bool__", "__int__", "__float__", "__index__"):
        monkeypatch.setattr(torch.Tensor, method, refuse)
    for function in ("nonzero", "bincount", "unique"):
        monkeypatch.setattr(torch, function, refuse)
    for step in range(4):
        batch = make_batch(step)
        run_step(name, algorithm, step, models, batch).loss.backward()


@every_algorithm
def test_runs_with_shapes_alone(name):
    """On the meta device there are no values: a result that depends on them, in shape or flow, would fail."""
    algorithm, models = make_algorithm(name).to("meta"), [model.to("meta") for model in make_models()]
    batch = make_batch(3, device="meta")
    output = run_step(name, algorithm, 3, models, batch)
    assert output.loss.shape == ()
    if output.mask is not None:
        several = name in MULTI_LABEL_CASES
        assert output.mask.shape == ((UNLABELED, CLASSES) if several else (UNLABELED,))
    if output.pseudo_labels is not None:
        assert output.pseudo_labels.shape in ((UNLABELED,), (UNLABELED, CLASSES))


@every_algorithm
def test_output_is_complete(name):
    output = run_step(name, make_algorithm(name, torch.float32), 3, dtype=torch.float32)
    assert output.loss.dtype == torch.float32
    assert "supervised" in output.terms
    alone = kind_of(name)[1] == "supervised"
    assert alone or "unsupervised" in output.terms
    assert ("mask_ratio" in output.metrics) == (output.mask is not None)
    assert (output.pseudo_labels is None) == (alone or name == "vat")


@every_algorithm
def test_declares_views_and_where_it_comes_from(name):
    cls = class_of(name)
    assert set(make_algorithm(name).views) == ALL_CASES[name].views
    assert set(cls.views.values()) <= {"weak", "medium", "strong", "rotated"}
    assert cls.title and cls.summary and "\n" not in cls.summary
    if kind_of(name)[1] != "supervised":
        assert f"{cls.year}" in cls.citation or cls.year < int(re.search(r"year = \{(\d+)", cls.citation)[1])
        assert cls.arxiv is None or cls.arxiv in cls.__doc__
        assert cls.citation.count("{") == cls.citation.count("}")
    for setting, parameter in cls.settings().items():
        assert parameter.default is not inspect.Parameter.empty
        assert f"{setting}:" in cls.__doc__, f"{setting} is not in the docstring"


@every_algorithm
def test_a_setting_outside_its_range_is_refused_by_name(name):
    ((setting, value),) = ALL_CASES[name].bad.items()
    with pytest.raises(ValueError, match=rf"{setting} must be .*got.*{re.escape(str(value))}"):
        make_algorithm(name, **{setting: value})


@every_algorithm
def test_an_unknown_setting_lists_the_known_ones(name):
    with pytest.raises(TypeError, match="tresh") as error:
        make_algorithm(name, tresh=0.5)
    assert all(setting in str(error.value) for setting in class_of(name).settings())


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"flexmatch.*simmatch"):
        get_algorithm("flexmach", **TASK)


class Custom(SSLAlgorithm):
    """Written as a user would: unknown keywords are passed on, and the loss is summed by `total`."""

    views = {"weak": "weak"}

    def __init__(self, *, strength: float = 1.0, **task):
        super().__init__(**task)
        self.strength = strength
        self.head = nn.Linear(self.feature_size, self.num_classes)

    def forward(self, model, batch, progress):
        loss = losses.cross_entropy(self.head(model(labeled=batch.labeled)["labeled"].features), batch.labels)
        return self.total(loss, self.strength * loss.detach())


def test_a_custom_class_has_settings_and_reads_its_problem():
    algorithm = get_algorithm(Custom, strength=2.0, **TASK)
    assert list(Custom.settings()) == ["strength"] and algorithm.current_settings() == {"strength": 2.0}
    assert algorithm.head.weight.shape == (CLASSES, DIM)
    assert algorithm.problem.num_unlabeled == algorithm.num_unlabeled == TASK["num_unlabeled"]


@every_algorithm
def test_every_keyword_of_the_problem_can_be_read(name):
    kind, plain = kind_of(name)
    algorithm = get_algorithm(plain, problem_type=kind, unsupervised_weight=3.0, modality="text", **TASK)
    given = {**TASK, "unsupervised_weight": 3.0, "modality": "text"}
    assert {key: getattr(algorithm, key) for key in given} == given
    rest = {"class_distribution", "problem_type", "target_mean", "target_scale"}
    assert set(given) | rest == set(PROBLEM_KEYWORDS)
    share = 0.5 if name in MULTI_LABEL_CASES else 1 / CLASSES
    torch.testing.assert_close(algorithm.class_distribution, torch.full((CLASSES,), share))


def test_a_missing_keyword_of_the_problem_is_named():
    with pytest.raises(TypeError, match="num_labeled"):
        get_algorithm("fixmatch", **{key: value for key, value in TASK.items() if key != "num_labeled"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"unsupervised_weight": -0.5}, "unsupervised_weight must be at least 0, got -0.5"),
        ({"modality": "video"}, "modality must be one of image, audio, text, got 'video'"),
    ],
)
def test_a_problem_outside_its_range_is_refused(changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        get_algorithm("fixmatch", **{**TASK, **changes})


@pytest.mark.parametrize(
    ("name", "statistic"),
    [
        ("flexmatch", "class_learning_status"),
        ("freematch", "global_threshold"),
        ("softmatch", "confidence_mean"),
        ("comatch", "queue_features"),
        ("simmatch", "alignment_model"),
    ],
)
def test_statistics_of_the_parts_are_read_from_the_algorithm(name, statistic):
    algorithm = make_algorithm(name)
    parts = [part for part in algorithm.children() if statistic in dict(part.named_buffers(recurse=False))]
    assert len(parts) == 1 and getattr(algorithm, statistic) is getattr(parts[0], statistic)
    with pytest.raises(AttributeError, match=rf"{type(algorithm).__name__} has no attribute 'nothing'.*{statistic}"):
        _ = algorithm.nothing


@pytest.mark.parametrize("name", ["fixmatch", "freematch", "simmatch"])
def test_an_algorithm_can_be_copied(name):
    algorithm = make_algorithm(name)
    for copied in (deepcopy(algorithm), pickle.loads(pickle.dumps(algorithm))):
        assert copied.num_classes == CLASSES and copied.state_dict().keys() == algorithm.state_dict().keys()


def test_current_settings_are_found_in_the_parts():
    settings = {"margin_penalty": 0.1, "threshold": 0.8, "hard_labels": False}
    settings |= {"temperature": 0.3, "threshold_warmup": False}
    assert get_algorithm("flexmatch", **settings, **TASK).current_settings() == settings


def test_the_ramp_reaches_custom_algorithms():
    algorithm = get_algorithm(Custom, strength=2.0, unsupervised_weight=3.0, **TASK).double()
    for ramp in (0.0, 0.5, 1.0):
        output = algorithm(ModelForward(make_models()[0]), make_batch(0), Progress(0, 10, 5, unsupervised_ramp=ramp))
        torch.testing.assert_close(output.loss, output.terms["supervised"] * (1 + 6 * ramp))


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("flexmatch", "unlabeled_index"),
        ("simmatch", "labeled_index"),
        ("defixmatch", "labeled_strong"),
        ("crmatch", "rotation_labels"),
    ],
)
def test_a_field_that_is_missing_in_the_batch_is_named(name, field):
    batch = dataclasses.replace(make_batch(0), **{field: None})
    with pytest.raises(ValueError, match=f"{field} must be in the batch, got None"):
        run_step(name, make_algorithm(name), 0, batch=batch)


def test_an_algorithm_without_forward_is_refused():
    with pytest.raises(TypeError, match=r"SSLAlgorithm must define forward\(self, model, batch, progress\)"):
        SSLAlgorithm(**TASK)(ModelForward(make_models()[0]), make_batch(0), Progress(0, 10, 5))


@pytest.mark.parametrize("name", ["mean_teacher"])
def test_a_missing_teacher_is_reported(name):
    with pytest.raises(ValueError, match="teacher"):
        make_algorithm(name)(ModelForward(make_models()[0]), make_batch(0), Progress(0, 10, 5))


def test_simmatch_works_without_a_teacher():
    algorithm = make_algorithm("simmatch")
    algorithm(ModelForward(make_models()[0]), make_batch(0), Progress(0, 10, 5))
    assert algorithm.memory_bank.norm(dim=0).sub(1).abs().max() < 1e-6


def test_simmatch_measures_how_fast_its_teacher_follows():
    algorithm, (student, _) = make_algorithm("simmatch"), make_models()
    teacher = make_models()[0].requires_grad_(False)
    average = [p.detach().clone() for p in algorithm.projection.parameters()]
    generator = torch.Generator().manual_seed(0)
    for step in range(5):
        algorithm(ModelForward(student, teacher=teacher), make_batch(step), Progress(step, 10, 2))
        for mine, expected in zip(algorithm.teacher_projection.buffers(), average, strict=False):
            torch.testing.assert_close(mine, expected)
        with torch.no_grad():
            for parameter in [*student.parameters(), *algorithm.projection.parameters()]:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
            for mine, theirs in zip(teacher.parameters(), student.parameters(), strict=True):
                mine.lerp_(theirs, 0.1)
            for mine, theirs in zip(average, algorithm.projection.parameters(), strict=True):
                mine.lerp_(theirs, 0.1)


def test_dash_measures_its_threshold_in_the_warm_up():
    algorithm = make_algorithm("dash", initial_loss_threshold=None, warmup_fraction=0.3)
    models = make_models()
    measured = []
    for step in range(4):
        output = run_step("dash", algorithm, step, models)
        if step < 3:
            assert output.mask.sum() == 0
            measured.append(output.terms["supervised"].item())
    # 6 labeled examples in batches of 4: one pass takes two steps, the last two of the three.
    assert algorithm.loss_threshold.item() == pytest.approx(1.01 * sum(measured[1:]) / 2)


def test_the_mask_ratio_is_a_share_although_examples_may_count_threefold():
    """As in MultiMatch, where an example of which one head alone is sure counts `disagreement_weight` times."""
    algorithm = get_algorithm("fixmatch", **TASK)
    one = torch.tensor(1.0, requires_grad=True)
    output = algorithm.total(one, one, mask=torch.tensor([3.0, 0.5, 0.0, 1.0]))
    assert output.metrics["mask_ratio"].item() == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert output.mask.tolist() == [3.0, 0.5, 0.0, 1.0]
