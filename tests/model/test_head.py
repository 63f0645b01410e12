"""The head of a model: what it reads, and that it gives the model's logits, in wrappers and with two heads."""

import copy
from types import SimpleNamespace

import peft
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    LevitConfig,
    LevitForImageClassificationWithTeacher,
    RobertaConfig,
    RobertaForSequenceClassification,
    SwiftFormerConfig,
    SwiftFormerForImageClassification,
    TimmWrapperForImageClassification,
)

from hf_ssl import ModelForward, Progress, SSLBatch, get_algorithm
from hf_ssl.model.ema import ModelEma
from hf_ssl.model.head import TwoHeads, find_head, head_weight, write_head

from tests.helpers.tiny_images import make_vit
from tests.helpers.tiny_tasks import NO_DROPOUT, new_model

ATTENTION = ["q_proj", "v_proj"]
WITH_HEAD = [*ATTENTION, "classifier"]
TEXT = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 20}


def images(count=3, size=12, seed=0):
    return {"pixel_values": torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))}


def texts():
    ids = torch.randint(5, 17, (3, 6), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def perturbed(model):
    """The model in evaluation mode, with adapters that do something: they start as zero."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def check(model, inputs, width):
    """Features are [N, width], logits the model's own, and the head gives these for those."""
    forward = ModelForward(model)
    with torch.no_grad():
        out, own = forward(view=inputs)["view"], model(**inputs)
        assert out.features.shape == (len(own.logits), width) == (len(own.logits), forward.head.in_features)
        assert torch.equal(out.logits, own.logits)
        assert torch.allclose(forward.classify(out.features), own.logits, atol=1e-5)
    return out


# ---- PEFT: every method that installs, on the head and beside it ----

METHODS = {
    "ADALORA": {"total_step": 10, "init_r": 2, "target_r": 1},
    "ADAMSS": {},
    "BEFT": {},
    "BOFT": {"boft_block_size": 1},
    "C3A": {"block_size": 1},
    "DEFT": {},
    "DELORA": {},
    "FOURIERFT": {"n_frequency": 8},
    "GLORA": {},
    "HIRA": {},
    "HRA": {},
    "IA3": {"feedforward_modules": []},
    "LILY": {},
    "LN_TUNING": {},
    "LOHA": {"r": 2},
    "LOKR": {"r": 2},
    "LORA": {"r": 2},
    "MISS": {"r": 2},
    "OFT": {"r": 0, "oft_block_size": 1},
    "OSF": {},
    "PEANUT": {},
    "PVERA": {},
    "RANDLORA": {},
    "TINYLORA": {},
    "UNILORA": {},
    "VERA": {"r": 2},
    "WAVEFT": {"n_frequency": 8},
}


def config_of(method, **settings):
    known = {getattr(kind, "value", kind): made for kind, made in peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    if method not in known:
        pytest.skip(f"peft {peft.__version__} has no {method}")
    return known[method](**METHODS.get(method, {}), **settings)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("settings", [{"target_modules": WITH_HEAD}, {"modules_to_save": ["classifier"]}])
def test_every_method_of_peft_gives_the_head_s_input_and_the_model_s_logits(method, settings):
    config = config_of(method, **{"target_modules": ATTENTION, **settings})
    check(perturbed(get_peft_model(make_vit(), config)), images(), 16)


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": "all-linear"},
        {"target_modules": WITH_HEAD, "use_dora": True},
        {"target_modules": WITH_HEAD, "use_rslora": True, "lora_alpha": 7},
        {"target_modules": WITH_HEAD, "bias": "all"},
        {"target_modules": ATTENTION, "target_parameters": ["classifier.weight"]},
        {"target_modules": "all-linear", "modules_to_save": ["classifier"]},
    ],
)
def test_every_kind_of_lora(settings):
    check(perturbed(get_peft_model(make_vit(), LoraConfig(r=2, **settings))), images(), 16)


@pytest.mark.parametrize("method", ["PROMPT_TUNING", "P_TUNING"])
def test_prompts_before_a_text(method):
    config = config_of(method, task_type="SEQ_CLS", num_virtual_tokens=2)
    check(perturbed(get_peft_model(new_model("text"), config)), texts(), 16)


def two_adapters(**settings):
    model = get_peft_model(make_vit(), LoraConfig(r=2, **settings), adapter_name="first")
    model.add_adapter("second", LoraConfig(r=2, **settings))
    for adapter in ("first", "second"):
        model.set_adapter(adapter)
        perturbed(model)
    return model


@pytest.mark.parametrize(
    "settings", [{"target_modules": WITH_HEAD}, {"target_modules": ATTENTION, "modules_to_save": ["classifier"]}]
)
def test_the_active_one_of_several_adapters(settings):
    model = two_adapters(**settings)
    found = {}
    for adapter in ("first", "second"):
        model.set_adapter(adapter)
        found[adapter] = check(model, images(), 16).logits
    assert (found["first"] - found["second"]).abs().max() > 0.01
    with model.disable_adapter():
        base = check(model, images(), 16).logits
    assert torch.equal(base, make_vit().eval()(**images()).logits)


def test_a_head_of_several_layers_in_modules_to_save():
    model = RobertaForSequenceClassification(RobertaConfig(**TEXT, **NO_DROPOUT, num_labels=3))
    settings = {"task_type": "SEQ_CLS", "target_modules": ["query", "dense"]}
    model = perturbed(get_peft_model(model, LoraConfig(r=2, **settings)))
    check(model, texts(), 8)
    assert find_head(model) is model.base_model.model.classifier.modules_to_save["default"].out_proj


def test_the_teacher_of_an_adapted_model_uses_its_own_head():
    model = get_peft_model(make_vit(), LoraConfig(r=2, target_modules=WITH_HEAD))
    ema = ModelEma(model, decay=0.5)
    teacher_logits = model.eval()(**images()).logits
    perturbed(model)
    forward = ModelForward(model, teacher=ema)
    out = forward.teacher(view=images())["view"]
    assert torch.equal(out.logits, teacher_logits)
    assert torch.allclose(forward.teacher_head(out.features), teacher_logits, atol=1e-5)


# ---- Two heads ----


def deit():
    sizes = {key: size for key, size in TEXT.items() if key != "vocab_size"}
    return DeiTForImageClassificationWithTeacher(
        DeiTConfig(image_size=12, patch_size=4, **sizes, **NO_DROPOUT, num_labels=3)
    )


def levit():
    return LevitForImageClassificationWithTeacher(
        LevitConfig(
            image_size=32,
            hidden_sizes=[16, 16, 16],
            num_attention_heads=[2, 2, 2],
            depths=[1, 1, 1],
            key_dim=[4, 4, 4],
            num_labels=3,
        )
    )


def swiftformer():
    return SwiftFormerForImageClassification(SwiftFormerConfig(depths=[1] * 4, embed_dims=[8, 8, 8, 8], num_labels=3))


def timm(name, **sizes):
    from transformers import TimmWrapperConfig

    config = TimmWrapperConfig(architecture=name, model_args=sizes, num_labels=3)
    return TimmWrapperForImageClassification(config)


DISTILLED = {"img_size": 16, "patch_size": 8, "embed_dim": 8, "depth": 1, "num_heads": 2}
TWO_HEADS = {
    "deit": (deit, 12, 16),
    "levit": (levit, 32, 32),
    "swiftformer": (swiftformer, 64, 16),
    "timm deit": (lambda: timm("deit_tiny_distilled_patch16_224", **DISTILLED), 16, 16),
}


def make_two_heads(name):
    torch.manual_seed(0)
    make, size, width = TWO_HEADS[name]
    return perturbed(make()), images(size=size), width


@pytest.mark.parametrize("name", TWO_HEADS)
def test_two_heads_read_two_inputs_and_the_logits_are_their_mean(name):
    model, inputs, width = make_two_heads(name)
    out = check(model, inputs, width)
    assert isinstance(find_head(model), TwoHeads)
    if name == "deit":
        hidden = model.deit(**inputs).last_hidden_state
        assert torch.allclose(out.features, torch.cat([hidden[:, 0], hidden[:, 1]], dim=1), atol=1e-6)
    # Repeated calls, a batch of views and a teacher all read their own inputs.
    forward = ModelForward(model, teacher=copy.deepcopy(model))
    views = forward(weak=inputs, strong=images(size=inputs["pixel_values"].shape[-1], seed=1))
    assert torch.allclose(views["weak"].features, out.features, atol=1e-5)
    assert (views["strong"].features - out.features).abs().max() > 1e-3
    assert torch.allclose(forward.teacher(weak=inputs)["weak"].features, out.features, atol=1e-6)


def test_two_heads_under_adapters():
    config = LoraConfig(r=2, target_modules=["q_proj", "cls_classifier", "distillation_classifier"])
    torch.manual_seed(0)
    check(perturbed(get_peft_model(deit(), config)), images(), 16)


def test_a_hook_on_two_heads_is_called_when_both_are_and_can_be_removed():
    heads, seen = TwoHeads(nn.Linear(1, 2), nn.Linear(1, 2)), []
    handles = [
        heads.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].tolist())),
        heads.register_forward_hook(lambda _, inputs, output: seen.append(output.shape)),
    ]
    heads.heads[1](torch.tensor([[2.0]]))
    assert seen == []
    heads.heads[0](torch.tensor([[1.0]]))
    assert seen == [[[1.0, 2.0]], (1, 2)]
    for handle in handles:
        handle.remove()
    heads(torch.ones(1, 2))
    assert len(seen) == 2


def test_layers_that_only_look_like_two_heads_are_not():
    mlp = nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 3))
    assert find_head(mlp) is mlp[1]

    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(5, 3), nn.Linear(3, 3)])

    listed = Listed()
    assert find_head(listed) is listed.layers[1]


class Listed(nn.Module):
    """A model with a list of heads, whose logits it averages, as CrossViT has them."""

    def __init__(self, count):
        super().__init__()
        torch.manual_seed(0)
        self.config = SimpleNamespace(num_labels=3)
        self.head = nn.ModuleList([nn.Linear(4, 3) for _ in range(count)])

    def forward(self, x):
        return torch.stack([head(part) for head, part in zip(self.head, x.split(4, dim=1), strict=True)]).mean(dim=0)


def test_heads_in_a_list():
    model, x = Listed(2), torch.randn(5, 8)
    out = ModelForward(model)(view={"x": x})["view"]
    assert torch.equal(out.features, x) and torch.equal(out.logits, model(x))
    assert torch.allclose(find_head(model)(x), model(x), atol=1e-6)
    with pytest.raises(ValueError, match="got 3 in 'head'; use another model"):
        find_head(Listed(3))


def test_a_convolution_as_head_is_named():
    model = nn.Sequential(nn.Linear(2, 2), nn.Conv2d(4, 3, kernel_size=1))
    model.config = SimpleNamespace(num_labels=3)
    with pytest.raises(ValueError, match=r"no classification head, .*got the convolution 1; use another model"):
        find_head(model)


# ---- Reading and writing the head ----


@pytest.mark.parametrize("kind", ["linear", "adapter", "two heads"])
def test_the_weight_of_a_head_is_what_its_logits_depend_on(kind):
    torch.manual_seed(0)
    if kind == "linear":
        head = nn.Linear(4, 3)
        expected = head.weight
    elif kind == "two heads":
        head = TwoHeads(nn.Linear(2, 3), nn.Linear(2, 3))
        expected = torch.cat([head.heads[0].weight, head.heads[1].weight], dim=1) / 2
    else:
        settings = {"target_modules": WITH_HEAD, "lora_dropout": 0.5, "lora_alpha": 6}
        model = perturbed(get_peft_model(make_vit(), LoraConfig(r=2, **settings))).train()
        head = find_head(model)
        expected = head.base_layer.weight + 3 * head.lora_B["default"].weight @ head.lora_A["default"].weight
    modes = [module.training for module in head.modules()]
    assert torch.allclose(head_weight(head), expected, atol=1e-5)
    assert (head.in_features, head.out_features) == tuple(head.weight.shape)[::-1] and head.bias.shape == (3,)
    assert [module.training for module in head.modules()] == modes


def test_a_head_under_an_adapter_cannot_be_written():
    head = find_head(get_peft_model(make_vit(), LoraConfig(r=2, target_modules=WITH_HEAD)))
    with pytest.raises(ValueError, match=r"got one under an adapter .*name it in modules_to_save"):
        write_head(head, torch.zeros(3, 16), torch.zeros(3))


def test_a_written_head_gives_the_logits_of_the_given_matrix():
    model, inputs, width = make_two_heads("deit")
    weight, bias = torch.randn(3, width), torch.randn(3)
    write_head(find_head(model), weight, bias)
    out = ModelForward(model)(view=inputs)["view"]
    assert torch.allclose(out.logits, out.features @ weight.T + bias, atol=1e-5)


@pytest.mark.parametrize("kind", ["two heads", "adapter on the head"])
def test_simmatch_measures_how_fast_such_a_teacher_follows(kind):
    """Its projection's average moves by the same share as the head: a tenth at each step."""
    torch.manual_seed(0)
    student = deit() if kind == "two heads" else get_peft_model(make_vit(), LoraConfig(r=2, target_modules=WITH_HEAD))
    student = student.double()
    perturbed(student)
    if kind != "two heads":
        # With A fixed, the head is linear in what is averaged.
        student.requires_grad_(False)
        find_head(student).lora_B["default"].requires_grad_(True)
    teacher = copy.deepcopy(student)
    size = {"labeled_batch_size": 3, "unlabeled_batch_size": 3, "num_labeled": 3, "num_unlabeled": 3}
    width = find_head(student).in_features
    given = {"num_classes": 3, "feature_size": width, "class_distribution": torch.ones(3) / 3, **size}
    algorithm = get_algorithm("simmatch", projection_size=4, **given).double()
    average = [p.detach().clone() for p in algorithm.projection.parameters()]
    pixels = {key: values.double() for key, values in images().items()}
    index = torch.arange(3)
    batch = SSLBatch(pixels, index, {"weak": pixels, "strong": pixels}, labeled_index=index, unlabeled_index=index)
    for step in range(4):
        algorithm(ModelForward(student, teacher=teacher), batch, Progress(step, 10, 2))
        for mine, expected in zip(algorithm.teacher_projection.buffers(), average, strict=False):
            torch.testing.assert_close(mine, expected)
        with torch.no_grad():
            trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
            for parameter in [*trained, *algorithm.projection.parameters()]:
                parameter.add_(0.1 * torch.randn_like(parameter))
            for mine, theirs in zip(teacher.parameters(), student.parameters(), strict=True):
                mine.lerp_(theirs, 0.1)
            for mine, theirs in zip(average, algorithm.projection.parameters(), strict=True):
                mine.lerp_(theirs, 0.1)


def test_bert_is_as_before():
    model = BertForSequenceClassification(BertConfig(**TEXT, num_labels=3))
    assert find_head(model) is model.classifier
