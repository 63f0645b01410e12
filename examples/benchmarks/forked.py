"""Commands of `hf-ssl` as real processes without the seconds of their imports; for `chaos.py` and `fuzz.py`.

A process that has imported torch, transformers and this package forks a child per command. The child leads a process
group of its own, handles signals as a program that was just started does, writes to files, and ends with the exit
status that the shell would see. With `fresh=True` it becomes a new interpreter instead, as a shell would start it.
"""

import gc
import importlib
import os
import resource
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Modules that commands import on their way: once they are here, no child imports them again.
_MODULES = (
    "hf_ssl.cli.classifier",
    "hf_ssl.cli.evaluation",
    "hf_ssl.cli.train_auto",
    "hf_ssl.benchmark.build",
    "torch.distributed",
)
# How often memory and time of a child are looked at, in seconds.
_TICK = 0.02


@dataclass
class Outcome:
    """What became of a command.

    Args:
        status: exit status, or minus the signal that ended it.
        output, errors: what it wrote to standard output and standard error.
        seconds: by the clock.
        cpu_seconds: of the processor.
        peak_mb: its largest resident memory, in units of 1,000,000 bytes.
        stopped: "time" or "memory" if it was killed because it exceeded a limit; else "".
    """

    status: int
    output: str
    errors: str
    seconds: float
    cpu_seconds: float
    peak_mb: float
    stopped: str = ""

    @property
    def has_traceback(self) -> bool:
        """Whether Python's words for an error that nobody has handled are among what it wrote."""
        return any("Traceback (most recent call last)" in text for text in (self.output, self.errors))

    @property
    def error(self) -> str:
        """The line with which `hf-ssl` refuses its input, as far as it was printed alone; else ""."""
        found = [line for line in self.errors.splitlines() if line.startswith("hf-ssl") and "error: " in line]
        return found[0] if len(found) == 1 else ""


def set_environment(home: Path) -> None:
    """Settings that are read when packages are imported: one thread, no network, caches in `home`. Call it first."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "HF_DATASETS_CACHE": str(home / "datasets")}
    os.environ |= {**threads, **offline, "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": ""}
    os.environ |= {"MPLBACKEND": "Agg", "MPLCONFIGDIR": str(home / "matplotlib"), "COLUMNS": "120"}


def import_all(examples: Sequence[Sequence[str]], folder: Path, pictures: bool = True) -> None:
    """Import what commands need.

    Args:
        examples: command lines, after `hf-ssl`, that come by most imports. They are run once, in children.
        folder: for what they print.
        pictures: whether the commands draw. If not, they do what they do where matplotlib is not installed.
    """
    if not pictures:
        sys.modules["matplotlib"] = None  # type: ignore[assignment]
    for name in _MODULES:
        importlib.import_module(name)
    for words in examples:
        with Child(words, folder / "imports", learn=True) as child:
            child.finish(120)
        for name in (folder / "imports" / "modules").read_text(encoding="utf-8").split():
            # Some modules make others with names of their own; those cannot be imported, and need not be.
            if name not in sys.modules and name != "__mp_main__":
                try:
                    importlib.import_module(name)
                except ImportError:
                    continue
    # Garbage collections of children would touch, and so copy, all the memory that they share with this process.
    gc.collect()
    gc.freeze()


class Child:
    """A command of `hf-ssl` in a process of its own, which does not outlive the `with` block.

    Args:
        words: after `hf-ssl`.
        folder: for its standard output and standard error; it is created.
        environment: variables that it has beside those of this process.
        limit_mb: memory that it may take, resident or by allocation; None: no limit.
        fresh: start a new interpreter.
        learn: whether it leaves the names of its modules in `folder`, at its end.
    """

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        *,
        environment: dict[str, str] | None = None,
        limit_mb: int | None = None,
        fresh: bool = False,
        learn: bool = False,
    ):
        self.folder, self.limit_mb = folder, limit_mb
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("out", "err"):
            (folder / name).write_bytes(b"")
        self._began = time.monotonic()
        self._stopped = ""
        self._ended: tuple[int, float, float, float] | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid:
            return
        status = 1
        try:
            self._become(environment or {}, fresh)
            if fresh:
                os.execv(sys.executable, [sys.executable, "-m", "hf_ssl.cli", *words])
            status = _run(words)
            if learn:
                (folder / "modules").write_text("\n".join(list(sys.modules)), encoding="utf-8")
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _become(self, environment: dict[str, str], fresh: bool) -> None:
        os.setsid()
        os.environ |= environment
        for number, name in ((1, "out"), (2, "err")):
            file = os.open(self.folder / name, os.O_WRONLY)
            os.dup2(file, number)
            os.close(file)
        # Whoever started the script may have put others here.
        sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.limit_mb is not None and not fresh:
            size = (_status_kb("VmData") + self.limit_mb * 1000) * 1024
            resource.setrlimit(resource.RLIMIT_DATA, (size, size))

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.send(signal.SIGKILL)
        self.wait()

    def send(self, number: int) -> None:
        """A signal to the process and those that it has started."""
        if self._ended is None:
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                # It has only just begun, or has ended.
                try:
                    os.kill(self.pid, number)
                except ProcessLookupError:
                    return

    @property
    def has_ended(self) -> bool:
        """Whether it is no longer running; does not wait."""
        return self._look(os.WNOHANG)

    def wait(self) -> None:
        """Wait for its end."""
        self._look(0)

    def _look(self, options: int) -> bool:
        if self._ended is None:
            pid, status, usage = os.wait4(self.pid, options)
            if pid:
                seconds = time.monotonic() - self._began
                unit = 1e6 if sys.platform == "darwin" else 1e3
                cpu_seconds = usage.ru_utime + usage.ru_stime
                self._ended = os.waitstatus_to_exitcode(status), seconds, cpu_seconds, usage.ru_maxrss / unit
        return self._ended is not None

    def finish(self, seconds: float) -> Outcome:
        """Wait for its end; a child that takes more processor time, or three times as long by the clock, is killed.

        The clock alone would say more about what else the machine does.
        """
        while not self.has_ended:
            if _cpu_seconds(self.pid) > seconds or time.monotonic() - self._began > 3 * seconds:
                self._stopped = "time"
            elif self.limit_mb is not None and _resident_mb(self.pid) > self.limit_mb:
                self._stopped = "memory"
            if self._stopped:
                self.send(signal.SIGKILL)
                self.wait()
            else:
                time.sleep(_TICK)
        assert self._ended is not None, "it has ended"
        texts = [(self.folder / name).read_text(encoding="utf-8", errors="replace") for name in ("out", "err")]
        return Outcome(self._ended[0], *texts, *self._ended[1:], self._stopped)


def _run(words: Sequence[str]) -> int:
    """The command as its entry point runs it; its exit status."""
    from hf_ssl.cli import main

    try:
        return main(list(words))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)


def _status_kb(name: str) -> int:
    """A number of kB from the status of this process; 0 where there is no /proc."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


def _resident_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * resource.getpagesize() / 1e6


def _cpu_seconds(pid: int) -> float:
    """Processor time of a running process; 0 where there is no /proc."""
    try:
        # Its name comes before, in parentheses, and may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ranks(processes: int) -> list[dict[str, str]]:
    """The variables that torchrun sets for each of several processes on this machine; none for one."""
    if processes == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "TORCHELASTIC_RUN_ID": "chaos"}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
