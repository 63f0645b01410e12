"""A head is kept by the names of its classes, put in order, or renewed; nothing else of the base model leaks."""

import copy

import datasets
import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    RobertaConfig,
    RobertaForSequenceClassification,
    pipeline,
)

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.data.columns import inspect_data
from hf_ssl.model.classes import check_same_classes, config_names
from hf_ssl.model.loading import class_names, load_classifier

from tests.helpers.expert import expert
from tests.helpers.tiny_tasks import NAMES, TASKS, make_texts, new_model, tokenizer

NEW = [0.0, 0.0, 0.0]
SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}


def table(labels, names=None):
    dataset = datasets.Dataset.from_dict({"text": [f"text {i}" for i in range(len(labels))], "label": labels})
    if names is None:
        return dataset
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    return datasets.Dataset.from_dict(dataset.to_dict(), features=features)


def named(model, names):
    """The model with these names, and a head whose biases are 1, 2, 3."""
    if names is not None:
        model.config.id2label, model.config.label2id = dict(enumerate(names)), {n: i for i, n in enumerate(names)}
    with torch.no_grad():
        model.classifier.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
        model.classifier.weight.copy_(model.classifier.bias[:, None].expand_as(model.classifier.weight))
    return model


def loaded(model, dataset):
    """As SSLTrainer loads it: from a path, or given as an object."""
    return load_classifier(model, inspect_data(dataset, model_names=class_names(model)))


@pytest.fixture
def warned(monkeypatch):
    found = []
    monkeypatch.setattr("hf_ssl.model.classes.logger.warning_once", found.append)
    return found


STRINGS, NUMBERS = table(["red", "blue", "green"]), table([0, 1, 2])
CLASSES = table([0, 1, 2], ["green", "red", "blue"])
# case: (names of the model, dataset, biases and names by path, biases and names of an object, what is said)
HEADS = {
    "the same names, strings": (NAMES, STRINGS, ([3, 2, 1], ["blue", "green", "red"]), ([1, 2, 3], NAMES), ""),
    "the same names, a ClassLabel": (NAMES, CLASSES, ([2, 1, 3], ["green", "red", "blue"]), None, ""),
    "other case": (
        ["Red", "GREEN", " blue"],
        CLASSES,
        ([2, 1, 3], ["green", "red", "blue"]),
        None,
        "its head is kept",
    ),
    "other names": (["cat", "dog", "cow"], CLASSES, (NEW, ["green", "red", "blue"]), None, "it gets a new head"),
    "one other name": (["red", "green", "cow"], STRINGS, (NEW, sorted(NAMES)), None, "it gets a new head"),
    "no names": (None, CLASSES, (NEW, ["green", "red", "blue"]), ([1, 2, 3], ["green", "red", "blue"]), "no classes"),
    "no names on either side": (None, NUMBERS, ([1, 2, 3], ["0", "1", "2"]), None, "classes"),
    "numbers as names": (["2", "0", "1"], NUMBERS, ([2, 3, 1], ["0", "1", "2"]), ([1, 2, 3], ["2", "0", "1"]), ""),
    "names for numbers": (NAMES, NUMBERS, (NEW, ["0", "1", "2"]), ([1, 2, 3], NAMES), None),
}


@pytest.mark.parametrize("way", ["path", "object"])
@pytest.mark.parametrize(("names", "dataset", "by_path", "as_object", "said"), HEADS.values(), ids=HEADS)
def test_a_head_is_kept_by_the_names_of_its_classes(names, dataset, by_path, as_object, said, way, tmp_path, warned):
    model = named(new_model("text"), names)
    model.save_pretrained(tmp_path)
    biases, expected = by_path if way == "path" or as_object is None else as_object
    found = loaded(str(tmp_path) if way == "path" else model, dataset)
    assert found.classifier.bias.tolist() == biases
    assert found.config.id2label == dict(enumerate(expected)) and found.config.problem_type.startswith("single_label")
    assert found.config.label2id == {name: index for index, name in enumerate(expected)}
    if biases == NEW:
        assert 0.01 < found.classifier.weight.std() < 0.03  # drawn anew, with transformers' deviation of 0.02
    else:
        assert found.classifier.weight[:, 5].tolist() == biases
    if said is not None:
        assert said in "".join(warned) and len(warned) == bool(said)


def test_what_is_below_the_head_stays(tmp_path, warned):
    model = named(new_model("text"), ["cat", "dog", "cow"])
    model.save_pretrained(tmp_path)
    found = loaded(str(tmp_path), STRINGS)
    for name, weight in model.bert.named_parameters():
        assert torch.equal(weight, found.bert.get_parameter(name)), name


@pytest.mark.parametrize(("labels", "said"), [(["a", "b"], 1), (NAMES, 0)], ids=["other size", "a base model"])
def test_a_head_of_another_size_is_said_and_one_that_never_was_is_not(labels, said, tmp_path, warned):
    model = named(new_model("text"), NAMES)
    (model if said else model.bert).save_pretrained(tmp_path)
    found = loaded(str(tmp_path), table(labels))
    assert list(found.config.id2label.values()) == sorted(labels)
    assert len(warned) == said and not any(found.classifier.bias)


def two_layers():
    return RobertaForSequenceClassification(RobertaConfig(vocab_size=20, num_labels=3, **SMALL))


def two_heads():
    return DeiTForImageClassificationWithTeacher(DeiTConfig(image_size=8, patch_size=4, num_labels=3, **SMALL))


def of_timm():
    pytest.importorskip("timm")
    from transformers import TimmWrapperConfig, TimmWrapperForImageClassification

    return TimmWrapperForImageClassification(TimmWrapperConfig(architecture="resnet10t", num_labels=3))


# case: (model, layers of the head)
KINDS = {
    "two layers": (two_layers, ["classifier.out_proj"]),
    "two heads": (two_heads, ["cls_classifier", "distillation_classifier"]),
    "timm": (of_timm, ["timm_model.fc"]),
    "recordings": (TASKS["audio"][2], ["classifier"]),
}


@pytest.mark.parametrize(("make", "layers"), KINDS.values(), ids=KINDS)
def test_heads_of_all_kinds_are_put_in_order_and_renewed(make, layers, warned):
    modality = {"input_ids": "text", "pixel_values": "image", "input_values": "audio"}
    torch.manual_seed(0)
    model = make()
    model.config.id2label = dict(enumerate(NAMES))
    with torch.no_grad():
        for layer in layers:
            model.get_submodule(layer).bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    before = copy.deepcopy(model.state_dict())
    data = inspect_data(CLASSES)
    object.__setattr__(data, "modality", modality[model.main_input_name])
    load_classifier(model, data)
    for name, tensor in model.state_dict().items():
        of_head = name.rpartition(".")[0] in layers
        assert torch.equal(tensor, before[name][[1, 0, 2]] if of_head else before[name]), name
    model.config.id2label = {0: "cat", 1: "dog", 2: "cow"}
    load_classifier(model, data)
    for name, tensor in model.state_dict().items():
        if (layer := name.rpartition(".")[0]) not in layers:
            assert torch.equal(tensor, before[name]), name
        elif name.endswith("bias"):
            assert tensor.tolist() == NEW
        else:
            assert not torch.equal(tensor, before[name][[1, 0, 2]]), layer


def test_a_timm_checkpoint_keeps_its_head_by_path(tmp_path, warned):
    model = of_timm()
    model.config.id2label = dict(enumerate(NAMES))
    model.save_pretrained(tmp_path)
    data = inspect_data(CLASSES)
    object.__setattr__(data, "modality", "image")
    found = load_classifier(str(tmp_path), data)
    assert torch.equal(found.timm_model.fc.weight, model.timm_model.fc.weight[[1, 0, 2]])
    found.save_pretrained(tmp_path)
    assert config_names(AutoConfig.from_pretrained(tmp_path)) == ["green", "red", "blue"] and warned == []


def adapted(**settings):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["query"], **settings)
    return peft.get_peft_model(named(new_model("text"), NAMES), config)


def test_the_saved_head_of_an_adapter_is_put_in_order(warned, tmp_path):
    from peft import PeftModel

    model = adapted(modules_to_save=["classifier"])
    load_classifier(model, inspect_data(CLASSES))
    assert model.get_base_model().classifier.modules_to_save["default"].bias.tolist() == [2, 1, 3]
    # What is saved is what was trained.
    batch = {"input_ids": torch.tensor([[5, 6, 7]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    expected = model.eval()(**batch).logits
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(named(new_model("text"), NAMES), tmp_path)
    torch.testing.assert_close(again.eval()(**batch).logits, expected)


def test_a_head_that_an_adapter_does_not_save_is_not_touched(warned):
    with pytest.raises(
        ValueError, match=r"classes of the dataset in its order, or a head .* modules_to_save"
    ) as error:
        load_classifier(adapted(), inspect_data(CLASSES))
    assert "\n" not in str(error.value)
    # In the right order it would be kept, but it is lost when the adapter is saved.
    with pytest.raises(ValueError, match="neither trained nor saved; set modules_to_save"):
        load_classifier(adapted(), inspect_data(table(["red", "green", "blue"]), model_names=NAMES))


# case: (id2label, names)
CONFIGS = {
    "numbers as texts, unordered": ({"1": "b", "0": "a"}, ["a", "b"]),
    "default names": ({0: "LABEL_0", 1: "LABEL_1"}, None),
    "default names in another order": ({0: "LABEL_1", 1: "LABEL_0"}, ["LABEL_1", "LABEL_0"]),
    "counted from 1": ({1: "a", 2: "b"}, None),
    "one name twice": ({0: "a", 1: "a"}, None),
    "numbers": ({0: 5, 1: 7}, ["5", "7"]),
}


@pytest.mark.parametrize(("id2label", "names"), CONFIGS.values(), ids=CONFIGS)
def test_names_in_a_configuration(id2label, names):
    config = new_model("text").config
    config.id2label = id2label
    assert config_names(config) == names


# ---- Through the trainer ----


def reordered(rows, names):
    """The same rows with strings, or with a ClassLabel that numbers the classes in another order."""
    strings = [NAMES[label] for label in rows["label"]]
    if names is None:
        return datasets.Dataset.from_dict({"text": rows["text"][:], "label": strings})
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    return datasets.Dataset.from_dict({"text": rows["text"][:], "label": strings}, features=features)


def trainer(model, folder, train, test, **settings):
    settings = {"max_steps": 2, "per_device_train_batch_size": 3, "learning_rate": 1e-6} | settings
    args = SSLConfig(
        str(folder),
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        logging_steps=1,
        **settings,
    )
    given = {"train_dataset": train, "eval_dataset": test, "unlabeled_dataset": make_texts(12, 3)}
    return SSLTrainer(model, args, processing_class=tokenizer(), **given)


@pytest.mark.parametrize("way", ["path", "object"])
@pytest.mark.parametrize("order", [None, ["blue", "red", "green"]], ids=["strings", "ClassLabel"])
def test_a_checkpoint_that_is_right_stays_right(way, order, tmp_path):
    model = expert()
    model.config.problem_type = "multi_label_classification"
    model.save_pretrained(tmp_path / "expert")
    train, test = reordered(make_texts(6, 1), order), reordered(make_texts(9, 2), ["green", "blue", "red"])
    run = trainer(str(tmp_path / "expert") if way == "path" else model, tmp_path / "run", train, test)
    assert run.evaluate()["eval_accuracy"] == 1.0
    run.train()
    lines = [line for line in run.state.log_history if "pseudo_label_accuracy" in line]
    assert lines and all(line["pseudo_label_accuracy"] == 1.0 for line in lines)
    assert run.evaluate()["eval_accuracy"] == 1.0
    answer = run.predict(train)
    assert answer.predictions.argmax(axis=1).tolist() == answer.label_ids.tolist()
    if order is not None:
        # The numbers of the answer are those of the ClassLabel.
        assert answer.label_ids.tolist() == train["label"][:]
    # So it is with what was saved, whose probabilities add up to 1.
    run.save_model(str(tmp_path / "saved"))
    again = trainer(
        str(tmp_path / "saved"), tmp_path / "again", reordered(make_texts(6, 1), ["red", "blue", "green"]), test
    )
    assert again.evaluate()["eval_accuracy"] == 1.0
    classify = pipeline("text-classification", str(tmp_path / "saved"), tokenizer=tokenizer(), top_k=3)
    for text, label in zip(make_texts(3, 5)["text"], NAMES, strict=True):
        (scores,) = classify([text])
        assert scores[0]["label"] == label
        assert sum(score["score"] for score in scores) == pytest.approx(1, abs=1e-5)


def test_the_head_of_a_model_for_several_classes_at_once_trains_for_one(tmp_path):
    model = new_model("text")
    model.config.problem_type = "multi_label_classification"
    model.save_pretrained(tmp_path / "base")
    run = trainer(str(tmp_path / "base"), tmp_path / "run", make_texts(6, 1), make_texts(6, 2))
    found = run.evaluate()
    logits = run.predict(make_texts(6, 2)).predictions.astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert found["eval_loss"] == pytest.approx(
        -np.log(shares[np.arange(6), make_texts(6, 2)["label"]]).mean(), rel=1e-4
    )
    run.save_model()
    assert AutoConfig.from_pretrained(tmp_path / "run").problem_type == "single_label_classification"


def test_names_with_numbers_as_texts_are_those_of_a_script(tmp_path):
    model = expert()
    model.config.id2label = {str(index): name for index, name in enumerate(NAMES)}
    model.config.label2id = {name: str(index) for index, name in enumerate(NAMES)}
    run = trainer(model, tmp_path, reordered(make_texts(6, 1), None), make_texts(6, 2))
    assert run.evaluate()["eval_accuracy"] == 1.0
    assert run.model.config.id2label == dict(enumerate(NAMES))


def test_a_checkpoint_with_its_classes_in_another_order_is_not_resumed(tmp_path):
    train, test = reordered(make_texts(6, 1), None), make_texts(6, 2)
    run = trainer(expert(), tmp_path / "run", train, test, save_steps=1)
    run.train()
    checkpoint = str(tmp_path / "run" / "checkpoint-1")
    check_same_classes(checkpoint, run.model)
    expert().save_pretrained(tmp_path / "expert")
    other = trainer(str(tmp_path / "expert"), tmp_path / "run", train, test)
    with pytest.raises(
        ValueError, match=r"must be blue, green, red, in this order, got red, green, blue; resume with"
    ):
        other.train(resume_from_checkpoint=checkpoint)
