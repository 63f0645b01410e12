"""Small models with random weights, and small files of texts, images and recordings; for `chaos.py` and `fuzz.py`.

Everything is made here, in a second, and is the same each time.
"""

import csv
import io
from pathlib import Path

import numpy as np
import soundfile
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
)
from transformers.utils import logging

NAMES = ("red", "green", "blue")
WORDS = ("a", "the", "sky", "sea", "leaf", "rose", "is", "was", "very", *NAMES)
_SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
_CLASSES = {"id2label": dict(enumerate(NAMES)), "label2id": {name: place for place, name in enumerate(NAMES)}}
RATE = 16_000


def write_models(folder: Path, modalities: tuple[str, ...]) -> dict[str, str]:
    """A model folder for each modality ("text", "image", "audio") with its processor; modality -> folder."""
    logging.disable_progress_bar()
    torch.manual_seed(0)
    made = {}
    for modality in modalities:
        model, processor = _MODELS[modality]()
        for part in (model, processor):
            part.save_pretrained(folder / modality)
        made[modality] = str(folder / modality)
    return made


def _text():
    # Dropout stays on: a run that is continued must draw the same random numbers.
    config = BertConfig(vocab_size=5 + len(WORDS), max_position_embeddings=32, **_SIZES, **_CLASSES)
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    words = Tokenizer(models.WordLevel({word: place for place, word in enumerate(names)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=16, **special)
    return BertForSequenceClassification(config), tokenizer


def _image():
    config = ViTConfig(image_size=12, patch_size=4, **_SIZES, **_CLASSES)
    processor = ViTImageProcessor(size={"height": 12, "width": 12}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    return ViTForImageClassification(config), processor


def _audio():
    convolutions = {"conv_dim": (8, 8), "conv_stride": (10, 8), "conv_kernel": (20, 8), "num_feat_extract_layers": 2}
    positions = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "classifier_proj_size": 16}
    random = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0, "layerdrop": 0.0}
    config = Wav2Vec2Config(**_SIZES, **convolutions, **positions, **random, **_CLASSES)
    return Wav2Vec2ForSequenceClassification(config), Wav2Vec2FeatureExtractor(sampling_rate=RATE)


_MODELS = {"text": _text, "image": _image, "audio": _audio}


def texts(count: int, seed: int) -> list[tuple[str, str]]:
    """(text, class) pairs; the last word of a text is its class."""
    rng = np.random.default_rng(seed)
    return [
        (" ".join([*rng.choice(WORDS[:-3], int(rng.integers(3, 8))), NAMES[place % 3]]), NAMES[place % 3])
        for place in range(count)
    ]


def write_csv(path: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = ("text", "label")) -> Path:
    """A table of texts; by default with their classes."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_tables(folder: Path, labeled: int = 12, pool: int = 60, test: int = 30) -> dict[str, str]:
    """labeled.csv, pool.csv (without classes) and test.csv; name -> path."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {"labeled": write_csv(folder / "labeled.csv", texts(labeled, 0))}
    found["pool"] = write_csv(folder / "pool.csv", [(text,) for text, _ in texts(pool, 1)], ("text",))
    found["test"] = write_csv(folder / "test.csv", texts(test, 2))
    return {name: str(path) for name, path in found.items()}


def image_bytes(kind: str, seed: int, size: int = 14, **options: object) -> bytes:
    """A noisy picture of the color that the seed stands for, as a file of a kind such as "PNG"."""
    color = np.array([(220, 30, 30), (30, 220, 30), (30, 30, 220)][seed % 3])
    noise = np.random.default_rng(seed).integers(-25, 26, (size, size + 2, 3))
    buffer = io.BytesIO()
    Image.fromarray((color + noise).clip(0, 255).astype(np.uint8)).save(buffer, kind, **options)
    return buffer.getvalue()


def sound_bytes(kind: str, seed: int, rate: int = RATE, seconds: float = 0.1) -> bytes:
    """A tone whose pitch is that of the seed, as a file of a kind such as "WAV"."""
    moments = np.arange(int(rate * seconds)) * (RATE / rate)
    wave = 0.5 * np.sin(moments * (0.05 + 0.1 * (seed % 3)))
    wave += np.random.default_rng(seed).normal(size=len(moments)) * 0.01
    buffer = io.BytesIO()
    soundfile.write(buffer, wave.astype(np.float32), rate, format=kind)
    return buffer.getvalue()
