"""What a training keeps an eye on: losses and weights that are not finite, a pool without part in it or with too much of it."""

import math
from collections.abc import Mapping

import torch
from torch import nn
from transformers.utils import logging

from ..distributed import gather
from ..errors import NotFiniteError

logger = logging.get_logger(__name__)


ADVICE = (
    "lower learning_rate, set warmup_steps or max_grad_norm, or use bf16 instead of fp16 (stop_on_nan=False goes on)"
)


# Share of the initial weights from which an average is not one of trained weights.
_MOST_INITIAL = 0.05


# Part of training after which a teacher should be one. On AG News with 160 steps Mean Teacher lost 17 points to labeled-only
# training with a decay of 0.98 (half the initial weights left at this point), 2 points with 0.9 (a thirtieth left).
_TEACHER_READY = 0.2


# Supervised loss, as a share of that of guesses, above which a model's pseudo-labels are guesses. A run of AdaMatch on AG News
# that began so (1.0) ended at 54 % where labeled-only training had 87 %, and with a warm-up of half the run at 83 %.
_HARDLY_LEARNED = 0.8


class Watch:
    """Stops a training whose loss is not finite, and warns where no unlabeled example takes part or the average is too slow.

    Each forward pass only marks the first loss that is not finite, on the device: no step waits to read a number. The mark is
    read where the training waits anyway: before a log line, before an evaluation, before a checkpoint is written, and at the
    end. Before a checkpoint the weights are looked at too, since a gradient can overflow under a finite loss. So what is
    logged, evaluated or saved is finite, and at most `logging_steps` steps are wasted. All processes read all marks and
    stop together.

    Args:
        trainer: the `SSLTrainer` it belongs to; `args.stop_on_nan` and `args.zero_mask_warning_steps` switch its two halves.
    """

    def __init__(self, trainer):
        self.trainer = trainer
        self.start(0)

    def start(self, step: int) -> None:
        """Forget all that was seen; `step` optimizer steps are done."""
        self._first: torch.Tensor | None = None
        self._values: dict[str, torch.Tensor] = {}
        self._last_nonzero_step = step
        self._warned = False
        self._first_line = step == 0

    @torch.no_grad()
    def see(self, loss: torch.Tensor, terms: Mapping[str, torch.Tensor]) -> None:
        """Mark this forward pass if its loss is the first that is not finite, and keep the loss and its terms."""
        if not self.trainer.args.stop_on_nan:
            return
        if self._first is None:
            self._first = torch.zeros_like(loss, dtype=torch.float32)
        first = ~loss.isfinite() & (self._first == 0)
        # A plain number in `where` would be copied to the device, and the copy waited for.
        self._first = torch.where(first, torch.full_like(self._first, self.trainer.state.global_step + 1), self._first)
        for name, value in {"loss": loss, **terms}.items():
            value = value.detach().float()
            self._values[name] = torch.where(first, value, self._values.get(name, value))

    def check(self, model: nn.Module | None = None) -> None:
        """Stop if a loss since the last check was not finite, or a weight or running statistic of `model` is not.

        Every process must call it at the same place.

        Raises:
            NotFiniteError: on every process, where one of them saw it.
        """
        if not self.trainer.args.stop_on_nan:
            return
        if self._first is not None:
            marks = gather(torch.stack([self._first, *self._values.values()])[None]).tolist()
            marked = [row for row in marks if row[0] > 0]
            if marked:
                step, *values = min(marked, key=lambda row: row[0])
                value, *terms = (f"{name} {value:.4g}" for name, value in zip(self._values, values, strict=True))
                self.start(self.trainer.state.global_step)
                raise NotFiniteError(
                    f"{value} at step {int(step):,} ({', '.join(terms)}): training stopped, nothing of it was saved; {ADVICE}"
                )
        if model is not None:
            self._check_weights(model)

    def _check_weights(self, model: nn.Module) -> None:
        # Of the buffers only running statistics: others, such as attention masks, may well hold infinite values.
        named = dict(model.named_parameters())
        named |= {
            name: buffer for name, buffer in model.named_buffers() if name.endswith(("running_mean", "running_var"))
        }
        finite = torch.stack([tensor.detach().isfinite().all() for tensor in named.values()])
        finite = gather(finite[None]).all(dim=0).tolist()
        bad = [name for name, good in zip(named, finite, strict=True) if not good]
        if bad:
            raise NotFiniteError(
                f"{len(bad)} weights are not finite after step {self.trainer.state.global_step:,} (first {bad[0]}), though the "
                f"losses were: training stopped and this checkpoint was not saved; {ADVICE}"
            )

    def warn_of_slow_averages(self) -> None:
        """Warn of what will be near its start when training ends: averaged weights, running statistics, thresholds."""
        args, steps = self.trainer.args, self.trainer.state.max_steps
        settings, name = self.trainer.algorithm.current_settings(), self.trainer.algorithm_name
        momentum, passes = settings.get("momentum", 0.0), steps / self.trainer.steps_per_epoch
        if args.ema_evaluates and (left := args.ema_decay**steps) > _MOST_INITIAL:
            logger.warning(
                f"ema_decay={args.ema_decay} with {steps:,} steps: {left:.0%} of the average that is evaluated and saved will "
                f"still be the initial weights; set ema_decay={_fast(steps)}, train longer, or set ema_role='none'"
            )
        early = max(round(_TEACHER_READY * steps), 1)
        if self.trainer.algorithm.uses_teacher and (left := args.ema_decay**early) > _MOST_INITIAL:
            logger.warning(
                f"ema_decay={args.ema_decay} with {steps:,} steps: after {early:,} of them {left:.0%} of the teacher of {name} "
                f"will still be the initial weights, and teach their mistakes; set ema_decay={_fast(early)}, or train longer"
            )
        if (left := momentum**steps) > _MOST_INITIAL:
            logger.warning(
                f"momentum={momentum} with {steps:,} steps: {left:.0%} of what {name} averages over training "
                f"(thresholds, class distributions) will still be its start; set momentum={_fast(steps)} in algorithm_kwargs, "
                "or train longer"
            )
        if settings.get("threshold_warmup") and passes < 1:
            logger.warning(
                f"{steps:,} steps look at {passes:.0%} of the pool, and {name} holds its thresholds down until most of it was "
                "predicted with confidence: every pseudo-label will count; set threshold_warmup=False in algorithm_kwargs, or "
                "train longer"
            )

    def warn_if_guesses_teach(self, logs: Mapping[str, float], step: int) -> None:
        """Warn at the first log line, of 10 steps or more, if the pseudo-labels of a model that has learned nothing counted.

        Args:
            logs: means since the last line; "supervised" is a cross-entropy in nats and "mask_ratio" a share.
            step: optimizer steps done.
        """
        first, self._first_line = self._first_line, False
        supervised, mask_ratio = logs.get("supervised", 0.0), logs.get("mask_ratio", 0.0)
        chance = math.log(self.trainer.algorithm.num_classes)
        if not first or step < 10 or self.trainer.args.unsupervised_warmup_steps:
            return
        warmup = max(self.trainer.state.max_steps // 5, 1)
        if mask_ratio > 0.5 and supervised > _HARDLY_LEARNED * chance:
            logger.warning(
                f"{mask_ratio:.0%} of the pseudo-labels of the first {step:,} steps counted, while the model had hardly "
                f"learned the labels (supervised {supervised:.2f}, chance {chance:.2f}): {self.trainer.algorithm_name} teaches "
                f"it its own first guesses; set unsupervised_warmup_steps={warmup} or so, and compare with "
                "algorithm='supervised'"
            )

    def warn_if_nothing_takes_part(self, mask_ratio: float | None, step: int) -> None:
        """Warn once when the mask ratio was 0 in every log line of the last `zero_mask_warning_steps` steps.

        Args:
            mask_ratio: mean since the last line; None for algorithms without a mask.
            step: optimizer steps done.
        """
        limit = self.trainer.args.zero_mask_warning_steps
        if mask_ratio is None or mask_ratio > 0:
            self._last_nonzero_step = step
        elif 0 < limit <= step - self._last_nonzero_step and not self._warned:
            self._warned = True
            settings = self.trainer.algorithm.current_settings()
            lower = f"lower its threshold ({settings['threshold']} now), " if "threshold" in settings else ""
            logger.warning(
                f"no unlabeled example took part in the last {step - self._last_nonzero_step:,} steps (mask_ratio 0): no "
                f"prediction is confident enough for {self.trainer.algorithm_name}; {lower}raise learning_rate or max_steps, "
                "start from a pretrained model, label more examples, or use an algorithm without a fixed threshold (freematch, "
                "softmatch)"
            )


def _fast(steps: int) -> str:
    """A decay, in words, of which `steps` steps leave e^-5 = 0.7 %."""
    return f"{max(1 - 5 / steps, 0.0):.2g} or lower"
