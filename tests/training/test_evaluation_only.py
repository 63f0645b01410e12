"""A trainer without labeled examples evaluates and predicts like one that could train."""

import datasets
import numpy as np
import pytest

from hf_ssl import SSLConfig, SSLTrainer

from tests.helpers.command_data import save_model
from tests.helpers.tiny_tasks import NAMES, new_model, task


def config(folder, **more):
    quiet = {"use_cpu": True, "report_to": "none", "disable_tqdm": True, "dataloader_num_workers": 0}
    return SSLConfig(str(folder), **quiet, **more)


def named(modality):
    model = new_model(modality)
    names = task(modality)["train_dataset"].features["label"].names
    model.config.id2label, model.config.label2id = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
    return model


def only(folder, modality, model=None, evaluation=None, **more):
    processor = task(modality)["processing_class"]
    given = named(modality) if model is None else model
    return SSLTrainer(given, config(folder, **more), eval_dataset=evaluation, processing_class=processor)


@pytest.fixture(scope="module", params=["image", "text", "audio"])
def expected(request, tmp_path_factory):
    """Modality, dataset, metrics and scores of a trainer that could train."""
    whole = SSLTrainer(named(request.param), config(tmp_path_factory.mktemp("whole")), **task(request.param))
    test = task(request.param)["eval_dataset"]
    return request.param, test, whole.evaluate(), whole.predict(test).predictions


def same_metrics(found, wanted):
    return all(found[key] == pytest.approx(wanted[key], rel=1e-5) for key in ("eval_loss", "eval_accuracy", "eval_f1"))


def test_it_gives_what_a_trainer_for_training_gives(expected, tmp_path):
    modality, test, metrics, scores = expected
    trainer = only(tmp_path, modality, evaluation=test)
    assert same_metrics(trainer.evaluate(), metrics)
    np.testing.assert_allclose(trainer.predict(test).predictions, scores, rtol=1e-5, atol=1e-6)


def test_the_first_dataset_may_come_with_the_call(expected, tmp_path):
    modality, test, metrics, scores = expected
    unlabeled = test.remove_columns("label")
    output = only(tmp_path, modality).predict(unlabeled)
    np.testing.assert_allclose(output.predictions, scores, rtol=1e-5, atol=1e-6)
    assert output.label_ids is None
    trainer = only(tmp_path, modality)
    trainer.predict(unlabeled)
    assert same_metrics(trainer.evaluate(test), metrics)


def test_several_datasets_streams_and_some_of_the_classes(tmp_path):
    test = task("text")["eval_dataset"]
    wanted = only(tmp_path, "text", evaluation=test).evaluate()
    several = only(tmp_path, "text", evaluation={"all": test, "stream": test.to_iterable_dataset()}).evaluate()
    assert several["eval_all_loss"] == pytest.approx(wanted["eval_loss"], rel=1e-5)
    assert several["eval_stream_loss"] == pytest.approx(wanted["eval_loss"], rel=1e-5)
    # Names as strings, in another order than the model's, of two of its three classes.
    rows = [(row["text"], NAMES[row["label"]]) for row in test if row["label"] != 0]
    texts, names = zip(*rows, strict=True)
    some = datasets.Dataset.from_dict({"text": texts, "label": names})
    numbers = datasets.Dataset.from_dict({"text": texts, "label": [NAMES.index(name) for name in names]})
    losses = [only(tmp_path, "text", evaluation=each).evaluate()["eval_loss"] for each in (some, numbers)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_a_saved_model_is_evaluated_by_its_path(tmp_path):
    model = named("text")
    model.save_pretrained(tmp_path / "model")
    task("text")["processing_class"].save_pretrained(tmp_path / "model")
    test = task("text")["eval_dataset"]
    by_path = SSLTrainer(str(tmp_path / "model"), config(tmp_path), eval_dataset=test).evaluate()
    assert same_metrics(by_path, only(tmp_path, "text", model, test).evaluate())


def test_model_init_is_enough(tmp_path):
    test = task("text")["eval_dataset"]
    given = {"eval_dataset": test, "processing_class": task("text")["processing_class"]}
    trainer = SSLTrainer(None, config(tmp_path), model_init=lambda: named("text"), **given)
    assert same_metrics(trainer.evaluate(), only(tmp_path, "text", evaluation=test).evaluate())


def test_what_needs_labeled_examples_says_so_in_one_line(tmp_path):
    trainer = only(tmp_path, "text", evaluation=task("text")["eval_dataset"])
    refused = (trainer.train, trainer.describe, trainer.hyperparameter_search, trainer.create_model_card)
    for call in (*refused, trainer.get_train_dataloader):
        with pytest.raises(ValueError, match=r"train_dataset must be the labeled .*make one with train_dataset$"):
            call()
    trainer.save_model(str(tmp_path / "saved"))
    assert (tmp_path / "saved" / "model.safetensors").is_file() and not (tmp_path / "saved" / "README.md").exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"text": ["sky"], "label": ["violet"]}, "has the label 'violet', which is not a class"),
        ({"number": [1]}, "input_column must be set: .* among number"),
    ],
)
def test_a_dataset_that_does_not_fit_is_refused(rows, message, tmp_path):
    with pytest.raises(ValueError, match=message) as raised:
        only(tmp_path, "text", evaluation=datasets.Dataset.from_dict(rows))
    assert "\n" not in str(raised.value)


TEXTS = ["a red bird", "a blue sea", "a green leaf", "a red sun"]
# Labels of a model with three outputs and without names for them, and the outputs that they are compared with.
UNNAMED = {
    "all": ([0, 1, 2, 0], [0, 1, 2, 0]),
    "some": ([2, 2, 1, 1], [2, 2, 1, 1]),
    "as texts": (["2", "1", "1", "0"], [2, 1, 1, 0]),
}


@pytest.mark.parametrize("name", UNNAMED)
def test_without_names_the_numbers_are_those_of_the_outputs_whichever_occur(name, tmp_path):
    labels, outputs = UNNAMED[name]
    model = new_model("text")
    rows = datasets.Dataset.from_dict({"text": TEXTS, "label": labels})
    found = only(tmp_path, "text", model=model, evaluation=rows).predict(rows)
    assert found.label_ids.tolist() == outputs
    assert found.metrics["test_accuracy"] == (found.predictions.argmax(axis=1) == outputs).mean()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["red", "blue", "red", "red"], r"the model must name its classes, .*which output is 'red'"),
        ([1, 2, 3, 1], "labels must be in 0 to 2, the outputs of .*, got 3 in column 'label'"),
        (["1", "2", "3", "1"], "labels must be in 0 to 2, the outputs of .*, got '3' in column 'label'"),
    ],
)
def test_labels_that_name_no_output_are_not_guessed_at(labels, message, tmp_path):
    rows = datasets.Dataset.from_dict({"text": TEXTS, "label": labels})
    with pytest.raises(ValueError, match=message) as raised:
        only(tmp_path, "text", model=new_model("text"), evaluation=rows)
    assert "\n" not in str(raised.value)


def test_a_path_alone_does_not_tell_how_to_load_it(tmp_path):
    path = save_model("text", tmp_path / "model")
    with pytest.raises(ValueError, match=r"train_dataset or eval_dataset must be given .*; or give the model itself"):
        SSLTrainer(path, config(tmp_path))


def test_a_path_whose_classes_have_no_names_is_not_guessed_at(tmp_path):
    path = save_model("text", tmp_path / "model")
    with pytest.raises(ValueError, match=r"the model must name its classes, .*which output is 'red'"):
        SSLTrainer(path, config(tmp_path), eval_dataset=task("text")["eval_dataset"])
