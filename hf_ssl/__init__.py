"""Semi-supervised classification for transformers, after the USB benchmark (arXiv 2208.07204).

The public names are imported on first use, so that ``import hf_ssl`` and ``hf-ssl --help`` stay instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__
from .torchaudio_import import watch_for_transformers

_PUBLIC = {
    "SSLConfig": "config",
    "SSLTrainer": "trainer",
    "SSLBatch": "batches.batch",
    "SSLAlgorithm": "algorithms",
    "AlgorithmOutput": "algorithms",
    "Progress": "algorithms",
    "get_algorithm": "algorithms",
    "ModelForward": "model.forward",
    "ModelEma": "model.ema",
}

__all__ = ["__version__", *_PUBLIC]

watch_for_transformers()

if TYPE_CHECKING:
    from .algorithms import AlgorithmOutput, Progress, SSLAlgorithm, get_algorithm  # noqa: F401
    from .batches.batch import SSLBatch  # noqa: F401
    from .config import SSLConfig  # noqa: F401
    from .model.ema import ModelEma  # noqa: F401
    from .model.forward import ModelForward  # noqa: F401
    from .trainer import SSLTrainer  # noqa: F401


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f".{_PUBLIC[name]}", __name__), name)


def __dir__():
    return sorted([*globals(), *_PUBLIC])
