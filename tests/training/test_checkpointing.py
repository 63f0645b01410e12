"""CheckpointMixin by itself: a plain supervised Trainer with it, which knows nothing of pools and views."""

import pytest
import torch
from transformers import Trainer, TrainerCallback

from hf_ssl import ModelEma, SSLConfig, get_algorithm
from hf_ssl.training.checkpointing import CheckpointMixin
from hf_ssl.training.log_sums import LogSums
from hf_ssl.training.watch import Watch

from tests.helpers.tiny_images import make_vit

SIZES = {"num_labeled": 6, "num_unlabeled": 24, "feature_size": 16, "labeled_batch_size": 2, "unlabeled_batch_size": 4}


class Plain(CheckpointMixin, Trainer):
    """What CheckpointMixin asks of its host, and nothing else."""

    def __init__(self, folder, **config):
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randn(12, 3, 12, 12, generator=generator)
        rows = [{"pixel_values": row, "labels": index % 3} for index, row in enumerate(pixels)]
        settings = {"max_steps": 4, "save_steps": 2, "learning_rate": 1e-2, "per_device_train_batch_size": 4}
        settings |= {"use_cpu": True, "disable_tqdm": True, "report_to": "none", "dataloader_num_workers": 0}
        args = SSLConfig(str(folder), logging_steps=1, dataloader_pin_memory=False, **{**settings, **config})
        super().__init__(make_vit(), args, train_dataset=rows, eval_dataset=rows)
        self.algorithm, self.algorithm_name = get_algorithm("simmatch", num_classes=3, **SIZES), "simmatch"
        self.watch, self._sums = Watch(args, self.algorithm, self.algorithm_name), LogSums()
        self.class_recalls = {}
        if args.ema_role != "none":
            self.ema = ModelEma(self.model, args.ema_decay)
        self.add_callback(Begin(self))


class Begin(TrainerCallback):
    def __init__(self, trainer):
        self.trainer = trainer

    def on_train_begin(self, args, state, control, **kwargs):
        self.trainer._begin_log()

    def on_optimizer_step(self, args, state, control, **kwargs):
        if self.trainer.ema is not None:
            self.trainer.ema.update()


def test_it_resumes_bit_for_bit(tmp_path):
    whole = Plain(tmp_path, ema_role="evaluation", ema_decay=0.5)
    whole.train()
    resumed = Plain(tmp_path, ema_role="evaluation", ema_decay=0.5)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    for expected, found in ((whole.model, resumed.model), (whole.ema.module, resumed.ema.module)):
        found = found.state_dict()
        assert all(torch.equal(tensor, found[name]) for name, tensor in expected.state_dict().items())
    assert [row["loss"] for row in whole.state.log_history if "loss" in row] == [
        row["loss"] for row in resumed.state.log_history if "loss" in row
    ]


def test_it_evaluates_the_average_if_the_role_says_so(tmp_path):
    trainer = Plain(tmp_path, ema_role="evaluation", ema_decay=0.5, save_strategy="no")
    trainer.train()
    losses = {weights: trainer.evaluate(weights=weights)["eval_loss"] for weights in (None, "ema", "student")}
    assert losses[None] == losses["ema"] != losses["student"]


@pytest.mark.parametrize(
    ("weights", "message"),
    [("teacher", "weights must be 'student' or 'ema', got 'teacher'"), ("ema", "none is kept; set ema_role")],
)
def test_weights_that_there_are_not_are_refused(tmp_path, weights, message):
    with pytest.raises(ValueError, match=message):
        Plain(tmp_path).evaluate(weights=weights)
