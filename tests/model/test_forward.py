"""ModelForward: which calls the model gets, what comes back, and what batch normalization sees."""

from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hf_ssl import ModelForward
from hf_ssl.model.forward import differentiable_inputs
from hf_ssl.model.head import find_head
from hf_ssl.model.padding import concatenate
from hf_ssl.model.wrapping import unwrap


class Net(nn.Module):
    """Counts its calls; with batch normalization on request."""

    def __init__(self, normalize=False):
        super().__init__()
        self.body = nn.Linear(4, 5)
        self.norm = nn.BatchNorm1d(5) if normalize else nn.Identity()
        self.head = nn.Linear(5, 3)
        self.calls = []

    def forward(self, x):
        self.calls.append((len(x), torch.is_grad_enabled()))
        return SimpleNamespace(logits=self.head(torch.relu(self.norm(self.body(x)))))


def view(n, seed=0):
    return {"x": torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))}


def test_views_with_gradient_share_a_call_and_targets_make_one_without():
    model = Net()
    out = ModelForward(model)(labeled=view(2), strong=view(3, 1), no_grad={"weak": view(3, 2)})
    assert model.calls == [(3, False), (5, True)]
    assert out["labeled"].logits.shape == (2, 3) and out["strong"].features.shape == (3, 5)
    assert out["strong"].logits.requires_grad and not out["weak"].logits.requires_grad
    torch.testing.assert_close(model.head(out["strong"].features), out["strong"].logits)
    torch.testing.assert_close(out["strong"].logits, model(view(3, 1)["x"]).logits)


def test_with_batch_normalization_targets_join_the_call():
    model = Net(normalize=True)
    out = ModelForward(model)(labeled=view(2), strong=view(3, 1), no_grad={"weak": view(3, 2)})
    assert model.calls == [(8, True)]
    assert not out["weak"].logits.requires_grad and not out["weak"].features.requires_grad


def test_frozen_views_join_the_call_of_a_model_without_batch_normalization():
    model = Net()
    out = ModelForward(model)(labeled=view(2), frozen={"strong": view(3, 1)}, no_grad={"weak": view(3, 2)})
    assert model.calls == [(3, False), (5, True)]
    assert out["strong"].logits.requires_grad


def test_frozen_views_leave_running_statistics_alone():
    model = Net(normalize=True)
    alone = deepcopy(model)
    out = ModelForward(model)(labeled=view(2), frozen={"strong": view(3, 1)}, no_grad={"weak": view(3, 2)})
    ModelForward(alone)(labeled=view(2))
    assert model.calls == [(6, True), (2, True)]
    torch.testing.assert_close(model.norm.running_mean, alone.norm.running_mean)
    torch.testing.assert_close(model.norm.num_batches_tracked, alone.norm.num_batches_tracked)
    assert out["strong"].logits.requires_grad and not out["weak"].logits.requires_grad
    assert model.norm.track_running_stats


# `batch_norm_views`, None for a model without batch normalization; the given views (l: labeled, s: strong, f: frozen,
# t: no_grad) -> the views in each call of the model, + with gradient, * with an update of the running averages.
CALLS = [
    (None, "lsft", ["t", "lsf+"]),
    (None, "ft", ["t", "f+"]),
    (None, "f", ["f+"]),
    ("published", "lst", ["lst+*"]),
    ("published", "lsf", ["f+", "ls+*"]),
    ("published", "lsft", ["ft+", "ls+*"]),
    ("published", "ft", ["ft+"]),
    ("published", "t", ["t*"]),
    ("labeled", "lst", ["st+", "l+*"]),
    ("labeled", "lsft", ["fst+", "l+*"]),
    ("labeled", "lt", ["t", "l+*"]),
    ("labeled", "t", ["t"]),
    ("all", "lst", ["lst+*"]),
    ("all", "lsft", ["lsft+*"]),
    ("all", "f", ["f+*"]),
    ("all", "t", ["t*"]),
]


@pytest.mark.parametrize(("mode", "given", "expected"), CALLS, ids=lambda value: str(value))
def test_which_view_goes_into_which_call(mode, given, expected):
    model, calls = Net(normalize=mode is not None), []
    named = {letter: {"x": torch.full((2, 4), float(ord(letter)))} for letter in given}

    def note(module, _, keywords):
        letters = "".join(chr(int(value)) for value in keywords["x"][::2, 0])
        updates = mode is not None and model.norm.track_running_stats
        calls.append(letters + "+" * torch.is_grad_enabled() + "*" * updates)

    model.register_forward_pre_hook(note, with_kwargs=True)
    views = {{"l": "labeled", "s": "strong"}[letter]: named[letter] for letter in given if letter in "ls"}
    kinds = {
        "frozen": {"f": named["f"]} if "f" in given else None,
        "no_grad": {"t": named["t"]} if "t" in given else None,
    }
    out = ModelForward(model, batch_norm_views=mode or "published")(**views, **kinds)
    assert calls == expected
    assert set(out) == {*views, *(set("ft") & set(given))}
    assert all(output.logits.requires_grad == (name != "t") for name, output in out.items())


@pytest.mark.parametrize(
    "views", [{"frozen": {"weak": view(3)}}, {"no_grad": {"weak": view(3)}, "update_statistics": False}]
)
def test_a_call_for_frozen_views_alone(views):
    model = Net(normalize=True)
    ModelForward(model)(**views)
    assert model.norm.num_batches_tracked == 0 and len(model.calls) == 1


def test_the_teacher_speaks_without_gradient_and_without_changing():
    model = Net(normalize=True)
    teacher = Net(normalize=True)
    forward = ModelForward(model, teacher=teacher)
    out = forward.teacher(weak=view(3))
    assert not out["weak"].logits.requires_grad and teacher.norm.num_batches_tracked == 0 and not model.calls
    assert forward.teacher_head is teacher.head
    torch.testing.assert_close(teacher.head(out["weak"].features), out["weak"].logits)
    with pytest.raises(ValueError, match="teacher"):
        ModelForward(model).teacher(weak=view(3))


def test_classify_is_the_head():
    model = Net()
    forward = ModelForward(model)
    out = forward(labeled=view(2))["labeled"]
    torch.testing.assert_close(forward.classify(out.features), out.logits)


def test_the_head_is_found_by_its_number_of_outputs():
    model = Net()
    assert find_head(model) is model.head
    model.config = SimpleNamespace(num_labels=5)
    assert find_head(model) is model.body
    model.config.num_labels = 7
    with pytest.raises(ValueError, match=r"7 outputs.*head="):
        find_head(model)
    assert ModelForward(model, head=model.head).head is model.head


def test_unwrap_looks_through_compilation():
    model = Net()
    assert unwrap(torch.compile(model)) is model


def test_features_must_be_one_vector_for_each_example():
    class Unpooled(Net):
        def forward(self, x):
            return super().forward(x.unsqueeze(1)).logits

    with pytest.raises(ValueError, match="one vector of logits for each example"):
        ModelForward(Unpooled())(labeled=view(2))


SHORT = {"input_ids": torch.ones(1, 2, dtype=torch.int64), "attention_mask": torch.ones(1, 2)}
LONG = {"input_ids": torch.ones(1, 3, dtype=torch.int64), "attention_mask": torch.ones(1, 3)}


@pytest.mark.parametrize(
    ("side", "ids", "mask"), [("right", [1, 1, 9], [1, 1, 0]), ("left", [9, 1, 1], [0, 1, 1])], ids=["right", "left"]
)
def test_sequences_of_different_lengths_are_padded_to_the_longest(side, ids, mask):
    model = Net()
    model.config = SimpleNamespace(pad_token_id=9)
    joined = concatenate([SHORT, LONG], model, side)
    assert joined["input_ids"].tolist() == [ids, [1, 1, 1]]
    assert joined["attention_mask"].tolist() == [mask, [1, 1, 1]]


@pytest.mark.parametrize(("shape", "longer"), [((2, 5, 4), (1, 7, 4)), ((2, 4, 5), (1, 4, 7)), ((2, 5), (1, 7))])
def test_the_axis_that_differs_is_padded(shape, longer):
    joined = concatenate([{"input_features": torch.ones(shape)}, {"input_features": torch.ones(longer)}])
    assert joined["input_features"].shape == (3, *longer[1:])
    assert joined["input_features"].sum() == torch.ones(shape).sum() + torch.ones(longer).sum()


def test_images_of_two_sizes_are_not_padded():
    images = [{"pixel_values": torch.ones(1, 3, size, size)} for size in (4, 6)]
    with pytest.raises(ValueError, match="images of one call must have one size, got 3 x 4 x 4 and 3 x 6 x 6"):
        concatenate(images)


def test_speech_encoders_let_the_gradient_of_their_input_through():
    class Speech(Net):
        _requires_grad = True

        def forward(self, x):
            if self._requires_grad:
                x = x[:]
                x.requires_grad = True
            return super().forward(x)

    torch.manual_seed(0)
    model, x = Speech(), torch.ones(2, 4, requires_grad=True)
    with pytest.raises(RuntimeError):
        model(2 * x)
    with differentiable_inputs(model):
        assert torch.autograd.grad(model(2 * x).logits.sum(), x)[0].abs().sum() > 0
    assert model._requires_grad
