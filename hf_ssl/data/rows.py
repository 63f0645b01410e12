"""Rows of a dataset as views and collators want them: files not yet decoded, tensors for the model, labels as indices.

    raw     {"image": {"bytes", "path"}, "label": "cat"}  \
    tensors {"pixel_values": [3, H, W]}                     `Rows` -> {"image": ..., "pixel_values": ..., "label": 1}
    label_index "cat" -> 1                                 /
"""

import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import datasets
import numpy as np
from PIL import Image
from torch.utils.data import Dataset
from transformers.utils import logging

from ..errors import BrokenExampleError
from ..modality import MODEL_INPUTS
from .cells import CellFormat, array_depth
from .label_forms import PLAIN_FORM, LabelForm
from .label_kinds import CellReader
from .opinions import OPINION, Opinions

logger = logging.get_logger(__name__)

_COMPANIONS = ("attention_mask", "token_type_ids")
# What no mistake in the code of a transform raises, but broken files do.
_BROKEN = (OSError, EOFError, SyntaxError, MemoryError, struct.error, zlib.error, Image.DecompressionBombError)
# A second set of columns, or of keys that a transform returns, is the strong view: `pixel_values_strong`.
STRONG_SUFFIXES = ("_strong", "_strong_2")


def is_transformed(dataset: Any) -> bool:
    """Whether the rows of a `datasets.Dataset` are made on the fly by `with_transform` or `set_transform`."""
    return isinstance(dataset, datasets.Dataset) and dataset.format["type"] == "custom"


def may_be_random(dataset: Any) -> bool:
    """Whether reading a row of a prepared dataset may draw random numbers, in a transform of the user."""
    return bool(getattr(dataset, "transformed", False))


def raw_part(dataset: Any) -> Any:
    """The raw columns of a prepared dataset: those that `Rows` joins with tensors, or the dataset itself."""
    return dataset.raw if isinstance(dataset, Rows) else dataset


def tensor_part(dataset: Any) -> datasets.Dataset | None:
    """The dataset of tensors that `Rows` joins with raw columns, if there is one."""
    return dataset.tensors if isinstance(dataset, Rows) else None


def model_inputs(dataset: datasets.Dataset) -> tuple[str, ...]:
    """Names of what rows already hold for the model, mapped or by a transform: `input_ids`, ...; () if nothing."""
    names = list(dataset[0]) if is_transformed(dataset) else dataset.column_names
    main = [name for name in MODEL_INPUTS if name in names]
    return (*main, *(name for name in _COMPANIONS if name in names)) if main else ()


def undecoded(dataset: Any, columns: Sequence[str]) -> Any:
    """The dataset with its images or recordings left as bytes or paths, for the views to decode.

    Decoding audio inside `datasets` needs torchcodec; decoding here needs soundfile alone, and names files that are
    broken.
    """
    for column in columns:
        feature = (dataset.features or {}).get(column)
        if isinstance(feature, datasets.Image | datasets.Audio) and feature.decode:
            dataset = dataset.cast_column(column, replace(feature, decode=False))
    return dataset


class Rows(Dataset):
    """The rows of a `datasets.Dataset`, picklable: raw columns, tensors for the model beside them, labels as indices.

    Args:
        raw: the dataset with its columns as they are stored.
        tensors: the dataset as the user formats or transforms it, whose rows hold the inputs of the model; or None.
        inputs: names of these inputs; those with a suffix of `STRONG_SUFFIXES` are included.
        label_column: its name.
        label_index: from a cell of it to the index of the class, or to the numbers of other labels; None if cells are
            indices already.
        form: how the labels are written; of several columns, `label_column` is one more.
        formats: column of images or recordings -> what all of its cells have in common.
        opinions: of a pool, what reads the column of a larger model's opinions; rows then have `OPINION`, too.
    """

    def __init__(
        self,
        raw: datasets.Dataset,
        tensors: datasets.Dataset | None = None,
        inputs: Sequence[str] = (),
        label_column: str = "label",
        label_index: CellReader | None = None,
        formats: Mapping[str, CellFormat] | None = None,
        form: LabelForm = PLAIN_FORM,
        opinions: Opinions | None = None,
    ):
        self.raw, self.tensors, self.formats, self.opinions = raw, tensors, dict(formats or {}), opinions
        self.label_column, self.label_index, self.form = label_column, label_index, form
        self.transformed = is_transformed(tensors)
        self.inputs = (*inputs, *(name + suffix for suffix in STRONG_SUFFIXES for name in inputs))
        if tensors is not None and not self.transformed:
            # A mapped dataset: read the tensors as tensors, and only once.
            stored = [name for name in self.inputs if name in tensors.column_names]
            self.tensors = tensors.with_format("torch", columns=stored)
            self.raw = raw.remove_columns(stored)
        arrays = [name for name in self.formats if array_depth(raw.features[name])]
        if arrays:
            # Without lists of lists of numbers in between.
            self.raw = self.raw.with_format("numpy", columns=arrays, output_all_columns=True)

    @property
    def column_names(self) -> list[str]:
        """Those of the dataset, and that of a label that several columns hold."""
        joined = [self.label_column] if self.label_index is not None and self.form.is_joined else []
        return [*self.raw.column_names, *joined]

    @property
    def features(self) -> datasets.Features:
        """Those of the dataset, with files that are not decoded."""
        return self.raw.features

    def __len__(self) -> int:
        # A dataset whose columns were all removed has no length of its own any more.
        return len(self.raw if self.tensors is None else self.tensors)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        indices = [int(index) for index in indices]
        # A dataset without columns still has rows.
        rows = self.raw.__getitems__(indices) if self.raw.column_names else [{} for _ in indices]
        if self.tensors is not None:
            for row, made in zip(rows, self._tensors(self.tensors, indices), strict=True):
                row.update({name: made[name] for name in self.inputs if name in made})
        for name, cell_format in self.formats.items():
            for index, row in zip(indices, rows, strict=True):
                row[name] = cell_format(row[name], index)
        if self.opinions is not None:
            for index, row in zip(indices, rows, strict=True):
                row[OPINION] = self.opinions(row[self.opinions.column], index)
        if self.label_index is not None:
            for row in rows:
                row[self.label_column] = self.label_index(self.form.cell(row, self.label_column))
        return rows

    @staticmethod
    def _tensors(tensors: datasets.Dataset, indices: list[int]) -> list[dict[str, Any]]:
        try:
            return tensors.__getitems__(indices)
        except _BROKEN as error:
            # Pillow, soundfile and open() raise these for files that are missing or broken, and name them if they can.
            raise BrokenExampleError(f"the transform of row {', '.join(map(str, indices))} failed: {error}") from error


def missing_file(dataset: datasets.Dataset, column: str) -> str | None:
    """The first path in an undecoded column at which there is no file; None if all exist or are stored inside."""
    if column not in dataset.column_names or not len(dataset):
        return None
    first = dataset[0][column]
    if not isinstance(first, dict | str) or (isinstance(first, dict) and first.get("bytes") is not None):
        return None
    return next((path for path in map(_path_alone, dataset[column]) if path and not os.path.isfile(path)), None)


def _path_alone(cell: Any) -> str | None:
    """The path of a file that is on this machine and not stored inside the cell."""
    path = cell
    if isinstance(cell, dict):
        path = None if cell.get("bytes") else cell.get("path")
    # "::" and "://" are addresses that `datasets` opens itself.
    return None if path and "://" in path else path


class BrokenFiles:
    """Remembers which examples of the pool could not be read so far, in this process.

    Args:
        dataset: the pool.
        column: its column of files, None if rows hold nothing but tensors.
    """

    _SHOWN = 5

    def __init__(self, dataset: Any, column: str | None):
        self.dataset, self.column = dataset, column
        self.names: dict[int, str] = {}

    def note(self, indices: Sequence[int]) -> int:
        """Warn of examples not yet known to be broken, the first few by name; returns the number of `indices`."""
        is_endless = not hasattr(self.dataset, "__len__")
        for index in indices:
            # Of a stream without end no more names are kept than are shown.
            if index in self.names or (is_endless and len(self.names) > self._SHOWN):
                continue
            self.names[index] = self._name(index)
            if len(self.names) <= self._SHOWN:
                logger.warning(f"{self.names[index]} cannot be read; another example of the pool takes its place")
            elif len(self.names) == self._SHOWN + 1:
                logger.warning(
                    "more files of the pool cannot be read: broken_files in the log says how often they were replaced"
                )
        return len(indices)

    def _name(self, index: int) -> str:
        if not hasattr(self.dataset, "__len__"):
            return f"row {index} of the unlabeled stream"
        cell = raw_part(self.dataset)[index].get(self.column)
        path = cell.get("path") if isinstance(cell, Mapping) else cell
        return path if isinstance(path, str) and path else f"row {index} of the unlabeled dataset"


def fetch_rows(dataset: Any, indices: Sequence[int]) -> list[Mapping[str, Any]]:
    """Rows of a dataset, in one request if it can answer one, as `datasets.Dataset` can."""
    if not indices:
        return []
    if hasattr(dataset, "__getitems__"):
        return dataset.__getitems__(list(indices))
    return [dataset[index] for index in indices]


def opinions_at(pool: Any, rows: np.ndarray) -> np.ndarray:
    """What a larger model said of rows [U] of a prepared pool: distributions [U, C], zero where it said nothing.

    Example:
        >>> from hf_ssl.data.labels import Classes
        >>> classes = Classes(["cat", "dog"], {"cat": 0, "dog": 1}, True)
        >>> raw = datasets.Dataset.from_dict({"text": ["a", "b"], "teacher": ["dog", None]})
        >>> opinions_at(Rows(raw, opinions=Opinions(classes, "teacher")), np.array([1, 0])).tolist()
        [[0.0, 0.0], [0.0, 1.0]]
    """
    if isinstance(pool, Rows) and pool.opinions is not None:
        # Without the inputs, which may be files.
        cells = pool.raw.with_format(None).select_columns([pool.opinions.column]).select(rows)[pool.opinions.column][:]
        return np.stack([pool.opinions(cell, int(row)) for cell, row in zip(cells, rows, strict=True)])
    return np.stack([row[OPINION] for row in fetch_rows(pool, rows.tolist())])
