"""What a Space knows of examples: features to compare with, classes, and the examples themselves if it shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from safetensors.numpy import save_file

from ...graph.normalization import normalize, pool_mean

INDEX = "index.safetensors"


@dataclass(frozen=True)
class Part:
    """Labeled examples, or a sample of the pool.

    Args:
        features: float32 [N, D].
        classes: int64 [N], positions in the model's classes: the label of a labeled example, the prediction for one of
            the pool.
        examples: N texts, or bytes of JPEG or MP3 files; None if they are not shown.
    """

    features: np.ndarray
    classes: np.ndarray
    examples: Sequence[str | bytes] | None = None


def write_index(folder: Path, parts: Mapping[str, Part]) -> None:
    """Write index.safetensors, and PART.parquet for every part with examples.

    Features are scaled to length 1 after the mean of all parts is subtracted, as for the graph of neighbors, and kept
    as float16, whose rounding changes a cosine by less than 0.001.

    Args:
        folder: exists.
        parts: "labeled", "pool" or both, at least one.

    Example:
        >>> import tempfile
        >>> from safetensors.numpy import load_file
        >>> folder = Path(tempfile.mkdtemp())
        >>> part = Part(np.array([[1.0, 0.1], [0.1, 1.0]], dtype=np.float32), np.array([0, 1]), ["a rose", "the sky"])
        >>> write_index(folder, {"labeled": part})
        >>> sorted(load_file(folder / INDEX)), parquet.read_table(folder / "labeled.parquet")["example"].to_pylist()
        (['labeled', 'labeled_classes', 'mean'], ['a rose', 'the sky'])
    """
    mean = pool_mean(np.concatenate([part.features for part in parts.values()]))
    tensors = {"mean": mean}
    for name, part in parts.items():
        tensors[name] = normalize(part.features, mean).astype(np.float16)
        tensors[f"{name}_classes"] = part.classes.astype(np.int64)
        if part.examples is not None:
            # Not compressed, so that a push finds keys and tokens in texts.
            table = pa.table({"example": list(part.examples)})
            parquet.write_table(table, folder / f"{name}.parquet", compression="none", use_dictionary=False)
    save_file(tensors, folder / INDEX)
