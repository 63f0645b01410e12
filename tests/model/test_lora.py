"""LoRA for the baseline: adapters on all linear layers, the head in full, and nothing else."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, ResNetConfig, ResNetForImageClassification

from hf_ssl.model.lora import ALPHA, RANK, with_lora

WIDTH, INNER, CLASSES, LAYERS = 16, 24, 3, 2


def bert():
    sizes = {"hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
    return BertForSequenceClassification(BertConfig(vocab_size=30, num_labels=CLASSES, **sizes)).eval()


def test_adapters_and_head_learn_and_nothing_else():
    model = with_lora(bert())
    learning = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    # Query, key, value and output; the two layers of the feed-forward part; and the pooler.
    per_layer = 4 * RANK * (WIDTH + WIDTH) + 2 * RANK * (WIDTH + INNER)
    assert learning == LAYERS * per_layer + RANK * (WIDTH + WIDTH) + (WIDTH + 1) * CLASSES


def test_it_predicts_as_before_until_it_learns_and_then_adds_a_scaled_product():
    plain = bert()
    tokens = {"input_ids": torch.arange(1, 9)[None], "attention_mask": torch.ones(1, 8, dtype=torch.long)}
    with torch.no_grad():
        before = plain(**tokens).logits
        model = with_lora(plain)
        torch.testing.assert_close(model(**tokens).logits, before)
        layer = next(module for name, module in model.named_modules() if name.endswith("layer.0.attention.self.query"))
        nn.init.ones_(layer.lora_B["default"].weight)
        hidden = torch.randn(1, WIDTH)
        added = ALPHA / RANK * layer.lora_A["default"](hidden).sum(dim=-1, keepdim=True).expand(1, WIDTH)
        torch.testing.assert_close(layer(hidden), layer.base_layer(hidden) + added)


def test_a_model_without_linear_layers_is_refused_by_name():
    sizes = {"embedding_size": 8, "hidden_sizes": [8], "depths": [1], "layer_type": "basic"}
    with pytest.raises(ValueError, match="LoRA must have linear layers beside the head, got ResNetForImage"):
        with_lora(ResNetForImageClassification(ResNetConfig(num_labels=CLASSES, **sizes)))
