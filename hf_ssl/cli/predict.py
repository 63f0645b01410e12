"""`hf-ssl predict`: classes and their probabilities for files, folders and tables, through transformers.pipeline."""

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from ..data.columns import FILE_SUFFIXES, find_input, usual_label
from ..data.sources import DATA_FILES, MEDIA_NAMES, count, other_files, read_lines, read_table, walk
from ..modality import PIPELINES
from ..report.tables import table
from .pretrained import pipeline_task
from .quiet import quiet_datasets


@dataclass
class Item:
    """One input: where it comes from, its row there, and what the model is to classify.

    Args:
        name: the file; for a text in quotes, the text.
        row: position in a table or text file, from 0; None for a file of its own.
        value: a path or {"bytes", "path"} of an image or recording, a text, or a pair of texts.
    """

    name: str
    row: int | None
    value: Any


@dataclass
class Answer:
    """Probabilities by class, most probable first; or, where the input could not be read, the error."""

    probabilities: dict[str, float]
    error: str = ""


class Classifier:
    """A pipeline whose inputs may be broken.

    Args:
        model: folder or Hub id.
        batch_size: inputs in one call of the model.
        device: as torch names it; None takes the fastest.

    Raises:
        ValueError, OSError: if there is no such classifier.
    """

    def __init__(self, model: str, batch_size: int = 16, device: str | None = None):
        if batch_size < 1:
            raise ValueError(f"--batch-size must be at least 1, got {batch_size}")
        task = pipeline_task(model)
        from transformers import pipeline
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.modality = next(modality for modality, name in PIPELINES.items() if name == task)
        try:
            self.pipeline = pipeline(task, model=model, device=device)
        except RuntimeError as error:
            raise ValueError(f"{model} cannot be used on {device or 'this device'}: {error}") from None
        self.names = [self.pipeline.model.config.id2label[i] for i in range(self.pipeline.model.config.num_labels)]
        # Waveforms of different lengths would be padded, which changes the answers of models that take no mask.
        self.batch_size = 1 if self.modality == "audio" else batch_size

    def __call__(self, values: Sequence[Any]) -> Iterator[Answer]:
        """The answer to each value, in order."""
        errors: dict[int, str] = {}
        answers = iter(self.pipeline(self._decoded(values, errors), batch_size=self.batch_size, **self._options()))
        ready: list[Answer] = []
        for index in range(len(values)):
            # The pipeline reads a batch ahead, so that errors up to this one are known once the next answer is there.
            if index not in errors and not ready:
                answer = next(answers, None)
                if answer is not None:
                    ready.append(Answer({row["label"]: float(row["score"]) for row in answer}))
            yield Answer({}, errors[index]) if index in errors else ready.pop()

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"top_k": len(self.names)}
        if self.modality == "text":
            limit = self.pipeline.tokenizer.model_max_length
            options |= {"truncation": True, "max_length": limit if 0 < limit <= 1_000_000 else 512}
        return options

    def _decoded(self, values: Sequence[Any], errors: dict[int, str]) -> Iterator[Any]:
        decode = self._decoder()
        for index, value in enumerate(values):
            try:
                decoded = decode(value)
            except (ValueError, OSError) as error:
                errors[index] = " ".join(str(error).split())
                continue
            yield decoded

    def _decoder(self) -> Callable[[Any], Any]:
        if self.modality == "image":
            from ..views.image import decode_image

            return decode_image
        if self.modality == "audio":
            from ..views.audio import decode

            rate = self.pipeline.feature_extractor.sampling_rate
            return lambda value: decode(value, rate)
        return _as_text


def _as_text(value: Any) -> Any:
    texts = list(value) if isinstance(value, list | tuple) else [value]
    if any(not isinstance(text, str) or not text.strip() for text in texts):
        raise ValueError("there is no text")
    return texts[0] if len(texts) == 1 else {"text": texts[0], "text_pair": texts[1]}


def collect(inputs: Iterable[str], modality: str, columns: Sequence[str] | None) -> tuple[list[Item], list[str]]:
    """What the inputs name, in their order, and notes on what was left out.

    Raises:
        ValueError, FileNotFoundError: in one line, for an input that is not there or is of another modality.
    """
    items: list[Item] = []
    notes: list[str] = []
    suffixes = FILE_SUFFIXES.get(modality, ())
    for name in inputs:
        path = Path(name)
        suffix = path.suffix.lower()
        if path.is_dir():
            files = list(walk(path))
            usable = [file for file in files if file.suffix.lower() in suffixes]
            if not usable:
                wanted = MEDIA_NAMES.get(modality)
                what = (
                    f"holds no {wanted}"
                    if wanted
                    else "is a folder, and the model classifies texts: name its files instead"
                )
                raise ValueError(f"{path} {what}")
            items += [Item(str(file), None, str(file)) for file in usable]
            notes += other_files(path, len(files) - len(usable), modality)
        elif path.is_file() and suffix in DATA_FILES:
            items += _rows(path, modality, columns)
        elif path.is_file() and suffix == ".txt" and modality == "text":
            lines, blank = read_lines(path)
            items += [Item(name, row, line) for row, line in enumerate(lines)]
            if blank:
                notes.append(f"{path}: {count(blank, 'empty line')} left out")
        elif (
            path.is_file()
            and modality != "text"
            and suffix not in {".txt", *FILE_SUFFIXES["image"], *FILE_SUFFIXES["audio"]}
        ):
            # Whatever it is called: the decoder knows better.
            items.append(Item(name, None, name))
        elif path.is_file():
            if suffix not in suffixes:
                raise ValueError(
                    f"{path}: the model classifies {MEDIA_NAMES.get(modality, 'texts')}, which this is not"
                )
            items.append(Item(name, None, name))
        elif modality == "text" and any(letter.isspace() for letter in name.strip()):
            items.append(Item(name, None, name))
        else:
            raise FileNotFoundError(f"there is no file or folder {name}")
    return items, notes


def input_columns(
    dataset: datasets.Dataset,
    modality: str,
    given: Sequence[str] | None,
    what: str,
    label_column: str | None = None,
) -> list[str]:
    """The column of the input in a table, or the two of a pair of texts: given, or those that training would find.

    Raises:
        ValueError: if it does not exist or cannot be decided on; the message lists the columns.
    """
    listed = ", ".join(dataset.column_names)
    if given:
        missing = [name for name in given if name not in dataset.column_names]
        if missing:
            raise ValueError(f"{what} has no column {missing[0]!r}; its columns are {listed}")
        if len(given) > (2 if modality == "text" else 1):
            raise ValueError(
                f"--column was given {len(given)} times; {modality} inputs have {'two' if modality == 'text' else 'one'}"
            )
        return list(given)
    found = find_input(dataset, [modality], label_column=label_column or usual_label(dataset))
    if found is None:
        raise ValueError(f"{what}: no column of {modality} inputs was found among {listed}; name it with --column")
    return list(found[1])


def cells(dataset: datasets.Dataset, columns: Sequence[str]) -> list[Any]:
    """The values of the input column, undecoded; pairs where there are two."""
    for name in columns:
        feature = dataset.features[name]
        if isinstance(feature, datasets.Image | datasets.Audio) and feature.decode:
            dataset = dataset.cast_column(name, type(feature)(decode=False))
    values = [dataset[name][:] for name in columns]
    return values[0] if len(columns) == 1 else list(zip(*values, strict=True))


def _rows(path: Path, modality: str, columns: Sequence[str] | None) -> list[Item]:
    dataset = read_table(path)
    values = cells(dataset, input_columns(dataset, modality, columns, str(path)))
    return [Item(str(path), row, value) for row, value in enumerate(values)]


HEADER = ["input", "row", "label", "probability"]


def as_rows(items: Sequence[Item], answers: Sequence[Answer], top: int) -> tuple[list[str], list[list[str]]]:
    """Header and cells of the table: input, row, then label and probability `top` times, and the error."""
    header = [*HEADER, *(f"{name}_{k}" for k in range(2, top + 1) for name in HEADER[2:]), "error"]
    rows = []
    for item, answer in zip(items, answers, strict=True):
        best = [cell for label, p in list(answer.probabilities.items())[:top] for cell in (label, f"{p:.4f}")]
        best += [""] * (2 * top - len(best))
        rows.append([item.name, "" if item.row is None else str(item.row), *best, answer.error])
    return header, rows


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table, whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(rows)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def run(
    model: str,
    inputs: Sequence[str],
    output: str | None,
    top: int,
    columns: Sequence[str] | None,
    batch_size: int,
    device: str | None,
) -> None:
    """The whole command; errors are ValueError or OSError of one line."""
    if top < 1:
        raise ValueError(f"--top must be at least 1, got {top}")
    target = None if output is None else Path(output)
    if target is not None and (
        target.suffix.lower() != ".csv" or not target.absolute().parent.is_dir() or target.is_dir()
    ):
        raise ValueError(f"--output should be a .csv file in a folder that exists, got {output}")
    from tqdm.auto import tqdm

    quiet_datasets()
    classifier = Classifier(model, batch_size, device)
    top = min(top, len(classifier.names))
    items, notes = collect(inputs, classifier.modality, columns)
    if not items:
        raise ValueError("the inputs hold nothing to classify")
    answers = list(
        tqdm(classifier([item.value for item in items]), total=len(items), unit="input", disable=None, leave=False)
    )
    header, rows = as_rows(items, answers, top)
    broken = [(item, answer) for item, answer in zip(items, answers, strict=True) if answer.error]
    for note in notes:
        print(note)
    if target is None:
        shown = [name for i, name in enumerate(header) if any(row[i] for row in rows)]
        places = [header.index(name) for name in shown]
        print(table(shown, [[row[i] for i in places] for row in rows], left=True))
    else:
        write_csv(target, header, rows)
        counts = Counter(next(iter(answer.probabilities)) for answer in answers if not answer.error)
        print(table(["label", "inputs"], [[label, f"{number:,}"] for label, number in counts.most_common()]))
        print(f"\nWritten to {target}: {count(len(rows), 'row')}")
    if broken:
        print(f"{len(broken):,} of {len(items):,} inputs could not be read; the first: {broken[0][1].error}")
    if len(broken) == len(items):
        raise ValueError(f"none of the {count(len(items), 'input')} could be read")
