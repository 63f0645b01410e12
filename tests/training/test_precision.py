"""Half precision: autocast, weights in bfloat16, and optimizer steps that are skipped because gradients overflowed."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from hf_ssl import SSLAlgorithm, losses

from tests.helpers.tiny_images import CLASSES, make_vit


class SeesBoth(SSLAlgorithm):
    """Notes the logits of the student and of the teacher on the same view in the first step of each training."""

    uses_teacher = True
    views = {"weak": "weak"}
    seen = []

    def forward(self, model, batch, progress):
        view = batch.unlabeled["weak"]
        out = model(labeled=batch.labeled)
        if progress.step == 0:
            student, teacher = model(no_grad={"weak": view})["weak"], model.teacher(weak=view)["weak"]
            self.seen.append((student.logits, teacher.logits))
        supervised = losses.cross_entropy(out["labeled"].logits, batch.labels)
        return self.total(supervised, torch.zeros_like(supervised))


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bf16", [False, True])
def test_the_teacher_computes_like_the_student_in_every_training(make_trainer, monkeypatch, weights, bf16):
    """The average starts as a copy of the weights: in the first step both models are the same function."""
    monkeypatch.setattr(SeesBoth, "seen", [])
    trainer = make_trainer(make_vit().to(weights), {"algorithm": SeesBoth}, algorithm_kwargs=None, bf16=bf16)
    trainer.train()
    trainer.train()
    assert len(SeesBoth.seen) == 2
    for student, teacher in SeesBoth.seen:
        assert torch.equal(student, teacher)
        in_half_precision = torch.equal(teacher, teacher.bfloat16().float())
        assert in_half_precision == (bf16 or weights == torch.bfloat16)


# ---- Weights in half precision ----


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_model_that_is_loaded_by_name_is_trained_in_float32(make_trainer, tmp_path, dtype):
    """transformers loads the type that was saved, in which most steps of a usual learning rate would be lost."""
    saved = make_vit().to(dtype)
    # Its classes are those of the data, so that its head is kept.
    saved.config.id2label = dict(enumerate(CLASSES))
    saved.save_pretrained(tmp_path / "model")
    trainer = make_trainer(str(tmp_path / "model"))
    for name, weight in trainer.model.state_dict().items():
        assert weight.dtype == torch.float32 and torch.equal(weight, saved.state_dict()[name].float()), name


@pytest.mark.parametrize(("dtype", "said"), [(torch.bfloat16, "bfloat16"), (torch.float32, None)])
def test_a_model_object_in_half_precision_is_warned_of(make_trainer, caplog, dtype, said):
    make_trainer(make_vit().to(dtype)).train()
    found = [record.getMessage() for record in caplog.records if "half precision" in record.getMessage()]
    assert len(found) == (0 if said is None else 1)
    assert said is None or f"weights are in half precision ({said})" in found[0]


def test_averages_of_a_model_in_bfloat16_are_saved_and_resumed_in_float32(make_trainer, tmp_path):
    config = {"ema_role": "evaluation", "ema_decay": 0.99, "save_strategy": "steps", "save_steps": 2}
    whole = make_trainer(make_vit().bfloat16(), **config)
    whole.train()
    resumed = make_trainer(make_vit(seed=1).bfloat16(), **config)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    for name, average in whole.ema.state_dict().items():
        assert average.dtype == torch.float32 and torch.equal(average, resumed.ema.state_dict()[name]), name
    saved = load_file(tmp_path / "run" / "checkpoint-4" / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.bfloat16}
    expected = whole.ema.state_dict()["classifier.weight"].bfloat16()
    assert torch.equal(saved["classifier.weight"], expected)
    assert not torch.equal(expected, whole.model.classifier.weight)


def test_evaluating_in_bfloat16_leaves_the_averages_as_they_were(make_trainer):
    trainer = make_trainer(ema_role="evaluation", ema_decay=0.9, bf16_full_eval=True)
    trainer.train()
    before = {name: average.clone() for name, average in trainer.ema.state_dict().items()}
    first, second = (trainer.evaluate()["eval_loss"] for _ in range(2))
    assert first == second
    for name, average in trainer.ema.state_dict().items():
        assert average.dtype == before[name].dtype and torch.equal(average, before[name]), name
    assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}


# ---- Steps that are skipped ----


class Overflow(TrainerCallback):
    """Lets the gradients of step `at` overflow, and notes weights, average and learning rate after each step."""

    def __init__(self, at):
        self.at, self.notes = at, []

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step + 1 == self.at:
            weight = self.trainer.model.classifier.weight
            handle = weight.register_hook(lambda gradient: gradient * float("inf"))
            self.removed = handle.remove

    def on_step_end(self, args, state, control, lr_scheduler, **kwargs):
        if state.global_step == self.at:
            self.removed()
        weight, average = self.trainer.model.classifier.weight, self.trainer.ema.state_dict()["classifier.weight"]
        self.notes.append((weight.detach().clone(), average.clone(), lr_scheduler.get_last_lr()[0]))


def test_a_step_whose_gradients_overflow_changes_nothing_and_is_counted(make_trainer):
    """As `Trainer`: neither the weights move nor the learning rate, though the step counts. Nor does the average."""
    overflow = Overflow(at=3)
    trainer = make_trainer(
        ema_role="evaluation", ema_decay=0.9, max_grad_norm=0.0, max_steps=5, logging_steps=2,
        trainer={"callbacks": [overflow]},
    )  # fmt: skip
    overflow.trainer = trainer
    # What accelerate makes for fp16=True, which needs a GPU.
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    start = trainer.model.classifier.weight.detach().clone()
    trainer.train()
    weights, averages, rates = zip(*overflow.notes, strict=True)
    average = start
    for step in range(5):
        if step == 2:
            assert torch.equal(weights[2], weights[1])
        else:
            average = 0.9 * average + 0.1 * weights[step]
        assert torch.allclose(averages[step], average, rtol=0, atol=1e-7), step
    # A linear schedule over 5 steps, of which one was not taken.
    assert rates == pytest.approx([1e-2 * left / 5 for left in (4, 3, 3, 2, 1)])
    assert [row.get("skipped_steps") for row in trainer.state.log_history if "loss" in row] == [None, 1]
