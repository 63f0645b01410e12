"""Trainings for several labels per example and for numbers, from the labels to the saved model."""

import numpy as np
import pytest
from transformers import AutoConfig, pipeline

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.problem_types import MULTI_LABEL, REGRESSION
from hf_ssl.training.algorithm import label_shares, target_scale

from tests.helpers.problem_tasks import TAGS, label_settings, problem_task, save_base, sigmoid

KINDS = [MULTI_LABEL, REGRESSION]


def trainer(model, folder, kind, modality="text", **settings):
    given = problem_task(modality, kind) | {
        name: settings.pop(name) for name in ("unlabeled_dataset", "eval_dataset", "train_dataset") if name in settings
    }
    defaults = {
        "algorithm": "supervised",
        "max_steps": 2,
        "per_device_train_batch_size": 3,
        "logging_steps": 1,
        "save_strategy": "no",
        "dataloader_num_workers": 0,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
    }
    return SSLTrainer(model, SSLConfig(str(folder), **label_settings(kind), **defaults | settings), **given)


def wanted_loss(kind, logits, labels):
    """The mean of -log p of each label, or of the squared errors."""
    if kind == REGRESSION:
        return np.square(logits - labels).mean()
    shares = sigmoid(logits)
    return -np.log(np.where(labels == 1, shares, 1 - shares)).mean()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("modality", ["text", "image", "audio"])
def test_a_model_is_trained_evaluated_and_saved(kind, modality, tmp_path):
    run = trainer(save_base(modality, tmp_path / "base"), tmp_path / "run", kind, modality)
    assert run.data.problem_type == kind and run.algorithm.problem_type == kind
    run.train()
    answer = run.predict(problem_task(modality, kind)["eval_dataset"])
    if kind == MULTI_LABEL:
        assert answer.label_ids.tolist() == [[0, 0], [1, 0], [1, 1]] * 2
        chosen = sigmoid(answer.predictions) > 0.5
        assert answer.metrics["test_subset_accuracy"] == (chosen == answer.label_ids).all(axis=1).mean()
        assert "test_map" in answer.metrics and "test_micro_f1" in answer.metrics
    else:
        assert answer.label_ids.tolist() == [[40.0], [45.5], [51.0]] * 2
        errors = (answer.predictions - answer.label_ids).astype(np.float64)
        assert answer.metrics["test_mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-6)
        assert answer.metrics["test_rmse"] == pytest.approx(np.sqrt(np.square(errors).mean()), rel=1e-6)
    loss = wanted_loss(kind, answer.predictions.astype(np.float64), answer.label_ids)
    assert answer.metrics["test_loss"] == pytest.approx(loss, rel=1e-5)
    assert run.evaluate()["eval_loss"] == pytest.approx(loss, rel=1e-5)
    run.save_model(str(tmp_path / "saved"))
    config = AutoConfig.from_pretrained(tmp_path / "saved")
    assert config.problem_type == kind
    assert list(config.id2label.values()) == (TAGS if kind == MULTI_LABEL else ["price"])
    args = SSLConfig(str(tmp_path / "again"), use_cpu=True, report_to="none", **label_settings(kind))
    again = SSLTrainer(str(tmp_path / "saved"), args, eval_dataset=problem_task(modality, kind)["eval_dataset"])
    found = again.predict(again.eval_dataset)
    assert np.allclose(found.predictions, answer.predictions, rtol=0, atol=1e-6)
    assert found.metrics["test_loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipeline_answers_with_the_saved_model(kind, tmp_path):
    run = trainer(save_base("text", tmp_path / "base"), tmp_path / "run", kind)
    run.train()
    run.save_model(str(tmp_path / "saved"))
    rows = problem_task("text", kind)["eval_dataset"]
    logits = run.predict(rows).predictions
    classify = pipeline("text-classification", str(tmp_path / "saved"), top_k=None, device="cpu")
    wanted = dict(zip(TAGS, sigmoid(logits[0]), strict=True)) if kind == MULTI_LABEL else {"price": logits[0, 0]}
    (scores,) = classify([rows[0]["text"]])
    assert {score["label"]: score["score"] for score in scores} == pytest.approx(wanted, abs=1e-6)


def test_what_the_algorithm_knows_of_the_labels(tmp_path):
    tags = trainer(save_base("text", tmp_path / "base"), tmp_path / "run", MULTI_LABEL)
    assert tags.algorithm.class_distribution.tolist() == pytest.approx([4 / 6, 2 / 6])
    assert label_shares(tags.data).tolist() == pytest.approx([4 / 6, 2 / 6])
    price = trainer(str(tmp_path / "base"), tmp_path / "run", REGRESSION)
    mean, scale = price.algorithm.target_mean, price.algorithm.target_scale
    assert mean.tolist() == [45.5] and scale.tolist() == pytest.approx([5.5 * np.sqrt(2 / 3)])
    assert target_scale(np.full((3, 1), 7.0))["target_scale"].tolist() == [1.0]
