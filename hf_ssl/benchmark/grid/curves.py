"""What a cell's file keeps of a training's log: one row per evaluation, and the last and the best result."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Of the log lines of training, those that say how a run went.
_OF_TRAINING = ("loss", "supervised", "unsupervised", "mask_ratio", "pseudo_label_accuracy", "learning_rate")
_NOT_METRICS = ("_runtime", "_per_second", "_jit_compilation_time", "_model_preparation_time")
# The metric that chooses, the usual one and that of long tails.
_CHOOSING = {False: "accuracy", True: "balanced_accuracy"}


def curves(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per evaluation: the step, the accuracies of each split, and the last log line of training before it.

    Args:
        history: the log of a trainer whose evaluation datasets are called "test" and perhaps "validation".

    Example:
        >>> lines = [{"step": 5, "loss": 1.5, "mask_ratio": 0.2}, {"step": 10, "eval_test_accuracy": 0.5}]
        >>> curves(lines)
        [{'step': 10, 'loss': 1.5, 'mask_ratio': 0.2, 'test_accuracy': 0.5}]
    """
    rows: dict[int, dict[str, Any]] = {}
    latest: dict[str, Any] = {}
    for line in history:
        if "loss" in line:
            latest = {name: line[name] for name in _OF_TRAINING if name in line}
        for name, value in line.items():
            if name in ("eval_test_accuracy", "eval_validation_accuracy"):
                row = rows.setdefault(line["step"], {"step": line["step"], **latest})
                row[name.removeprefix("eval_")] = value
    return [rows[step] for step in sorted(rows)]


def measured(
    history: Sequence[Mapping[str, Any]], splits: Sequence[str], balanced: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The last and the best evaluation.

    Args:
        history: as in `curves`.
        splits: "test", and "validation" if there is such a split, which then chooses the best; of equally good
            evaluations the first is the best.
        balanced: choose by the balanced accuracy.

    Returns:
        what joins the row of "runs": test_accuracy, best_accuracy, best_split, best_step; and the block "metrics": all
        metrics of the test set at both. A task without validation split has its best by the test set, which flatters
        it: best_split says so.

    Example:
        >>> lines = [{"step": s, "eval_test_accuracy": t, "eval_validation_accuracy": v}
        ...          for s, t, v in ((1, 0.5, 0.4), (2, 0.7, 0.9), (3, 0.8, 0.6))]
        >>> measured(lines, ["test", "validation"])[0]
        {'test_accuracy': 0.8, 'best_accuracy': 0.7, 'best_split': 'validation', 'best_step': 2}
    """
    split = "validation" if "validation" in splits else "test"
    tests = {line["step"]: dict(_metrics(line, "test")) for line in history if "eval_test_accuracy" in line}
    name = f"eval_{split}_{_CHOOSING[balanced]}"
    scores = {line["step"]: line[name] for line in history if name in line}
    last = max(tests)
    best = max(sorted(scores), key=lambda step: scores[step]) if scores else None
    row = {
        "test_accuracy": tests[last]["accuracy"],
        "best_accuracy": None if best is None else tests[best]["accuracy"],
        "best_split": None if best is None else split,
        "best_step": best,
    }
    return row, {"last": tests[last], "best": None if best is None else tests[best]}


def _metrics(line: Mapping[str, Any], split: str) -> Iterator[tuple[str, Any]]:
    prefix = f"eval_{split}_"
    for name, value in line.items():
        if name.startswith(prefix) and not name.endswith(_NOT_METRICS):
            yield name.removeprefix(prefix), value
