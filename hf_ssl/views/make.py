"""From the data and the settings to the object that makes the views."""

from collections.abc import Callable
from typing import Any


def make_views(
    data,
    processing_class: Any,
    args: Any,
    *,
    labeled: Any,
    unlabeled: Any,
    weak_view: Callable | None = None,
    strong_view: Callable | None = None,
    collator: Callable | None = None,
):
    """The view maker for the data, with the settings of `args` and callables of the user's own.

    Args:
        data: the `DataSummary`.
        processing_class: the model's image processor, tokenizer or feature extractor, or a processor that holds one.
        args: the `SSLConfig`.
        labeled, unlabeled: the prepared datasets (see `hf_ssl.data.prepare`).
        weak_view, strong_view: callables of the user's own, see `hf_ssl.views.custom`.
        collator: of the user's own, which stacks what rows hold as tensors.

    Raises:
        ValueError: if there is no processor and the views need one, or it is of another modality.
    """
    from ..data.columns import PROCESSORS, processor_for, processor_modalities

    processor = processor_for(processing_class, data.modality)
    pool_columns = getattr(unlabeled, "column_names", None) or ()
    raw = None
    if data.input_columns and processor is not None and data.modality in processor_modalities(processing_class):
        raw = _raw_views(data, processor, args, labeled, pool_columns)
    if data.model_inputs:
        from .prepared import PreparedViews

        if not set(data.input_columns) <= set(pool_columns):
            raw = None
        views = PreparedViews(data, processor, args, labeled, unlabeled, raw=raw, collator=collator)
    elif raw is not None:
        views = raw
    else:
        needed = PROCESSORS[data.modality]
        where = f"column {data.input_column!r} is {data.modality}, which needs the model's {needed}"
        if processing_class is None:
            raise ValueError(f"processing_class is missing: {where}")
        raise ValueError(f"processing_class is a {type(processing_class).__name__}, and {where}")
    if weak_view is None and strong_view is None:
        return views
    from .custom import OwnViews

    return OwnViews(views, processor, weak=weak_view, strong=strong_view)


def _raw_views(data, processor, args, labeled, pool_columns):
    """The modality's own views, of raw images, texts or recordings."""
    if data.modality == "image":
        from .image import ImageViews

        return ImageViews(
            processor,
            data.input_column,
            size=args.image_size,
            crop_ratio=args.crop_ratio,
            horizontal_flip=args.horizontal_flip,
            vertical_flip=args.vertical_flip,
            strong_operations=args.strong_operations,
            color_operations=args.color_operations,
        )
    if data.modality == "text":
        from .text import TextViews

        return TextViews(
            processor,
            data.input_columns,
            max_length=args.max_length,
            token_delete_ratio=args.token_delete_ratio,
            token_swap_ratio=args.token_swap_ratio,
            token_mask_ratio=args.token_mask_ratio,
            # Where the pool has none of them the views say so, instead of hoping for them in every row.
            augmentation_columns=[name for name in args.augmentation_columns if name in pool_columns],
            # Compiled models are compiled anew for each new shape.
            pad_to_max_length=args.torch_compile,
        )
    from .audio import AudioViews, usual_seconds

    seconds = args.max_length_seconds or usual_seconds(labeled, data.input_column)
    return AudioViews(processor, data.input_columns, max_length_seconds=seconds, num_effects=args.strong_effects)


def check_views(views: Any, kinds: Any) -> None:
    """Raise a ValueError that says the ways out if `views` cannot make one of the kinds that an algorithm asks for."""
    for kind in dict.fromkeys(kinds):
        problem = getattr(views, "problem", None)
        if problem is not None and (sentence := problem(kind)):
            raise ValueError(sentence)
