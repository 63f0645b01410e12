"""One live line of a training on a terminal, and a few plain lines in a file, a pipe or the log of a cluster.

    on a terminal    fixmatch ━━━━━━━━          step 240/600  01:12 left  accuracy 91.3 %  mask ratio 84 %  loss 0.41
    elsewhere        fixmatch: step 240 of 600 (40 %), 01:12 left: accuracy 91.3 %, mask ratio 84.0 %, loss 0.41
    at the end       fixmatch: 600 steps in 02:01: accuracy 94.4 %, mask ratio 84.2 %, loss 0.38

A terminal is one that shows both standard output and standard error and can move its cursor; anything else gets lines
without control characters. However long a training is, there are few of them: one for each twentieth of the steps,
and between two of these one for each further twentieth of the time that has passed, at least half a minute.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import has_length

from ..problem_types import MAIN_METRICS, MULTI_LABEL, REGRESSION, SINGLE_LABEL
from .progress import say

# A line is due after this part of the steps or, if later than `_SECONDS`, of the time so far.
_PART, _SECONDS = 0.05, 30.0
# Evaluations are rarer and worth more.
_EVALUATED_PART = 0.01
# Columns that a bar takes at least, and those of a terminal that does not tell its width.
_LEAST_BAR, _USUAL_COLUMNS = 6, 79
# Accuracies that are not the one of the evaluation set.
_OTHER_ACCURACIES = ("balanced_accuracy", "top5_accuracy", "pseudo_label_accuracy", "subset_accuracy")
# The main metric of each kind of problem -> what it is called, and how it is written.
_MAIN: dict[str, tuple[str, Callable[[float], str]]] = {
    MAIN_METRICS[SINGLE_LABEL].name: ("accuracy", lambda value: f"{100 * value:.1f} %"),
    MAIN_METRICS[MULTI_LABEL].name: ("mAP", lambda value: f"{100 * value:.1f} %"),
    MAIN_METRICS[REGRESSION].name: ("mean error", lambda value: f"{value:.4g}"),
}
_SHOWN = [*(title for title, _ in _MAIN.values()), "evaluation loss", "mask ratio", "loss"]


class SSLProgressCallback(TrainerCallback):
    """Shows where a training is: stage, step, time left, accuracy so far, share of the pool that takes part, loss.

    Give it to `SSLTrainer(callbacks=[SSLProgressCallback()])`, or to `add_callback`, and it takes the place of
    Trainer's progress bar and of its log lines; the commands of `hf-ssl` do. In a notebook the table of transformers
    stays, and this shows nothing. Of several processes the first one writes. What it shows was logged: it costs no
    step anything that can be measured, and loss and mask ratio are those of the last log line (`logging_steps`).

    Args:
        stage: what to call the training; None for the name of its algorithm.
        live: whether to rewrite a line in place if there is a terminal; None for yes, unless `disable_tqdm` is set.

    Attributes:
        shows: whether anything is written; the trainer sets it to False in notebooks.

    Example:
        >>> from types import SimpleNamespace
        >>> from hf_ssl import SSLProgressCallback
        >>> args, state = SimpleNamespace(disable_tqdm=True, algorithm="fixmatch"), TrainerState(max_steps=100)
        >>> progress = SSLProgressCallback()
        >>> progress.on_train_begin(args, state, None)
        >>> state.global_step = 50
        >>> progress.on_log(args, state, None, logs={"loss": 0.5, "mask_ratio": 0.25})
        fixmatch: step 50 of 100 (50 %), 00:00 left: mask ratio 25.0 %, loss 0.5
    """

    def __init__(self, stage: str | None = None, live: bool | None = None):
        self.stage, self.live, self.shows = stage, live, True
        self._display: _Lines | _LiveLine | None = None
        self._evaluation: tqdm | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin a display; a resumed training begins at its step, and its time left is that of what is left.

        The next round of a training in rounds goes on in the display of the one before it, whose end was not told.
        """
        if not (self.shows and state.is_world_process_zero):
            return
        self._end_evaluation()
        if self._display is not None and self._display.is_at(state.global_step, state.max_steps):
            return
        if isinstance(self._display, _LiveLine):
            self._display.close()  # of a training that was interrupted
        stage = self.stage or getattr(args, "algorithm", None) or "training"
        display = _LiveLine if self._is_live(args) else _Lines
        self._display = display(stage, state.global_step, state.max_steps)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move on to this step."""
        if self._display is None:
            return
        self._display.step = state.global_step
        # A log line of this step has newer values.
        if not (isinstance(self._display, _Lines) and control.should_log):
            self._display.move(state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Show what was logged: the loss and mask ratio of training, or the metrics of an evaluation."""
        if self._display is None or not logs:
            return
        if "loss" in logs:
            self._display.log(state.global_step, shown_values(logs))
        elif any(name.startswith("eval_") for name in logs):
            self._display.evaluated(state.global_step, shown_values(logs))

    def on_prediction_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        eval_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        """Show how far an evaluation is: in the line of the training, or in one of its own that goes when it ends."""
        if not (self.shows and state.is_world_process_zero and self._is_live(args)):
            return
        total = len(eval_dataloader) if has_length(eval_dataloader) else None
        if isinstance(self._display, _LiveLine):
            self._display.evaluate_batch(total)
            return
        if self._evaluation is None:
            self._evaluation = tqdm(desc="evaluating", total=total, unit="batch", leave=False, dynamic_ncols=True)
        self._evaluation.update()

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The evaluation is over."""
        self._end_evaluation()

    def on_predict(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any, **kwargs: Any
    ) -> None:
        """The prediction is over."""
        self._end_evaluation()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say in one line what the training came to."""
        if self._display is not None:
            self._display.end(state.global_step)
            self._display = None

    def _is_live(self, args: TrainingArguments) -> bool:
        return on_terminal() and (not args.disable_tqdm if self.live is None else self.live)

    def _end_evaluation(self) -> None:
        if isinstance(self._display, _LiveLine):
            self._display.evaluation_over()
        if self._evaluation is not None:
            self._evaluation.close()
            self._evaluation = None


def on_terminal() -> bool:
    """Whether a line can be rewritten in place: standard output and error are a terminal that is not a dumb one."""
    return os.environ.get("TERM") != "dumb" and all(
        stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr)
    )


def shown_values(logs: Mapping[str, Any]) -> dict[str, str]:
    """What of a log line is shown, by what it is called, the most important first.

    Example:
        >>> shown_values({"loss": 1.09551, "mask_ratio": 0.25, "learning_rate": 5e-5})
        {'mask ratio': '25.0 %', 'loss': '1.096'}
        >>> shown_values({"eval_loss": 0.3, "eval_accuracy": 0.9125, "eval_balanced_accuracy": 0.9})
        {'accuracy': '91.2 %'}
        >>> shown_values({"eval_map": 0.5, "eval_subset_accuracy": 0.25}), shown_values({"eval_mae": 2.5, "loss": 1.0})
        ({'mAP': '50.0 %'}, {'mean error': '2.5', 'loss': '1'})
        >>> shown_values({"eval_loss": 0.3})
        {'evaluation loss': '0.3'}
    """
    shown = {}
    for metric, (title, written) in _MAIN.items():
        values = [logs[name] for name in logs if name.endswith(f"_{metric}") and not name.endswith(_OTHER_ACCURACIES)]
        if values:
            shown[title] = written(values[-1])
    if not shown and "eval_loss" in logs:
        shown["evaluation loss"] = f"{logs['eval_loss']:.4g}"
    if "mask_ratio" in logs:
        shown["mask ratio"] = f"{100 * logs['mask_ratio']:.1f} %"
    if "loss" in logs:
        shown["loss"] = f"{logs['loss']:.4g}"
    return shown


class _Display:
    """What is known of a training that runs."""

    def __init__(self, stage: str, step: int, steps: int):
        self.stage, self.step, self.steps = stage, step, steps
        self.first, self.began = step, time.perf_counter()
        self.values: dict[str, str] = {}

    def is_at(self, step: int, steps: int) -> bool:
        """Whether it shows this step of so many."""
        return (self.step, self.steps) == (step, steps)

    def take(self, values: Mapping[str, str]) -> None:
        """Remember values; each stays until there is a newer one."""
        merged = {**self.values, **values}
        self.values = {name: merged[name] for name in _SHOWN if name in merged}

    def seconds_left(self, step: int) -> float | None:
        """At the pace since the beginning, evaluations included; None before the first step."""
        done, elapsed = step - self.first, time.perf_counter() - self.began
        return elapsed / done * (self.steps - step) if done > 0 else None

    def say_end(self, step: int) -> None:
        done, elapsed = step - self.first, time.perf_counter() - self.began
        resumed = f" from step {self.first:,} on" if self.first else ""
        plural = "s" * (done != 1)
        say(f"{self.stage}: {done:,} step{plural}{resumed} in {tqdm.format_interval(elapsed)}{self._told()}")

    def _told(self) -> str:
        return ": " + ", ".join(f"{name} {value}" for name, value in self.values.items()) if self.values else ""


class _Lines(_Display):
    """Plain lines at sensible intervals."""

    def __init__(self, stage: str, step: int, steps: int):
        super().__init__(stage, step, steps)
        self._said_step = self._evaluated_step = step
        self._said = self.began

    def move(self, step: int) -> None:
        """A line only if there was none for long."""
        if self._is_late():
            self._say(step)

    def log(self, step: int, values: Mapping[str, str]) -> None:
        self.take(values)
        if step - self._said_step >= _PART * self.steps or self._is_late():
            self._say(step)

    def evaluated(self, step: int, values: Mapping[str, str]) -> None:
        self.take(values)
        if step - self._evaluated_step >= _EVALUATED_PART * self.steps or self._is_late():
            self._evaluated_step = step
            told = ", ".join(f"{name} {value}" for name, value in values.items())
            say(f"{self.stage}: step {step:,} of {self.steps:,}, evaluated: {told}")

    def end(self, step: int) -> None:
        self.say_end(step)

    def _is_late(self) -> bool:
        now = time.perf_counter()
        return now - self._said >= max(_SECONDS, _PART * (now - self.began))

    def _say(self, step: int) -> None:
        self._said_step, self._said = step, time.perf_counter()
        seconds = self.seconds_left(step)
        left = "" if seconds is None else f", {tqdm.format_interval(seconds)} left"
        share = f"{100 * step / self.steps:.0f} %"
        say(f"{self.stage}: step {step:,} of {self.steps:,} ({share}){left}{self._told()}")


class _LiveLine(_Display):
    """A line that is rewritten in place."""

    def __init__(self, stage: str, step: int, steps: int):
        super().__init__(stage, step, steps)
        self._batch, self._drawn = 0, self.began
        self._batches: int | None = None
        self._bar = _FittedBar(self, total=steps, initial=step)

    def move(self, step: int) -> None:
        self._bar.update(step - self._bar.n)

    def log(self, step: int, values: Mapping[str, str]) -> None:
        self.take(values)

    def evaluated(self, step: int, values: Mapping[str, str]) -> None:
        self.take(values)
        self.evaluation_over()

    def evaluate_batch(self, batches: int | None) -> None:
        """One more batch of an evaluation is done."""
        self._batch, self._batches = self._batch + 1, batches
        # Not counted as progress of the bar, but drawn as rarely.
        if time.perf_counter() - self._drawn >= self._bar.mininterval:
            self._drawn = time.perf_counter()
            self._bar.refresh()

    def evaluation_over(self) -> None:
        self._batch = 0
        self._bar.refresh()

    def end(self, step: int) -> None:
        self.close()
        self.say_end(step)

    def close(self) -> None:
        """Take it off the screen."""
        self._bar.close()

    def parts(self, step: int) -> list[str]:
        """What the line says beside the stage, the most important first."""
        seconds = self.seconds_left(step)
        if self._batch:
            of = f"/{self._batches:,}" if self._batches else ""
            now = [f"evaluating {self._batch:,}{of}"]
        else:
            now = [] if seconds is None else [f"{tqdm.format_interval(seconds)} left"]
        return [f"step {step:,}/{self.steps:,}", *now, *(f"{name} {value}" for name, value in self.values.items())]


class _FittedBar(tqdm):
    """A bar whose line fits into the terminal: what is less important is left out of narrow ones."""

    def __init__(self, line: _LiveLine, **settings: Any):
        self.line = line
        super().__init__(file=sys.stderr, leave=False, dynamic_ncols=True, mininterval=0.2, **settings)

    @property
    def format_dict(self) -> dict[str, Any]:
        found = super().format_dict
        stage, parts = fitted(self.line.stage, self.line.parts(self.n), found["ncols"] or _USUAL_COLUMNS)
        line = f"{stage} {{bar}} {parts}" if parts else stage
        return {**found, "bar_format": line}


def fitted(stage: str, parts: list[str], columns: int) -> tuple[str, str]:
    """The stage and as many of the parts, joined, as fit beside it and a bar into so many columns.

    Example:
        >>> fitted("fixmatch", ["step 5/9", "00:04 left", "loss 0.41"], 80)
        ('fixmatch', 'step 5/9  00:04 left  loss 0.41')
        >>> fitted("fixmatch", ["step 5/9", "00:04 left", "loss 0.41"], 40)
        ('fixmatch', 'step 5/9  00:04 left')
        >>> fitted("a stage with a long name", ["step 5/9", "00:04 left"], 30)
        ('a stage with a', 'step 5/9')
    """
    kept = list(parts)
    while len(kept) > 1 and len(stage) + _LEAST_BAR + 2 + len("  ".join(kept)) > columns:
        kept.pop()
    line = "  ".join(kept)
    return stage[: max(columns - len(line) - _LEAST_BAR - 2, 0)].rstrip() or stage[:1], line
