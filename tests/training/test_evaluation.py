"""Evaluation of models of every kind: with and without `labels` in their forward, whatever they return."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import DeiTConfig, DeiTForImageClassificationWithTeacher
from transformers.modeling_outputs import ImageClassifierOutput

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.errors import NotFiniteError
from hf_ssl.metrics import METRICS, RunningMetrics, classification_metrics
from hf_ssl.training import evaluation
from hf_ssl.training.evaluation import answers_of

from tests.helpers.quiet import QUIET
from tests.helpers.tiny_images import make_vit
from tests.helpers.tiny_tasks import NO_DROPOUT, task


class Plain(nn.Module):
    """A module of plain PyTorch, whose forward knows pixels only."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(3 * 12 * 12, 8), nn.Linear(8, 3)

    def logits(self, pixel_values):
        return self.head(self.body(pixel_values.flatten(1)).relu())

    def forward(self, pixel_values):
        return self.logits(pixel_values)


class Tuple(Plain):
    def forward(self, pixel_values):
        logits = self.logits(pixel_values)
        return logits, 2 * logits


class LogitsLast(Plain):
    def forward(self, pixel_values):
        logits = self.logits(pixel_values)
        return {"features": torch.zeros_like(logits), "loss": None, "logits": logits}


class LabelsWithoutLoss(Plain):
    def forward(self, pixel_values, labels=None):
        return self.logits(pixel_values)


class OwnLoss(Plain):
    def forward(self, pixel_values, labels=None):
        logits = self.logits(pixel_values)
        loss = None if labels is None else 2 * nn.functional.cross_entropy(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits)


def deit():
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = DeiTConfig(image_size=12, patch_size=4, **sizes, **NO_DROPOUT, num_labels=3)
    return DeiTForImageClassificationWithTeacher(config)


MODELS = {
    "a plain module": Plain,
    "a tuple": Tuple,
    "logits that are not first": LogitsLast,
    "labels and no loss": LabelsWithoutLoss,
    "a loss of its own": OwnLoss,
    "two heads, no labels": deit,
    "a model of transformers": make_vit,
}


def make(folder, model, algorithm="supervised", trainer=SSLTrainer, options=None, **config):
    defaults = {
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 5,
        "unlabeled_batch_ratio": 1,
        **QUIET,
        "duplicate_check_seconds": 0,
    }
    args = SSLConfig(output_dir=str(folder), algorithm=algorithm, **{**defaults, **config})
    return trainer(model, args, **task("image"), **(options or {}))


def truth(trainer):
    """Logits and labels of the evaluation examples, from the model itself."""
    data = trainer.eval_dataset
    batch = trainer.data_collator([data[i] for i in range(len(data))])
    labels = batch.pop("labels")
    with torch.no_grad():
        logits = answers_of(trainer.model.eval()(**batch))["logits"]
    return logits, labels


@pytest.mark.parametrize("name", MODELS)
def test_models_of_every_kind_have_all_metrics_and_a_loss(name, tmp_path):
    """Six examples in batches of five and one."""
    trainer = make(tmp_path, MODELS[name](), eval_strategy="steps", eval_steps=1)
    trainer.train()
    assert "eval_accuracy" in trainer.state.log_history[0] or "eval_accuracy" in trainer.state.log_history[1]
    found = trainer.evaluate()
    logits, labels = truth(trainer)
    expected = classification_metrics(logits.numpy(), labels.numpy())
    expected["loss"] = nn.functional.cross_entropy(logits, labels).item() * (2 if name == "a loss of its own" else 1)
    for metric, value in expected.items():
        assert found[f"eval_{metric}"] == pytest.approx(value, rel=1e-5), metric


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("labeled", [True, False])
def test_predictions_of_models_of_every_kind_start_with_the_logits(name, labeled, tmp_path):
    trainer = make(tmp_path, MODELS[name]())
    test = task("image")["eval_dataset"]
    found = trainer.predict(test if labeled else test.remove_columns("label")).predictions
    logits, _ = truth(trainer)
    assert (found[0] if isinstance(found, tuple) else found) == pytest.approx(logits.numpy(), abs=1e-5)


def first_argmax(logits, labels):
    return (logits[0] if isinstance(logits, tuple) else logits).argmax(dim=-1)


def with_extra(logits, labels):
    logits = logits[0] if isinstance(logits, tuple) else logits
    return logits, logits.sum(dim=1)


@pytest.mark.parametrize("name", ["a model of transformers", "two heads, no labels", "a tuple"])
@pytest.mark.parametrize(
    ("config", "options"),
    [
        ({"eval_do_concat_batches": False}, {}),
        ({}, {"preprocess_logits_for_metrics": first_argmax}),
        ({"eval_do_concat_batches": False}, {"preprocess_logits_for_metrics": first_argmax}),
        ({"eval_do_concat_batches": False}, {"preprocess_logits_for_metrics": with_extra}),
        ({}, {"preprocess_logits_for_metrics": with_extra}),
        ({"include_for_metrics": ["inputs", "loss"]}, {}),
        ({"batch_eval_metrics": True}, {}),
        ({"batch_eval_metrics": True}, {"preprocess_logits_for_metrics": first_argmax}),
        ({"eval_accumulation_steps": 1}, {}),
    ],
)
def test_the_default_metrics_take_what_trainer_s_settings_give_them(config, options, name, tmp_path):
    trainer = make(tmp_path, MODELS[name](), options=options, **config)
    logits, labels = truth(trainer)
    expected = classification_metrics(logits.numpy(), labels.numpy())
    for _ in range(2):
        found = trainer.evaluate()
        for metric, value in expected.items():
            assert found[f"eval_{metric}"] == pytest.approx(value), metric
        assert found["eval_loss"] == pytest.approx(nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)


def test_scores_that_are_too_many_are_measured_batch_by_batch(tmp_path, monkeypatch):
    """And kept for `predict`, which returns them."""
    trainer = make(tmp_path, make_vit())
    loader = trainer.get_eval_dataloader()
    whole = trainer.evaluate()
    assert trainer.evaluation_loop(loader, description="Evaluation").predictions.shape == (6, 3)
    # Six examples and three classes.
    monkeypatch.setattr(evaluation, "_MOST_SCORES", 17)
    names = ["eval_loss", *(f"eval_{name}" for name in METRICS if name != "top5_accuracy")]
    assert [trainer.evaluate()[name] for name in names] == [whole[name] for name in names]
    assert trainer.evaluation_loop(loader, description="Evaluation").predictions is None
    assert trainer.predict(trainer.eval_dataset).predictions.shape == (6, 3)
    assert trainer.args.batch_eval_metrics is False


@pytest.mark.parametrize("name", MODELS)
def test_metrics_of_the_user_get_logits_and_labels(name, tmp_path):
    seen = []

    def mean_of_the_truth(prediction):
        logits = prediction.predictions
        logits = logits[0] if isinstance(logits, tuple) else logits
        seen.append(logits)
        return {"true_logit": float(logits[np.arange(len(logits)), prediction.label_ids].mean())}

    trainer = make(tmp_path, MODELS[name](), options={"compute_metrics": mean_of_the_truth})
    logits, labels = truth(trainer)
    found = trainer.evaluate()
    assert found["eval_true_logit"] == pytest.approx(logits[torch.arange(6), labels].mean().item(), abs=1e-6)
    assert "eval_accuracy" not in found and seen[0].shape == (6, 3)


def test_a_user_s_names_of_the_labels_are_kept(tmp_path):
    trainer = make(tmp_path, make_vit(), label_names=["labels"])
    assert (
        trainer.evaluate()["eval_accuracy"] == classification_metrics(*(x.numpy() for x in truth(trainer)))["accuracy"]
    )


# ---- NaN ----


def spoil(model):
    with torch.no_grad():
        list(model.parameters())[-1].fill_(float("nan"))


@pytest.mark.parametrize("name", ["a plain module", "a model of transformers"])
@pytest.mark.parametrize("call", ["evaluate", "predict"])
def test_weights_that_are_nan_have_no_accuracy(call, name, tmp_path):
    trainer = make(tmp_path, MODELS[name]())
    spoil(trainer.model)
    given = [task("image")["eval_dataset"]] if call == "predict" else []
    with pytest.raises(
        NotFiniteError, match=r"scores are not finite for 100% of the evaluated examples after step 0 \(1 weights are"
    ):
        getattr(trainer, call)(*given)


@pytest.mark.parametrize("options", [{}, {"preprocess_logits_for_metrics": first_argmax}])
def test_a_user_who_goes_on_gets_nan_and_a_warning(options, tmp_path, caplog):
    trainer = make(tmp_path, make_vit(), stop_on_nan=False, options=options)
    spoil(trainer.model)
    found = trainer.evaluate()
    assert math.isnan(found["eval_loss"])
    assert sum("scores are not finite for 100%" in record.message for record in caplog.records) == 1
    assert all(math.isnan(found[f"eval_{name}"]) for name in METRICS[:-1])


def test_one_example_without_finite_scores_is_enough(tmp_path):
    class Once(Plain):
        def forward(self, pixel_values):
            logits = self.logits(pixel_values)
            return torch.where(torch.arange(len(logits))[:, None] == 4, float("nan"), logits)

    with pytest.raises(NotFiniteError, match=r"for 17% of the evaluated examples .*its weights are\)"):
        make(tmp_path, Once()).evaluate()


def test_a_class_that_is_ruled_out_is_no_fault(tmp_path):
    class Masked(Plain):
        def forward(self, pixel_values):
            return self.logits(pixel_values) + torch.tensor([0.0, 0.0, -math.inf])

    trainer = make(tmp_path, Masked())
    logits, labels = truth(trainer)
    assert trainer.evaluate()["eval_accuracy"] == (logits.argmax(dim=1) == labels).float().mean()


def test_weights_that_become_nan_while_training_are_found_at_the_evaluation(tmp_path):
    """The gradient of a finite loss may be NaN: the step's evaluation must not show a number."""

    class Spoiling(SSLTrainer):
        def training_step(self, *args, **kwargs):
            loss = super().training_step(*args, **kwargs)
            if self.state.global_step == 1:
                self.model.classifier.weight.grad.fill_(float("nan"))
            return loss

    config = {"eval_strategy": "steps", "eval_steps": 1, "max_grad_norm": 0.0, "max_steps": 3}
    trainer = make(tmp_path, make_vit(), trainer=Spoiling, **config)
    with pytest.raises(NotFiniteError, match="after step 2"):
        trainer.train()
    assert [row["step"] for row in trainer.state.log_history if "eval_accuracy" in row] == [1]


# ---- What a model returns ----


@pytest.mark.parametrize(
    ("output", "names"),
    [
        (torch.zeros(1, 3), ["logits"]),
        ((torch.zeros(1, 3),), ["logits"]),
        ((torch.tensor(0.1), torch.zeros(1, 3)), ["loss", "logits"]),
        ((torch.zeros(1, 3), None), ["logits", "output_1"]),
        ({"hidden": 1, "logits": torch.zeros(1, 3), "loss": torch.tensor(0.1)}, ["loss", "logits", "hidden"]),
        (ImageClassifierOutput(logits=torch.zeros(1, 3)), ["logits"]),
    ],
)
def test_answers_are_sorted(output, names):
    answers = answers_of(output)
    assert list(answers) == names and answers["logits"].shape == (1, 3)


def test_an_answer_without_logits_is_refused():
    with pytest.raises(ValueError, match='must return logits, got scores; name them "logits"'):
        answers_of({"scores": torch.zeros(1, 3)})


CHOICES = [
    ({"load_best_model_at_end": True}, [30, 2], "balanced_accuracy"),
    ({"load_best_model_at_end": True}, [30, 28], "loss"),
    ({"load_best_model_at_end": True, "metric_for_best_model": "loss"}, [30, 2], "loss"),
    ({"load_best_model_at_end": True, "metric_for_best_model": "f1"}, [30, 2], "f1"),
    ({}, [30, 2], None),
    # Whose `mode` is a setting of its own: with a metric that rises it would cut the rate as the model gets better.
    ({"lr_scheduler_type": "reduce_lr_on_plateau"}, [30, 2], "loss"),
    ({"lr_scheduler_type": "reduce_lr_on_plateau", "load_best_model_at_end": True}, [30, 2], "loss"),
]


@pytest.mark.parametrize(("settings", "counts", "metric"), CHOICES)
def test_imbalanced_labels_choose_the_best_by_balanced_accuracy_unless_the_user_does(
    settings, counts, metric, tmp_path
):
    saving = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 1, "save_steps": 1}
    args = SSLConfig(str(tmp_path), use_cpu=True, **saving, **settings)
    trainer = SimpleNamespace(args=args, compute_metrics=RunningMetrics(), eval_dataset=[])
    labels = np.repeat(np.arange(2), counts)
    evaluation.EvaluationMixin.measure_class_sizes(
        trainer, SimpleNamespace(label_counts=np.bincount(labels), problem_type="single_label_classification")
    )
    assert args.metric_for_best_model == metric
    assert trainer.compute_metrics.class_counts.tolist() == counts
