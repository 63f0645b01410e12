"""How sure the stages of `hf-ssl train` may be: temperatures from labels that are held out in turn.

    probe, features   logits of held-out labels, as the head gives them ── fit_temperature
    fine-tuning       it has seen all labels: calibrated probabilities of its start, on the pool ── carry_temperature

Each stage's temperature is a fact in `results.json` and on the card. With --calibrate the saved head is divided by it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import softmax
from transformers.utils import logging

from ..calibration import calibration_metrics, carry_temperature, fit_temperature
from ..features.choose import Comparison
from ..trainer import SSLTrainer

logger = logging.get_logger(__name__)

# By how much logits may differ from those of before, divided, as a part of the largest: heads can have half precision.
_CLOSE = 0.02


def add_temperatures(
    found: Comparison,
    rows: Sequence[dict[str, Any]],
    logits: Sequence[np.ndarray | None],
    labels: np.ndarray | None,
) -> None:
    """Add the temperatures of the two ways that were compared to their rows of `results.json`.

    Args:
        found: the comparison, with the logits of held-out labels.
        rows: of the first and of the second way.
        logits: of the test set, [N, C] each; None without one.
        labels: classes [N] of the test set; None without one.
    """
    held_out = [None, None] if found.held_out is None else found.held_out.logits
    for row, test, held in zip(rows, logits, held_out, strict=True):
        fitted = None if held is None or found.held_out is None else fit_temperature(held, found.held_out.labels)
        row |= calibration_facts(fitted, found.first.examples, test, labels)


def add_carried_temperature(
    row: dict[str, Any],
    tuned: np.ndarray,
    start_row: Mapping[str, Any],
    start: np.ndarray,
    logits: np.ndarray | None,
    labels: np.ndarray | None,
) -> None:
    """Add the temperature of a fine-tuned model to its row of `results.json`.

    Args:
        row: of the fine-tuned model.
        tuned: its logits [M, C] on a part of the pool.
        start_row: of the classifier that it started from, with its temperature.
        start: that classifier's logits [M, C] on the same part.
        logits, labels: as of `add_temperatures`.
    """
    fitted, examples = start_row["temperature"], start_row["temperature_labels"]
    carried = None if fitted is None else carry_temperature(tuned, softmax(start / fitted, axis=1))
    row |= calibration_facts(carried, examples, logits, labels)


def calibration_facts(
    temperature: float | None, examples: int | None, logits: np.ndarray | None, labels: np.ndarray | None
) -> dict[str, Any]:
    """What `results.json` says of a stage: its temperature, the labels it is from, and what it does on the test set.

    Args:
        temperature: None if it is not known.
        examples: number of labels that were held out in turn.
        logits, labels: [N, C] and [N] of the test set; None without one.

    Example:
        >>> logits, labels = np.array([[2.0, 0.0]] * 4), np.array([0, 0, 0, 1])
        >>> facts = calibration_facts(2 / np.log(3), 40, logits, labels)
        >>> round(facts["ece"], 3), round(facts["calibrated_ece"], 3)
        (0.131, 0.0)
    """
    facts: dict[str, Any] = {"temperature": temperature, "temperature_labels": examples if temperature else None}
    if logits is None or labels is None:
        return facts
    scores = np.asarray(logits, dtype=np.float64)
    facts |= calibration_metrics(softmax(scores, axis=1), labels)
    if temperature is not None:
        found = calibration_metrics(softmax(scores / temperature, axis=1), labels)
        facts |= {f"calibrated_{name}": value for name, value in found.items()}
    return facts


def calibration_text(row: Mapping[str, Any], divided: bool) -> str:
    """What the card says of the probabilities of a stage.

    Args:
        row: of `results.json`, with `calibration_facts`.
        divided: whether the saved head is divided by the temperature.

    Example:
        >>> text = calibration_text({"temperature": 1.7, "temperature_labels": 40, "steps": 0}, divided=True)
        >>> text.split(". ")[0]
        'Temperature 1.7, fitted to 40 labels that were held out in turn'
    """
    if row.get("temperature") is None:
        return "No temperature was fitted, since no label could be held out: probabilities may be far too high or low."
    source = f"fitted to {row['temperature_labels']:,} labels that were held out in turn"
    if row["steps"]:
        # All labels were trained on.
        source += " from the classifier that fine-tuning started from, and carried over by examples of the pool"
    use = (
        "The head of the model is divided by it, so that a probability says how often such an answer is right."
        if divided
        else "The model is saved as it was trained: divide its logits by the temperature for probabilities that say "
        "how often an answer is right, or train with `--calibrate`, which divides them in the model."
    )
    temperature = f"{row['temperature']:,.0f}" if row["temperature"] >= 100 else f"{row['temperature']:.3g}"
    text = f"Temperature {temperature}, {source}. {use}"
    if "calibrated_ece" not in row:
        return text
    error = " and ".join(f"{100 * row[name]:.1f} %" for name in ("ece", "calibrated_ece"))
    loss = " and ".join(f"{row[name]:.3f}" for name in ("nll", "calibrated_nll"))
    return f"{text} Expected calibration error on the test set without and with it: {error} (NLL {loss})."


def divide_logits(trainer: SSLTrainer, temperature: float | None, rows: Any) -> None:
    """Let the model that is saved give its logits divided by the temperature, if its head alone decides over them.

    Args:
        trainer: holds the model.
        temperature: None leaves it as it is.
        rows: some examples, by which this is seen.
    """
    if temperature is None:
        return
    before = scores_of(trainer.predict(rows))
    trainer.temperature = temperature
    if not is_divided(before, scores_of(trainer.predict(rows)), temperature):
        trainer.temperature = None
        logger.warning(
            f"--calibrate must find logits that its head alone makes, got others from {type(trainer.model).__name__}; "
            f"the model is saved as it is: divide its logits by {temperature:.4g}"
        )


def is_divided(before: np.ndarray, after: np.ndarray, temperature: float) -> bool:
    """Whether logits [N, C] are those of before, divided by the temperature: something may follow after the head.

    Example:
        >>> logits = np.array([[2.0, -4.0]])
        >>> is_divided(logits, logits / 2, 2.0), is_divided(logits, np.tanh(logits / 2), 2.0)
        (True, False)
    """
    return bool(np.abs(after * temperature - before).max() <= _CLOSE * np.abs(before).max())


def scores_of(output: Any) -> np.ndarray:
    """The logits [N, C] in what `SSLTrainer.predict` returns."""
    found = output.predictions
    return np.asarray(found[0] if isinstance(found, tuple) else found)
