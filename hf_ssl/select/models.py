"""What trained models, each in a folder, say of the same examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config import SSLConfig
from ..documents import read_json
from ..features.bank import FeatureBank
from ..features.encoder import load_encoder
from ..model.head import find_head
from ..model.loading import class_names, load_processor


@dataclass(frozen=True)
class Answers:
    """What one classifier says of N examples.

    Args:
        features: float32 [N, D], what its head reads; NaN for examples that cannot be read.
        logits: float32 [N, C], NaN likewise.
        classes: names of the C classes.
    """

    features: np.ndarray
    logits: np.ndarray
    classes: tuple[str, ...]

    @property
    def readable(self) -> np.ndarray:
        """Which examples [N] could be read."""
        return np.isfinite(self.features).all(axis=1) & np.isfinite(self.logits).all(axis=1)


def answers(
    model: str, dataset: Any, modality: str, *, args: SSLConfig | None = None, batch_size: int = 64
) -> Answers:
    """Features and logits of a classifier, in one pass over a dataset; the features are cached (see `FeatureBank`).

    Args:
        model: folder or Hub id of a trained classifier, with its tokenizer, image processor or feature extractor.
        dataset: a `datasets.Dataset` of raw images, texts or recordings; its labels are not read.
        modality: "image", "text" or "audio".
        args: columns and device; the defaults of `SSLConfig` if None.
        batch_size: examples per batch, at least 1.

    Raises:
        ValueError, OSError: in one line, if there is no such classifier or it cannot read the dataset.
    """
    processor = load_processor(model, modality)
    loaded = load_encoder(model, modality, "head")
    given: dict[str, Any] = {"args": args, "pooling": "head", "batch_size": batch_size, "on_broken_file": "skip"}
    bank = FeatureBank.encode(loaded, dataset, processor, **given)
    head = find_head(loaded)
    device = next(head.parameters()).device
    with torch.no_grad():
        logits = head.eval()(torch.from_numpy(np.array(bank.features)).to(device)).float().cpu().numpy()
    return Answers(np.asarray(bank.features), logits, tuple(class_names(loaded) or ()))


def read_runs(
    folders: Sequence[str], dataset: Any, modality: str, *, args: SSLConfig | None = None, batch_size: int = 64
) -> list[Answers]:
    """The answers of several classifiers to the examples that all of them can read.

    Raises:
        ValueError: if they do not tell the same classes apart, or nothing can be read; otherwise as `answers`.
    """
    found: list[Answers] = []
    for folder in folders:
        found.append(answers(folder, dataset, modality, args=args, batch_size=batch_size))
        if sorted(found[-1].classes) != sorted(found[0].classes):
            raise ValueError(
                f"all runs must have the same classes, got {_few(found[-1].classes)} in {folder} and "
                f"{_few(found[0].classes)} in {folders[0]}; select among runs of one task"
            )
    readable = np.logical_and.reduce([each.readable for each in found])
    if not readable.any():
        raise ValueError(f"no example could be read by all models, got {len(readable):,} examples; check the files")
    return [Answers(each.features[readable], each.logits[readable], each.classes) for each in found]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def known_accuracy(folder: str) -> float | None:
    """The test accuracy, in [0, 1], of the model in a run's folder by its `results.json`; None if it is not known.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     rows = '[{"test_accuracy": 0.7}, {"test_accuracy": 0.8, "kept": true}, {"test_accuracy": 0.6}]'
        ...     _ = Path(folder, "results.json").write_text(f'{{"runs": {rows}}}')
        ...     known_accuracy(folder), known_accuracy(f"{folder}/elsewhere")
        (0.8, None)
    """
    try:
        runs = read_json(Path(folder, "results.json"))["runs"]
        row = next((row for row in runs if row.get("kept")), runs[-1])
        accuracy = row["test_accuracy"]
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None
    return float(accuracy) if isinstance(accuracy, int | float) else None
