"""Kills `hf-ssl train`, fills its disk, damages its checkpoints, and compares what `--resume` then makes of the run.

    python examples/benchmarks/chaos.py --times 100 --output chaos.json

A run of a tiny text classifier is trained once without a disturbance. Then it is trained again and again, attacked,
and resumed by the same command with `--resume`. One row of the table for each attack:

- SIGKILL, SIGTERM, SIGINT: at a random moment of the run, or just after the name of a checkpoint has appeared in the
  output folder, so that some come while it is written. Some resumed runs are killed again. With two processes the
  signal reaches one of them or both;
- flipped bits, cut files, mixed files: in each file of a checkpoint one random bit is changed, its end is missing, or
  it comes from another checkpoint. The function that chooses the checkpoint to resume from has to refuse it;
- full disk: the output folder is on a small disk (a tmpfs) that is full at a random moment; it is made larger then;
- read-only: the output folder cannot be written to from a random moment on, until it is resumed.

The columns: "bit for bit" counts resumed runs that end with the same files as the undisturbed one: weights, state and
pictures byte for byte, numbers in JSON files to the last digit, times excepted. "refused" counts those that end with
one line that names the file or folder. Everything else is "lost". The exit status is 1 if anything was lost, if a
killed run was refused, or if something is listed as a problem, such as a traceback.

Processes are forked from one that has imported everything, which takes a tenth of the time. They are processes like
others, and so are the signals. `--fresh` starts new interpreters instead. Two processes find each other by the
variables that torchrun sets, and train together over gloo.
"""

import argparse
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from chaos_compare import differences
from forked import Child, Outcome, import_all, ranks, set_environment

SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}
ATTACKS = (*SIGNALS, "flips", "cuts", "mixed", "full-disk", "read-only")
# Runs that are attacked in turn; two processes train the first one.
RUNS = {
    "flexmatch": ["--algorithm", "flexmatch", "--ema-role", "both", "--save-total-limit", "2"],
    "baseline": ["--algorithm", "simmatch", "--baseline", "--save-total-limit", "1"],
    "auto": ["--algorithm", "auto", "--save-total-limit", "2"],
}
COMMON = [
    *("--max-steps", "12", "--save-steps", "3", "--eval-steps", "4", "--logging-steps", "2"),
    *("--per-device-train-batch-size", "4", "--dataloader-num-workers", "0", "--duplicate-check-seconds", "0"),
    *("--use-cpu", "true", "--disable-tqdm", "true", "--report-to", "none"),
]
# Longer than any of these runs takes, in seconds.
LIMIT = 300
# Seconds that several processes have to end after a signal.
_GRACE = 10.0


# ---- Runs of the command ----


@dataclasses.dataclass
class Row:
    """What became of an attack: a row of the table.

    Args:
        attack: in words.
        process: "forked" or "fresh", with the number of processes if there are several; "one" for damaged files.
        times: how often it was made.
        kills: signals that were sent, those at resumed runs included.
        same, refused, lost: what became of it.
        skipped: why it was not made; "" if it was.
    """

    attack: str
    process: str
    times: int = 0
    kills: int = 0
    same: int = 0
    refused: int = 0
    lost: int = 0
    skipped: str = ""


class Group:
    """The processes of one run of the command, which do not outlive the `with` block."""

    def __init__(self, words: list[str], folder: Path, processes: int, fresh: bool):
        self.words, self.folder, self.processes, self.fresh = words, folder, processes, fresh

    def __enter__(self) -> "Group":
        self._stack = ExitStack()
        children = [
            Child(self.words, self.folder / str(rank), environment=variables, fresh=self.fresh)
            for rank, variables in enumerate(ranks(self.processes))
        ]
        self.children = [self._stack.enter_context(child) for child in children]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def has_ended(self) -> bool:
        return all(child.has_ended for child in self.children)

    def hit(self, number: int, rng: np.random.Generator) -> None:
        """Send a signal to all processes, or to one; then end those that are left, as launchers do.

        One that waits for another inside torch does not see a signal until the other comes.
        """
        alone = len(self.children) > 1 and rng.random() < 0.5
        for child in [self.children[rng.integers(len(self.children))]] if alone else self.children:
            child.send(number)
        if len(self.children) > 1:
            end = time.monotonic() + (0.2 if alone else _GRACE)
            while not self.has_ended and time.monotonic() < end:
                time.sleep(0.01)
            for child in self.children:
                child.send(signal.SIGKILL)

    def finish(self) -> Outcome:
        """The end of all: that of the process that ended worst."""
        outcomes = [child.finish(LIMIT) for child in self.children]
        return max(outcomes, key=lambda outcome: (outcome.has_traceback, outcome.status != 0))


class Arena:
    """The model, the data, and undisturbed runs to compare with.

    Attributes:
        problems: what happened that should not, a line each.
    """

    def __init__(self, folder: Path, fresh: bool, seed: int):
        self.folder, self.fresh = folder, fresh
        self.rng = np.random.default_rng(seed)
        self.problems: list[str] = []
        self._number = 0
        self._references: dict[tuple[str, int], tuple[Path, float]] = {}

    def build(self) -> None:
        """Write the model and the tables; import what the command needs, unless interpreters are fresh."""
        from tiny_inputs import write_models, write_tables

        self.model, self.tables = write_models(self.folder, ("text",))["text"], write_tables(self.folder)
        if not self.fresh:
            import_all([self.words(run, 1, self.new_folder()) for run in RUNS], self.folder)

    def new_folder(self) -> Path:
        """A path that is not used yet."""
        self._number += 1
        return self.folder / f"run{self._number}"

    def words(self, run: str, processes: int, output: Path, resume: bool = False) -> list[str]:
        """The command line, after `hf-ssl`."""
        data = ["--labeled", self.tables["labeled"], "--unlabeled", self.tables["pool"], "--test", self.tables["test"]]
        words = ["train", "--model", self.model, *data, *RUNS[run], *COMMON, "--output-dir", str(output)]
        return words + ["--ddp-backend", "gloo"] * (processes > 1) + ["--resume"] * resume

    def group(self, run: str, processes: int, output: Path, resume: bool = False) -> Group:
        """The processes that run the command, to be started by `with`."""
        words = self.words(run, processes, output, resume)
        return Group(words, self.folder / "printed", processes, self.fresh)

    def reference(self, run: str, processes: int) -> tuple[Path, float]:
        """The folder of the undisturbed run, and the seconds that it took."""
        if (run, processes) not in self._references:
            output = self.new_folder()
            with self.group(run, processes, output) as group:
                outcome = group.finish()
            if outcome.status:
                raise SystemExit(f"the undisturbed run ended with status {outcome.status}:\n{outcome.errors[-3000:]}")
            self._references[run, processes] = output, outcome.seconds
        return self._references[run, processes]

    def resume(self, row: Row, run: str, processes: int, output: Path, story: str) -> None:
        """Resume a run that was attacked, to its end; count what becomes of it."""
        with self.group(run, processes, output, resume=True) as group:
            outcome = group.finish()
        if outcome.has_traceback:
            self.problems.append(f"{story}; resumed: a traceback, {outcome.errors.strip().splitlines()[-1]:.300}")
        if outcome.status == 0:
            differing = differences(self.reference(run, processes)[0], output)
            row.same += not differing
            row.lost += bool(differing)
            self.problems += [f"{story}; resumed: {'; '.join(differing)}"] * bool(differing)
        elif outcome.status == 2 and str(output) in outcome.error:
            row.refused += 1
            self.problems.append(f"{story}; refused: {outcome.error}")
        else:
            row.lost += 1
            self.problems.append(f"{story}; resumed: status {outcome.status}, {outcome.errors[-300:]!r}")
        shutil.rmtree(output, ignore_errors=True)


# ---- Signals ----


def attack_by_signal(arena: Arena, row: Row, name: str, run: str, processes: int, saving: bool) -> None:
    """Start a run, hit it, perhaps resume it and hit it again; then resume it to its end."""
    number, output = SIGNALS[name], arena.new_folder()
    _, seconds = arena.reference(run, processes)
    row.times += 1
    story = f"{row.attack}, {run}, {processes} process{'es' * (processes > 1)}"
    for sitting in range(3):
        with arena.group(run, processes, output, resume=sitting > 0) as group:
            wait = (
                _until_saving(arena.rng, output)
                if saving
                else _until(arena.rng.uniform(0.5 if arena.fresh else 0.05, 1) * seconds)
            )
            while not group.has_ended and not next(wait):
                time.sleep(0.001)
            is_hit = not group.has_ended
            if is_hit:
                group.hit(number, arena.rng)
            outcome = group.finish()
        row.kills += is_hit
        story += f"; hit after {outcome.seconds:.2f} s" if is_hit else f"; ended with status {outcome.status}"
        if is_hit and processes == 1:
            arena.problems += [f"{story}: {problem}" for problem in _badly_ended(number, outcome)]
        if not is_hit or arena.rng.random() < 0.6:
            break
    arena.resume(row, run, processes, output, story)


def _badly_ended(number: int, outcome: Outcome) -> list[str]:
    """What is wrong with the end of a process that got a signal."""
    expected = {-number, 128 + number, 0}
    found = [] if outcome.status in expected else [f"status {outcome.status}, {outcome.errors[-300:]!r}"]
    return found + ["a traceback"] * outcome.has_traceback


def _until(seconds: float) -> Iterator[bool]:
    """False until this time has passed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield False
    while True:
        yield True


def _until_saving(rng: np.random.Generator, output: Path) -> Iterator[bool]:
    """False until the name of one of the next checkpoints, or partial ones, has appeared, and a moment longer."""

    def names() -> set[str]:
        return {name for name in os.listdir(output) if "checkpoint" in name} if output.is_dir() else set()

    seen, left = names(), int(rng.integers(1, 5))
    while left > 0:
        found = names()
        left -= len(found - seen)
        seen |= found
        yield False
    yield from _until(rng.exponential(0.02))


# ---- Damaged checkpoints ----


def damage_checkpoint(arena: Arena, kind: str, times: int) -> Row:
    """Damage each file of a checkpoint in turn; who chooses the checkpoint to resume from has to refuse it by name."""
    row = Row({"flips": "flipped bits", "cuts": "cut files", "mixed": "mixed files"}[kind], "one")
    output = arena.new_folder()
    shutil.copytree(arena.reference("flexmatch", 1)[0], output)
    folder, other = output / "checkpoint-12", output / "checkpoint-9"
    shutil.move(other, other := arena.new_folder())
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole, elsewhere = path.read_bytes(), other / path.relative_to(folder)
        exchanged = elsewhere.read_bytes() if elsewhere.is_file() else whole
        problems: Counter[str] = Counter()
        for _ in range(times if kind != "mixed" else exchanged != whole):
            path.write_bytes(exchanged if kind == "mixed" else damaged(whole, kind, arena.rng))
            row.times += 1
            # Of a list of checksums that belongs to other files, the first of those is named.
            names = [path.name] if kind != "mixed" else [file.name for file in folder.iterdir()]
            problems[_problem(folder, output, names)] += 1
        path.write_bytes(whole)
        row.refused += problems.pop("", 0)
        row.lost += problems.total()
        arena.problems += [f"{row.attack}: {path.name}: {count} times {name}" for name, count in problems.items()]
    shutil.rmtree(output)
    return row


def damaged(whole: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """The bytes of a file with one bit flipped, or without their end."""
    place = int(rng.integers(len(whole)))
    if kind == "cuts":
        return whole[:place]
    return whole[:place] + bytes([whole[place] ^ 1 << int(rng.integers(8))]) + whole[place + 1 :]


def _problem(folder: Path, output: Path, names: list[str]) -> str:
    """What is wrong with how a damaged checkpoint was refused; "" if it was refused by one of the names."""
    from hf_ssl.training.checkpoint_files import choose_checkpoint

    try:
        choose_checkpoint(folder, output)
    except ValueError as error:
        return "" if any(name in str(error) for name in names) else f"refused without its name: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "accepted"


# ---- Disks ----


@contextmanager
def small_disk(folder: Path, size: int | None = None) -> Iterator[Callable[[str], bool]]:
    """A tmpfs at `folder`, of `size` bytes; gives a function that mounts it again with other options."""
    folder.mkdir(parents=True, exist_ok=True)
    options = "mode=0700" if size is None else f"mode=0700,size={size}"
    if not _mount("-t", "tmpfs", "-o", options, "tmpfs", str(folder)):
        raise PermissionError("mounting a tmpfs is not allowed here")
    try:
        yield lambda options: _mount("-o", f"remount,{options}", str(folder))
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def _mount(*words: str) -> bool:
    if shutil.which("mount") is None:
        return False
    return subprocess.run(["mount", *words], capture_output=True, check=False).returncode == 0


def attack_disk(arena: Arena, row: Row, run: str, kind: str) -> None:
    """Let the disk of a run be full, or become read-only, at a random moment; resume when it no longer is."""
    reference, seconds = arena.reference(run, 1)
    taken = sum(-(-path.stat().st_size // 4096) * 4096 if path.is_file() else 0 for path in reference.rglob("*"))
    share = arena.rng.uniform(0.1, 0.9)
    with small_disk(arena.new_folder(), int(share * taken) if kind == "full-disk" else None) as remount:
        output = arena.folder / f"run{arena._number}" / "run"
        with arena.group(run, 1, output) as group:
            wait = _until(share * seconds)
            # While a file is open for writing the disk cannot be made read-only: it is tried until it can.
            while kind == "read-only" and not group.has_ended and not (next(wait) and remount("ro")):
                time.sleep(0.001)
            outcome = group.finish()
        row.times += 1
        story = f"{row.attack}, {run}; {share:.0%} of {'its size' if kind == 'full-disk' else 'its time'}"
        if outcome.status != 0 and not (outcome.status == 2 and outcome.error and not outcome.has_traceback):
            last = outcome.errors.strip().splitlines()[-1:]
            arena.problems.append(f"{story}: status {outcome.status}, no single line of error; the last: {last}")
        remount("size=1g" if kind == "full-disk" else "rw")
        arena.resume(row, run, 1, output, story)


# ---- The whole ----


def run_all(arena: Arena, args: argparse.Namespace, rows: list[Row]) -> None:
    """All attacks; `rows` is what the table shows, also if this is interrupted."""
    kind = "fresh" if args.fresh else "forked"
    control = Row("undisturbed", kind)
    plans = [
        (Row(f"{SIGNALS[name].name}{', saving' * saving}", kind if count == 1 else f"{kind}, {count}"), name, saving)
        for count in args.processes
        for name in args.attacks
        if name in SIGNALS
        for saving in (False, True)
    ]
    rows += [control, *(row for row, *_ in plans)]
    for run in args.runs:
        control.times += 1
        arena.resume(control, run, 1, arena.new_folder(), f"undisturbed, {run}")
    for place in range(args.times if plans else 0):
        row, name, saving = plans[place % len(plans)]
        processes = int(row.process.partition(", ")[2] or 1)
        run = "flexmatch" if processes > 1 else args.runs[place // len(plans) % len(args.runs)]
        attack_by_signal(arena, row, name, run, processes, saving)
        print(f"{place + 1}/{args.times}", end="\r", file=sys.stderr, flush=True)
    for name in ("flips", "cuts", "mixed"):
        if name in args.attacks:
            rows.append(damage_checkpoint(arena, name, args.damages))
    for name in ("full-disk", "read-only"):
        if name in args.attacks:
            rows.append(Row(name.replace("-", " "), kind))
            for place in range(args.disks):
                try:
                    attack_disk(arena, rows[-1], args.runs[place % len(args.runs)], name)
                except PermissionError as error:
                    rows[-1].skipped = str(error)
                    break


def shown(rows: list[Row]) -> str:
    """The table."""
    from hf_ssl.report.tables import table

    header = ["attack", "processes", "times", "kills", "bit for bit", "refused", "lost"]
    cells = [
        [row.attack, row.process, *(f"{getattr(row, name)}" for name in ("times", "kills", "same", "refused", "lost"))]
        for row in rows
    ]
    skipped = [f"{row.attack}: skipped, {row.skipped}" for row in rows if row.skipped]
    return "\n".join([table(header, cells), *skipped])


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS), help="which attacks to make")
    parser.add_argument("--times", type=int, default=30, help="runs attacked by signals, shared out over the rows")
    parser.add_argument("--damages", type=int, default=20, help="damages of each file of a checkpoint")
    parser.add_argument("--disks", type=int, default=3, help="runs on a full disk, and as many on a read-only one")
    parser.add_argument("--runs", nargs="+", choices=list(RUNS), default=list(RUNS), help="runs attacked in turn")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="processes of a run, such as 1 2")
    parser.add_argument("--fresh", action="store_true", help="new interpreters instead of forked processes")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and of the damages")
    parser.add_argument("--output", type=Path, help="write the rows and the problems to this file as JSON")
    return parser


def main() -> int:
    args = make_parser().parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        set_environment(Path(folder, "cache"))
        arena, rows = Arena(Path(folder), args.fresh, args.seed), []
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            arena.build()
            run_all(arena, args, rows)
        except KeyboardInterrupt:
            arena.problems.append("interrupted: the last attack, and those after it, do not count")
    print(shown(rows))
    print("".join(f"\n- {problem}" for problem in arena.problems))
    print(f"\n{len(arena.problems)} problems, {time.perf_counter() - began:.0f} s, seed {args.seed}")
    if args.output:
        content = {"rows": [dataclasses.asdict(row) for row in rows], "problems": arena.problems, "seed": args.seed}
        args.output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return int(bool(arena.problems) or any(row.lost for row in rows))


if __name__ == "__main__":
    sys.exit(main())
