"""What a text model can take: how many tokens of a text, and which token ids.

    position tables --> usable_positions --+
    tokenizer's limit, or 512 -------------+--> text_limit: where texts are cut
    max_length of the settings ------------+

A tokenizer does not know its model. Without this, a text that is longer than the model's table of positions, or a
token that was added without a row in the table of tokens, ends training at the first batch that holds one.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from ..modality import MODALITIES
from ..views.text import usual_max_length
from .loading import load_config

# Last parts of the names of tables that have one row per position, as transformers' models call them.
_TABLES = {
    "position_embeddings",
    "position_embedding",
    "embed_positions",
    "char_position_embeddings",
    "positions_embed",
    "wpe",
    "pos_encoding",
}
# Parts of the names of what counts other things than tokens: patches of images, entities.
_OTHERS = ("vision", "visual", "entity", "image", "audio")


def usable_positions(model: Any) -> int | None:
    """How many tokens the model has positions for; None if nothing of a fixed size limits it.

    Only tables with one row per position limit a model. Rotary, relative and ALiBi positions are computed for any
    length, whatever `max_position_embeddings` says; most models were not trained on longer texts, though.

    Some models leave rows unused: in RoBERTa's family counting starts after the row of the padding token (514 rows
    are 512 positions), in BART's after two rows.

    Args:
        model: a model; one without weights (on the meta device) tells as much.

    Example:
        >>> from transformers import RobertaConfig, RobertaForSequenceClassification
        >>> sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
        >>> config = RobertaConfig(vocab_size=20, max_position_embeddings=34, pad_token_id=1, **sizes)
        >>> usable_positions(RobertaForSequenceClassification(config))
        32
    """
    found = list(_table_sizes(model))
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    stated = getattr(text, "max_position_embeddings", None)
    if found and isinstance(stated, int) and stated > 0:
        # Nystromformer, YOSO and MRA have two rows more than they use, and say nothing of it in the table.
        found.append(stated)
    return min(found, default=None)


def _table_sizes(model: Any) -> Iterator[int]:
    """Usable rows of each table of positions."""
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if _is_table(name) and isinstance(weight, torch.Tensor) and weight.ndim == 2:
            padding = getattr(module, "padding_idx", None)
            skipped = getattr(module, "offset", 0) if padding is None else padding + 1
            yield weight.shape[0] - skipped
    for name, buffer in model.named_buffers():
        if _is_table(name) and buffer.ndim == 2:
            yield buffer.shape[0]


def _is_table(path: str) -> bool:
    return path.rpartition(".")[2] in _TABLES and not any(other in path for other in _OTHERS)


def text_limit(model: Any, tokenizer: PreTrainedTokenizerBase, max_length: int | None = None) -> int:
    """Tokens at which texts are cut for a model: never more than it has positions for.

    Args:
        model: a model, or None if it is not known.
        tokenizer: its limit holds if `max_length` is None; 512 if it has no believable one.
        max_length: the limit of the settings.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast
        >>> from tokenizers import Tokenizer, models
        >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0})))
        >>> sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
        >>> model = BertForSequenceClassification(BertConfig(vocab_size=20, max_position_embeddings=32, **sizes))
        >>> text_limit(None, tokenizer), text_limit(model, tokenizer), text_limit(model, tokenizer, max_length=8)
        (512, 32, 8)
    """
    wanted = usual_max_length(tokenizer) if max_length is None else max_length
    positions = None if model is None else usable_positions(model)
    return wanted if positions is None else min(wanted, positions)


def embedded_tokens(model: Any) -> int | None:
    """How many token ids the model has embeddings for; None if it has no such table (CANINE hashes characters)."""
    try:
        table = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        return None
    weight = getattr(table, "weight", None) if isinstance(table, nn.Module) else None
    return weight.shape[0] if isinstance(weight, torch.Tensor) and weight.ndim == 2 else None


def check_vocabulary(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer with tokens that the model has no embedding for.

    They are not added here: a person who adds tokens decides how their embeddings start, and whether the model that
    they hold is to be changed.

    Raises:
        ValueError: in one line, with the sizes and the way out.
    """
    rows = embedded_tokens(model)
    if rows is None or len(tokenizer) <= rows:
        return
    # A vocabulary may have gaps; only ids count.
    beyond = sorted((index, token) for token, index in tokenizer.get_vocab().items() if index >= rows)
    if beyond:
        more = f" and {len(beyond) - 1:,} more" if len(beyond) > 1 else ""
        raise ValueError(
            f"every token of the tokenizer must have an embedding in the model, got {rows:,} embeddings and the token "
            f"{beyond[0][1]!r} with id {beyond[0][0]:,}{more}; call model.resize_token_embeddings(len(tokenizer)) and "
            "give the model as an object, or use the model's own tokenizer"
        )


def text_architecture(model: Any) -> Any:
    """The text classifier itself; for a Hub id or path the same without weights, which takes no time to make.

    Returns:
        None without a model, if transformers has no text classifier for its configuration, or if it cannot be made
        without weights: then nothing is known of its limits.
    """
    if not isinstance(model, str):
        return model
    row = MODALITIES["text"]
    config = load_config(model)
    if type(config) not in row.configurations():
        return None
    try:
        with torch.device("meta"):
            return row.model_class().from_config(config)
    except (RuntimeError, NotImplementedError, TypeError, ValueError, ImportError):
        return None
