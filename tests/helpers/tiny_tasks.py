"""A tiny classification task of each modality: datasets, processor and a new model of a few thousand parameters."""

import io
from functools import lru_cache

import datasets
import numpy as np
import soundfile
import torch
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

from tests.helpers.tiny_images import make_images

WORDS = ["red", "green", "blue", "a", "the", "sky", "sea", "leaf", "rose", "is", "was", "very"]
NAMES = ["red", "green", "blue"]
# Settings with which something happens on random data within 30 steps: every example passes, memories start at once.
EAGER = {
    "threshold": 0.05,
    "graph_threshold": 0.1,
    "queue_batches": 1,
    "alignment_queue_size": 4,
    "projection_size": 8,
    "warmup_fraction": 0.1,
    "initial_loss_threshold": 10.0,
    "fairness_weight": 0.01,
}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def make_texts(count: int, seed: int) -> datasets.Dataset:
    rng = np.random.default_rng(seed)
    labels = [i % 3 for i in range(count)]
    texts = [" ".join([*rng.choice(WORDS[3:], int(rng.integers(3, 8))), NAMES[label]]) for label in labels]
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=NAMES)})
    return datasets.Dataset.from_dict({"text": texts, "label": labels}, features=features)


def make_sounds(count: int, seed: int) -> datasets.Dataset:
    rng = np.random.default_rng(seed)
    labels = [i % 3 for i in range(count)]
    clips = []
    for label in labels:
        wave = np.sin(np.arange(4000) * (0.05 + 0.1 * label)) * 0.5 + rng.normal(size=4000) * 0.01
        buffer = io.BytesIO()
        soundfile.write(buffer, wave.astype(np.float32), 16_000, format="WAV")
        clips.append({"bytes": buffer.getvalue(), "path": None})
    dataset = datasets.Dataset.from_dict({"audio": clips, "label": labels})
    return dataset.cast_column("audio", datasets.Audio(sampling_rate=16_000)).cast_column(
        "label", datasets.ClassLabel(names=["low", "middle", "high"])
    )


def image_model():
    config = ViTConfig(
        image_size=12,
        patch_size=4,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=3,
        **NO_DROPOUT,
    )
    return ViTForImageClassification(config)


def text_model():
    config = BertConfig(
        vocab_size=5 + len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        num_labels=3,
        **NO_DROPOUT,
    )
    return BertForSequenceClassification(config)


def audio_model():
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(10, 8),
        conv_kernel=(20, 8),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        num_feat_extract_layers=2,
        classifier_proj_size=16,
        num_labels=3,
        mask_time_prob=0.0,
        mask_feature_prob=0.0,
        layerdrop=0.0,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        final_dropout=0.0,
    )
    return Wav2Vec2ForSequenceClassification(config)


def tokenizer():
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=16, **special)


TASKS = {
    "image": (
        make_images,
        lambda: ViTImageProcessor(size={"height": 12, "width": 12}, image_mean=[0.5] * 3, image_std=[0.5] * 3),
        image_model,
    ),
    "text": (make_texts, tokenizer, text_model),
    "audio": (make_sounds, lambda: Wav2Vec2FeatureExtractor(sampling_rate=16_000), audio_model),
}


@lru_cache
def task(modality: str) -> dict:
    """The keywords of `SSLTrainer` for a task, without the model."""
    make, processor, _ = TASKS[modality]
    return {
        "train_dataset": make(6, 0),
        "unlabeled_dataset": make(24, 1),
        "eval_dataset": make(6, 2),
        "processing_class": processor(),
    }


def new_model(modality: str, seed: int = 0):
    """A new model for a task."""
    torch.manual_seed(seed)
    return TASKS[modality][2]()
