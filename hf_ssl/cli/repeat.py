"""The command line that repeats a run of `hf-ssl train`, for people who have not its files: no paths, no accounts."""

import dataclasses
import enum
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import is_private

# Beside private settings: what the run shows, how it was interrupted, and that it was published.
_LEFT_OUT = ("config", "resume", "overwrite", "push_to_hub", "disable_tqdm", "report_to", "log_level")
_PLACES = ("model", "labeled", "unlabeled", "test", "source")


def repeat_command(own, settings: Mapping[str, Any], processes: int = 1) -> str:
    """`hf-ssl train ...` with every option that is not at its default, those from a --config file among them.

    Args:
        own: the `TrainArguments`.
        settings: keywords of SSLConfig, as the parser gave them.
        processes: how many trained together.
    """
    from .train import default_seed, make_parser

    usual = {**vars(make_parser().parse_args([])), "seed": default_seed(own.task)}
    words = []
    for name, value in {**dataclasses.asdict(own), **settings}.items():
        left_out = name in _LEFT_OUT or name.startswith("hub_") or is_private(name)
        if left_out or value is None or value == usual.get(name):
            continue
        words.append(f"--{name}")
        if name in _PLACES:
            words.append(public_place(value))
        elif isinstance(value, list | tuple):
            words += map(str, value)
        else:
            words.append(_text(value))
    start = f"torchrun --nproc_per_node {processes} -m hf_ssl.cli" if processes > 1 else "hf-ssl"
    return f"{start} train {shlex.join(words)}"


def public_place(place: str) -> str:
    """A Hub id, with configuration and split, as it is; of a file or folder the last part of its path."""
    path, split = (place, "") if Path(place).exists() else (place.rpartition("@")[0], "@" + place.rpartition("@")[2])
    return Path(path).resolve().name + split if path and Path(path).exists() else place


def _text(value: Any) -> str:
    if isinstance(value, enum.Enum):
        value = value.value
    return json.dumps(value) if isinstance(value, dict | bool) else str(value)
