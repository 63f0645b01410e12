"""The results file of a run: what is in it, and how it is written."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .._version import __version__

PACKAGES = ("torch", "transformers", "datasets", "accelerate", "timm", "torchvision", "torchaudio", "peft")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide over a result."""
    found = {"hf-ssl": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def result_of(trainer, seconds: float, best_split: str = "test") -> dict:
    """The row of a finished training for `results.json`.

    Accuracies are shares in 0..1: `test_accuracy` of the last evaluation, `best_accuracy` of the best one, which `best_split`
    chose. What was not measured is None.
    """
    history = trainer.state.log_history
    accuracies = [row["eval_accuracy"] for row in history if "eval_accuracy" in row]

    def last(key):
        return next((row[key] for row in reversed(history) if key in row), None)

    return {
        "algorithm": trainer.algorithm_name,
        "seed": trainer.args.seed,
        "test_accuracy": accuracies[-1] if accuracies else None,
        "best_accuracy": max(accuracies, default=None),
        "best_split": best_split if accuracies else None,
        "num_labeled": len(trainer.train_dataset),
        "num_unlabeled": len(trainer.unlabeled_dataset),
        "steps": trainer.state.global_step,
        "seconds": round(seconds, 1),
        "mask_ratio": last("mask_ratio"),
        "pseudo_label_accuracy": last("pseudo_label_accuracy"),
    }


def write_results(folder: Path, runs: list[dict], settings: dict) -> Path:
    """Write `results.json`: {"runs", "settings", "versions"}; whole or not at all."""
    path = folder / "results.json"
    temporary = path.with_suffix(".tmp")
    content = {"runs": runs, "settings": settings, "versions": versions()}
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path
