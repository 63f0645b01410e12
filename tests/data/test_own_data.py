"""The user's data: columns, modality and classes found by themselves, and matched across datasets."""

import copy
import pickle
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
from PIL import Image

from hf_ssl.data.columns import inspect_data
from hf_ssl.data.doubts import warn_of_doubtful_labels
from hf_ssl.data.labels import UNKNOWN, different_labels, read_labels
from hf_ssl.data.prepare import prepare, prepare_evaluation, prepare_pool
from hf_ssl.model.loading import class_names
from hf_ssl.problem_types import SINGLE_LABEL

from tests.helpers.tiny_images import make_images, make_vit
from tests.helpers.tiny_tasks import TASKS, make_sounds, make_texts, new_model, task

ONE_CLASS = {"problem_type": SINGLE_LABEL}
IMAGE, TEXT, AUDIO = (TASKS[modality][1]() for modality in ("image", "text", "audio"))


def table(**columns):
    return datasets.Dataset.from_dict(columns)


def classes_of(names, *labels):
    feature = datasets.ClassLabel(names=names)
    return datasets.Dataset.from_dict(
        {"text": list("abcdef"[: len(labels)]), "label": list(labels)},
        features=datasets.Features({"text": datasets.Value("string"), "label": feature}),
    )


@pytest.fixture
def files(tmp_path):
    """Two images, and a recording that is not there."""
    for name in ("a.png", "b.dat"):
        Image.new("RGB", (4, 4)).save(tmp_path / name, format="PNG")
    return tmp_path


PAIR = {"premise": ["a", "b"], "hypothesis": ["c", "d"], "label": [0, 1]}
GLUE = {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "idx": [0, 1], "label": [0, 1]}
QNLI = {"question": ["a", "b"], "sentence": ["c", "d"], "label": [0, 1]}


@pytest.mark.parametrize(
    ("columns", "settings", "inputs"),
    [
        (PAIR, {}, ("premise", "hypothesis")),
        (GLUE, {}, ("sentence1", "sentence2")),
        (QNLI, {}, ("question", "sentence")),
        (QNLI, {"input_column": "sentence"}, ("sentence",)),
        (QNLI, {"input_column": "sentence", "text_pair_column": "question"}, ("sentence", "question")),
        (PAIR, {"text_pair_column": "hypothesis"}, ("premise", "hypothesis")),
        ({"a": ["x", "y"], "b": ["z", "z"], "label": [0, 1]}, {"text_pair_column": "b"}, ("a", "b")),
        ({"text": ["a", "b"], "title": ["c", "d"], "label": ["x", "y"]}, {}, ("text",)),
    ],
)
def test_text_columns_and_pairs(columns, settings, inputs):
    label = settings.pop("label_column", None)
    found = inspect_data(table(**columns), settings.pop("input_column", None), label, processor=TEXT, **settings)
    assert (found.modality, found.input_columns, found.label_column) == ("text", inputs, "label")


def test_the_processor_decides_between_columns_of_several_modalities():
    both = make_images(3, 0).add_column("caption", ["x", "y", "z"])
    assert inspect_data(both, processor=IMAGE).input_columns == ("image",)
    assert inspect_data(both, processor=TEXT).input_columns == ("caption",)
    joint = SimpleNamespace(image_processor=IMAGE, tokenizer=TEXT)
    assert inspect_data(both, processor=joint).modality == "image"


@pytest.mark.parametrize(
    ("name", "processor", "modality"), [("a.png", None, "image"), ("a.png", IMAGE, "image"), ("b.dat", IMAGE, "image")]
)
def test_a_column_of_paths_is_one_of_files(files, name, processor, modality):
    rows = table(file=[str(files / name)] * 2, label=["x", "y"])
    found = inspect_data(rows, processor=processor)
    assert (found.modality, found.input_columns) == (modality, ("file",))


def test_paths_are_texts_for_a_tokenizer(files):
    assert inspect_data(table(text=[str(files / "a.png")] * 2, label=[0, 1]), processor=TEXT).modality == "text"


def test_a_classlabel_of_any_name_is_the_label():
    rows = classes_of(["x", "y"], 0, 1).rename_column("label", "verdict")
    assert inspect_data(rows).label_column == "verdict"


@pytest.mark.parametrize(
    ("labels", "model_names", "names", "indices"),
    [
        (["pear", "apple", "pear"], None, ["apple", "pear"], [1, 0, 1]),
        ([True, False, True], None, ["False", "True"], [1, 0, 1]),
        ([2, 0, 1], None, ["0", "1", "2"], [2, 0, 1]),
        ([1, 4, 2], None, ["1", "2", "4"], [0, 2, 1]),
        ([1.0, 2.0, 1.0], None, ["1", "2"], [0, 1, 0]),
        ([0, 2, 0], ["a", "b", "c"], ["a", "b", "c"], [0, 2, 0]),
        (["pear", "apple", "pear"], ["pear", "apple"], ["pear", "apple"], [0, 1, 0]),
        (["pear", "apple", "pear"], ["dog", "cat"], ["apple", "pear"], [1, 0, 1]),
    ],
    ids=str,
)
def test_classes_of_the_labeled_dataset(labels, model_names, names, indices):
    found = inspect_data(table(text=["a", "b", "c"], label=labels), model_names=model_names)
    assert found.label_names == names
    assert found.labels.tolist() == indices
    rows = prepare(table(text=["a", "b", "c"], label=labels), found, "labeled")
    assert [int(rows[i]["label"]) for i in range(3)] == indices


ABC = ["a", "b", "c"]


def test_classes_without_a_labeled_example_are_named(monkeypatch):
    warned = []
    monkeypatch.setattr("hf_ssl.data.doubts.logger.warning_once", warned.append)
    for labels in ((0, 1, 2), (1, 1)):
        assert warned == []
        rows = classes_of(ABC, *labels)
        warn_of_doubtful_labels(rows, inspect_data(rows))
    assert "2 of 3 classes have no labeled example" in warned[0] and warned[0].endswith("a, c")


@pytest.mark.parametrize(
    ("labeled", "other", "expected"),
    [
        (classes_of(ABC, 0, 1, 2), classes_of(["c", "a", "b"], 0, 1, 2), [2, 0, 1]),
        (classes_of(ABC, 0, 1, 2), table(text=ABC, label=["b", "a", "c"]), [1, 0, 2]),
        (classes_of(ABC, 0, 1, 2), table(text=ABC, label=[2, 1, 1]), [2, 1, 1]),
        (table(text=ABC, label=["a", "b", "c"]), classes_of(["c", "b"], 0, 1, 1), [2, 1, 1]),
        (table(text=ABC, label=[1, 2, 3]), table(text=ABC, label=["3", "1", "1"]), [2, 0, 0]),
        (table(text=ABC, label=[1, 2, 3]), table(text=ABC, label=[3.0, 1.0, 1.0]), [2, 0, 0]),
        (table(text=ABC, label=[0, 1, 2]), classes_of(ABC, 2, 1, 0), [2, 1, 0]),
        (table(text=ABC, label=[True, False, True]), table(text=ABC, label=["False", "True", "True"]), [0, 1, 1]),
    ],
    ids=["reordered", "names", "numbers", "some-names", "named-numbers", "floats", "indices", "booleans"],
)
def test_labels_of_other_datasets_are_matched(labeled, other, expected):
    data = inspect_data(labeled)
    for what in ("evaluation", "unlabeled"):
        rows = prepare(other, data, what, label=what == "evaluation")
        assert [int(rows[i]["label"]) for i in range(3)] == expected
    assert [int(row["label"]) for row in rows.__getitems__([2, 0])] == [expected[2], expected[0]]


UNSEEN = [
    (classes_of(ABC, 0, 1, 2), classes_of(["a", "bird"], 0, 1), "'bird'"),
    (
        table(text=ABC, label=ABC),
        table(text=["x"], label=["d"]),
        "'d', which is not a class .* its classes are a, b, c",
    ),
    (table(text=ABC, label=[0, 1, 2]), table(text=["x"], label=[3]), "'3'"),
    (table(text=ABC, label=ABC), table(text=["x"], label=[0]), "'0'"),
]


@pytest.mark.parametrize(("labeled", "other", "message"), UNSEEN)
def test_a_label_that_training_never_saw_is_named(labeled, other, message):
    data = inspect_data(labeled)
    with pytest.raises(ValueError, match=f"the evaluation dataset has the label {message}") as error:
        prepare(other, data, "evaluation")
    assert "\n" not in str(error.value)
    # In the pool it is an example that no class fits.
    assert prepare(other, data, "unlabeled", label=False)[len(other) - 1]["label"] == UNKNOWN


@pytest.mark.parametrize(
    "column",
    [[2, 0, None, 2], [True, False, True, None], ["b", "a", None, "b"], [1.0, 3.0, float("nan"), 1.0]],
    ids=["integers", "booleans", "strings", "floats of a table with gaps"],
)
def test_the_pool_s_different_labels_are_those_of_its_rows(column):
    for dataset in (table(label=column), table(label=column).select([3, 1, 2, 0])):
        found = different_labels(dataset, "label", "unlabeled", [])
        assert len(found) == len(set(found))
        assert set(found) == set(read_labels(dataset, "label", "unlabeled"))


@pytest.mark.parametrize("column", [[[0], [1]], [0.5, 1.0]], ids=["lists", "no whole numbers"])
def test_what_is_no_label_is_named_by_its_row_in_the_pool_too(column):
    with pytest.raises(ValueError, match="the label in row 0 of the unlabeled dataset"):
        different_labels(table(label=column), "label", "unlabeled", [])


def test_missing_labels_of_the_pool_stay_missing():
    data = inspect_data(classes_of(ABC, 0, 1, 2))
    pool = prepare(classes_of(ABC, -1, 2), data, "unlabeled", label=False)
    assert [pool[i]["label"] for i in range(2)] == [None, 2]


@pytest.mark.parametrize(
    ("labeled", "settings", "message"),
    [
        (table(text=["a", "b"], label=["x", None]), {}, "no label in row 1 .* move them to the unlabeled dataset"),
        (classes_of(ABC, 0, -1), {}, "no label in row 1"),
        (table(text=["a", "b"], label=[[0], [1]]), ONE_CLASS, "is a list: each example needs one class"),
        (table(text=["a", "b"], label=[0.5, 1.0]), ONE_CLASS, "is 0.5: not a class"),
        (table(text=["a", "b"], label=["x", "x"]), {}, "one class only"),
        (
            table(text=["a", "b"], label=[0, 1]),
            {"processor": IMAGE},
            "'text' holds texts and ViTImageProcessor .* tokenizer",
        ),
        (make_images(3, 0), {"processor": TEXT}, "'image' holds images and .* image processor"),
        (make_sounds(3, 0), {"processor": TEXT}, "'audio' holds recordings and .* feature extractor"),
        (table(text=["a", "b"], label=[0, 1]), {"text_pair_column": "other"}, "text_pair_column 'other' is not in"),
        (table(a=["a", "b"], b=["a", "b"], c=["a", "b"], label=[0, 1]), {"text_pair_column": "b"}, "Set input_column"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_one_line(labeled, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        inspect_data(labeled, **settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (make_texts(3, 0).to_iterable_dataset(), r"is streamed .*position.*Dataset.from_list\(list\(stream.take"),
        (
            datasets.IterableDatasetDict(train=make_texts(3, 0).to_iterable_dataset()),
            "is a .* splits train; give it one",
        ),
        (datasets.DatasetDict(train=make_texts(3, 0)), "is a DatasetDict with the splits train; give it one of them"),
        ([{"text": "a"}], r"must be a datasets.Dataset, got a list; build one .* datasets.Dataset.from_list"),
    ],
    ids=["stream", "streamed splits", "splits", "list"],
)
def test_other_kinds_of_datasets_are_refused(dataset, message):
    with pytest.raises(TypeError, match=message):
        inspect_data(dataset)
    if isinstance(dataset, dict):
        with pytest.raises(TypeError, match=f"unlabeled_dataset {message}"):
            prepare_pool(dataset, inspect_data(make_texts(3, 0)), False)


@pytest.mark.parametrize(
    ("pool", "name"),
    [
        (table(text=["a"]), "text"),
        (table(line=["a"]), "line"),
        (table(id=[7], text=["a"], source=["web"]), "text"),
        (classes_of(ABC, 0).rename_column("text", "line"), "line"),
        (table(line=["a"], category=["news"]), "line"),
    ],
    ids=["same", "other-name", "more-columns", "labeled", "other-labels"],
)
def test_the_pool_s_only_text_column_is_the_input(pool, name):
    labeled = classes_of(ABC, 0, 1, 2).rename_column("text", "sentence")
    rows = prepare_pool(pool, inspect_data(labeled), False)
    assert rows[0]["sentence"] == "a"
    assert pool.column_names.count(name) == 1


def test_a_pool_of_two_unknown_columns_is_not_guessed_at():
    with pytest.raises(ValueError, match="the unlabeled dataset has no column 'text'; its columns are one, two"):
        prepare_pool(table(one=["a"], two=["b"]), inspect_data(classes_of(ABC, 0, 1, 2)), False)


def test_a_missing_labeled_or_test_file_is_named_at_once(files):
    labeled = table(file=[str(files / "a.png"), str(files / "gone.png")], label=["x", "y"])
    data = inspect_data(labeled, processor=IMAGE)
    for what in ("labeled", "evaluation"):
        with pytest.raises(ValueError, match=rf"the {what} dataset names .*gone\.png, and there is no such file"):
            prepare(labeled, data, what)
    pool = prepare_pool(labeled, data, files=False)
    assert len(pool) == 2


def test_an_evaluation_stream_has_its_labels_matched():
    data = inspect_data(classes_of(ABC, 0, 1, 2))
    stream = prepare_evaluation(classes_of(["c", "a", "b"], 0, 1, 2).to_iterable_dataset(), data, False)
    assert [row["label"] for row in stream] == [2, 0, 1]
    strings = table(text=ABC, label=["b", "a", "c"]).to_iterable_dataset()
    assert [row["label"] for row in prepare_evaluation(strings, data, False)] == [1, 0, 2]


def test_prepared_rows_can_be_pickled():
    data = inspect_data(table(text=ABC, label=ABC))
    rows = pickle.loads(pickle.dumps(prepare(table(text=ABC, label=["b", "c", "a"]), data, "evaluation")))
    assert [rows[i]["label"] for i in range(3)] == [1, 2, 0]


def test_class_names_of_models():
    assert class_names(None) is None and class_names("some/model") is None
    model = make_vit()
    assert class_names(model) == ["0", "1", "2"]
    model.config.id2label = {0: "x", 1: "y", 2: "z"}
    assert class_names(model) == ["x", "y", "z"]


def trainer(modality, folder, model=None, config=None, **given):
    from hf_ssl import SSLConfig, SSLTrainer

    settings = {"max_steps": 2, "per_device_train_batch_size": 2, "unlabeled_batch_ratio": 2, "logging_steps": 1}
    settings |= {"save_strategy": "no", "report_to": "none", "use_cpu": True, "disable_tqdm": True}
    settings |= {"dataloader_pin_memory": False, "dataloader_num_workers": 0}
    args = SSLConfig(output_dir=str(folder), **{**settings, **(config or {})})
    return SSLTrainer(model or new_model(modality), args, **{**task(modality), **given})


def test_string_labels_and_a_test_set_in_another_order_end_to_end(tmp_path):
    """Training and evaluation are what they are with the same classes as ClassLabel."""
    given = task("text")
    named = {}
    for key in ("train_dataset", "eval_dataset"):
        rows = given[key]
        names = rows.features["label"].names
        strings = [names[label] for label in rows["label"]]
        named[key] = datasets.Dataset.from_dict({"text": rows["text"], "label": strings})
    results = []
    for changes in ({}, {**named, "unlabeled_dataset": given["unlabeled_dataset"].remove_columns("label")}):
        run = trainer("text", tmp_path, config={"per_device_train_batch_size": 6}, **changes)
        # The ClassLabel's order is not the alphabetical one of strings: a batch of all labeled examples, an untrained
        # head with equal weights for all classes, and the loss does not depend on it.
        run.model.classifier.weight.data.zero_()
        run.model.classifier.bias.data.zero_()
        run.train()
        results.append((run.state.log_history[0]["supervised"], run.evaluate()["eval_loss"]))
    assert results[1] == pytest.approx(results[0], rel=1e-5)
    assert run.model.config.id2label == {0: "blue", 1: "green", 2: "red"}
    assert run.model.config.label2id == {"blue": 0, "green": 1, "red": 2}


def test_predicting_needs_no_labels_and_matches_columns(tmp_path):
    run = trainer("text", tmp_path)
    texts = run.eval_dataset["text"]
    expected = run.predict(run.eval_dataset).predictions
    answer = run.predict(datasets.Dataset.from_dict({"line": texts}))
    assert answer.label_ids is None
    np.testing.assert_allclose(answer.predictions, expected, rtol=1e-5)


def test_a_text_pair_trains_and_both_texts_are_read(tmp_path):
    def pairs(rows):
        return rows.rename_column("text", "premise").add_column("hypothesis", ["the sky"] * len(rows))

    given = {key: pairs(task("text")[key]) for key in ("train_dataset", "unlabeled_dataset", "eval_dataset")}
    run = trainer("text", tmp_path, **given)
    run.train()
    row = given["eval_dataset"][0]
    ids = run.views.evaluation(row)["input_ids"]
    assert ids == run.processing_class(row["premise"], row["hypothesis"])["input_ids"]


def test_recordings_are_as_long_as_the_longest_labeled_one(tmp_path):
    assert trainer("audio", tmp_path).views.max_length == 4000
    assert trainer("audio", tmp_path, config={"max_length_seconds": 0.1}).views.max_length == 1600


def test_settings_of_text_views_arrive(tmp_path):
    config = {
        "max_length": 4,
        "token_delete_ratio": 0.3,
        "token_swap_ratio": 0.0,
        "token_mask_ratio": 0.2,
        "augmentation_columns": ["back"],
    }
    pool = task("text")["unlabeled_dataset"].add_column("back", ["very"] * 24)
    views = trainer("text", tmp_path, config=config, unlabeled_dataset=pool).views
    assert (views.max_length, views.token_delete_ratio, views.token_mask_ratio) == (4, 0.3, 0.2)
    strong = views("strong", pool[0], np.random.default_rng(0))
    assert strong["input_ids"] == TEXT("very")["input_ids"]


def test_the_start_block_says_that_the_fallback_is_not_usb_s(tmp_path):
    assert "not comparable with USB's back-translation" in trainer("text", tmp_path).describe()


def test_a_stored_processor_is_loaded_with_the_model(tmp_path):
    new_model("text").save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="no tokenizer, image processor or feature extractor; give that of the model"):
        trainer("text", tmp_path, str(tmp_path / "model"), processing_class=None)
    # transformers makes a tokenizer without words of a folder without one.
    from transformers import AutoTokenizer

    with pytest.raises(ValueError, match="BertTokenizer knows no word: its files are missing"):
        trainer("text", tmp_path, processing_class=AutoTokenizer.from_pretrained(tmp_path / "model"))
    TEXT.save_pretrained(tmp_path / "model")
    run = trainer("text", tmp_path, str(tmp_path / "model"), processing_class=None)
    assert run.processing_class.vocab_size == TEXT.vocab_size


def test_what_ends_a_text_pads_where_nothing_else_does(tmp_path):
    """As in GPT-2 and Llama, whose tokenizers and configurations name no padding token."""
    model, tokenizer = new_model("text"), copy.deepcopy(TEXT)
    tokenizer.pad_token, tokenizer.eos_token = None, "[SEP]"
    model.config.pad_token_id = None
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    run = trainer("text", tmp_path, str(tmp_path / "model"), processing_class=None)
    assert run.processing_class.pad_token == "[SEP]"
    assert run.model.config.pad_token_id == TEXT.convert_tokens_to_ids("[SEP]")


@pytest.mark.parametrize(
    ("modality", "model", "changes", "message"),
    [
        (
            "text",
            "image",
            {},
            "ViTForImageClassification takes pixel_values, so it is a model for image, .* .column 'text'",
        ),
        ("audio", "text", {}, "takes input_ids"),
        ("text", "text", {"processing_class": None}, "'text' is text, which needs the model's tokenizer"),
        ("text", "text", {"processing_class": IMAGE}, "holds texts and ViTImageProcessor processes none"),
        (
            "image",
            "image",
            {"config": {"input_column": "picture"}},
            "'picture' is not in .*; its columns are image, label",
        ),
        (
            "image",
            "image",
            {"train_dataset": make_images(3, 0).select([])},
            "the labeled dataset must hold at least one example",
        ),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_wrong_input_is_one_clear_line(tmp_path, modality, model, changes, message):
    with pytest.raises(ValueError, match=message) as error:
        trainer(modality, tmp_path, new_model(model), **changes)
    assert "\n" not in str(error.value)


def test_a_stored_model_of_another_modality_is_refused(tmp_path):
    new_model("text").save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match="is a bert model, and transformers has no image classification with it"):
        trainer("image", tmp_path, str(tmp_path / "bert"))


def test_a_model_without_a_head_is_refused(tmp_path):
    from transformers import BertModel

    model = BertModel(new_model("text").config)
    with pytest.raises(ValueError, match="BertModel has no classification head"):
        trainer("text", tmp_path, model)
