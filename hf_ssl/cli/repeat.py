"""Builds the `hf-ssl train` command that reproduces a run, without local paths or account names."""

import dataclasses
import enum
import json
import shlex
from collections.abc import Mapping
from typing import Any

from ..config import is_private
from .places import public_place
from .train_options import TrainArguments, default_seed, make_parser

# Beside private settings: what the run shows, how it was interrupted, and that it was published.
_LEFT_OUT = ("config", "resume", "overwrite", "push_to_hub", "disable_tqdm", "report_to", "log_level")
_PLACES = ("model", "labeled", "unlabeled", "test", "source")


def repeat_command(arguments: TrainArguments, settings: Mapping[str, Any], processes: int = 1) -> str:
    """`hf-ssl train ...` with every option that is not at its default, including those from a --config file.

    Args:
        arguments: the command's own arguments.
        settings: keywords of SSLConfig, as the parser gave them.
        processes: how many trained together.

    Example:
        >>> from hf_ssl.cli.train_options import parse
        >>> repeat_command(*parse(["--model", "someone/model", "--max-steps", "9"]))
        'hf-ssl train --model someone/model --max_steps 9'
    """
    usual = {**vars(make_parser().parse_args([])), "seed": default_seed(arguments.task)}
    words = []
    for name, value in {**dataclasses.asdict(arguments), **settings}.items():
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


def _text(value: Any) -> str:
    if isinstance(value, enum.Enum):
        value = value.value
    return json.dumps(value) if isinstance(value, dict | bool) else str(value)
