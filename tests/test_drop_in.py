"""Datasets mapped to tensors, transforms and collators of transformers' scripts, with SSLTrainer for Trainer."""

import datasets
import numpy as np
import pytest
import torch
from transformers import DataCollatorWithPadding, default_data_collator

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.data.columns import inspect_data
from hf_ssl.data.rows import is_transformed, model_inputs
from hf_ssl.views.image import decode_image

from tests.helpers.tiny_images import make_images
from tests.helpers.tiny_tasks import TASKS, make_sounds, make_texts, new_model

IMAGE, TEXT, AUDIO = (TASKS[modality][1]() for modality in ("image", "text", "audio"))
MAKE = {"image": make_images, "text": make_texts, "audio": make_sounds}
PROCESSORS = {"image": IMAGE, "text": TEXT, "audio": AUDIO}
SIZES = {"train_dataset": (6, 0), "unlabeled_dataset": (24, 1), "eval_dataset": (6, 2)}


def data(modality, change):
    return {key: change(MAKE[modality](*size)) for key, size in SIZES.items()}


def trainer(modality, folder, given, config=None, **keywords):
    settings = {"max_steps": 2, "per_device_train_batch_size": 2, "unlabeled_batch_ratio": 2, "logging_steps": 1}
    settings |= {"save_strategy": "no", "report_to": "none", "use_cpu": True, "disable_tqdm": True}
    settings |= {"dataloader_pin_memory": False, "dataloader_num_workers": 0}
    args = SSLConfig(output_dir=str(folder), **{**settings, **(config or {})})
    keywords = {"processing_class": PROCESSORS[modality], **keywords}
    return SSLTrainer(keywords.pop("model", None) or new_model(modality), args, **given, **keywords)


def batch_of(run):
    return next(iter(run.get_train_dataloader()))


# ---- What the example scripts of transformers do to a dataset ----


def tokenized(dataset):
    """As run_glue.py: all columns are kept, texts are padded to one length."""
    return dataset.map(
        lambda rows: TEXT(rows["text"], padding="max_length", max_length=12, truncation=True), batched=True
    )


def tokenized_only(dataset):
    return tokenized(dataset).remove_columns("text").rename_column("label", "labels")


def unpadded(dataset):
    return dataset.map(lambda rows: TEXT(rows["text"]), batched=True, remove_columns="text")


def pixels(rows):
    """As run_image_classification.py: a transform that adds tensors, and draws from torch's global generator."""
    shift = torch.rand(()) * 0.1
    rows["pixel_values"] = [
        IMAGE(decode_image(image), return_tensors="pt")["pixel_values"][0] + shift for image in rows["image"]
    ]
    return rows


def pixels_only(rows):
    return {"pixel_values": pixels(dict(rows))["pixel_values"], "labels": rows["label"]}


def two_sets(rows):
    made = pixels_only(rows)
    return {**made, "pixel_values_strong": [values * 0 - 7 for values in made["pixel_values"]]}


def waves(rows):
    """As run_audio_classification.py: a new dict of inputs and labels."""
    arrays = [np.frombuffer(cell["bytes"][44:], np.int16) / 32768 for cell in rows["audio"]]
    return {"input_values": AUDIO(arrays, sampling_rate=16_000)["input_values"], "labels": list(rows["label"])}


def transformed(function):
    return lambda dataset: undecode(dataset).with_transform(function)


def undecode(dataset):
    return dataset.cast_column("audio", datasets.Audio(decode=False)) if "audio" in dataset.column_names else dataset


def stack_pixels(rows):
    """The collator of run_image_classification.py."""
    return {
        "pixel_values": torch.stack([row["pixel_values"] for row in rows]),
        "labels": torch.tensor([row["labels"] for row in rows]),
    }


CASES = {
    "tokenized": ("text", tokenized, {}),
    "tokenized, torch format": ("text", lambda d: tokenized(d).with_format("torch"), {}),
    "tokenized, some columns formatted": (
        "text",
        lambda d: tokenized(d).with_format("torch", columns=["input_ids", "attention_mask", "label"]),
        {},
    ),
    "tokenized, collator": ("text", tokenized, {"data_collator": DataCollatorWithPadding(TEXT, pad_to_multiple_of=8)}),
    "tokenized, default collator": ("text", tokenized_only, {"data_collator": default_data_collator}),
    "token ids alone": ("text", tokenized_only, {}),
    "token ids of all lengths": ("text", unpadded, {}),
    "transform beside the image": ("image", transformed(pixels), {}),
    "transform without labels kept": ("image", transformed(pixels_only), {"data_collator": stack_pixels}),
    "transform with a second set": ("image", transformed(two_sets), {"processing_class": None}),
    "transform of recordings": ("audio", transformed(waves), {}),
    "transform of recordings, collator": (
        "audio",
        transformed(waves),
        {"data_collator": DataCollatorWithPadding(AUDIO)},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_scripts_datasets_train_and_evaluate(case, tmp_path):
    modality, change, keywords = CASES[case]
    run = trainer(
        modality, tmp_path, data(modality, change), compute_metrics=lambda p: {"n": len(p.label_ids)}, **keywords
    )
    batch = batch_of(run)
    strong, weak = batch["unlabeled"]["strong"], batch["unlabeled"]["weak"]
    main = next(iter(weak))
    assert not torch.equal(strong[main], weak[main][:, : strong[main].shape[1]])
    assert not {"label", "labels", "idx", "text"} & (strong.keys() | weak.keys())
    assert batch["hidden_labels"].shape == (4,)
    run.train()
    assert run.evaluate()["eval_n"] == 6
    assert run.predict(run.eval_dataset).predictions.shape == (6, 3)


def test_weak_is_what_the_rows_hold(tmp_path):
    given = data("text", tokenized)
    run = trainer("text", tmp_path, given)
    batch = batch_of(run)
    for place, index in enumerate(batch["unlabeled_index"].tolist()):
        assert (
            batch["unlabeled"]["weak"]["input_ids"][place].tolist() == given["unlabeled_dataset"][index]["input_ids"]
        )


def test_predictions_are_those_of_the_raw_dataset(tmp_path):
    raw = trainer("text", tmp_path, data("text", lambda d: d))
    for change in (tokenized, unpadded):
        mapped = trainer("text", tmp_path, data("text", change), model=raw.model)
        expected = raw.predict(raw.eval_dataset).predictions
        np.testing.assert_allclose(mapped.predict(mapped.eval_dataset).predictions, expected, rtol=1e-4, atol=1e-6)


def test_an_explicit_input_column_makes_views_of_the_raw_column(tmp_path):
    run = trainer("text", tmp_path, data("text", tokenized), {"input_column": "text"})
    assert run.data.model_inputs == ()
    assert "cut to" in run.views.describe()["weak"]


def test_extra_columns_do_not_reach_the_model(tmp_path):
    def numbered(dataset):
        return tokenized(dataset).add_column("idx", list(range(len(dataset))))

    for keywords in ({}, {"data_collator": default_data_collator}):
        run = trainer("text", tmp_path, data("text", numbered), **keywords)
        assert batch_of(run)["labeled"]["labeled"].keys() == {"input_ids", "attention_mask"}
        rows = [run.eval_dataset[i] for i in range(2)]
        assert run.data_collator(rows).keys() == {"input_ids", "attention_mask", "labels"}


def test_the_second_set_is_the_strong_view(tmp_path):
    run = trainer("image", tmp_path, data("image", transformed(two_sets)))
    batch = batch_of(run)
    assert (batch["unlabeled"]["strong"]["pixel_values"] == -7).all()
    assert not (batch["labeled"]["labeled"]["pixel_values"] == -7).any()
    assert "pixel_values_strong" in run.describe()


def test_two_second_sets_are_both_drawn(tmp_path):
    def sets(dataset):
        dataset = tokenized_only(dataset)
        for suffix, token in (("_strong", 5), ("_strong_2", 6)):
            dataset = dataset.add_column(f"input_ids{suffix}", [[token] * 4] * len(dataset))
        return dataset

    run = trainer("text", tmp_path, data("text", sets))
    row = run.unlabeled_dataset[0]
    drawn = {int(run.views("strong", row, np.random.default_rng(seed))["input_ids"][0]) for seed in range(20)}
    assert drawn == {5, 6}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_transform_s_random_numbers_follow_from_the_draw(tmp_path, workers):
    """Whatever the global generators did before, with or without a worker."""
    batches = []
    for seed, number in ((1, 0), (2, workers)):
        run = trainer("image", tmp_path, data("image", transformed(pixels)), {"dataloader_num_workers": number})
        torch.manual_seed(seed)
        batches.append(batch_of(run)["unlabeled"])
    assert torch.equal(batches[0]["weak"]["pixel_values"], batches[1]["weak"]["pixel_values"])
    assert torch.equal(batches[0]["strong"]["pixel_values"], batches[1]["strong"]["pixel_values"])


def test_token_ids_are_perturbed_without_their_texts(tmp_path):
    run = trainer("text", tmp_path, data("text", tokenized_only), {"token_delete_ratio": 0.3, "token_mask_ratio": 0.3})
    row = run.unlabeled_dataset[0]
    ids = [i for i in row["input_ids"].tolist() if i != TEXT.pad_token_id]
    item = run.views("strong", row, np.random.default_rng(0))
    assert len(item["input_ids"]) == len(item["attention_mask"]) < len(ids)
    assert TEXT.mask_token_id in item["input_ids"]
    assert set(item["input_ids"]) <= {*ids, TEXT.mask_token_id}
    assert "Of the token ids" in run.describe()


def test_augmentation_columns_are_the_strong_view_of_token_ids(tmp_path):
    given = data("text", tokenized)
    given["unlabeled_dataset"] = given["unlabeled_dataset"].add_column("aug_0", ["very very blue"] * 24)
    run = trainer("text", tmp_path, given, data_collator=default_data_collator)
    strong = batch_of(run)["unlabeled"]["strong"]["input_ids"]
    ids = TEXT("very very blue")["input_ids"]
    assert strong[:, : len(ids)].tolist() == [ids] * 4
    assert "aug_0" in run.describe()


@pytest.mark.parametrize(
    ("modality", "change", "keywords", "ways"),
    [
        (
            "image",
            transformed(pixels_only),
            {"processing_class": None},
            "pixel_values_strong; SSLTrainer.strong_view=",
        ),
        ("text", tokenized_only, {"processing_class": None}, "input_ids_strong"),
    ],
)
def test_without_a_strong_view_the_ways_out_are_said(tmp_path, modality, change, keywords, ways):
    given = data(modality, change)
    with pytest.raises(ValueError, match=f"wants strong views.*{ways}") as error:
        trainer(modality, tmp_path, given, **keywords)
    assert "\n" not in str(error.value)
    trainer(modality, tmp_path, given, {"algorithm": "supervised"}, **keywords)


@pytest.mark.parametrize("case", ["tokenized", "transform beside the image", "transform of recordings"])
def test_medium_views_come_from_the_raw_column_or_from_token_ids(case, tmp_path):
    modality, change, keywords = CASES[case]
    run = trainer(modality, tmp_path, data(modality, change), {"algorithm": "sequencematch"}, **keywords)
    views = batch_of(run)["unlabeled"]
    (main,) = {"input_ids", "pixel_values", "input_values"} & views["weak"].keys()
    medium, weak, strong = (views[name][main] for name in ("medium", "weak", "strong"))
    for other in (weak, strong):
        assert medium.shape != other.shape or not torch.equal(medium, other)
    assert "medium view" in run.describe()


def test_without_a_medium_view_the_ways_out_are_said(tmp_path):
    given, config = data("image", transformed(two_sets)), {"algorithm": "sequencematch"}
    with pytest.raises(ValueError, match=r"wants medium views.* keep that and give its processor.*flexmatch") as error:
        trainer("image", tmp_path, given, config, processing_class=None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "pool", [lambda d: d, lambda d: unpadded(d).remove_columns("attention_mask")], ids=["raw", "other"]
)
def test_a_pool_that_is_not_mapped_is_refused(tmp_path, pool):
    given = {**data("text", tokenized), "unlabeled_dataset": pool(make_texts(24, 1))}
    with pytest.raises(
        ValueError, match=r"rows of the unlabeled dataset have no '.*map or transform it in the same way"
    ):
        trainer("text", tmp_path, given)


def test_a_raw_dataset_keeps_its_collator_for_evaluation(tmp_path):
    """A collator that tokenizes sees the rows as the user has them, strings as labels matched."""
    seen = []

    def collate(rows):
        seen.append(sorted(rows[0]))
        batch = TEXT([row["text"] for row in rows], padding=True, return_tensors="pt")
        return {**batch, "labels": torch.tensor([row["label"] for row in rows])}

    given = data("text", lambda d: d)
    names = given["eval_dataset"].features["label"].names
    given["eval_dataset"] = datasets.Dataset.from_dict(
        {"text": given["eval_dataset"]["text"], "label": [names[i] for i in given["eval_dataset"]["label"]]}
    )
    run = trainer("text", tmp_path, given, data_collator=collate)
    run.train()
    assert seen == []
    assert run.evaluate()["eval_accuracy"] >= 0
    assert seen[0] == ["label", "text"]


def test_what_rows_hold_is_found_before_and_after_a_transform():
    assert model_inputs(make_texts(3, 0)) == ()
    assert model_inputs(tokenized(make_texts(3, 0))) == ("input_ids", "attention_mask")
    changed = make_images(3, 0).with_transform(pixels_only)
    assert is_transformed(changed) and model_inputs(changed) == ("pixel_values",)
    found = inspect_data(changed, processor=IMAGE)
    assert (found.modality, found.input_columns, found.label_column) == ("image", ("image",), "label")


@pytest.mark.parametrize("modality", ["text", "image"])
def test_an_evaluation_stream_gives_what_the_dataset_gives(tmp_path, modality):
    run = trainer(modality, tmp_path, data(modality, lambda d: d))
    expected = run.evaluate()["eval_loss"]
    given = data(modality, lambda d: d)
    given["eval_dataset"] = given["eval_dataset"].to_iterable_dataset()
    streamed = trainer(modality, tmp_path, given, model=run.model)
    assert "a stream" in streamed.describe()
    assert streamed.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-5)
    assert run.evaluate(given["eval_dataset"])["eval_loss"] == pytest.approx(expected, rel=1e-5)


def test_several_evaluation_datasets_are_matched_each(tmp_path):
    given = data("text", lambda d: d)
    test = given["eval_dataset"]
    names = test.features["label"].names
    strings = datasets.Dataset.from_dict({"line": test["text"], "label": [names[i] for i in test["label"]]})
    run = trainer("text", tmp_path, {**given, "eval_dataset": {"plain": test, "strings": strings}})
    metrics = run.evaluate()
    assert metrics["eval_plain_loss"] == pytest.approx(metrics["eval_strings_loss"], rel=1e-6)
    assert "several: plain, strings" in run.describe()
    assert run.evaluate(strings)["eval_loss"] == pytest.approx(metrics["eval_plain_loss"], rel=1e-6)
    bad = datasets.Dataset.from_dict({"text": ["sky"], "label": ["violet"]})
    with pytest.raises(ValueError, match="the evaluation dataset has the label 'violet'"):
        run.evaluate(bad)
