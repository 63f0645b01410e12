"""The tokenizer or feature extractor that is saved with the model, so that it reads its inputs as training did.

    texts        max_length, at most the model's positions --> tokenizer.model_max_length
                 sides of padding and truncation -----------> what the tokenizer saves
    recordings   max_length_seconds ------------------------> feature_extractor.max_length_seconds

Evaluation, `hf-ssl predict`, `hf-ssl evaluate` and a `FeatureBank` take the lengths from there. Of
`transformers.pipeline`, text classification follows the tokenizer if it is made with `truncation=True`; audio
classification gives whole recordings to the model, whatever is saved.

The user's object is left as it is: what differs is set in a copy.
"""

import copy
from inspect import signature
from typing import Any

import numpy as np
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from ..config import SSLConfig
from ..data.columns import DataSummary, processor_for, processor_modalities
from ..data.rows import may_be_random
from ..modality import MODALITIES
from ..model.limits import check_vocabulary, embedded_tokens, text_architecture, text_limit, usable_positions
from ..views.audio import LENGTH_SETTING, AudioViews, saved_seconds, usual_seconds
from ..views.text import TextViews

logger = logging.get_logger(__name__)

# Attributes that decide over a text's tokens and that `save_pretrained` forgets unless they were given at the start.
_FORGOTTEN = ("padding_side", "truncation_side", "model_input_names")
# Recordings differ in length by less than this without being longer. Seconds.
_MARGIN = 0.01
# Of token ids as many rows are looked at before training.
_FIRST_ROWS = 100


def fitted_processor(
    processing_class: Any,
    data: DataSummary,
    args: SSLConfig,
    model: str | nn.Module | None,
    labeled: Any,
    views: Any = None,
) -> Any:
    """The processor that fits data, settings and model: the given one, or a copy with other settings.

    Args:
        processing_class: the user's tokenizer or feature extractor, or a processor that holds one.
        data: what the labeled dataset contains.
        args: `max_length` and `max_length_seconds`.
        model: the model, or its Hub id or path; None if it is not known.
        labeled: the prepared labeled dataset, from which the usual length of recordings is found.
        views: a view maker of the user, whose lengths hold if it is of our classes.

    Returns:
        The processor of images, and one of another modality than the data's, unchanged.

    Raises:
        ValueError: if texts, or rows of token ids, are longer than the model has positions for, or hold tokens that
            it has no embedding for.
    """
    known = text_architecture(model) if data.modality == "text" else None
    if known is not None:
        _check_lengths(known, data, labeled, views)
    if processing_class is None or data.modality not in processor_modalities(processing_class):
        return processing_class
    given = processor_for(processing_class, data.modality)
    fitted = given
    if isinstance(given, PreTrainedTokenizerBase):
        max_length = views.max_length if isinstance(views, TextViews) else args.max_length
        fitted = _fitted_tokenizer(given, max_length, known)
    elif data.modality == "audio":
        fitted = _with_seconds(given, _seconds(given, data, args, labeled, views))
    if fitted is given:
        return processing_class
    if processing_class is given:
        return fitted
    whole = copy.copy(processing_class)
    setattr(whole, MODALITIES[data.modality].processor_part, fitted)
    return whole


def _check_lengths(model: Any, data: DataSummary, labeled: Any, views: Any) -> None:
    """What the user has cut must fit the model: a view maker's texts, and the first rows of token ids."""
    positions, known = usable_positions(model), embedded_tokens(model)
    name = type(model).__name__
    if positions is not None and isinstance(views, TextViews) and views.max_length > positions:
        raise ValueError(
            f"max_length of the views must be at most {positions:,}, the positions of {name}, got "
            f"{views.max_length:,}; make them with max_length={positions}"
        )
    if "input_ids" not in data.model_inputs or may_be_random(labeled):
        return
    for index in range(min(len(labeled), _FIRST_ROWS)):
        ids = np.asarray(labeled[index]["input_ids"])
        if positions is not None and len(ids) > positions:
            raise ValueError(
                f"row {index} of the labeled dataset must hold at most {positions:,} tokens, the positions of {name}, "
                f"got {len(ids):,}; tokenize with truncation=True, max_length={positions}"
            )
        if known is not None and len(ids) and ids.max() >= known:
            raise ValueError(
                f"row {index} of the labeled dataset must hold token ids below {known:,}, the embeddings of {name}, "
                f"got {ids.max():,}; use the model's tokenizer, or call model.resize_token_embeddings"
            )


def _fitted_tokenizer(tokenizer: Any, max_length: int | None, model: Any) -> Any:
    """Texts are cut where the model's positions end at the latest."""
    wanted, limit = text_limit(None, tokenizer, max_length), text_limit(model, tokenizer, max_length)
    if limit < wanted:
        source = "the tokenizer allows" if max_length is None else "max_length is"
        logger.warning(
            f"texts are cut at {limit:,} tokens, for which {type(model).__name__} has positions; {source} {wanted:,}"
        )
    if model is not None:
        check_vocabulary(model, tokenizer)
    settings = {name: getattr(tokenizer, name) for name in _FORGOTTEN}
    names = list(settings["model_input_names"])
    if "attention_mask" not in names and _takes_mask(model):
        # Else padding would be read as text, and an answer would depend on the other texts of its batch.
        settings["model_input_names"] = [*names, "attention_mask"]
    missing = {
        name: value
        for name, value in settings.items()
        if value != tokenizer.init_kwargs.get(name, getattr(type(tokenizer), name, None))
    }
    if limit == tokenizer.model_max_length and not missing:
        return tokenizer
    tokenizer = copy.copy(tokenizer)
    tokenizer.model_max_length = limit
    tokenizer.model_input_names = settings["model_input_names"]
    tokenizer.init_kwargs = {**tokenizer.init_kwargs, **missing}
    return tokenizer


def _takes_mask(model: Any) -> bool:
    return model is not None and "attention_mask" in signature(model.forward).parameters


def _seconds(extractor: Any, data: DataSummary, args: SSLConfig, labeled: Any, views: Any) -> float | None:
    """Where recordings are cut: as views or settings say, else as the model was trained, else as long as they are.

    None if it is not known: rows that hold tensors, and views of other classes, are cut as the user likes.
    """
    if isinstance(views, AudioViews):
        return views.max_length / views.sampling_rate
    if args.max_length_seconds is not None or data.model_inputs or views is not None:
        return args.max_length_seconds
    saved, usual = saved_seconds(extractor), usual_seconds(labeled, data.input_columns[0])
    if saved is not None and saved + _MARGIN < usual:
        logger.warning(
            f"recordings are cut at {saved:g} s, as the feature extractor was saved, and some last {usual:g} s; "
            "set max_length_seconds if they are to be longer"
        )
    return saved or usual


def _with_seconds(extractor: Any, seconds: float | None) -> Any:
    if seconds is None or seconds == saved_seconds(extractor):
        return extractor
    extractor = copy.copy(extractor)
    setattr(extractor, LENGTH_SETTING, seconds)
    return extractor
