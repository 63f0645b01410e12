"""What the scripts of short trainings on stored features share: settings of a quiet run, options, standard errors."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

import datasets
import torch
from transformers.utils import logging

# Settings of `SSLConfig` for a run of seconds that saves and tells nothing.
QUIET: dict[str, Any] = {
    "eval_strategy": "no",
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "duplicate_check_seconds": 0,
    "dataloader_num_workers": 0,
    "logging_steps": 50,
    "per_device_eval_batch_size": 500,
    "use_cpu": True,
}


def be_quiet() -> None:
    """No bars, no warnings, and one thread: a run takes the same time beside others, its sums in the same order."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()


def add_commands(
    parser: argparse.ArgumentParser, results: Path, training: Sequence[str], reading: Sequence[str] = ("table",)
) -> dict[str, argparse.ArgumentParser]:
    """Add commands, which join the options as `command`: those that train, and those that read the results alone.

    Args:
        parser: of the script.
        results: the file that `--results` names by default.
        training, reading: names of commands.

    Returns:
        the parsers of the first, for further options.
    """
    commands = parser.add_subparsers(dest="command", required=True)
    added = {name: commands.add_parser(name) for name in (*training, *reading)}
    for command in added.values():
        command.add_argument("--results", type=Path, default=results)
    for name in training:
        added[name].add_argument("--cache", type=Path, default=Path("features"), help="folder of the features")
    return {name: added[name] for name in training}


def parsed_settings(given: Sequence[str]) -> dict[str, Any]:
    """Settings by name of words such as "max_steps=100", whose values are JSON.

    Example:
        >>> parsed_settings(["max_steps=100", "algorithm.threshold=0.9"])
        {'max_steps': 100, 'algorithm.threshold': 0.9}
    """
    return {name: json.loads(value) for name, _, value in (text.partition("=") for text in given)}


def standard_error(values: Sequence[float]) -> float:
    """Of the mean; 0 for a single value."""
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
