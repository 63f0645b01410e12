"""Half precision: autocast, weights in bfloat16, and optimizer steps that are skipped because gradients overflowed."""

import pytest
import torch

from hf_ssl import SSLAlgorithm, losses

from tests.helpers.tiny_images import make_vit


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
