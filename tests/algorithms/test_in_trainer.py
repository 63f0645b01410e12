"""Every algorithm trains in SSLTrainer, on images, text and audio, and moves every weight."""

import pytest
import torch

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.algorithms import ALGORITHMS
from hf_ssl.model.head import find_head

from tests.helpers.algorithm_cases import CASES as CASES_OF_STEPS
from tests.helpers.quiet import QUIET
from tests.helpers.tiny_tasks import EAGER, TASKS, new_model, task

# What takes part only if a prediction is uncertain, of three classes.
UNCERTAIN = {"shrinkmatch": {"threshold": 0.55}}


def train(algorithm, modality, folder, **changes):
    settings = {name: value for name, value in EAGER.items() if name in ALGORITHMS[algorithm].settings()}
    settings |= UNCERTAIN.get(algorithm, {})
    config = {
        "output_dir": str(folder),
        "algorithm": algorithm,
        "algorithm_kwargs": settings,
        "max_steps": 30,
        "per_device_train_batch_size": 3,
        "unlabeled_batch_ratio": 2,
        "learning_rate": 1e-2,
        "logging_steps": 10,
        **QUIET,
    }
    trainer = SSLTrainer(new_model(modality), SSLConfig(**{**config, **changes}), **task(modality))
    before = {name: p.detach().clone() for name, p in named_weights(trainer)}
    trainer.train()
    return trainer, before


def named_weights(trainer):
    yield from ((f"model.{name}", p) for name, p in trainer.model.named_parameters())
    yield from ((f"algorithm.{name}", p) for name, p in trainer.algorithm.named_parameters())


# Weights that no loss of the model itself reaches: absent inputs, or a bias that softmax cancels.
WITHOUT_GRADIENT = ("masked_spec_embed", "mask_token", "token_type_embeddings", "key.bias", "k_proj.bias")


# One algorithm per kind on recordings, whose views take longest; the other ones are slow tests.
KINDS = ("supervised", "mean_teacher", "vat", "mixmatch", "flexmatch", "simmatch")
CASES = [
    pytest.param(
        algorithm,
        modality,
        marks=() if modality != "audio" or algorithm in KINDS else pytest.mark.slow,
        id=f"{algorithm}-{modality}",
    )
    for algorithm in ALGORITHMS
    for modality in TASKS
]


@pytest.mark.parametrize(("algorithm", "modality"), CASES)
def test_thirty_steps_change_every_trainable_weight(algorithm, modality, tmp_path):
    trainer, before = train(algorithm, modality, tmp_path)
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert len(rows) == 3
    assert all(torch.isfinite(torch.tensor(row["loss"])) for row in rows)
    assert set(rows[-1]) >= {"supervised"} | ({"unsupervised"} if algorithm != "supervised" else set())
    unchanged = [name for name, p in named_weights(trainer) if p.requires_grad and torch.equal(p, before[name])]
    if not CASES_OF_STEPS[algorithm].own_head:
        head = find_head(trainer.model)
        names = [name for name, module in trainer.model.named_modules() if module is head]
        unchanged = [name for name in unchanged if name.rpartition(".")[0] != f"model.{names[0]}"]
    assert [name for name in unchanged if not name.endswith(WITHOUT_GRADIENT)] == []
    # One word, or the brightness, tells the classes apart: training must have learned some of it. (Not so for the
    # pitch: there the untrained network's pseudo-labels, which these settings all accept, can outweigh six labels.)
    assert modality == "audio" or rows[-1]["supervised"] < rows[0]["supervised"]


RESUMED = ("flexmatch", "simmatch", "comatch", "remixmatch", "shrinkmatch", "cgmatch", "multimatch", "iomatch")
RESUMED += ("semireward", "allmatch")


@pytest.mark.parametrize("algorithm", [*RESUMED, "regmixmatch"])
def test_state_and_heads_survive_resuming_bit_for_bit(algorithm, tmp_path):
    saving = {"max_steps": 12, "save_strategy": "steps", "save_steps": 7, "ema_decay": 0.9}
    whole, _ = train(algorithm, "image", tmp_path, **saving)
    settings = {name: value for name, value in EAGER.items() if name in ALGORITHMS[algorithm].settings()}
    settings |= UNCERTAIN.get(algorithm, {})
    args = SSLConfig(**{**whole.args.to_dict(), "algorithm_kwargs": settings})
    resumed = SSLTrainer(new_model("image", seed=5), args, **task("image"))
    resumed.train(resume_from_checkpoint=f"{tmp_path}/checkpoint-7")
    for (name, first), (_, second) in zip(named_weights(whole), named_weights(resumed), strict=True):
        assert torch.equal(first, second), name
    state, again = whole.algorithm.state_dict(), resumed.algorithm.state_dict()
    assert state.keys() == again.keys() and all(torch.equal(state[name], again[name]) for name in state)
