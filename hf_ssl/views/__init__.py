"""Weak and strong views of one example.

A view maker is a picklable object with

- `modality`: "image", "text" or "audio";
- `views(kind, row, rng)`: the view of a row of the dataset; `kind` is "weak", "strong" or (images) "rotated", and every
  random draw comes from the NumPy generator `rng`, which belongs to this example, this draw and this view;
- `views.evaluation(row)`: the view that predictions are made of, as the model's own processor makes it;
- `views.collate(items)`: a list of views -> model keywords, each a tensor whose first axis is the example;
- `views.describe()`: kind -> one sentence for people.
"""


def make_views(data, processing_class, args):
    """The view maker for the data's modality, with the settings of `args`.

    Raises:
        ValueError: if there is no processor for it.
    """
    if processing_class is None:
        needed = {"image": "image processor", "text": "tokenizer", "audio": "feature extractor"}[data.modality]
        raise ValueError(
            f"processing_class is missing: column {data.input_column!r} is {data.modality}, which needs the model's {needed}"
        )
    if data.modality == "image":
        if not hasattr(processing_class, "image_mean"):
            raise ValueError(
                f"column {data.input_column!r} holds images and {type(processing_class).__name__} processes none; "
                "use an image model and its AutoImageProcessor"
            )
        from .image import ImageViews

        return ImageViews(
            processing_class,
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

        return TextViews(processing_class, (data.input_column,), pad_to_max_length=args.torch_compile)
    from .audio import AudioViews

    return AudioViews(processing_class, (data.input_column,))
