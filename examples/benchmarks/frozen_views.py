"""What `every_algorithm.py` and `long_tail.py` train on: features of several views of each example, encoded once.

The encoder is frozen, so its features of a view never change: each training example is encoded as it is, in two weak
and in six strong views (and in some between them, if an algorithm asks for that), and a training draws from these.
That makes a step cost milliseconds, and leaves everything above the encoder as in any other training: `SSLTrainer`,
its algorithms and corrections.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import datasets
import numpy as np
import soundfile
import torch
from evidence_audio import SpeechEmbeddingClassifier
from evidence_models import classified
from evidence_tasks import Places
from torch import nn
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoTokenizer,
    BertModel,
    PretrainedConfig,
    PreTrainedModel,
    Wav2Vec2FeatureExtractor,
)

from hf_ssl import SSLConfig
from hf_ssl.benchmark.splits import draw_labels
from hf_ssl.features import FeatureBank
from hf_ssl.features.reading import LinearHead, Reading
from hf_ssl.features.start import classifier_head, probe_head
from hf_ssl.views.base import Views

VIEWS = {"weak": 2, "strong": 6}
HELD_OUT = {"images": 2_000, "text": 800, "audio": 600}
_FOLDERS = {"images": "cifar10", "text": "ag_news", "audio": "speech_commands"}


@dataclass(frozen=True)
class Encoded:
    """A data set as features.

    Args:
        train: by kind of view ("plain", "weak", "strong", and "medium" if asked for), float32 [n, N, D].
        labels: classes [N] of the training examples.
        test, test_labels: features [T, D] and classes [T] of the test set.
        names: of the classes.
        empty: features [D] of an input without content: a gray image, a masked word.
    """

    train: dict[str, np.ndarray]
    labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    names: list[str]
    empty: np.ndarray


def encode(task: str, places: Places, cache: Path, more: Mapping[str, int] = MappingProxyType({})) -> Encoded:
    """The features of a data set; from the cache, if they were made before.

    Args:
        task: "images", "text" or "audio".
        places: where data and models are.
        cache: folder of the features.
        more: further kinds of views, and how many of each.
    """
    data = datasets.load_dataset(str(places.data / _FOLDERS[task]))
    if task == "images":
        from PIL import Image

        model: Any = AutoModelForImageClassification.from_pretrained(places.image_model)
        processor: Any = AutoImageProcessor.from_pretrained(places.image_model)
        processor.size, processor.do_center_crop = {"height": 96, "width": 96}, False
        empty: Any = {"image": [Image.new("RGB", (32, 32), (128, 128, 128))]}
    elif task == "audio":
        data = data.cast_column("audio", datasets.Audio(decode=False)).select_columns(["audio", "label"])
        model = SpeechEmbeddingClassifier.from_onnx(num_labels=data["train"].features["label"].num_classes)
        processor = Wav2Vec2FeatureExtractor(do_normalize=False)
        silence = io.BytesIO()
        soundfile.write(silence, np.zeros(16_000), 16_000, format="WAV")
        empty = {"audio": [{"bytes": silence.getvalue(), "path": None}]}
    else:
        model, processor = (
            BertModel.from_pretrained(places.text_model),
            AutoTokenizer.from_pretrained(places.text_model),
        )
        # As `TextViews.content_free` has it: a mask between the special tokens.
        empty = {"text": [processor.mask_token]}
    # Cast, since building it with the features of recordings would need torchcodec.
    empty = datasets.Dataset.from_dict({**empty, "label": [0]}).cast(data["train"].features)
    args = SSLConfig(
        "unused", max_length=64, max_length_seconds=1.0, report_to="none", dataloader_num_workers=0, disable_tqdm=True
    )
    given = {"args": args, "cache_dir": cache, "pooling": "mean" if task == "text" else "head"}
    banks = {
        kind: FeatureBank.encode(model, data["train"], processor, views=(kind, count), **given)
        for kind, count in {**VIEWS, **more}.items()
    }
    test = FeatureBank.encode(model, data["test"], processor, **given)
    none = FeatureBank.encode(model, empty, processor, **given)
    # In memory, where picking single rows is many times as fast as from a file.
    train = {kind: np.array(bank.view_features) for kind, bank in banks.items()}
    train["plain"] = np.array(banks["weak"].features)[None]
    return Encoded(
        train, banks["weak"].labels, np.array(test.features), test.labels, test.label_names, np.array(none.features[0])
    )


class AdaptedFeaturesConfig(PretrainedConfig):
    model_type = "adapted_features"
    size: int = 256
    hidden: int = 128


class AdaptedFeatures(PreTrainedModel):
    """A classifier of frozen features [N, D]: a residual adapter of two layers, and a linear head.

    The adapter starts at zero, so that the head first reads the features as the encoder made them.
    """

    config_class = AdaptedFeaturesConfig
    main_input_name = "features"

    def __init__(self, config: AdaptedFeaturesConfig):
        super().__init__(config)
        self.register_buffer("mean", torch.zeros(config.size))
        self.down = nn.Linear(config.size, config.hidden)
        self.up = nn.Linear(config.hidden, config.size)
        self.classifier = nn.Linear(config.size, config.num_labels)
        self.post_init()
        nn.init.zeros_(self.up.weight)

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            nn.init.zeros_(module.bias)

    def scaled(self, features: torch.Tensor) -> torch.Tensor:
        """Features [N, D] centered and scaled to a length of sqrt(D)."""
        return nn.functional.normalize(features - self.mean, dim=-1) * features.shape[-1] ** 0.5

    def forward(self, features, labels=None):
        """Logits [N, C] of features [N, D]."""
        scaled = self.scaled(features)
        return classified(self.classifier(scaled + self.up(nn.functional.gelu(self.down(scaled)))), labels)


class StoredViews(Views):
    """Views that were encoded before: a row holds the number of its example, a view is one of its features.

    Args:
        modality: of the data.
        features: by kind, [n, N, D].
        empty: those of an input without content [D].
        column: of the numbers.
    """

    def __init__(self, modality: str, features: dict[str, np.ndarray], empty: np.ndarray, column: str):
        self.features = {kind: torch.from_numpy(stored) for kind, stored in features.items()}
        self.modality, self.empty, self.column = modality, torch.from_numpy(empty), column

    def __call__(self, kind: str, row: Any, rng: np.random.Generator) -> torch.Tensor:
        """One of the stored views, at random."""
        stored = self.features[kind]
        return stored[rng.integers(len(stored)), row[self.column][0]]

    def evaluation(self, row: Any) -> torch.Tensor:
        """The features of the example as it is."""
        return self.features["plain"][0, row[self.column][0]]

    def content_free(self, row: Any) -> torch.Tensor:
        """The features of an input without content."""
        return self.empty

    def collate(self, items: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Features [N, D]."""
        return {"features": torch.stack(list(items))}


@dataclass(frozen=True)
class Split:
    """Numbers of examples: of the training set, and for those of the test set the same ones plus its length.

    Args:
        labeled, pool, tested: int64, each in one dimension.
        labels: classes of all examples, training set first.
    """

    labeled: np.ndarray
    pool: np.ndarray
    tested: np.ndarray
    labels: np.ndarray


def split(task: str, data: Encoded, setting: dict[str, Any], seed: int, validation: bool) -> Split:
    """A labeled set and a pool, with long tails if `gamma` is not 1.

    Args:
        setting: "num_labeled", "num_unlabeled", "gamma" and "pool", as `draw_labels` takes them.
        validation: test on a part of the training examples, which then is neither labeled nor in the pool.
    """
    classes = len(data.names)
    rows, tested = np.arange(len(data.labels)), np.arange(len(data.labels), len(data.labels) + len(data.test))
    if validation:
        tested = draw_labels(data.labels, num_classes=classes, num_labeled=HELD_OUT[task], seed=12_345)[0]
        rows = np.setdiff1d(rows, tested)
    labeled, pool = draw_labels(
        data.labels[rows],
        num_classes=classes,
        num_labeled=setting["num_labeled"],
        num_unlabeled=setting["num_unlabeled"],
        labeled_imbalance=setting["gamma"],
        unlabeled_imbalance=setting["gamma"],
        pool_shape=setting["pool"],
        seed=seed,
    )
    return Split(rows[labeled], rows[pool], tested, np.concatenate([data.labels, data.test_labels]))


@dataclass(frozen=True)
class Draw:
    """A `Split` for `SSLTrainer`: rows hold numbers of examples, in `views`."""

    labeled: datasets.Dataset
    pool: datasets.Dataset
    test: datasets.Dataset
    views: StoredViews
    counts: list[int]
    split: Split


# The column that a modality's rows of model inputs have; here it holds the number of an example.
_COLUMNS = {"images": ("image", "pixel_values"), "text": ("text", "input_ids"), "audio": ("audio", "input_values")}


def draw(task: str, data: Encoded, setting: dict[str, Any], seed: int, validation: bool) -> Draw:
    """The datasets and views of a split; arguments as of `split`."""
    found = split(task, data, setting, seed, validation)
    modality, column = _COLUMNS[task]
    features = {**data.train, "plain": np.concatenate([data.train["plain"], data.test[None]], axis=1)}

    def rows_of(index: np.ndarray) -> datasets.Dataset:
        named = datasets.Features(
            {column: datasets.List(datasets.Value("int64")), "label": datasets.ClassLabel(names=data.names)}
        )
        content = {column: index[:, None].tolist(), "label": found.labels[index]}
        return datasets.Dataset.from_dict(content, features=named)

    return Draw(
        rows_of(found.labeled),
        rows_of(found.pool),
        rows_of(found.tested),
        StoredViews(modality, features, data.empty, column),
        np.bincount(found.labels[found.labeled], minlength=len(data.names)).tolist(),
        found,
    )


def make_model(data: Encoded, seed: int) -> AdaptedFeatures:
    """A model with new weights, by the seed, that centers features at the mean of the training examples."""
    torch.manual_seed(seed)
    model = AdaptedFeatures(AdaptedFeaturesConfig(size=data.test.shape[1], id2label=dict(enumerate(data.names))))
    model.mean.copy_(torch.from_numpy(data.train["plain"][0].mean(axis=0)))
    return model


def fitted_head(data: Encoded, drawn: Split, start: str, model: AdaptedFeatures) -> LinearHead:
    """The head with which `SSLConfig(start="head")` or `"features"` would begin, fitted to the features at hand."""
    features = data.train["plain"][0][np.concatenate([drawn.labeled, drawn.pool])]
    with torch.no_grad():
        head_features = model.scaled(torch.from_numpy(features)).numpy()
    labels = np.concatenate([data.labels[drawn.labeled], np.full(len(drawn.pool), -1)])
    reading = Reading(features, head_features, labels, len(data.names), np.arange(len(drawn.pool)))
    return (probe_head if start == "head" else classifier_head)(reading)[0]
