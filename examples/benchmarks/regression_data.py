"""What the evidence on numbers is made of: features of several views of each example, encoded once, and its numbers.

Three real tasks with one number for each example:

- pitch: Speech Commands. The median pitch of the word in semitones above 55 Hz, measured in the clean recording by
  torchaudio's `detect_pitch_frequency` where it is loudest. The frozen speech embedding was trained to tell words
  apart whoever says them: the pitch is in it, but not as a direction of its own. Strong views change the loudness and
  add echo. The usual ones also shift the pitch and the speed, which would change the number.
- letters: AG News. The mean number of letters of the words in a text. MiniLM sees word pieces, and its mean over them
  tells the topic: neither a count that pooling loses, as the number of words, nor one that it gives away.
- sum: scikit-learn's handwritten digits, two side by side as an image of 8 x 16 pixels; the number is their sum. There
  is no encoder: features are the pixels, weak views are shifted by up to one pixel, strong ones have noise and a
  square of 3 x 3 pixels without content besides.

As in `long_tail_data.py`, everything above the features is that of any other training.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import soundfile
import torch
from evidence_audio import SpeechEmbeddingClassifier
from evidence_tasks import TASKS as EVIDENCE
from evidence_tasks import Places, load
from long_tail_data import AdaptedFeatures, AdaptedFeaturesConfig, StoredViews
from sklearn.datasets import load_digits
from torch import nn
from torchaudio.functional import detect_pitch_frequency
from transformers import AutoTokenizer, BertModel, Wav2Vec2FeatureExtractor
from transformers.modeling_outputs import SequenceClassifierOutput

from hf_ssl import SSLConfig
from hf_ssl.features import FeatureBank
from hf_ssl.files import atomic_write
from hf_ssl.views.audio import AudioViews

TASKS = ("pitch", "letters", "sum")
VIEWS = {"weak": 2, "strong": 4}
# Examples of the pool, of which these are held out to choose settings with; and of the test set.
POOL, HELD_OUT, TEST = 2_400, 600, 800
_RATE = 16_000


@dataclass(frozen=True)
class Encoded:
    """A task as features.

    Args:
        views: by kind ("plain", "weak", "strong"), float32 [n, N, D]; the last `TEST` examples are the test set, of
            which there are plain features alone and copies of them.
        numbers: float32 [N].
    """

    views: dict[str, np.ndarray]
    numbers: np.ndarray


def encode(task: str, places: Places, cache: Path) -> Encoded:
    """The features and numbers of a task; from a file in the cache, if they were made before."""
    path = cache / f"regression-{task}.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        views, numbers = {"pitch": _pitch, "letters": _letters, "sum": _sum}[task](places, cache)
        with atomic_write(path) as temporary:
            np.savez(temporary.open("wb"), numbers=numbers, **views)
    with np.load(path) as file:
        return Encoded({kind: file[kind] for kind in ("plain", *VIEWS)}, file["numbers"])


def _bank_views(model: Any, train: Any, test: Any, processor: Any, cache: Path, **given: Any) -> dict[str, np.ndarray]:
    """Views of the pool, and the test set as it is behind them."""
    banks = {
        kind: FeatureBank.encode(model, train, processor, cache_dir=cache, views=(kind, count), **given)
        for kind, count in VIEWS.items()
    }
    behind = FeatureBank.encode(model, test, processor, cache_dir=cache, **given).features
    joined = {
        kind: np.concatenate([bank.view_features, np.repeat(behind[None], VIEWS[kind], axis=0)], axis=1)
        for kind, bank in banks.items()
    }
    return joined | {"plain": np.concatenate([banks["weak"].features, behind])[None]}


def _args(**settings: Any) -> SSLConfig:
    return SSLConfig("unused", report_to="none", dataloader_num_workers=0, disable_tqdm=True, **settings)


def _pitch(places: Places, cache: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    data = load(EVIDENCE["audio"], places)
    train, test = data["train"].select(range(POOL)), data["test"]
    test = test.select(range(min(TEST, len(test))))
    model, processor = SpeechEmbeddingClassifier.from_onnx(num_labels=10), Wav2Vec2FeatureExtractor(do_normalize=False)
    views = AudioViews(processor, "audio", max_length_seconds=1.0, effects=("gain", "reverberation"))
    given = {"args": _args(max_length_seconds=1.0), "view_maker": views, "pooling": "head"}
    numbers = [median_pitch(row["audio"]["bytes"]) for part in (train, test) for row in part]
    return _bank_views(model, train, test, processor, cache, **given), np.array(numbers, np.float32)


def median_pitch(encoded: bytes) -> float:
    """Semitones above 55 Hz of the louder half of a recording's frames, their median."""
    import io

    wave, _ = soundfile.read(io.BytesIO(encoded), dtype="float32")
    pitches = detect_pitch_frequency(torch.from_numpy(wave)[None], _RATE, freq_low=70, freq_high=400)[0].numpy()
    frames = np.array_split(wave, len(pitches))
    loudness = np.array([float(np.square(frame).mean()) for frame in frames])
    loud = pitches[loudness >= np.quantile(loudness, 0.75)]
    return float(12 * np.log2(np.median(loud) / 55))


def _letters(places: Places, cache: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    data = datasets.load_dataset(str(places.data / "ag_news"))
    train, test = data["train"].shuffle(seed=0).select(range(POOL)), data["test"].shuffle(seed=0).select(range(TEST))
    model, tokenizer = BertModel.from_pretrained(places.text_model), AutoTokenizer.from_pretrained(places.text_model)
    numbers = [np.mean([len(word) for word in text.split()]) for part in (train, test) for text in part["text"]]
    given = {"args": _args(max_length=64), "pooling": "mean"}
    return _bank_views(model, train, test, tokenizer, cache, **given), np.array(numbers, np.float32)


def _sum(places: Places, cache: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    digits, rng = load_digits(), np.random.default_rng(0)
    # No digit of the test set is in the pool.
    order = rng.permutation(len(digits.target))
    cut = len(order) * 3 // 4
    pairs = np.concatenate([rng.choice(order[:cut], (POOL, 2)), rng.choice(order[cut:], (TEST, 2))])
    images = np.concatenate([digits.images[pairs[:, 0]], digits.images[pairs[:, 1]]], axis=2) / 16
    views: dict[str, np.ndarray] = {"plain": images[None]}
    for kind, count in VIEWS.items():
        views[kind] = np.stack([np.stack([_digit_view(kind, image, rng) for image in images]) for _ in range(count)])
    flat = {kind: made.reshape(*made.shape[:2], -1).astype(np.float32) for kind, made in views.items()}
    return flat, digits.target[pairs].sum(axis=1).astype(np.float32)


def _digit_view(kind: str, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    down, right = rng.integers(-1, 2, 2)
    padded = np.pad(image, 1)
    view = padded[1 + down : 9 + down, 1 + right : 17 + right].copy()
    if kind == "strong":
        top, left = rng.integers(6), rng.integers(14)
        view[top : top + 3, left : left + 3] = 0
        view += 0.2 * rng.standard_normal(view.shape)
    return view


class NumberFeatures(AdaptedFeatures):
    """`AdaptedFeatures` of numbers [N, K], without a loss of its own for classes."""

    def forward(self, features, labels=None):
        """Numbers [N, K] of features [N, D]."""
        scaled = self.scaled(features)
        numbers = self.classifier(scaled + self.up(nn.functional.gelu(self.down(scaled))))
        loss = None if labels is None else nn.functional.mse_loss(numbers, labels)
        return SequenceClassifierOutput(loss=loss, logits=numbers)


@dataclass(frozen=True)
class Draw:
    """What a run is trained and tested on: rows hold numbers of examples, in `views`."""

    labeled: datasets.Dataset
    pool: datasets.Dataset
    test: datasets.Dataset
    views: StoredViews
    index: dict[str, np.ndarray]


def draw(data: Encoded, labels: int, seed: int, validation: bool) -> Draw:
    """Labeled examples, drawn by the seed, a pool that holds them, too, and what is tested on.

    Args:
        validation: test on examples that are held out of the pool, and not on the test set.
    """
    size = len(data.numbers) - (len(data.numbers) - POOL)
    rows = np.arange(HELD_OUT, size)
    tested = np.arange(HELD_OUT) if validation else np.arange(size, len(data.numbers))
    if not validation:
        rows = np.arange(size)
    labeled = np.random.default_rng(seed).choice(rows, labels, replace=False)
    index = {"labeled": labeled, "pool": rows, "test": tested}

    def rows_of(index: np.ndarray, with_number: bool) -> datasets.Dataset:
        columns: dict[str, Any] = {"input_ids": index[:, None].tolist()}
        if with_number:
            columns["number"] = data.numbers[index].astype(float).tolist()
        return datasets.Dataset.from_dict(columns)

    views = StoredViews("text", data.views, np.zeros(data.views["plain"].shape[-1], np.float32), "input_ids")
    made = {name: rows_of(part, name != "pool") for name, part in index.items()}
    return Draw(made["labeled"], made["pool"], made["test"], views, index)


def make_model(data: Encoded, seed: int) -> NumberFeatures:
    """A model with new weights, by the seed, that centers features at the mean of the pool."""
    torch.manual_seed(seed)
    plain = data.views["plain"][0, :POOL]
    config = AdaptedFeaturesConfig(size=plain.shape[1], num_labels=1, problem_type="regression")
    model = NumberFeatures(config)
    model.mean.copy_(torch.from_numpy(plain.mean(axis=0)))
    return model
