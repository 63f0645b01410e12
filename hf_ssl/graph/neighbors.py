"""The most similar rows of each row, by cosine: exact in tiles, or approximate with FAISS.

Exact search makes one square tile of similarities at a time. It holds the similarities of row block i with row block
j, and so serves both: the best k of each of its rows are merged with the best so far of block i, the best k of each
of its columns with those of block j. Memory is one tile and N x k results, and half of all products are never
computed.

             block 0  block 1  block 2
    block 0 |  0,0   |  0,1   |  0,2  |     0,1 gives block 0 candidates from block 1, and the other way round
    block 1 |        |  1,1   |  1,2  |
    block 2 |        |        |  2,2  |
"""

import time
from importlib.util import find_spec

import numpy as np
import torch
from transformers.utils import logging

from .normalization import normalize

logger = logging.get_logger(__name__)

EXTRA = 'pip install "hf-ssl[features]"'
# Rows up to which neighbors are exact by default.
EXACT_ROWS = 100_000
# Seconds from which on the user is told how long an exact search takes.
_LONG = 120.0
# FAISS: cells per square root of the rows, rows per cell that place the cells, and cells that each row is compared
# with.
_CELLS, _ROWS_PER_CELL, _PROBES = 2, 64, 8


def nearest_neighbors(
    features: np.ndarray, k: int = 15, *, block_rows: int = 4_096, exact: bool | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k most similar other rows of each row, by cosine, the most similar first.

    Args:
        features: [N, D], real numbers, N at least 2. They are compared as they are; `hf_ssl.features.normalize` takes
            the pool's mean away first.
        k: neighbors per row, at least 1. With N rows there are at most N - 1.
        block_rows: rows that are compared with each other at once, at least 1. Memory grows with its square: 4,096
            rows make a tile of 64 MB.
        exact: True compares all pairs. False uses FAISS, which compares a row with those in the cells around it. None
            compares all pairs up to 100,000 rows, and uses FAISS above that if it is installed.

    Returns:
        Indices, int64 [N, K], and cosines, float32 [N, K], with K = min(k, N - 1). Of equal cosines the smaller index
        comes first. A row that is not finite has cosine 0 with all others, like a row of zeros.

    Raises:
        ValueError: if `features` is not a matrix of at least two rows, or `k` or `block_rows` is below 1.
        ImportError: if `exact` is False and FAISS is not installed.

    Note:
        `examples/benchmarks/features_scale.py` measures it. On 384 numbers per row, in CPU seconds of all threads, all
        pairs of 10,000 rows took 2 and of 30,000 rows 15. FAISS took 480 for a million rows, found 78 % of the true
        neighbors, and needed 4.1 GB. 100 labels spread over these graphs were right for 87.9, 88.3 and 84.0 % of the
        rows.

    Example:
        >>> indices, cosines = nearest_neighbors(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), k=1)
        >>> indices.tolist()
        [[1], [0], [1]]
    """
    features = features if isinstance(features, np.ndarray) else np.asarray(features)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features must be a matrix with at least two rows, got shape {features.shape}; add examples")
    for name, value in (("k", k), ("block_rows", block_rows)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}; leave it out for the usual value")
    k = min(k, len(features) - 1)
    rows = _unit_or_zero(features)
    if _compares_all_pairs(len(rows), exact):
        return _exact(torch.from_numpy(rows), k, block_rows)
    return _approximate(rows, k)


def _unit_or_zero(features: np.ndarray) -> np.ndarray:
    """Rows of length 1, and zeros for those that are not finite. Rows that have this form already are not copied."""
    if features.dtype == np.float32 and features.flags.c_contiguous and features.flags.writeable:
        squares = np.einsum("nd,nd->n", features, features)
        if np.all(np.abs(squares - 1) < 1e-5):
            return features
    rows = normalize(features, mean=np.zeros(features.shape[1]))
    rows[np.isnan(rows[:, 0])] = 0.0
    return rows


def _compares_all_pairs(size: int, exact: bool | None) -> bool:
    if exact is not None:
        return exact
    if size <= EXACT_ROWS:
        return True
    return find_spec("faiss") is None


# ---- Exact ----


def _exact(rows: torch.Tensor, k: int, block_rows: int) -> tuple[np.ndarray, np.ndarray]:
    size = len(rows)
    indices = torch.zeros(size, k, dtype=torch.int64)
    cosines = torch.full((size, k), -torch.inf)
    blocks = [slice(start, min(start + block_rows, size)) for start in range(0, size, block_rows)]
    begin = time.monotonic()
    for number, block in enumerate(blocks):
        for other in blocks[number:]:
            tile = rows[block] @ rows[other].T
            if other is block:
                tile.fill_diagonal_(-torch.inf)
            else:
                _merge(indices[other], cosines[other], tile.T.contiguous(), block.start)
            _merge(indices[block], cosines[block], tile, other.start)
        if number == 0:
            _warn_of_time(time.monotonic() - begin, size, len(blocks))
    return indices.numpy(), cosines.clamp_(-1, 1).numpy()


def _merge(indices: torch.Tensor, cosines: torch.Tensor, tile: torch.Tensor, start: int) -> None:
    """Replace the best so far [B, k], in place, by the best of them and of a tile [B, W] that begins at `start`.

    Tiles come in ascending order of their columns, so that a stable sort leaves the smaller index first among equals.
    """
    values, columns = _top(tile, cosines.shape[1])
    both = torch.cat([cosines, values], dim=1)
    order = both.argsort(dim=1, descending=True, stable=True)[:, : cosines.shape[1]]
    indices.copy_(torch.cat([indices, columns + start], dim=1).gather(1, order))
    cosines.copy_(both.gather(1, order))


def _top(tile: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest of each row, descending, the smaller column first among equals (`topk` takes any of them)."""
    values, columns = tile.topk(min(k + 1, tile.shape[1]), dim=1)
    tied = (values[:, 1:] == values[:, :-1]).any(dim=1)
    if tied.any():
        ordered, places = tile[tied].sort(dim=1, descending=True, stable=True)
        values[tied], columns[tied] = ordered[:, : values.shape[1]], places[:, : values.shape[1]]
    return values[:, :k], columns[:, :k]


def _warn_of_time(seconds: float, size: int, blocks: int) -> None:
    """Say how long it takes, judged by the first row of tiles: `blocks` of `blocks` * (`blocks` + 1) / 2."""
    total = seconds * (blocks + 1) / 2
    if total > _LONG:
        way_out = f"; FAISS would be faster: {EXTRA}" if size > EXACT_ROWS else ""
        logger.warning(f"comparing all pairs of {size:,} rows takes about {total / 60:.0f} minutes{way_out}")


# ---- Approximate ----


def _approximate(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """With FAISS's inverted file. If the cells around a row hold too few others, the rest is itself with cosine 0."""
    try:
        import faiss
    except ImportError:
        raise ImportError(f"faiss is not installed; do {EXTRA}") from None
    size, width = rows.shape
    cells = max(min(int(_CELLS * size**0.5), size // _ROWS_PER_CELL), 1)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid = _ROWS_PER_CELL
    index.cp.spherical = True
    sample = np.random.default_rng(0).permutation(size)[: cells * _ROWS_PER_CELL]
    index.train(rows[np.sort(sample)])
    index.add(rows)
    index.nprobe = min(_PROBES, cells)
    cosines, indices = index.search(rows, k + 1)
    return _without_self(indices, cosines)


def _without_self(indices: np.ndarray, cosines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns [N, k + 1] -> [N, k]: the row itself dropped, or the last one if more than k others equal it."""
    rows = np.arange(len(indices))[:, None]
    missing = indices < 0
    indices, cosines = np.where(missing, rows, indices), np.where(missing, 0.0, cosines).astype(np.float32)
    itself = (indices == rows) & ~missing
    dropped = np.where(itself.any(axis=1), itself.argmax(axis=1), indices.shape[1] - 1)
    kept = np.arange(indices.shape[1])[None, :] != dropped[:, None]
    shape = len(indices), indices.shape[1] - 1
    return indices[kept].reshape(shape), np.clip(cosines[kept].reshape(shape), -1, 1)
