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
