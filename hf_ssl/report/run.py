"""The facts of a run in one object, and in the words that are printed at its start and in its model card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerState

from ..algorithms import Progress, SSLAlgorithm, name_of_correction
from ..class_sizes import Imbalance
from ..config import SSLConfig
from ..data.columns import DataSummary
from ..data.duplicates import Duplicates
from ..data.labels import shortened
from ..features.fitted import FittedHead
from ..problem_types import MAIN_METRICS, SINGLE_LABEL
from ..training.open_set import OpenSet
from ..training.optimization import describe_learning_rate
from ..training.watch import describe_milestones
from .plots import draw_class_recalls


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run; `SSLTrainer.run_facts` collects it.

    Args:
        args: the settings.
        state: how far training has come: steps, and what was logged.
        data: modality, columns and classes of the labeled examples.
        algorithm: what is trained with.
        algorithm_name: its name in the table of algorithms, or that of its class.
        num_labeled, num_unlabeled: number of examples; None for a streamed pool.
        hidden_labels: whether the pool has labels, which are only used for the accuracy of pseudo-labels.
        evaluation_sizes: name -> number of examples of each evaluation dataset, None for a stream. A single dataset
            has the name "".
        views: kind of view -> a sentence about it.
        duplicates: what the search for examples in several datasets found; None without a search, or a finding.
        has_pool: whether there is an unlabeled dataset; without one the labeled examples serve as the pool.
        earlier_seconds: how long the run had taken before it was interrupted and resumed.
        rounds: in words, if training is in several rounds with picked examples; else None.
        class_recalls: step of an evaluation -> recall of each class, NaN for those that did not occur.
        open_set: what was found of foreign examples in the pool; None if nobody looked.
    """

    args: SSLConfig
    state: TrainerState
    data: DataSummary
    algorithm: SSLAlgorithm
    algorithm_name: str
    num_labeled: int
    num_unlabeled: int | None
    hidden_labels: bool
    evaluation_sizes: Mapping[str, int | None]
    views: Mapping[str, str]
    duplicates: Duplicates | None = None
    has_pool: bool = True
    earlier_seconds: float = 0.0
    rounds: str | None = None
    class_recalls: Mapping[int, Sequence[float]] = field(default_factory=dict)
    open_set: OpenSet | None = None

    @property
    def max_steps(self) -> int:
        """Optimizer steps of the training; before it starts, what the settings say (0 if they count epochs)."""
        return self.state.max_steps or max(self.args.max_steps, 0)

    @property
    def history(self) -> list[dict[str, Any]]:
        """What was logged, one dict per line."""
        return self.state.log_history

    @property
    def is_fitted(self) -> bool:
        """Whether the head was fitted to frozen features, and nothing was trained."""
        return isinstance(self.algorithm, FittedHead)

    @property
    def class_counts(self) -> np.ndarray:
        """Labeled examples [C] of each class; 0 of each if examples have labels or numbers instead of one class."""
        counts = self.data.label_counts if self.data.problem_type == SINGLE_LABEL else None
        return np.zeros(len(self.data.label_names), dtype=np.int64) if counts is None else counts

    @property
    def is_imbalanced(self) -> bool:
        """Whether the labeled examples clearly say that classes differ in size."""
        return self.data.problem_type == SINGLE_LABEL and Imbalance.of(self.class_counts).is_clear

    @property
    def best_metric(self) -> str:
        """The metric by which the best evaluation is found, if the user named none."""
        usual = MAIN_METRICS[self.data.problem_type]
        return "balanced_accuracy" if self.is_imbalanced else usual.name

    def quality(self, row: Mapping[str, float]) -> float:
        """How good an evaluation is: by the metric that the user named, else by `best_metric`; more is better."""
        usual = MAIN_METRICS[self.data.problem_type]
        named, greater = self.best_metric, usual.greater_is_better
        if self.args.metric_is_chosen:
            named = (self.args.metric_for_best_model or "").removeprefix("eval_")
            greater = bool(self.args.greater_is_better)
        if f"eval_{named}" not in row:
            named, greater = usual.name, usual.greater_is_better
        return row[f"eval_{named}"] if greater else -row[f"eval_{named}"]

    @property
    def saved_recalls(self) -> Sequence[float] | None:
        """The recall of each class with the weights that the model has now; None if they were not measured."""
        step = self.state.best_global_step if self.holds_best else max(self.class_recalls, default=None)
        return self.class_recalls.get(step) if step is not None else None

    @property
    def settings(self) -> dict[str, Any]:
        """The algorithm's own settings."""
        return self.algorithm.current_settings()

    @property
    def imbalance(self) -> str | None:
        """Name of the correction for long tails; None without one."""
        return name_of_correction(self.algorithm.correction)

    @property
    def holds_best(self) -> bool:
        """Whether the model has the weights of the best checkpoint, which are loaded when training ends."""
        finished = any("train_runtime" in row for row in self.history)
        return finished and self.args.load_best_model_at_end and self.state.best_model_checkpoint is not None

    def last(self, key: str) -> Any:
        """The last value that was logged under `key`; None if there is none."""
        return next((row[key] for row in reversed(self.history) if key in row), None)


def sizes_of(evaluation: Any) -> dict[str, int | None]:
    """`RunFacts.evaluation_sizes` of an evaluation dataset, a dict of such, or None.

    Example:
        >>> sizes_of([1, 2, 3]), sizes_of({"easy": [1], "stream": iter([])}), sizes_of(None)
        ({'': 3}, {'easy': 1, 'stream': None}, {})
    """
    named = evaluation if isinstance(evaluation, dict) else {"": evaluation}
    sizes = {name: len(dataset) if hasattr(dataset, "__len__") else None for name, dataset in named.items()}
    return {} if evaluation is None else sizes


def describe_run(run: RunFacts) -> str:
    """The block that is printed when training starts: a title, and one indented line per row of `run_rows`.

    Beside these it has the classes, each with its number of labeled examples.
    """
    rows: dict[str, str] = {}
    for name, text in run_rows(run).items():
        rows |= {name: text} | ({run.data.label_kind.plural: _classes(run)} if name == "labeled" else {})
    width = max(map(len, rows))
    return "\n".join(["Semi-supervised training", *(f"  {name:<{width}}  {text}" for name, text in rows.items())])


def run_rows(run: RunFacts) -> dict[str, str]:
    """A run in words, by topic: algorithm, datasets, batch, steps, learning rate, moving average, views."""
    inputs = ", ".join(map(repr, run.data.model_inputs or run.data.input_columns))
    rows = {
        "algorithm": _with_settings(run.algorithm_name, run.settings),
        "columns": f"{run.data.modality} in {inputs}, {run.data.label_kind.plural} in {_label_columns(run)}",
        "labeled": _labeled(run),
        "unlabeled": _unlabeled(run),
        **({} if run.open_set is None else {"open set": f"{run.args.open_set}: {run.open_set}"}),
        "evaluation": _evaluation(run.evaluation_sizes),
    }
    if run.imbalance is not None:
        corrected = _with_settings(run.imbalance, run.algorithm.correction.current_settings())
        rows = {"algorithm": rows.pop("algorithm"), "imbalance": corrected, **rows}
    if run.args.teacher_column is not None:
        weight = f"weight {run.args.teacher_weight:g}, {run.args.teacher_schedule}"
        rows["teacher"] = f"opinions in {run.args.teacher_column!r}, {weight}"
    if not run.is_fitted:
        rows |= {
            **_batch_and_steps(run),
            **({} if run.rounds is None else {"rounds": run.rounds}),
            **_schedule(run),
            "learning rate": describe_learning_rate(run.args, run.max_steps),
            "moving average": _moving_average(run),
        }
    if run.duplicates is not None:
        rows["duplicates"] = run.duplicates.describe()
    # A classifier of features was fitted to examples as they are.
    kinds = {} if run.is_fitted else dict.fromkeys(["weak", *run.algorithm.views.values()])
    return rows | {f"{kind} view": run.views[kind] for kind in kinds if kind in run.views}


def _with_settings(name: str, settings: Mapping[str, Any]) -> str:
    values = ", ".join(f"{key}={value}" for key, value in settings.items())
    return f"{name} ({values})" if values else name


def _label_columns(run: RunFacts) -> str:
    return ", ".join(map(repr, run.data.label_columns))


def _labeled(run: RunFacts) -> str:
    size, kind, counts = len(run.data.label_names), run.data.label_kind, run.data.label_counts
    if counts is None:
        return f"{run.num_labeled:,} examples, {size} {kind.plural if size > 1 else kind.singular} each"
    per_class = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    if run.data.problem_type == SINGLE_LABEL:
        return f"{run.num_labeled:,} examples, {size} classes, {per_class} per class"
    labels, mean = f"{size} labels" if size > 1 else "1 label", counts.sum() / run.num_labeled
    return f"{run.num_labeled:,} examples, {labels}, {per_class} examples per label, {mean:.2g} labels per example"


def _classes(run: RunFacts) -> str:
    names, counts = run.data.label_names, run.data.label_counts
    if counts is None:
        columns = zip(names, run.data.labels.T, strict=True)
        return shortened([f"{name} {column.min():.4g} to {column.max():.4g}" for name, column in columns])
    # In quotes where letters would be overlooked: spaces around a name, or a line break in it.
    shown = [name if name == name.strip() and name.isprintable() else repr(name) for name in names]
    return shortened([f"{name} {count:,}" for name, count in zip(shown, counts.tolist(), strict=True)])


def _unlabeled(run: RunFacts) -> str:
    if not run.has_pool:
        return "none" + ("; the labeled examples serve as the pool" if run.algorithm.reads_pool else "")
    hidden = ", with hidden labels (used for the accuracy of pseudo-labels only)" if run.hidden_labels else ""
    unused = "" if run.algorithm.reads_pool or run.is_fitted else f", which {run.algorithm_name} does not use"
    size = "a stream" if run.num_unlabeled is None else f"{run.num_unlabeled:,} examples"
    return f"{size}{unused or hidden}"


def _evaluation(sizes: Mapping[str, int | None]) -> str:
    if not sizes:
        return "none"
    if "" not in sizes:
        return "several: " + ", ".join(sizes)
    return "a stream" if sizes[""] is None else f"{sizes['']:,} examples"


def _batch_and_steps(run: RunFacts) -> dict[str, str]:
    args, steps = run.args, run.max_steps
    passes, devices = args.gradient_accumulation_steps, args.world_size
    labeled = args.per_device_train_batch_size * passes * devices
    unlabeled = labeled * args.unlabeled_batch_ratio
    examples = f"{labeled} labeled" + (f" + {unlabeled} unlabeled" if run.algorithm.reads_pool else "")
    split = f"{devices} device{'s' * (devices > 1)}, {passes} pass{'es' * (passes > 1)}"
    if run.num_unlabeled is None:
        rounds = f"{steps * unlabeled:,} unlabeled examples from the stream"
    else:
        drawn = run.num_unlabeled - (0 if run.open_set is None else run.open_set.dropped)
        rounds = f"{steps * unlabeled / drawn:.1f} passes over the pool"
    if not run.algorithm.reads_pool:
        rounds = f"{steps * labeled / run.num_labeled:.1f} passes over the labeled examples"
    return {
        "batch": f"{examples} per step ({split})",
        "steps": f"{steps:,}, {rounds}" if steps else f"{args.num_train_epochs:g} passes over the pool",
    }


def _schedule(run: RunFacts) -> dict[str, str]:
    """What begins during the run; nothing as long as the number of steps is not known."""
    steps = run.max_steps
    found = describe_milestones(run.algorithm, Progress.in_run(0, steps, run.data.modality)) if steps else []
    return {"schedule": ", ".join(sentence for _, sentence in found)} if found else {}


def _moving_average(run: RunFacts) -> str:
    role = run.args.ema_role
    # An algorithm with a teacher keeps one even if `ema_role` does not ask for it.
    roles = ["teacher"] * (run.algorithm.uses_teacher or role in ("teacher", "both"))
    roles += ["evaluation"] * run.args.ema_evaluates
    return f"decay {run.args.ema_decay}, for {' and '.join(roles)}" if roles else "none"


def draw_run_recalls(folder: Path, run: RunFacts) -> bool:
    """Draw the recalls of an imbalanced run into class_recalls.png; whether there was anything to draw.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    recalls = run.saved_recalls
    if recalls is None or not run.is_imbalanced or len(recalls) != len(run.data.label_names):
        return False
    draw_class_recalls(folder / "class_recalls.png", run.class_counts, recalls, run.data.label_names)
    return True
