"""What differs between images, texts and recordings for algorithms: rotation, mixing, token ids, precision."""

import logging

import pytest
import torch

from hf_ssl import ModelForward, Progress
from hf_ssl.algorithms.parts.mixup import Mixup

from tests.helpers.algorithm_cases import (
    ALL_CASES,
    LABELED,
    UNLABELED,
    Linear,
    fix_mixup,
    in_kind,
    make_algorithm,
    make_batch,
    make_models,
    run_step,
)
from tests.helpers.text_model import Words

every_algorithm = pytest.mark.parametrize("name", list(ALL_CASES))


@pytest.mark.parametrize("modality", ["text", "audio"])
@pytest.mark.parametrize("name", ["remixmatch", "crmatch"])
def test_only_images_are_rotated(name, modality):
    messages = []
    logger = logging.getLogger("hf_ssl.algorithms.parts.rotation")
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger.addHandler(handler)
    try:
        from transformers.utils.logging import warning_once

        warning_once.cache_clear()
        algorithm = make_algorithm(name, modality=modality)
    finally:
        logger.removeHandler(handler)
    assert len(messages) == 1 and "rotation_weight" in messages[0]
    assert algorithm.rotation is None and "rotated" not in algorithm.views
    batch = fix_mixup(name, make_batch(1))
    del batch.unlabeled["rotated"]
    assert "rotation" not in run_step(name, algorithm, 1, batch=batch).terms


@pytest.mark.parametrize("name", ["mixmatch", "remixmatch", "regmixmatch"])
def test_mixing_features_of_a_linear_model_is_mixing_its_inputs(name):
    settings = {"rotation_weight": 0.0} if name == "remixmatch" else {}
    inputs, features = (
        run_step(name, make_algorithm(name, modality=modality, **settings), 3).loss for modality in ("image", "text")
    )
    torch.testing.assert_close(inputs, features)


def test_mixing_token_ids_is_refused():
    batch = make_batch(0)
    batch.labeled["x"] = batch.labeled["x"].long()
    for view in batch.unlabeled.values():
        view["x"] = view["x"].long()

    class Casting(Linear):
        def forward(self, x):
            return super().forward(x.double())

    with pytest.raises(TypeError, match="cannot mix x"):
        make_algorithm("mixmatch")(ModelForward(Casting().double()), batch, Progress(0, 10, 5))


def test_mixup_keeps_the_first_example_dominant():
    weights = torch.stack([Mixup(0.5, 4, "cpu").weight for _ in range(50)])
    assert weights.min() >= 0.5 and weights.std() > 0
    assert sorted(Mixup(0.5, 4, "cpu").permutation.tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("alpha", [1e-4, 1e-3, 0.01, 0.5, 0.75, 1.0, 100.0])
def test_mixup_draws_from_beta(alpha):
    # The variance of Beta(a, a) is 1 / (4 (2 a + 1)), so the mean of (2 lambda - 1)^2 is 1 / (2 a + 1), and it is the
    # same for max(lambda, 1 - lambda).
    torch.manual_seed(0)
    weights = torch.stack([Mixup(alpha, 1, "cpu").weight for _ in range(1500)])
    squares = (2 * weights - 1).square()
    error = squares.std() / 1500**0.5
    assert abs(squares.mean() - 1 / (2 * alpha + 1)) < 4 * error + 1e-6
    assert weights.min() >= 0.5 and weights.max() <= 1


def test_mixup_draws_its_own_numbers():
    batch = make_batch(3)
    algorithm, models = make_algorithm("mixmatch"), make_models()
    first, second = (run_step("mixmatch", algorithm, 3, models, batch).loss for _ in range(2))
    assert first != second


@every_algorithm
def test_runs_on_text(name):
    torch.manual_seed(0)
    algorithm, model = make_algorithm(name, torch.float32, modality="text"), Words()

    def tokens(rows):
        return {"input_ids": torch.randint(11, (rows, 5)), "attention_mask": torch.ones(rows, 5, dtype=torch.int64)}

    batch = make_batch(0)
    batch.labeled, batch.labeled_strong, batch.perturbation = tokens(LABELED), tokens(LABELED), None
    batch.unlabeled = {view: tokens(UNLABELED) for view in algorithm.views}
    teacher = Words() if algorithm.uses_teacher else None
    output = algorithm(ModelForward(model, teacher=teacher), in_kind(name, batch), Progress(3, 10, 2))
    output.loss.backward()
    assert torch.isfinite(output.loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("modality", ["image", "audio"])
@every_algorithm
def test_a_bfloat16_model_trains_beside_a_float32_algorithm(name, modality):
    algorithm, (student, teacher) = make_algorithm(name, torch.float32, modality=modality), make_models()
    models = student, teacher
    output = run_step(name, algorithm, 3, models, fix_mixup(name, make_batch(3, torch.bfloat16)), torch.bfloat16)
    output.loss.backward()
    assert output.loss.dtype == torch.float32 and torch.isfinite(output.loss)
    assert all(torch.isfinite(p.grad).all() for p in [*student.parameters(), *algorithm.parameters()])


@every_algorithm
def test_runs_under_autocast(name):
    models = make_models()
    with torch.autocast("cpu", torch.bfloat16):
        output = run_step(name, make_algorithm(name, torch.float32), 3, models, dtype=torch.float32)
    output.loss.backward()
    assert output.loss.dtype == torch.float32 and torch.isfinite(output.loss)
