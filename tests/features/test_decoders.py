"""Features of decoders: what the head reads at the last token, with a head and without one."""

import pytest
import torch

from hf_ssl.features.encoder import Encoder

from tests.helpers.sequence_models import decoder, texts


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_the_input_of_a_decoders_head_is_its_last_token(name, side):
    model, view = decoder(name), texts(3, 7, 5, side=side)
    hidden = model.base_model(**view).last_hidden_state.detach()
    last = [2, 6, 4] if side == "right" else [6, 6, 6]
    expected = hidden[torch.arange(3), last]
    torch.testing.assert_close(Encoder(model, "text", pooling="head")(view)["features"], expected)
    torch.testing.assert_close(Encoder(model.base_model, "text", pooling="head")(view)["features"], expected)


def test_the_mean_of_a_decoders_tokens_leaves_padding_out():
    model, view = decoder("gpt2"), texts(3, 7)
    hidden = model.base_model(**view).last_hidden_state.detach()
    expected = torch.stack([hidden[0, :3].mean(dim=0), hidden[1].mean(dim=0)])
    torch.testing.assert_close(Encoder(model, "text")(view)["features"], expected)
