"""How members are fitted: which weights learn, and that every one of them ends as an ordinary classifier."""

import pytest
import torch
from transformers import ResNetConfig, ResNetForImageClassification

from hf_ssl.ensemble.methods import FITTED, METHODS, TITLES, TRAINED
from hf_ssl.model.head import find_head

from tests.helpers.tiny_tasks import new_model

ADAPTERS = [name for name in TRAINED if name not in ("none", "upper")]
INPUTS = {
    "image": {"pixel_values": torch.linspace(-1, 1, 2 * 3 * 12 * 12).reshape(2, 3, 12, 12)},
    "text": {"input_ids": torch.arange(1, 13).reshape(2, 6)},
    "audio": {"input_values": torch.linspace(-1, 1, 4000).sin().reshape(2, 2000)},
}


def test_every_method_has_a_title():
    assert list(TITLES) == list(METHODS) == [*TRAINED, *FITTED]


@pytest.mark.parametrize("modality", INPUTS)
@pytest.mark.parametrize("method", ADAPTERS)
def test_adapters_learn_with_the_head_and_are_merged_without_changing_an_answer(method, modality):
    plain = new_model(modality)
    adapted = TRAINED[method](plain)
    learning = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    assert any(parameter is find_head(adapted).weight for parameter in learning)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in learning:
            parameter.add_(0.1 * torch.randn_like(parameter))
    before = adapted.eval()(**INPUTS[modality]).logits
    merged = adapted.merge_and_unload()
    assert (
        type(merged) is type(new_model(modality))
        and merged.state_dict().keys() == new_model(modality).state_dict().keys()
    )
    torch.testing.assert_close(merged.eval()(**INPUTS[modality]).logits, before, atol=1e-4, rtol=1e-3)


def test_upper_and_none_train_weights_of_the_model_itself():
    assert all(parameter.requires_grad for parameter in TRAINED["none"](new_model("text")).parameters())
    upper = TRAINED["upper"](new_model("text"))
    learning = {name for name, parameter in upper.named_parameters() if parameter.requires_grad}
    assert "classifier.weight" in learning and not any("embeddings" in name for name in learning)


@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_a_network_without_linear_layers_is_told_to_train_all_weights(method):
    sizes = {"embedding_size": 8, "hidden_sizes": [8], "depths": [1], "layer_type": "basic", "num_labels": 3}
    with pytest.raises(ValueError, match="must have linear layers beside the head, got ResNetForImage"):
        TRAINED[method](ResNetForImageClassification(ResNetConfig(**sizes)))
