"""Tiny models of the kinds that can be teachers, with random weights, saved with what makes their inputs."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)

from tests.helpers.tiny_tasks import NAMES, WORDS

_TEMPLATES = [
    "this",
    "This",
    "is",
    "a",
    "A",
    "photo",
    "sound",
    "of",
    "example",
    "Text",
    "Class",
    ":",
    ".",
    "high",
    "low",
]
VOCABULARY = ["<pad>", "<unk>", "<eos>", *dict.fromkeys([*_TEMPLATES, "middle", "dark", "bright", *WORDS, *NAMES])]
_TEXT = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
_VISION = {**_TEXT, "image_size": 12, "patch_size": 4}


def tokenizer(length: int = 64, ends: bool = True) -> PreTrainedTokenizerFast:
    """Words; a text ends with <eos> if `ends`."""
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    if ends:
        backend.post_processor = processors.TemplateProcessing(
            single="$A <eos>", pair="$A <eos> $B <eos>", special_tokens=[("<eos>", 2)]
        )
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "<eos>"}
    names = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=length, model_input_names=names, **special
    )


def small_pictures(processor_class):
    """A processor of pictures of 12 pixels."""
    return processor_class(
        size={"height": 12, "width": 12}, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )


def clip():
    text = {**_TEXT, "vocab_size": len(VOCABULARY), "max_position_embeddings": 64, "eos_token_id": 2}
    config = CLIPConfig(text_config=text, vision_config=_VISION, projection_dim=12)
    return CLIPModel(config), [tokenizer(), small_pictures(CLIPImageProcessor)]


def siglip():
    text = {**_TEXT, "vocab_size": len(VOCABULARY), "max_position_embeddings": 64, "projection_size": 16}
    config = SiglipConfig(text_config=text, vision_config=_VISION)
    return SiglipModel(config), [tokenizer(), small_pictures(SiglipImageProcessor)]


def clap():
    text = {**_TEXT, "vocab_size": len(VOCABULARY), "max_position_embeddings": 66, "pad_token_id": 0}
    sizes = {"hidden_size": 8, "patch_embeds_hidden_size": 4, "depths": [1, 1], "num_attention_heads": [1, 1]}
    audio = {
        **sizes,
        "num_hidden_layers": 2,
        "num_mel_bins": 16,
        "spec_size": 64,
        "window_size": 4,
        "projection_dim": 12,
    }
    config = ClapConfig(
        text_config={**text, "projection_dim": 12},
        audio_config={**audio, "enable_fusion": False, "enable_patch_fusion": False},
        projection_dim=12,
    )
    extractor = ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=16_000,
        fft_window_size=256,
        max_length_s=1,
        hop_length=160,
        truncation="rand_trunc",
    )
    return ClapModel(config), [tokenizer(), extractor]


def entailment():
    answers = ("CONTRADICTION", "NEUTRAL", "ENTAILMENT")
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        max_position_embeddings=64,
        id2label=dict(enumerate(answers)),
        label2id={name: place for place, name in enumerate(answers)},
        **_TEXT,
    )
    return BertForSequenceClassification(config), [tokenizer()]


def writer(positions: int = 64):
    config = GPT2Config(
        vocab_size=len(VOCABULARY),
        n_positions=positions,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=2,
        eos_token_id=2,
    )
    return GPT2LMHeadModel(config), [tokenizer(positions, ends=False)]


TEACHERS = {"clip": clip, "siglip": siglip, "clap": clap, "entailment": entailment, "writer": writer}


def save_teacher(kind: str, folder: Path, seed: int = 0) -> str:
    torch.manual_seed(seed)
    model, parts = TEACHERS[kind]()
    # Random features are nearly alike; larger weights let answers differ. SigLIP reads the last of 64 tokens, which is
    # padding, so that attention must not choose.
    grown = ("v_proj", "out_proj", "token_embedding") if kind == "siglip" else ("",)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and any(part in name for part in grown):
                parameter.mul_(15)
        if hasattr(model, "logit_scale"):
            model.logit_scale.fill_(2.0)
        if hasattr(model, "logit_bias"):
            # As in SigLIP's own models: no class is likely.
            model.logit_bias.fill_(-10.0)
    for part in (model, *parts):
        part.save_pretrained(folder)
    return str(folder)
