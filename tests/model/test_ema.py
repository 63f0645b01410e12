"""The moving average of the weights."""

import pytest
import torch
from torch import nn

from hf_ssl import ModelEma


def model():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    for parameter in net.parameters():
        nn.init.constant_(parameter, 1.0)
    return net


def set_all(net, value):
    with torch.no_grad():
        for tensor in [*net.parameters(), *net.buffers()]:
            tensor.fill_(value)


def test_known_answers_after_two_updates():
    net = model()
    set_all(net, 1)
    ema = ModelEma(net, decay=0.9)
    for value in (2, 3):
        set_all(net, value)
        ema.update()
    # 0.9 * (0.9 * 1 + 0.1 * 2) + 0.1 * 3; buffers are the model's.
    buffers = dict(net.named_buffers())
    for name, average in ema.state_dict().items():
        expected = 3 if name in buffers else 1.29
        assert torch.allclose(average.double(), torch.full_like(average, 0, dtype=torch.float64) + expected), name


def test_the_average_is_evaluated_with_the_present_running_statistics():
    # Of a network whose activations are small, an average of the statistics would still be their start, a variance of
    # 1.
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))
    nn.init.constant_(net[0].weight, 0.001)
    ema = ModelEma(net, decay=0.99)
    for _ in range(100):
        net(torch.randn(16, 2))
        ema.update()
    assert net[1].running_var.max() < 1e-4
    with ema.swapped_into():
        assert net[1].running_var.max() < 1e-4


def test_swapping_exchanges_weights_and_restores_them():
    net = model()
    ema = ModelEma(net, decay=0.5)
    set_all(net, 3)
    pointers = [p.data_ptr() for p in net.parameters()]
    with ema.swapped_into():
        assert all((p == 1).all() for p in net.parameters())
        assert all((p == 3).all() for p in ema.module.parameters())
    assert all((p == 3).all() for p in net.parameters())
    assert [p.data_ptr() for p in net.parameters()] == pointers


def test_only_the_followed_model_can_be_swapped_into():
    net = model()
    ema = ModelEma(net, decay=0.5)
    with ema.swapped_into(net), pytest.raises(ValueError, match="model must be the model that is followed"):
        ema.swapped_into(model()).__enter__()


def test_swapping_is_undone_after_an_error():
    net = model()
    ema = ModelEma(net, decay=0.5)
    set_all(net, 3)
    with pytest.raises(RuntimeError), ema.swapped_into():
        raise RuntimeError
    assert all((p == 3).all() for p in net.parameters())


def test_weights_that_are_not_trained_are_shared():
    net = model()
    net[0].requires_grad_(False)
    ema = ModelEma(net, decay=0.5)
    assert ema.module[0].weight is net[0].weight
    assert not any(name.startswith("0.") for name in ema.state_dict())
    assert all(p.requires_grad is False for p in ema.module.parameters())


def test_state_round_trips_and_foreign_state_is_refused():
    net = model()
    ema = ModelEma(net, decay=0.5)
    set_all(net, 3)
    ema.update()
    other = ModelEma(model(), decay=0.5)
    other.load_state_dict(ema.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ema.state_dict().values(), other.state_dict().values(), strict=True))
    with pytest.raises(KeyError, match="names differ"):
        other.load_state_dict({"0.weight": torch.zeros(2, 2)})


@pytest.mark.parametrize("decay", [-0.1, 1.0, 1.5])
def test_decay_outside_its_range_is_refused(decay):
    with pytest.raises(ValueError, match=r"ema_decay must be in \[0, 1\)"):
        ModelEma(model(), decay)


# ---- Weights of half precision, buffers of any type, weights that are shared ----


class Odd(nn.Module):
    """Tied weights, a weight that two parts share, and buffers of several types, one of them in two places."""

    def __init__(self):
        super().__init__()
        self.words, self.scores = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.scores.weight = self.words.weight
        counts = torch.zeros((), dtype=torch.int64)
        self.register_buffer("counts", counts)
        self.words.register_buffer("counts_again", counts)
        self.register_buffer("seen", torch.zeros(4, dtype=torch.bool))
        self.register_buffer("scale", torch.ones(2, dtype=torch.float16), persistent=False)
        self.register_buffer("unset", None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_averages_of_half_precision_move_as_those_of_full_precision(dtype):
    """In half precision most averages stay where they are: a step of 1e-4 of the difference is below its rounding."""
    torch.manual_seed(0)
    net = nn.Linear(30, 30).to(dtype)
    ema = ModelEma(net, decay=0.9999)
    expected = {name: weight.double().clone() for name, weight in net.state_dict().items()}
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter))
    start = {name: average.clone() for name, average in ema.module.state_dict().items()}
    for _ in range(1_000):
        ema.update()
    for name, weight in net.state_dict().items():
        # 1,000 times average <- 0.9999 average + 0.0001 weight, of a weight that stays the same.
        expected[name] = weight.double() + (expected[name] - weight.double()) * 0.9999**1_000
        average = ema.state_dict()[name]
        assert average.dtype == torch.float32
        assert torch.allclose(average.double(), expected[name], rtol=0, atol=2e-6)
        # What is a teacher, and evaluated and saved, is this average in the model's own type.
        assert torch.equal(ema.module.state_dict()[name], average.to(dtype))
        with ema.swapped_into(net):
            assert torch.equal(net.state_dict()[name], average.to(dtype))
        assert torch.equal(net.state_dict()[name], weight)
        assert (ema.module.state_dict()[name] != start[name]).double().mean() > 0.9


def test_averages_of_half_precision_are_restored_exactly():
    net = nn.Linear(8, 8, bias=False).bfloat16()
    ema = ModelEma(net, decay=0.99)
    nn.init.normal_(net.weight)
    ema.update()
    again = ModelEma(nn.Linear(8, 8, bias=False).bfloat16(), decay=0.99)
    again.load_state_dict(ema.state_dict())
    assert again.state_dict()["weight"].dtype == torch.float32
    assert torch.equal(again.state_dict()["weight"], ema.state_dict()["weight"])
    assert torch.equal(again.module.weight, ema.module.weight)
    # Older checkpoints hold averages in the model's type.
    again.load_state_dict(ema.module.state_dict())
    assert torch.equal(again.state_dict()["weight"], ema.module.weight.float())
    assert torch.equal(again.module.weight, ema.module.weight)


def test_full_and_double_precision_keep_one_copy():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double())
    ema = ModelEma(net, decay=0.5)
    averages = dict(ema.module.named_parameters())
    assert all(average.data_ptr() == averages[name].data_ptr() for name, average in ema.state_dict().items())


def test_resetting_takes_the_present_weights():
    net = nn.Linear(2, 2, bias=False).bfloat16()
    ema = ModelEma(net, decay=0.9)
    nn.init.constant_(net.weight, 3.0)
    ema.reset()
    assert (ema.state_dict()["weight"] == 3).all() and (ema.module.weight == 3).all()
    ema.update()
    assert (ema.state_dict()["weight"] == 3).all()


def test_shared_weights_are_averaged_once_and_stay_shared():
    net = Odd()
    nn.init.constant_(net.words.weight, 1.0)
    ema = ModelEma(net, decay=0.9)
    nn.init.constant_(net.words.weight, 2.0)
    ema.update()
    assert torch.allclose(ema.state_dict()["words.weight"], torch.tensor(1.1))
    assert ema.module.scores.weight is ema.module.words.weight
    with ema.swapped_into(net):
        assert net.scores.weight is net.words.weight
        assert torch.allclose(net.scores.weight, torch.tensor(1.1))
    assert (net.scores.weight == 2).all()


def test_buffers_of_all_types_are_the_model_s():
    net = Odd()
    ema = ModelEma(net, decay=0.9)
    net.counts.add_(7)
    net.seen[1] = True
    net.scale.fill_(0.5)
    # As some models do in their forward pass: a buffer is replaced, or is there only later.
    net.unset = torch.tensor([4, 5])
    for _ in range(2):
        ema.update()
        for name in ("counts", "seen", "scale", "unset"):
            found, expected = getattr(ema.module, name), getattr(net, name)
            assert found.dtype == expected.dtype and torch.equal(found, expected) and found is not expected, name
        assert ema.module.words.counts_again.item() == 7
        net.seen = torch.tensor([True, True, False, True])
    with ema.swapped_into(net):
        assert net.counts.item() == net.words.counts_again.item() == 7
        net.counts.fill_(9)
    assert net.counts.item() == 7 and ema.module.counts.item() == 9


def test_a_model_that_is_converted_while_it_has_the_averages_gets_its_own_weights_back():
    """`bf16_full_eval` and `fp16_full_eval` of Trainer convert the model to evaluate it."""
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    ema = ModelEma(net, decay=0.9)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.rand_like(parameter))
    ema.update()
    weights = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    averages = {name: tensor.clone() for name, tensor in ema.state_dict().items()}
    with ema.swapped_into(net):
        net.bfloat16()
    for name, tensor in net.state_dict().items():
        assert tensor.dtype == weights[name].dtype and torch.equal(tensor, weights[name]), name
    for name, tensor in ema.state_dict().items():
        assert tensor.dtype == averages[name].dtype and torch.equal(tensor, averages[name]), name
