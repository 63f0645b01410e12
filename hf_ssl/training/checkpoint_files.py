"""The files that a checkpoint holds beside those of `Trainer`: safetensors and JSON, no pickle.

    model.safetensors           the weights that are evaluated (the moving average if ema_role says so): what
                                `from_pretrained(checkpoint)` gives; of a PEFT model adapter_model.safetensors
    ssl_student.safetensors     the weights that are trained, under the names that the model has in memory; of a PEFT
                                model only those that are trained, since the base model comes from elsewhere
    ssl_ema.safetensors         the moving average, if one is kept
    uncertainty.safetensors     of numbers, a layer that tells how uncertain they are, if the algorithm has learned one
    ssl_algorithm.safetensors   buffers and heads of the algorithm
    ssl_round.safetensors       of a training in rounds: which one it is in, and what was picked for it
    ssl_log.safetensors         the sums of the next log line, and the loss and the time of the run so far, so that
                                they are the same after resuming
    ssl_config.json             the settings of the run, without paths and tokens; it replaces Trainer's
                                training_args.bin, a pickle that holds both
    checksums.sha256            the checksums of all files, which are checked before any of them is used

The student has its own file because `save_pretrained` may rename weights (ViT), and `Trainer` then reads back only
those whose names still fit. `checkpoint_folders` says how a checkpoint comes into being as a whole. Of Trainer's
files, optimizer.pt, scheduler.pt and rng_state.pth are pickles: torch reads them with `weights_only=True`, which makes
tensors and plain values and runs no code of the file.
"""

import json
import re
import zipfile
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import TrainingArguments
from transformers.utils import logging

from ..distributed import whole
from ..features.foreignness import FILE as FOREIGNNESS
from ..model.adapters import is_adapted, kept_weights
from ..model.ema import ModelEma
from ..model.quantized import base_digests, find_other_base, quantized_names, readable_state
from ..model.sharding import load_whole
from ..model.uncertainty import FILE as UNCERTAINTY
from ..published_settings import is_published_setting
from .checkpoint_folders import checkpoints, step_of
from .checksums import CHECKSUMS, find_change

logger = logging.get_logger(__name__)

STUDENT = "ssl_student.safetensors"
EMA = "ssl_ema.safetensors"
ALGORITHM = "ssl_algorithm.safetensors"
LOG = "ssl_log.safetensors"
ROUND = "ssl_round.safetensors"
CONFIG = "ssl_config.json"
STATE = "trainer_state.json"
# Of keys in the log file, before the step of an evaluation.
_RECALLS = "recalls/"
_WHOLE_MODEL = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")
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
    write: bool = True,
) -> None:
    """Write student, algorithm and moving average into a checkpoint folder.

    Every process calls it: of a sharded model each has a part.

    Args:
        folder: which exists.
        student: the model that is trained.
        algorithm: its buffers and heads are saved.
        name: of the algorithm; resuming with another one is refused.
        ema: the moving average, if one is kept.
        processes: how many train; each leaves a random state that a complete checkpoint must have.
        write: whether this process is the one that writes.
    """
    # Those of earlier versions have no checksums, and are complete without them.
    info = {"algorithm": name, "processes": processes, "ema": ema is not None, "checksums": True}
    parts = [
        (STUDENT, student_state(student), {**info, "base": base_digests(student)}),
        (ALGORITHM, algorithm.state_dict(), info),
    ]
    if ema is not None:
        parts.append((EMA, ema.state_dict(), {**info, "decay": repr(ema.decay)}))
    for file, state, told in parts:
        # One after the other: the memory of a file is free again before the next one's is needed.
        state = whole(state, keep=write)
        if write:
            _write(Path(folder, file), state, told)


def save_student(folder: str, student: nn.Module, name: str, *, write: bool = True) -> None:
    """Write the weights of the trained model alone, for `load_student`; arguments as in `save_state`."""
    state = whole(student_state(student), keep=write)
    if write:
        save_tensors(folder, STUDENT, state, {"algorithm": name, "base": base_digests(student)})


def save_tensors(folder: str, file: str, tensors: dict[str, torch.Tensor], info: dict[str, Any]) -> None:
    """Write tensors with some facts, among them "algorithm", the name of what was trained with."""
    _write(Path(folder, file), tensors, info)


@dataclass
class RunSums:
    """What a run has added up, and a resumed one goes on with.

    Args:
        logged: step of the last line that was logged.
        loss: sum of the losses since then; when saved, [P] for P processes.
        sums: name -> [2], sum and count of each term and metric since then; when saved, [P, 2].
        total_loss: sum of the losses that were logged; None if an earlier version, which did not keep it, saved.
        seconds: how long the run has taken.
        recalls: step of an evaluation -> recalls [C], of those that card and results still need.
    """

    logged: int
    loss: torch.Tensor
    sums: dict[str, torch.Tensor]
    total_loss: float | None = None
    seconds: float = 0.0
    recalls: dict[int, torch.Tensor] = field(default_factory=dict)


def save_log(folder: str, name: str, run: RunSums) -> None:
    """Write what the run has added up.

    Args:
        folder, name: as in `save_state`.
        run: of all processes.
    """
    tensors = {"loss": run.loss, **{f"sums/{key}": value for key, value in run.sums.items()}}
    tensors |= {f"{_RECALLS}{step}": value for step, value in run.recalls.items()}
    info = {"algorithm": name, "logged": run.logged, "total_loss": run.total_loss, "seconds": run.seconds}
    _write(Path(folder, LOG), tensors, info)


def save_settings(folder: str, args: TrainingArguments) -> None:
    """Write the settings of ours, and others that differ from their defaults; published ones only."""
    values = args.to_dict()
    usual = {field.name: field.default for field in fields(TrainingArguments)}
    kept = {
        name: value
        for name, value in values.items()
        if is_published_setting(name) and (name not in usual or value != usual[name])
    }
    text = json.dumps(kept, indent=2, sort_keys=True, default=str) + "\n"
    Path(folder, CONFIG).write_text(text, encoding="utf-8")


def delete_other_weights(folder: Path, names: Collection[str]) -> None:
    """Delete weights in a model's folder that would be read in place of, or with, those that have just been saved.

    A model in one file leaves the files of one in several, and the other way round.

    Args:
        names: of the files that have been saved.
    """
    if any(_WHOLE_MODEL.fullmatch(name) for name in names):
        for path in folder.iterdir():
            if _WHOLE_MODEL.fullmatch(path.name) and path.name not in names:
                path.unlink()
    # What an earlier model was saved with, and this one does not have.
    for name in {UNCERTAINTY, FOREIGNNESS} - set(names):
        (folder / name).unlink(missing_ok=True)


def student_state(student: nn.Module) -> dict[str, torch.Tensor]:
    """The weights of the trained model to save: all of them, but for frozen ones that are quantized; of a PEFT model
    those in training, and the buffers.
    """
    state = readable_state(student)
    left_out = quantized_names(student)
    if is_adapted(student):
        left_out |= {name for name, parameter in student.named_parameters() if not parameter.requires_grad}
        left_out -= kept_weights(student).keys()
    return {name: tensor for name, tensor in state.items() if name not in left_out}


def _write(path: Path, state: dict[str, torch.Tensor], info: dict[str, Any]) -> None:
    save_file(unshared(state), path, metadata={"format": "pt", "hf_ssl": json.dumps(info)})


def unshared(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors that can be written: safetensors refuses those that share memory, such as tied weights."""
    # Loading copies each name's values anyway.
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
        ValueError: if the file is missing, truncated, of another algorithm or of another model, or if the frozen
            weights that it leaves to the base model are others.
    """
    path = Path(folder, STUDENT)
    state, info = _read(path, name)
    mine = student_state(student)
    if mine.keys() != state.keys():
        differing = sorted(mine.keys() ^ state.keys())
        raise ValueError(
            f"{path} does not fit this model: {len(differing)} names of weights differ, first {differing[0]!r}; "
            "resume with the model that was trained"
        )
    other = find_other_base(info.get("base", {}), student)
    if other is not None:
        raise ValueError(
            f"{path} belongs to another base model: its frozen {other!r} differs; resume with the base model that was "
            "trained, in the same type and quantized in the same way"
        )
    _load(path, student, {**readable_state(student), **state})


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
    _load(path, model, {**readable_state(model), **_read(path, name)[0]})
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


def load_tensors(folder: str, file: str, name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What `save_tensors` wrote; errors as in `load_student`."""
    return _read(Path(folder, file), name)


def load_log(folder: str, name: str, process: int, processes: int) -> RunSums:
    """What `save_log` wrote, for one process.

    If the number of processes has changed since, each gets the mean over the former ones.
    """
    state, info = _read(Path(folder, LOG), name)

    def share(tensor: torch.Tensor) -> torch.Tensor:
        return tensor[process] if len(tensor) == processes else tensor.mean(dim=0)

    recalls = {int(key.removeprefix(_RECALLS)): state.pop(key) for key in list(state) if key.startswith(_RECALLS)}
    sums = {key.removeprefix("sums/"): share(value) for key, value in state.items() if key != "loss"}
    loss, told = share(state["loss"]), (info.get("total_loss"), info.get("seconds", 0.0))
    return RunSums(int(info["logged"]), loss, sums, *told, recalls)


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
        load_whole(module, state)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit: {' '.join(str(error).split())}") from None


# ---- Which checkpoint to resume from ----


def choose_checkpoint(wanted: str | Path | bool, output_dir: str | Path) -> str:
    """The checkpoint folder to resume from; every byte of it has been checked.

    Args:
        wanted: a folder, or True for the newest complete one in `output_dir`. Newer ones that are incomplete or
            damaged are skipped with a warning.
        output_dir: of the run.

    Raises:
        ValueError: if the folder is not a complete checkpoint (the message offers another one), or there is none.
    """
    return _newest_complete(output_dir) if isinstance(wanted, bool) else _complete(wanted)


def _complete(folder: str | Path) -> str:
    problem = find_problem(folder)
    if problem is None:
        return str(folder)
    others = (other for other in checkpoints(Path(folder).parent) if other.resolve() != Path(folder).resolve())
    offered = next((other for other in others if not find_problem(other)), None)
    offer = "there is no complete one beside it; start from scratch"
    raise ValueError(f"{problem}; {offer if offered is None else f'resume from {offered}, which is complete'}")


def _newest_complete(output_dir: str | Path) -> str:
    found = checkpoints(output_dir)
    for folder in found:
        problem = find_problem(folder)
        if problem is None:
            return str(folder)
        logger.warning(f"{problem}; skipping this checkpoint")
    seen = f"; {len(found)} incomplete or damaged there" if found else ""
    advice = "start without resume_from_checkpoint (hf-ssl train: with --overwrite)"
    raise ValueError(f"there is no complete checkpoint in {output_dir}{seen}; {advice}")


def find_problem(folder: str | Path) -> str | None:
    """Why a folder is not a complete checkpoint of SSLTrainer, naming the file; None if it is one.

    Every file is read and compared with its checksum. Checkpoints of earlier versions have none: their files are
    opened, and a truncated one is found by its table of contents.

    Example:
        >>> find_problem("runs/checkpoint-9")
        'runs/checkpoint-9 is not a folder'
    """
    folder = Path(folder)
    if not folder.is_dir():
        return f"{folder} is not a folder"
    return find_change(folder) or _find_gap(folder) or _find_other_step(folder)


def _find_gap(folder: Path) -> str | None:
    """A file that is missing, or whose end is."""
    weights = [name for name in WEIGHTS if (folder / name).is_file()]
    needed = [STUDENT, ALGORITHM, LOG, "optimizer.pt", "scheduler.pt", STATE]
    # An adapter that is not called "default" is in a folder of its name.
    adapters = [str(path.relative_to(folder)) for path in folder.glob(f"*/{WEIGHTS[-1]}")]
    needed += weights[:1] or adapters or WEIGHTS[:1]
    info = _info(folder / ALGORITHM)
    needed += [EMA] if info.get("ema") else []
    needed += [CHECKSUMS] if info.get("checksums") else []
    processes = info.get("processes", 1)
    needed += [f"rng_state_{rank}.pth" for rank in range(processes)] if processes > 1 else ["rng_state.pth"]
    for name in needed:
        path = folder / name
        if not path.is_file():
            return f"{path} is missing: this checkpoint is incomplete or not one of SSLTrainer"
        if not _is_whole(path):
            return f"{path} is damaged: it is truncated"
    return None


def _find_other_step(folder: Path) -> str | None:
    """What in the state of the training contradicts the folder's name, or itself."""
    path = folder / STATE
    state = json.loads(path.read_text(encoding="utf-8"))
    step, most, named = state.get("global_step"), state.get("max_steps"), step_of(folder)
    if not isinstance(step, int) or step < 0 or (named is not None and step != named):
        expected = "a number of steps" if named is None else f"{named}, as the folder is named"
        return f"{path} is damaged: its global_step must be {expected}, got {step!r}"
    if isinstance(most, int) and 0 < most < step:
        return f"{path} is damaged: its global_step must be at most max_steps, {most}, got {step}"
    return None


def _info(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            info = json.loads((file.metadata() or {}).get("hf_ssl", "{}"))
    except (OSError, ValueError, SafetensorError):
        return {}
    return info if isinstance(info, dict) else {}


def _is_whole(path: Path) -> bool:
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt"):
                return True
        if path.suffix == ".json":
            return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except (OSError, ValueError, SafetensorError):
        return False
    # torch.save writes a zip archive, whose directory is at its end; the list of checksums has checked itself.
    return path.name == CHECKSUMS or zipfile.is_zipfile(path)
