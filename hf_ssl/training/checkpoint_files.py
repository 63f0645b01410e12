"""The files that a checkpoint holds beside those of `Trainer`: safetensors and JSON, no pickle.

    model.safetensors           the weights that are evaluated (the moving average if ema_role says so): what
                                `from_pretrained(checkpoint)` gives; of a PEFT model adapter_model.safetensors
    ssl_student.safetensors     the weights that are trained, under the names that the model has in memory; of a PEFT
                                model only those that are trained, since the base model comes from elsewhere
    ssl_ema.safetensors         the moving average, if one is kept
    ssl_algorithm.safetensors   buffers and heads of the algorithm
    ssl_log.safetensors         the sums of the next log line, so that it is the same after resuming
    ssl_config.json             the settings of the run, without paths and tokens; it replaces Trainer's
                                training_args.bin, a pickle that holds both

The student has its own file because `save_pretrained` may rename weights (ViT), and `Trainer` then reads back only
those whose names still fit. Each file is written under another name and moved into place, so that it is whole or
absent; the last file of a checkpoint is Trainer's trainer_state.json, so that a folder without it was interrupted.
"""

import json
import re
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import TrainingArguments
from transformers.utils import logging

from ..files import atomic_write
from ..model.adapters import is_adapted, kept_weights
from ..model.ema import ModelEma
from ..published_settings import is_published_setting

logger = logging.get_logger(__name__)

STUDENT = "ssl_student.safetensors"
EMA = "ssl_ema.safetensors"
ALGORITHM = "ssl_algorithm.safetensors"
LOG = "ssl_log.safetensors"
CONFIG = "ssl_config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors")


# ---- Writing ----


def save_state(
    folder: str,
    student: nn.Module,
    algorithm: nn.Module,
    name: str,
    ema: ModelEma | None = None,
    *,
    processes: int = 1,
) -> None:
    """Write student, algorithm and moving average into a checkpoint folder.

    Args:
        folder: which exists.
        student: the model that is trained.
        algorithm: its buffers and heads are saved.
        name: of the algorithm; resuming with another one is refused.
        ema: the moving average, if one is kept.
        processes: how many train; each leaves a random state that a complete checkpoint must have.
    """
    info = {"algorithm": name, "processes": processes, "ema": ema is not None}
    _write(Path(folder, STUDENT), student_state(student), info)
    _write(Path(folder, ALGORITHM), algorithm.state_dict(), info)
    if ema is not None:
        _write(Path(folder, EMA), ema.state_dict(), {**info, "decay": repr(ema.decay)})


def save_log(folder: str, name: str, logged: int, loss: torch.Tensor, sums: dict[str, torch.Tensor]) -> None:
    """Write the sums of the log line in progress.

    Args:
        folder, name: as in `save_state`.
        logged: step of the last line that was logged.
        loss: sum [P] of the losses since then, one for each of P processes.
        sums: name -> sum and count [P, 2] of each term and metric.
    """
    tensors = {"loss": loss, **{f"sums/{key}": value for key, value in sums.items()}}
    _write(Path(folder, LOG), tensors, {"algorithm": name, "logged": logged})


def save_settings(folder: str, args: TrainingArguments) -> None:
    """Write the settings of ours, and others that differ from their defaults; published ones only."""
    values = args.to_dict()
    usual = {field.name: field.default for field in fields(TrainingArguments)}
    kept = {
        name: value
        for name, value in values.items()
        if is_published_setting(name) and (name not in usual or value != usual[name])
    }
    with atomic_write(Path(folder, CONFIG)) as temporary:
        temporary.write_text(json.dumps(kept, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")


def student_state(student: nn.Module) -> dict[str, torch.Tensor]:
    """The weights of the trained model to save: all of them; of a PEFT model those in training, and the buffers."""
    state = student.state_dict()
    if not is_adapted(student):
        return state
    frozen = {name for name, parameter in student.named_parameters() if not parameter.requires_grad}
    frozen -= kept_weights(student).keys()
    return {name: tensor for name, tensor in state.items() if name not in frozen}


def _write(path: Path, state: dict[str, torch.Tensor], info: dict[str, Any]) -> None:
    with atomic_write(path) as temporary:
        save_file(_unshared(state), temporary, metadata={"format": "pt", "hf_ssl": json.dumps(info)})


def _unshared(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    # safetensors refuses tensors that share memory (tied weights); loading copies each name's values anyway.
    seen: set[int] = set()
    result = {}
    for name, tensor in state.items():
        tensor = tensor.detach().contiguous()
        result[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return result


# ---- Reading ----


def load_student(folder: str, student: nn.Module, name: str) -> None:
    """Read the trained weights back, every one of them.

    Raises:
        ValueError: if the file is missing, truncated, of another algorithm or of another model.
    """
    path = Path(folder, STUDENT)
    state, _ = _read(path, name)
    mine = student_state(student)
    if mine.keys() != state.keys():
        differing = sorted(mine.keys() ^ state.keys())
        raise ValueError(
            f"{path} does not fit this model: {len(differing)} names of weights differ, first {differing[0]!r}; "
            "resume with the model that was trained"
        )
    _load(path, student, {**student.state_dict(), **state})


def load_evaluated(folder: str, model: nn.Module, name: str, averaged: bool) -> bool:
    """Read the weights that were evaluated at a checkpoint into a PEFT model, whatever its adapters are called.

    Args:
        averaged: whether these were the moving average.

    Returns:
        False if the checkpoint does not hold them, since `save_only_model` was set.
    """
    path = Path(folder, EMA if averaged else STUDENT)
    if not path.is_file():
        return False
    _load(path, model, {**model.state_dict(), **_read(path, name)[0]})
    return True


def load_state(folder: str, algorithm: nn.Module, name: str, ema: ModelEma | None = None) -> None:
    """Read the algorithm's state and the moving average back; errors as in `load_student`."""
    path = Path(folder, ALGORITHM)
    _load(path, algorithm, _read(path, name)[0])
    if ema is not None:
        path = Path(folder, EMA)
        state, _ = _read(path, name)
        try:
            ema.load_state_dict(state)
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"{path} does not fit this model: {error}") from None


def load_log(
    folder: str, name: str, process: int, processes: int
) -> tuple[int, torch.Tensor, dict[str, torch.Tensor]]:
    """What `save_log` wrote, for one process: step of the last log line, its loss, its sums.

    If the number of processes has changed since, each gets the mean over the former ones.
    """
    state, info = _read(Path(folder, LOG), name)

    def share(tensor: torch.Tensor) -> torch.Tensor:
        return tensor[process] if len(tensor) == processes else tensor.mean(dim=0)

    sums = {key.removeprefix("sums/"): share(value) for key, value in state.items() if key != "loss"}
    return int(info["logged"]), share(state["loss"]), sums


def _read(path: Path, name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    if not path.is_file():
        raise ValueError(
            f"{path} is missing: this checkpoint is incomplete or not one of SSLTrainer; resume from another one"
        )
    try:
        with safe_open(path, framework="pt") as file:
            info = json.loads((file.metadata() or {}).get("hf_ssl", "{}"))
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open has no __iter__)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): resume from another checkpoint") from None
    if info.get("algorithm") != name:
        raise ValueError(
            f"{path} belongs to the algorithm {info.get('algorithm')!r} and this run trains {name!r}; "
            "resume with the same algorithm, or start from scratch in another output_dir"
        )
    return state, info


def _load(path: Path, module: nn.Module, state: dict[str, torch.Tensor]) -> None:
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit: {' '.join(str(error).split())}") from None


# ---- Which checkpoint to resume from ----


def choose_checkpoint(wanted: str | Path | bool, output_dir: str | Path) -> str:
    """The checkpoint folder to resume from.

    Args:
        wanted: a folder, or True for the newest complete one in `output_dir`. Newer ones that are incomplete, because
            the run was killed while it wrote them, are skipped with a warning.
        output_dir: of the run.

    Raises:
        ValueError: if the folder is not a complete checkpoint (the message offers an older one), or there is none.
    """
    return _newest_complete(output_dir) if isinstance(wanted, bool) else _complete(wanted)


def _complete(folder: str | Path) -> str:
    problem = find_problem(folder)
    if problem is None:
        return str(folder)
    older = [other for other in checkpoints(Path(folder).parent) if not find_problem(other)]
    offer = "there is no complete one beside it; start from scratch"
    raise ValueError(f"{problem}; {f'resume from {older[0]}, which is complete' if older else offer}")


def _newest_complete(output_dir: str | Path) -> str:
    found = checkpoints(output_dir)
    for folder in found:
        problem = find_problem(folder)
        if problem is None:
            return str(folder)
        logger.warning(f"{problem}; skipping this checkpoint")
    seen = f"; {len(found)} incomplete there" if found else ""
    raise ValueError(f"there is no complete checkpoint in {output_dir}{seen}; start without resume_from_checkpoint")


def checkpoints(output_dir: str | Path) -> list[Path]:
    """The checkpoint folders of a run, the newest first.

    Example:
        >>> import tempfile
        >>> run = tempfile.TemporaryDirectory()
        >>> for name in ("checkpoint-500", "checkpoint-1000", "logs"):
        ...     Path(run.name, name).mkdir()
        >>> [path.name for path in checkpoints(run.name)]
        ['checkpoint-1000', 'checkpoint-500']
    """
    found = [(re.fullmatch(r"checkpoint-(\d+)", path.name), path) for path in Path(output_dir).glob("checkpoint-*")]
    return [path for match, path in sorted((int(m[1]), p) for m, p in found if m)[::-1]]


def find_problem(folder: str | Path) -> str | None:
    """Why a folder is not a complete checkpoint of SSLTrainer, naming the file; None if it is one.

    Each file is opened but not read: a truncated file is found by its table of contents.

    Example:
        >>> find_problem("runs/checkpoint-9")
        'runs/checkpoint-9 is not a folder'
    """
    folder = Path(folder)
    if not folder.is_dir():
        return f"{folder} is not a folder"
    weights = [name for name in WEIGHTS if (folder / name).is_file()]
    needed = [STUDENT, ALGORITHM, LOG, "optimizer.pt", "scheduler.pt", "trainer_state.json"]
    # An adapter that is not called "default" is in a folder of its name.
    adapters = [str(path.relative_to(folder)) for path in folder.glob(f"*/{WEIGHTS[-1]}")]
    needed += weights[:1] or adapters or WEIGHTS[:1]
    info = _info(folder / ALGORITHM)
    needed += [EMA] if info.get("ema") else []
    processes = info.get("processes", 1)
    needed += [f"rng_state_{rank}.pth" for rank in range(processes)] if processes > 1 else ["rng_state.pth"]
    for name in needed:
        path = folder / name
        if not path.is_file():
            return f"{path} is missing: this checkpoint is incomplete or not one of SSLTrainer"
        if not _is_whole(path):
            return f"{path} is damaged: it is truncated"
    return None


def _info(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {}).get("hf_ssl", "{}"))
    except (OSError, SafetensorError):
        return {}


def _is_whole(path: Path) -> bool:
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt"):
                return True
        if path.suffix == ".json":
            return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except (OSError, ValueError, SafetensorError):
        return False
    # torch.save writes a zip archive, whose directory is at its end.
    return zipfile.is_zipfile(path)
