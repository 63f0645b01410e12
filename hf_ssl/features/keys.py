"""The name under which features are kept: a digest of everything they depend on.

    weights of the encoder + processor + contents of the input columns + settings --> 64 hexadecimal digits

Labels are not part of it, nor is the classification head: new labels and a new head leave the features as they are.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import datasets
import torch
from datasets.fingerprint import Hasher
from transformers.utils import logging

from ..data.columns import DataSummary
from ..data.rows import is_transformed
from ..modality import MODALITIES

logger = logging.get_logger(__name__)

# Rows that are hashed at once, and bytes of input columns up to which their contents are: larger ones take longer to
# read than people want to wait (150 MB/s and more), so that the fingerprint of `datasets` stands for them.
_ROWS, _MOST_BYTES = 10_000, 2**30


def digest_of(parts: Iterable[bytes | str]) -> str:
    """SHA-256 of the parts, each with its length, so that moving a byte from one to the next changes it.

    Example:
        >>> digest_of(["ab", "c"]) == digest_of(["a", "bc"])
        False
    """
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def weights_key(weights: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Digest of named tensors: names, types, shapes and values."""
    return digest_of(_weight_parts(weights))


def _weight_parts(weights: Iterable[tuple[str, torch.Tensor]]) -> Iterator[bytes | str]:
    for name, tensor in weights:
        yield f"{name} {tensor.dtype} {tuple(tensor.shape)}"
        yield tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def processor_key(processor: Any) -> str:
    """Digest of a processor's settings, and of a tokenizer's vocabulary and rules."""
    backend = getattr(processor, "backend_tokenizer", None)
    if backend is not None:
        # Truncation and padding are state of the last call, and settings of the views.
        rules = {
            name: value
            for name, value in json.loads(backend.to_str()).items()
            if name not in ("truncation", "padding")
        }
        special = {name: str(token) for name, token in processor.special_tokens_map.items()}
        return digest_of([type(processor).__name__, json.dumps([rules, special], sort_keys=True)])
    settings = processor.to_dict() if hasattr(processor, "to_dict") else {}
    vocabulary = processor.get_vocab() if hasattr(processor, "get_vocab") else {}
    return digest_of([type(processor).__name__, json.dumps([settings, vocabulary], sort_keys=True, default=str)])


def rows_key(rows: Any, data: DataSummary) -> str:
    """Digest of what features are made from: the contents of the input columns, in the order of the rows.

    Args:
        rows: a prepared dataset (see `hf_ssl.data.prepare`), a stream, or any indexable rows.
        data: names the input columns.

    Of a stream the recipe is hashed (files, functions and their settings), since its rows are known after a pass
    only. Of a dataset with a transform, and of columns above 1 GB, it is the fingerprint that `datasets` keeps. Files
    outside of the dataset count by path, size and time of change.
    """
    if isinstance(rows, datasets.IterableDataset):
        return object_key([rows._ex_iterable, data.input_columns], "the stream")
    tensors, raw = getattr(rows, "tensors", None), getattr(rows, "raw", rows)
    if tensors is not None and is_transformed(tensors):
        return f"{tensors._fingerprint} {getattr(rows, 'inputs', ())}"
    source, columns = (raw, data.input_columns) if tensors is None else (tensors, data.model_inputs)
    if not isinstance(source, datasets.Dataset):
        return digest_of(object_key(dict(source[index]), "a row") for index in range(len(source)))
    table = source.with_format(None).select_columns([name for name in columns if name in source.column_names])
    if table.data.nbytes > _MOST_BYTES:
        return f"{source._fingerprint} {list(columns)}"
    return digest_of([*_table_parts(table), *_file_parts(table, data)])


def _table_parts(table: datasets.Dataset) -> Iterator[bytes | str]:
    yield json.dumps([table.column_names, str(table.features)])
    for part in table.with_format("arrow").iter(_ROWS):
        # Serialized, equal rows are equal bytes, however the table in memory is cut into chunks.
        for batch in part.combine_chunks().to_batches():
            yield batch.serialize().to_pybytes()


def _file_parts(table: datasets.Dataset, data: DataSummary) -> Iterator[str]:
    """Size and time of change of files that are outside of the dataset."""
    if not MODALITIES[data.modality].needs_files or len(table) == 0:
        return
    for name in table.column_names:
        if _path_of(table[0][name]) is None:
            continue
        for path in map(_path_of, table[name]):
            if path is not None and os.path.isfile(path):
                state = os.stat(path)
                yield f"{state.st_size} {state.st_mtime_ns}"


def _path_of(cell: Any) -> str | None:
    """The path of a cell that is a file outside of the dataset; None for anything else."""
    if isinstance(cell, Mapping):
        return cell.get("path") if cell.get("bytes") is None else None
    return cell if isinstance(cell, str) else None


def object_key(value: Any, what: str) -> str:
    """Digest of any object with its code, or a random one if it cannot be hashed: then features are made each time."""
    try:
        return Hasher.hash(value)
    except Exception as error:  # dill can raise anything that the objects do
        logger.warning(f"{what} cannot be recognized later, so the features are encoded again next time: {error}")
        return os.urandom(16).hex()
