"""What frozen features say of the data before training: labels that look wrong, test examples that are labeled ones.

    label_errors.csv       labels that the other labels contradict
    near_duplicates.csv    test examples that are labeled ones or nearly so; labeled examples that are nearly the same
                           and have different labels

A line says how many there are; without any there is no line and no file. The files are for the owner of the run: they
hold paths and texts, and are never published.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.duplicates import digest
from ..data.rows import fetch_rows
from ..features.label_errors import find_label_errors
from ..features.near_duplicates import least_similarity, near_duplicates
from ..features.reading import Reading
from ..modality import MODALITIES
from ..report.spreadsheets import write_csv
from ..trainer import SSLTrainer

LABEL_ERRORS, NEAR_DUPLICATES = "label_errors.csv", "near_duplicates.csv"
# More labels than this are not looked at: it would take minutes, and one wrong label among them matters little.
_MOST = 20_000


def report_doubts(trainer: SSLTrainer, reading: Reading, folder: Path) -> None:
    """Print what looks wrong, a line each, and write the examples into the folder.

    Args:
        trainer: has the prepared datasets, and what they contain.
        reading: their features.
        folder: the output folder; made if it does not exist.

    Raises:
        OSError: in one line, if a file cannot be written.
    """
    for name in (LABEL_ERRORS, NEAR_DUPLICATES):
        # Of a run that is resumed.
        (folder / name).unlink(missing_ok=True)
    if (reading.labels >= 0).sum() > _MOST:
        return
    folder.mkdir(parents=True, exist_ok=True)
    doubts = _Doubts(trainer, reading)
    doubts.labels(folder / LABEL_ERRORS)
    doubts.copies(folder / NEAR_DUPLICATES)


class _Doubts:
    def __init__(self, trainer: SSLTrainer, reading: Reading):
        self.trainer, self.reading = trainer, reading
        self.columns, self.names = trainer.data.input_columns, trainer.data.label_names
        self.files = MODALITIES[trainer.data.modality].needs_files
        known = reading.labels >= 0
        self.labeled, self.given = reading.features[known], reading.labels[known]

    def labels(self, path: Path) -> None:
        """Labels that look wrong."""
        errors = find_label_errors(self.reading.features, self.reading.labels, self.reading.num_classes)
        if not errors:
            return
        rows = fetch_rows(self.trainer.train_dataset, [error.row for error in errors])
        table = []
        for error, row in zip(errors, rows, strict=True):
            classes = self.names[error.given], self.names[error.suggested]
            table.append([str(error.row), *shown(row, self.columns), *classes, f"{error.probability:.2f}"])
        write_csv(path, ["row", *self.columns, "label", "suggested", "probability"], table)
        look = "looks" if len(errors) == 1 else "look"
        print(f"{len(errors):,} of your {len(self.given):,} labels {look} wrong: {path}", flush=True)

    def copies(self, path: Path) -> None:
        """Labeled examples that are in the test set, or twice in the labeled one with different labels."""
        least = least_similarity(self.reading.features)
        lines, table = [], []
        if "" in self.reading.tests:
            features, _, labels = self.reading.tests[""]
            pairs = near_duplicates(features, self.labeled, least)
            table += self._table("test", self.trainer.eval_dataset, labels, pairs)
            are = "is a labeled one, or nearly so" if len(pairs) == 1 else "are labeled ones, or nearly so"
            lines += [f"{len(pairs):,} of the {len(features):,} test examples {are}"] if pairs else []
        pairs = near_duplicates(self.labeled, None, least)
        pairs = [pair for pair in pairs if self.given[pair[0]] != self.given[pair[1]]]
        table += self._table("labeled", self.trainer.train_dataset, self.given, pairs)
        are = "pair of labeled examples is" if len(pairs) == 1 else "pairs of labeled examples are"
        lines += [f"{len(pairs):,} {are} nearly the same and differently labeled"] if pairs else []
        if not table:
            return
        other = ["labeled row", *(f"labeled {name}" for name in self.columns), "its label"]
        write_csv(path, ["set", "row", *self.columns, "label", *other, "similarity", "identical"], table)
        for line in lines:
            print(f"{line}: {path}", flush=True)

    def _table(
        self, name: str, dataset: Any, labels: np.ndarray, pairs: Sequence[tuple[int, int, float]]
    ) -> list[list[str]]:
        """Rows of the table: an example of a dataset, a labeled one, and how similar they are."""
        first = fetch_rows(dataset, [row for row, _, _ in pairs])
        second = fetch_rows(self.trainer.train_dataset, [other for _, other, _ in pairs])
        table = []
        for (row, other, cosine), one, two in zip(pairs, first, second, strict=True):
            identical = bool(self.columns) and all(
                _same(one[column], two[column], self.files) for column in self.columns
            )
            own = [str(row), *shown(one, self.columns), self.names[labels[row]]]
            its = [str(other), *shown(two, self.columns), self.names[self.given[other]]]
            table.append([name, *own, *its, f"{cosine:.3f}", "yes" if identical else "no"])
        return table


def _same(one: Any, two: Any, files: bool) -> bool:
    found = digest(one, files)
    return found is not None and found == digest(two, files)


def shown(row: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    """What a person finds an example by: its texts, or the paths of its files; "" for what is inside a table.

    Example:
        >>> shown({"image": {"path": "pets/cat.jpg", "bytes": None}, "label": 0}, ["image"])
        ['pets/cat.jpg']
    """
    cells = [row.get(column) for column in columns]
    cells = [cell.get("path") if isinstance(cell, Mapping) else cell for cell in cells]
    return [cell if isinstance(cell, str) else "" for cell in cells]
