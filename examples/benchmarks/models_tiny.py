"""Tiny configurations of every classifier of transformers, for `models_table.py`.

A configuration is shrunk by the names of its settings: `hidden_size` becomes 32 wherever there is one. What is special
to a model stands in `SPECIAL`.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import transformers
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

CLASSES = 3
VOCABULARY = 64
PAD, EOS = 1, 2
IMAGE_SIZE = 32
MAPPINGS = {"text": "SEQUENCE", "image": "IMAGE", "audio": "AUDIO"}

# Names of settings -> values.
_SIZES: tuple[tuple[Any, str], ...] = (
    # Widths.
    (
        32,
        "hidden_size d_model n_embd dim emb_dim d_latents embed_size word_embed_proj_dim embedding_size "
        "entity_emb_size intermediate_size encoder_ffn_dim decoder_ffn_dim ffn_dim ffn_hidden_size n_inner d_inner "
        "d_ff hidden_dim dff moe_intermediate_size shared_expert_intermediate_size kv_lora_rank q_lora_rank "
        "classifier_proj_size output_hidden_size projection_dim decoder_hidden_size qk_channels v_channels",
    ),
    # Heads, layers, experts.
    (
        4,
        "num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads num_experts "
        "n_routed_experts num_local_experts num_latents",
    ),
    (
        2,
        "num_key_value_heads num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers "
        "num_decoder_layers num_experts_per_tok moe_topk num_self_attention_heads num_cross_attention_heads "
        "linear_num_key_heads linear_num_value_heads n_mamba_heads num_kv_heads",
    ),
    (1, "num_blocks num_self_attends_per_block n_shared_experts first_k_dense_replace n_group topk_group"),
    (
        8,
        "head_dim d_kv d_head v_head_dim qk_nope_head_dim qk_rope_head_dim kv_channels linear_key_head_dim "
        "linear_value_head_dim attention_head_dim mamba_d_state",
    ),
    (64, "max_position_embeddings n_positions max_2d_position_embeddings n_ctx"),
    # Nothing is random, so that a model gives the same answer twice.
    (
        0.0,
        "hidden_dropout_prob attention_probs_dropout_prob attention_dropout hidden_dropout dropout activation_dropout "
        "classifier_dropout resid_pdrop embd_pdrop attn_pdrop embedding_dropout dropout_rate classifier_dropout_prob "
        "summary_first_dropout summary_last_dropout drop_path_rate layerdrop encoder_layerdrop decoder_layerdrop "
        "feat_proj_dropout final_dropout mask_time_prob mask_feature_prob residual_dropout pooler_dropout "
        "mlp_dropout classifier_dropout_rate conformer_conv_dropout router_jitter_noise",
    ),
    (VOCABULARY, "vocab_size"),
    (PAD, "pad_token_id"),
    (EOS, "eos_token_id"),
    (IMAGE_SIZE, "image_size"),
    (False, "use_cache"),
)
GENERIC: dict[str, Any] = {name: value for value, names in _SIZES for name in names.split()}


_CONVOLUTIONS = {"conv_dim": (8, 8), "conv_kernel": (10, 8), "conv_stride": (10, 8), "num_feat_extract_layers": 2}
_SPEECH: dict[str, Any] = {
    **_CONVOLUTIONS,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "tdnn_dim": (8,),
    "tdnn_kernel": (1,),
    "tdnn_dilation": (1,),
    "codevector_dim": 8,
    "proj_codevector_dim": 8,
    "num_codevectors_per_group": 4,
    "xvector_output_dim": 8,
}
_PYRAMID: dict[str, Any] = {"depths": (1, 1, 1, 1), "hidden_sizes": (8, 16, 16, 32)}
_SWIN: dict[str, Any] = {"embed_dim": 8, "depths": (1, 1), "num_heads": (2, 2), "window_size": 4}
_TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": PAD,
    "eos_token_id": EOS,
    "bos_token_id": 0,
}
_VISION: dict[str, Any] = {
    "model_type": "siglip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "image_size": 16,
    "patch_size": 8,
}
# Model type -> settings that differ from `GENERIC`; None leaves a setting at its default.
SPECIAL: dict[str, dict[str, Any]] = {
    # Texts.
    **{
        name: {"num_key_value_heads": 4}
        for name in ("axk1", "axk2", "deepseek_v2", "deepseek_v3", "minicpm3", "mistral4")
    },
    "canine": {"num_hash_buckets": 64, "max_position_embeddings": 64, "local_transformer_stride": 16},
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10000.0}}},
    "esmc": {"num_key_value_heads": 4},
    "gemma3": {"text_config": _TEXT, "vision_config": _VISION, "mm_tokens_per_image": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gptj": {"rotary_dim": 8},
    "layoutlmv3": {"coordinate_size": 6, "shape_size": 4, "input_size": IMAGE_SIZE},
    "lilt": {"hidden_size": 48},
    "luke": {"entity_vocab_size": 8},
    "markuplm": {
        "max_depth": 2,
        "max_xpath_subs_unit_embeddings": 8,
        "max_xpath_tag_unit_embeddings": 8,
        "tag_pad_id": 6,
        "subs_pad_id": 7,
        "xpath_unit_hidden_size": 4,
    },
    "modernvbert": {
        "text_config": {**_TEXT, "model_type": "modernbert", "classifier_dropout": 0.0},
        "vision_config": _VISION,
    },
    "mpt": {"attn_config": {"attn_pdrop": 0}},
    "qwen3_5": {
        "vision_config": {
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 4,
            "out_hidden_size": 32,
            "num_position_embeddings": 16,
        }
    },
    "reformer": {
        "axial_pos_embds_dim": (16, 16),
        "attention_head_size": 8,
        "feed_forward_size": 32,
        "attn_layers": ("local", "lsh"),
    },
    "roc_bert": {
        "shape_vocab_size": 64,
        "pronunciation_vocab_size": 64,
        "shape_embed_dim": 8,
        "pronunciation_embed_dim": 8,
    },
    **{name: {"decoder_start_token_id": PAD} for name in ("t5", "mt5", "umt5")},
    "t5gemma2": {"encoder": {"text_config": _TEXT, "vision_config": _VISION, "mm_tokens_per_image": 4}},
    "ultravbert": {"text_config": {**_TEXT, "model_type": "ultrabert"}, "vision_config": _VISION},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "num_hidden_layers": 4,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "attention_hidden_size": 64,
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "attention_head_dim": 16,
        "num_key_value_heads": 4,
        "mamba_dt_rank": 4,
        "use_mamba_kernels": False,
    },
    "zamba2": {
        "num_hidden_layers": 3,
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention"],
        "num_key_value_heads": 4,
        "n_mamba_heads": 4,
        "chunk_size": 8,
        "adapter_rank": 4,
        "use_mamba_kernels": False,
    },
    # Images.
    "bit": {**_PYRAMID, "embedding_size": 8, "num_groups": 2},
    "convnext": _PYRAMID,
    "convnextv2": _PYRAMID,
    "cvt": {"embed_dim": (8, 8, 16), "num_heads": (1, 1, 2), "depth": (1, 2, 3), "drop_path_rate": (0.0,) * 3},
    "dinat": {"embed_dim": 8, "depths": (1, 1), "num_heads": (2, 2), "dilations": [[1], [1]], "kernel_size": 3},
    "donut-swin": _SWIN,
    "efficientnet": {"width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_dim": 128},
    "focalnet": {
        "embed_dim": 8,
        "hidden_sizes": (8, 16),
        "depths": (1, 1),
        "focal_levels": (1, 1),
        "focal_windows": (3, 3),
    },
    "hgnet_v2": {
        "hidden_sizes": (8, 16, 16, 16),
        "depths": (1, 1, 1, 1),
        "embedding_size": 8,
        "stem_channels": (3, 8, 8),
        "stage_in_channels": (8, 16, 16, 16),
        "stage_mid_channels": (8, 8, 8, 8),
        "stage_out_channels": (16, 16, 16, 16),
        "stage_num_blocks": (1, 1, 1, 1),
        "stage_numb_of_layers": (1, 1, 1, 1),
    },
    "hiera": {
        "embed_dim": 8,
        "image_size": (32, 32),
        "depths": (1, 1),
        "num_heads": (1, 2),
        "num_query_pool": 1,
        "masked_unit_size": (4, 4),
        "masked_unit_attention": (True, False),
    },
    "levit": {
        "image_size": 32,
        "hidden_sizes": (16, 16, 16),
        "num_attention_heads": (2, 2, 2),
        "depths": (1, 1, 1),
        "key_dim": (8, 8, 8),
        "patch_size": 16,
        "drop_path_rate": 0,
    },
    "mobilenet_v1": {"depth_multiplier": 0.05},
    "mobilenet_v2": {"depth_multiplier": 0.05},
    "mobilevit": {"hidden_sizes": (16, 16, 16), "neck_hidden_sizes": (4, 4, 8, 8, 8, 8, 16)},
    "mobilevitv2": {"width_multiplier": 0.25, "n_attn_blocks": (1, 1, 1), "base_attn_unit_dims": (16, 16, 16)},
    "perceiver": {"max_position_embeddings": 64},
    "poolformer": {**_PYRAMID, "patch_sizes": (3, 3, 3, 3), "strides": (2, 2, 2, 2), "padding": (1, 1, 1, 1)},
    "pp_lcnet": {"scale": 0.1, "class_expand": 16},
    # Its configuration hides `num_labels`, from which the others make their names.
    "pvt": {
        **_PYRAMID,
        "id2label": {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"},
        "num_attention_heads": (1, 2, 2, 2),
        "image_size": 32,
    },
    "pvt_v2": {**_PYRAMID, "num_attention_heads": (1, 2, 2, 2), "image_size": 32},
    "regnet": {**_PYRAMID, "embedding_size": 8, "groups_width": 8},
    "resnet": {**_PYRAMID, "embedding_size": 8},
    "segformer": {**_PYRAMID, "num_attention_heads": (1, 2, 2, 2)},
    "shieldgemma2": {
        "text_config": {**_TEXT, "model_type": "gemma3_text"},
        "vision_config": _VISION,
        "mm_tokens_per_image": 4,
    },
    "swiftformer": {"depths": (1, 1, 1, 1), "embed_dims": (8, 8, 16, 16)},
    "swin": _SWIN,
    "swinv2": {**_SWIN, "pretrained_window_sizes": (0, 0)},
    "textnet": {
        "stem_out_channels": 8,
        "hidden_sizes": (8, 8, 16, 16, 16),
        "image_size": (32, 32),
        "conv_layer_kernel_sizes": [[[3, 3]]] * 4,
        "conv_layer_strides": [[1], [2], [2], [2]],
    },
    "timm_wrapper": {"architecture": "test_resnet"},
    # Recordings.
    "audio-spectrogram-transformer": {"max_length": 64, "num_mel_bins": 32},
    "wav2vec2-bert": {
        "feature_projection_input_dim": 32,
        "tdnn_dim": (8,),
        "tdnn_kernel": (1,),
        "tdnn_dilation": (1,),
        "conv_depthwise_kernel_size": 3,
    },
    "whisper": {"num_mel_bins": 80, "max_source_positions": 50, "max_target_positions": 8},
    **dict.fromkeys(
        ("data2vec-audio", "hubert", "unispeech", "unispeech-sat", "wav2vec2", "wav2vec2-conformer", "wavlm"), _SPEECH
    ),
    "sew": {**_SPEECH, "squeeze_factor": 2},
    "sew-d": {**_SPEECH, "squeeze_factor": 2},
}


class Case(NamedTuple):
    """A classifier of transformers."""

    modality: str
    model_type: str
    name: str


def cases() -> Iterator[Case]:
    """All classes that the installed transformers names for sequence, image and audio classification."""
    for modality, mapping in MAPPINGS.items():
        for model_type, names in getattr(modeling_auto, f"MODEL_FOR_{mapping}_CLASSIFICATION_MAPPING_NAMES").items():
            for name in (names,) if isinstance(names, str) else names:
                yield Case(modality, model_type, name)


def tiny_config(model_type: str) -> Any:
    """A configuration of this type with sizes that train in milliseconds."""
    config = _tiny(CONFIG_MAPPING[model_type], SPECIAL.get(model_type, {}))
    config.num_labels = CLASSES
    return config


def _tiny(kind: Any, special: dict[str, Any]) -> Any:
    known = {field.name for field in dataclasses.fields(kind)}
    settings = {name: value for name, value in GENERIC.items() if name in known}
    for name, part in kind.sub_configs.items():
        if dataclasses.is_dataclass(part) and part is not transformers.PreTrainedConfig:
            settings[name] = _tiny(part, special.get(name, {})).to_dict()
        elif name in special:
            settings[name] = special[name]
    ready = {name: value for name, value in special.items() if name not in kind.sub_configs}
    return kind(**{**settings, **ready})


def tiny_model(case: Case) -> Any:
    """A new model of this class, with random weights."""
    return getattr(transformers, case.name)(tiny_config(case.model_type))
