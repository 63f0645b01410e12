"""What a demo Space shows of a model and its data."""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch

from ..audio_files import soundfile_library
from ..config import SSLConfig
from ..data.columns import usual_label
from ..data.labels import missing_labels
from ..data.sources import load_source
from ..features import FeatureBank
from ..files import is_local
from ..hub.demo.index import Part
from ..hub.demo.space import Demo
from ..modality import MODALITIES
from ..model.head import TwoHeads, find_head
from .classifier import Classifier, probabilities_of
from .evaluation_data import class_indices
from .inputs import cells, input_columns

# Examples of each part at most; letters, seconds and pixels of one that is shown; examples to try.
MOST, _LETTERS, _SECONDS, _PIXELS, _TRIES = 1000, 300, 3, 128, 6
# Of those to try: the model should get about what it was made for.
_TRIED_LETTERS, _TRIED_SECONDS, _TRIED_PIXELS = 1000, 10, 512


@dataclass
class _Reader:
    """Reads parts for one model."""

    classifier: Classifier
    args: argparse.Namespace
    head: torch.nn.Module
    notes: list[str] = field(default_factory=list)

    def read(self, source: str, role: str) -> tuple[Part, list[Any]]:
        """A part, and its undecoded values in the same order."""
        modality, column = self.classifier.modality, self.args.column
        label_column = self.args.label_column
        found = load_source(source, role, modality=modality, input_column=column, label_column=label_column)
        self.notes += found.notes
        dataset, classes = found.dataset, None
        if role == "labeled":
            dataset, classes = self._with_labels(dataset, source)
        rows = np.arange(len(dataset))
        if len(rows) > MOST:
            rows = np.sort(np.random.default_rng(0).choice(rows, MOST, replace=False))
        dataset = dataset.select(rows)
        names = input_columns(dataset, modality, [column] if column else None, source, label_column)
        features, head_features = self._encode(dataset.select_columns(names), names[0])
        readable = np.isfinite(features).all(axis=1)
        if not readable.any():
            raise ValueError(f"{source} must hold {modality} examples that can be read, got none; give other data")
        logits = self._logits(head_features[readable])
        predicted = probabilities_of(logits, self.classifier.pipeline.model.config).argmax(axis=1)
        values = [value for value, whole in zip(cells(dataset, names, modality), readable, strict=True) if whole]
        chosen = predicted if classes is None else classes[rows][readable]
        return Part(features[readable], chosen, self._shown(values)), values

    def _with_labels(self, dataset: datasets.Dataset, source: str) -> tuple[datasets.Dataset, np.ndarray]:
        """The rows with a label, and their positions among the model's classes."""
        column = self.args.label_column or usual_label(dataset)
        if column is None:
            raise ValueError(
                f"--labeled must have a column of labels, got {source} with the columns "
                f"{', '.join(dataset.column_names)}; name it with --label-column"
            )
        if column in dataset.column_names and (missing := missing_labels(dataset, column)).any():
            dataset = dataset.select(np.flatnonzero(~missing))
        return dataset, np.asarray(class_indices(dataset, column, self.classifier.names), dtype=np.int64)

    def _encode(self, dataset: datasets.Dataset, column: str) -> tuple[np.ndarray, np.ndarray]:
        """Features that examples are compared by [N, D], and what the head reads [N, H]."""
        pipeline, modality = self.classifier.pipeline, self.classifier.modality
        processor = getattr(pipeline, MODALITIES[modality].processor_part)
        bank = FeatureBank.encode(
            pipeline.model,
            dataset,
            processor,
            args=SSLConfig(output_dir="demo", input_column=column, report_to="none", use_cpu=not _on_gpu(pipeline)),
            pooling="mean" if modality == "text" else "head",
            with_head=True,
            on_broken_file="skip",
        )
        assert bank.head_features is not None, "they were asked for"
        features = np.array(bank.features)
        if isinstance(self.head, TwoHeads):
            # The Space listens to one of the two.
            features = features[:, : self.head.widths[0]]
        return features, np.array(bank.head_features)

    @torch.no_grad()
    def _logits(self, head_features: np.ndarray) -> np.ndarray:
        place = next(self.head.parameters())
        return self.head(torch.from_numpy(head_features).to(place)).float().cpu().numpy()

    def _shown(self, values: list[Any]) -> list[str | bytes] | None:
        if not self.args.with_examples:
            return None
        small = _small(self.classifier, _LETTERS, _SECONDS, _PIXELS)
        return [small(value) for value in values]


def find_demo(args: argparse.Namespace, folder: Path) -> tuple[Demo, list[str]]:
    """What the Space of the command's arguments shows, and what a person should know, a sentence each.

    Args:
        args: of `hf-ssl demo`.
        folder: of the Space, from which a model on this machine is found.

    Raises:
        ValueError, OSError: in one line, for a model or dataset that cannot be used.
    """
    classifier = Classifier(args.model, device=args.device)
    model = classifier.pipeline.model
    if model.config.problem_type == "regression":
        raise ValueError(f"MODEL must distinguish classes, got {args.model}, which predicts numbers; give another one")
    head = find_head(model)
    reader = _Reader(classifier, args, head)
    found = {name: reader.read(source, role) for name, source, role in _sources(args)}
    parts = {name: part for name, (part, _) in found.items()}
    demo = Demo(
        model=os.path.relpath(args.model, folder) if is_local(args.model) else args.model,
        modality=classifier.modality,
        names=classifier.names,
        head=_name_of(head.heads[0] if isinstance(head, TwoHeads) else head, model),
        sigmoid=model.config.problem_type == "multi_label_classification" or model.config.num_labels == 1,
        parts=parts,
        tries=_tries(classifier, *list(found.values())[-1]) if args.with_examples else (),
        packages=_packages(model),
    )
    return demo, reader.notes


def _sources(args: argparse.Namespace) -> list[tuple[str, str, str]]:
    given = [("labeled", args.labeled, "labeled"), ("pool", args.pool, "unlabeled")]
    return [row for row in given if row[1] is not None]


def _on_gpu(pipeline: Any) -> bool:
    return pipeline.device.type != "cpu"


def _name_of(module: torch.nn.Module, model: torch.nn.Module) -> str:
    return next(name for name, found in model.named_modules() if found is module)


def _packages(model: Any) -> list[str]:
    """What a model needs beside the usual packages."""
    packages = []
    if getattr(model, "peft_config", None):
        packages.append("peft>=0.18")
    if model.config.model_type == "timm_wrapper":
        packages.append("timm>=1.0.20")
    return packages


def _tries(classifier: Classifier, part: Part, values: list[Any]) -> list[str | bytes]:
    """Examples to try the model with, of as many classes as there are among them."""
    _, first = np.unique(part.classes, return_index=True)
    others = [row for row in range(len(values)) if row not in set(first.tolist())]
    rows = [*sorted(first.tolist()), *others][:_TRIES]
    small = _small(classifier, _TRIED_LETTERS, _TRIED_SECONDS, _TRIED_PIXELS)
    return [small(values[row]) for row in rows]


# ---- Small copies of examples, without anything that is beside them in a file ----


def _small(classifier: Classifier, letters: int, seconds: int, pixels: int) -> Callable[[Any], str | bytes]:
    """What turns an undecoded value into a text, or the bytes of a JPEG or MP3 file."""
    if classifier.modality == "text":
        return lambda value: str(value) if len(str(value)) <= letters else f"{str(value)[: letters - 1].rstrip()}…"
    if classifier.modality == "image":
        return lambda value: _picture(value, pixels)
    return lambda value: _clip(value, classifier.pipeline.feature_extractor.sampling_rate, seconds)


def _picture(value: Any, pixels: int) -> bytes:
    from ..views.image import decode_image

    picture, file = decode_image(value), BytesIO()
    picture.thumbnail((pixels, pixels))
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()


def _clip(value: Any, rate: int, seconds: int) -> bytes:
    from ..views.audio import decode

    file = BytesIO()
    soundfile_library().write(file, decode(value, rate)[: rate * seconds], rate, format="MP3")
    return file.getvalue()
