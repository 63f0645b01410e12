"""Builds the `hf-ssl train` command that reproduces a run, without local paths or account names."""

import dataclasses
import enum
import json
import shlex
from collections.abc import Mapping
from typing import Any

from ..settings.published import is_published_setting
from .places import public_place
from .train_options import TrainArguments, default_seed, make_parser

# Of the command's own options: where they stood, and how the run was interrupted.
_LEFT_OUT = ("config", "resume", "overwrite", "quiet")
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
    own = {name: value for name, value in dataclasses.asdict(arguments).items() if name not in _LEFT_OUT}
    told = {name: value for name, value in settings.items() if is_published_setting(name)}
    words = []
    for name, value in {**own, **told}.items():
        if value is None or value == usual.get(name):
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
