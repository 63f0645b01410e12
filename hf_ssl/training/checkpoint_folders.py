"""The folders of checkpoints: each gets its name when it is whole, and is out of sight before it is deleted.

    checkpoint-120              whole
    .checkpoint-120.partial     being written; renamed when everything is on the disk
    .checkpoint-120.replaced    the former one of this step, until the new one has its name
    .checkpoint-120.deleted     being deleted

A process can be killed between any two of these steps: `clean_up` puts back or deletes what it left. So there is
always a whole checkpoint, and never one with files of two runs.
"""

import os
import re
import shutil
from pathlib import Path

from transformers.utils import logging

from ..files import files_below, sync, unfinished
from .checksums import write_checksums

logger = logging.get_logger(__name__)

_PARTIAL, _REPLACED, _DELETED = "partial", "replaced", "deleted"


def checkpoints(output_dir: str | Path) -> list[Path]:
    """The checkpoint folders of a run, the newest first: that of the highest step, whatever the clock said.

    Example:
        >>> import tempfile
        >>> run = tempfile.TemporaryDirectory()
        >>> for name in ("checkpoint-500", "checkpoint-1000", ".checkpoint-1500.partial", "logs"):
        ...     Path(run.name, name).mkdir()
        >>> [path.name for path in checkpoints(run.name)]
        ['checkpoint-1000', 'checkpoint-500']
    """
    found = [(step_of(path), path) for path in Path(output_dir).glob("checkpoint-*") if path.is_dir()]
    return [path for _, path in sorted((step, path) for step, path in found if step is not None)[::-1]]


def step_of(folder: Path) -> int | None:
    """The step that a checkpoint's name tells.

    Example:
        >>> step_of(Path("run/checkpoint-120")), step_of(Path("run/last-checkpoint"))
        (120, None)
    """
    match = re.fullmatch(r"checkpoint-(\d+)", folder.name)
    return int(match[1]) if match else None


def leftovers(output_dir: str | Path) -> list[Path]:
    """What a killed process left in a run's folder while it wrote or deleted a checkpoint or another file."""
    folder = Path(output_dir)
    found = [path for kind in (_PARTIAL, _REPLACED, _DELETED) for path in folder.glob(f".checkpoint-*.{kind}")]
    return found + unfinished(folder)


def clean_up(output_dir: str | Path) -> None:
    """Put back a checkpoint that was about to be replaced, and delete what is not whole."""
    for folder in Path(output_dir).glob(f".checkpoint-*.{_REPLACED}"):
        whole = folder.with_name(folder.name[1:].removesuffix(f".{_REPLACED}"))
        if not whole.exists():
            os.replace(folder, whole)
    for left in leftovers(output_dir):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def partial(checkpoint: Path) -> Path:
    """The folder that a checkpoint is written into."""
    return _beside(checkpoint, _PARTIAL)


def begin(checkpoint: Path) -> None:
    """Make the folder that a checkpoint is written into, empty."""
    folder = partial(checkpoint)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def finish(checkpoint: Path) -> None:
    """Give the folder that `begin` made its name, once everything in it has a checksum and is on the disk.

    An earlier checkpoint of the same step is replaced as a whole.
    """
    new, replaced = partial(checkpoint), _beside(checkpoint, _REPLACED)
    write_checksums(new)
    for path in files_below(new):
        sync(path)
    sync(new)
    if checkpoint.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        os.replace(checkpoint, replaced)
    os.replace(new, checkpoint)
    sync(checkpoint.parent)
    delete(replaced)


def give_up(checkpoint: Path) -> None:
    """Delete what was written since `begin`, and put back what `finish` was about to replace."""
    replaced = _beside(checkpoint, _REPLACED)
    if replaced.exists() and not checkpoint.exists():
        os.replace(replaced, checkpoint)
    shutil.rmtree(partial(checkpoint), ignore_errors=True)


def delete(folder: Path) -> None:
    """Delete a folder so that no part of it is ever seen under its name."""
    if not folder.exists():
        return
    if not folder.name.startswith("."):
        hidden = _beside(folder, _DELETED)
        shutil.rmtree(hidden, ignore_errors=True)
        os.replace(folder, hidden)
        folder = hidden
    shutil.rmtree(folder, ignore_errors=True)


def rotate(newest: Path, limit: int | None, best: str | Path | None = None) -> None:
    """Delete checkpoints beyond `limit`, in the order of their steps; as in Trainer, but never by their dates.

    Checkpoints of later steps than the newest are of a run that was resumed from an older checkpoint, and go first.

    Args:
        newest: the checkpoint that has just been written; it stays.
        limit: how many may be kept; None or 0 for all of them.
        best: the checkpoint of the best model, which stays, too.
    """
    if not limit or limit < 0:
        return
    kept = {newest.resolve()} | ({Path(best).resolve()} if best is not None else set())
    present = checkpoints(newest.parent)
    others = [folder for folder in present if folder.resolve() not in kept]
    now = step_of(newest) or 0
    # The ones to keep come first.
    others.sort(key=lambda folder: ((step := step_of(folder) or 0) > now, -step))
    room = max(limit - (len(present) - len(others)), 0)
    for folder in others[room:]:
        try:
            delete(folder)
        except OSError as error:
            # The new checkpoint is there; the training goes on.
            logger.warning(f"{folder} is beyond save_total_limit and cannot be deleted: {error}")


def _beside(checkpoint: Path, kind: str) -> Path:
    return checkpoint.with_name(f".{checkpoint.name}.{kind}")
