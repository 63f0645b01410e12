"""Texts perturbed in their word embeddings: the model still knows its tokens, their positions and where padding is."""

import pytest
import torch
from torch import nn

from hf_ssl import ModelForward
from hf_ssl.algorithms.vat import VAT
from hf_ssl.model.embedding import OFFSET, word_embeddings

from tests.helpers.sequence_models import DECODERS, bart, decoder, roberta, texts, xlnet

MODELS = {**{name: lambda name=name: decoder(name) for name in DECODERS}, "roberta": roberta}


def perturbed(model, view, offset):
    return ModelForward(model)(frozen={"view": {**view, OFFSET: offset}})["view"]


@pytest.mark.parametrize("name", MODELS)
def test_a_padded_text_is_perturbed_as_it_is_alone(name):
    """Alone, without padding, the embeddings can be given to the model in place of the ids."""
    model, view = MODELS[name](), texts(3, 7)
    embeddings = word_embeddings(model, view["input_ids"])
    offset = torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(0))
    out = perturbed(model, view, offset)
    for row, length in enumerate((3, 7)):
        alone = (embeddings + offset)[row : row + 1, :length]
        torch.testing.assert_close(out.logits[row], model(inputs_embeds=alone).logits[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [roberta, xlnet, bart, lambda: decoder("gpt2")])
def test_no_offset_changes_nothing_and_an_offset_something(make):
    model, view = make(), texts(5, 5)
    view["input_ids"][:, -1] = 2
    zeros = torch.zeros_like(word_embeddings(model, view["input_ids"]))
    torch.testing.assert_close(perturbed(model, view, zeros).logits, model(**view).logits)
    # Not a constant: layer normalization takes it away.
    offset = torch.randn(zeros.shape, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(perturbed(model, view, offset).logits, model(**view).logits, rtol=1e-3, atol=1e-6)


def test_as_many_texts_as_tokens_are_told_from_tokens_by_their_ids():
    """XLNet looks words up with the axes exchanged."""
    view = texts(4, 4, 4, 4)
    for model in (xlnet(), decoder("gpt2")):
        embeddings = word_embeddings(model, view["input_ids"])
        offset = torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(0))
        expected = model(inputs_embeds=embeddings + offset).logits
        torch.testing.assert_close(perturbed(model, view, offset).logits, expected, rtol=1e-4, atol=1e-5)


def test_the_gradient_reaches_the_offset_and_the_embeddings():
    model, view = decoder("llama"), texts(3, 7)
    offset = torch.zeros(2, 7, 16, requires_grad=True)
    perturbed(model, view, offset).logits.sum().backward()
    assert offset.grad[0, :3].abs().sum() > 0 and offset.grad[0, 3:].abs().sum() == 0
    assert model.get_input_embeddings().weight.grad.abs().sum() > 0


def test_a_model_without_a_table_of_words_says_so():
    class Bytes(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 3)

        def forward(self, input_ids):
            return self.head(input_ids.float())

    with pytest.raises(ValueError, match="look words up in a table of embeddings"):
        VAT.continuous(ModelForward(Bytes()), {"input_ids": torch.ones(2, 4, dtype=torch.int64)})
