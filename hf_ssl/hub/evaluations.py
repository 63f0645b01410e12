"""What was measured in a training, as the card's tables and the Hub's model index want it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult

from ..report.markdown import plain
from ..report.run import RunFacts
from ..report.tables import markdown_table
from .provenance import DataSource, is_dataset_id

# What metrics are called in a model index; the averages of this package are over classes.
METRIC_NAMES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "geometric_mean": "Geometric mean of recalls",
    "many_recall": "Recall of classes with many labels",
    "medium_recall": "Recall of classes with a medium number of labels",
    "few_recall": "Recall of classes with few labels",
    "precision": "Macro precision",
    "recall": "Macro recall",
    "f1": "Macro F1",
    "top5_accuracy": "Top-5 accuracy",
}
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
        by = run.best_metric
        best = max(rows, key=lambda row: row.get(by, 0.0)) if by in rows[-1] else rows[-1]
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


def trained_on_evaluation(run: RunFacts) -> bool:
    """Whether evaluation examples were found in the training data."""
    if run.duplicates is None:
        return False
    return any(overlap.places and overlap.name != "labeled" for overlap in run.duplicates.overlaps)


def index_metrics(found: Evaluations) -> list[str]:
    """The metrics for the model index: those by which models are compared, or else all."""
    usual = ("accuracy", *(("balanced_accuracy",) if "few_recall" in found.saved else ()), "f1", "top5_accuracy")
    return [key for key in usual if key in found.saved] or [key for key in found.saved if key not in ("step", "loss")]


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
                    metric_type=key,
                    metric_name=METRIC_NAMES.get(key, key),
                    metric_value=round(found.saved[key], 6),
                )
            )
    return results


def result_table(run: RunFacts, found: Evaluations, baseline: Mapping[str, float] | None) -> str:
    """The evaluations of one dataset in Markdown: last and best, which of them this model is, and the baseline."""
    keys = [key for key in found.saved if key not in ("step", "loss")] or ["loss"]
    rows = [
        [title, f"{row['step']:,}", *(f"{row[key]:.4f}" for key in keys)] for title, row in _titled(run, found).items()
    ]
    if baseline is not None and not found.name and "accuracy" in keys:
        cells = [f"{baseline['test_accuracy']:.4f}" if key == "accuracy" else "" for key in keys]
        rows.append(["labeled examples alone (baseline), last", f"{baseline['steps']:,}", *cells])
    return markdown_table(
        ["weights", "step", *(_in_a_sentence(METRIC_NAMES.get(key) or plain(key)) for key in keys)], rows
    )


def _titled(run: RunFacts, found: Evaluations) -> dict[str, Mapping[str, Any]]:
    by = plain(run.args.metric_for_best_model or run.best_metric)
    if run.holds_best:
        chosen = f"best, chosen by {by.removeprefix('eval_')} during training; this model"
        return {"last": found.last, chosen: found.saved}
    seen = run.best_metric if run.best_metric in found.best else by
    chosen = f"best seen, chosen by {_in_a_sentence(METRIC_NAMES.get(seen, seen))} on these same examples"
    return {"this model": found.last} if run.is_fitted else {"last; this model": found.last, chosen: found.best}


def _in_a_sentence(name: str) -> str:
    """ "Macro F1" as "macro F1"."""
    return name[:1].lower() + name[1:]
