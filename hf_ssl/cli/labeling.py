"""What a person does while labeling, the same in the browser and in the terminal: answer, undo, name new classes."""

import shlex
import threading
from collections.abc import Sequence

from .label_file import LabelFile, class_name


def class_names(text: str) -> list[str]:
    """The classes of a list with commas between them.

    Raises:
        ValueError: for a name that cannot be one.

    Example:
        >>> class_names("cat, dog,cat")
        ['cat', 'dog']
    """
    return list(dict.fromkeys(class_name(part) for part in text.split(",") if part.strip()))


def label_command(file: str, classes: Sequence[str], options: Sequence[str] = ()) -> str:
    """The command that labels a file, with the same keys for the same classes.

    Example:
        >>> label_command("my picks.csv", ["cat", "dog"], ["--terminal"])
        "hf-ssl label 'my picks.csv' --classes cat,dog --terminal"
    """
    # In the list, a comma cannot be part of a name.
    named = ",".join(name for name in classes if "," not in name)
    return shlex.join(["hf-ssl", "label", file, *(["--classes", named] if named else []), *options])


class Labeling:
    """The labels of a file, with what was done to them since the start.

    Args:
        file: the file, which is open.
        classes: names of classes, before those that are in the file.

    Attributes:
        classes: all names, in the order of their keys.
    """

    def __init__(self, file: LabelFile, classes: Sequence[str] = ()):
        self.file = file
        self.classes = list(dict.fromkeys([*classes, *file.classes()]))
        self._done: list[tuple[int, str]] = []
        # The page's requests come in threads.
        self._lock = threading.Lock()

    def answer(self, row: int, name: str) -> None:
        """Label a row; a new name becomes a class.

        Raises:
            ValueError, OSError: in one line, for a name or row that cannot be used, or a file that cannot be written;
                nothing has changed then.
        """
        name = class_name(name)
        with self._lock:
            self._check(row)
            before = self.file.labels[row]
            self.file.write(row, name)
            self._done.append((row, before))
            if name not in self.classes:
                self.classes.append(name)

    def undo(self) -> int | None:
        """Take the last answer back, and return its row; None if there is none since the start."""
        with self._lock:
            if not self._done:
                return None
            row, before = self._done[-1]
            self.file.write(row, before)
            self._done.pop()
            return row

    def next_open(self, after: int = -1) -> int | None:
        """The next row without a label, from the beginning again behind the end; None if all are labeled."""
        rows = self.file.open_rows()
        return next((row for row in rows if row > after), rows[0] if rows else None)

    def _check(self, row: int) -> None:
        if not 0 <= row < len(self.file):
            raise ValueError(f"the row must be in 0 to {len(self.file) - 1}, got {row}; open the page again")
