"""How `hf-ssl train` goes on with an earlier run: from which checkpoint, and whether there is anything left to do."""

import dataclasses
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from transformers import TrainerState, TrainingArguments

from ..features.encoding import from_first_process
from ..training.checkpoint_files import STATE, choose_checkpoint
from ..training.checkpoint_folders import checkpoints, clean_up
from .train_options import STAGED
from .train_stages import Request


def continues_in_place(request: Request) -> bool:
    """Whether an earlier run in `--output-dir` is to be continued there.

    Raises:
        ValueError: if `--overwrite` would delete the checkpoint that is to be resumed from.
    """
    named = request.settings["resume_from_checkpoint"]
    inside = bool(named) and Path(named).resolve().parent == Path(request.settings["output_dir"]).resolve()
    if inside and request.arguments.overwrite:
        raise ValueError(
            f"--overwrite deletes the earlier run, and with it the checkpoint to resume from, {named}; leave one of "
            "the two options out, or choose another --output-dir"
        )
    return request.arguments.resume or inside


def with_checkpoint(request: Request) -> Request:
    """The request with the checkpoint that it starts from, which is said in a line.

    `--resume` is the newest complete checkpoint in `--output-dir`, or a start from scratch if none was written yet;
    `--resume_from_checkpoint` is the one that it names. All processes take the one that the first has found.

    Raises:
        ValueError: if the named checkpoint is not complete, or all there are damaged; the message names the file.
    """
    if not request.arguments.resume and not request.settings["resume_from_checkpoint"]:
        return request
    # The first process of several cleans up; what is then found is the same for all.
    found = from_first_process(_chosen(request) if request.is_main else None)
    chosen, line, refusal = found if found is not None else (None, "", None)
    if refusal is not None:
        # Said once.
        raise ValueError(refusal) if request.is_main else SystemExit(2)
    if request.is_main:
        print(line, flush=True)
    return dataclasses.replace(request, settings={**request.settings, "resume_from_checkpoint": chosen})


def _chosen(request: Request) -> tuple[str | None, str, str | None]:
    """The checkpoint to start from, the line that says so, and why it is refused if it is."""
    folder, named = Path(request.settings["output_dir"]), request.settings["resume_from_checkpoint"]
    clean_up(folder)
    if not named and not checkpoints(folder):
        return None, f"{folder} holds no checkpoint yet: starting from scratch.{_baseline_again(request)}", None
    try:
        chosen = choose_checkpoint(named or True, folder)
    except ValueError as error:
        return None, "", str(error)
    step = TrainerState.load_from_json(str(Path(chosen, STATE))).global_step
    return chosen, f"Resuming from {chosen}, step {step:,}.", None


def _baseline_again(request: Request) -> str:
    """What happens to a baseline that the earlier run began."""
    folder = Path(request.settings["output_dir"])
    if not request.arguments.baseline or not (folder / "baseline").is_dir():
        return ""
    if earlier_baseline(folder, request.settings["seed"]):
        return " The labeled-only baseline is finished and is not trained again."
    return " The labeled-only baseline keeps no checkpoints and is trained again, too."


def is_finished(request: Request, given: Collection[str]) -> bool:
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
    return _has_everything(_read(folder), request.settings, "max_steps" in given)


def _has_everything(results: dict[str, Any], settings: dict[str, Any], steps_are_given: bool) -> bool:
    """Whether the results are those of a whole run with these settings."""
    used, algorithm, most = results.get("settings", {}), settings["algorithm"], settings["max_steps"]
    if used.get("algorithm") != algorithm:
        return False
    if algorithm in STAGED:
        rows = [row for row in results["runs"] if row.get("seed") == settings["seed"]]
        steps = max((row.get("steps", 0) for row in rows), default=0)
        return any(row.get("kept") for row in rows) and (steps >= most or not steps_are_given)
    row = _row(results, algorithm, settings["seed"])
    if row is None or most > 0:
        return row is not None and row.get("steps", 0) >= most
    passes = used.get("num_train_epochs", TrainingArguments.num_train_epochs)
    return used.get("max_steps") == most and passes == settings["num_train_epochs"]


def earlier_baseline(folder: Path, seed: int) -> dict[str, Any] | None:
    """The row of `results.json` of a labeled-only baseline that an earlier run in `folder` finished with this seed."""
    return _row(_read(folder), "supervised", seed) if (folder / "baseline" / STATE).is_file() else None


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
