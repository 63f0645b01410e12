"""What was measured in a training, as the card's tables and the Hub's model index want it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult

from ..problem_types import MULTI_LABEL_METRICS, REGRESSION, REGRESSION_METRICS
from ..report.markdown import cell, plain
from ..report.measures import MEASURES, tested
from ..report.run import RunFacts
from ..report.tables import markdown_table
from .provenance import DataSource, is_dataset_id

# What metrics are called in a sentence; the averages of this package are over classes.
METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "geometric_mean": "geometric mean of recalls",
    "many_recall": "recall of classes with many labels",
    "medium_recall": "recall of classes with a medium number of labels",
    "few_recall": "recall of classes with few labels",
    "precision": "macro precision",
    "recall": "macro recall",
    "f1": "macro F1",
    "top5_accuracy": "top-5 accuracy",
    "map": "mean average precision",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "subset_accuracy": "subset accuracy",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
    "spearman": "Spearman correlation",
}
# What the Hub calls metrics whose names here are others; the accuracy of several labels is that of all of an example.
_TYPES = {
    "map": "mean_average_precision",
    "micro_f1": "f1",
    "macro_f1": "f1",
    "subset_accuracy": "accuracy",
    "r2": "r_squared",
    "spearman": "spearmanr",
}
# In the units of the labels: four decimals may be too many, or too few.
_IN_UNITS = ("mae", "rmse")
# What Trainer logs beside the metrics.
_TIMINGS = ("runtime", "samples_per_second", "steps_per_second", "jit_compilation_time", "model_preparation_time")


@dataclass(frozen=True)
class Evaluations:
    """The evaluations of one dataset in a training.

    Args:
        name: of the dataset; "" for a single one.
        source: where it was loaded from.
        size: number of examples; None for a stream.
        last, best, saved: metric -> value, and "step": of the last evaluation, of the best, and of that of the weights
            which the model has now.
    """

    name: str
    source: DataSource
    size: int | None
    last: Mapping[str, Any]
    best: Mapping[str, Any]
    saved: Mapping[str, Any]


def evaluations(run: RunFacts, sources: Mapping[str, DataSource]) -> list[Evaluations]:
    """What was measured on each evaluation dataset; empty before the first evaluation.

    Args:
        run: its log holds the measurements.
        sources: name -> where the evaluation dataset was loaded from.
    """
    found = []
    for name, size in run.evaluation_sizes.items():
        rows = _measured(run.history, f"eval_{name}_" if name else "eval_")
        if not rows:
            continue
        best = _best(run, rows)
        saved = rows[-1]
        if run.holds_best:
            saved = next((row for row in rows if row["step"] == run.state.best_global_step), rows[-1])
        found.append(Evaluations(name, sources.get(name, DataSource()), size, rows[-1], best, saved))
    return found


def _measured(history: Sequence[Mapping[str, Any]], prefix: str) -> list[dict[str, Any]]:
    """The metrics of each line of the log that has any with this prefix, with its step."""
    rows = []
    for line in history:
        metrics = {key.removeprefix(prefix): value for key, value in line.items() if key.startswith(prefix)}
        metrics = {
            key: value for key, value in metrics.items() if key not in _TIMINGS and isinstance(value, int | float)
        }
        if metrics:
            rows.append({**metrics, "step": line["step"]})
    return rows


def _best(run: RunFacts, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The best evaluation by the usual metric; the last one if that was not measured."""
    by, sign = run.best_metric, 1 if MEASURES[run.data.problem_type].greater_is_better else -1
    known = [row for row in rows if math.isfinite(row.get(by, math.nan))]
    return max(known, key=lambda row: sign * row[by]) if known and by in rows[-1] else rows[-1]


def trained_on_evaluation(run: RunFacts) -> bool:
    """Whether evaluation examples were found in the training data."""
    if run.duplicates is None:
        return False
    return any(overlap.places and overlap.name != "labeled" for overlap in run.duplicates.overlaps)


def index_metrics(found: Evaluations) -> list[str]:
    """The metrics for the model index: those by which models are compared, or else all."""
    usual = ("accuracy", *(("balanced_accuracy",) if "few_recall" in found.saved else ()), "f1", "top5_accuracy")
    kinds = (usual, MULTI_LABEL_METRICS, REGRESSION_METRICS)
    named = next((names for names in kinds if names[0] in found.saved), tuple(found.saved))
    # What a test set does not tell, such as a correlation with equal numbers, is NaN.
    return [key for key in named if key not in ("step", "loss") and math.isfinite(found.saved.get(key, math.nan))]


def index_types(found: Evaluations) -> list[str]:
    """The Hub's names of these metrics, each once."""
    return list(dict.fromkeys(_TYPES.get(key, key) for key in index_metrics(found)))


def eval_results(task: str, dataset: str | None, measured: Sequence[Evaluations]) -> list[EvalResult]:
    """The rows of the model index.

    Args:
        task: such as "image-classification".
        dataset: what the labeled examples are, as an id or in words.
        measured: the evaluations.
    """
    results = []
    for found in measured:
        repository = found.source.repository or dataset
        for key in index_metrics(found):
            results.append(
                EvalResult(
                    task_type=task,
                    dataset_type=repository if repository is not None and is_dataset_id(repository) else "custom",
                    dataset_name=found.name or dataset or repository or "the evaluation dataset",
                    dataset_config=found.source.config,
                    # Results of the same dataset and split would be taken for one.
                    dataset_split=found.name or found.source.split,
                    dataset_revision=found.source.revision,
                    metric_type=_TYPES.get(key, key),
                    metric_name=_title(METRIC_NAMES[key]) if key in METRIC_NAMES else key,
                    metric_value=round(found.saved[key], 6),
                )
            )
    return results


def result_table(run: RunFacts, found: Evaluations, baseline: Mapping[str, float] | None) -> str:
    """The evaluations of one dataset in Markdown: last and best, which of them this model is, and the baseline."""
    single = _of_single_numbers(run)
    keys = [key for key in found.saved if key not in ("step", "loss") and key not in single] or ["loss"]
    rows = [
        [title, f"{row['step']:,}", *(_value(key, row.get(key)) for key in keys)]
        for title, row in _titled(run, found).items()
    ]
    if baseline is not None and not found.name and MEASURES[run.data.problem_type].name in keys:
        values = {**baseline.get("test_metrics", {}), MEASURES[run.data.problem_type].name: tested(baseline)}
        cells = [_value(key, values.get(key)) for key in keys]
        rows.append(["labeled examples alone (baseline), last", f"{baseline['steps']:,}", *cells])
    return markdown_table(["weights", "step", *(METRIC_NAMES.get(key) or plain(key) for key in keys)], rows)


def number_table(run: RunFacts, found: Evaluations) -> str | None:
    """How well this model predicts each of several numbers, in Markdown; None for one number, and for classes."""
    single = _of_single_numbers(run)
    if not any(key in found.saved for key in single):
        return None
    rows = [
        [cell(plain(name)), *(_value(key, found.saved.get(f"{key}_{name}")) for key in REGRESSION_METRICS)]
        for name in run.data.label_names
    ]
    return markdown_table(["number", *(METRIC_NAMES[key] for key in REGRESSION_METRICS)], rows)


def _of_single_numbers(run: RunFacts) -> set[str]:
    """The names of the metrics of each number, which `regression_metrics` tells of several."""
    if run.data.problem_type != REGRESSION:
        return set()
    return {f"{key}_{name}" for key in REGRESSION_METRICS for name in run.data.label_names}


def _value(key: str, value: float | None) -> str:
    if value is None:
        return ""
    if not math.isfinite(value):
        return "-"
    return f"{value:.4g}" if key in _IN_UNITS else f"{value:.4f}"


def _titled(run: RunFacts, found: Evaluations) -> dict[str, Mapping[str, Any]]:
    by = (run.args.metric_for_best_model or run.best_metric).removeprefix("eval_")
    by = METRIC_NAMES.get(by) or plain(by)
    if run.holds_best:
        chosen = f"best, chosen by {by} during training; this model"
        return {"last": found.last, chosen: found.saved}
    seen = METRIC_NAMES[run.best_metric] if run.best_metric in found.best else by
    chosen = f"best seen, chosen by {seen} on these same examples"
    return {"this model": found.last} if run.is_fitted else {"last; this model": found.last, chosen: found.best}


def _title(name: str) -> str:
    """ "macro F1" as "Macro F1"."""
    return name[:1].upper() + name[1:]
