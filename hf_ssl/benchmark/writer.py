"""Writing rows to Parquet files of bounded size, in constant memory."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

# Chunks that depend on the content let the Hub store what two versions of a file share only once; its viewer uses the
# index.
OPTIONS = {"write_page_index": True, "use_content_defined_chunking": True}
# A reader of a single row must fetch its whole row group, so groups stay small; the Hub's viewer asks for less than
# 300 MB.
ROW_GROUP_BYTES = 16 * 2**20
ROW_GROUP_ROWS = 5_000
SHARD_BYTES = 400 * 2**20
HASH_BYTES = 16


class ShardWriter:
    """Files `<name>-00000-of-0000N.parquet` in a folder, a new one whenever the last has reached `shard_bytes`.

    Features such as pictures and classes are written as metadata of the Arrow schema, where `datasets` and the Hub
    find them. There is always at least one file, even without rows. Use it in a `with` block: leaving it without an
    error gives the files their final names.

    Args:
        folder: an existing folder.
        name: of the split.
        schema: with the features as metadata (`datasets.Features.arrow_schema`).
        shard_bytes: bytes of content, before compression.
    """

    def __init__(self, folder: Path, name: str, schema: pa.Schema, shard_bytes: int = SHARD_BYTES):
        self.folder, self.name, self.schema, self.shard_bytes = folder, name, schema, shard_bytes
        self.rows = 0
        self._paths: list[Path] = []
        self._shard_size = self._buffer_size = 0
        self._buffer: list[Mapping[str, Any]] = []

    def __enter__(self) -> "ShardWriter":
        self._open()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error_type is None:
            self._flush()
        self._writer.close()
        if error_type is None:
            for index, path in enumerate(self._paths):
                path.rename(self.folder / f"{self.name}-{index:05d}-of-{len(self._paths):05d}.parquet")

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row; keys that the schema does not have are left out."""
        self._buffer.append(row)
        self._buffer_size += _size(row)
        self.rows += 1
        if self._buffer_size >= ROW_GROUP_BYTES or len(self._buffer) >= ROW_GROUP_ROWS:
            self._flush()

    def _open(self) -> None:
        self._paths.append(self.folder / f"{self.name}-{len(self._paths):05d}.part")
        self._writer = pq.ParquetWriter(self._paths[-1], self.schema, **OPTIONS)
        self._shard_size = 0

    def _flush(self) -> None:
        if not self._buffer:
            return
        if self._shard_size >= self.shard_bytes:
            self._writer.close()
            self._open()
        self._writer.write_table(to_table(self._buffer, self.schema))
        self._shard_size += self._buffer_size
        self._buffer, self._buffer_size = [], 0


def to_table(rows: list[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """An Arrow table of the schema's columns; a value that a row lacks is None."""
    columns = [pa.array([row.get(field.name) for row in rows], type=field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def content_hash(row: Mapping[str, Any], modality: str) -> bytes:
    """`HASH_BYTES` bytes that identify the content: the encoded image or recording, or the text.

    Example:
        >>> content_hash({"text": "a", "label": 0}, "text") == content_hash({"text": "a", "label": 1}, "text")
        True
    """
    content = row["text"].encode() if modality == "text" else row[modality]["bytes"]
    return hashlib.blake2b(content, digest_size=HASH_BYTES).digest()


def _size(row: Mapping[str, Any]) -> int:
    size = 0
    for value in row.values():
        content = value.get("bytes") if isinstance(value, dict) else value
        size += len(content) if isinstance(content, (bytes, str)) else 8
    return size
