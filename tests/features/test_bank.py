"""What FeatureBank encodes, for every kind of model and dataset, and under which key it is found again."""

import copy
import errno
import io
import os

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel, TimmWrapperConfig, TimmWrapperForImageClassification

from hf_ssl.data.columns import inspect_data
from hf_ssl.data.prepare import prepare_pool
from hf_ssl.errors import BrokenExampleError
from hf_ssl.features import FeatureBank, normalize, store
from hf_ssl.features.encoder import Encoder
from hf_ssl.model.forward import ModelForward

from tests.helpers.feature_banks import CountingCalls, config, encode, pool
from tests.helpers.tiny_images import make_images
from tests.helpers.tiny_tasks import make_texts, new_model, task, tokenizer


@pytest.fixture
def bank_of(tmp_path):
    """A function that encodes a task's pool, or another dataset, in batches of four."""

    def make(modality="text", dataset=None, model=None, **settings):
        given = task(modality)
        settings = {"args": config(), "batch_size": 4, "cache_dir": tmp_path / "cache", **settings}
        processor = settings.pop("processing_class", given["processing_class"])
        model = new_model(modality, 1) if model is None else model
        return FeatureBank.encode(
            model, given["unlabeled_dataset"] if dataset is None else dataset, processor, **settings
        )

    return make


def masked_mean(model, texts):
    """By hand, one text at a time: nothing is padded."""
    rows = []
    for text in texts:
        hidden = model.base_model(**tokenizer()(text, return_tensors="pt")).last_hidden_state
        rows.append(hidden[0].mean(dim=0))
    return torch.stack(rows).detach().numpy()


# ---- What is encoded ----


def test_texts_get_the_mean_of_their_tokens_in_the_order_of_the_dataset(bank_of):
    model, dataset = new_model("text", 1).eval(), make_texts(70, 3)
    bank = bank_of(dataset=dataset, model=model)
    assert bank.pooling == "mean" and bank.modality == "text" and len(bank) == 70
    assert bank.features.dtype == np.float32 and isinstance(bank.features, np.memmap)
    assert bank.features == pytest.approx(masked_mean(model, dataset["text"]), abs=1e-5)
    assert bank.labels.tolist() == dataset["label"] and bank.label_names == ["red", "green", "blue"]


@pytest.mark.parametrize("modality", ["image", "text", "audio"])
def test_the_head_pooling_is_what_the_algorithms_call_features(bank_of, tmp_path, modality):
    model = new_model(modality, 1).eval()
    bank = bank_of(modality, model=model, pooling="head", batch_size=24)
    inputs = {}
    hook = model.register_forward_pre_hook(lambda _, __, given: inputs.update(given), with_kwargs=True)
    bank_of(modality, model=model, pooling="head", batch_size=24, cache_dir=tmp_path / "again")
    hook.remove()
    expected = ModelForward(model)(view=inputs)["view"].features.detach().numpy()
    # Texts are batched by length.
    order = np.lexsort(expected.T), np.lexsort(bank.features.T)
    assert bank.features[order[1]] == pytest.approx(expected[order[0]], abs=1e-5)


def test_recordings_get_the_mean_of_their_frames_since_the_projector_is_new(bank_of):
    model = new_model("audio", 1).eval()
    bank = bank_of("audio", model=model)
    assert bank.pooling == "mean" and bank.features.shape == (24, 16)
    clip = task("audio")["processing_class"]
    from hf_ssl.views.audio import decode

    rows = task("audio")["unlabeled_dataset"].cast_column("audio", datasets.Audio(decode=False))
    wave = decode(rows[5]["audio"], 16_000)
    hidden = model.base_model(**clip(wave, sampling_rate=16_000, return_tensors="pt")).last_hidden_state
    assert bank.features[5] == pytest.approx(hidden[0].mean(dim=0).detach().numpy(), abs=1e-4)


def test_images_get_the_input_of_the_head(bank_of):
    bank = bank_of("image")
    assert bank.pooling == "head" and bank.features.shape == (24, 16)
    assert bank.normalized() == pytest.approx(normalize(bank.features))


def test_a_model_by_its_path_brings_its_processor(bank_of, tmp_path):
    model = new_model("text", 1)
    model.save_pretrained(tmp_path / "model")
    tokenizer().save_pretrained(tmp_path / "model")
    bank = bank_of(model=str(tmp_path / "model"), processing_class=None)
    assert np.array_equal(bank.features, bank_of(model=model).features)


@pytest.mark.parametrize("pooling", ["auto", "mean", "head"])
def test_base_models_have_features_without_a_head(bank_of, tmp_path, pooling):
    new_model("text", 1).save_pretrained(tmp_path / "model")
    base = AutoModel.from_pretrained(tmp_path / "model")
    assert bank_of(model=base, pooling=pooling).features.shape == (24, 16)
    if pooling != "head":
        assert np.array_equal(bank_of(model=base).features, bank_of(pooling="mean").features)


def test_the_head_input_of_a_base_image_model_is_that_of_its_classifier(bank_of, tmp_path):
    classifier = new_model("image", 1)
    classifier.save_pretrained(tmp_path / "model")
    base = AutoModel.from_pretrained(tmp_path / "model")
    assert bank_of("image", model=base).features == pytest.approx(
        bank_of("image", model=classifier).features, abs=1e-6
    )


def test_adapters_are_part_of_the_encoder(bank_of):
    peft = pytest.importorskip("peft")
    plain = bank_of(model=new_model("text", 1))
    lora = peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query"], r=2, init_lora_weights=False)
    adapted = bank_of(model=peft.get_peft_model(new_model("text", 1), lora))
    assert adapted.pooling == "mean" and adapted.key != plain.key
    assert np.abs(adapted.features - plain.features).max() > 1e-4
    torch.manual_seed(5)
    model = peft.get_peft_model(new_model("text", 1), lora)
    head = bank_of(model=model, pooling="head")
    assert head.features.shape == (24, 16)
    for name, parameter in model.named_parameters():
        if "classifier" in name:
            torch.nn.init.normal_(parameter)
    assert bank_of(model=model, pooling="head").key == head.key


@pytest.mark.parametrize("saved", [None, ["classifier"]])
def test_features_of_another_adapter_are_other_features(saved, bank_of):
    """The weights are the same in all four states, and what is used of them is not."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(5)
    targets = ["q_proj"] if saved else ["q_proj", "classifier"]
    config = peft.LoraConfig(target_modules=targets, modules_to_save=saved, r=2, init_lora_weights=False)
    model = peft.get_peft_model(new_model("image", 1), config, adapter_name="first")
    model.add_adapter("second", config)
    images = make_images(4, 0)
    first = bank_of("image", dataset=images, model=model)
    model.set_adapter("second")
    second = bank_of("image", dataset=images, model=model)
    with model.disable_adapter():
        none = bank_of("image", dataset=images, model=model)
    for module in model.modules():
        if "second" in getattr(module, "lora_A", {}):
            module.set_scale("second", 3.0)
    scaled = bank_of("image", dataset=images, model=model)
    banks = [first, second, none, scaled]
    assert len({bank.key for bank in banks}) == 4
    for place, bank in enumerate(banks):
        assert all(np.abs(bank.features - other.features).max() > 1e-4 for other in banks[:place])
    plain = bank_of("image", dataset=images, model=new_model("image", 1))
    assert np.allclose(none.features, plain.features, atol=1e-6)


def test_a_model_of_timm_is_encoded_through_its_wrapper(bank_of):
    pytest.importorskip("timm")
    torch.manual_seed(0)
    config = TimmWrapperConfig(architecture="resnet10t", num_labels=3)
    model = TimmWrapperForImageClassification(config)
    bank = bank_of("image", dataset=make_images(4, 0), model=model)
    assert bank.pooling == "head" and bank.features.shape == (4, model.timm_model.get_classifier().in_features)


def test_the_model_is_evaluated_and_left_as_it_was(bank_of):
    model = new_model("image", 1)
    model.vit.embeddings.dropout.p = 0.5
    model.train()
    model.classifier.eval()
    first = bank_of("image", model=model)
    assert model.training and model.vit.training and not model.classifier.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert np.array_equal(first.features, bank_of("image", model=model.eval()).features)


# ---- Kinds of datasets ----


def test_a_stream_gives_the_same_in_one_pass(bank_of):
    dataset = make_texts(70, 3)
    model = new_model("text", 1)
    counting = CountingCalls(model)
    streamed = bank_of(dataset=dataset.to_iterable_dataset(), model=model)
    assert counting.examples == 70
    whole = bank_of(dataset=dataset, model=model)
    assert np.array_equal(streamed.features, whole.features)
    assert streamed.labels.tolist() == whole.labels.tolist()
    assert bank_of(dataset=dataset.to_iterable_dataset(), model=model).key == streamed.key
    assert counting.examples == 140
    # A torch stream has other features, since its labels have no names.
    torch_stream = bank_of(dataset=TorchStream(dataset), model=model)
    assert np.array_equal(torch_stream.features, whole.features)
    assert torch_stream.labels.tolist() == whole.labels.tolist()


class TorchStream(torch.utils.data.IterableDataset):
    """The rows of a dataset, one after the other."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        yield from self.rows


@pytest.mark.parametrize("kind", ["mapped", "transformed"])
def test_rows_of_model_inputs_are_encoded_as_they_are(bank_of, kind):
    dataset, tokenize = make_texts(30, 3), tokenizer()
    raw = bank_of(dataset=dataset)

    def prepare(batch):
        return {**tokenize(batch["text"]), "label": batch["label"]}

    ready = dataset.map(prepare, batched=True) if kind == "mapped" else dataset.with_transform(prepare)
    bank = bank_of(dataset=ready)
    assert bank.features == pytest.approx(raw.features, abs=1e-5)
    assert bank.labels.tolist() == raw.labels.tolist()


def test_a_trainers_prepared_pool_has_the_trainers_classes(bank_of):
    labeled = make_texts(6, 0)
    data = inspect_data(labeled, processor=tokenizer())
    other = make_texts(12, 1).cast_column("label", datasets.Value("int64"))
    names = [labeled.features["label"].names[label] for label in other["label"]]
    renamed = other.remove_columns("label").add_column("label", names).rename_column("text", "sentence")
    bank = bank_of(dataset=prepare_pool(renamed, data, files=True), data=data)
    assert bank.labels.tolist() == make_texts(12, 1)["label"]


@pytest.mark.parametrize(
    ("labels", "expected", "names"),
    [
        (["b", None, "a", "b"], [1, -1, 0, 1], ["a", "b"]),
        ([3, 1, None, 3], [1, 0, -1, 1], ["1", "3"]),
        ([None] * 4, None, []),
        ([0.5, 1.5, 2.5, 0.1], None, []),
    ],
)
def test_labels_are_classes_or_missing(bank_of, labels, expected, names):
    dataset = datasets.Dataset.from_dict({"text": ["red", "the sky", "blue", "a leaf"], "label": labels})
    bank = bank_of(dataset=dataset)
    assert (None if bank.labels is None else bank.labels.tolist()) == expected
    assert bank.label_names == names


def test_a_dataset_without_labels_has_none(bank_of):
    bank = bank_of(dataset=make_texts(5, 0).remove_columns("label"))
    assert bank.labels is None and len(bank) == 5
    assert len(bank_of(dataset=make_texts(1, 0).remove_columns("label"))) == 1


# ---- Random views ----


def test_weak_views_of_texts_are_the_texts(bank_of):
    bank = bank_of(views=("weak", 2))
    assert bank.view_features.shape == (2, 24, 16)
    for features in bank.view_features:
        assert features == pytest.approx(bank.features, abs=1e-6)
    assert bank_of().view_features is None


@pytest.mark.parametrize("kind", ["medium", "strong"])
def test_random_views_differ_and_come_again_with_the_seed(bank_of, tmp_path, kind):
    bank = bank_of("image", views=(kind, 2))
    assert np.abs(bank.view_features[0] - bank.view_features[1]).max() > 1e-3
    again = bank_of("image", views=(kind, 2), cache_dir=tmp_path / "again")
    assert again.key == bank.key and np.array_equal(again.view_features, bank.view_features)
    assert bank_of("image", views=(kind, 2), args=config(seed=4)).key != bank.key
    assert np.array_equal(bank_of("image").features, bank.features)


# ---- The cache ----


def test_a_second_call_does_not_run_the_model(bank_of):
    model = new_model("text", 1)
    counting = CountingCalls(model)
    first = bank_of(model=model)
    calls = counting.calls
    second = bank_of(model=model)
    assert calls > 0 and counting.calls == calls
    assert second.key == first.key and np.array_equal(second.features, first.features)


def other_weights(model):
    with torch.no_grad():
        model.bert.encoder.layer[0].output.dense.bias[0] += 1e-3


def shuffled(dataset):
    return dataset.shuffle(seed=1)


OTHER = {
    "weights": {"model": other_weights},
    "a word": {"dataset": lambda rows: datasets.concatenate_datasets([rows.select(range(29)), make_texts(1, 9)])},
    "the order": {"dataset": shuffled},
    "fewer rows": {"dataset": lambda rows: rows.select(range(29))},
    "the length of texts": {"args": {"max_length": 4}},
    "the pooling": {"pooling": "head"},
    "the heads of attention": {"model": lambda model: setattr(model.config, "num_attention_heads", 4)},
    "the tokenizer": {"processing_class": {"unk_token": "red"}},
}
SAME = {
    "labels": {"dataset": lambda rows: rows.remove_columns("label").add_column("label", ["x", "y", "z"] * 10)},
    "another column": {"dataset": lambda rows: rows.add_column("id", list(range(30)))},
    "a copy in chunks": {"dataset": lambda rows: datasets.concatenate_datasets([rows.select(range(7)), rows.skip(7)])},
    "the head": {"model": lambda model: torch.nn.init.normal_(model.classifier.weight)},
    "the pooler, which is not used": {"model": lambda model: torch.nn.init.normal_(model.bert.pooler.dense.weight)},
    "keys and values that are kept": {"model": lambda model: setattr(model.config, "use_cache", False)},
    "the mode of the model": {"model": lambda model: model.train()},
    "settings of strong views": {"args": {"strong_operations": 2}},
    "workers": {"args": {"dataloader_num_workers": 1}},
}


def key_with(bank_of, changes):
    model, dataset, settings, processor = new_model("text", 1), make_texts(30, 3), {}, tokenizer()
    for name, change in changes.items():
        if name == "model":
            change(model)
        elif name == "dataset":
            dataset = change(dataset)
        elif name == "args":
            settings["args"] = config(**change)
        elif name == "processing_class":
            processor = copy.deepcopy(processor)
            processor.unk_token = change["unk_token"]
        else:
            settings[name] = change
    bank = bank_of(dataset=dataset, model=model, processing_class=processor, **settings)
    assert np.isfinite(bank.features).all()
    return bank.key


@pytest.mark.parametrize("name", [*OTHER, *SAME])
def test_the_key_depends_on_what_features_depend_on(bank_of, name):
    before = key_with(bank_of, {})
    assert (key_with(bank_of, {**OTHER, **SAME}[name]) == before) == (name in SAME)


def test_a_file_that_changed_is_encoded_again(bank_of, tmp_path):
    paths = []
    for number in range(3):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(np.full((12, 12, 3), 60 * number, dtype=np.uint8)).save(paths[-1])
    dataset = datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())
    before = bank_of("image", dataset=dataset)
    Image.fromarray(np.full((12, 12, 3), 250, dtype=np.uint8)).save(paths[1])
    os.utime(paths[1], (1, 1))
    after = bank_of("image", dataset=dataset)
    differing = np.abs(before.features - after.features).max(axis=1) > 1e-6
    assert before.key != after.key and differing.tolist() == [False, True, False]


# ---- What goes wrong ----


def broken_images(count=10):
    def stored(image):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return {"bytes": buffer.getvalue(), "path": None}

    cells = [stored(image) for image in make_images(count, 0)["image"]]
    for place in (2, 7):
        cells[place] = {"bytes": cells[place]["bytes"][:40], "path": f"broken-{place}.png"}
    return datasets.Dataset.from_dict({"image": cells, "label": [0, 1] * (count // 2)}).cast_column(
        "image", datasets.Image(decode=False)
    )


def test_a_broken_example_stops_with_its_row_or_becomes_nan(bank_of):
    dataset = broken_images()
    with pytest.raises(BrokenExampleError, match=r"row 2 \(broken-2.png\): it is not an image"):
        bank_of("image", dataset=dataset)
    bank = bank_of("image", dataset=dataset, on_broken_file="skip")
    assert bank.broken == [2, 7]
    assert np.isnan(bank.features).all(axis=1).nonzero()[0].tolist() == [2, 7]
    assert bank.labels.tolist() == [0, 1] * 5
    whole = bank_of("image", dataset=make_images(10, 0))
    assert bank.features[3] == pytest.approx(whole.features[3], abs=1e-6)
    stream = bank_of("image", dataset=dataset.to_iterable_dataset(), on_broken_file="skip")
    assert stream.broken == [2, 7]


WRONG = {
    "a list": ({"dataset": [{"text": "a"}]}, TypeError, "IterableDataset, got a list; datasets.Dataset.from_list"),
    "nothing": ({"dataset": make_texts(1, 0).select([])}, ValueError, "at least one example to encode, got an empty"),
    "no batch": ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
    "an unknown pooling": ({"pooling": "max"}, ValueError, "pooling must be one of auto, head, mean, got 'max'"),
    "views without a number": (
        {"views": ("weak",)},
        ValueError,
        r"views must be .weak., .medium. or .strong. and a number.*got \('weak',\)",
    ),
    "another policy": ({"on_broken_file": "stop"}, ValueError, "must be one of skip, error, got 'stop'"),
    "views of another kind": ({"views": ("rotated", 1)}, ValueError, r"got \('rotated', 1\)"),
    "no text": ({"dataset": datasets.Dataset.from_dict({"n": [1]})}, ValueError, "set input_column"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_named_with_their_value(bank_of, name):
    settings, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        bank_of(**settings)


def test_a_model_without_tokens_cannot_be_averaged():
    encoder = Encoder(torch.nn.Sequential(torch.nn.Linear(4, 3)), "image", "mean")
    encoder.model.forward = lambda pixel_values: pixel_values
    with pytest.raises(ValueError, match="'mean' needs last hidden states of tokens, which Sequential"):
        encoder({"pixel_values": torch.ones(2, 4)})


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"features cannot be written to .*file: File exists; set cache_dir"):
        encode(tmp_path / "file")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device; set cache_dir to a folder with room$"):
        encode(tmp_path / "cache", dataset=pool(8))


def test_the_usual_cache_is_in_the_home_of_hugging_face(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    bank = encode(None, dataset=pool(4))
    assert (tmp_path / "hf_ssl" / "features" / bank.key / "features.npy").is_file()
