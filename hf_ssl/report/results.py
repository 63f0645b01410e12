"""The results file of a run: what is in it, and how it is written."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..files import atomic_write

if TYPE_CHECKING:  # Results are also read and written by commands that need no torch.
    from .run import RunFacts

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

    Accuracies are in 0..1: `test_accuracy` of the last evaluation, and `best_accuracy` of the best one. With a
    correction for long tails, `imbalance` is its name.

    Args:
        run: its facts.
        seconds: how long it took, since it was resumed if it was.
        best_split: the split on which the best evaluation was chosen.
    """
    accuracies = [row["eval_accuracy"] for row in run.history if "eval_accuracy" in row]
    return {
        "algorithm": run.algorithm_name,
        **({"imbalance": run.imbalance} if run.imbalance is not None else {}),
        "seed": run.args.seed,
        "test_accuracy": accuracies[-1] if accuracies else None,
        "best_accuracy": max(accuracies, default=None),
        "best_split": best_split if accuracies else None,
        "num_labeled": run.num_labeled,
        "num_unlabeled": run.num_unlabeled,
        "steps": run.state.global_step,
        "seconds": round(run.earlier_seconds + seconds, 1),
        "mask_ratio": run.last("mask_ratio"),
        "pseudo_label_accuracy": run.last("pseudo_label_accuracy"),
    }


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
