"""Every image processor class of the installed transformers, and pictures on which they differ."""

import importlib
import inspect
from functools import lru_cache
from pathlib import Path

import numpy as np
import transformers
from PIL import Image
from transformers.utils import is_timm_available

# What timm writes into a model's configuration.
TIMM = {
    "input_size": (3, 64, 64),
    "crop_pct": 0.875,
    "interpolation": "bicubic",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}
# Width and height: 3:1, 1:2 and square; larger and smaller than what processors make of them.
SHAPES = ((90, 30), (31, 62), (45, 45))


def pictures(shapes=SHAPES):
    """RGB pictures of noise, and one in gray."""
    rng = np.random.default_rng(0)
    made = [Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)) for width, height in shapes]
    return [*made, made[0].convert("L")]


@lru_cache
def processor_classes():
    """Name -> class, from all modules of transformers that define image processors, with any backend."""
    found = {}
    for path in sorted((Path(transformers.__file__).parent / "models").glob("*/image_processing_*.py")):
        module = importlib.import_module(f"transformers.models.{path.parent.name}.{path.stem}")
        for name, value in vars(module).items():
            if inspect.isclass(value) and value.__module__ == module.__name__ and hasattr(value, "preprocess"):
                found[name] = value
    if not is_timm_available():
        del found["TimmWrapperImageProcessor"]
    return found


def make_processor(name):
    """A processor with the defaults of its class."""
    made = processor_classes()[name]
    return made(pretrained_cfg=TIMM) if name == "TimmWrapperImageProcessor" else made()
