"""Semi-supervised classification for transformers, after the USB benchmark (arXiv 2208.07204).

A few examples have labels and many do not. `SSLTrainer`, which is a `transformers.Trainer`, takes both: in each step
it draws B labeled and `mu*B` unlabeled examples, makes the views of them that an algorithm asks for, and minimizes the
loss that the algorithm computes from the model's answers. `SSLConfig` holds the settings, `SSLProgressCallback` shows
a training in one line, and `get_algorithm` makes an `SSLAlgorithm` without a trainer, for a training loop of your own
with `SSLBatch`, `ModelForward` and `ModelEma`.

The packages follow an example from dataset to loss, and each imports only from those before it:

- `hf_ssl.data`: what the datasets are: columns, labels, rows, sources, duplicates.
- `hf_ssl.views`: weak and strong views of one example.
- `hf_ssl.batches`: which examples a step takes, and how their views are stacked.
- `hf_ssl.model`: loading a model, calling it on several views at once, the moving average of its weights.
- `hf_ssl.algorithms`: what is learned, one file per algorithm; they are built from `hf_ssl.losses`.
- `hf_ssl.training`: the parts of the trainer: checkpoints, optimization, checks.
- `hf_ssl.report` and `hf_ssl.hub`: what is printed, drawn and pushed.
- `hf_ssl.trainer`: the training step that puts them together.
- `hf_ssl.ensemble` and `hf_ssl.select`: several models that vote on pseudo-labels; the choice between trained ones.
- `hf_ssl.cli`: the commands of `hf-ssl`.

Beside this path are `hf_ssl.benchmark`, which makes USB's datasets, and `hf_ssl.features`, which learns from the
features of a frozen encoder, without training it. `hf_ssl.modality` has all that differs between images, texts and
recordings.

Note:
    The public names are imported on first use, so that `import hf_ssl` and `hf-ssl --help` stay instant.
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
    from .training.progress_callback import SSLProgressCallback

__all__ = [
    "AlgorithmOutput",
    "ModelEma",
    "ModelForward",
    "Progress",
    "SSLAlgorithm",
    "SSLBatch",
    "SSLConfig",
    "SSLProgressCallback",
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
        "SSLProgressCallback": "training.progress_callback",
        "ModelForward": "model.forward",
        "ModelEma": "model.ema",
    },
)

watch_for_transformers()
