"""A model's image processor, followed: its own call is what views without augmentation are equal to, bit for bit.

    RGB picture --the processor's call----------------------------------------> {"pixel_values": [1, C, H, W], ...}
    RGB picture --canvas: resize, crop--> uint8 [H, W, 3] --levels--> float32 [C, H, W], the same numbers

Views are augmented on the canvas: after resizing and cropping, before the numbers that the model takes. What a
processor does is found by calling it on noise of several shapes, not by reading its settings. If its call cannot be
divided like this (padding after normalization, patches of varying size, further inputs), pictures are augmented as
they are and given to the whole call.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor
from transformers.image_processing_backends import TorchvisionBackend
from transformers.utils import logging

from .base import ModelKeywords
from .image_levels import LEVELS, Levels, find_levels

logger = logging.get_logger(__name__)

# Switches of a processor's call that decide over the numbers of pixels, and those that decide over their places.
_NUMBERS = ("do_rescale", "do_normalize", "rescale_offset", "include_top", "do_flip_channel_order")
_PLACES = ("do_resize", "do_center_crop", "do_pad")
# Width and height of the pictures that a processor is tried on: wide, tall, square.
_SHAPES = ((96, 32), (40, 80), (57, 57))


class FollowedProcessor:
    """An image processor whose call can be made whole or, unless `canvas_size` is None, in two halves. Picklable.

    Args:
        processor: an image processor: a callable on a list of RGB pictures, with `return_tensors`.

    Attributes:
        processor: the same.
        canvas_size: (height, width) in pixels of the picture between the halves; None if the call cannot be divided.

    Raises:
        ValueError: if it cannot be followed: its call fails, or makes anything but one row of `pixel_values` per
            picture, all of one shape, the same for the same picture. One line says why.

    Example:
        >>> from transformers import CLIPImageProcessor
        >>> sizes = {"size": {"shortest_edge": 12}, "crop_size": {"height": 8, "width": 8}}
        >>> followed = FollowedProcessor(CLIPImageProcessor(**sizes))
        >>> followed.canvas_size
        (8, 8)
        >>> picture = Image.linear_gradient("L").convert("RGB")
        >>> canvas = torch.from_numpy(followed.canvas(picture).copy()).permute(2, 0, 1)
        >>> torch.equal(followed.numbers(canvas[None]), followed([picture])["pixel_values"])
        True
    """

    def __init__(self, processor: Any):
        self.processor = processor
        pictures = [noise(*shape) for shape in _SHAPES]
        rows = [called(processor, [picture]) for picture in pictures]
        _check_rows(processor, rows)
        self._calls_singly = not _same_in_a_batch(processor, pictures, rows)
        self._halves = _find_halves(processor, pictures, rows)
        self.canvas_size = None if self._halves is None else self._halves.size

    def __call__(self, pictures: Sequence[Image.Image]) -> ModelKeywords:
        """What the processor makes of N RGB pictures: model keywords, each a tensor [N, ...].

        Raises:
            ValueError: if it makes rows of different shapes.
        """
        if not self._calls_singly:
            # One call, since a call for each picture costs twice as much.
            return called(self.processor, pictures)
        rows = [called(self.processor, [picture]) for picture in pictures]
        return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}

    def canvas(self, picture: Image.Image) -> np.ndarray:
        """An RGB picture resized and cropped: uint8 [H, W, 3]."""
        assert self._halves is not None, "canvas_size says so"
        return self._halves.canvas(picture)

    def numbers(self, canvases: torch.Tensor) -> torch.Tensor:
        """Canvases, uint8 [N, 3, H, W] of any size, as the model takes them: float32 [N, C, H, W], on their device."""
        assert self._halves is not None, "canvas_size says so"
        return self._halves.levels(canvases)

    def check(self, picture: Image.Image) -> None:
        """Divide the call no longer if the halves do not make of an RGB picture, bit for bit, what the call makes."""
        if self._halves is not None and not self._halves.agree(picture, called(self.processor, [picture])):
            self._halves = self.canvas_size = None


def called(processor: Any, pictures: Sequence[Image.Image]) -> ModelKeywords:
    """What a processor makes of N RGB pictures: name -> tensor [N, ...]; numbers with a fraction are float32.

    Raises:
        ValueError: if its call fails, or returns anything but a row for each picture.
    """
    name = type(processor).__name__
    try:
        made = processor(list(pictures), return_tensors="pt")
    except Exception as error:  # a processor may raise anything, for settings that do not go together
        raise ValueError(
            f"{name} must make model inputs of any picture, but its call fails: {_line(error)}; check its settings, "
            "or give another image processor"
        ) from error
    if not isinstance(made, Mapping):
        raise ValueError(
            f"{name} must make model inputs by name, got a {type(made).__name__}; give another image processor"
        )
    for key, value in made.items():
        if not isinstance(value, torch.Tensor) or value.ndim == 0 or len(value) != len(pictures):
            shown = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"
            raise ValueError(
                f"{name} must make one row of {key} per picture, got {shown} for {len(pictures)}; give the image "
                "processor of an image classifier"
            )
    return {key: value.float() if value.is_floating_point() else value for key, value in made.items()}


def _check_rows(processor: Any, rows: Sequence[ModelKeywords]) -> None:
    name, pixels = type(processor).__name__, rows[0].get("pixel_values")
    if pixels is None:
        raise ValueError(
            f"{name} must make pixel_values, got {', '.join(rows[0])}; give the image processor of an image classifier"
        )
    if not pixels.is_floating_point():
        raise ValueError(
            f"{name} must make floating-point numbers, got {str(pixels.dtype).removeprefix('torch.')}, which models "
            "do not take; switch do_rescale or do_normalize on"
        )
    for key in rows[0]:
        shapes = [" x ".join(map(str, row[key].shape[1:])) for row in rows]
        if len(set(shapes)) > 1:
            way_out = "give the image processor of an image classifier"
            if makes_squares(processor):
                way_out = "set image_size, with which all of them become squares"
            raise ValueError(
                f"{name} must make {key} of one shape, got {', '.join(shapes)} for a wide, a tall and a square "
                f"picture, which cannot share a batch; {way_out}"
            )


def _same_in_a_batch(processor: Any, pictures: Sequence[Image.Image], rows: Sequence[ModelKeywords]) -> bool:
    """Whether a processor makes the same of pictures together as of each of them."""
    try:
        if _same(called(processor, pictures), rows):
            return True
    except ValueError:
        pass
    if not _same(called(processor, pictures[:1]), rows[:1]):
        raise ValueError(
            f"{type(processor).__name__} must make the same of the same picture, got other numbers in a second call; "
            "switch its random steps off, or give another image processor"
        )
    return False


def _same(batch: ModelKeywords, rows: Sequence[ModelKeywords]) -> bool:
    return set(batch) == set(rows[0]) and all(
        torch.equal(value, torch.cat([row[name] for row in rows])) for name, value in batch.items()
    )


# ---- Halves ----


@dataclass(frozen=True)
class _Halves:
    """Where a processor's call can be divided.

    Args:
        geometry: the first half: an RGB picture -> uint8 [3, H, W].
        size: H, W.
        keeps: whether it leaves pictures of this size as they are.
        levels: the second half.
    """

    geometry: Callable[[Image.Image], torch.Tensor]
    size: tuple[int, int]
    keeps: bool
    levels: Levels

    def canvas(self, picture: Image.Image) -> np.ndarray:
        if self.keeps and picture.size == self.size[::-1]:
            return np.asarray(picture)
        return self.geometry(picture).permute(1, 2, 0).numpy()

    def agree(self, picture: Image.Image, row: ModelKeywords) -> bool:
        """Whether they make of the picture what the whole call made of it."""
        canvas = torch.from_numpy(self.canvas(picture).copy()).permute(2, 0, 1)
        fits = set(row) == {"pixel_values"} and canvas.shape == (3, *self.size)
        return fits and torch.equal(self.levels(canvas[None]), row["pixel_values"])


def _find_halves(processor: Any, pictures: Sequence[Image.Image], rows: Sequence[ModelKeywords]) -> _Halves | None:
    """The halves of a call, if they make of all pictures what the whole call made of them."""
    try:
        geometry, values = (_transforms if hasattr(processor, "val_transforms") else _switched)(processor)
        canvas = geometry(pictures[0])
        if canvas.dtype != torch.uint8 or canvas.ndim != 3 or len(canvas) != 3:
            return None
        height, width = canvas.shape[1:]
        picture = noise(width, height)
        keeps = torch.equal(geometry(picture), _channels_first(picture))
        levels = find_levels(values, getattr(processor, "data_config", None) or vars(processor))
        halves = None if levels is None else _Halves(geometry, (height, width), keeps, levels)
        agreed = halves is not None and all(map(halves.agree, pictures, rows))
    except Exception:  # whatever a processor raises if only a part of its call is made
        return None
    return halves if agreed else None


def _switched(processor: Any) -> tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor]]:
    """The halves of a processor of transformers: its call, with the steps of the other half switched off."""
    known = processor.valid_kwargs.__annotations__
    off = [[name for name in names if name in known] for names in (_NUMBERS, _PLACES)]
    # Most classes differ in settings alone, and place pixels by two methods, around which the call makes copies.
    usual = type(processor)._preprocess is TorchvisionBackend._preprocess
    geometry = partial(_placed, processor) if usual else partial(_call_without, processor, off[0])
    return geometry, partial(_call_without, processor, off[1])


def _placed(processor: Any, picture: Image.Image) -> torch.Tensor:
    pixels = _channels_first(picture)
    if processor.do_resize:
        pixels = processor.resize(pixels, size=processor.size, resample=processor.resample)
    return processor.center_crop(pixels, processor.crop_size) if processor.do_center_crop else pixels


def _call_without(processor: Any, steps: Sequence[str], picture: Image.Image) -> torch.Tensor:
    return processor([picture], return_tensors="pt", **dict.fromkeys(steps, False))["pixel_values"][0]


def _transforms(processor: Any) -> tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor]]:
    """The halves of timm's processor: the transforms before the one that makes a tensor, and that with the rest."""
    steps = list(processor.val_transforms.transforms)
    made: Any = noise(*_SHAPES[0])
    for number, step in enumerate(steps):
        made = step(made)
        if isinstance(made, torch.Tensor):
            return partial(_transformed, steps[:number]), partial(_transformed, steps[number:])
    raise TypeError("no transform makes a tensor")


def _transformed(steps: Sequence[Callable[[Any], Any]], picture: Any) -> torch.Tensor:
    for step in steps:
        picture = step(picture)
    return picture if isinstance(picture, torch.Tensor) else _channels_first(picture)


def _channels_first(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


@lru_cache(maxsize=16)
def noise(width: int, height: int) -> Image.Image:
    """The same RGB picture of noise for the same size: whatever moves or changes a pixel is seen in it."""
    return Image.fromarray(np.random.default_rng(width).integers(0, LEVELS, (height, width, 3), dtype=np.uint8))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# ---- Another size ----


def sized(processor: Any, side: int) -> Any:
    """An image processor that makes squares of `side` pixels: the given one if it does so, or a changed copy.

    What it does to pictures that are no squares stays: one that crops the center still does, in proportion.

    Args:
        processor: an image processor.
        side: in pixels, at least 1.

    Raises:
        ValueError: if no setting of its size does it.

    Example:
        >>> from transformers import CLIPImageProcessor
        >>> sizes = {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}
        >>> small = sized(CLIPImageProcessor(**sizes), 112)
        >>> small.size["shortest_edge"], small.crop_size["height"], small.crop_size["width"]
        (128, 112, 112)
    """
    for make in (lambda: processor, *_resized(processor, side)):
        try:
            made = make()
            shapes = {tuple(called(made, [noise(*shape)])["pixel_values"].shape[2:]) for shape in _SHAPES}
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        if shapes == {(side, side)}:
            return made
    raise ValueError(
        f"image_size must be left out for {type(processor).__name__}, got {side}: no setting of its size makes all "
        "pictures squares of as many pixels; give an image processor of that size"
    )


def as_saved(processor: Any) -> Any:
    """What a saved image processor is loaded as: the given one, or, with a warning, one of another class.

    transformers loads those that work with Pillow as their twins that work with torchvision, which round otherwise.

    Args:
        processor: an image processor.
    """
    settings = processor.to_dict() if hasattr(processor, "to_dict") else {}
    name = type(processor).__name__
    if settings.get("image_processor_type", name) == name:
        return processor
    with tempfile.TemporaryDirectory() as folder:
        processor.save_pretrained(folder)
        loaded = AutoImageProcessor.from_pretrained(folder)
    if type(loaded) is type(processor):
        return processor
    logger.warning(
        f"{name} is loaded with a saved model as {type(loaded).__name__}, which rounds otherwise; so that predictions "
        "are made from what the model was trained on, the latter is used from the start"
    )
    return loaded


def carry_settings(processor: Any, config: Any) -> None:
    """See that predictions of the saved model will be made with this image processor.

    timm's is saved in the model's configuration alone, and loaded from there in place of any other one.

    Args:
        processor: an image processor.
        config: of the model; that of a timm model is changed in place.

    Raises:
        ValueError: if the processor or the model is timm's, and the other is not.
    """
    facts, kept = getattr(processor, "data_config", None), getattr(config, "pretrained_cfg", None)
    name, is_timm = type(processor).__name__, getattr(config, "model_type", None) == "timm_wrapper"
    if facts is not None and not is_timm:
        raise ValueError(
            f"processing_class must be saved with the model, got {name}, which is saved with timm's models only; give "
            "another image processor"
        )
    if facts is None and is_timm and kept:
        raise ValueError(
            f"processing_class must be a TimmWrapperImageProcessor, got {name}, in whose place transformers would "
            "load that one with the saved model; give TimmWrapperImageProcessor(model.config.pretrained_cfg)"
        )
    if facts is not None:
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in facts.items()}
        config.pretrained_cfg = {**(kept or {}), **values}


def makes_squares(processor: Any) -> bool:
    """Whether there is a size that `sized` can give the processor."""
    try:
        sized(processor, 224)
    except ValueError:
        return False
    return True


def _resized(processor: Any, side: int) -> list[Callable[[], Any]]:
    """Ways to a copy that makes squares of `side` pixels, the most faithful first."""
    if hasattr(processor, "data_config"):
        config = {**processor.data_config, "input_size": (3, side, side)}
        return [partial(processor.__class__, config, architecture=processor.architecture)]
    size, square = dict(getattr(processor, "size", None) or {}), {"height": side, "width": side}
    changes: list[dict[str, Any]] = [{"size": square, "do_center_crop": False}]
    if set(size) == {"shortest_edge"}:
        # The first is ConvNeXT's, which crops by itself.
        crop = {"do_center_crop": True, "crop_size": square}
        changes = [{"size": {"shortest_edge": side}, **settings} for settings in ({}, crop)] + changes
    if getattr(processor, "do_center_crop", False) and processor.crop_size:
        share = side / min(processor.crop_size["height"], processor.crop_size["width"])
        scaled = {edge: round(pixels * share) for edge, pixels in size.items() if pixels}
        changes.insert(0, {"size": scaled, "crop_size": square})
    return [
        partial(type(processor).from_dict, {**processor.to_dict(), "do_resize": True, **change}) for change in changes
    ]
