"""Layer-wise learning rates and weight decay: which weight learns how fast."""

import functools

import pytest
import torch
import transformers as T

from hf_ssl import SSLConfig
from hf_ssl.model.head import find_head
from hf_ssl.training.optimization import layer_scales, parameter_groups

from tests.helpers.tiny_images import make_vit
from tests.helpers.tiny_tasks import new_model

SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8, "num_labels": 3}
PATCHES = {"image_size": 12, "patch_size": 4}
WORDS = {"vocab_size": 20, "pad_token_id": 0}
CONVOLUTIONS = {
    "conv_dim": (8, 8),
    "conv_stride": (10, 8),
    "conv_kernel": (20, 8),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 8,
}
WINDOWS = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "num_heads": [1, 2], "window_size": 4}
STAGES = {"hidden_sizes": [8, 16], "num_labels": 3}


@functools.lru_cache
def make(name):
    """One of the tiny models; their blocks are two, or one and two in two stages."""
    family, _, form = name.partition(" ")
    torch.manual_seed(0)
    if family == "timm":
        return timm_model(form)
    auto, values = {
        "vit": (T.AutoModelForImageClassification, {**SIZES, **PATCHES}),
        "deit": (T.DeiTForImageClassification, {**SIZES, **PATCHES}),
        "beit": (T.AutoModelForImageClassification, {**SIZES, **PATCHES}),
        "dinov2": (T.AutoModelForImageClassification, {**SIZES, **PATCHES}),
        "bert": (T.AutoModelForSequenceClassification, {**SIZES, **WORDS}),
        "roberta": (T.AutoModelForSequenceClassification, {**SIZES, **WORDS}),
        "electra": (T.AutoModelForSequenceClassification, {**SIZES, **WORDS, "embedding_size": 4}),
        "deberta-v2": (T.AutoModelForSequenceClassification, {**SIZES, **WORDS, "relative_attention": True}),
        "modernbert": (T.AutoModelForSequenceClassification, {**SIZES, **WORDS, "bos_token_id": 1, "eos_token_id": 2}),
        "distilbert": (
            T.AutoModelForSequenceClassification,
            {**WORDS, "dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 8},
        ),
        "wav2vec2": (T.AutoModelForAudioClassification, {**SIZES, **CONVOLUTIONS}),
        "hubert": (T.AutoModelForAudioClassification, {**SIZES, **CONVOLUTIONS}),
        "wavlm": (T.AutoModelForAudioClassification, {**SIZES, **CONVOLUTIONS}),
        "swin": (T.AutoModelForImageClassification, {**WINDOWS, "depths": [1, 2]}),
        "swinv2": (T.AutoModelForImageClassification, {**WINDOWS, "depths": [1, 2]}),
        "resnet": (
            T.AutoModelForImageClassification,
            {**STAGES, "embedding_size": 8, "depths": [1, 2], "layer_type": "basic"},
        ),
        "convnext": (T.AutoModelForImageClassification, {**STAGES, "depths": [1, 2], "num_stages": 2}),
        "convnextv2": (T.AutoModelForImageClassification, {**STAGES, "depths": [1, 2], "num_stages": 2}),
        "mobilenet_v1": (T.AutoModelForImageClassification, {"depth_multiplier": 0.25, "num_labels": 3}),
        "mobilenet_v2": (T.AutoModelForImageClassification, {"depth_multiplier": 0.25, "num_labels": 3}),
    }[family]
    if form == "stable":
        values = {**values, "do_stable_layer_norm": True, "feat_extract_norm": "layer"}
    config = T.AutoConfig.for_model(family, **values)
    return auto(config) if issubclass(auto, torch.nn.Module) else auto.from_config(config)


def timm_model(form):
    pytest.importorskip("timm")
    name, arguments = {
        "vit": ("vit_tiny_patch16_224", {"img_size": 16, "patch_size": 8, "embed_dim": 8, "depth": 2, "num_heads": 2}),
        "swin": (
            "swin_tiny_patch4_window7_224",
            {"img_size": 32, "patch_size": 2, "embed_dim": 8, "depths": (1, 2), "num_heads": (1, 2), "window_size": 4},
        ),
        "resnet": ("resnet10t", {"channels": (8, 8, 8, 8)}),
        "convnext": ("convnext_atto", {"depths": (1, 2, 1, 1), "dims": (4, 4, 4, 4)}),
    }[form]
    config = T.TimmWrapperConfig(architecture=name, num_labels=3, model_args=arguments)
    return T.TimmWrapperForImageClassification(config)


# Start of the name -> depth; the last depth is the head's. Every parameter of the model has to fall under one row.
DEPTHS = {
    "vit": {"vit.embeddings": 0, "vit.layers.0": 1, "vit.layers.1": 2, "vit.layernorm": 3, "classifier": 3},
    "deit": {"deit.embeddings": 0, "deit.layers.0": 1, "deit.layers.1": 2, "deit.layernorm": 3, "classifier": 3},
    "beit": {"beit.embeddings": 0, "beit.layers.0": 1, "beit.layers.1": 2, "beit.pooler": 3, "classifier": 3},
    "dinov2": {
        "dinov2.embeddings": 0,
        "dinov2.encoder.layer.0": 1,
        "dinov2.encoder.layer.1": 2,
        "dinov2.layernorm": 3,
        "classifier": 3,
    },
    "bert": {
        "bert.embeddings": 0,
        "bert.encoder.layer.0": 1,
        "bert.encoder.layer.1": 2,
        "bert.pooler": 3,
        "classifier": 3,
    },
    "roberta": {"roberta.embeddings": 0, "roberta.encoder.layer.0": 1, "roberta.encoder.layer.1": 2, "classifier": 3},
    "electra": {"electra.embeddings": 0, "electra.encoder.layer.0": 1, "electra.encoder.layer.1": 2, "classifier": 3},
    "deberta-v2": {
        "deberta.embeddings": 0,
        "deberta.encoder.rel_embeddings": 0,
        "deberta.encoder.LayerNorm": 0,
        "deberta.encoder.layer.0": 1,
        "deberta.encoder.layer.1": 2,
        "pooler": 3,
        "classifier": 3,
    },
    "modernbert": {
        "model.embeddings": 0,
        "model.layers.0": 1,
        "model.layers.1": 2,
        "model.final_norm": 3,
        "head": 3,
        "classifier": 3,
    },
    "distilbert": {
        "distilbert.embeddings": 0,
        "distilbert.transformer.layer.0": 1,
        "distilbert.transformer.layer.1": 2,
        "pre_classifier": 3,
        "classifier": 3,
    },
    **{
        name: {
            f"{family}.masked_spec_embed": 0,
            f"{family}.feature_extractor": 0,
            f"{family}.feature_projection": 0,
            f"{family}.encoder.pos_conv_embed": 0,
            f"{family}.encoder.layer_norm": norm,
            f"{family}.encoder.layers.0": 1,
            f"{family}.encoder.layers.1": 2,
            "projector": 3,
            "classifier": 3,
        }
        # The encoder's norm stands before its layers, in the stable form after them.
        for name, family, norm in (
            ("wav2vec2", "wav2vec2", 0),
            ("wav2vec2 stable", "wav2vec2", 3),
            ("hubert", "hubert", 0),
            ("hubert stable", "hubert", 3),
            ("wavlm", "wavlm", 0),
        )
    },
    **{
        family: {
            f"{family}.embeddings": 0,
            f"{family}.encoder.layers.0.blocks.0": 1,
            f"{family}.encoder.layers.0.downsample": 2,
            f"{family}.encoder.layers.1.blocks.0": 2,
            f"{family}.encoder.layers.1.blocks.1": 3,
            f"{family}.layernorm": 4,
            "classifier": 4,
        }
        for family in ("swin", "swinv2")
    },
    "resnet": {
        "resnet.embedder": 0,
        "resnet.encoder.stages.0.layers.0": 1,
        "resnet.encoder.stages.1.layers.0": 2,
        "resnet.encoder.stages.1.layers.1": 3,
        "classifier": 4,
    },
    **{
        family: {
            f"{family}.embeddings": 0,
            f"{family}.encoder.stages.0.layers.0": 1,
            f"{family}.encoder.stages.1.downsampling_layer": 2,
            f"{family}.encoder.stages.1.layers.0": 2,
            f"{family}.encoder.stages.1.layers.1": 3,
            f"{family}.layernorm": 4,
            "classifier": 4,
        }
        for family in ("convnext", "convnextv2")
    },
    "mobilenet_v1": {
        "mobilenet_v1.conv_stem": 0,
        **{f"mobilenet_v1.layer.{i}": i // 2 + 1 for i in range(26)},
        "classifier": 14,
    },
    "mobilenet_v2": {
        "mobilenet_v2.conv_stem": 0,
        **{f"mobilenet_v2.layer.{i}": i + 1 for i in range(16)},
        "mobilenet_v2.conv_1x1": 17,
        "classifier": 17,
    },
    # timm's final norm learns as the last block.
    "timm vit": {
        **{f"timm_model.{name}": 0 for name in ("cls_token", "pos_embed", "patch_embed")},
        "timm_model.blocks.0": 1,
        "timm_model.blocks.1": 2,
        "timm_model.norm": 2,
        "timm_model.head": 3,
    },
    "timm swin": {
        "timm_model.patch_embed": 0,
        "timm_model.layers.0.blocks.0": 1,
        "timm_model.layers.1.downsample": 2,
        "timm_model.layers.1.blocks.0": 2,
        "timm_model.layers.1.blocks.1": 3,
        "timm_model.norm": 3,
        "timm_model.head": 4,
    },
    "timm resnet": {
        "timm_model.conv1": 0,
        "timm_model.bn1": 0,
        **{f"timm_model.layer{i}.0": i for i in (1, 2, 3, 4)},
        "timm_model.fc": 5,
    },
    "timm convnext": {
        "timm_model.stem": 0,
        "timm_model.stages.0.blocks.0": 1,
        "timm_model.stages.1.downsample": 2,
        "timm_model.stages.1.blocks.0": 2,
        "timm_model.stages.1.blocks.1": 3,
        "timm_model.stages.2": 4,
        "timm_model.stages.3": 5,
        "timm_model.head": 6,
    },
}


def depth_of(name, table):
    """The depth of the longest row that the name starts with."""
    rows = [row for row in table if name.startswith((f"{row}.", f"{row}_project.")) or name == row]
    return table[max(rows, key=len)]


@pytest.mark.parametrize("name", DEPTHS)
def test_each_weight_learns_as_its_layer(name):
    table = DEPTHS[name]
    top = max(table.values())
    scales = layer_scales(make(name), 0.5)
    assert scales == {parameter: 0.5 ** (top - depth_of(parameter, table)) for parameter in scales}


@pytest.mark.parametrize("name", DEPTHS)
@pytest.mark.parametrize("layer_decay", [0.75, 1.0])
def test_every_trainable_parameter_is_in_one_group_and_the_head_comes_first(name, layer_decay):
    model = make(name)
    groups = parameter_groups(model, 0.1, 0.01, layer_decay)
    members = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(members) == sorted(id(parameter) for parameter in model.parameters())
    assert groups[0]["lr"] == 0.1
    assert len(groups) == len({(group["lr"], group["weight_decay"]) for group in groups})
    assert layer_decay < 1 or {group["lr"] for group in groups} == {0.1}


@pytest.mark.parametrize("name", DEPTHS)
def test_biases_norms_and_learned_inputs_are_not_decayed(name):
    """What is decayed are matrices and convolutions: USB's rule, weights of one axis and tokens are not."""
    model = make(name)
    decayed = {id(p) for group in parameter_groups(model, 0.1, 0.01) if group["weight_decay"] for p in group["params"]}
    for path, parameter in model.named_parameters():
        kind = type(model.get_submodule(path.rpartition(".")[0])).__name__
        learned_input = path.endswith(
            ("token", ".position_embeddings", "pos_embed", "bias_table", "masked_spec_embed")
        )
        left_out = parameter.ndim == 1 or "Norm" in kind or kind.endswith("GRN") or learned_input
        assert (id(parameter) in decayed) is not left_out, path


@pytest.mark.parametrize("layer_decay", [0.5, 1.0])
@pytest.mark.parametrize("name", DEPTHS)
def test_what_is_below_a_fitted_head_learns_slower_and_the_head_does_not(name, layer_decay):
    model = make(name)
    plain, slower = (rates(parameter_groups(model, 1.0, 0.0, layer_decay, below)) for below in (1.0, 0.25))
    head = {id(parameter) for parameter in find_head(model).parameters()}
    assert all(plain[key] == 1.0 for key in head)
    assert slower == {key: rate if key in head else 0.25 * rate for key, rate in plain.items()}


def rates(groups):
    return {id(parameter): group["lr"] for group in groups for parameter in group["params"]}


def test_embedding_tables_of_words_are_decayed_and_of_patches_are_not():
    def decays(model, name):
        groups = parameter_groups(model, 0.1, 0.01)
        return next(g["weight_decay"] for g in groups if any(p is model.get_parameter(name) for p in g["params"]))

    assert decays(make("bert"), "bert.embeddings.position_embeddings.weight") == 0.01
    assert decays(make("vit"), "vit.embeddings.position_embeddings") == 0.0
    assert decays(make("vit"), "vit.embeddings.cls_token") == 0.0


def test_frozen_weights_are_left_out_and_do_not_move_the_others():
    model = make_vit()
    model.vit.embeddings.requires_grad_(False)
    groups = parameter_groups(model, 1.0, 0.0, 0.5)
    assert sorted(group["lr"] for group in groups) == [0.25, 0.5, 1.0]


@pytest.mark.parametrize(
    ("name", "targets", "head", "block"),
    [
        ("vit", ["q_proj"], "classifier", "layers.0"),
        ("bert", ["query"], "classifier", "layer.0"),
        ("timm vit", ["qkv"], "timm_model.head", "blocks.0"),
    ],
)
def test_adapters_learn_as_the_block_they_adapt(name, targets, head, block):
    peft = pytest.importorskip("peft")
    make.cache_clear()  # PEFT changes the model it is given.
    config = peft.LoraConfig(r=2, target_modules=targets, modules_to_save=[head.rpartition(".")[2]])
    model = peft.get_peft_model(make(name), config)
    make.cache_clear()
    scales = layer_scales(model, 0.5)
    trained = {parameter for parameter, tensor in model.named_parameters() if tensor.requires_grad}
    found = {scales[parameter] for parameter in trained if f".{block}." in parameter}
    assert found == {0.25}
    assert {scales[parameter] for parameter in trained if head in parameter} == {1.0}
    members = [p for group in parameter_groups(model, 1.0, 0.0, 0.5) for p in group["params"]]
    assert len(members) == len(trained)


def test_wrapped_models_have_the_same_groups():
    model = make("vit")
    compiled = torch.compile(model)
    lrs = [[group["lr"] for group in parameter_groups(m, 1.0, 0.1, 0.5)] for m in (model, compiled)]
    assert lrs[0] == lrs[1] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]


def test_a_model_whose_layers_are_not_known_is_named():
    config = T.AlbertConfig(vocab_size=20, embedding_size=4, **SIZES)
    albert = T.AlbertForSequenceClassification(config)
    with pytest.raises(
        ValueError, match=r"layer_decay must be 1 for AlbertForSequenceClassification, since .*set layer_decay=1"
    ) as error:
        parameter_groups(albert, 0.1, 0.0, 0.5)
    assert "\n" not in str(error.value)
    assert len(parameter_groups(albert, 0.1, 0.01, 1.0)) == 2


def test_a_weight_at_no_known_place_is_named():
    model = make_vit()
    model.vit.novelty = torch.nn.Linear(2, 2)
    with pytest.raises(
        ValueError, match=r"for ViTForImageClassification, since the depth of 'novelty\.weight' in it is not known"
    ):
        layer_scales(model, 0.5)


@pytest.mark.parametrize("layer_decay", [0.0, 1.5, -1.0])
def test_layer_decay_has_a_range(tmp_path, layer_decay):
    with pytest.raises(ValueError, match=r"layer_decay must be in \(0, 1\]"):
        parameter_groups(make_vit(), 0.1, 0.0, layer_decay)
    with pytest.raises(ValueError, match=r"layer_decay must be in \(0, 1\]"):
        SSLConfig(output_dir=str(tmp_path), layer_decay=layer_decay)


@pytest.mark.parametrize("modality", ["text", "audio"])
def test_the_tiny_models_of_the_other_modalities_are_known(modality):
    assert sorted(set(layer_scales(new_model(modality), 0.1).values())) == pytest.approx([0.01, 0.1, 1.0])
