"""Files are written whole or not at all, and what the disk refuses is told in one line."""

import errno
import os

import pytest
from safetensors import SafetensorError

from hf_ssl.files import atomic_files, atomic_write, clear_storage_errors

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def content(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_file_of_the_user_that_is_named_like_a_temporary_one_stays(tmp_path):
    (tmp_path / "answers.tmp.csv").write_text("mine")
    with atomic_write(tmp_path / "answers.csv") as temporary:
        assert temporary.suffix == ".csv"
        temporary.write_text("new")
    assert content(tmp_path) == {"answers.tmp.csv": "mine", "answers.csv": "new"}


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt(), ValueError("wrong")])
def test_a_write_that_fails_leaves_the_old_file(error, tmp_path):
    (tmp_path / "a.json").write_text("old")
    with pytest.raises(type(error)), atomic_write(tmp_path / "a.json") as temporary:
        temporary.write_text("half")
        raise error
    assert content(tmp_path) == {"a.json": "old"}


@pytest.mark.parametrize("error", [None, FULL, KeyboardInterrupt()])
def test_the_files_of_a_folder_are_replaced_together_or_not_at_all(error, tmp_path):
    old = {"config.json": "old", "base/config.json": "old", "notes.txt": "mine"}
    new = {"config.json": "new", "base/config.json": "new", "model.bin": "new"}
    (tmp_path / "base").mkdir()
    for name, text in old.items():
        (tmp_path / name).write_text(text)
    # A process that was killed has left this.
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial" / "stale.json").write_text("half")
    try:
        with atomic_files(tmp_path) as folder:
            (folder / "base").mkdir()
            for name, text in new.items():
                (folder / name).write_text(text)
            if error is not None:
                raise error
    except (OSError, KeyboardInterrupt) as raised:
        assert type(raised) is type(error)
    assert content(tmp_path) == (old | new if error is None else old)
    assert not (tmp_path / ".partial").exists()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FULL, "x cannot be written: No space left on device; free some space or choose another folder"),
        (
            OSError(errno.EROFS, "Read-only", "x/y"),
            "x cannot be written: Read-only file system; make it writable or choose another folder",
        ),
        (
            PermissionError(errno.EACCES, "denied"),
            "x cannot be written: Permission denied; make it writable or choose another folder",
        ),
        (OSError(errno.EIO, "io"), "x cannot be written: Input/output error; check the disk or choose another folder"),
        (
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            "x cannot be written: No space left on device; free some space or choose another folder",
        ),
        (
            RuntimeError("basic_ios::clear: iostream error"),
            "x cannot be written: No space left on device; free some space or choose another folder",
        ),
        # What is no fault of the disk stays as it is.
        (FileNotFoundError(errno.ENOENT, "No such file", "y"), "[Errno 2] No such file: 'y'"),
        (RuntimeError("CUDA out of memory"), "CUDA out of memory"),
        (ValueError("wrong (os error 2)"), "wrong (os error 2)"),
    ],
)
def test_what_the_disk_refuses_is_one_line(error, line):
    with pytest.raises(Exception) as caught, clear_storage_errors("x"):
        raise error
    assert str(caught.value) == line
    assert isinstance(caught.value, OSError) == ("cannot be written" in line or isinstance(error, OSError))
    if "cannot be written" in line and isinstance(error, OSError):
        assert type(caught.value) is type(error) and caught.value.errno == error.errno
