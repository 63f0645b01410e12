"""What a run leaves in its folder for `hf-ssl inspect`, and nowhere else.

    sources.json               where data and model were, and the settings that decide how they are read
    predictions.safetensors    what stages say of labels, pool and test set; how often predicted classes changed

Both name local files or speak of single examples, so neither is published (`hf_ssl.hub.upload.PUBLISHED`).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ...documents import read_json
from ...features.reading import LinearHead, Reading
from ...files import atomic_write

SOURCES, PREDICTIONS = "sources.json", "predictions.safetensors"
# Labels, pool and test set, by the names that files and pages give them.
PARTS = ("labeled", "pool", "test")
# Labeled examples that were held out in turn, of which only labels and probabilities are known.
HELD_OUT = "held_out"
# Examples of each part whose predictions are kept; of more, a sample.
MOST = 10_000
# Arguments that may name files and folders.
_PLACES = ("model", "labeled", "unlabeled", "test", "source")
# Arguments that say how a command went on, and nothing about the run: a resumed one is the same run.
_OF_THE_SITTING = ("resume", "overwrite", "quiet")
# Settings that decide how examples are read.
_OF_READING = (
    *("input_column", "text_pair_column", "label_column", "label_columns", "label_separator", "problem_type"),
    *("on_broken_file", "image_size", "max_length"),
    *("max_length_seconds", "seed", "use_cpu", "dataloader_num_workers", "per_device_eval_batch_size"),
)


@dataclass
class Predictions:
    """What is known of the examples of a run.

    Args:
        rows: part -> positions int64 [n] in its dataset, ascending.
        labels: part -> classes int64 [n], -1 if unknown; of the pool the hidden ones. The part "held_out", labeled
            examples that were held out in turn, has labels and probabilities alone.
        probabilities: method -> part -> float32 [n, C]; a method may lack parts.
        changes: how often the class changed in training, float32 [N] of the whole pool, NaN if unknown; None if it
            was not counted.
    """

    rows: dict[str, np.ndarray] = field(default_factory=dict)
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    probabilities: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    changes: np.ndarray | None = None

    def save(self, folder: Path) -> None:
        """Write the file, whole or not at all; none if nothing is known."""
        arrays = {f"rows/{part}": value for part, value in self.rows.items()}
        arrays |= {f"labels/{part}": value for part, value in self.labels.items()}
        for method, parts in self.probabilities.items():
            arrays |= {f"probabilities/{method}/{part}": value.astype(np.float16) for part, value in parts.items()}
        if self.changes is not None:
            arrays["changes"] = self.changes.astype(np.float16)
        if arrays:
            with atomic_write(folder / PREDICTIONS) as temporary:
                save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, temporary)

    @classmethod
    def load(cls, folder: Path) -> "Predictions":
        """Read the file back; empty if there is none.

        Raises:
            ValueError: in one line, if it is damaged.

        Example:
            >>> import tempfile
            >>> folder = Path(tempfile.mkdtemp())
            >>> Predictions(rows={"test": np.array([4])}, changes=np.array([0.5])).save(folder)
            >>> found = Predictions.load(folder)
            >>> found.rows, found.changes
            ({'test': array([4])}, array([0.5], dtype=float32))
        """
        path = folder / PREDICTIONS
        if not path.is_file():
            return cls()
        try:
            arrays = load_file(path)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is damaged ({error}); delete it, or train again") from None
        found = cls(changes=arrays["changes"].astype(np.float32) if "changes" in arrays else None)
        for name, value in arrays.items():
            kind, *rest = name.split("/")
            if kind in ("rows", "labels"):
                getattr(found, kind)[rest[0]] = value
            elif kind == "probabilities":
                # In 16 bits they no longer sum to 1.
                whole = value.astype(np.float32)
                found.probabilities.setdefault(rest[0], {})[rest[1]] = whole / whole.sum(axis=1, keepdims=True)
        return found


def sample(size: int, most: int = MOST) -> np.ndarray:
    """Positions of a dataset's examples, int64, ascending: all of them, or a random sample that is always the same.

    Example:
        >>> sample(3).tolist(), len(sample(50, most=20))
        ([0, 1, 2], 20)
    """
    if size <= most:
        return np.arange(size)
    return np.sort(np.random.default_rng(0).choice(size, most, replace=False))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities float32 [N, C] of logits [N, C].

    Example:
        >>> softmax(np.log([[1.0, 3.0]])).round(2).tolist()
        [[0.25, 0.75]]
    """
    shifted = np.exp(np.asarray(logits, dtype=np.float32) - np.max(logits, axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Answers:
    """What a stage of a run says.

    Args:
        head: on frozen features; None if the whole model was trained.
        test: logits [N, C] of the test set, if there is no head to make them; None without one.
        held_out: logits [M, C] of labeled examples that it had not seen; None if none was held out.
        temperature: that the saved model's logits are divided by.
    """

    head: LinearHead | None = None
    test: np.ndarray | None = None
    held_out: np.ndarray | None = None
    temperature: float = 1.0


def stage_predictions(
    reading: Reading, stages: Mapping[str, Answers], held_out: np.ndarray | None = None
) -> Predictions:
    """What the stages of a run say of single examples.

    Args:
        reading: what the frozen encoder makes of the datasets.
        stages: by name, in the order they ran.
        held_out: classes [M] of the labeled examples that were held out in turn; None if none was.
    """
    known, in_pool = np.flatnonzero(reading.labels >= 0), np.flatnonzero(reading.labels < 0)
    pool, labeled = sample(len(in_pool)), sample(len(known))
    hidden = np.full(len(in_pool), -1) if reading.hidden_labels is None else np.maximum(reading.hidden_labels, -1)
    found = Predictions()
    found.rows = {"labeled": labeled, "pool": reading.pool_rows[pool].astype(np.int64)}
    found.labels = {"labeled": reading.labels[known[labeled]], "pool": np.asarray(hidden)[pool].astype(np.int64)}
    read = {"labeled": reading.head_features[known[labeled]], "pool": reading.head_features[in_pool[pool]]}
    if "" in reading.tests:
        _, features, labels = reading.tests[""]
        test = sample(len(labels))
        found.rows["test"], found.labels["test"], read["test"] = test, labels[test].astype(np.int64), features[test]
    if held_out is not None:
        found.labels[HELD_OUT] = held_out.astype(np.int64)
    for name, stage in stages.items():
        logits = {} if stage.head is None else {part: stage.head.logits(rows) for part, rows in read.items()}
        if stage.test is not None and "test" in read:
            logits["test"] = stage.test[found.rows["test"]]
        if stage.held_out is not None:
            logits[HELD_OUT] = stage.held_out
        found.probabilities[name] = {part: softmax(values / stage.temperature) for part, values in logits.items()}
    return found


# ---- Where the data are ----


def write_sources(folder: Path, command: str, arguments: Mapping[str, Any], **facts: Any) -> None:
    """Write where a run's data are.

    Args:
        folder: of the run.
        command: "train" or "quickstart".
        arguments: of the command; names of files and folders become absolute. Those are left out that a run may be
            continued with.
        facts: what else is noted, JSON values.
    """
    here = {
        name: _absolute(value) if name in _PLACES else value
        for name, value in arguments.items()
        if name not in _OF_THE_SITTING
    }
    with atomic_write(folder / SOURCES) as temporary:
        content = {"format": 1, "command": command, "arguments": here, **facts}
        temporary.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")


def _absolute(value: Any) -> Any:
    """The name of a file or folder, also with @SPLIT, that holds wherever a command is started."""
    if not isinstance(value, str) or not value:
        return value
    path, at, split = value.rpartition("@")
    if not os.path.exists(value) and at and os.path.exists(path):
        return f"{os.path.abspath(path)}@{split}"
    return os.path.abspath(value) if os.path.exists(value) else value


def read_sources(folder: Path) -> dict[str, Any] | None:
    """What `write_sources` wrote into a folder; None if there is no such file.

    Raises:
        ValueError: in one line, if it is damaged, or of another version.
    """
    path = folder / SOURCES
    if not path.is_file():
        return None
    found = read_json(path)
    if not isinstance(found, dict) or found.get("format") != 1 or not isinstance(found.get("arguments"), dict):
        raise ValueError(f"{path} must be what training wrote, of format 1; train again, or delete it")
    return found


def reading_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of a training's settings those that decide how examples are read, as JSON values.

    Example:
        >>> reading_settings({"max_length": 64, "learning_rate": 0.1, "algorithm": "uda", "seed": 3})
        {'max_length': 64, 'seed': 3}
    """
    kept = {name: value for name, value in settings.items() if name in _OF_READING}
    return json.loads(json.dumps(kept, default=str))
