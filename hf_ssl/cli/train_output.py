"""The output folder of `hf-ssl train`: what is written there, and what is said at the end."""

import dataclasses
import json
import shlex
import textwrap
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from ..config import SSLConfig
from ..hub.card_kinds import pipeline_options
from ..modality import MODALITIES
from ..problem_types import MULTI_LABEL
from ..published_settings import is_published_setting
from ..report.inspection.record import Predictions, reading_settings, write_sources
from ..report.plots import draw_curves
from ..report.results import write_results
from ..report.run import draw_run_recalls
from ..report.stages import stages_table
from ..report.tables import results_table
from ..trainer import SSLTrainer
from ..training.pool_changes import changes_of
from .output import drawn
from .places import public_place
from .train_resume import earlier_baselines
from .train_stages import Request

# Settings of TrainingArguments that are of interest even at their defaults.
_ALWAYS_SHOWN = (
    "seed",
    "learning_rate",
    "lr_scheduler_type",
    "weight_decay",
    "per_device_train_batch_size",
    "max_steps",
)


class Output:
    """What a run writes, gathered stage by stage.

    Args:
        request: what the trainings share.

    Attributes:
        folder: the output folder.
        runs: a row of `results.json` for each finished training.
        settings: keywords of SSLConfig that were used, for `results.json`.
        verdict: which of several stages was kept, and why; None without stages.
        predictions: what stages say of single examples, for `hf-ssl inspect`.
    """

    def __init__(self, request: Request):
        self.request = request
        self.folder = Path(request.settings["output_dir"])
        self.runs: list[dict[str, Any]] = []
        self._histories: dict[str, list[list[dict]]] = {}
        self._has_curves = False
        self.settings = dict(request.settings)
        self.verdict: str | None = None
        self.predictions = Predictions()
        arguments = request.arguments
        kept = arguments.baseline and arguments.resume
        self._baselines = earlier_baselines(self.folder, request.settings["seed"]) if kept else []

    def add(self, row: dict[str, Any], history: list[dict[str, Any]]) -> None:
        """Take in a finished training: its row of `results.json`, and its log."""
        self.runs.append(row)
        self._histories[row["algorithm"]] = [history]

    def write_results(self) -> None:
        """Write `results.json` with the trainings so far, and finished baselines that are yet to be read back."""
        request, done = self.request, {row["algorithm"] for row in self.runs}
        runs = self.runs + [row for row in self._baselines if row["algorithm"] not in done]
        settings = shown_settings(self.settings, request.config)
        settings |= {"labeled": request.data.name, "base_model": public_place(request.arguments.model), "model": "."}
        write_results(self.folder, runs, settings)

    def save(self, trainer: SSLTrainer) -> None:
        """Write model, state, curves, card and results, and push them if asked to; every process takes part."""
        # What is pushed is pushed once, when all of it is there.
        trainer.curves_drawn = True
        trainer.save_model(_internal_call=True)
        trainer.save_state()
        if not self.request.is_main:
            return
        row = next((row for row in self.runs if row.get("kept")), self.runs[-1])
        title = f"{self.request.data.name}: {row['num_labeled']:,} labeled, {row['num_unlabeled']:,} unlabeled"
        classes = len(self.request.data.summary.label_names)
        trained = any(history for histories in self._histories.values() for history in histories)
        self._has_curves = trained and drawn(
            self.folder / "curves.png", lambda path: draw_curves(path, self._histories, title, classes)
        )
        recalls = self.folder / "class_recalls.png"
        drawn(recalls, lambda path: draw_run_recalls(path.parent, trainer.run_facts()))
        trainer.create_model_card()
        self._write_record(trainer)
        self.write_results()
        if self.request.config.push_to_hub:
            trainer.push_to_hub()

    def _write_record(self, trainer: SSLTrainer) -> None:
        """What `hf-ssl inspect` needs to know; it stays on this machine."""
        data, request = self.request.data, self.request
        self.predictions.changes = changes_of(trainer)
        self.predictions.save(self.folder)
        sizes = {"labeled": data.labeled, "pool": data.unlabeled, "test": data.test}
        write_sources(
            self.folder,
            "train",
            dataclasses.asdict(request.arguments),
            settings=reading_settings(self.settings),
            sizes={name: len(rows) for name, rows in sizes.items() if rows is not None},
            classes=list(data.summary.label_names),
            repeat=request.command,
            verdict=self.verdict,
        )

    def closing(self) -> str:
        """The table of results, where they are, and how to use the model."""
        summary = self.request.data.summary
        kind, options = MODALITIES[summary.modality], pipeline_options(summary.problem_type, len(summary.label_names))
        lines = ["", results_table(self.runs), ""]
        if self.verdict is not None:
            lines = ["", stages_table(self.runs), "", textwrap.fill(self.verdict, 100), ""]
        if self.request.data.test is None:
            lines += [
                "Nothing was evaluated: give --test, or --test-fraction to set a part of the labeled examples aside.",
                "",
            ]
        if summary.problem_type == MULTI_LABEL and self.verdict is None:
            lines += [
                "Labels are predicted from a probability of 0.5 on: no label was held out to tune thresholds.",
                "",
            ]
        curves = ", curves.png" if self._has_curves else ""
        curves += ", class_recalls.png" if (self.folder / "class_recalls.png").is_file() else ""
        return "\n".join(
            [
                *lines,
                f"Written to {self.folder}: the model with its card (README.md), results.json{curves}.",
                f"See it:  hf-ssl inspect {shlex.quote(str(self.folder))}",
                f"Use it:  hf-ssl predict {shlex.quote(str(self.folder))} INPUT ...",
                "or:      from transformers import pipeline",
                f'         pipeline("{kind.pipeline}", "{self.folder}")("{kind.example}"{options})',
            ]
        )


def shown_settings(settings: dict[str, Any], config: SSLConfig) -> dict[str, Any]:
    """The settings for `results.json`: semi-supervised ones, and others that differ from their defaults.

    Args:
        settings: keywords of SSLConfig.
        config: the SSLConfig that they made.
    """
    inherited = {f.name for f in dataclasses.fields(TrainingArguments)}
    kept = {}
    for item in dataclasses.fields(SSLConfig):
        default = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
        ours = item.name not in inherited or item.name in _ALWAYS_SHOWN
        if item.init and is_published_setting(item.name) and (ours or settings.get(item.name, default) != default):
            kept[item.name] = settings.get(item.name, default)
    kept["algorithm_kwargs"] = config.algorithm_kwargs
    return json.loads(json.dumps(kept, default=str))
