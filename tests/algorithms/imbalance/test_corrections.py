"""What holds for every correction around every algorithm, one table row each (tests/helpers/correction_cases.py)."""

import inspect
import pickle
import re
from copy import deepcopy
from dataclasses import fields, replace

import pytest
import torch

from hf_ssl import ModelForward, Progress, SSLBatch
from hf_ssl.algorithms import ALGORITHMS, IMBALANCE, name_of_correction
from hf_ssl.algorithms.correction import Correction
from hf_ssl.algorithms.steps import StepStatistics

from tests.helpers.algorithm_cases import CLASSES, LABELED, POOL, UNLABELED, make_models
from tests.helpers.correction_cases import (
    CORRECTIONS,
    COUNTS,
    PAIRS,
    make_batch,
    make_corrected,
    run_step,
    taken,
)
from tests.helpers.text_model import Words

every_pair = pytest.mark.parametrize(("name", "base"), PAIRS, ids=[f"{base}-{name}" for name, base in PAIRS])
every_correction = pytest.mark.parametrize("name", list(CORRECTIONS))


def test_the_table_covers_every_correction():
    assert set(CORRECTIONS) == set(IMBALANCE)


@every_correction
def test_declares_where_it_comes_from(name):
    cls = IMBALANCE[name]
    assert cls.title and cls.summary and "\n" not in cls.summary
    year = int(re.search(r"year = \{(\d+)", cls.citation)[1])
    assert cls.year is not None and cls.year <= year
    assert cls.citation.count("{") == cls.citation.count("}")
    documented = "\n".join(base.__doc__ or "" for base in cls.__mro__ if issubclass(base, Correction))
    assert cls.arxiv is None or cls.arxiv in documented
    for setting, parameter in cls.settings().items():
        assert parameter.default is not inspect.Parameter.empty
        assert re.search(rf"\b{setting}\b.*:", documented), f"{setting} is not in the docstring"


@every_correction
def test_a_setting_outside_its_range_is_refused_by_name(name):
    for setting, value in CORRECTIONS[name].bad.items():
        with pytest.raises(ValueError, match=rf"{setting} must be .*got.*{re.escape(str(value))}"):
            make_corrected(name, CORRECTIONS[name].bases[0], settings={setting: value})


@every_correction
def test_an_unknown_setting_lists_the_known_ones(name):
    with pytest.raises(TypeError, match="tresh") as error:
        make_corrected(name, settings={"tresh": 0.5})
    assert all(setting in str(error.value) for setting in IMBALANCE[name].settings())


@every_correction
def test_what_it_does_not_compose_with_is_refused_with_the_reason(name):
    title = re.escape(IMBALANCE[name].title)
    if (refused := CORRECTIONS[name].refuses) is not None:
        base, reason = refused
        wanted = rf"imbalance must be a correction that {ALGORITHMS[base].title} allows, got {title}: .*{reason}"
        with pytest.raises(ValueError, match=wanted):
            make_corrected(name, base)
    else:
        for base in ALGORITHMS:
            assert name_of_correction(make_corrected(name, base).correction) == name


@every_pair
def test_gradient_reaches_model_and_heads_and_no_teacher_or_statistic(name, base):
    algorithm, models = make_corrected(name, base), make_models()
    run_step(name, base, algorithm, 3, models)
    output = run_step(name, base, algorithm, 4, models)
    output.loss.backward()
    assert models[0].classifier.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in models[1].parameters())
    for parameter in algorithm.parameters():
        assert parameter.grad.abs().sum() > 0
    values = [*output.terms.values(), *output.metrics.values(), *algorithm.buffers()]
    assert not any(value.requires_grad for value in values)
    assert output.pseudo_labels is None or not output.pseudo_labels.requires_grad
    assert output.mask.shape == (UNLABELED,) and {"supervised", "unsupervised"} <= set(output.terms)


@every_pair
def test_state_round_trip_continues_identically(name, base):
    algorithm, models = make_corrected(name, base), make_models()
    for step in range(3):
        run_step(name, base, algorithm, step, models)
    restored = make_corrected(name, base)
    restored.load_state_dict({key: value.clone() for key, value in algorithm.state_dict().items()})
    copies = [restored, pickle.loads(pickle.dumps(algorithm)), deepcopy(algorithm)]
    for copied in copies[1:]:
        copied.begin_step()
    for step in (3, 4):
        expected, *found = (run_step(name, base, each, step, models).loss for each in (algorithm, *copies))
        assert all(torch.equal(loss, expected) for loss in found)
    for key, value in algorithm.state_dict().items():
        assert torch.equal(restored.state_dict()[key], value), key


@every_pair
def test_the_order_of_a_batch_does_not_matter(name, base):
    results = []
    generator = torch.Generator().manual_seed(3)
    for shuffle in (False, True):
        algorithm, models = make_corrected(name, base), make_models()
        for step in range(3):
            batch = make_batch(name, step)
            if shuffle:
                batch = taken(batch, *(torch.randperm(n, generator=generator) for n in (LABELED, UNLABELED)))
            output = run_step(name, base, algorithm, step, models, batch)
        results.append(output.loss)
    torch.testing.assert_close(*results, rtol=1e-10, atol=0)


@pytest.mark.parametrize(("name", "base"), [pair for pair in PAIRS if not CORRECTIONS[pair[0]].waits])
def test_nothing_is_read_back_from_the_device(name, base, monkeypatch):
    algorithm, models = make_corrected(name, base), make_models()
    batches = [make_batch(name, step) for step in range(4)]

    def refuse(*_, **__):
        raise AssertionError("a tensor's value was read on the host")

    for method in ("item", "tolist", "numpy", "cpu", "nonzero", "__bool__", "__int__", "__float__", "__index__"):
        monkeypatch.setattr(torch.Tensor, method, refuse)
    for function in ("nonzero", "bincount", "unique"):
        monkeypatch.setattr(torch, function, refuse)
    for step, batch in enumerate(batches):
        run_step(name, base, algorithm, step, models, batch).loss.backward()


NEUTRAL = [pair for pair in PAIRS if CORRECTIONS[pair[0]].neutral is not None]


@pytest.mark.parametrize(("name", "base"), NEUTRAL, ids=[f"{base}-{name}" for name, base in NEUTRAL])
def test_a_neutral_setting_is_the_plain_algorithm_bit_for_bit(name, base):
    settings, counts = CORRECTIONS[name].neutral
    models = make_models()
    corrected, plain = make_corrected(name, base, counts=counts, settings=settings), make_corrected(None, base)
    for step in range(4):
        found, expected = (
            run_step(name, base, corrected, step, models),
            run_step(None, base, plain, step, models),
        )
        assert torch.equal(found.loss, expected.loss) and torch.equal(found.mask, expected.mask)
        assert torch.equal(found.pseudo_labels, expected.pseudo_labels)


# Sizes of the passes of one step: labeled, unlabeled.
DIVISIONS = {"two": ((2, 2), (4, 4)), "uneven": ((3, 1), (2, 6))}


def passes_of(batch: SSLBatch, division) -> list[SSLBatch]:
    parts = []
    for i in range(len(division[0])):
        rows = (slice(sum(sizes[:i]), sum(sizes[: i + 1])) for sizes in division)
        parts.append(taken(batch, *rows))
    return parts


ALIKE = [(name, base) for name, base in PAIRS if base == "fixmatch" or not CORRECTIONS[name].entangled]


@pytest.mark.parametrize("division", list(DIVISIONS))
@pytest.mark.parametrize(("name", "base"), ALIKE, ids=[f"{base}-{name}" for name, base in ALIKE])
def test_statistics_are_those_of_one_large_pass(name, base, division):
    whole, parts, models = make_corrected(name, base), make_corrected(name, base), make_models()
    for step in range(5):
        batch = make_batch(name, step)
        run_step(name, base, whole, step, models, batch)
        for part in passes_of(batch, DIVISIONS[division]):
            run_step(name, base, parts, step, models, part)
    for key, value in whole.state_dict().items():
        found = parts.state_dict()[key]
        torch.testing.assert_close(found, value, rtol=1e-11, atol=1e-13, msg=lambda text, key=key: f"{key}: {text}")


@every_correction
def test_no_statistic_is_left_out(name):
    """Buffers that follow the batches are in parts that know of passes; a head knows of none."""
    algorithm = make_corrected(name, CORRECTIONS[name].bases[0])
    for part in algorithm.correction.modules():
        assert isinstance(part, StepStatistics) or not dict(part.named_buffers(recurse=False)), type(part).__name__


# ---- Precision and modalities ----


@every_pair
def test_a_bfloat16_model_trains_beside_a_float32_algorithm(name, base):
    algorithm, models = make_corrected(name, base, torch.float32), make_models()
    batch = make_batch(name, 3, dtype=torch.bfloat16)
    output = run_step(name, base, algorithm, 3, models, batch, torch.bfloat16)
    output.loss.backward()
    assert output.loss.dtype == torch.float32 and torch.isfinite(output.loss)
    gradients = [parameter.grad for parameter in [*models[0].parameters(), *algorithm.parameters()]]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@every_pair
def test_runs_under_autocast(name, base):
    models = make_models()
    with torch.autocast("cpu", torch.bfloat16):
        output = run_step(name, base, make_corrected(name, base, torch.float32), 3, models, dtype=torch.float32)
    output.loss.backward()
    assert output.loss.dtype == torch.float32 and torch.isfinite(output.loss)


@every_pair
def test_runs_on_text(name, base):
    torch.manual_seed(0)
    algorithm, model = make_corrected(name, base, torch.float32, modality="text"), Words()

    def tokens(rows):
        ids = torch.randint(11, (rows, 5))
        return {"input_ids": ids, "attention_mask": torch.ones(rows, 5, dtype=torch.int64)}

    batch = make_batch(name, 0, dtype=torch.float32)
    views = {
        each.name: tokens(len(next(iter(value.values()))))
        for each in fields(SSLBatch)
        if isinstance(value := getattr(batch, each.name), dict) and each.name != "unlabeled"
    }
    batch = replace(batch, perturbation=None, unlabeled={view: tokens(UNLABELED) for view in batch.unlabeled}, **views)
    teacher = deepcopy(model) if algorithm.uses_teacher else None
    output = algorithm(ModelForward(model, teacher=teacher), batch, Progress(3, 10, 2))
    output.loss.backward()
    assert torch.isfinite(output.loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@every_correction
def test_a_class_without_a_label_is_no_division_by_zero(name):
    base = CORRECTIONS[name].bases[0]
    algorithm = make_corrected(name, base, counts=torch.tensor([0.0, 5.0, 1.0]))
    for step in range(4):
        assert torch.isfinite(run_step(name, base, algorithm, step).loss)


@every_correction
def test_counts_come_from_the_class_distribution_if_they_are_not_given(name):
    base = CORRECTIONS[name].bases[0]
    algorithm = make_corrected(name, base, counts=COUNTS)
    assert algorithm.correction.labeled_counts.tolist() == COUNTS.tolist()
    assert POOL and len(algorithm.labeled_counts) == CLASSES
