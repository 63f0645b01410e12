"""A temperature in the head: divided logits, the same order, and the weights of before afterwards."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    TimmWrapperConfig,
    TimmWrapperForImageClassification,
)

from hf_ssl.model.temperature import divided_logits

from tests.helpers.tiny_images import make_vit
from tests.helpers.tiny_tasks import NO_DROPOUT


def adapted(**settings):
    return get_peft_model(make_vit(), LoraConfig(r=2, target_modules=["q_proj", "v_proj"], **settings))


def two_heads():
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = DeiTConfig(image_size=12, patch_size=4, **sizes, **NO_DROPOUT, num_labels=3)
    return DeiTForImageClassificationWithTeacher(config)


def timm():
    sizes = {"img_size": 12, "patch_size": 4, "embed_dim": 8, "depth": 1, "num_heads": 2}
    config = TimmWrapperConfig(architecture="vit_tiny_patch16_224", model_args=sizes, num_labels=3)
    return TimmWrapperForImageClassification(config)


MODELS = {
    "transformers": make_vit,
    "PEFT, modules_to_save": lambda: adapted(modules_to_save=["classifier"]),
    "PEFT, head not adapted": adapted,
    "two heads": two_heads,
    "timm": timm,
    "no bias": lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 3, bias=False)),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("temperature", [0.3, 1.7])
def test_logits_are_divided_and_every_class_keeps_its_rank(make, temperature):
    torch.manual_seed(0)
    model = make().eval()
    images = torch.randn(64, 3, 12, 12)

    def logits():
        with torch.no_grad():
            found = model(images)
        return found if isinstance(found, torch.Tensor) else found.logits

    before, weights = logits(), {name: weight.clone() for name, weight in model.state_dict().items()}
    with divided_logits(model, temperature):
        divided = logits()
    assert torch.allclose(divided * temperature, before, rtol=1e-4, atol=1e-6)
    assert torch.equal(divided.argsort(dim=1), before.argsort(dim=1))
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())
    with divided_logits(model, None):
        assert torch.equal(logits(), before)


def packed():
    """As quantized layers are: linear, with weights of bytes."""
    model = nn.Sequential(nn.Linear(4, 3))
    model[0].weight = nn.Parameter(torch.zeros(3, 4, dtype=torch.uint8), requires_grad=False)
    return model


REFUSED = {
    "an adapter on the head": (
        lambda: adapted(target_parameters=["classifier.weight"]),
        2.0,
        "must be a linear layer",
    ),
    "packed weights": (packed, 2.0, r"divide the logits by 2 instead"),
    "zero": (make_vit, 0.0, "above 0, got 0.0"),
    "infinity": (make_vit, float("inf"), "above 0, got inf"),
}


@pytest.mark.parametrize(("make", "temperature", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_divided_is_one_line(make, temperature, message):
    with pytest.raises(ValueError, match=message) as error, divided_logits(make(), temperature):
        pass
    assert "\n" not in str(error.value)
