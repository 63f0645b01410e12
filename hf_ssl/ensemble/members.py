"""The members of an ensemble: each is fitted once, and its folder keeps the model and what it says of the pool.

members/NAME-METHOD/    the model, as `from_pretrained` and `hf-ssl select` read it
    logits.safetensors  its logits of the pool's examples that are voted on, and of the test set
    results.json        written last: without it the member is fitted again
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from .._version import __version__
from ..documents import read_json
from ..features.inputs import Inputs
from ..features.keys import digest_of, rows_key
from ..features.start import classifier_head, probe_head
from ..files import atomic_write
from ..metrics import class_recalls, classification_metrics
from ..report.results import result_of, size_facts, write_results
from ..settings.published import PRIVATE_SETTINGS
from ..trainer import SSLTrainer
from .base import Base, Task, merge_adapters
from .methods import FITTED, TITLES

_LOGITS, _RESULTS, _FINGERPRINT = "logits.safetensors", "results.json", "fingerprint"
_HEADS = {"probe": probe_head, "features": classifier_head}


@dataclass(frozen=True)
class Member:
    """A fitted member.

    Args:
        row: for `results.json`.
        pool: logits float32 [U, C] of the examples of the pool that are voted on.
        test: logits float32 [T, C] of the test set; None without one.
    """

    row: dict[str, Any]
    pool: np.ndarray
    test: np.ndarray | None


def public_name(model: str) -> str:
    """A Hub id unchanged, and of a folder its name without the path.

    Example:
        >>> public_name("google/vit-base-patch16-224"), public_name(str(Path(__file__).parent))
        ('google/vit-base-patch16-224', 'ensemble')
    """
    return Path(model).resolve().name if Path(model).exists() else model


def folder_name(model: str, method: str) -> str:
    """Of a member, inside `members/`.

    Example:
        >>> folder_name("google/vit-base-patch16-224", "lora")
        'google--vit-base-patch16-224-lora'
    """
    return f"{public_name(model).replace('/', '--')}-{method}"


def fit(base: Base, method: str, rows: np.ndarray, folder: Path, key: str) -> Member:
    """Fit a member and save it.

    Args:
        base: its pretrained model.
        method: one of `METHODS`.
        rows: positions [U] in the pool of the examples that are voted on.
        folder: its own.
        key: its fingerprint.
    """
    start = time.perf_counter()
    names = names_of(base.name, method)
    # Of a member with other settings, which would seem to be that of this one's files if this is interrupted.
    (folder / _RESULTS).unlink(missing_ok=True)
    if method in FITTED:
        trainer, pool, test, row = _fitted(base, method, rows)
    else:
        trainer = base.supervised(method, folder, names["title"])
        trainer.train()
        merge_adapters(trainer)
        pool, test = pool_logits(trainer, base.task, rows), test_logits(trainer)
        row = result_of(trainer.run_facts(), 0.0)
        if method != "none":
            row["algorithm"] = f"supervised_{method}"
    row |= {"seconds": round(time.perf_counter() - start, 1), **names, "kept": False}
    trainer.save_model(str(folder), _internal_call=True)
    found = Member(row, pool, test)
    arrays = {"pool": pool} | ({} if test is None else {"test": test})
    with atomic_write(folder / _LOGITS) as temporary:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary)
    write_results(folder, [row], {"base_model": row["model"], "method": method, _FINGERPRINT: key})
    return found


def names_of(model: str, method: str) -> dict[str, str]:
    """What `results.json` and the card call a member."""
    name = public_name(model)
    return {"model": name, "method": method, "title": f"{name}: {TITLES[method]}"}


def earlier(folder: Path, key: str) -> Member | None:
    """The member that an earlier run saved in its folder; None if there is none, or another one.

    Args:
        key: its fingerprint: with the same one nothing that it depends on has changed.
    """
    try:
        results = read_json(folder / _RESULTS)
        if results["settings"][_FINGERPRINT] != key:
            return None
        arrays = load_file(folder / _LOGITS)
        return Member(results["runs"][0], arrays["pool"], arrays.get("test"))
    except (OSError, ValueError, KeyError, TypeError, IndexError, SafetensorError):
        return None


def fingerprint(task: Task, trainer: SSLTrainer, rows: np.ndarray) -> str:
    """The digest of what all members depend on: data, labels, settings and the version of this package.

    Args:
        task: the settings.
        trainer: of any base, which has prepared the datasets.
        rows: positions of the examples that are voted on.
    """
    data = trainer.data
    parts = [trainer.train_dataset, trainer.unlabeled_dataset]
    parts += [] if trainer.eval_dataset is None else [trainer.eval_dataset]
    settings = {name: value for name, value in task.settings.items() if name not in _WITHOUT_INFLUENCE}
    labels = [None if found is None else found.tolist() for found in (labels_of(trainer, part) for part in parts)]
    said = [settings, data.label_names, labels[0], labels[2:], rows.tolist(), __version__]
    return digest_of([*(rows_key(part, data) for part in parts), json.dumps(said, sort_keys=True, default=str)])


def labels_of(trainer: SSLTrainer, rows: Any) -> np.ndarray | None:
    """Classes int64 [N] of one of the trainer's datasets, -1 for examples without one; None if none has one."""
    return Inputs(trainer.data, rows, None).labels()


# Settings that a resumed run may change.
_WITHOUT_INFLUENCE = PRIVATE_SETTINGS | {"save_steps", "save_total_limit", "logging_steps"}


def member_key(common: str, model: str, method: str) -> str:
    """The fingerprint of one member: also of its pretrained model, which in a folder is known by sizes and times."""
    files = [path for path in sorted(Path(model).iterdir()) if path.is_file()] if Path(model).is_dir() else []
    states = [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    return digest_of([common, model if not files else "", method, *states])


# ---- What a member says ----


def pool_logits(trainer: SSLTrainer, task: Task, rows: np.ndarray) -> np.ndarray:
    """Logits float32 [U, C] of these rows of the pool; a column of labels is left out before."""
    pool = task.unlabeled.select(rows)
    label = task.summary.label_column
    pool = pool.remove_columns([label]) if label in pool.column_names else pool
    return _logits(trainer.predict(pool).predictions)


def test_logits(trainer: SSLTrainer) -> np.ndarray | None:
    """Logits float32 [T, C] of the test set, whose metrics are logged; None without one."""
    if trainer.eval_dataset is None:
        return None
    found = trainer.predict(trainer.eval_dataset, metric_key_prefix="eval")
    trainer.log(dict(found.metrics or {}))
    return _logits(found.predictions)


def _logits(predictions: Any) -> np.ndarray:
    return np.asarray(predictions[0] if isinstance(predictions, tuple) else predictions, dtype=np.float32)


def _fitted(base: Base, method: str, rows: np.ndarray) -> tuple[SSLTrainer, np.ndarray, np.ndarray | None, dict]:
    """A classifier of frozen features, written into the head of the pretrained model."""
    reading, trainer = base.reading, base.trainer
    head, _ = _HEADS[method](reading)
    head.write(trainer.accelerator.unwrap_model(trainer.model))
    in_pool = reading.head_features[reading.labels < 0]
    pool = head.logits(in_pool[np.searchsorted(reading.pool_rows, rows)])
    test, right = None, None
    if "" in reading.tests:
        _, head_features, right = reading.tests[""]
        test = head.logits(head_features)
    return trainer, pool, test, row_of(method, base.task, trainer.args.seed, test, right)


def row_of(name: str, task: Task, seed: int, logits: np.ndarray | None, labels: np.ndarray | None) -> dict[str, Any]:
    """The row of `results.json` of what was not trained.

    Args:
        name: of the row.
        task: what it is for.
        seed: of the run.
        logits, labels: [T, C] and [T] of the test set; None without one.
    """
    sizes: dict[str, Any] = {}
    accuracy = None
    if logits is not None and labels is not None:
        accuracy = float((logits.argmax(axis=1) == labels).mean())
        counts = np.bincount(task.summary.labels, minlength=len(task.summary.label_names))
        metrics = classification_metrics(logits, labels, counts)
        recalls = class_recalls(logits.argmax(axis=1), labels, len(counts)).tolist()
        sizes = size_facts(task.summary.label_names, counts, metrics, recalls)
    return {
        "algorithm": name,
        "seed": seed,
        "test_accuracy": accuracy,
        "best_accuracy": accuracy,
        "best_split": None if accuracy is None else "test",
        "num_labeled": len(task.labeled),
        "num_unlabeled": len(task.unlabeled),
        "steps": 0,
        "seconds": 0.0,
        "mask_ratio": None,
        "pseudo_label_accuracy": None,
        **sizes,
    }
