"""What an engine is: something that calls `run_cell` somewhere else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..cells import Cell


@dataclass(frozen=True)
class Work:
    """Where and with what cells run; nothing in it changes a result, and none of it is written to one.

    Args:
        results: folder of the results.
        scratch: folder of checkpoints of unfinished cells, one folder per cell, named by its key; None for
            `results/.work`. It must be on a disk that every worker sees if cells may move between machines.
        sources: task -> raw or built data (see `load_task`); "" is used for every other task. The Hub if neither.
        backbones: name of a backbone -> local folder, for those that are not on the Hub.
        data: task -> split -> place, for data of one's own.
        imports: Python files that are run before a cell is: they register models or algorithms.
        jobs: cells at a time; None lets the engine choose.
        cores: CPU cores (and torch threads) per cell.
        gpus: accelerators per cell; 0 for the CPU alone, and above 1 a cell runs through `accelerate launch`.
        memory_mb: most memory of a worker; one that passes it is stopped, and its cell failed. None: what there is.
        retries: how often a cell is started again whose worker died.
        seconds_per_cell: a cell that takes longer is stopped and failed; None for no limit.
        seconds_in_all: after this time no further cell is started; None for no limit.
        save_seconds: at least this long between two checkpoints of a cell; a cell that is over sooner has none.
        replace: whether a result with another key (of other settings or another version) at a cell's path is replaced;
            if not, the cell fails.
        report_to: trackers, as in `TrainingArguments`.
        project: name of the grid there.
    """

    results: Path
    scratch: Path | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    backbones: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    imports: tuple[str, ...] = ()
    jobs: int | None = None
    cores: int = 1
    gpus: int = 0
    memory_mb: float | None = None
    retries: int = 1
    seconds_per_cell: float | None = None
    seconds_in_all: float | None = None
    save_seconds: float = 60.0
    replace: bool = False
    report_to: tuple[str, ...] = ()
    project: str = "hf-ssl"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.results / ".work" if self.scratch is None else self.scratch

    def source_of(self, task: str) -> str | None:
        """Where the data of a task are; None for the Hub."""
        return self.sources.get(task, self.sources.get(""))


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Args:
        cell: which one.
        path: of its file; None if it failed.
        error: in one line; None if it did not fail.
        seconds: that it took here; 0.0 if its file was there already.
    """

    cell: Cell
    path: Path | None = None
    error: str | None = None
    seconds: float = 0.0


class Engine(Protocol):
    """Runs cells by calling `run_cell(cell, work)`, which does all else: resuming, skipping, writing, errors."""

    def run(self, cells: Sequence[Cell], work: Work) -> Iterator[Outcome]:
        """Run every cell once, and give the outcomes as they come.

        A failed cell is an outcome with an error, and does not stop the others. When the iterator is closed, or the
        process is interrupted, workers end; what they began is resumed the next time.

        Args:
            cells: those to run; one whose file is there is skipped by `run_cell`.
            work: where and with what.
        """
        ...
