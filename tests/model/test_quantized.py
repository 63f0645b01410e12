"""Quantized weights: what a checkpoint holds of them, and that they are the same when a run resumes."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hf_ssl.model.quantized import base_digests, keep_differentiable, quantized_names, readable_state
from hf_ssl.training.checkpoint_files import load_student, save_state, student_state


class Coded(nn.Module):
    """A linear layer of 8-bit codes, that writes its scale into a state and does not know it when it reads one."""

    def __init__(self, inputs, outputs, seed=0):
        super().__init__()
        codes = torch.randint(-128, 128, (outputs, inputs), generator=torch.Generator().manual_seed(seed))
        self.weight = nn.Parameter(codes.to(torch.int8), requires_grad=False)
        self.scale = torch.tensor([0.01])

    def forward(self, x):
        return x @ (self.weight * self.scale).T

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "weight.absmax"] = self.scale
        destination[prefix + "SCB"] = self.scale


def classifier(base=0, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(Coded(4, 5, base), nn.BatchNorm1d(5), nn.Linear(5, 3))


def test_a_checkpoint_holds_what_is_trained_and_buffers_and_no_codes():
    model = classifier()
    assert {"0.weight", "0.weight.absmax", "0.SCB"} <= model.state_dict().keys()
    assert quantized_names(model) == {"0.weight"}
    assert model.state_dict().keys() - readable_state(model).keys() == {"0.weight.absmax", "0.SCB"}
    norm = {f"1.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}
    assert student_state(model).keys() == {*norm, "2.weight", "2.bias"}


def test_a_model_of_values_is_saved_whole_even_if_parts_of_it_are_frozen():
    model = classifier()[1:]
    model[1].requires_grad_(False)
    assert student_state(model).keys() == model.state_dict().keys()
    assert base_digests(model) == {}


def test_what_was_trained_is_read_back_into_a_model_with_the_same_base(tmp_path):
    trained, fresh = classifier(), classifier(seed=1)
    trained(torch.randn(6, 4))
    save_state(str(tmp_path), trained, nn.Identity(), "fixmatch")
    load_student(str(tmp_path), fresh, "fixmatch")
    assert fresh.state_dict().keys() == trained.state_dict().keys()
    assert [
        name for name, value in fresh.state_dict().items() if not torch.equal(value, trained.state_dict()[name])
    ] == []


def test_another_base_is_refused_with_the_name_of_a_weight(tmp_path):
    save_state(str(tmp_path), classifier(), nn.Identity(), "fixmatch")
    with pytest.raises(
        ValueError, match=r"belongs to another base model: its frozen '0\.weight' differs; resume with"
    ):
        load_student(str(tmp_path), classifier(base=1), "fixmatch")


def test_a_digest_sees_values_shape_and_type_over_the_whole_weight():
    def digest(weight):
        model = nn.Module()
        model.weight = nn.Parameter(weight, requires_grad=False)
        return base_digests(model)["weight"]

    zeros = torch.zeros(30, 40, dtype=torch.int8)
    # 64 of 1,200 values: one of each 18.
    others = [zeros.view(40, 30), zeros.view(torch.uint8)]
    others += [zeros.flatten().index_fill(0, torch.tensor(place), 1).view(30, 40) for place in (0, 18 * 31, 18 * 63)]
    assert len({digest(each) for each in [zeros, *others]}) == 6
    assert digest(zeros.clone()) == digest(zeros)


def test_layers_that_would_pack_their_weights_for_inference_are_told_not_to():
    written = []
    layer = nn.Linear(2, 2)
    layer.support_avx512bf16_for_cpu = True
    keep_differentiable(nn.Sequential(layer))
    assert layer.support_avx512bf16_for_cpu is False
    layer.weight.quant_state = SimpleNamespace(packing_format_for_cpu=True)
    layer.register_state_dict_pre_hook(lambda *_: written.append(True))
    keep_differentiable(nn.Sequential(layer))
    assert written == [True], "writing a state is what unpacks"
