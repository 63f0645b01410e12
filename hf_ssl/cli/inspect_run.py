"""What RUN of `hf-ssl inspect` is, and what is known of it.

folder of `train`             sources.json says where the data are, predictions.safetensors what its stages said
folder of `quickstart`        the same; its data come with scikit-learn
folder of SSLTrainer          a model; the data are named by options, if at all
JSON file of a grid's cell    its task and draw say which data; no model was kept
"""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
from transformers import set_seed

from ..config import SSLConfig
from ..data.columns import DataSummary, inspect_data
from ..documents import read_json
from ..hub.upload import BASE_CONFIG
from ..model.loading import load_classifier, load_processor
from ..problem_types import IN_WORDS, MULTI_LABEL, REGRESSION
from ..report.inspection.parts import (
    Data,
    Part,
    add_answers,
    add_features,
    held_out_part,
    recorded_parts,
    sampled_parts,
)
from ..report.inspection.record import Predictions, read_sources
from ..report.inspection.subject import Subject
from .inspect_facts import doubtful_labels, histories_of, kept_method, summary_facts, with_kept
from .pretrained import trained_modality
from .push import find_model
from .screen import nothing_is_trained
from .train_data import load_train_data
from .train_options import TrainArguments

_NOT_SHOWN = {
    kind: f"the model is for {IN_WORDS[kind]}: results, curves and settings are shown; map, examples, confusion, "
    "calibration and doubtful labels are for one class per example"
    for kind in (MULTI_LABEL, REGRESSION)
}
_OPTIONS = ("labeled", "unlabeled", "test")
# What loading asks the settings of a training for.
_USUAL = {"input_column": None, "label_column": None, "text_pair_column": None, "algorithm": "supervised", "seed": 0}


def find_subject(place: Path, args: argparse.Namespace) -> Subject:
    """What is known of a run.

    Args:
        place: a folder, or the file of a grid's cell.
        args: options of the command.

    Raises:
        ValueError, OSError: in one line, if it is not a run, or the data that options name cannot be read.
    """
    if place.is_file():
        # Not at the top: only cells need the benchmark.
        from .inspect_cell import cell_subject

        return cell_subject(place, args.source, args.examples)
    return _Folder(place, args).subject()


class _Folder:
    """The folder of a run."""

    def __init__(self, place: Path, args: argparse.Namespace):
        self.place, self.args = place, args
        self.model = _model_of(place)
        self.sources = read_sources(self.model) or {}
        self.predictions = Predictions.load(self.model)
        self.results = self._results()
        self.method = kept_method(self.results, self.model)
        self.settings = _USUAL | self.sources.get("settings", {})
        self.config = SSLConfig(output_dir=str(self.model), report_to="none", **self.sources.get("settings", {}))

    def _results(self) -> dict[str, Any]:
        """`results.json` of the run, which may be above the folder of its model."""
        path = next(
            (each for each in (self.place, self.model, self.model.parent) if (each / "results.json").is_file()), None
        )
        found = {} if path is None else read_json(path / "results.json")
        return found if isinstance(found, dict) else {}

    def subject(self) -> Subject:
        """All that is known."""
        subject = Subject(
            title=self.place.resolve().name,
            results=self.results | {"runs": with_kept(self.results, self.method)},
            verdict=self.sources.get("verdict"),
            command=self.sources.get("repeat", ""),
            histories=histories_of(self.model, self.method),
            changes=self.predictions.changes,
        )
        kind = self._problem_type()
        if kind in _NOT_SHOWN:
            subject.notes.append(_NOT_SHOWN[kind])
        given = None if kind in _NOT_SHOWN else self._data(subject)
        if given:
            self._look(subject, *given)
        elif self.predictions.rows:
            subject.parts = self._recorded()
            subject.names = self.sources.get("classes", [])
        self._settle_methods(subject)
        subject.held_out = held_out_part(self.predictions)
        subject.label_errors = doubtful_labels(self.model, list(subject.names))
        summary_facts(subject, self.method, self._base_model())
        return subject

    def _problem_type(self) -> str | None:
        """What the model's configuration says; of an adapter that of its base model, with these classes."""
        path = next(
            (self.model / name for name in ("config.json", BASE_CONFIG) if (self.model / name).is_file()), None
        )
        return None if path is None else read_json(path).get("problem_type")

    def _recorded(self) -> dict[str, Part]:
        return recorded_parts(self.predictions, self.sources.get("sizes", {}), self.args.examples)

    def _base_model(self) -> str:
        """The model that training began with, without its folders."""
        return Path(str(self.results.get("settings", {}).get("base_model", ""))).name

    def _settle_methods(self, subject: Subject) -> None:
        """Those that have answered every part that is known, in the order they ran, the kept one last."""
        order = [row.get("algorithm") for row in self.results.get("runs", [])]
        answered = [set(part.probabilities) for part in subject.parts.values()]
        known = set.intersection(*answered) if answered else set()
        if known and self.method not in known:
            subject.notes.append("the kept model could not be asked, so no predictions are shown")
            known = set()
        others = sorted(known - {self.method}, key=lambda name: order.index(name) if name in order else len(order))
        subject.methods = [*others, *(known & {self.method})]

    # ---- Data ----

    def _data(self, subject: Subject) -> tuple[dict[str, datasets.Dataset], DataSummary] | None:
        """The datasets and what they contain; None, with a note, if they are not known, or not there any more."""
        named = {name: getattr(self.args, name) for name in _OPTIONS if getattr(self.args, name) is not None}
        if self.sources.get("command") == "quickstart":
            given = _digits(**self.sources["arguments"])
            return given, inspect_data(given["labeled"])
        if not self.sources and not named:
            subject.notes.append(
                "RUN does not say where its data are; --labeled, --unlabeled and --test name them, to see examples"
            )
            return None
        try:
            given, summary = self._load(named)
        except (ValueError, OSError) as error:
            if named:
                raise
            subject.notes.append(
                f"the data cannot be read any more ({_without_places(str(error))}); --labeled, --unlabeled and --test "
                "say where they are now"
            )
            return None
        sizes = self.sources.get("sizes", {})
        found = {part: len(rows) for part, rows in given.items()}
        if self.predictions.rows and found != sizes:
            subject.notes.append(f"the data have changed since: then {_counts(sizes)}, now {_counts(found)}")
            return None
        return given, summary

    def _load(self, named: Mapping[str, str]) -> tuple[dict[str, datasets.Dataset], DataSummary]:
        known = {item.name for item in dataclasses.fields(TrainArguments)}
        noted = {name: value for name, value in self.sources.get("arguments", {}).items() if name in known}
        arguments = TrainArguments(**{**noted, "model": str(self.model), **named})
        if self.args.source is not None:
            arguments.source = self.args.source
        if arguments.labeled is None and arguments.task is None:
            if arguments.test is None:
                raise ValueError("--labeled is missing, or --test: one of them says which classes there are")
            # The test set alone tells columns and classes.
            data = load_train_data(
                dataclasses.replace(arguments, labeled=arguments.test, test=None), self.settings, *self._kind()
            )
            given = {"pool": data.unlabeled, "test": data.labeled}
        else:
            data = load_train_data(arguments, self.settings, *self._kind())
            given = {"labeled": data.labeled, "pool": data.unlabeled, "test": data.test}
        return {part: rows for part, rows in given.items() if rows is not None}, data.summary

    def _kind(self) -> tuple[str, Any]:
        modality = trained_modality(str(self.model)).name
        return modality, load_processor(str(self.model), modality)

    # ---- Models ----

    def _look(self, subject: Subject, given: dict[str, datasets.Dataset], summary: DataSummary) -> None:
        """Features and answers of the examples."""
        subject.names, subject.modality = summary.label_names, summary.modality
        subject.columns = summary.input_columns
        if self.predictions.rows:
            subject.parts = self._recorded()
        else:
            subject.parts = sampled_parts(given, summary, self.args.examples)
        base = self.sources.get("arguments", {}).get("model")
        try:
            if self.predictions.rows and base:
                self._with(base, given, summary, subject)
                subject.of_pretrained = True
        except (ValueError, OSError) as error:
            subject.notes.append(f"the pretrained model cannot be loaded any more ({_without_places(str(error))})")
        try:
            self._with(None, given, summary, subject)
        except (ValueError, OSError) as error:
            subject.notes.append(f"the trained model cannot be used ({_without_places(str(error))})")

    def _with(
        self, base: str | None, given: dict[str, datasets.Dataset], summary: DataSummary, subject: Subject
    ) -> None:
        """Let a model look at the examples: the one that training began with, or (None) the trained one."""
        parts = subject.parts
        if base is None and all(
            self.method in part.probabilities and part.features is not None for part in parts.values()
        ):
            return
        place = str(self.model) if base is None else base
        processor = load_processor(place, summary.modality)
        # Weights that the pretrained model lacks are drawn as in training, so that its features are in the cache.
        set_seed(self.settings["seed"])
        with nothing_is_trained():
            model = load_classifier(place, summary, processor)
        data = Data.of(given, processor, model, self.config)
        if base is None:
            print(
                f"The model looks at {sum(len(part.positions) for part in parts.values()):,} examples, once.",
                flush=True,
            )
            add_answers(parts, data, model, self.method)
        else:
            add_features(parts, data, model)


def _model_of(place: Path) -> Path:
    """The folder of a run's model.

    Raises:
        ValueError: if there is none.
    """
    try:
        return find_model(place)
    except ValueError:
        raise ValueError(
            f"RUN must be a folder with a trained model, or the JSON file of a grid's cell, but {place} has no "
            "config.json; give the output folder of a finished training"
        ) from None


def _digits(labels_per_class: int, seed: int) -> dict[str, datasets.Dataset]:
    """The data of `hf-ssl quickstart`."""
    from .digits import draw_labeled, load_digits

    digits = load_digits()
    labeled = draw_labeled(digits["train"].with_format("numpy")["label"][:], labels_per_class, seed)
    return {"labeled": digits["train"].select(labeled), "pool": digits["train"], "test": digits["test"]}


def _counts(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{size:,} {part}" for part, size in sizes.items())


def _without_places(text: str) -> str:
    """An error for the page, which people pass on: paths keep their last name."""
    from ..benchmark.grid.cell_file import without_places

    return without_places(" ".join(text.split()))
