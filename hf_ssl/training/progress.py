"""What a person sees of a training of their own: a bar, and above it one plain line for each log line of Trainer.

The commands of `hf-ssl` show less of it, with `SSLProgressCallback`.
"""

import sys
from collections.abc import Mapping
from typing import Any

from tqdm.auto import tqdm
from transformers import PrinterCallback, ProgressCallback, TrainerState

# What is in every line of a training, or is told in another way.
_LEFT_OUT = {"epoch", "total_flos", "grad_norm", "step"}
_RATES = ("_runtime", "_samples_per_second", "_steps_per_second")


def say(text: str) -> None:
    """Print above the progress bars, if there are any."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


def log_line(logs: Mapping[str, Any], state: TrainerState) -> str:
    """A log line of Trainer in words.

    Example:
        >>> state = TrainerState(global_step=20, max_steps=1000)
        >>> log_line({"loss": 1.09551, "learning_rate": 5e-05, "mask_ratio": 0.25, "epoch": 0.1}, state)
        'step 20 of 1,000: loss 1.096, learning_rate 5e-05, mask_ratio 0.25'
        >>> log_line({"eval_accuracy": 0.5, "eval_loss": 1.2, "eval_runtime": 0.1, "epoch": 0.1}, state)
        'step 20 of 1,000: evaluation in 0.1 s: accuracy 0.5, loss 1.2'
        >>> log_line({"train_runtime": 12.0, "train_loss": 0.7, "train_steps_per_second": 83.33}, state)
        'trained 20 steps in 12 s: loss 0.7'
    """
    kinds = [prefix for prefix in ("eval", "test", "train") if f"{prefix}_runtime" in logs]
    prefix = f"{kinds[0]}_" if kinds else ""
    values = {
        name.removeprefix(prefix): value
        for name, value in logs.items()
        if name not in _LEFT_OUT and not name.endswith(_RATES)
    }
    shown = ", ".join(f"{name} {_number(value)}" for name, value in values.items())
    if not kinds:
        return f"{_step(state)}: {shown}"
    seconds = _number(logs[f"{kinds[0]}_runtime"])
    if kinds == ["train"]:
        return f"trained {state.global_step:,} step{'s' * (state.global_step != 1)} in {seconds} s: {shown}"
    return f"{_step(state)}: {'evaluation' if kinds == ['eval'] else 'prediction'} in {seconds} s: {shown}"


def _step(state: TrainerState) -> str:
    return f"step {state.global_step:,}" + (f" of {state.max_steps:,}" if state.max_steps else "")


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class BarAndLines(ProgressCallback):
    """Trainer's progress bar, with sentences above it instead of dictionaries."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and self.training_bar is not None and logs:
            say(log_line(logs, state))


class LogLines(PrinterCallback):
    """Sentences where Trainer prints dictionaries, if there is no bar."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.is_local_process_zero and logs:
            print(log_line(logs, state), flush=True)
