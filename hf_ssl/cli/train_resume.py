"""How `hf-ssl train` begins: what may be replaced in its folder, where it goes on, whether anything is left to do."""

import dataclasses
import json
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerState, TrainingArguments

from ..features.encoding import from_first_process
from ..features.foreignness import FILE as FOREIGNNESS
from ..report.inspection.record import PREDICTIONS, SOURCES
from ..training.checkpoint_files import CONFIG, STATE, WEIGHTS, choose_checkpoint
from ..training.checkpoint_folders import checkpoints, clean_up, leftovers
from ..training.rounds import FOLDER as ROUNDS
from .train_doubts import LABEL_ERRORS, NEAR_DUPLICATES
from .train_options import STAGED
from .train_stages import BASELINES, Request, earlier_baseline

# What speaks of single examples: doubtful ones, the record for `hf-ssl inspect`, and its page.
_LOCAL = (LABEL_ERRORS, NEAR_DUPLICATES, SOURCES, PREDICTIONS, "inspect.html")
# What a run leaves in its folder beside checkpoints, even if it was interrupted before the first of them.
_LEFT_BY_RUNS = {"results.json", STATE, CONFIG, "baseline", "members", "runs", ROUNDS}


def prepare_folder(folder: Path, resume: bool, overwrite: bool) -> None:
    """Refuse to mix with an earlier run, or with other files, unless told to; delete an earlier run if told to.

    Raises:
        ValueError: if the folder holds something and neither flag says what is to happen with it.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = folder.joinpath("holiday.jpg").write_bytes(b"")
        >>> prepare_folder(folder, resume=False, overwrite=True)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: --overwrite replaces an earlier run, but ... holds files and no earlier run (no results.json); ...
    """
    present = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    if not present:
        return
    runs = bool(_LEFT_BY_RUNS.intersection(present) or checkpoints(folder) or leftovers(folder))
    if resume or overwrite:
        if not runs:
            option, does = ("--overwrite", "replaces") if overwrite else ("--resume", "continues")
            raise ValueError(
                f"{option} {does} an earlier run, but {folder} holds files and no earlier run (no results.json); "
                "choose another folder"
            )
    else:
        choice = (
            "--resume continues the run in it, --overwrite starts it from scratch" if runs else "choose another folder"
        )
        raise ValueError(f"--output-dir must be new or empty, but {folder} is not empty; {choice}")
    if overwrite:
        # The results first: with them a run that is killed from here on would seem to be finished.
        for name in (
            "results.json",
            STATE,
            "README.md",
            "curves.png",
            "class_recalls.png",
            FOREIGNNESS,
            *WEIGHTS,
            *_LOCAL,
        ):
            (folder / name).unlink(missing_ok=True)
        folders = (folder / name for name in ("baseline", "members", ROUNDS))
        for entry in (*checkpoints(folder), *leftovers(folder), *folders):
            shutil.rmtree(entry, ignore_errors=True)


@dataclass
class _Decision:
    """What the first of several processes has found, for all of them.

    Args:
        checkpoint: to start from; None to start from scratch.
        line: what is said of it.
        finished: whether nothing is left to do.
        refusal: why the run is refused; None if it is not.
    """

    checkpoint: str | None = None
    line: str = ""
    finished: bool = False
    refusal: str | None = None


def start(request: Request, given: Collection[str]) -> Request | None:
    """The request with the checkpoint that it starts from, and its folder ready; None if nothing is left to do.

    `--resume` is the newest complete checkpoint in `--output-dir`, or a start from scratch if none was written yet;
    `--resume_from_checkpoint` is the one that it names. Which one it is, is said in a line.

    Args:
        given: names of the settings that the user chose.

    Raises:
        ValueError: if the folder holds something and no option says what is to happen with it, if the named checkpoint
            is not complete, or if all there are damaged; the message names the file.
    """
    # One process looks and cleans up, and no other leaves before it knows what was found.
    found = from_first_process(_decide(request, given) if request.is_main else _Decision())
    if found.refusal is not None:
        # Said once.
        raise ValueError(found.refusal) if request.is_main else SystemExit(2)
    if found.line and request.is_main:
        print(found.line, flush=True)
    settings = {**request.settings, "resume_from_checkpoint": found.checkpoint}
    return None if found.finished else dataclasses.replace(request, settings=settings)


def _decide(request: Request, given: Collection[str]) -> _Decision:
    arguments, folder = request.arguments, Path(request.settings["output_dir"])
    named = request.settings["resume_from_checkpoint"]
    inside = bool(named) and Path(named).resolve().parent == folder.resolve()
    try:
        if inside and arguments.overwrite:
            raise ValueError(
                f"--overwrite deletes the earlier run, and with it the checkpoint to resume from, {named}; leave one "
                "of the two options out, or choose another --output-dir"
            )
        if _is_finished(request, given):
            done = f"The run in {folder} is finished: nothing left to do; --overwrite starts it again."
            return _Decision(line=done, finished=True)
        resumes = arguments.resume or inside
        if resumes:
            prepare_folder(folder, True, False)
        found = _chosen(request) if resumes or named else _Decision()
        if not resumes:
            # Last: a checkpoint elsewhere must be whole before anything is deleted here.
            prepare_folder(folder, False, arguments.overwrite)
        return found
    except (ValueError, OSError) as error:
        return _Decision(refusal=str(error))


def _chosen(request: Request) -> _Decision:
    """The checkpoint to start from."""
    folder, named = Path(request.settings["output_dir"]), request.settings["resume_from_checkpoint"]
    clean_up(folder)
    if not named and not checkpoints(folder):
        return _Decision(line=f"{folder} holds no checkpoint yet: starting from scratch.{_baseline_again(request)}")
    chosen = choose_checkpoint(named or True, folder)
    step = TrainerState.load_from_json(str(Path(chosen, STATE))).global_step
    return _Decision(chosen, f"Resuming from {chosen}, step {step:,}.")


def _baseline_again(request: Request) -> str:
    """What happens to a baseline that the earlier run began."""
    folder = Path(request.settings["output_dir"])
    if not request.arguments.baseline or not (folder / "baseline").is_dir():
        return ""
    if earlier_baselines(folder, request.settings["seed"]):
        return " The labeled-only baseline is finished and is not trained again."
    return " The labeled-only baseline keeps no checkpoints and is trained again, too."


def _is_finished(request: Request, given: Collection[str]) -> bool:
    """Whether the run that is to be resumed has done all that is asked for: every training and every file.

    `results.json` has the row of the last training only after everything else was written.

    Args:
        given: names of the settings that the user chose.
    """
    folder, named = Path(request.settings["output_dir"]), request.settings["resume_from_checkpoint"]
    newest = next(iter(checkpoints(folder)), None)
    from_the_end = newest is not None and Path(named or newest).resolve() == newest.resolve()
    if request.settings["push_to_hub"] or not (from_the_end if named else request.arguments.resume):
        return False
    return _has_everything(_read(folder), request.settings, bool({"max_steps", "num_train_epochs"} & set(given)))


def _has_everything(results: dict[str, Any], settings: dict[str, Any], length_is_given: bool) -> bool:
    """Whether the results are those of a whole run with these settings."""
    used, algorithm, most = results.get("settings", {}), settings["algorithm"], settings["max_steps"]
    if any(used.get(name) != settings[name] for name in ("algorithm", "imbalance", "imbalance_kwargs")):
        return False
    passes = used.get("num_train_epochs", TrainingArguments.num_train_epochs)
    if algorithm in STAGED:
        rows = [row for row in results["runs"] if row.get("seed") == settings["seed"]]
        steps = max((row.get("steps", 0) for row in rows), default=0)
        enough = steps >= most if most > 0 else passes == settings["num_train_epochs"]
        return any(row.get("kept") for row in rows) and (enough or not length_is_given)
    row = _row(results, algorithm, settings["seed"])
    if row is None or most > 0:
        return row is not None and row.get("steps", 0) >= most
    return used.get("max_steps") == most and passes == settings["num_train_epochs"]


def earlier_baselines(folder: Path, seed: int) -> list[dict[str, Any]]:
    """The rows of `results.json` of the labeled-only baselines that an earlier run finished with this seed."""
    found = (earlier_baseline(folder, name, seed) for name in BASELINES)
    return [baseline[0] for baseline in found if baseline is not None]


def _read(folder: Path) -> dict[str, Any]:
    """`results.json` of the earlier run; without rows if there is none that can be read."""
    try:
        found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        return found if isinstance(found["runs"], list) else {"runs": []}
    except (OSError, ValueError, KeyError, TypeError):
        return {"runs": []}


def _row(results: dict[str, Any], algorithm: str, seed: int) -> dict[str, Any] | None:
    rows = (row for row in results["runs"] if row.get("algorithm") == algorithm and row.get("seed") == seed)
    return next(rows, None)
