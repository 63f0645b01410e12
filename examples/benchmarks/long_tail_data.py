"""What the evidence on long tails is made of: features of several views of each example, encoded once, and draws.

The encoder is frozen, so its features of a view never change: each training example is encoded as it is, in two weak
and in six strong views, and a training draws from these. That makes a step cost milliseconds, and leaves everything
above the encoder as in any other training: `SSLTrainer`, its algorithms and corrections.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
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
)

from hf_ssl import SSLConfig
from hf_ssl.benchmark.splits import draw_labels
from hf_ssl.features import FeatureBank
from hf_ssl.features.reading import LinearHead, Reading
from hf_ssl.features.start import classifier_head, probe_head
from hf_ssl.views.base import Views

VIEWS = {"weak": 2, "strong": 6}
HELD_OUT = {"images": 2_000, "text": 800}
_FOLDERS = {"images": "cifar10", "text": "ag_news"}


@dataclass(frozen=True)
class Encoded:
    """A data set as features.

    Args:
        train: by kind of view ("plain", "weak", "strong"), float32 [n, N, D].
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


def encode(task: str, places: Places, cache: Path) -> Encoded:
    """The features of a data set; from the cache, if they were made before."""
    data = datasets.load_dataset(str(places.data / _FOLDERS[task]))
    if task == "images":
        from PIL import Image

        model: Any = AutoModelForImageClassification.from_pretrained(places.image_model)
        processor: Any = AutoImageProcessor.from_pretrained(places.image_model)
        processor.size, processor.do_center_crop = {"height": 96, "width": 96}, False
        empty: Any = {"image": [Image.new("RGB", (32, 32), (128, 128, 128))]}
    else:
        model, processor = (
            BertModel.from_pretrained(places.text_model),
            AutoTokenizer.from_pretrained(places.text_model),
        )
        # As `TextViews.content_free` has it: a mask between the special tokens.
        empty = {"text": [processor.mask_token]}
    empty = datasets.Dataset.from_dict({**empty, "label": [0]}, features=data["train"].features)
    args = SSLConfig("unused", max_length=64, report_to="none", dataloader_num_workers=0, disable_tqdm=True)
    given = {"args": args, "cache_dir": cache, "pooling": "head" if task == "images" else "mean"}
    banks = {
        kind: FeatureBank.encode(model, data["train"], processor, views=(kind, count), **given)
        for kind, count in VIEWS.items()
    }
    test = FeatureBank.encode(model, data["test"], processor, **given)
    none = FeatureBank.encode(model, empty, processor, **given)
    train = {kind: bank.view_features for kind, bank in banks.items()} | {"plain": banks["weak"].features[None]}
    return Encoded(train, banks["weak"].labels, test.features, test.labels, test.label_names, none.features[0])


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
        self.modality, self.features, self.empty, self.column = modality, features, empty, column

    def __call__(self, kind: str, row: Any, rng: np.random.Generator) -> torch.Tensor:
        """One of the stored views, at random."""
        stored = self.features[kind]
        return torch.tensor(stored[rng.integers(len(stored)), row[self.column][0]])

    def evaluation(self, row: Any) -> torch.Tensor:
        """The features of the example as it is."""
        return torch.tensor(self.features["plain"][0, row[self.column][0]])

    def content_free(self, row: Any) -> torch.Tensor:
        """The features of an input without content."""
        return torch.tensor(self.empty)

    def collate(self, items: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Features [N, D]."""
        return {"features": torch.stack(list(items))}


@dataclass(frozen=True)
class Draw:
    """What a run is trained and tested on: rows hold numbers of examples, in `views`."""

    labeled: datasets.Dataset
    pool: datasets.Dataset
    test: datasets.Dataset
    views: StoredViews
    counts: list[int]


# The column that a modality's rows of model inputs have; here it holds the number of an example.
_COLUMNS = {"images": ("image", "pixel_values"), "text": ("text", "input_ids")}


def draw(task: str, data: Encoded, setting: dict[str, Any], seed: int, validation: bool) -> Draw:
    """A long-tailed labeled set and pool.

    Args:
        setting: "num_labeled", "num_unlabeled", "gamma" and "pool", as `draw_labels` takes them.
        validation: test on a part of the training examples, which then is neither labeled nor in the pool.
    """
    classes = len(data.names)
    rows = np.arange(len(data.labels))
    held = draw_labels(data.labels, num_classes=classes, num_labeled=HELD_OUT[task], seed=12_345)[0]
    if validation:
        rows = np.setdiff1d(rows, held)
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
    modality, column = _COLUMNS[task]
    features = dict(data.train)
    if validation:
        tested = held
    else:
        tested = np.arange(len(data.labels), len(data.labels) + len(data.test))
        features["plain"] = np.concatenate([data.train["plain"], data.test[None]], axis=1)
    labels = np.concatenate([data.labels, data.test_labels])

    def rows_of(index: np.ndarray) -> datasets.Dataset:
        named = datasets.Features(
            {column: datasets.List(datasets.Value("int64")), "label": datasets.ClassLabel(names=data.names)}
        )
        return datasets.Dataset.from_dict({column: index[:, None].tolist(), "label": labels[index]}, features=named)

    counts = np.bincount(data.labels[rows[labeled]], minlength=classes).tolist()
    return Draw(
        rows_of(rows[labeled]),
        rows_of(rows[pool]),
        rows_of(tested),
        StoredViews(modality, features, data.empty, column),
        counts,
    )


def make_model(data: Encoded, seed: int) -> AdaptedFeatures:
    """A model with new weights, by the seed, that centers features at the mean of the training examples."""
    torch.manual_seed(seed)
    model = AdaptedFeatures(AdaptedFeaturesConfig(size=data.test.shape[1], id2label=dict(enumerate(data.names))))
    model.mean.copy_(torch.from_numpy(data.train["plain"][0].mean(axis=0)))
    return model


def fitted_head(data: Encoded, drawn: Draw, start: str, model: AdaptedFeatures) -> LinearHead:
    """The head with which `SSLConfig(start="head")` or `"features"` would begin, fitted to the features at hand."""
    column = drawn.views.column
    labeled, pool = (np.asarray(rows[column])[:, 0] for rows in (drawn.labeled, drawn.pool))
    features = data.train["plain"][0][np.concatenate([labeled, pool])]
    with torch.no_grad():
        head_features = model.scaled(torch.from_numpy(features)).numpy()
    labels = np.concatenate([data.labels[labeled], np.full(len(pool), -1)])
    reading = Reading(features, head_features, labels, len(data.names), np.arange(len(pool)))
    return (probe_head if start == "head" else classifier_head)(reading)[0]
