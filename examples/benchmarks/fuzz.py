"""Gives damaged and hostile files to `predict`, `train`, `evaluate` and `benchmark build`, and looks what they do.

    python examples/benchmarks/fuzz.py --times 2000 --output fuzz.json
    python examples/benchmarks/fuzz.py --only 17 --keep here

Each number from 0 on stands for one file: a valid one (image, recording, table, recipe, file of a model, raw data of a
benchmark), damaged in a way that the number decides on: flipped bits, a missing end, parts of another file, huge
numbers in headers, deep nesting, repeated blocks, an empty file, random bytes, bombs, a pipe instead of a file. The
command runs in a process of its own, forked from one that has imported everything. It has to end

- within 20 s of processor time (60 s by the clock) and 2 GB of memory,
- with status 0, or with status 2 and one line `hf-ssl: error: ...` of printable characters,
- without a traceback, and without half-written or temporary files,
- in `predict`, with an answer for the valid file beside a damaged image or recording.

Prints how many files of each kind did so with each command, then every failure with its number. `--only` makes the
files of some numbers again, and `--keep` leaves them in a folder. The exit status is 1 if there was a failure. No
pictures are drawn, which would take half the time of a training.
"""

import argparse
import csv
import dataclasses
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from forked import Child, Outcome, import_all, set_environment

if TYPE_CHECKING:
    from fuzz_seeds import Seed

# Bytes of a file, or what makes something else than a file of a path.
Content = bytes | Callable[[Path], None]
COMMANDS = ("predict", "evaluate", "train", "build")
SECONDS, MEGABYTES = 20, 2_000
# Kind of file -> how often each command gets it.
SHARES = {
    "image": {"predict": 3, "evaluate": 1, "train": 1},
    "recording": {"predict": 3, "evaluate": 1, "train": 1},
    "table": {"predict": 2, "evaluate": 2, "train": 1},
    "recipe": {"train": 2},
    "model": {"predict": 2, "evaluate": 1, "train": 1},
    "raw data": {"build": 5},
}
TRAINING = [
    *("--algorithm", "fixmatch", "--max-steps", "1", "--per-device-train-batch-size", "2", "--save-strategy", "no"),
    *("--eval-strategy", "no", "--dataloader-num-workers", "0", "--duplicate-check-seconds", "0"),
    *("--use-cpu", "true", "--disable-tqdm", "true", "--report-to", "none"),
]
# Of how many files one is no file, but a pipe or the like.
_NOT_A_FILE = 40
# Words of an attempt to take more memory than there is.
_MEMORY = ("MemoryError", "Unable to allocate", "Cannot allocate memory", "can't allocate memory", "bad_alloc")


@dataclasses.dataclass
class Case:
    """A damaged file and what became of it.

    Args:
        number: stands for it.
        kind, file: of the valid file.
        command, damage: what it was given to, and what had been done to it.
        status, seconds, peak_mb: of the process; seconds are those of the processor.
        error: the line of the refusal.
        faults: what should not have happened.
    """

    number: int
    kind: str
    file: str
    command: str
    damage: str
    status: int = 0
    seconds: float = 0.0
    peak_mb: float = 0.0
    error: str = ""
    faults: list[str] = dataclasses.field(default_factory=list)


class Fuzzer:
    """Valid files, models, and the commands that get them once they are damaged."""

    def __init__(self, folder: Path, seed: int):
        self.folder, self.seed = folder, seed

    def build(self) -> None:
        """Write models and valid files; import what the commands need."""
        from fuzz_seeds import make_seeds
        from tiny_inputs import image_bytes, sound_bytes, write_models, write_tables

        self.models = write_models(self.folder, ("text", "image", "audio"))
        self.tables = write_tables(self.folder / "tables", 6, 12, 6)
        self.good = {"image": ("good.png", image_bytes("PNG", 1)), "audio": ("good.wav", sound_bytes("WAV", 1))}
        self.seeds = make_seeds(self.folder / "seeds", self.models)
        # Shares are those of a kind: its seeds take turns.
        self.places = {kind: [seed for seed in self.seeds if seed.kind == kind] for kind in SHARES}
        self.turns = [
            (kind, command) for kind, shares in SHARES.items() for command in shares for _ in range(shares[command])
        ]
        examples = []
        for place, (kind, command) in enumerate(dict.fromkeys(self.turns)):
            for seed in {seed.modality: seed for seed in self.places[kind][:9]}.values():
                room = self.folder / f"example{place}{seed.modality}"
                examples.append(self.lay_out(seed, seed.data, command, room, np.random.default_rng(0)))
        import_all(examples, self.folder, pictures=False)

    def draw(self, number: int) -> "tuple[Case, Seed, Content, np.random.Generator]":
        """What a number stands for: the case, the seed, its damaged bytes (or what makes something else of it)."""
        from fuzz_mutations import NOT_FILES, mutate

        rng = np.random.default_rng((self.seed, number))
        kind, command = self.turns[number % len(self.turns)]
        seeds = self.places[kind]
        seed = seeds[rng.integers(len(seeds))]
        if rng.integers(_NOT_A_FILE) == 0:
            damage = list(NOT_FILES)[rng.integers(len(NOT_FILES))]
            return Case(number, seed.kind, seed.file, command, damage), seed, NOT_FILES[damage], rng
        others = [other.data for other in (seeds if rng.random() < 0.7 else self.seeds)]
        damage, data = mutate(seed.data, Path(seed.file).suffix, rng, others)
        return Case(number, seed.kind, seed.file, command, damage), seed, data, rng

    def lay_out(self, seed: "Seed", content: Content, command: str, room: Path, rng: np.random.Generator) -> list[str]:
        """Write the damaged file and what it needs beside it into `room`; the command line, after `hf-ssl`."""
        room.mkdir(parents=True)
        if seed.kind == "raw data":
            shutil.copytree(seed.folder, room / "raw", copy_function=os.link)
            _write(room / "raw" / seed.file, content)
            return [
                "benchmark",
                "build",
                seed.modality,
                "--source",
                str(room / "raw"),
                "--output",
                str(room / "built"),
            ]
        if seed.kind == "model":
            shutil.copytree(seed.folder, room / "model", copy_function=os.link)
            _write(room / "model" / seed.file, content)
            return self._with_model(seed.modality, str(room / "model"), command, room, rng)
        if seed.kind == "recipe":
            _write(room / seed.file, content)
            return [*self._train("text", self.models["text"], room), "--config", str(room / seed.file)]
        if seed.kind == "table":
            _write(room / seed.file, content)
            return self._with_table(seed.modality, str(room / seed.file), command, room, rng)
        return self._with_file(seed, content, command, room, rng)

    def _with_file(
        self, seed: "Seed", content: Content, command: str, room: Path, rng: np.random.Generator
    ) -> list[str]:
        model = self.models[seed.modality]
        name, good = self.good[seed.modality]
        if command == "predict":
            _write(room / seed.file, content)
            _write(room / name, good)
            return ["predict", model, str(room / seed.file), str(room / name), "--output", str(room / "out.csv")]
        data = self._folders(seed.modality, room)
        chosen = "test" if command == "evaluate" else str(rng.choice(["labeled", "unlabeled", "test"]))
        place = Path(data[chosen])
        _write(place / seed.file if chosen == "unlabeled" else place / "red" / seed.file, content)
        if command == "evaluate":
            return ["evaluate", model, data["test"], "--output-dir", str(room / "out")]
        return self._train(seed.modality, model, room, **data)

    def _with_table(self, modality: str, table: str, command: str, room: Path, rng: np.random.Generator) -> list[str]:
        if command == "predict":
            return ["predict", self.models[modality], table, "--output", str(room / "out.csv")]
        if command == "evaluate":
            return ["evaluate", self.models[modality], table, "--output-dir", str(room / "out")]
        chosen = str(rng.choice(["labeled", "unlabeled", "test"]))
        data = {} if modality == "text" else dict.fromkeys(("labeled", "unlabeled", "test"), table)
        return self._train(modality, self.models[modality], room, **{**data, chosen: table})

    def _with_model(self, modality: str, model: str, command: str, room: Path, rng: np.random.Generator) -> list[str]:
        data = {} if modality == "text" else self._folders(modality, room)
        if command == "train":
            return self._train(modality, model, room, **data)
        test = data.get("test", self.tables["test"])
        if command == "predict":
            return ["predict", model, test, "--output", str(room / "out.csv")]
        return ["evaluate", model, test, "--output-dir", str(room / "out")]

    def _folders(self, modality: str, room: Path) -> dict[str, str]:
        name, good = self.good[modality]
        for split in ("labeled", "test"):
            for label in ("red", "green", "blue"):
                _write(room / split / label / name, good)
        for place in range(4):
            _write(room / "unlabeled" / f"{place}{name}", good)
        return {split: str(room / split) for split in ("labeled", "unlabeled", "test")}

    def _train(self, modality: str, model: str, room: Path, **data: str) -> list[str]:
        usual = {"labeled": self.tables["labeled"], "unlabeled": self.tables["pool"], "test": self.tables["test"]}
        words = [word for name, place in {**usual, **data}.items() for word in (f"--{name}", place)]
        return ["train", "--model", model, *words, *TRAINING, "--output-dir", str(room / "out")]

    def run(self, number: int) -> Case:
        """Make the file that a number stands for, give it to its command, and look what happens."""
        case, seed, content, rng = self.draw(number)
        room = self.folder / "rooms" / str(number)
        words = self.lay_out(seed, content, case.command, room, rng)
        before = set(room.rglob("*"))
        with Child(words, self.folder / "printed" / str(number), limit_mb=MEGABYTES) as child:
            outcome = child.finish(SECONDS)
        case.status, case.seconds, case.peak_mb = outcome.status, round(outcome.cpu_seconds, 2), round(outcome.peak_mb)
        case.error = outcome.error[:300]
        case.faults = faults(outcome) + _left(set(room.rglob("*")) - before)
        # A link to nothing does not exist, and a folder may be empty: as for a misspelled name, nothing is classified.
        is_there = (room / seed.file).exists() and not (room / seed.file).is_dir()
        if seed.kind in ("image", "recording") and case.command == "predict" and is_there:
            case.faults += _unanswered(room / "out.csv", self.good[seed.modality][0])
        return case


def _write(path: Path, content: Content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)


# ---- What should not happen ----


def faults(outcome: Outcome) -> list[str]:
    """What is wrong with how a command ended."""
    if outcome.stopped:
        return [f"longer than {SECONDS} s" if outcome.stopped == "time" else f"more than {MEGABYTES:,} MB"]
    found = []
    if outcome.has_traceback:
        found.append(f"traceback: {_last_line(outcome.errors)}")
    elif outcome.status < 0:
        found.append(f"ended by {signal.Signals(-outcome.status).name}")
    elif outcome.status not in (0, 2):
        found.append(f"status {outcome.status}: {_last_line(outcome.errors)}")
    elif outcome.status == 2 and not outcome.error:
        found.append(f"no single line of error: {_last_line(outcome.errors)}")
    if any(words in outcome.errors or words in outcome.output for words in _MEMORY):
        found.append(f"tried to take more than {MEGABYTES:,} MB")
    if len(outcome.error) > 1_000:
        found.append(f"the error has {len(outcome.error):,} characters")
    if not outcome.error.isprintable():
        found.append(f"the error is not printable: {outcome.error!a:.200}")
    return found


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else "nothing was said"


def _left(paths: set[Path]) -> list[str]:
    """Temporary files among those that a command has left."""
    marks = (".tmp", "incomplete", "partial", ".part")
    return [f"left behind: {path.name}" for path in sorted(paths) if any(mark in path.name for mark in marks)]


def _unanswered(table: Path, name: str) -> list[str]:
    """What is wrong with the row of the valid file."""
    if not table.is_file():
        return [f"no answer for {name} beside it"]
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if Path(row["input"]).name == name]
    return [] if len(rows) == 1 and rows[0]["label"] and not rows[0]["error"] else [f"no answer for {name} beside it"]


# ---- The whole ----


def shown(cases: list[Case]) -> str:
    """The tables: counts for each kind of file and command."""
    from hf_ssl.report.tables import table

    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.kind, case.command), []).append(case)
    rows = []
    for (kind, command), group in sorted(groups.items(), key=lambda item: list(SHARES).index(item[0][0])):
        ended = Counter("failed" if case.faults else "done" if case.status == 0 else "refused" for case in group)
        rows.append([kind, command, str(len(group)), *(str(ended[name]) for name in ("done", "refused", "failed"))])
        rows[-1] += [f"{max(case.seconds for case in group):.1f}", f"{max(case.peak_mb for case in group):,.0f}"]
    header = ["file", "command", "files", "done", "refused", "failed", "CPU s at most", "MB at most"]
    return table(header, rows)


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200, help="how many files")
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="make the files of these numbers")
    parser.add_argument("--kinds", nargs="+", choices=list(SHARES), default=list(SHARES), help="leave other kinds out")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS), help="leave others out")
    parser.add_argument("--seed", type=int, default=0, help="another one makes other files of the same numbers")
    parser.add_argument("--keep", type=Path, help="new folder to leave the files in")
    parser.add_argument("--output", type=Path, help="write what became of each file to this file as JSON")
    return parser


def main() -> int:
    args = make_parser().parse_args()
    if args.keep and args.keep.exists():
        raise SystemExit(f"--keep must be a new folder, got {args.keep}")
    began, cases = time.perf_counter(), []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        set_environment(Path(folder, "cache"))
        fuzzer = Fuzzer(args.keep or Path(folder), args.seed)
        try:
            fuzzer.build()
            for number in args.only or range(args.first, args.first + args.times):
                kind, command = fuzzer.turns[number % len(fuzzer.turns)]
                if kind not in args.kinds or command not in args.commands:
                    continue
                cases.append(fuzzer.run(number))
                print(f"{number} {kind}", end="      \r", file=sys.stderr, flush=True)
                if not args.keep:
                    shutil.rmtree(fuzzer.folder / "rooms" / str(number), ignore_errors=True)
        except KeyboardInterrupt:
            print("interrupted: what was done until then")
    print(shown(cases))
    failed = [case for case in cases if case.faults]
    for case in failed:
        print(f"\n{case.number}: {case.command}, {case.kind} {case.file}, {case.damage}: {'; '.join(case.faults)}")
    print(f"\n{len(failed)} of {len(cases)} failed; {time.perf_counter() - began:.0f} s, seed {args.seed}")
    if args.output:
        content = {"seed": args.seed, "cases": [dataclasses.asdict(case) for case in cases]}
        args.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
