"""Two data sets with several labels per example, built from real texts and photos, and their features.

    topics    one to three AG News items of different topics, the first 20 words of each, joined in random order:
              4 labels, each on half of the texts
    collages  four CIFAR-10 photos in a square: 10 labels, of which the first is drawn ten times as often as the last

2,000 examples to train on and 1,000 to test, always the same ones. The encoder is frozen, and its features of one
plain, two weak and four strong views are cached, as in `frozen_views.py`.
"""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
from evidence_tasks import Places
from frozen_views import Encoded, StoredViews
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, AutoTokenizer, BertModel

from hf_ssl import SSLConfig
from hf_ssl.features import FeatureBank

VIEWS = {"weak": 2, "strong": 4}
SIZES = {"train": 2_000, "test": 1_000}
HELD_OUT = 500
_FOLDERS = {"topics": "ag_news", "collages": "cifar10"}
# The column of inputs, and the one of a row that holds the number of its example instead.
_COLUMNS = {"topics": ("text", "input_ids"), "collages": ("image", "pixel_values")}
_MODALITIES = {"topics": "text", "collages": "image"}
_WORDS, _LEAST = 20, 0.1


def compose(task: str, source: datasets.Dataset, size: int, rng: np.random.Generator) -> tuple[list[Any], np.ndarray]:
    """Inputs, and their labels [size, C], 0 or 1."""
    classes = np.asarray(source["label"])
    count = int(classes.max()) + 1
    members = [rng.permutation(np.flatnonzero(classes == c)) for c in range(count)]
    taken = np.zeros(count, dtype=int)
    labels, inputs = np.zeros((size, count), dtype=np.float32), []
    for number in range(size):
        if task == "topics":
            chosen = rng.permutation(count)[: rng.integers(1, 4)]
        else:
            shares = _LEAST ** (np.arange(count) / (count - 1))
            chosen = rng.choice(count, size=4, p=shares / shares.sum())
        labels[number, chosen] = 1
        parts = []
        for c in chosen:
            parts.append(source[int(members[c][taken[c] % len(members[c])])])
            taken[c] += 1
        inputs.append(_joined(task, parts))
    return inputs, labels


def _joined(task: str, parts: list[dict[str, Any]]) -> Any:
    if task == "topics":
        return " ".join(" ".join(part["text"].split()[:_WORDS]) for part in parts)
    square = Image.new("RGB", (64, 64))
    for place, part in enumerate(parts):
        square.paste(part["image"].convert("RGB").resize((32, 32)), (32 * (place % 2), 32 * (place // 2)))
    return square


def encode(task: str, places: Places, cache: Path) -> Encoded:
    """The features and labels [N, C] of a data set; from the cache, if they were made before."""
    source, rng = datasets.load_dataset(str(places.data / _FOLDERS[task])), np.random.default_rng(0)
    if task == "collages":
        model: Any = AutoModelForImageClassification.from_pretrained(places.image_model)
        processor: Any = AutoImageProcessor.from_pretrained(places.image_model)
        processor.size, processor.do_center_crop = {"height": 128, "width": 128}, False
    else:
        model = BertModel.from_pretrained(places.text_model)
        processor = AutoTokenizer.from_pretrained(places.text_model)
    args = SSLConfig("unused", max_length=96, report_to="none", dataloader_num_workers=0, disable_tqdm=True)
    given = {"args": args, "cache_dir": cache, "pooling": "head" if task == "collages" else "mean"}
    banks, labels = {}, {}
    for split, size in SIZES.items():
        inputs, labels[split] = compose(task, source[split], size, rng)
        # The bank is of inputs; what it takes for classes is left aside.
        column = source[split].features[_COLUMNS[task][0]]
        features = datasets.Features({_COLUMNS[task][0]: column, "label": source[split].features["label"]})
        rows = {_COLUMNS[task][0]: inputs, "label": labels[split].argmax(axis=1)}
        dataset = datasets.Dataset.from_dict(rows, features=features)
        for kind, count in VIEWS.items() if split == "train" else [("weak", 0)]:
            banks[split, kind] = FeatureBank.encode(model, dataset, processor, views=(kind, count), **given)
    # Copies in memory, of which tensors can be made.
    train = {kind: np.array(banks["train", kind].view_features) for kind in VIEWS}
    train["plain"] = np.array(banks["train", "weak"].features)[None]
    test, names = np.array(banks["test", "weak"].features), source["train"].features["label"].names
    return Encoded(train, labels["train"], test, labels["test"], names, np.zeros(test.shape[1], np.float32))


def draw(task: str, data: Encoded, num_labeled: int, seed: int, validation: bool) -> dict[str, Any]:
    """The keywords of `SSLTrainer` for one draw of labels: rows hold the numbers of examples.

    Args:
        num_labeled: how many of the training examples keep their labels; the others are the pool.
        validation: test on a part of the training examples, which then is neither labeled nor in the pool.
    """
    size, everything = len(data.labels), np.concatenate([data.labels, data.test_labels])
    order = np.random.default_rng(seed).permutation(size - HELD_OUT)
    if not validation:
        order = np.random.default_rng(seed).permutation(size)
    tested = np.arange(size - HELD_OUT, size) if validation else np.arange(size, len(everything))
    column = _COLUMNS[task][1]
    named = datasets.Features(
        {
            column: datasets.List(datasets.Value("int64")),
            "labels": datasets.List(datasets.ClassLabel(names=data.names)),
        }
    )

    def rows_of(index: np.ndarray) -> datasets.Dataset:
        chosen = [np.flatnonzero(labels).tolist() for labels in everything[index]]
        return datasets.Dataset.from_dict({column: index[:, None].tolist(), "labels": chosen}, features=named)

    features = {**data.train, "plain": np.concatenate([data.train["plain"], data.test[None]], axis=1)}
    return {
        "train_dataset": rows_of(order[:num_labeled]),
        "unlabeled_dataset": rows_of(order[num_labeled:]),
        "eval_dataset": rows_of(tested),
        "views": StoredViews(_MODALITIES[task], features, data.empty, column),
    }
