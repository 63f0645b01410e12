"""From the data and the settings to the object that makes the views."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..config import SSLConfig
from ..data.columns import DataSummary, processor_for, processor_modalities
from ..modality import MODALITIES
from .audio import AudioViews, saved_seconds, usual_seconds
from .base import Views
from .custom import CustomViews
from .tensor_rows import PreparedViews
from .text import TextViews, usual_max_length


def make_views(
    data: DataSummary,
    processing_class: Any,
    args: SSLConfig,
    *,
    labeled: Any,
    unlabeled: Any,
    weak_view: Callable[..., Any] | None = None,
    strong_view: Callable[..., Any] | None = None,
    collator: Callable[..., Any] | None = None,
) -> Views:
    """The view maker for the data, with the settings of `args` and custom callables.

    Args:
        data: what the labeled dataset contains.
        processing_class: the model's image processor, tokenizer or feature extractor, or a processor that holds one.
        args: the settings of views.
        labeled, unlabeled: the prepared datasets (see `hf_ssl.data.prepare`).
        weak_view, strong_view: custom callables, see `hf_ssl.views.custom`.
        collator: a custom one, which stacks what rows hold as tensors.

    Raises:
        ValueError: if there is no processor and the views need one, or it is of another modality.
    """
    processor = processor_for(processing_class, data.modality)
    pool_columns = getattr(unlabeled, "column_names", None) or ()
    raw = None
    if data.input_columns and processor is not None and data.modality in processor_modalities(processing_class):
        raw = _raw_views(data, processor, args, labeled, pool_columns)
    if data.model_inputs:
        if not set(data.input_columns) <= set(pool_columns):
            raw = None
        views: Views = PreparedViews(data, processor, args, labeled, unlabeled, raw=raw, collator=collator)
    elif raw is not None:
        views = raw
    else:
        raise _wrong_processor(data, processing_class)
    if weak_view is None and strong_view is None:
        return views
    return CustomViews(views, processor, weak=weak_view, strong=strong_view)


def _wrong_processor(data: DataSummary, processing_class: Any) -> ValueError:
    needed = MODALITIES[data.modality].processor
    where = f"column {data.input_column!r} is {data.modality}, which needs the model's {needed}"
    if processing_class is None:
        return ValueError(f"processing_class is missing: {where}")
    return ValueError(f"processing_class is a {type(processing_class).__name__}, and {where}")


def _raw_views(data: DataSummary, processor: Any, args: SSLConfig, labeled: Any, pool_columns: Sequence[str]) -> Views:
    """The modality's own views, of raw images, texts or recordings."""
    (column, *_) = data.input_columns
    if data.modality == "image":
        # torchvision is optional: texts and recordings are trained on without it.
        from .image import ImageViews

        return ImageViews(
            processor,
            column,
            size=args.image_size,
            crop_ratio=args.crop_ratio,
            horizontal_flip=args.horizontal_flip,
            vertical_flip=args.vertical_flip,
            strong_operations=args.strong_operations,
            color_operations=args.color_operations,
        )
    if data.modality == "text":
        return TextViews(
            processor,
            data.input_columns,
            # The tokenizer's limit is never more than the model takes (see `hf_ssl.training.processing`).
            max_length=min(args.max_length or usual_max_length(processor), usual_max_length(processor)),
            token_delete_ratio=args.token_delete_ratio,
            token_swap_ratio=args.token_swap_ratio,
            token_mask_ratio=args.token_mask_ratio,
            # If the pool has none of them, the views say so instead of hoping for them in every row.
            augmentation_columns=[name for name in args.augmentation_columns if name in pool_columns],
            # A compiled model is compiled again for each new shape.
            pad_to_max_length=bool(args.torch_compile),
        )
    seconds = args.max_length_seconds or saved_seconds(processor) or usual_seconds(labeled, column)
    return AudioViews(processor, data.input_columns, max_length_seconds=seconds, num_effects=args.strong_effects)


def check_views(views: Views, kinds: Iterable[str]) -> None:
    """Raise a ValueError that names the ways out if `views` cannot make one of the kinds that an algorithm needs."""
    for kind in dict.fromkeys(kinds):
        if sentence := views.problem(kind):
            raise ValueError(sentence)
