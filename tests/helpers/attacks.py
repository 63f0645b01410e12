"""Attacks on a process that writes files: it is killed, or the disk is full, at its n-th step."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import TrainerState

from hf_ssl.training import checkpoint_files

# What Python tells its audit hooks, as far as it changes a folder; `os.replace` is told as a renaming.
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
# What torch and safetensors, which open their files without Python, say of a full disk.
FULL = {
    "torch": RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 8512 vs 8406"),
    "safetensors": SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
}


class Steps:
    """Counts the steps that change files, in a child process, and attacks at one of them.

    Args:
        attack: called with the name of the step, and with the file that has just been written, if there is one.
    """

    def __init__(self, attack: Callable[[str, Path | None], None]):
        self.attack, self.at, self.count = attack, 0, 0
        sys.addaudithook(self._hear)
        for owner, name in ((torch, "save"), (checkpoint_files, "save_file"), (TrainerState, "save_to_json")):
            setattr(owner, name, self._counted(getattr(owner, name), name))

    def begin(self, at: int) -> None:
        """Attack at this step, counted from 1."""
        self.at, self.count = at, 0

    def _step(self, name: str, file: Path | None = None) -> None:
        self.count += 1
        if self.count == self.at:
            self.attack(name, file)

    def _hear(self, event: str, given: tuple) -> None:
        if event in CHANGES or (event == "open" and isinstance(given[2], int) and given[2] & WRITING):
            self._step(event)

    def _counted(self, write: Callable, name: str) -> Callable:
        def counted(*args, **kwargs):
            write(*args, **kwargs)
            self._step(name, Path(args[1]))

        return counted


def kill(step: str, file: Path | None) -> None:
    """End the process as `kill -9` does; the file that has just been written is left half written."""
    if file is not None:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    os.kill(os.getpid(), signal.SIGKILL)


def fill_disk(step: str, file: Path | None) -> None:
    """Raise what is raised if the disk is full, in the words of who writes; deleting needs no room."""
    if step in ("save", "save_file"):
        raise FULL["torch" if step == "save" else "safetensors"]
    if step not in ("os.remove", "os.rmdir"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
