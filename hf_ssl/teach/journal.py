"""The opinions that there are so far, in a file beside the output, so that a killed run goes on behind them."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..documents import parse_json

# Digits of a probability: the rounding of a float32 is of no interest to anybody.
_DIGITS = 6


class Journal:
    """Appends an opinion for each row of a pool, in order, and reads those that an earlier run has left.

        line 1    what was asked of whom: another question does not go on with these answers
        line 2..  [p_1, ..., p_C], or the reason why there is none

    Args:
        path: of the file; it is made when the first opinions are added.
        question: what the opinions depend on: model, classes, template, the inputs.

    Raises:
        ValueError: if the file holds the answers to another question; the message says what differs.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name, "pool.unfinished")
        >>> Journal(path, {"model": "someone/model"}).add([np.array([0.25, 0.75]), "no image"])
        >>> again = Journal(path, {"model": "someone/model"})
        >>> again.opinions
        [[0.25, 0.75], 'no image']
        >>> Journal(path, {"model": "other/model"})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: .../pool.unfinished must be of the same question, got another model in it; delete it, or ask \
again as before
    """

    def __init__(self, path: Path, question: Mapping[str, Any]):
        self.path, self.question = path, dict(question)
        self.opinions: list[list[float] | str] = []
        if path.exists():
            self._read()

    def add(self, opinions: Sequence[np.ndarray | str]) -> None:
        """Add the opinions on the next rows; when this returns, they are on the disk."""
        plain = [
            each if isinstance(each, str) else each.astype(np.float64).round(_DIGITS).tolist() for each in opinions
        ]
        new = not self.path.exists()
        with self.path.open("a", encoding="utf-8") as file:
            if new:
                file.write(json.dumps(self.question, ensure_ascii=False) + "\n")
            file.writelines(json.dumps(each, ensure_ascii=False) + "\n" for each in plain)
            file.flush()
            os.fsync(file.fileno())
        self.opinions += plain

    def delete(self) -> None:
        """Delete the file, once all opinions are in the output."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> None:
        content = self.path.read_bytes()
        # A line that was cut off has no end.
        whole = content[: content.rfind(b"\n") + 1]
        first, *lines = whole.decode("utf-8").split("\n")
        if not first:
            self.delete()
            return
        asked = parse_json(first, str(self.path))
        known = asked if isinstance(asked, dict) else {}
        differs = [name for name, value in self.question.items() if known.get(name) != value]
        if differs:
            raise ValueError(
                f"{self.path} must be of the same question, got another {' and '.join(differs)} in it; delete it, or "
                "ask again as before"
            )
        self.opinions = [parse_json(line, str(self.path)) for line in lines[:-1]]
        if len(whole) < len(content):
            os.truncate(self.path, len(whole))
