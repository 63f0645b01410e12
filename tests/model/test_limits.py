"""What text models take: found in their tables, and confirmed by the models themselves."""

import pytest
import torch
from transformers import (
    CONFIG_MAPPING,
    AutoModelForSequenceClassification,
    CanineConfig,
    CanineForSequenceClassification,
)

from hf_ssl.model.limits import check_vocabulary, embedded_tokens, text_architecture, text_limit, usable_positions

from tests.helpers.tiny_tasks import text_model
from tests.helpers.word_tokenizer import make_tokenizer

BERT = {
    "vocab_size": 50,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 32,
}
ROBERTA = BERT | {"pad_token_id": 1}
BART = {
    "vocab_size": 50,
    "d_model": 8,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 8,
    "decoder_ffn_dim": 8,
    "max_position_embeddings": 32,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
GPT = {
    "vocab_size": 50,
    "n_embd": 8,
    "n_layer": 1,
    "n_head": 2,
    "n_positions": 32,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 2,
}
LLAMA = BERT | {"pad_token_id": 0, "num_key_value_heads": 2}
# Model type -> its configuration, and how many tokens the model has positions for.
MODELS = {
    "bert": (BERT, 32),
    "distilbert": (
        {"vocab_size": 50, "dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 8, "max_position_embeddings": 32},
        32,
    ),
    "deberta-v2": (BERT, 32),
    "nystromformer": (BERT, 32),
    "roformer": (BERT | {"embedding_size": 8}, 32),
    "roberta": (ROBERTA, 30),
    "xlm-roberta-xl": (ROBERTA, 30),
    "mpnet": (ROBERTA, 30),
    "esm": (ROBERTA | {"position_embedding_type": "absolute", "mask_token_id": 4}, 30),
    "ibert": (ROBERTA, 30),
    "longformer": (ROBERTA | {"attention_window": [8]}, 30),
    "xlm": ({"emb_dim": 8, "n_layers": 1, "n_heads": 2, "max_position_embeddings": 32, "n_words": 50}, 32),
    "bart": (BART, 32),
    "bigbird_pegasus": (BART | {"attention_type": "original_full"}, 32),
    "opt": (ROBERTA | {"ffn_dim": 8, "word_embed_proj_dim": 8}, 32),
    "gpt2": (GPT, 32),
    "openai-gpt": (GPT, 32),
    "gptj": (GPT | {"rotary_dim": 4}, 32),
    "ctrl": (GPT | {"dff": 8}, 32),
    # Nothing of a fixed size limits these.
    "llama": (LLAMA, None),
    "modernbert": (LLAMA | {"cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}, None),
    "xlnet": ({"vocab_size": 50, "d_model": 8, "n_layer": 1, "n_head": 2, "d_inner": 8}, None),
}


def accepts(model, length):
    ids = torch.full((1, length), 7)
    ids[:, -1] = 2
    try:
        with torch.no_grad():
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
    except (IndexError, RuntimeError):
        return False
    return True


@pytest.mark.parametrize(("name", "settings", "expected"), [(n, *row) for n, row in MODELS.items()], ids=MODELS)
def test_as_many_tokens_as_said_and_not_one_more(name, settings, expected):
    model = AutoModelForSequenceClassification.from_config(CONFIG_MAPPING[name](**settings, num_labels=2)).eval()
    assert usable_positions(model) == expected
    if expected is None:
        assert accepts(model, 2 * 32)
    else:
        assert accepts(model, expected)
        assert not accepts(model, expected + 1)


def test_a_path_tells_what_the_model_itself_tells(tmp_path):
    model = text_model()
    model.save_pretrained(tmp_path)
    bare = text_architecture(str(tmp_path))
    assert {parameter.device.type for parameter in bare.parameters()} == {"meta"}
    assert (usable_positions(bare), embedded_tokens(bare)) == (usable_positions(model), embedded_tokens(model))
    assert text_architecture(model) is model and text_architecture(None) is None


def test_a_wrapped_model_has_the_limits_of_the_one_inside():
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(text_model(), peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query"]))
    assert (usable_positions(model), embedded_tokens(model)) == (32, 17)


@pytest.mark.parametrize(
    ("of_tokenizer", "max_length", "expected"),
    [(10**30, None, 32), (10**30, 8, 8), (16, None, 16), (16, 24, 24), (16, 100, 32), (64, None, 32)],
)
def test_the_smallest_of_settings_tokenizer_and_positions_holds(of_tokenizer, max_length, expected):
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = of_tokenizer
    assert text_limit(text_model(), tokenizer, max_length) == expected


def test_models_that_hash_characters_have_no_vocabulary_to_check():
    config = CanineConfig(**{k: v for k, v in BERT.items() if k != "vocab_size"}, num_hash_buckets=32)
    model = CanineForSequenceClassification(config)
    assert embedded_tokens(model) is None
    check_vocabulary(model, make_tokenizer())


def test_one_token_too_many_is_refused():
    tokenizer = make_tokenizer()
    model = AutoModelForSequenceClassification.from_config(CONFIG_MAPPING["bert"](**BERT | {"vocab_size": 45}))
    check_vocabulary(model, tokenizer)
    tokenizer.add_tokens(["new"])
    with pytest.raises(ValueError, match="got 45 embeddings and the token 'new' with id 45; call"):
        check_vocabulary(model, tokenizer)
