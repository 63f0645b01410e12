"""Weak and strong views by custom callables, and token ids perturbed without their text."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.errors import BrokenExampleError
from hf_ssl.views.custom import CustomViews
from hf_ssl.views.image import ImageViews
from hf_ssl.views.seeds import global_seeds
from hf_ssl.views.text import TextViews

from tests.helpers.tiny_tasks import TASKS, new_model, task
from tests.helpers.word_tokenizer import CLS, MASK, SEP, make_tokenizer


def rng(seed=0):
    return np.random.default_rng(seed)


def trainer(modality, folder, config=None, **keywords):
    settings = {"max_steps": 2, "per_device_train_batch_size": 2, "unlabeled_batch_ratio": 2, "logging_steps": 1}
    settings |= {"save_strategy": "no", "report_to": "none", "use_cpu": True, "disable_tqdm": True}
    settings |= {"dataloader_pin_memory": False, "dataloader_num_workers": 0}
    args = SSLConfig(output_dir=str(folder), **{**settings, **(config or {})})
    return SSLTrainer(new_model(modality), args, **{**task(modality), **keywords})


def unlabeled(run, view):
    return next(iter(run.get_train_dataloader()))["unlabeled"][view]


class Jitter:
    """torchvision's transforms draw from torch's global generator."""

    def __init__(self):
        self.transform = v2.Compose([v2.ColorJitter(0.5), v2.RandomResizedCrop(12)])

    def __call__(self, row):
        return self.transform(row["image"])


def gray(row):
    return row["image"].convert("L")


def pixels(row, rng):
    return torch.full((3, 12, 12), float(rng.integers(5)))


def model_inputs(row):
    return {"pixel_values": np.full((3, 12, 12), 0.25)}


def shout(row):
    return "very very " + row["text"]


def ids(row):
    return {"input_ids": [5, 6, 7], "attention_mask": [1, 1, 1]}


def quieter(row, generator):
    assert row["audio"]["sampling_rate"] == 16_000
    return row["audio"]["array"] * np.float32(generator.uniform(0, 0.1))


def values(row):
    return {"input_values": torch.ones(4000)}


CASES = [
    ("image", Jitter()),
    ("image", gray),
    ("image", pixels),
    ("image", model_inputs),
    ("text", shout),
    ("text", ids),
    ("audio", quieter),
    ("audio", values),
]


@pytest.mark.parametrize(("modality", "function"), CASES, ids=lambda v: getattr(v, "__name__", str(v)[:5]))
@pytest.mark.parametrize("kind", ["weak", "strong"])
def test_what_a_callable_may_return(tmp_path, modality, function, kind):
    run = trainer(modality, tmp_path, **{f"{kind}_view": function})
    assert isinstance(pickle.loads(pickle.dumps(run.views)), CustomViews)
    run.train()
    row = next(row for row in run.state.log_history if "loss" in row)
    assert np.isfinite(row["loss"])
    assert f"made by {getattr(function, '__name__', 'Jitter')}" in run.describe()


def test_raw_values_pass_through_the_model_s_processor(tmp_path):
    run = trainer("image", tmp_path, strong_view=gray)
    row = run.unlabeled_dataset[0]
    item = run.views("strong", row, rng())
    expected = run.processing_class(
        run.views.base.example(row)["image"].convert("L").convert("RGB"), return_tensors="pt"
    )
    torch.testing.assert_close(item, expected["pixel_values"][0])


def test_model_inputs_are_stacked_as_they_are(tmp_path):
    strong = unlabeled(trainer("image", tmp_path, strong_view=model_inputs), "strong")
    assert strong["pixel_values"].dtype == torch.float32
    assert (strong["pixel_values"] == 0.25).all()
    assert unlabeled(trainer("text", tmp_path, strong_view=ids), "strong")["input_ids"].tolist() == [[5, 6, 7]] * 4


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("function", [Jitter(), pixels], ids=["global-generators", "own-generator"])
def test_random_numbers_follow_from_the_draw(tmp_path, function, workers):
    first = unlabeled(trainer("image", tmp_path, strong_view=function), "strong")
    torch.manual_seed(5)
    again = unlabeled(trainer("image", tmp_path, {"dataloader_num_workers": workers}, strong_view=function), "strong")
    assert torch.equal(first["pixel_values"], again["pixel_values"])
    other = unlabeled(trainer("image", tmp_path, {"seed": 7}, strong_view=function), "strong")
    assert not torch.equal(first["pixel_values"], other["pixel_values"])


def test_a_second_parameter_with_a_default_is_not_the_generator():
    def resized(row, size=12):
        return row["image"].resize((size, size))

    views = CustomViews(ImageViews(TASKS["image"][1]()), strong=resized)
    assert views("strong", {"image": Image.new("RGB", (30, 30))}, rng()).shape == (3, 12, 12)


def test_global_generators_are_put_back():
    import random

    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    with global_seeds(rng(1)):
        first = random.random(), np.random.rand(), torch.rand(1).item()
    with global_seeds(rng(1)):
        assert first == (random.random(), np.random.rand(), torch.rand(1).item())
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), states[2])


def returns(value):
    def made(row):
        return value

    return made


ROWS = {"image": {"image": Image.new("RGB", (12, 12))}, "text": {"text": "sky"}}
ROWS["audio"] = {"audio": np.zeros(4000, np.float32)}
WRONG = [
    ("image", None, "None, which a model cannot take: expected a PIL image"),
    ("image", "a.png", "'a.png', which"),
    ("image", {"pixels": 1}, "a dict with pixels, which"),
    (
        "image",
        {"pixel_values": torch.zeros(1, 3, 12, 12)},
        r"a dict with pixel_values.*\[channels, height, width\] of one",
    ),
    ("image", torch.zeros(12, 12), r"a Tensor of shape \(12, 12\) and type torch.float32"),
    ("image", torch.zeros(3, 12, 12, dtype=torch.int64), "torch.int64"),
    ("text", 7, "7, which a model cannot take: expected a text"),
    ("text", ("a", "b"), "a tuple, which a model cannot take: expected a text"),
    ("text", {"input_ids": [[1, 2]]}, "one axis"),
    ("text", {"input_ids": ["sky"]}, "numbers of one example"),
    ("audio", 0.5, "0.5, which a model cannot take: expected a waveform"),
    ("audio", torch.zeros(0), "holds no samples"),
]


@pytest.mark.parametrize(("modality", "value", "message"), WRONG, ids=[f"{row[0]}-{row[2][:20]}" for row in WRONG])
def test_what_a_model_cannot_take_is_named_with_the_callable(tmp_path, modality, value, message):
    from hf_ssl.views.audio import AudioViews

    maker = {"image": ImageViews, "text": TextViews, "audio": AudioViews}[modality]
    views = CustomViews(maker(TASKS[modality][1]()), strong=returns(value))
    with pytest.raises(TypeError, match=f"strong_view returns.<locals>.made returned .*{message}") as error:
        views("strong", ROWS[modality], rng())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"strong_view": "blur"}, TypeError, "strong_view must be a callable on a row, got a str"),
        ({"strong_view": gray, "views": object()}, ValueError, "leave weak_view and strong_view out, or views"),
    ],
)
def test_wrong_arguments(tmp_path, keywords, error, message):
    with pytest.raises(error, match=message):
        trainer("image", tmp_path, **keywords)


def test_a_file_that_a_callable_cannot_open_counts_as_broken(tmp_path):
    def opens(row):
        return Image.open("nowhere.png")

    views = CustomViews(ImageViews(TASKS["image"][1]()), strong=opens)
    with pytest.raises(BrokenExampleError, match=r"strong_view .*opens failed: .*nowhere\.png"):
        views("strong", ROWS["image"], rng())


def test_views_of_different_sizes_are_one_clear_line(tmp_path):
    with pytest.raises(ValueError, match="labeled 3 x 12 x 12, weak 3 x 12 x 12, strong 3 x 8 x 8; make them equal"):
        trainer("image", tmp_path, strong_view=returns(torch.zeros(3, 8, 8)))


# ---- Token ids ----


def item_of(*words, padding=0):
    tokens = [CLS, *words, SEP] + [0] * padding
    return {"input_ids": tokens, "attention_mask": [1] * (len(words) + 2) + [0] * padding}


def perturb(item, seed=0, **ratios):
    settings = {"token_delete_ratio": 0, "token_swap_ratio": 0, "token_mask_ratio": 0, **ratios}
    return TextViews(make_tokenizer(), **settings).perturb_tokens(item, rng(seed))


WORDS = list(range(5, 45))


def test_without_ratios_only_padding_goes():
    assert perturb(item_of(*WORDS, padding=6)) == item_of(*WORDS)
    tensors = {name: torch.tensor(values) for name, values in item_of(*WORDS, padding=6).items()}
    assert perturb(tensors) == item_of(*WORDS)


@pytest.mark.parametrize("seed", range(5))
def test_token_deletion_keeps_order_and_special_tokens(seed):
    made = perturb(item_of(*WORDS), seed, token_delete_ratio=0.25)
    kept = made["input_ids"][1:-1]
    assert (made["input_ids"][0], made["input_ids"][-1]) == (CLS, SEP)
    assert len(kept) == 30 and kept == sorted(kept)
    assert made["attention_mask"] == [1] * 32


@pytest.mark.parametrize("seed", range(5))
def test_token_swaps_do_not_cross_special_tokens(seed):
    made = perturb(item_of(*WORDS[:20], SEP, *WORDS[20:]), seed, token_swap_ratio=0.5)["input_ids"]
    assert made[21] == SEP
    assert sorted(made[1:21]) == WORDS[:20] != made[1:21]
    assert sorted(made[22:42]) == WORDS[20:] != made[22:42]


def test_token_masks_are_the_share_and_spare_special_tokens():
    made = perturb(item_of(*WORDS), token_mask_ratio=0.25)["input_ids"]
    assert made.count(MASK) == 10
    assert (made[0], made[-1]) == (CLS, SEP)


def test_types_of_pairs_stay_with_their_tokens():
    item = {**item_of(*WORDS[:10], SEP, *WORDS[10:20]), "token_type_ids": [0] * 12 + [1] * 11}
    made = perturb(item, token_delete_ratio=0.3)
    kinds = dict(zip(item["input_ids"], item["token_type_ids"], strict=True))
    for token, kind in zip(made["input_ids"], made["token_type_ids"], strict=True):
        assert token == SEP or kinds[token] == kind
