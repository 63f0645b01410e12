"""An image processor of another size, and what becomes of it when it is saved with a model and loaded again.

    processor --as_saved--> what `pipeline` will load --sized, if image_size is set--> makes squares of this side
    timm's processor --carry_settings--> the model's configuration, the only place in which it is saved

The user's processor is never changed: another size is that of a copy.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

from transformers import AutoImageProcessor
from transformers.utils import logging

from .image_calls import SHAPES, called, noise

logger = logging.get_logger(__name__)


def sized(processor: Any, side: int) -> Any:
    """An image processor that makes squares of `side` pixels: the given one if it does so, or a changed copy.

    It treats pictures that are not squares as before: one that crops the center still does, in proportion.

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
            shapes = {tuple(called(made, [noise(*shape)])["pixel_values"].shape[2:]) for shape in SHAPES}
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

    timm's is saved in the model's configuration alone, and loaded from there even if another one is saved as well.

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
            f"processing_class must be saved with the model, got {name}, which transformers saves with timm's models "
            "only; give another image processor"
        )
    if facts is None and is_timm and kept:
        raise ValueError(
            f"processing_class must be a TimmWrapperImageProcessor, got {name}, instead of which transformers would "
            "load the former with the saved model; give TimmWrapperImageProcessor(model.config.pretrained_cfg)"
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
