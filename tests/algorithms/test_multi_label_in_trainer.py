"""The algorithms for several labels train in SSLTrainer: on images, texts and recordings, and resume exactly."""

import pytest
import torch

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.algorithms.multi_label import MULTI_LABEL_ALGORITHMS
from hf_ssl.problem_types import MULTI_LABEL

from tests.helpers.problem_tasks import label_settings, problem_task, save_base
from tests.helpers.quiet import QUIET
from tests.helpers.tiny_tasks import TASKS

# So that every label of an untrained network counts.
EAGER = {"threshold": 0.5, "negative_threshold": 0.5, "warmup_fraction": 0.1}


def train(algorithm, modality, folder, resume=None, **changes):
    known = MULTI_LABEL_ALGORITHMS[algorithm].settings()
    settings = {
        "algorithm_kwargs": {name: value for name, value in EAGER.items() if name in known},
        "max_steps": 12,
        "per_device_train_batch_size": 3,
        "unlabeled_batch_ratio": 2,
        "learning_rate": 1e-2,
        "logging_steps": 4,
        **QUIET,
    }
    args = SSLConfig(str(folder / "run"), algorithm=algorithm, **label_settings(MULTI_LABEL), **settings | changes)
    trainer = SSLTrainer(save_base(modality, folder / "base"), args, **problem_task(modality, MULTI_LABEL))
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.train(resume_from_checkpoint=resume)
    return trainer, before


@pytest.mark.parametrize(
    ("algorithm", "modality"),
    [
        pytest.param(algorithm, modality, marks=() if modality == "text" or algorithm == "cap" else pytest.mark.slow)
        for algorithm in MULTI_LABEL_ALGORITHMS
        for modality in TASKS
    ],
)
def test_a_training_lowers_the_loss_and_says_what_took_part(algorithm, modality, tmp_path):
    trainer, before = train(algorithm, modality, tmp_path)
    assert type(trainer.algorithm) is MULTI_LABEL_ALGORITHMS[algorithm]
    assert trainer.algorithm.num_classes == 2 and trainer.model.config.problem_type == MULTI_LABEL
    logged = [row for row in trainer.state.log_history if "loss" in row]
    assert len(logged) == 3
    # As in test_in_trainer.py, not so for the pitch.
    assert modality == "audio" or logged[-1]["supervised"] < logged[0]["supervised"]
    wanted = {"supervised": set(), "mean_teacher": {"unsupervised", "pseudo_label_f1"}}
    keys = wanted.get(algorithm, {"unsupervised", "mask_ratio", "pseudo_label_f1"})
    assert {"unsupervised", "mask_ratio", "pseudo_label_f1", "pseudo_label_accuracy"} & set(logged[-1]) == keys
    moved = [not torch.equal(old, new) for old, new in zip(before, trainer.model.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2
    found = trainer.evaluate()
    assert {"eval_map", "eval_micro_f1", "eval_macro_f1", "eval_subset_accuracy"} <= set(found)
    assert 0 <= found["eval_map"] <= 1


def test_thresholds_and_predictions_survive_resuming_bit_for_bit(tmp_path):
    saving = {"max_steps": 8, "save_strategy": "steps", "save_steps": 5}
    whole, _ = train("cap", "text", tmp_path, **saving)
    resumed, _ = train("cap", "text", tmp_path, resume=f"{tmp_path}/run/checkpoint-5", **saving)
    state = whole.algorithm.state_dict()
    assert state["thresholds.recent_count"] > 0
    torch.testing.assert_close(resumed.algorithm.state_dict(), state, rtol=0, atol=0)
    torch.testing.assert_close(resumed.model.state_dict(), whole.model.state_dict(), rtol=0, atol=0)


def test_an_algorithm_for_one_class_is_refused_before_the_first_step(tmp_path):
    with pytest.raises(ValueError, match=r"one for several labels per example .*, got 'freematch', .*: its threshold"):
        args = SSLConfig(str(tmp_path), algorithm="freematch", use_cpu=True, **label_settings(MULTI_LABEL))
        SSLTrainer(save_base("text", tmp_path / "base"), args, **problem_task("text", MULTI_LABEL))
