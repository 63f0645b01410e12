"""Tiny classifiers of texts and recordings that pool and see padding in different ways, and their inputs."""

import torch
import transformers

PAD = 1
SMALL = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 32,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "pad_token_id": PAD,
}
GPT2 = {"vocab_size": 32, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32, "pad_token_id": PAD}
DECODERS = {
    "gpt2": (transformers.GPT2ForSequenceClassification, transformers.GPT2Config, GPT2),
    "llama": (transformers.LlamaForSequenceClassification, transformers.LlamaConfig, SMALL),
    "mistral": (transformers.MistralForSequenceClassification, transformers.MistralConfig, SMALL),
    "qwen3": (transformers.Qwen3ForSequenceClassification, transformers.Qwen3Config, SMALL),
    "gemma": (transformers.GemmaForSequenceClassification, transformers.GemmaConfig, SMALL),
    "biogpt": (transformers.BioGptForSequenceClassification, transformers.BioGptConfig, SMALL),
    "opt": (
        transformers.OPTForSequenceClassification,
        transformers.OPTConfig,
        {**SMALL, "ffn_dim": 16, "word_embed_proj_dim": 16},
    ),
}


def make(kind, config, settings):
    torch.manual_seed(0)
    known = {name: value for name, value in settings.items() if hasattr(config(), name) or name == "num_labels"}
    return kind(config(**known, num_labels=3)).eval()


def decoder(name):
    return make(*DECODERS[name])


def texts(*lengths, side="right", seed=0, least=5):
    """Token ids without the padding token, padded to the longest, and their mask."""
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths)
    ids, mask = torch.full((len(lengths), longest), PAD), torch.zeros(len(lengths), longest, dtype=torch.int64)
    for row, length in enumerate(lengths):
        place = slice(0, length) if side == "right" else slice(longest - length, longest)
        ids[row, place] = torch.randint(least, 32, (length,), generator=generator)
        mask[row, place] = 1
    return {"input_ids": ids, "attention_mask": mask}


XLNET = {
    "vocab_size": 32,
    "d_model": 16,
    "n_layer": 2,
    "n_head": 2,
    "d_inner": 16,
    "pad_token_id": PAD,
    "dropout": 0.0,
}


def xlnet():
    return make(transformers.XLNetForSequenceClassification, transformers.XLNetConfig, XLNET)


def fnet():
    return make(transformers.FNetForSequenceClassification, transformers.FNetConfig, SMALL)


def roberta():
    return make(transformers.RobertaForSequenceClassification, transformers.RobertaConfig, SMALL)


def speech(norm="group"):
    settings = {
        "conv_dim": (8, 8),
        "conv_kernel": (10, 8),
        "conv_stride": (10, 8),
        "num_feat_extract_layers": 2,
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
        "classifier_proj_size": 16,
        "feat_extract_norm": norm,
    }
    return make(transformers.Wav2Vec2ForSequenceClassification, transformers.Wav2Vec2Config, {**SMALL, **settings})


def speech_bert():
    settings = {"feature_projection_input_dim": 8, "conv_depthwise_kernel_size": 3, "classifier_proj_size": 16}
    return make(
        transformers.Wav2Vec2BertForSequenceClassification, transformers.Wav2Vec2BertConfig, {**SMALL, **settings}
    )


def waves(*lengths, mask=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths)
    view = {"input_values": torch.zeros(len(lengths), longest)}
    for row, length in enumerate(lengths):
        view["input_values"][row, :length] = torch.randn(length, generator=generator)
    if mask:
        view["attention_mask"] = (torch.arange(longest) < torch.tensor(lengths)[:, None]).long()
    return view


def spectra(*lengths, seed=0):
    """Frames [N, T, 8], time in the middle."""
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths)
    mask = (torch.arange(longest) < torch.tensor(lengths)[:, None]).long()
    features = torch.randn(len(lengths), longest, 8, generator=generator) * mask[..., None]
    return {"input_features": features, "attention_mask": mask}


def bart():
    settings = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "eos_token_id": 2, "scale_embedding": True}
    return make(transformers.BartForSequenceClassification, transformers.BartConfig, {**SMALL, **settings, **heads})
