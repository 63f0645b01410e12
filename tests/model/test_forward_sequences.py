"""ModelForward on models that score every position, pad on the left, keep time on another axis, or read padding."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hf_ssl import ModelForward

from tests.helpers.sequence_models import (
    DECODERS,
    PAD,
    decoder,
    fnet,
    roberta,
    spectra,
    speech,
    speech_bert,
    texts,
    waves,
    xlnet,
)


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


def counted(model):
    """The sizes of the batches that a model is called with, from now on."""
    sizes = []
    model.register_forward_pre_hook(
        lambda _, __, keywords: sizes.append(len(next(iter(keywords.values())))), with_kwargs=True
    )
    return sizes


# ---- Decoders ----


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", DECODERS)
def test_features_of_a_decoder_are_what_its_head_reads_at_the_last_token(name, side):
    model, view = decoder(name), texts(3, 7, 5, side=side)
    out = ModelForward(model)(labeled=view)["labeled"]
    hidden = model.base_model(**view).last_hidden_state
    last = [(view["input_ids"][row] != PAD).nonzero().max() for row in range(3)]
    torch.testing.assert_close(out.features, torch.stack([hidden[row, place] for row, place in enumerate(last)]))
    assert torch.equal(out.logits, model(**view).logits)


@pytest.mark.parametrize("name", DECODERS)
def test_the_head_makes_a_decoders_logits_of_its_features(name):
    model = decoder(name)
    forward = ModelForward(model)
    out = forward(labeled=texts(3, 7, 5))["labeled"]
    torch.testing.assert_close(forward.classify(out.features), out.logits)


@pytest.mark.parametrize("name", ["gpt2", "llama", "opt"])
def test_gradients_of_logits_and_features_of_a_decoder_are_those_of_its_own_forward(name):
    view, found = texts(3, 7), []
    for through in (True, False):
        model = decoder(name)
        if through:
            out = ModelForward(model)(labeled=view)["labeled"]
            logits, features = out.logits, out.features
        else:
            logits = model(**view).logits
            features = model.base_model(**view).last_hidden_state[[0, 1], [2, 6]]
        (logits.square().sum() + features.square().sum()).backward()
        found.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in found[1].items():
        torch.testing.assert_close(found[0][name], gradient, rtol=1e-4, atol=1e-5)


def test_a_head_of_zeros_does_not_hide_the_position():
    """All scores are equal then, and only the model knows which of them it has taken."""
    model, view = decoder("gpt2"), texts(3, 7)
    nn.init.zeros_(model.score.weight)
    out = ModelForward(model)(labeled=view)["labeled"]
    torch.testing.assert_close(out.features, model.transformer(**view).last_hidden_state[[0, 1], [2, 6]])


def test_a_decoder_in_bfloat16_keeps_features_in_float32():
    model, view = decoder("llama").bfloat16(), texts(3, 7)
    out = ModelForward(model)(labeled=view)["labeled"]
    assert out.features.dtype == torch.float32
    expected = model.model(**view).last_hidden_state[[0, 1], [2, 6]]
    assert torch.equal(out.features, expected.float())


def test_a_compiled_decoder_answers_the_same():
    torch._dynamo.reset()
    model, views = decoder("gpt2"), [texts(3, 7), texts(7, 4, seed=1)]
    forward = ModelForward(torch.compile(model, backend="aot_eager"))
    for view in views:
        out, expected = forward(labeled=view)["labeled"], ModelForward(model)(labeled=view)["labeled"]
        assert_same(out.logits, expected.logits)
        assert_same(out.features, expected.features)


def test_the_average_of_all_scores_is_the_score_of_average_features():
    class Average(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            return self.head(x).mean(dim=1)

    model, x = Average(), torch.randn(2, 5, 4)
    forward = ModelForward(model)
    out = forward(labeled={"x": x})["labeled"]
    torch.testing.assert_close(out.features, x.mean(dim=1))
    torch.testing.assert_close(forward.classify(out.features), out.logits)


# ---- Views of different lengths ----

# Model, a short view, a long one, and whether they can share a call.
PAIRS = {
    "gpt2": (lambda: decoder("gpt2"), texts(3, 4), texts(9, 6, seed=1), True),
    "llama": (lambda: decoder("llama"), texts(3, 4), texts(9, 6, seed=1), True),
    "llama padded left": (lambda: decoder("llama"), texts(3, 4, side="left"), texts(9, 6, side="left", seed=1), True),
    "roberta": (roberta, texts(3, 4), texts(9, 6, seed=1), True),
    "xlnet": (xlnet, texts(3, 4, side="left"), texts(9, 6, side="left", seed=1), True),
    "wav2vec2-bert": (speech_bert, spectra(12, 9), spectra(20, 15, seed=1), True),
    "wav2vec2 without group norm": (
        lambda: speech("layer"),
        waves(800, 960, mask=True),
        waves(1600, 1200, mask=True, seed=1),
        True,
    ),
    "wav2vec2 with group norm": (speech, waves(800, 960), waves(1600, 1200, seed=1), False),
    "fnet": (fnet, texts(5, 5), texts(9, 9, seed=1), False),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_view_alone_and_in_a_joint_call_has_the_same_answers(name):
    make_model, short, long, together = PAIRS[name]
    model = make_model()
    forward = ModelForward(model)
    forward(labeled=short, strong=long)
    sizes = counted(model)
    out = forward(labeled=short, strong=long)
    assert sizes == ([4] if together else [2, 2])
    for part, view in (("labeled", short), ("strong", long)):
        assert_same(out[part].logits, model(**view).logits)
        assert_same(out[part].features, ModelForward(model)(labeled=view)["labeled"].features)
        assert out[part].logits.requires_grad


def test_finding_the_side_changes_nothing_else():
    model = xlnet().train()
    forward, views = ModelForward(model), {"labeled": texts(3, 4, side="left"), "strong": texts(9, 6, side="left")}
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        found.append(forward(**views)["strong"].logits)
    # Its dropout draws the same numbers in the first call, which finds the side, and in the second.
    assert torch.equal(*found) and not torch.equal(found[0], forward(**views)["strong"].logits)
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_views_that_cannot_share_a_call_keep_their_kind():
    """Only the first goes through the wrapper of a distributed model; targets have no gradient."""
    model = fnet()
    sizes = counted(model)
    views = {"labeled": texts(5, 5), "strong": texts(9, 9, 9, seed=1), "strong_2": texts(5, seed=2)}
    forward = ModelForward(model)
    forward(**views)
    sizes.clear()
    out = forward(**views, no_grad={"weak": texts(7, 7, seed=3)})
    assert sizes == [2, 3, 3] and list(out) == ["weak", "labeled", "strong", "strong_2"]
    assert out["strong_2"].logits.requires_grad and not out["weak"].logits.requires_grad


def test_images_of_two_sizes_are_classified_in_two_calls():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, 2)

        def forward(self, pixel_values):
            return SimpleNamespace(logits=self.head(pixel_values.sum(dim=(2, 3))))

    model = Sum()
    small, large = ({"pixel_values": torch.randn(2, 3, size, size)} for size in (4, 6))
    out = ModelForward(model)(labeled=small, strong=large)
    torch.testing.assert_close(out["strong"].logits, model(**large).logits)
    torch.testing.assert_close(out["labeled"].logits, model(**small).logits)


def test_mixed_kinds_of_keywords_are_called_apart():
    model = roberta()
    ids = texts(4, 4)
    out = ModelForward(model)(labeled=ids, strong={"input_ids": ids["input_ids"]})
    assert_same(out["strong"].logits, out["labeled"].logits)
