"""A writer's probabilities are those of each prompt and name read together, whichever way the model allows."""

import functools
import itertools

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_ssl.teach.continuations import Writer, _in_float32

from tests.helpers.tiny_teachers import VOCABULARY, tokenizer

POSITIONS, TEMPLATE = 40, "Text: {}\nClass:"
# In no order of lengths; the last is cut.
TEXTS = ["the sky is blue", "red " * 25, "a", "rose is red very red", "a leaf is green " * 6, "the sea", "sky " * 90]
NAMES = {
    "of one token": ["red", "green", "blue"],
    "of several tokens": ["very red", "the sky is blue", "a leaf", "very green"],
    "of both": ["red", "the sea is blue", "blue", "very green"],
}
_SIZES = {"vocab_size": len(VOCABULARY), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
_ROTARY = {**_SIZES, "intermediate_size": 16, "num_key_value_heads": 1, "max_position_embeddings": POSITIONS}
_WINDOWS = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 8, "head_dim": 8}
# Each with another way to know the places of tokens, or to keep what it has read.
SHARING = {
    "llama": (transformers.LlamaConfig, _ROTARY),
    "gpt_neox": (transformers.GPTNeoXConfig, {**_SIZES, "intermediate_size": 16}),
    "gpt2": (
        transformers.GPT2Config,
        {"vocab_size": len(VOCABULARY), "n_positions": POSITIONS, "n_embd": 16, "n_layer": 2, "n_head": 2},
    ),
    "opt": (
        transformers.OPTConfig,
        {**_SIZES, "ffn_dim": 16, "word_embed_proj_dim": 16, "max_position_embeddings": POSITIONS},
    ),
    "bloom": (transformers.BloomConfig, {"vocab_size": len(VOCABULARY), "hidden_size": 16, "n_layer": 2, "n_head": 2}),
    # Prompts longer than their windows, which the short prompts of the trial do not show.
    "mistral": (transformers.MistralConfig, {**_ROTARY, "sliding_window": 8}),
    "gemma2": (transformers.Gemma2Config, {**_ROTARY, **_WINDOWS}),
    "gpt_neo": (
        transformers.GPTNeoConfig,
        {
            **{"vocab_size": len(VOCABULARY), "hidden_size": 16, "num_layers": 2, "num_heads": 2, "window_size": 8},
            **{"attention_types": [[["global", "local"], 1]], "max_position_embeddings": POSITIONS},
        },
    ),
}
FALLING_BACK = {
    "mamba": (transformers.MambaConfig, {"vocab_size": len(VOCABULARY), "hidden_size": 16, "num_hidden_layers": 2}),
    # Counts positions by the places in a batch, whatever is padding.
    "bart": (
        transformers.BartConfig,
        {
            **{"vocab_size": len(VOCABULARY), "d_model": 16, "decoder_layers": 1, "decoder_ffn_dim": 16},
            **{"decoder_attention_heads": 2, "encoder_layers": 1, "max_position_embeddings": POSITIONS},
        },
    ),
}
MODELS = {**SHARING, **FALLING_BACK}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Saves a tiny model of a kind once; gives its folder."""
    folder, made = tmp_path_factory.mktemp("writers"), set()

    def save(kind: str) -> str:
        if kind not in made:
            config, sizes = MODELS[kind]
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(config(bos_token_id=2, eos_token_id=2, pad_token_id=0, **sizes))
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.ndim > 1:
                        # Small random weights hardly look at anything but the last token.
                        parameter.normal_(std=0.4)
            for part in (model, tokenizer(POSITIONS, ends=False)):
                part.save_pretrained(folder / kind)
            made.add(kind)
        return str(folder / kind)

    return save


def make(folder: str, names, batch_size: int = 3) -> Writer:
    return Writer(folder, names, TEMPLATE, batch_size, "cpu")


@torch.no_grad()
def read_together(folder: str, names: list[str], texts: list[str]) -> np.ndarray:
    """The probabilities [N, C], from one pass for each text and name, without padding or cache."""
    model, words = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        AutoTokenizer.from_pretrained(folder),
    )
    room = POSITIONS - max(len(name.split()) for name in names) - len(words(TEMPLATE.format(""))["input_ids"])
    scores = []
    for text in texts:
        prompt = words(TEMPLATE.format(" ".join(text.split()[:room])))["input_ids"]
        for name in names:
            ids = words(name)["input_ids"]
            logs = model(input_ids=torch.tensor([[*prompt, *ids]])).logits[0].log_softmax(dim=-1)
            each = [logs[len(prompt) - 1 + place, token] for place, token in enumerate(ids)]
            scores.append(torch.stack(each).mean())
    return torch.stack(scores).reshape(len(texts), len(names)).softmax(dim=1).numpy()


@pytest.mark.parametrize(
    ("kind", "names"),
    [*itertools.product(MODELS, ["of one token", "of both"]), ("llama", "of several tokens")],
)
def test_probabilities_are_those_of_prompt_and_name_read_together(kind, names, saved):
    writer = make(saved(kind), NAMES[names])
    expected = read_together(saved(kind), NAMES[names], TEXTS)
    np.testing.assert_allclose(np.stack(list(writer(TEXTS))), expected, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 0.05
    if kind in SHARING:
        assert writer.shares
    elif names != "of one token":
        assert not writer.shares


@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_both_ways_say_the_same(kind, saved):
    writer = make(saved(kind), NAMES["of both"])
    shared = list(writer(TEXTS))
    writer.shares = False
    np.testing.assert_allclose(shared, list(writer(TEXTS)), atol=1e-5)


def _raises(given):
    if given.get("use_cache"):
        raise RuntimeError("no cache here")


def _counts_places(given):
    given.pop("position_ids", None)  # as BART does: it takes none


def _forgets(given):
    for name in {"cache", "past_key_values"} & set(given):
        given[name] = None


def _attends_to_padding(given):
    given["attention_mask"] = torch.ones_like(given["attention_mask"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("fault", [_raises, _counts_places, _forgets, _attends_to_padding])
def test_a_model_that_cannot_share_or_does_so_wrongly_reads_prompt_and_name_together(
    fault, dtype, saved, monkeypatch, tmp_path
):
    folder = saved("gpt2")
    if dtype != torch.float32:
        folder = _stored_as(folder, dtype, tmp_path)
    names, original = NAMES["of both"], transformers.GPT2LMHeadModel.forward
    expected = read_together(folder, names, TEXTS)

    @functools.wraps(original)
    def forward(self, **given):
        fault(given)
        return original(self, **given)

    monkeypatch.setattr(transformers.GPT2LMHeadModel, "forward", forward)
    writer = make(folder, names)
    assert not writer.shares
    writer.model.float()
    np.testing.assert_allclose(np.stack(list(writer(TEXTS))), expected, atol=1e-5)


def _stored_as(folder: str, dtype: torch.dtype, target) -> str:
    AutoModelForCausalLM.from_pretrained(folder).to(dtype).save_pretrained(target)
    AutoTokenizer.from_pretrained(folder).save_pretrained(target)
    return str(target)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_weights_in_half_precision_share_too_and_stay_as_they_are(kind, saved, tmp_path):
    folder = _stored_as(saved(kind), torch.bfloat16, tmp_path)
    writer = make(folder, NAMES["of both"])
    assert writer.shares
    before = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    for name, tensor in writer.model.state_dict().items():
        assert tensor.dtype == torch.bfloat16 and torch.equal(tensor, before[name])
    writer.model.float()
    expected = read_together(folder, NAMES["of both"], TEXTS)
    np.testing.assert_allclose(np.stack(list(writer(TEXTS))), expected, atol=1e-5)


def test_the_ways_are_compared_in_float32_whatever_weights_are_kept_in(saved, monkeypatch, tmp_path):
    dtypes, original = set(), transformers.LlamaForCausalLM.forward

    @functools.wraps(original)
    def forward(self, **given):
        answer = original(self, **given)
        dtypes.add(answer.logits.dtype)
        return answer

    monkeypatch.setattr(transformers.LlamaForCausalLM, "forward", forward)
    writer = make(_stored_as(saved("llama"), torch.bfloat16, tmp_path), NAMES["of both"])
    assert dtypes == {torch.float32}
    dtypes.clear()
    list(writer(TEXTS))
    assert dtypes == {torch.bfloat16}


def test_weights_are_restored_if_a_module_fails():
    class Fails(torch.nn.Linear):
        def forward(self, values):
            raise RuntimeError("failed")

    model = torch.nn.Sequential(torch.nn.Linear(2, 2), Fails(2, 2)).half()
    kept = [weight.clone() for weight in model.parameters()]
    with pytest.raises(RuntimeError, match="failed"), _in_float32(model):
        model(torch.ones(1, 2))
    for weight, before in zip(model.parameters(), kept, strict=True):
        assert weight.dtype == torch.half and torch.equal(weight, before)


def _shapes(writer: Writer, texts) -> list[tuple[int, int]]:
    """Rows and tokens of each call of the model."""
    shapes = []

    def note(module, args, given):
        shapes.append(tuple(given["input_ids"].shape))

    hook = writer.model.register_forward_pre_hook(note, with_kwargs=True)
    list(writer(texts))
    hook.remove()
    return shapes


def test_a_prompt_is_read_once_and_names_go_on_from_it(saved):
    # "very red" and "very green" are read as "very": what comes after the last token is of no interest.
    names = ["red", "very red", "very green", "a leaf is green"]
    prompts = ["the sky", "the sea is blue", "a rose is very red"]
    length = len(make(saved("llama"), names)._prompt(prompts[-1]))
    assert _shapes(make(saved("llama"), names), prompts) == [(3, length), (3, 1), (3, 3)]


@pytest.mark.parametrize("kind", ["llama", "mamba", "bart"])
def test_names_of_one_token_take_one_pass_of_the_prompts(kind, saved):
    writer = make(saved(kind), NAMES["of one token"])
    lengths = sorted((len(writer._prompt(text)) for text in TEXTS), reverse=True)
    assert _shapes(writer, TEXTS) == [(3, lengths[0]), (3, lengths[3]), (1, lengths[6])]


def test_prompts_of_similar_length_are_read_together(saved):
    writer = make(saved("llama"), NAMES["of one token"], batch_size=2)
    long, short = "the sky is very blue", "red"
    lengths = [len(writer._prompt(text)) for text in (long, short)]
    assert _shapes(writer, [long, short, long, short]) == [(2, lengths[0]), (2, lengths[1])]
    found = list(writer([long, short, long, short]))
    np.testing.assert_allclose(found[:2], found[2:], atol=1e-6)
    np.testing.assert_allclose(
        found, read_together(saved("llama"), NAMES["of one token"], [long, short] * 2), atol=1e-5
    )


@pytest.mark.parametrize("kind", ["llama", "mamba"])
def test_no_call_has_more_rows_than_a_batch_or_computes_logits_that_nobody_needs(kind, saved):
    writer, sizes = make(saved(kind), NAMES["of several tokens"], batch_size=2), []
    writer.model.register_forward_hook(lambda _, args, answer: sizes.append(answer.logits.shape[:2]))
    list(writer(["the sky is blue"] * 3))
    assert max(rows for rows, _ in sizes) == 2
    assert max(kept for _, kept in sizes) == (3 if writer.shares else 4)


def test_without_texts_there_are_no_probabilities(saved):
    assert list(make(saved("llama"), NAMES["of both"])([])) == []
