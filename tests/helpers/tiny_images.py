"""Images of 12 x 12 pixels in three classes, and a ViT of two layers for them."""

import datasets
import numpy as np
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification

CLASSES = ["dark", "middle", "bright"]
NUM_CLASSES = len(CLASSES)


def make_images(count: int, seed: int, labeled: bool = True) -> datasets.Dataset:
    """Images of 12 x 12 pixels whose brightness gives their class away; labels 0, 1, 2, 0, 1, ..."""
    rng = np.random.default_rng(seed)
    labels = [i % NUM_CLASSES for i in range(count)]
    pixels = [rng.integers(0, 60, (12, 12, 3)) + 80 * label for label in labels]
    columns = {"image": [Image.fromarray(p.astype(np.uint8)) for p in pixels]}
    features = {"image": datasets.Image()}
    if labeled:
        columns["label"], features["label"] = labels, datasets.ClassLabel(names=CLASSES)
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def make_vit(seed: int = 0) -> ViTForImageClassification:
    torch.manual_seed(seed)
    config = ViTConfig(
        image_size=12,
        patch_size=4,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        num_labels=NUM_CLASSES,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return ViTForImageClassification(config)
