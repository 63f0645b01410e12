"""What is done before a model is sharded; tests/training/test_sharded_models.py is about sharded ones."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hf_ssl import ModelForward
from hf_ssl.distributed import clip_gradients
from hf_ssl.model.sharding import ready_to_shard, without_weights
from hf_ssl.training.processes import may_drop_layers
from hf_ssl.training.sharding import check_shardable

from tests.helpers.tiny_tasks import new_model


def plugin_with(names=None):
    return SimpleNamespace(transformer_cls_names_to_wrap=names, mixed_precision_policy=None)


@pytest.mark.parametrize("named", [None, ["ViTEmbeddings", "ViTLayer"]])
def test_no_table_of_embeddings_is_sharded_twice(named):
    plugin = plugin_with(named)
    with ready_to_shard(new_model("image"), plugin):
        assert plugin.transformer_cls_names_to_wrap == ["ViTLayer"]


def test_a_layer_that_the_model_lacks_is_not_looked_for():
    model = new_model("audio")
    model._no_split_modules = ["Wav2Vec2EncoderLayer", "AnotherLayer"]
    plugin = plugin_with()
    with ready_to_shard(model, plugin):
        assert plugin.transformer_cls_names_to_wrap == ["Wav2Vec2EncoderLayer"]


def test_a_model_without_a_table_says_so_instead_of_failing():
    model = new_model("audio")
    with pytest.raises(NotImplementedError):
        model.get_input_embeddings()
    with ready_to_shard(model, plugin_with()):
        assert model.get_input_embeddings() is None
    with pytest.raises(NotImplementedError):
        model.get_input_embeddings()


def test_a_copy_without_weights_has_buffers_and_ties():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    model[0].bias.requires_grad_(False)
    model[1].running_mean.fill_(2.0)
    copied = without_weights(model)
    assert {weight.device.type for weight in copied.parameters()} == {"meta"}
    assert copied[2].weight is copied[0].weight is not model[0].weight
    assert not copied[0].bias.requires_grad and copied[1].weight.requires_grad
    assert copied[1].running_mean.tolist() == [2.0, 2.0, 2.0]
    assert copied[1].running_mean is not model[1].running_mean


@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_gradients_are_clipped_as_torch_does(limit):
    generator = torch.Generator().manual_seed(0)
    weights = [nn.Parameter(torch.zeros(size)) for size in ((3, 4), (5,), (2, 2, 2))]
    for weight in weights[:2]:
        weight.grad = torch.randn(weight.shape, generator=generator)
    again = [nn.Parameter(torch.zeros_like(weight)) for weight in weights]
    for weight, other in zip(weights, again, strict=True):
        other.grad = None if weight.grad is None else weight.grad.clone()
    expected = torch.nn.utils.clip_grad_norm_(again, limit)
    assert clip_gradients(weights, limit) == pytest.approx(expected.item(), rel=1e-6)
    for weight, other in zip(weights[:2], again, strict=False):
        torch.testing.assert_close(weight.grad, other.grad)
    assert weights[2].grad is None


@pytest.mark.parametrize("sharded", [True, False])
def test_layers_of_a_sharded_model_are_never_dropped(sharded):
    args = SimpleNamespace(world_size=2, ddp_find_unused_parameters=True, process_index=0, view_micro_batch=None)
    assert may_drop_layers(args, 0.1, sharded=sharded) is not sharded


@pytest.mark.parametrize(
    ("model", "algorithm", "sharding", "message"),
    [
        ({}, {}, False, "fsdp must be left out without GPUs: .*DDP"),
        ({"is_loaded_in_4bit": True}, {}, True, "a quantized model cannot be sharded"),
        (
            {"is_distributed_loading_by_transformers": True},
            {},
            True,
            "leave distributed_config out, and set fsdp=True",
        ),
        ({}, {"differentiates_twice": True}, True, "VAT cannot train a sharded model"),
    ],
)
def test_models_and_algorithms_that_cannot_be_sharded_are_refused(model, algorithm, sharding, message):
    answer, problem = SimpleNamespace(answers=False), SimpleNamespace(problem_type="single_label_classification")
    algorithm = SimpleNamespace(
        problem=problem, **{"differentiates_twice": False, "title": "VAT", "answer": answer, **algorithm}
    )
    with pytest.raises(ValueError, match=message) as error:
        check_shardable(SimpleNamespace(**model), algorithm, asked=True, sharding=sharding)
    assert "\n" not in str(error.value)


class Average(nn.Module):
    """Reads padding: it averages over all words."""

    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, input_ids):
        return self.head(self.words(input_ids).mean(1))


def test_processes_that_must_make_the_same_calls_do_not_look_at_the_lengths_of_their_own_texts():
    torch.manual_seed(0)
    model, shapes = Average(), []
    forward = ModelForward(model)
    forward._in_step = True
    short, long = torch.tensor([[1, 2, 3]]), torch.tensor([[3, 4, 5, 6, 7]])

    def calls(**views):
        with torch.no_grad():
            forward(**{name: {"input_ids": ids} for name, ids in views.items()})
            shapes.clear()
            handle = model.words.register_forward_hook(lambda module, inputs, output: shapes.append(inputs[0].shape))
            out = forward(**{name: {"input_ids": ids} for name, ids in views.items()})
            handle.remove()
        for name, ids in views.items():
            torch.testing.assert_close(out[name].logits, model(ids))
        return len(shapes)

    # Together, until lengths differ for the first time on any process; from then on, always apart.
    assert calls(labeled=short, strong=short) == 1
    assert calls(labeled=short, strong=long) == 2
    assert calls(labeled=short, strong=short) == 2
