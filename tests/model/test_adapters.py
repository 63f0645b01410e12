"""What PEFT saves of a classifier: everything that is new or trained, or the reason why the model is refused."""

from types import SimpleNamespace

import peft
import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from torch import nn
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
    ViTForImageClassification,
    Wav2Vec2ForSequenceClassification,
    XLNetConfig,
    XLNetForSequenceClassification,
)

from hf_ssl.model.adapters import check_adapters, kept_weights, save_kept_weights

from tests.helpers.tiny_images import make_vit
from tests.helpers.tiny_tasks import new_model

ATTENTION = ["q_proj", "v_proj"]
WITH_HEAD = [*ATTENTION, "classifier"]
SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 20}


def lora(model, **settings):
    return get_peft_model(model, LoraConfig(r=2, **{"target_modules": ATTENTION, **settings}))


def xlnet():
    return XLNetForSequenceClassification(
        XLNetConfig(vocab_size=20, d_model=8, n_layer=1, n_head=2, d_inner=8, num_labels=3)
    )


def roberta():
    return RobertaForSequenceClassification(RobertaConfig(**SMALL, num_labels=3))


def unfrozen(model):
    model.base_model.model.classifier.requires_grad_(True)
    return model


def second_active():
    model = get_peft_model(
        make_vit(), LoraConfig(r=2, target_modules=ATTENTION, modules_to_save=["classifier"]), adapter_name="first"
    )
    model.add_adapter("second", LoraConfig(r=2, target_modules=ATTENTION))
    model.set_adapter("second")
    return model


HEADS_LOST = {
    "LoRA beside the head": (lambda: lora(make_vit()), '["classifier"]', "LoraConfig", "neither trained nor"),
    "a head trained by hand": (
        lambda: unfrozen(lora(make_vit())),
        '["classifier"]',
        "LoraConfig",
        "trained but not",
    ),
    "DoRA": (lambda: lora(make_vit(), use_dora=True), '["classifier"]', "LoraConfig", "neither trained nor"),
    "IA3": (
        lambda: get_peft_model(make_vit(), peft.IA3Config(target_modules=ATTENTION, feedforward_modules=[])),
        '["classifier"]',
        "IA3Config",
        "neither trained nor",
    ),
    "the second of two adapters": (second_active, '["classifier"]', "LoraConfig", "neither trained nor"),
    "a head of several layers": (
        lambda: lora(roberta(), target_modules=["query"]),
        '["classifier"]',
        "LoraConfig",
        "neither trained nor",
    ),
    "a head that PEFT does not know": (
        lambda: lora(xlnet(), target_modules=["layer_1"], task_type="SEQ_CLS"),
        '["logits_proj"]',
        "LoraConfig",
        "neither trained nor",
    ),
    "prompts": (
        lambda: get_peft_model(xlnet(), PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2)),
        '["logits_proj"]',
        "PromptTuningConfig",
        "neither trained nor",
    ),
}


@pytest.mark.parametrize("case", HEADS_LOST)
def test_a_head_that_would_be_lost_is_refused_with_the_setting_to_write(case):
    make, setting, config, state = HEADS_LOST[case]
    with pytest.raises(ValueError) as error:
        check_adapters(make())
    message = str(error.value)
    assert f"set modules_to_save={setting} in {config}" in message and f"is {state} saved" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "make",
    [
        lambda: lora(make_vit(), modules_to_save=["classifier"]),
        lambda: lora(make_vit(), target_modules=WITH_HEAD),
        lambda: lora(make_vit(), target_modules="all-linear"),
        lambda: lora(make_vit(), modules_to_save=["classifier"], bias="all"),
        lambda: lora(roberta(), target_modules=["query"], task_type="SEQ_CLS"),
        lambda: lora(roberta(), target_modules=["query"], modules_to_save=["out_proj"]),
        lambda: lora(xlnet(), target_modules=["layer_1"], modules_to_save=["logits_proj"]),
        lambda: get_peft_model(new_model("text"), PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2)),
        # Nothing is trained: it was loaded to be evaluated.
        lambda: lora(make_vit(), inference_mode=True),
        # No adapters.
        make_vit,
        lambda: nn.Linear(2, 2),
    ],
)
def test_what_is_saved_whole_is_left_alone(make):
    check_adapters(make())


# ---- Layers that the base model's checkpoint does not hold ----


def loaded(kind, base, folder, **settings):
    base.save_pretrained(folder)
    return kind.from_pretrained(folder, num_labels=3, **settings)


def wav2vec2_without_head(folder):
    return loaded(Wav2Vec2ForSequenceClassification, new_model("audio").wav2vec2, folder)


def distilbert_without_head(folder):
    model = DistilBertForSequenceClassification(
        DistilBertConfig(vocab_size=20, dim=8, n_layers=1, n_heads=2, hidden_dim=8)
    )
    return loaded(DistilBertForSequenceClassification, model.distilbert, folder)


def test_another_new_layer_must_be_saved_as_well(tmp_path):
    with pytest.raises(ValueError) as error:
        check_adapters(lora(wav2vec2_without_head(tmp_path), modules_to_save=["classifier"]))
    message = str(error.value)
    assert "got projector, which is new" in message and 'modules_to_save=["classifier", "projector"]' in message
    check_adapters(lora(wav2vec2_without_head(tmp_path), modules_to_save=["classifier", "projector"]))


def test_every_layer_whose_name_ends_with_the_setting_is_saved(tmp_path):
    """DistilBERT's pre_classifier is new, too, and PEFT saves it with "classifier"."""
    check_adapters(lora(distilbert_without_head(tmp_path), target_modules=["q_lin"], modules_to_save=["classifier"]))


def test_an_encoder_s_layer_that_was_read_is_not_new(tmp_path):
    model = loaded(RobertaForSequenceClassification, RobertaModel(RobertaConfig(**SMALL)), tmp_path)
    check_adapters(lora(model, target_modules=["query"], modules_to_save=["classifier"]))


def test_a_layer_trained_by_hand_must_be_saved_as_well():
    model = lora(make_vit(), modules_to_save=["classifier"])
    model.base_model.model.vit.layernorm.requires_grad_(True)
    with pytest.raises(ValueError, match=r"got vit\.layernorm, which is trained and not saved; set modules_to_save="):
        check_adapters(model)


# ---- A new head under an adapter ----


@pytest.mark.parametrize("adapters", [("default",), ("first", "second")])
def test_the_frozen_layer_under_an_adapter_of_the_head_is_saved_with_it(adapters, tmp_path):
    base = loaded(ViTForImageClassification, make_vit().vit, tmp_path / "base")
    config = LoraConfig(r=2, target_modules=WITH_HEAD)
    model = get_peft_model(base, config, adapter_name=adapters[0])
    for name in adapters[1:]:
        model.add_adapter(name, config)
    check_adapters(model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    assert [name.split(".")[-3:] for name in kept_weights(model)] == [
        ["classifier", "base_layer", "weight"],
        ["classifier", "base_layer", "bias"],
    ]
    model.save_pretrained(tmp_path / "adapter")
    save_kept_weights(tmp_path / "adapter", model)
    torch.manual_seed(7)
    again = ViTForImageClassification.from_pretrained(tmp_path / "base", num_labels=3)
    assert not torch.equal(again.classifier.weight, model.base_model.model.classifier.base_layer.weight)
    folder = tmp_path / "adapter" / ("" if adapters[0] == "default" else adapters[0])
    again = PeftModel.from_pretrained(again, folder)
    pixels = torch.randn(2, 3, 12, 12)
    assert torch.equal(again.eval()(pixels).logits, model.eval()(pixels).logits)


# ---- Methods that classifiers cannot use ----


@pytest.mark.parametrize(
    ("make", "method", "reason"),
    [
        (
            lambda: get_peft_model(
                new_model("text"), peft.PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2)
            ),
            "PREFIX_TUNING",
            "BertForSequenceClassification does not take",
        ),
        (
            lambda: get_peft_model(
                new_model("text"), peft.MultitaskPromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2)
            ),
            "MULTITASK_PROMPT_TUNING",
            "task_ids",
        ),
        (
            lambda: get_peft_model(
                make_vit(),
                peft.AdaLoraConfig(target_modules=ATTENTION, modules_to_save=["classifier"], total_step=9),
            ),
            "ADALORA",
            "its ranks and its penalty",
        ),
        (
            lambda: get_peft_model(
                make_vit(), peft.PolyConfig(target_modules=ATTENTION, modules_to_save=["classifier"])
            ),
            "POLY",
            "task_ids",
        ),
    ],
)
def test_a_method_that_cannot_work_is_refused(make, method, reason):
    with pytest.raises(ValueError, match=f"got {method}: .*{reason}.*; use LoRA"):
        check_adapters(make())


@pytest.mark.skipif(not hasattr(peft, "AdamssConfig"), reason="this version of peft has no AdaMSS")
def test_a_setting_that_needs_a_training_loop_of_its_own_is_refused():
    settings = {"target_modules": ATTENTION, "modules_to_save": ["classifier"]}
    check_adapters(get_peft_model(make_vit(), peft.AdamssConfig(**settings)))
    with pytest.raises(ValueError, match="got ADAMSS: its use_asa needs a training loop"):
        check_adapters(get_peft_model(make_vit(), peft.AdamssConfig(**settings, use_asa=True)))


def llama():
    sizes = {key: SMALL[key] for key in SMALL if key != "num_hidden_layers"}
    torch.manual_seed(0)
    return LlamaForSequenceClassification(LlamaConfig(**sizes, num_hidden_layers=1, num_labels=3, pad_token_id=0))


@pytest.mark.parametrize("kind", [peft.PromptTuningConfig, peft.PromptEncoderConfig])
@pytest.mark.parametrize("side", ["right", "left"])
def test_prompts_before_a_model_that_reads_the_padding_behind_them_are_refused(kind, side):
    model = get_peft_model(llama(), kind(task_type="SEQ_CLS", num_virtual_tokens=2))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    model.train()
    tokenizer = SimpleNamespace(padding_side=side)
    if side == "right":
        with pytest.raises(
            ValueError, match=r"LlamaForSequenceClassification reads the padding .*padding_side='left'"
        ):
            check_adapters(model, tokenizer)
    else:
        check_adapters(model, tokenizer)
    assert model.training


def test_several_kinds_of_adapters_at_once_are_refused():
    model = get_peft_model(make_vit(), LoraConfig(r=2, target_modules=WITH_HEAD), mixed=True)
    with pytest.raises(ValueError, match="PeftMixedModel cannot be saved"):
        check_adapters(model)
