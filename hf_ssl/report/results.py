"""The results file of a run: what is in it, and how it is written."""

import json
import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..class_sizes import SIZE_METRICS, Imbalance
from ..files import atomic_write
from ..problem_types import MULTI_LABEL, MULTI_LABEL_METRICS, REGRESSION, REGRESSION_METRICS, SINGLE_LABEL
from .measures import MEASURES

if TYPE_CHECKING:  # Results are also read and written by commands that need no torch.
    from .run import RunFacts

_METRICS = {MULTI_LABEL: MULTI_LABEL_METRICS, REGRESSION: REGRESSION_METRICS}
# Of more classes than these, results do not list each.
_LISTED = 1_000

PACKAGES = ("torch", "transformers", "datasets", "accelerate", "timm", "torchvision", "torchaudio", "peft")


def versions() -> dict[str, str]:
    """Versions of Python, this package and the packages that results depend on, if they are installed."""
    found = {"hf-ssl": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def result_of(run: "RunFacts", seconds: float, best_split: str = "test") -> dict[str, Any]:
    """The row of a finished training in `results.json`; what was not measured is None.

    Accuracies are in 0..1: `test_accuracy` of the last evaluation, and `best_accuracy` of the best one; for several
    labels and for numbers it is what `kind_facts` says. With a
    correction for long tails, `imbalance` is its name. If the labels are imbalanced, the best is chosen by balanced
    accuracy, and the row also says how classes of all sizes are recognized (`class_size_facts`).

    Args:
        run: its facts.
        seconds: how long it took, since it was resumed if it was.
        best_split: the split on which the best evaluation was chosen.
    """
    measure = MEASURES[run.data.problem_type]
    name = measure.name
    measured = [row for row in run.history if f"eval_{name}" in row]
    best = max(measured, key=run.quality, default=None)
    last = measured[-1] if measured else {}
    return {
        "algorithm": run.algorithm_name,
        **({"imbalance": run.imbalance} if run.imbalance is not None else {}),
        "seed": run.args.seed,
        "test_accuracy": last.get("eval_accuracy"),
        "best_accuracy": best.get("eval_accuracy") if best else None,
        "best_split": best_split if measured else None,
        **kind_facts(run.data.problem_type, last, best or {}),
        "num_labeled": run.num_labeled,
        "num_unlabeled": run.num_unlabeled,
        "steps": run.state.global_step,
        "seconds": round(run.earlier_seconds + seconds, 1),
        "mask_ratio": run.last("mask_ratio"),
        "pseudo_label_accuracy": None,
        # Of several labels and of numbers it has another name.
        measure.pseudo: run.last(measure.pseudo),
        **({} if run.open_set is None else run.open_set.row()),
        **class_size_facts(run),
    }


def kind_facts(
    problem_type: str, last: Mapping[str, float], best: Mapping[str, float], prefix: str = "eval_"
) -> dict[str, Any]:
    """What is measured of several labels and of numbers, for `results.json`; empty for one class per example.

    Args:
        problem_type: one of `hf_ssl.problem_types`.
        last, best: metrics of the last and of the best evaluation, whose names begin with `prefix`; {} without one.

    Example:
        >>> kind_facts("regression", {"eval_mae": 2.0, "eval_r2": 0.5}, {"eval_mae": 1.5, "eval_r2": 0.6})["best_mae"]
        1.5
    """
    if problem_type == SINGLE_LABEL:
        return {}
    name = MEASURES[problem_type].name
    named = {key: last.get(prefix + key) for key in _METRICS[problem_type]}
    metrics = {key: value for key, value in named.items() if value is not None and math.isfinite(value)}
    values = {f"test_{name}": last.get(prefix + name), f"best_{name}": best.get(prefix + name)}
    return {"problem_type": problem_type, **values, "test_metrics": metrics}


def class_size_facts(run: "RunFacts") -> dict[str, Any]:
    """How classes of all sizes are recognized, for `results.json`; empty if the labels are not imbalanced.

    `balanced_accuracy`, `geometric_mean` and the recalls of classes with many and few labels are those of the last
    evaluation; `best_balanced_accuracy` is that of the best. `classes` has for each class (of at most 1,000) its
    labeled examples and its recall in the last evaluation.
    """
    if not run.is_imbalanced:
        return {}
    last = {name: run.last(f"eval_{name}") for name in ("balanced_accuracy", *SIZE_METRICS)}
    recalls = run.class_recalls.get(max(run.class_recalls, default=-1), ())
    seen = [row["eval_balanced_accuracy"] for row in run.history if "eval_balanced_accuracy" in row]
    facts = size_facts(run.data.label_names, run.class_counts, last, recalls)
    return facts | ({"best_balanced_accuracy": max(seen, default=None)} if facts else {})


def size_facts(
    names: Sequence[str], counts: Any, metrics: Mapping[str, Any], recalls: Sequence[float]
) -> dict[str, Any]:
    """The same facts from metrics by name, and the recalls [C] of the classes with these labeled counts [C].

    Example:
        >>> facts = size_facts(["cat", "dog"], [40, 4], {"balanced_accuracy": 0.7}, [0.9, 0.5])
        >>> facts["balanced_accuracy"], facts["classes"]["dog"]
        (0.7, {'labeled': 4, 'recall': 0.5})
        >>> size_facts(["cat", "dog"], [4, 4], {"balanced_accuracy": 0.7}, [0.9, 0.5])
        {}
    """
    if not Imbalance.of(counts).is_clear:
        return {}
    found = {name: metrics.get(name) for name in ("balanced_accuracy", *SIZE_METRICS)}
    if len(names) > _LISTED:
        return found
    # Without a test set the sizes alone, from which an evaluation of the model later knows its groups.
    rows = zip(names, counts, recalls if len(recalls) else [math.nan] * len(names), strict=True)
    classes = {
        name: {"labeled": int(count), "recall": None if math.isnan(recall) else float(recall)}
        for name, count, recall in rows
    }
    return {**found, "classes": classes}


def write_results(folder: Path, runs: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> Path:
    """Write `results.json`, {"runs", "settings", "versions"}, into `folder`; its path.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = write_results(Path(folder.name), [{"algorithm": "fixmatch", "test_accuracy": 0.9}], {"seed": 0})
        >>> sorted(json.loads(path.read_text()))
        ['runs', 'settings', 'versions']
    """
    path = folder / "results.json"
    content = {"runs": list(runs), "settings": dict(settings), "versions": versions()}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path
