"""Weak and strong views of one example.

A view maker is a picklable object with

- `modality`: "image", "text" or "audio";
- `views(kind, row, rng)`: the view of a row of the dataset; `kind` is "weak", "strong" or (images) "rotated", and every
  random draw comes from the NumPy generator `rng`, which belongs to this example, this draw and this view;
- `views.evaluation(row)`: the view that predictions are made of, as the model's own processor makes it;
- `views.collate(items)`: a list of views -> model keywords, each a tensor whose first axis is the example;
- optionally `views.stack(items)` and `views.finish(view)`, the two halves of `collate`: what a worker does, and what the
  training process does on its device;
- `views.describe()`: kind -> one sentence for people.

Those of the three modalities also have `example(row)`, the row with its file decoded, and `accept(value)`, which makes an
item of an image, a text or a waveform: what a callable of the user's own is given, and what may become of its answer. With
`shares_decoding` the views of one draw are all made of one `example(row)`.
An example that cannot be read raises `BrokenExampleError`.
"""

from collections.abc import Callable
from typing import Any


class BrokenExampleError(ValueError):
    """An example cannot be read: its file is missing, cut off or something else, or its text is missing.

    The message is one line that names the file.
    """

    def __init__(self, message: str):
        # A DataLoader raises the error of a worker again with the worker's whole traceback for a message, ours at its end.
        name = f"{type(self).__module__}.{type(self).__qualname__}: "
        super().__init__(message.rpartition(name)[2].strip())


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
        labeled, unlabeled: the prepared datasets (see `hf_ssl.prepare`).
        weak_view, strong_view: callables of the user's own, see `hf_ssl.views.own`.
        collator: of the user's own, which stacks what rows hold as tensors.

    Raises:
        ValueError: if there is no processor and the views need one, or it is of another modality.
    """
    from ..data import PROCESSORS, processor_for, processor_modalities

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
    from .own import OwnViews

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
            delete_ratio=args.delete_ratio,
            swap_ratio=args.swap_ratio,
            mask_ratio=args.mask_ratio,
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
