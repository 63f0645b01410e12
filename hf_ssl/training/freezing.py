"""Which layers learn: all of them, or the upper ones, which is several times as fast on a CPU."""

from torch import nn

from .optimization import depths


def train_upper(model: nn.Module, share: float) -> int:
    """Freeze embeddings and lower blocks, so that the upper `share` of the blocks and all that follows them learn.

    Args:
        model: a classifier of transformers, timm's in its wrapper, or with PEFT's adapters.
        share: of the blocks, in (0, 1]; at least one block learns. 1 leaves the model as it is.

    Returns:
        how many blocks learn; 0 if the model was left as it is, since all is to learn or the order of its layers is
        not known.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> sizes = {"hidden_size": 8, "num_hidden_layers": 6, "num_attention_heads": 2, "intermediate_size": 8}
        >>> model = BertForSequenceClassification(BertConfig(vocab_size=20, **sizes))
        >>> train_upper(model, 1 / 3)
        2
        >>> learn = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        >>> sorted({name.split(".")[3] for name in learn if ".layer." in name})
        ['4', '5']
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}; 1 trains all layers")
    names = [name for name, _ in model.named_parameters()]
    try:
        found = depths(model, names)
    except ValueError:
        return 0
    # Depth 0 is the stem, and the deepest is what follows the blocks.
    blocks = max(found.values()) - 1
    if share == 1 or blocks < 1:
        return 0
    learning = max(round(share * blocks), 1)
    for name, parameter in model.named_parameters():
        if found[name] <= blocks - learning:
            parameter.requires_grad_(False)
    return learning
