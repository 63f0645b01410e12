"""Checks during training.

They stop on losses or weights that are not finite, and warn if the pool contributes nothing or misleads the model
(`class_watch` looks at the classes of its pseudo-labels).
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from transformers.utils import logging

from ..algorithms import Progress, SSLAlgorithm
from ..config import SSLConfig
from ..distributed import gather, gather_objects, local_part
from ..errors import NotFiniteError
from ..features.distillation import FeatureDistillation
from ..model.precision import trained_in_half_precision
from ..problem_types import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from .class_watch import ClassWatch

logger = logging.get_logger(__name__)

ADVICE = (
    "lower learning_rate, set warmup_steps or max_grad_norm, or use bf16 instead of fp16 (stop_on_nan=False continues)"
)
# Share of the initial weights above which an average is not one of trained weights.
_MOST_INITIAL = 0.05
# Part of training after which a teacher should be trained. On AG News with 160 steps Mean Teacher lost 17 points to
# labeled-only training with a decay of 0.98 (half of the initial weights left at this point), and 2 points with 0.9 (a
# thirtieth left).
_TEACHER_READY = 0.2
# Supervised loss, as a share of that of guessing, above which a model's pseudo-labels are guesses. A run of AdaMatch
# on AG News that began like this (1.0) ended at 54 % where labeled-only training had 87 %, and at 83 % with a warm-up
# over half of the run.
_HARDLY_LEARNED = 0.8
# Steps after which a model may be expected to have learned something, and its first pseudo-labels are looked at.
_FIRST_STEPS = 10
# What to use instead of an algorithm for which no unlabeled example is good enough.
_WITHOUT_THRESHOLD = {
    SINGLE_LABEL: "without a fixed threshold (freematch, softmatch)",
    MULTI_LABEL: "without a fixed threshold (cap)",
    REGRESSION: "without a threshold (mean_teacher, ucvme)",
}
# Hours above which a person wants to know, and how often a step may repeat each of its examples.
_LONG_HOURS, _MOST_REPEATS = 1.0, 32


class Watch:
    """Stops a training whose loss is not finite, and warns if the pool takes no part or an average is too slow.

    Each forward pass only marks the first loss that is not finite, on the device: no step waits to read a number. The
    mark is read where the training waits anyway: before a log line, before an evaluation, before a checkpoint is
    written, and at the end. Before a checkpoint the weights are checked too, since a gradient can overflow under a
    finite loss. So everything that is logged, evaluated or saved is finite, and at most `logging_steps` steps are
    wasted. All processes read all marks and stop together.

    Args:
        args: `stop_on_nan` and `zero_mask_warning_steps` switch its two halves.
        algorithm: what is trained with; its settings decide which warnings make sense.
        name: what to call it.

    Attributes:
        alert: is called with title and text of what goes wrong while training, if it is set; trackers set it.
        classes: of the pseudo-labels; None before the first log line.

    Example:
        >>> from types import SimpleNamespace
        >>> watch = Watch(SimpleNamespace(stop_on_nan=True), algorithm=None, name="fixmatch")
        >>> watch.see(torch.tensor(float("nan")), {"supervised": torch.tensor(0.5)}, step=2)
        >>> watch.check(step=2)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        hf_ssl.errors.NotFiniteError: loss nan at step 3 (supervised 0.5): training stopped, ...
    """

    def __init__(self, args: SSLConfig, algorithm: SSLAlgorithm, name: str):
        self.args, self.algorithm, self.name = args, algorithm, name
        # From the step that was tried when the trainer was made; None if that says nothing.
        self.seconds_per_example: float | None = None
        self.alert: Callable[[str, str], None] | None = None
        self.start(0)

    def start(self, step: int) -> None:
        """Forget everything that was seen; `step` optimizer steps are done."""
        self._first: torch.Tensor | None = None
        self._values: dict[str, torch.Tensor] = {}
        self._first_step = self._last_nonzero_step = step
        self._last_mask_ratio: float | None = None
        self._warned = False
        self.classes: ClassWatch | None = None
        # Until the first steps were looked at: how many of them were logged, and the sums of what they had.
        self._early: dict[str, float] | None = {"steps": 0.0} if step == 0 else None

    # ---- Numbers that are not finite ----

    @torch.no_grad()
    def see(self, loss: torch.Tensor, terms: Mapping[str, torch.Tensor], step: int) -> None:
        """Mark this forward pass if its loss is the first that is not finite.

        Args:
            loss: scalar.
            terms: the named parts of the loss, which the error will show.
            step: optimizer steps done.
        """
        if not self.args.stop_on_nan:
            return
        if self._first is None:
            self._first = torch.zeros_like(loss, dtype=torch.float32)
        first = ~loss.isfinite() & (self._first == 0)
        # A plain number in `where` would be copied to the device, and the copy waited for.
        self._first = torch.where(first, torch.full_like(self._first, step + 1), self._first)
        for name, value in {"loss": loss, **terms}.items():
            value = value.detach().float()
            self._values[name] = torch.where(first, value, self._values.get(name, value))

    def check(self, step: int, model: nn.Module | None = None) -> None:
        """Stop if a loss since the last check was not finite, or a weight or running statistic of `model` is not.

        Every process must call it at the same place.

        Args:
            step: optimizer steps done.
            model: whose weights to check; None for none.

        Raises:
            NotFiniteError: on every process, if one of them saw it.
        """
        if not self.args.stop_on_nan:
            return
        if self._first is not None:
            self._check_losses(self._first, step)
        if model is not None:
            _check_weights(model, step)

    def _check_losses(self, first: torch.Tensor, step: int) -> None:
        if not _gathered(first[None]).any():
            return
        # The processes need not have the same terms.
        mine = int(first), {name: float(value) for name, value in self._values.items()}
        found, values = min((each for each in gather_objects(mine) if each[0] > 0), key=lambda each: each[0])
        value, *terms = (f"{name} {value:.4g}" for name, value in values.items())
        self.start(step)
        told = f"{value} at step {found:,} ({', '.join(terms)}): training stopped, nothing of it was saved; {ADVICE}"
        if self.alert is not None:
            self.alert("the loss is not finite", told)
        raise NotFiniteError(told)

    # ---- At the start ----

    def warn_at_start(self, progress: Progress, model: nn.Module, has_pool: bool) -> None:
        """Warn of all that is known before the first step.

        Args:
            progress: where training starts.
            model: what is trained.
            has_pool: whether there are unlabeled examples; otherwise the labeled ones serve as the pool.
        """
        self.warn_of_slow_averages(progress)
        self.warn_of_late_starts(progress)
        self.warn_of_half_precision(model)
        self.warn_of_long_run(progress)
        self.warn_of_repeats()
        if not has_pool:
            self.warn_without_pool()

    def warn_of_long_run(self, progress: Progress) -> None:
        """Warn of a training that would take hours, as far as the step that was tried can tell."""
        if self.seconds_per_example is None:
            return
        algorithm, steps = self.algorithm, progress.max_steps - progress.step
        unlabeled = algorithm.unlabeled_batch_size if algorithm.reads_pool else 0
        seconds = self.seconds_per_example * (algorithm.labeled_batch_size + unlabeled) / self.args.world_size
        hours = seconds * steps / 3600
        if hours >= _LONG_HOURS:
            plural, per_hour = "s" * (round(hours) != 1), max(int(3600 / seconds), 1)
            logger.warning(
                f"{steps:,} steps will take up to about {hours:,.0f} hour{plural} ({seconds:.2g} s per step, "
                f"estimated from one small step); for less, lower max_steps ({per_hour:,} take an hour), "
                "unlabeled_batch_ratio or the batch size, or take a smaller model"
            )

    def warn_of_repeats(self) -> None:
        """Warn of batches so large that each example is in a step many times."""
        algorithm = self.algorithm
        sizes = [("labeled", algorithm.labeled_batch_size, algorithm.num_labeled)]
        if algorithm.reads_pool and algorithm.num_unlabeled is not None:
            sizes.append(("unlabeled", algorithm.unlabeled_batch_size, algorithm.num_unlabeled))
        for kind, batch, number in sizes:
            if batch >= _MOST_REPEATS * number:
                logger.warning(
                    f"a step takes {batch:,} {kind} examples, and there are {number:,}: each is in it "
                    f"{batch // number:,} times, which costs time and teaches nothing more; lower "
                    "per_device_train_batch_size or unlabeled_batch_ratio"
                )

    # ---- Averages ----

    def warn_of_slow_averages(self, progress: Progress) -> None:
        """Warn of what will be near its start when training ends: averaged weights, running statistics, thresholds."""
        args, steps, settings = self.args, progress.max_steps, self.algorithm.current_settings()
        momentum = float(settings.get("momentum", 0.0))
        # Only algorithms that know the size of the pool hold their thresholds down.
        passes = steps * self.algorithm.unlabeled_batch_size / (self.algorithm.num_unlabeled or 1)
        early = max(round(_TEACHER_READY * steps), 1)
        if args.ema_evaluates and (left := args.ema_decay**steps) > _MOST_INITIAL:
            logger.warning(
                f"ema_decay={args.ema_decay} with {steps:,} steps: {left:.0%} of the average that is evaluated and "
                f"saved will still be the initial weights; set ema_decay={_fast(steps)}, train longer, or set "
                "ema_role='none'"
            )
        if self.algorithm.uses_teacher and (left := args.ema_decay**early) > _MOST_INITIAL:
            logger.warning(
                f"ema_decay={args.ema_decay} with {steps:,} steps: after {early:,} of them {left:.0%} of the teacher "
                f"of {self.name} will still be the initial weights, and teach their mistakes; set "
                f"ema_decay={_fast(early)}, or train longer"
            )
        if (left := momentum**steps) > _MOST_INITIAL:
            logger.warning(
                f"momentum={momentum:g} with {steps:,} steps: {left:.0%} of what {self.name} averages over training "
                f"(thresholds, class distributions) will still be its start; set momentum={_fast(steps)} in "
                "algorithm_kwargs, or train longer"
            )
        if settings.get("threshold_warmup") and passes < 1:
            logger.warning(
                f"{steps:,} steps look at {passes:.0%} of the pool, and {self.name} holds its thresholds down until "
                "it has predicted most of the pool with confidence: every pseudo-label will count; set "
                "threshold_warmup=False in algorithm_kwargs, or train longer"
            )

    def warn_of_late_starts(self, progress: Progress) -> None:
        """Warn of parts of the algorithm that would only begin after the end of this run."""
        has_queue, fits = "queue_batches" in self.algorithm.current_settings(), progress.max_steps - 2
        shorter = f"set queue_batches={fits} or lower in algorithm_kwargs, or " if has_queue and fits > 0 else ""
        for begins, sentence in describe_milestones(self.algorithm, progress):
            if begins >= progress.max_steps:
                logger.warning(f"{sentence}; {shorter}train longer")

    def warn_of_half_precision(self, model: nn.Module) -> None:
        """Warn of trainable weights in half precision, most steps of which are lost in rounding."""
        if found := trained_in_half_precision(model):
            names = ", ".join(str(dtype).removeprefix("torch.") for dtype in found)
            logger.warning(
                f"weights are in half precision ({names}), in which small steps are lost in rounding; load the model "
                "with dtype=torch.float32, and set bf16=True to compute in half precision"
            )

    # ---- The pool's part ----

    def warn_if_guesses_teach(self, logs: Mapping[str, float], progress: Progress) -> None:
        """Warn once, after the log lines of the first 10 steps, if pseudo-labels of an untrained model counted.

        Args:
            logs: means since the last line; "supervised" is a cross-entropy in nats and "mask_ratio" a share.
            progress: where training is.
        """
        early = self._early
        # What a classifier of features says is not a guess of the model; and only for classes is chance one number.
        is_other = isinstance(self.algorithm, FeatureDistillation) or self.algorithm.problem_type != SINGLE_LABEL
        if early is None or self.args.unsupervised_warmup_steps or is_other:
            return
        steps = progress.step - early["steps"]
        for name in ("supervised", "mask_ratio"):
            early[name] = early.get(name, 0.0) + steps * logs.get(name, 0.0)
        early["steps"] = progress.step
        if progress.step < _FIRST_STEPS:
            return
        self._early = None
        supervised, mask_ratio = early["supervised"] / progress.step, early["mask_ratio"] / progress.step
        chance = math.log(self.algorithm.num_classes)
        if mask_ratio > 0.5 and supervised > _HARDLY_LEARNED * chance:
            self._warn(
                "the model learns its own guesses",
                f"{mask_ratio:.0%} of the pseudo-labels of the first {progress.step:,} steps counted, while the model "
                f"had hardly learned the labels (supervised {supervised:.2f}, chance {chance:.2f}): {self.name} "
                "teaches it its own first guesses; set "
                f"unsupervised_warmup_steps={max(progress.max_steps // 5, 1)} or so, and compare with "
                "algorithm='supervised'",
            )

    def warn_if_nothing_takes_part(self, mask_ratio: float | None, step: int) -> None:
        """Warn once if the mask ratio was 0 in every log line of the last `zero_mask_warning_steps` steps.

        Args:
            mask_ratio: mean since the last line; None for algorithms without a mask.
            step: optimizer steps done.
        """
        self._last_mask_ratio = mask_ratio
        if mask_ratio is None or mask_ratio > 0:
            self._last_nonzero_step = step
        elif 0 < self.args.zero_mask_warning_steps <= step - self._last_nonzero_step:
            self._warn_of_no_part(step)

    def warn_if_nothing_took_part(self, mask_ratio: float | None, step: int) -> None:
        """Warn at the end, however short the training was, if the mask ratio was 0 in all of it.

        Args:
            mask_ratio: mean since the last log line; None if no step was done since, or the algorithm has no mask.
            step: optimizer steps done.
        """
        mask_ratio = self._last_mask_ratio if mask_ratio is None else mask_ratio
        if mask_ratio == 0 and self._last_nonzero_step == self._first_step and self.args.zero_mask_warning_steps > 0:
            self._warn_of_no_part(step)

    def _warn_of_no_part(self, step: int) -> None:
        if self._warned:
            return
        self._warned = True
        settings = self.algorithm.current_settings()
        others = _WITHOUT_THRESHOLD[self.algorithm.problem_type]
        lower = f"lower its threshold ({settings['threshold']} now), " if "threshold" in settings else ""
        self._warn(
            "no unlabeled example takes part",
            f"no unlabeled example took part in the last {step - self._last_nonzero_step:,} steps (mask_ratio 0): "
            f"no prediction is confident enough for {self.name}; {lower}raise learning_rate or max_steps, start "
            f"from a pretrained model, label more examples, or use an algorithm {others}",
        )

    def see_classes(self, counts: Sequence[float], names: Sequence[str], progress: Progress) -> None:
        """Warn once if the pseudo-labels collapse into one class, or drift away from the classes of the labels.

        Args:
            counts: weights [C] of the pseudo-labels of each class since the last log line; empty if they are no
                classes.
            names: of the classes, [C].
            progress: where training is.
        """
        if not counts:
            return
        if self.classes is None:
            shares = self.algorithm.class_distribution.tolist()
            # Whoever corrects for classes of different sizes does not expect the labels' sizes of the pool.
            expects_shares = self.args.imbalance is None
            self.classes = ClassWatch(shares, self.algorithm.num_labeled, names, expects_shares)
            self.classes.start(self._first_step)
        for found in self.classes.see(counts, progress):
            self._warn(found.title, found.text)

    def _warn(self, title: str, text: str) -> None:
        """Warn of something that goes wrong while training; every process does, and all see the same."""
        logger.warning(text)
        if self.alert is not None:
            self.alert(title, text)

    def warn_without_pool(self) -> None:
        """Warn that the labeled examples serve as the pool, if the algorithm reads one."""
        if self.algorithm.reads_pool:
            logger.warning(
                f"{self.name} learns from unlabeled examples, and unlabeled_dataset is missing: the labeled examples "
                "serve as the pool; give unlabeled_dataset, or take algorithm='supervised'"
            )


def describe_milestones(algorithm: SSLAlgorithm, progress: Progress) -> list[tuple[int, str]]:
    """When each part of an algorithm begins that does not work from the first step on: the step, and a sentence.

    Example:
        >>> from hf_ssl.algorithms import get_algorithm
        >>> sizes = {"num_labeled": 6, "num_unlabeled": 24, "labeled_batch_size": 2, "unlabeled_batch_size": 4}
        >>> simmatch = get_algorithm("simmatch", num_classes=3, feature_size=5, **sizes)
        >>> describe_milestones(simmatch, Progress.in_run(0, 1_000))
        [(5, "SimMatch's memory votes from step 5 of 1,000 (0.5 %)")]
    """
    steps, found = progress.max_steps, []
    for part in (algorithm, algorithm.correction):
        title = part.title or type(part).__name__
        for what, begins in part.milestones(progress).items():
            when = f" of {steps:,} ({100 * begins / steps:.2g} %)"
            never = f", after the end of this run of {steps:,} step{'s' * (steps != 1)}: never"
            found.append((begins, f"{title}'s {what} from step {begins:,}{when if begins < steps else never}"))
    return found


def _check_weights(model: nn.Module, step: int) -> None:
    # Of the buffers only running statistics: others, such as attention masks, may well hold infinite values.
    named: dict[str, torch.Tensor] = dict(model.named_parameters())
    named |= {name: buffer for name, buffer in model.named_buffers() if name.endswith(("running_mean", "running_var"))}
    finite = _gathered(torch.stack([local_part(tensor.detach()).isfinite().all() for tensor in named.values()])).all(
        dim=0
    )
    bad = [name for name, good in zip(named, finite.tolist(), strict=True) if not good]
    if bad:
        raise NotFiniteError(
            f"{len(bad)} weights are not finite after step {step:,} (first {bad[0]}), though the losses were: "
            f"training stopped and this checkpoint was not saved; {ADVICE}"
        )


def _gathered(row: torch.Tensor) -> torch.Tensor:
    """The rows [N] of all processes, as [processes, N]."""
    rows = gather(row[None])
    assert isinstance(rows, torch.Tensor)  # one tensor in, one out
    return rows


def _fast(steps: int) -> str:
    """A decay, in words, of which `steps` steps leave e^-5 = 0.7 %."""
    return f"{max(1 - 5 / steps, 0.0):.2g} or lower"
