"""Before the first step: arguments are checked, datasets are made ready for views, and searched for duplicates."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from torch import nn

from ..algorithms import SSLAlgorithm
from ..batches.batch import LABELED_VIEWS
from ..config import SSLConfig
from ..data.columns import DataSummary, inspect_data, processor_for, processor_modalities
from ..data.doubts import warn_of_doubtful_labels
from ..data.duplicates import Duplicates, find_duplicates, warn_of_duplicates
from ..data.prepare import prepare, prepare_evaluation, prepare_pool
from ..data.rows import is_transformed, may_be_random
from ..data.streams import beginning, is_stream
from ..errors import BrokenExampleError
from ..modality import MODALITIES
from ..views import Views
from ..views.base import as_views
from ..views.make import make_views
from ..views.seeds import global_seeds
from .algorithm import check_settings
from .evaluation_only import first_of, inspect_evaluation
from .optimization import refuse_ignored_settings
from .processing import fitted_processor
from .streaming import check_stream_settings


@dataclass(frozen=True)
class TrainingData:
    """What `prepare_datasets` makes of the user's datasets.

    Args:
        summary: modality, columns and classes.
        labeled, unlabeled: the datasets with the columns and labels that views and collators expect; None if nothing
            is to be trained.
        evaluation: the same for evaluation: a dataset, a dict of datasets, or None.
        views: makes the views of their rows.
        keeps_rows: whether evaluation rows stay as the user formats them, for the user's collator.
        processing_class: the user's, or a copy with the lengths and the image size of this training, to be saved with
            the model.
    """

    summary: DataSummary
    labeled: Any
    unlabeled: Any
    evaluation: Any
    views: Views
    keeps_rows: bool
    processing_class: Any = None


def check_arguments(
    args: SSLConfig, algorithm: Any, model: Any, model_init: Any, optimizers: tuple[Any, Any], kwargs: dict[str, Any]
) -> None:
    """Refuse arguments of `SSLTrainer` that cannot work, before anything is loaded.

    Args:
        args: must be an `SSLConfig`.
        algorithm, model, model_init, optimizers: as in `SSLTrainer`.
        kwargs: further arguments, for `Trainer`.

    Raises:
        TypeError, ValueError: with what to do instead.
    """
    if not isinstance(args, SSLConfig):
        raise TypeError(
            f"args must be an SSLConfig, got {type(args).__name__}; SSLConfig takes the same arguments and more"
        )
    if "tokenizer" in kwargs:
        raise TypeError("tokenizer was renamed processing_class; give the same object as processing_class")
    if model is None and model_init is None:
        raise ValueError("model must be a classifier, its Hub id or its path, got None; or give model_init")
    if model_init is not None and isinstance(algorithm, SSLAlgorithm):
        raise ValueError(
            "algorithm must not be an object beside model_init, got one: each model is trained from scratch, and an "
            "object keeps what it saw of the last one; give its class, and its settings as algorithm_kwargs"
        )
    refuse_ignored_settings(args, *optimizers)


def check_trainable(train_dataset: Any) -> None:
    """Raise a ValueError if there are no labeled examples: such a trainer evaluates and predicts only."""
    if train_dataset is None:
        raise ValueError(
            "train_dataset must be the labeled examples, a datasets.Dataset, got None: this trainer can only evaluate "
            "and predict; make one with train_dataset"
        )


def prepare_datasets(
    args: SSLConfig,
    train_dataset: datasets.Dataset | None,
    unlabeled_dataset: Any,
    eval_dataset: Any,
    processing_class: Any,
    data_collator: Callable | None = None,
    views: Views | None = None,
    weak_view: Callable | None = None,
    strong_view: Callable | None = None,
    *,
    model: str | nn.Module | None = None,
    model_names: Sequence[str] | None = None,
    rows: Any = None,
) -> TrainingData:
    """Find out what the datasets contain, match their columns and labels, and make the object that makes their views.

    Args:
        args: names of columns, and the settings of the views.
        train_dataset, unlabeled_dataset, eval_dataset: as in `SSLTrainer`; without a pool the labeled examples serve,
            and without labeled examples columns are those of the (first) dataset to evaluate on.
        processing_class: the model's image processor, feature extractor or tokenizer; None if rows hold tensors.
        model: the model, its Hub id or its path: how long its texts may be.
        model_names: names of the model's classes, if it knows them.
        data_collator, views, weak_view, strong_view: as in `SSLTrainer`.
        rows: what columns are found in if there is nothing else: a dataset that is about to be evaluated.

    Raises:
        ValueError, TypeError: if the datasets and the settings do not fit together; one line says what to do.
    """
    if views is not None and (weak_view is not None or strong_view is not None):
        raise ValueError("views makes all views; leave weak_view and strong_view out, or views")
    if train_dataset is None:
        rows = first_of(eval_dataset if rows is None else rows)
        if rows is None:
            raise ValueError(
                "train_dataset or eval_dataset must be given beside the name of a model, to tell how to load it, got "
                "neither; or give the model itself"
            )
        summary = inspect_evaluation(rows, args, processing_class, model)
        labeled = unlabeled = prepare(rows, summary, "evaluation", label=False)
    else:
        rows = train_dataset
        summary = inspect_data(
            train_dataset,
            args.input_column,
            args.label_column,
            text_pair_column=args.text_pair_column,
            processor=processing_class,
            model_names=model_names,
            label_columns=args.label_columns,
            label_separator=args.label_separator,
            problem_type=args.problem_type,
        )
        check_settings(args, summary.problem_type)
        warn_of_doubtful_labels(train_dataset, summary)
        pool = train_dataset if unlabeled_dataset is None else unlabeled_dataset
        if is_stream(pool):
            check_stream_settings(args)
        unlabeled = prepare_pool(pool, summary, args.on_broken_file == "error", args.teacher_column)
        labeled = prepare(train_dataset, summary, "labeled")
    # A collator of the user gets the rows of raw data, and of transforms, as the user formats them.
    keeps_rows = data_collator is not None and (not summary.model_inputs or is_transformed(rows))
    evaluation = prepare_evaluation(eval_dataset, summary, keeps_rows)
    processing_class = fitted_processor(processing_class, summary, args, model, labeled, views)
    if views is None:
        processing_class = _image_processor_to_save(processing_class, summary, args)
        views = make_views(
            summary,
            processing_class,
            args,
            labeled=labeled,
            unlabeled=beginning(unlabeled),
            weak_view=weak_view,
            strong_view=strong_view,
            collator=data_collator,
        )
        _check_first_row(views, labeled)
    if train_dataset is None:
        labeled = unlabeled = None
    return TrainingData(summary, labeled, unlabeled, evaluation, as_views(views), keeps_rows, processing_class)


def _check_first_row(views: Views, labeled: Any) -> None:
    """Compare a view without augmentation with what predictions are made from, on one example."""
    try:
        with global_seeds(np.random.default_rng(0)):
            views.check(labeled[0])
    except BrokenExampleError as error:
        raise BrokenExampleError(f"row 0 of the labeled dataset: {error}") from error


def _image_processor_to_save(processing_class: Any, data: DataSummary, args: SSLConfig) -> Any:
    """The processing class with the image processor that people will load with the saved model, at `image_size`."""
    suits = data.modality == "image" and data.input_columns and "image" in processor_modalities(processing_class)
    if processing_class is None or not suits:
        return processing_class
    # Not at the top: texts and recordings are trained on without Pillow.
    from ..views.image_size import as_saved, sized

    given = processor_for(processing_class, "image")
    processor = as_saved(given)
    if args.image_size is not None:
        processor = sized(processor, args.image_size)
    if processor is given:
        return processing_class
    if processing_class is given:
        return processor
    whole = copy.copy(processing_class)
    setattr(whole, MODALITIES["image"].processor_part, processor)
    return whole


def search_duplicates(
    labeled: Any, pool: Any, evaluation: Any, data: DataSummary, *, view_names: Iterable[str], seconds: float
) -> Duplicates | None:
    """Search the prepared datasets for evaluation examples that are also trained on, and warn of them.

    Args:
        labeled, pool: what is trained on.
        evaluation: a dataset, a dict of datasets, or None.
        data: their columns.
        view_names: the views that the algorithm asks for; if none is of the pool, the pool is never read.
        seconds: time for the search; 0 for no search.

    Returns:
        what was found; None if nothing was searched.
    """
    columns = data.input_columns or data.model_inputs[:1]
    if seconds == 0 or (not data.input_columns and may_be_random(labeled)):
        # What a transform returns may be random, and says nothing about the example.
        return None
    if isinstance(evaluation, Mapping):
        named = {f"evaluation {name}": dataset for name, dataset in evaluation.items()}
    else:
        named = {} if evaluation is None else {"evaluation": evaluation}
    reads_pool = any(name not in LABELED_VIEWS for name in view_names)
    files = MODALITIES[data.modality].needs_files
    duplicates = find_duplicates(labeled, pool if reads_pool else None, named, columns, seconds, files=files)
    warn_of_duplicates(duplicates, seconds)
    return duplicates if duplicates.overlaps or duplicates.streams else None
