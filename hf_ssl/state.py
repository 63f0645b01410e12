"""The files that a checkpoint holds beside those of `Trainer`, all safetensors.

    model.safetensors           the weights that are evaluated (the moving average where ema_role says so): what
                                `from_pretrained(checkpoint)` gives
    ssl_student.safetensors     the weights that are trained, under the names that the model has in memory
    ssl_ema.safetensors         the moving average, where one is kept
    ssl_algorithm.safetensors   buffers and heads of the algorithm

The student has a file of its own because `save_pretrained` may rename weights (ViT) and `Trainer` then reads back only those
whose names still fit. Each file is written under another name and moved into place, so that it is whole or absent.
"""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

STUDENT = "ssl_student.safetensors"
EMA = "ssl_ema.safetensors"
ALGORITHM = "ssl_algorithm.safetensors"


def save_state(folder: str, student: nn.Module, algorithm: nn.Module, name: str, ema=None) -> None:
    """Write the files named above into a checkpoint folder."""
    info = {"algorithm": name}
    _write(Path(folder, STUDENT), _unshared(student.state_dict()), info)
    _write(Path(folder, ALGORITHM), _unshared(algorithm.state_dict()), info)
    if ema is not None:
        _write(Path(folder, EMA), _unshared(ema.state_dict()), {**info, "decay": repr(ema.decay)})


def load_student(folder: str, student: nn.Module, name: str) -> None:
    """Read the trained weights back, every one of them.

    Raises:
        ValueError: if the file is missing, cut short, of another algorithm or of another model.
    """
    _load(Path(folder, STUDENT), student, name)


def load_state(folder: str, algorithm: nn.Module, name: str, ema=None) -> None:
    """Read the algorithm's state and the moving average back; errors as in `load_student`."""
    _load(Path(folder, ALGORITHM), algorithm, name)
    if ema is not None:
        path = Path(folder, EMA)
        state = _read(path, name)
        try:
            ema.load_state_dict(state)
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"{path} does not fit this model: {error}") from None


def _unshared(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    # safetensors refuses tensors that share memory (tied weights); loading copies each name's values anyway.
    seen: set[int] = set()
    result = {}
    for name, tensor in state.items():
        tensor = tensor.detach().contiguous()
        result[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return result


def _write(path: Path, state: dict[str, torch.Tensor], info: dict[str, str]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    save_file(state, temporary, metadata={"format": "pt", "hf_ssl": json.dumps(info)})
    os.replace(temporary, path)


def _read(path: Path, name: str) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise ValueError(f"{path} is missing: this checkpoint is incomplete or not one of SSLTrainer; resume from another one")
    try:
        with safe_open(path, framework="pt") as file:
            info = json.loads((file.metadata() or {}).get("hf_ssl", "{}"))
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open has no __iter__)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): resume from another checkpoint") from None
    if info.get("algorithm") != name:
        raise ValueError(
            f"{path} belongs to the algorithm {info.get('algorithm')!r} and this run trains {name!r}; "
            "resume with the same algorithm, or start anew in another output_dir"
        )
    return state


def _load(path: Path, module: nn.Module, name: str) -> None:
    state = _read(path, name)
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit: {' '.join(str(error).split())}") from None
