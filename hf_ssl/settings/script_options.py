"""Options of ours beside those of a script: both are read by one `HfArgumentParser`, and a name may be in both.

    HfArgumentParser((ModelArguments, DataTrainingArguments, SSLConfig))

`run_audio_classification.py` of transformers, for one, has a `--max_length_seconds` for its own transform. A parser
takes no option twice, so there the name is the script's, and our setting keeps its default. Everywhere else, in
`SSLConfig(...)`, `to_dict`, `dataclasses.replace` and parsers without such a script, the setting is as usual.
"""

import dataclasses
import inspect
from collections.abc import Collection
from types import FrameType
from typing import Any, TypeVar

from transformers import HfArgumentParser

Config = TypeVar("Config")
# HfArgumentParser reads `init` in a method, or in a comprehension inside of it, which before Python 3.12 is a call.
_CALLS = 2


class _Yielding(dataclasses.Field):
    """A field that is not an option of a parser that reads an option of its name into another dataclass.

    `HfArgumentParser` asks a field for `init` before it adds an option, and again when it hands out what was parsed.
    It tells the field nothing of the other dataclasses, so the answer depends on the parser that asks.
    """

    __slots__ = ()

    @property
    def init(self) -> bool:  # type: ignore[override]  # a plain attribute in the base class
        return not _is_taken(self.name, inspect.currentframe())


def _is_taken(name: str, frame: FrameType | None) -> bool:
    for _ in range(_CALLS):
        frame = frame.f_back if frame is not None else None
        caller: Any = frame.f_locals if frame is not None else {}
        if isinstance(caller.get("self"), HfArgumentParser) and "dtype" in caller:
            others = [dtype for dtype in caller["self"].dataclass_types if dtype is not caller["dtype"]]
            return any(name in getattr(dtype, "__dataclass_fields__", {}) for dtype in others)
    return False


def yields_to_scripts(inherited: Collection[str]) -> Any:
    """Decorate a dataclass of settings whose names a script may have, too.

    Args:
        inherited: names of the fields that are options of the script's own settings class, and so never in doubt.

    Example:
        >>> @yields_to_scripts(inherited=["output_dir"])
        ... @dataclasses.dataclass
        ... class Settings:
        ...     output_dir: str = "out"
        ...     seconds: float = 10.0
        >>> @dataclasses.dataclass
        ... class Script:
        ...     seconds: float = 20.0
        >>> HfArgumentParser(Settings).parse_args_into_dataclasses(["--seconds", "5"])
        (Settings(output_dir='out', seconds=5.0),)
        >>> HfArgumentParser((Script, Settings)).parse_args_into_dataclasses(["--seconds", "5"])
        (Script(seconds=5.0), Settings(output_dir='out', seconds=10.0))
    """

    def decorate(cls: type[Config]) -> type[Config]:
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # a dataclass
            if field.name not in inherited:
                field.__class__ = _Yielding
        return cls

    return decorate
