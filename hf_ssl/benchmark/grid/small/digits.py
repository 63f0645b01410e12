"""Handwritten digits: the 1,797 scans of 8 x 8 pixels that come with scikit-learn (UCI, Alpaydin and Kaynak 1998)."""

import datasets
import numpy as np
from PIL import Image
from sklearn import datasets as sklearn_datasets
from sklearn.model_selection import train_test_split

CLASSES = tuple("0123456789")
SIDE = 32


def load_digits(side: int = SIDE) -> datasets.DatasetDict:
    """The scans as `datasets` splits "train" (1,347) and "test" (450) with columns image and label.

    Args:
        side: in pixels, to which the scans are enlarged.
    """
    digits = sklearn_datasets.load_digits()
    pixels = (digits.images * (255 / 16)).round().astype(np.uint8)
    train, test = train_test_split(np.arange(len(pixels)), test_size=0.25, random_state=0, stratify=digits.target)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})

    def split(index: np.ndarray) -> datasets.Dataset:
        images = [Image.fromarray(pixels[i]).resize((side, side), Image.Resampling.BILINEAR) for i in index]
        return datasets.Dataset.from_dict({"image": images, "label": digits.target[index].tolist()}, features=features)

    return datasets.DatasetDict({"train": split(train), "test": split(test)})


def load_small_digits() -> datasets.DatasetDict:
    """The scans at 16 pixels, at which a training takes a few seconds."""
    return load_digits(16)
