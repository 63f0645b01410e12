"""Model folders that are damaged or claim too much: the error in one line names the file.

    before loading    `check_folder`: no pipes; `check_layers`, `check_size`: no more weights than the files can hold
    after a failure   `loading_error`: which file cannot be read; libraries often do not say

Nothing here is about Hub ids: their files are checked by the Hub's own hashes.
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from safetensors import safe_open

from ..documents import read_json
from ..limits import MOST_LAYERS, MOST_NEW_WEIGHTS, check_file
from ..modality import MODALITIES

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
# The pickle of torch's number 0x1950a86a20f9469cfc6c, before 2020.
_OLD_WEIGHTS = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# Names of settings that say how often something is repeated, each time with weights of its own.
_REPEATED = re.compile(r"layers?$|^n_layer|blocks?$|depths?$|stages?$")
# Of an error's text; some list every weight of the model.
_LONGEST = 300


def check_folder(model: str) -> None:
    """Raise a ValueError if a file in a model's folder is a pipe, a device or a socket, or no weights of torch.

    torch takes an archive that it does not recognize for a pickle, and reads lengths from it that ask for any memory.
    """
    if not Path(model).is_dir():
        return
    for path in sorted(path for path in Path(model).iterdir() if not path.is_dir()):
        check_file(path)
        if path.name == "pytorch_model.bin" and not _is_of_torch(path):
            raise ValueError(f"{path} is damaged, or is not weights alone; save or download it again")


def _is_of_torch(path: Path) -> bool:
    """Whether it is an archive with its directory, or begins with the number that torch.save wrote before archives."""
    with path.open("rb") as file:
        if file.read(len(_OLD_WEIGHTS)) == _OLD_WEIGHTS:
            return True
        try:
            return bool(ZipFile(file).namelist())
        except (BadZipFile, ValueError, OSError, NotImplementedError, struct.error):
            return False


def check_layers(model: str, config: Any) -> None:
    """Raise a ValueError if a configuration describes more layers than any model has: making them would not end."""
    for name, number in _repetitions(config.to_dict()):
        if number > MOST_LAYERS:
            raise ValueError(
                f"the configuration of {model} must have at most {MOST_LAYERS:,} layers, got {name}={number:,}; is it "
                "damaged?"
            )


def check_size(model: str, config: Any) -> None:
    """Raise unless the model that a configuration describes is about as large as the weights in its folder.

    Only a head may be new. The model is made without weights to count them, which takes some hundredths of a second.

    Raises:
        ValueError: in one line, with both numbers.
    """
    files = [path for path in Path(model).glob("*") if path.suffix in _WEIGHTS] if Path(model).is_dir() else []
    if not files:
        return
    size = sum(path.stat().st_size for path in files)
    # Of the smallest types, four weights share a byte.
    most, count = 4 * size + MOST_NEW_WEIGHTS, _described(config)
    if count > most:
        raise ValueError(
            f"{Path(model, 'config.json')} must describe at most {most:,} weights, which files of {size:,} bytes may "
            f"be, got {count:,}; is it damaged, or are weights missing?"
        )


def _repetitions(settings: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """The settings by name that are numbers of layers, in sub-configurations too; of a list, the sum."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            yield from _repetitions(value, str(key))
    elif _REPEATED.search(name):
        numbers = settings if isinstance(settings, list | tuple) else [settings]
        whole = [number for number in numbers if isinstance(number, int)]
        if whole:
            yield name, sum(whole)


def _described(config: Any) -> int:
    """The number of weights of the classifier for a configuration; 0 if it cannot be made, which loading will say."""
    kind = next((kind for kind in MODALITIES.values() if type(config) in kind.configurations()), None)
    if kind is None:
        return 0
    try:
        with torch.device("meta"):
            made = kind.model_class().from_config(config)
    except Exception:  # a damaged configuration makes models fail in any way
        return 0
    return sum(weight.numel() for weight in made.parameters())


def loading_error(model: str, error: Exception, what: str = "cannot be loaded") -> Exception:
    """The error to raise when a library could not load a model, its tokenizer or its processor.

    Args:
        model: folder or Hub id.
        error: what was raised; a missing package, and errors about Hub ids that say so themselves, are returned.
        what: says it in the message if no file is to blame.

    Example:
        >>> loading_error("./bert", KeyError("hidden_size"))
        ValueError("./bert cannot be loaded: KeyError: 'hidden_size'")
    """
    if isinstance(error, ImportError):
        return error
    if not Path(model).is_dir():
        expected = isinstance(error, OSError | ValueError)
        return error if expected else ValueError(f"{model} {what}: {one_line(error)}")
    if (problem := broken_file(Path(model))) is not None:
        return ValueError(f"{model} cannot be loaded: {problem}")
    return ValueError(f"{model} {what}: {one_line(error)}")


def one_line(error: Exception) -> str:
    """An error's text, shortened; with its type if that does not say it in words."""
    text = str(error).strip()
    if "Traceback (most recent call last)" in text:
        # transformers' pipelines tell all that they tried; the last line is the last error.
        text = text.splitlines()[-1]
    text = " ".join(text.split())
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return text if isinstance(error, OSError | ValueError) and text else f"{type(error).__name__}: {text}"


def broken_file(folder: Path) -> str | None:
    """What is wrong with the first file of a model that cannot be read by itself; None if all can."""
    for path in sorted(folder.glob("*.json")):
        try:
            content = read_json(path)
        except (OSError, ValueError) as error:
            return str(error)
        if path.name == "config.json" and not isinstance(content, dict):
            return f"{path} must hold an object, got a {type(content).__name__}"
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt"):
                pass
        except Exception as error:  # SafetensorError has no other base
            return f"{path} is damaged ({one_line(error)})"
    for path in sorted(path for path in folder.glob("*.bin") if path.name.startswith(("pytorch_model", "adapter"))):
        try:
            torch.load(path, map_location="meta", weights_only=True)
        except Exception as error:  # whatever a pickle stumbles on
            return (
                f"{path} is damaged, or is not weights alone, and other pickles are not read, since they could run "
                f"code; save the model as model.safetensors ({one_line(error):.80})"
            )
    return None
