"""Semi-supervised classification for transformers, after the USB benchmark (arXiv 2208.07204).

The public names are imported on first use, so that ``import hf_ssl`` and ``hf-ssl --help`` stay instant.
"""

from typing import TYPE_CHECKING

from ._version import __version__
from .lazy import lazy_exports
from .torchaudio_import import watch_for_transformers

if TYPE_CHECKING:
    from .algorithms import AlgorithmOutput, Progress, SSLAlgorithm, get_algorithm
    from .batches.batch import SSLBatch
    from .config import SSLConfig
    from .model.ema import ModelEma
    from .model.forward import ModelForward
    from .trainer import SSLTrainer

__all__ = [
    "AlgorithmOutput",
    "ModelEma",
    "ModelForward",
    "Progress",
    "SSLAlgorithm",
    "SSLBatch",
    "SSLConfig",
    "SSLTrainer",
    "__version__",
    "get_algorithm",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "SSLConfig": "config",
        "SSLTrainer": "trainer",
        "SSLBatch": "batches.batch",
        "SSLAlgorithm": "algorithms",
        "AlgorithmOutput": "algorithms",
        "Progress": "algorithms",
        "get_algorithm": "algorithms",
        "ModelForward": "model.forward",
        "ModelEma": "model.ema",
    },
)

watch_for_transformers()
