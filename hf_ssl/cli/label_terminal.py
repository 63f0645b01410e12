"""Labeling in a terminal: a text or the name of a file is shown, and a number or a name answers."""

from pathlib import Path

from .labeling import Labeling
from .output import printable

# Letters of a text that are shown.
_SHOWN = 2_000
_HELP = """A number or the name of a class labels it; +NAME adds a class.
Return skips it, u takes the last answer back, q ends."""


def label_in_terminal(labeling: Labeling) -> None:
    """Ask for the label of each row that has none, until all are labeled, or q, or the end of the input."""
    if not labeling.classes:
        labeling.classes += _ask_for_classes()
    print(_HELP)
    row, shown = labeling.next_open(), -1
    while True:
        if row is None:
            print("\nAll are labeled. Return ends, u takes the last answer back.")
        elif row != shown:
            _show(labeling, row)
        shown = -1 if row is None else row
        try:
            said = input("> ").strip()
        except EOFError:
            print()
            return
        if said in ("q", "Q") or (row is None and not said):
            return
        if said in ("u", "U"):
            undone = labeling.undo()
            print("nothing to take back" if undone is None else "taken back")
            row = row if undone is None else undone
        elif row is not None:
            row = _answered(labeling, row, said)


def _answered(labeling: Labeling, row: int, said: str) -> int | None:
    """Label a row, or skip it; the row that is asked for next, None if all are labeled."""
    file = labeling.file
    if not said:
        following = labeling.next_open(row)
        if following == row:
            print("this is the only one left; q ends")
        return following
    try:
        name = _meant(said, labeling.classes)
        labeling.answer(row, name)
    except ValueError as error:
        print(error)
        return row
    print(f"{name} ({len(file) - len(file.open_rows()):,} of {len(file):,})", flush=True)
    return labeling.next_open(row)


def _ask_for_classes() -> list[str]:
    from .labeling import class_names

    while True:
        try:
            names = class_names(input("Names of the classes, with commas between them: "))
        except ValueError as error:
            print(error)
        except EOFError:
            return []
        else:
            if names:
                return names


def _meant(said: str, classes: list[str]) -> str:
    """The class that an answer means.

    Raises:
        ValueError: if it is none; the message lists them.

    Example:
        >>> _meant("2", ["cat", "dog"]), _meant("cat", ["cat", "dog"]), _meant("+bird", ["cat"])
        ('dog', 'cat', 'bird')
    """
    if said.startswith("+"):
        return said[1:]
    if said in classes:
        return said
    if said.isdecimal() and 1 <= int(said) <= len(classes):
        return classes[int(said) - 1]
    alike = [name for name in classes if name.casefold() == said.casefold()]
    if len(alike) == 1:
        return alike[0]
    raise ValueError(f"no class is called {said!r}; +{said} adds it, the classes are {', '.join(classes) or 'none'}")


def _show(labeling: Labeling, row: int) -> None:
    file = labeling.file
    print(f"\n[{row + 1:,} of {len(file):,}]")
    if file.modality == "text":
        for text in file.shown(row):
            print("\n".join(printable(line, _SHOWN) for line in text[:_SHOWN].splitlines() or [""]))
    else:
        path = file.file_of(row)
        print(printable(str(path), _SHOWN) + ("" if Path(path).is_file() else "  (there is no such file)"))
    print("  ".join(f"{number} {printable(name)}" for number, name in enumerate(labeling.classes, start=1)))
