"""A terminal of a given width, and what can be read on it in the end."""

import fcntl
import os
import pty
import struct
import termios
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest


@contextmanager
def terminal(columns=100, encoding="utf-8", term="xterm"):
    """Standard output and error are a terminal; the object that is given has all that was written to it, as `text`."""
    reader, writer = pty.openpty()
    attributes = termios.tcgetattr(writer)
    attributes[1] &= ~termios.OPOST  # a line break is written as it is
    termios.tcsetattr(writer, termios.TCSANOW, attributes)
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    found, chunks = SimpleNamespace(text=""), []

    def read():
        while True:
            try:
                chunk = os.read(reader, 65536)
            except OSError:  # the other end is closed
                return
            if not chunk:
                return
            chunks.append(chunk)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    stream = open(writer, "w", encoding=encoding, buffering=1)  # noqa: SIM115 - closed below, before the text is read
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdout", stream)
            patch.setattr("sys.stderr", stream)
            patch.setenv("TERM", term)
            patch.delenv("COLUMNS", raising=False)
            yield found
    finally:
        stream.close()
        thread.join(timeout=10)
        os.close(reader)
        found.text = b"".join(chunks).decode(encoding)


def screen(text):
    """The lines that are left on the screen; of what moves its cursor, only carriage returns and line breaks count.

    Example:
        >>> screen("10 %\\r20 %\\r    \\rdone\\n")
        ['done']
    """
    lines, row, column = [[]], 0, 0
    for letter in text:
        if letter == "\r":
            column = 0
        elif letter == "\n":
            row, column = row + 1, 0
            lines += [[]] * (row == len(lines))
        else:
            lines[row] += " " * (column - len(lines[row]))
            lines[row][column : column + 1] = [letter]
            column += 1
    shown = ["".join(line).rstrip() for line in lines]
    while shown and not shown[-1]:
        shown.pop()
    return shown
