"""Views of texts: known answers on a tokenizer of whole words."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from hf_ssl.views.text import TextViews, delete_words, draw_count, swap_neighbors

from tests.helpers.word_tokenizer import CLS, MASK, SEP, WORDS, make_tokenizer

TEXT = " ".join(WORDS)
OFF = {"token_delete_ratio": 0, "token_swap_ratio": 0, "token_mask_ratio": 0}


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def words_of(tokenizer, item):
    return tokenizer.convert_ids_to_tokens(item["input_ids"])[1:-1]


@pytest.mark.parametrize(
    ("ratio", "size", "expected"),
    [(0.0, 40, {0}), (0.1, 40, {4}), (0.25, 40, {10}), (0.99, 3, {2}), (0.1, 1, {0}), (0.5, 0, {0}), (0.1, 5, {0, 1})],
)
def test_the_count_is_the_share_and_leaves_something(ratio, size, expected):
    assert {draw_count(ratio, size, rng(i)) for i in range(50)} == expected


def test_a_fractional_count_is_right_on_average():
    assert np.mean([draw_count(0.1, 5, rng(i)) for i in range(4000)]) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(("ratio", "left"), [(0.0, 40), (0.1, 36), (0.5, 20), (0.99, 1)])
def test_deletion_leaves_out_the_share_and_keeps_the_order(ratio, left):
    kept = delete_words(WORDS, ratio, rng())
    assert len(kept) == left
    assert kept == sorted(kept, key=WORDS.index)


def test_every_word_is_deleted_as_often():
    gone = np.zeros(40)
    for seed in range(1000):
        kept = set(delete_words(WORDS, 0.1, rng(seed)))
        gone += [word not in kept for word in WORDS]
    assert np.abs(gone / 1000 - 0.1).max() < 0.04


def test_one_swap_exchanges_two_neighbors():
    swapped = swap_neighbors(WORDS, 1 / 40, rng())
    moved = [i for i, word in enumerate(swapped) if word != WORDS[i]]
    assert moved == [moved[0], moved[0] + 1]
    assert swapped[moved[0]] == WORDS[moved[1]]
    assert swapped[moved[1]] == WORDS[moved[0]]


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.9])
def test_swaps_keep_every_word(ratio):
    swapped = swap_neighbors(WORDS, ratio, rng())
    assert sorted(swapped) == sorted(WORDS)
    assert (swapped == WORDS) == (ratio == 0)


def test_weak_and_evaluation_are_the_text_itself_and_draw_nothing(tokenizer):
    views, numbers = TextViews(tokenizer), rng(7)
    before = numbers.bit_generator.state
    assert views("weak", {"text": TEXT}, numbers) == views.evaluation({"text": TEXT}) == dict(tokenizer(TEXT))
    assert numbers.bit_generator.state == before


def test_strong_with_ratios_of_zero_is_weak(tokenizer):
    row = {"text": "w1  w2\nunseen w3"}
    views = TextViews(tokenizer, **OFF)
    assert views("strong", row, rng()) == views("weak", row, rng())


def test_the_fallback_does_all_three(tokenizer):
    views = TextViews(tokenizer, token_delete_ratio=0.1, token_swap_ratio=0.25, token_mask_ratio=0.25)
    words = words_of(tokenizer, views("strong", {"text": TEXT}, rng()))
    assert len(words) == 36
    assert words.count("[MASK]") == 9
    rest = [word for word in words if word != "[MASK]"]
    assert rest != sorted(rest, key=WORDS.index)
    assert set(rest) < set(WORDS)


def test_the_model_does_not_see_what_is_masked(tokenizer):
    # A sentence encoder has not learned what a mask token is, and what it makes of one would drown the words.
    item = TextViews(tokenizer, token_mask_ratio=0.25)("strong", {"text": TEXT}, rng())
    assert MASK in item["input_ids"]
    assert item["attention_mask"] == [int(token != MASK) for token in item["input_ids"]]


def test_the_generator_decides_and_nothing_else_is_drawn_from(tokenizer):
    views = TextViews(tokenizer)
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    items = [views("strong", {"text": TEXT}, rng(seed)) for seed in (1, 1, 2)]
    assert items[0] == items[1] != items[2]
    assert (np.random.get_state()[1] == numpy_state).all()
    assert torch.equal(torch.get_rng_state(), torch_state)


@pytest.mark.parametrize("text", ["w1", "w1 w2", "w1 w2 w3", "  w1 "])
def test_short_texts_are_never_emptied(tokenizer, text):
    views = TextViews(tokenizer, token_delete_ratio=0.99, token_swap_ratio=0.99, token_mask_ratio=0.99)
    for seed in range(20):
        words = words_of(tokenizer, views("strong", {"text": text}, rng(seed)))
        assert words
        assert set(words) - {"[MASK]"}


def test_special_tokens_are_never_masked(tokenizer):
    # "[SEP]" inside the text is not the tokenizer's own, but means as much to the model.
    views = TextViews(tokenizer, token_delete_ratio=0, token_swap_ratio=0, token_mask_ratio=0.9)
    for seed in range(20):
        ids = views("strong", {"text": f"w0 w1 w2 [SEP] {TEXT}"}, rng(seed))["input_ids"]
        assert [i for i, token in enumerate(ids) if token in (CLS, SEP)] == [0, 4, len(ids) - 1]
        assert ids.count(MASK) == int(0.9 * 43) or ids.count(MASK) == int(0.9 * 43) + 1


def test_what_the_template_adds_is_not_masked_even_where_the_tokenizer_does_not_call_it_special():
    tokenizer = make_tokenizer(pad_token="[PAD]", mask_token="[MASK]")
    assert not {CLS, SEP} & set(tokenizer.all_special_ids)
    ids = TextViews(tokenizer, token_mask_ratio=0.99)("strong", {"text": TEXT}, rng())["input_ids"]
    assert (ids[0], ids[-1]) == (CLS, SEP)


def test_an_unchanged_text_keeps_its_white_space(tokenizer):
    assert TextViews(tokenizer, **OFF)._perturb("w1  w2\nw3 ", rng()) == "w1  w2\nw3 "


@pytest.mark.parametrize(
    ("special", "expected"),
    [
        ({"pad_token": "[PAD]", "unk_token": "[UNK]"}, "[UNK]"),
        ({"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}, "[MASK]"),
        ({"pad_token": "[PAD]"}, None),
        ({"pad_token": "[PAD]", "eos_token": "[UNK]", "unk_token": "[UNK]"}, None),
    ],
    ids=["unknown", "mask", "neither", "unknown is the end"],
)
def test_what_masks_when_there_is_no_mask_token(special, expected):
    tokenizer = make_tokenizer(template=False, **special)
    views = TextViews(tokenizer, token_delete_ratio=0, token_swap_ratio=0, token_mask_ratio=0.25)
    item = views("strong", {"text": TEXT}, rng())
    words = tokenizer.convert_ids_to_tokens(item["input_ids"])
    assert words.count(expected) == (10 if expected else 0)
    assert len(words) == (40 if expected else 30)
    assert {len(values) for values in item.values()} == {len(words)}
    assert ("dropped" in views.describe()["strong"]) == (expected is None)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"aug_0": "w1", "aug_1": "w2"}, {"w1", "w2"}),
        ({"aug_0": "w1", "aug_1": None}, {"w1"}),
        ({"aug_0": " ", "aug_1": "w2"}, {"w2"}),
        ({"aug_0": float("nan"), "aug_1": "w2"}, {"w2"}),
        ({"aug_0": None, "aug_1": ""}, {"w9"}),
        ({}, {"w9"}),
    ],
)
def test_ready_texts_are_used_where_a_row_has_them(tokenizer, row, expected):
    views = TextViews(tokenizer)
    seen = {" ".join(words_of(tokenizer, views("strong", {"text": "w9", **row}, rng(i)))) for i in range(20)}
    assert seen == expected


def test_both_ready_texts_are_as_likely(tokenizer):
    row = {"text": "w9", "aug_0": "w1", "aug_1": "w2"}
    picks = [words_of(tokenizer, TextViews(tokenizer)("strong", row, rng(i))) == ["w1"] for i in range(400)]
    assert 160 < sum(picks) < 240


def test_pairs_of_texts(tokenizer):
    views = TextViews(
        tokenizer, columns=("premise", "hypothesis"), token_mask_ratio=0, token_swap_ratio=0, token_delete_ratio=0.5
    )
    row = {"premise": "w1 w2 w3 w4", "hypothesis": "w5 w6"}
    weak = views("weak", row, rng())
    assert weak == dict(tokenizer("w1 w2 w3 w4", "w5 w6"))
    assert weak["token_type_ids"] == [0] * 6 + [1] * 3
    assert views("strong", row, rng())["token_type_ids"] == [0] * 4 + [1] * 2
    ready = views("strong", {**row, "aug_0": ["w7", "w8"]}, rng())
    assert ready == dict(tokenizer("w7", "w8"))
    with pytest.raises(ValueError, match="'aug_0' must hold a list of two texts"):
        views("strong", {**row, "aug_0": "w7"}, rng())


@pytest.mark.parametrize(("given", "of_tokenizer", "expected"), [(None, None, 512), (None, 16, 16), (8, 16, 8)])
def test_the_length_limit(given, of_tokenizer, expected):
    tokenizer = make_tokenizer()
    if of_tokenizer:
        tokenizer.model_max_length = of_tokenizer
    views = TextViews(tokenizer, max_length=given)
    assert views.max_length == expected
    for kind in ("weak", "strong"):
        ids = views(kind, {"text": " ".join(WORDS * 20)}, rng())["input_ids"]
        assert len(ids) == expected
        assert ids[-1] == SEP


@pytest.mark.parametrize(("fixed", "length"), [(False, 5), (True, 12)])
def test_collate_pads_to_the_longest_or_to_the_limit(tokenizer, fixed, length, caplog):
    views = TextViews(tokenizer, max_length=12, pad_to_max_length=fixed)
    items = [views.evaluation({"text": text}) for text in ("w0 w1 w2", "w3")]
    batch = views.collate(items)
    assert set(batch) == {"input_ids", "attention_mask", "token_type_ids"}
    assert all(t.shape == (2, length) and t.dtype == torch.int64 for t in batch.values())
    assert batch["input_ids"][0, :5].tolist() == [CLS, 5, 6, 7, SEP]
    assert batch["input_ids"][1].tolist() == [CLS, 8, SEP] + [0] * (length - 3)
    assert batch["attention_mask"].sum(1).tolist() == [5, 3]
    assert [len(item["input_ids"]) for item in items] == [5, 3], "the items are left as they were"
    assert not caplog.records


def test_a_pickled_copy_makes_the_same_views(tokenizer):
    views = TextViews(tokenizer)
    copy = pickle.loads(pickle.dumps(views))
    assert copy("strong", {"text": TEXT}, rng(3)) == views("strong", {"text": TEXT}, rng(3))
    assert copy.modality == "text"


def test_the_description_names_the_numbers_and_the_limit_of_the_comparison(tokenizer):
    sentences = TextViews(tokenizer, max_length=64, token_mask_ratio=0.2, augmentation_columns=("german",)).describe()
    assert "64 tokens" in sentences["weak"]
    assert "german" in sentences["strong"]
    assert "20% of the tokens masked" in sentences["strong"]
    assert "not comparable with USB's back-translation" in sentences["strong"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"token_delete_ratio": 1.0}, r"token_delete_ratio must be in \[0, 1\), got 1.0"),
        ({"token_swap_ratio": -0.1}, r"token_swap_ratio must be in \[0, 1\), got -0.1"),
        ({"token_mask_ratio": float("nan")}, r"token_mask_ratio must be in \[0, 1\), got nan"),
        ({"columns": ("a", "b", "c")}, "one column of texts, or two for pairs"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"max_length": 2}, "max_length must be above 2, the special tokens around a text, got 2"),
        ({"max_length": 3, "columns": ("a", "b")}, "max_length must be above 3, the special tokens around a text"),
    ],
)
def test_wrong_settings(tokenizer, settings, message):
    with pytest.raises(ValueError, match=message):
        TextViews(tokenizer, **settings)


def test_a_tokenizer_without_padding():
    with pytest.raises(ValueError, match=r"tokenizer.pad_token = tokenizer.eos_token"):
        TextViews(make_tokenizer(unk_token="[UNK]"))


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        ("weak", {"txt": "w1"}, "no text column 'text'; the row has 'txt'"),
        ("strong", {"text": None}, "column 'text' must hold a text, got None"),
        ("strong", {"text": "w1", "aug_0": 3}, "'aug_0' must hold a text, got 3"),
        ("rotated", {"text": "w1"}, "got 'rotated'"),
    ],
)
def test_wrong_rows(tokenizer, kind, row, message):
    with pytest.raises(ValueError, match=message):
        TextViews(tokenizer)(kind, row, rng())


def test_a_text_without_tokens():
    views = TextViews(make_tokenizer(template=False, pad_token="[PAD]", unk_token="[UNK]"))
    with pytest.raises(ValueError, match="finds no token in the text ''"):
        views("weak", {"text": ""}, rng())


def test_real_news(tokenizer):
    file = Path(__file__).resolve().parents[3] / "shared" / "data" / "ag_news" / "test.parquet"
    if not file.exists():
        pytest.skip("no AG News here")
    parquet = pytest.importorskip("pyarrow.parquet")
    texts = parquet.read_table(file, columns=["text"]).slice(0, 200)["text"].to_pylist()
    views = TextViews(tokenizer)
    weak = [views("weak", {"text": text}, rng()) for text in texts]
    strong = [views("strong", {"text": text}, rng(i)) for i, text in enumerate(texts)]
    ratio = sum(len(item["input_ids"]) - 2 for item in strong) / sum(len(item["input_ids"]) - 2 for item in weak)
    assert ratio == pytest.approx(0.9, abs=0.01)
    assert views.collate(strong)["input_ids"].shape[0] == 200
