"""FeatureBank: a dataset encoded once by a frozen model, kept on disk under a key of everything it depends on.

dataset -- find_inputs --> rows, views -- windows --> batches -- Encoder --> features -- PartWriter --> CACHE/KEY/
                                                                                         FeatureBank <-- load --+
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from huggingface_hub import constants
from torch import nn

from .._version import __version__
from ..config import BROKEN_FILES, SSLConfig
from ..data.columns import DataSummary, processor_for
from ..graph.normalization import normalize
from ..model.limits import text_limit
from ..model.loading import load_processor
from ..views.make import check_views
from ..views.text import TextViews
from . import store
from .encoder import Encoder, load_encoder
from .encoding import Pass, from_first_process
from .inputs import Inputs, find_inputs, label_size, some_labels
from .keys import digest_of, object_key, processor_key, rows_key, weights_key
from .windows import WindowMaker

# Number that is part of every key: raised when the same inputs give other features.
_FORMAT = 1


@dataclass(frozen=True)
class FeatureBank:
    """The features of a dataset: `FeatureBank.encode` makes one, or finds the one it made before.

    Args:
        features: float32 [N, D], memory-mapped, one row per example in the order of the dataset; NaN for `broken`
            examples.
        key: 64 hexadecimal digits: the digest of weights, processor, data and settings.
        modality: "image", "text" or "audio".
        labels: classes, int64 [N], -1 for examples without one; several labels [N, C] or numbers [N, K], float32, NaN
            for examples without, if `data` was given; None if the dataset has no labels.
        label_names: names of the classes in the order of their indices.
        broken: positions of examples that could not be read.
        pooling: "head" or "mean"; see `hf_ssl.features.encoder`.
        view_features: float32 [n, N, D], memory-mapped: features of n random views of every example, if asked for.
        head_features: float32 [N, H], memory-mapped: the input of the classification head, if asked for; the features
            themselves if these are the input of the head.

    Example:
        >>> import tempfile, datasets
        >>> from transformers import BertConfig, BertModel
        >>> sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        >>> encoder = BertModel(BertConfig(vocab_size=20, **sizes))
        >>> rows = datasets.Dataset.from_dict({"input_ids": [[5, 6, 7], [8, 9, 10]], "label": [0, 1]})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     bank = FeatureBank.encode(encoder, rows, cache_dir=folder)
        ...     bank.features.shape, bank.modality, bank.labels.tolist()
        ((2, 8), 'text', [0, 1])
    """

    features: np.ndarray
    key: str
    modality: str
    labels: np.ndarray | None = None
    label_names: list[str] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)
    pooling: str = "head"
    view_features: np.ndarray | None = None
    head_features: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.features)

    def normalized(self) -> np.ndarray:
        """Features scaled to length 1, their mean subtracted, and scaled to length 1 again: float32 [N, D]."""
        return normalize(self.features)

    @classmethod
    def encode(
        cls,
        model: str | nn.Module,
        dataset: Any,
        processing_class: Any = None,
        *,
        args: SSLConfig | None = None,
        data: DataSummary | None = None,
        view_maker: Any = None,
        cache_dir: str | os.PathLike | None = None,
        pooling: str = "auto",
        batch_size: int = 64,
        views: tuple[str, int] = ("weak", 0),
        with_head: bool = False,
        on_broken_file: str = "error",
        disable_tqdm: bool | None = None,
    ) -> "FeatureBank":
        """Encode a dataset in one pass, or load the features if that was done before.

        A killed pass resumes where it stopped. Several processes (`accelerate launch`) share the work; they need
        one `cache_dir` in common.

        Args:
            model: Hub id or local path; or a model: a classifier, or a base model without a head.
            dataset: a `datasets.Dataset`, or a stream (an `IterableDataset` of `datasets` or torch), of raw images,
                texts or recordings, or of model inputs; with `data`, any prepared rows.
            processing_class: image processor, tokenizer or feature extractor; loaded with the model if that is an id
                or path.
            args: columns, settings of views, device and workers as for `SSLTrainer`; its defaults if None.
            data: what the labeled dataset contains, so that classes have its indices; found from the dataset if None.
            view_maker: a custom one, instead of the modality's own (see `hf_ssl.views`).
            cache_dir: folder of all features; `HF_HOME/hf_ssl/features` if None.
            pooling: what the features are: "head", "mean" or "auto"; see `hf_ssl.features.encoder.Encoder`.
            batch_size: examples per batch, at least 1.
            views: ("weak", n): encode n random weak views of every example as well, which takes n more passes.
                "medium" and "strong" as the modality has them.
            with_head: also keep the input of the classification head, if the features are something else.
            on_broken_file: "error" stops at an example that cannot be read; "skip" leaves a row of NaN, and its
                position in `broken`.
            disable_tqdm: no progress bar. If None there is one on a terminal, unless `args` disables it.

        Raises:
            TypeError, ValueError: if model, dataset and settings do not fit together; one line says what to do.
            BrokenExampleError: for an example that cannot be read, unless `on_broken_file="skip"`.
            OSError: in one line, if the features cannot be written.
        """
        _check_settings(batch_size, views, on_broken_file)
        kind, count = views
        args = SSLConfig(output_dir="trainer_output", report_to="none") if args is None else args
        if processing_class is None and isinstance(model, str):
            processing_class = load_processor(model)
        skip = on_broken_file == "skip"
        inputs = find_inputs(dataset, processing_class, args, data=data, views=view_maker, skip_broken=skip)
        if isinstance(model, str):
            model = load_encoder(model, inputs.data.modality, pooling)
        if view_maker is None and isinstance(inputs.views, TextViews):
            inputs.views.max_length = text_limit(model, inputs.views.tokenizer, args.max_length)
        encoder = Encoder(model, inputs.data.modality, pooling, args.device, with_head)
        check_views(inputs.views, [kind] * count)
        maker = WindowMaker(
            inputs.views,
            label_column=inputs.data.label_column,
            batch_size=batch_size,
            label_size=label_size(inputs.data),
            by_length=inputs.data.modality == "text",
            kinds=(kind,) * count,
            seed=args.seed,
            skip_broken=skip,
        )
        # A digest that is random, because something cannot be hashed, must not differ between processes.
        key = from_first_process(_key(encoder, inputs, processing_class, maker, args, view_maker))
        folder = Path(cache_dir) if cache_dir is not None else default_cache()
        quiet = True if disable_tqdm or args.disable_tqdm else None
        with store.clear_disk_errors(folder):
            Pass(encoder, inputs, maker, args.dataloader_num_workers, quiet).run(folder / key)
            arrays, facts = store.load(folder / key)
        # Labels may have changed since, and are read again; only of a stream they are known from the pass alone.
        is_stream = isinstance(inputs.rows, datasets.IterableDataset)
        labels = some_labels(arrays["labels"]) if is_stream else inputs.labels()
        return cls(
            features=arrays["features"],
            key=key,
            modality=inputs.data.modality,
            labels=labels,
            label_names=list(inputs.data.label_names),
            broken=facts["broken"],
            pooling=encoder.pooling,
            view_features=arrays["views"].transpose(1, 0, 2) if "views" in arrays else None,
            head_features=arrays.get("head_features", arrays["features"]) if with_head else None,
        )


def default_cache() -> Path:
    """The folder of all features, `HF_HOME/hf_ssl/features`."""
    return Path(constants.HF_HOME) / "hf_ssl" / "features"


def _check_settings(batch_size: int, views: tuple[str, int], on_broken_file: str) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}; 64 is usual")
    if on_broken_file not in BROKEN_FILES:
        raise ValueError(f"on_broken_file must be one of {', '.join(BROKEN_FILES)}, got {on_broken_file!r}")
    if len(views) != 2 or views[0] not in ("weak", "medium", "strong") or views[1] < 0:
        kinds = "'weak', 'medium' or 'strong'"
        raise ValueError(f"views must be {kinds} and a number, such as ('weak', 4), got {views!r}")


def _key(
    encoder: Encoder, inputs: Inputs, processing_class: Any, maker: WindowMaker, args: SSLConfig, view_maker: Any
) -> str:
    """The digest of everything that the features depend on."""
    processor = processor_for(processing_class, inputs.data.modality)
    settings: dict[str, Any] = {
        "format": _FORMAT,
        "version": __version__,
        "modality": inputs.data.modality,
        "columns": inputs.data.input_columns or inputs.data.model_inputs,
        "pooling": encoder.pooling,
        "head": encoder.with_head,
        "precision": str(encoder.precision),
        "length": getattr(inputs.views, "max_length", None),
        "views": type(inputs.views).__name__ if view_maker is None else object_key(view_maker, "the view maker"),
        "skip": maker.skip_broken,
        "batch": maker.batch_size,
    }
    if args.image_size is not None:
        settings["image_size"] = args.image_size
    if maker.label_size is not None:
        settings["label_size"] = maker.label_size
    if maker.kinds:
        settings |= {"kinds": maker.kinds, "seed": maker.seed}
        names = ("image_size", "crop_ratio", "horizontal_flip", "vertical_flip", "strong_operations", "strong_effects")
        settings |= {name: getattr(args, name) for name in names}
    parts = [
        encoder.architecture(),
        weights_key(encoder.weights()),
        "" if processor is None else processor_key(processor),
        rows_key(inputs.rows, inputs.data),
        json.dumps(settings, sort_keys=True),
    ]
    return digest_of(parts)
