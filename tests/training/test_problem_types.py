"""Trainings for several labels per example and for numbers, from the labels to the saved model."""

import re

import datasets
import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForSequenceClassification, DataCollatorWithPadding, pipeline

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.problem_types import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from hf_ssl.training.algorithm import label_shares, target_scale

from tests.helpers.problem_tasks import TAGS, label_settings, problem_task, save_base, sigmoid
from tests.helpers.quiet import QUIET
from tests.helpers.resuming import everything, log_lines

KINDS = [MULTI_LABEL, REGRESSION]
# Of `SSLTrainer`, and not of its settings.
_ARGUMENTS = ("train_dataset", "unlabeled_dataset", "eval_dataset", "data_collator", "compute_loss_func")


def trainer(model, folder, kind, modality="text", **settings):
    given = problem_task(modality, kind) | {name: settings.pop(name) for name in _ARGUMENTS if name in settings}
    defaults = {
        "algorithm": "supervised",
        "max_steps": 2,
        "per_device_train_batch_size": 3,
        "logging_steps": 1,
        **QUIET,
    }
    return SSLTrainer(model, SSLConfig(str(folder), **label_settings(kind) | defaults | settings), **given)


def wanted_loss(kind, logits, labels):
    """The mean of -log p of each label, or of the squared errors."""
    if kind == REGRESSION:
        return np.square(logits - labels).mean()
    shares = sigmoid(logits)
    return -np.log(np.where(labels == 1, shares, 1 - shares)).mean()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("modality", ["text", "image", "audio"])
def test_a_model_is_trained_evaluated_and_saved(kind, modality, tmp_path):
    run = trainer(save_base(modality, tmp_path / "base"), tmp_path / "run", kind, modality)
    assert run.data.problem_type == kind and run.algorithm.problem_type == kind
    run.train()
    answer = run.predict(problem_task(modality, kind)["eval_dataset"])
    if kind == MULTI_LABEL:
        assert answer.label_ids.tolist() == [[0, 0], [1, 0], [1, 1]] * 2
        chosen = sigmoid(answer.predictions) > 0.5
        assert answer.metrics["test_subset_accuracy"] == (chosen == answer.label_ids).all(axis=1).mean()
        assert "test_map" in answer.metrics and "test_micro_f1" in answer.metrics
    else:
        assert answer.label_ids.tolist() == [[40.0], [45.5], [51.0]] * 2
        errors = (answer.predictions - answer.label_ids).astype(np.float64)
        assert answer.metrics["test_mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-6)
        assert answer.metrics["test_rmse"] == pytest.approx(np.sqrt(np.square(errors).mean()), rel=1e-6)
    loss = wanted_loss(kind, answer.predictions.astype(np.float64), answer.label_ids)
    assert answer.metrics["test_loss"] == pytest.approx(loss, rel=1e-5)
    assert run.evaluate()["eval_loss"] == pytest.approx(loss, rel=1e-5)
    run.save_model(str(tmp_path / "saved"))
    config = AutoConfig.from_pretrained(tmp_path / "saved")
    assert config.problem_type == kind
    assert list(config.id2label.values()) == (TAGS if kind == MULTI_LABEL else ["price"])
    args = SSLConfig(str(tmp_path / "again"), use_cpu=True, report_to="none", **label_settings(kind))
    again = SSLTrainer(str(tmp_path / "saved"), args, eval_dataset=problem_task(modality, kind)["eval_dataset"])
    found = again.predict(again.eval_dataset)
    assert np.allclose(found.predictions, answer.predictions, rtol=0, atol=1e-6)
    assert found.metrics["test_loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipeline_answers_with_the_saved_model(kind, tmp_path):
    run = trainer(save_base("text", tmp_path / "base"), tmp_path / "run", kind)
    run.train()
    run.save_model(str(tmp_path / "saved"))
    rows = problem_task("text", kind)["eval_dataset"]
    logits = run.predict(rows).predictions
    classify = pipeline("text-classification", str(tmp_path / "saved"), top_k=None, device="cpu")
    wanted = dict(zip(TAGS, sigmoid(logits[0]), strict=True)) if kind == MULTI_LABEL else {"price": logits[0, 0]}
    (scores,) = classify([rows[0]["text"]])
    assert {score["label"]: score["score"] for score in scores} == pytest.approx(wanted, abs=1e-6)


def test_what_the_algorithm_knows_of_the_labels(tmp_path):
    tags = trainer(save_base("text", tmp_path / "base"), tmp_path / "run", MULTI_LABEL)
    assert tags.algorithm.class_distribution.tolist() == pytest.approx([4 / 6, 2 / 6])
    assert label_shares(tags.data).tolist() == pytest.approx([4 / 6, 2 / 6])
    price = trainer(str(tmp_path / "base"), tmp_path / "run", REGRESSION)
    mean, scale = price.algorithm.target_mean, price.algorithm.target_scale
    assert mean.tolist() == [45.5] and scale.tolist() == pytest.approx([5.5 * np.sqrt(2 / 3)])
    assert target_scale(np.full((3, 1), 7.0))["target_scale"].tolist() == [1.0]


# ---- What happens on the way ----


def eager(kind):
    """Settings with which pseudo-labels take part from the first step on."""
    thresholds = {"algorithm": "fixmatch", "algorithm_kwargs": {"threshold": 0.5, "negative_threshold": 0.5}}
    return thresholds if kind == MULTI_LABEL else {"algorithm": "mean_teacher"}


def test_pseudo_labels_are_compared_with_the_hidden_labels_by_f1(tmp_path):
    run = trainer(save_base("text", tmp_path / "base"), tmp_path / "run", MULTI_LABEL, **eager(MULTI_LABEL))
    run.train()
    lines = [line for line in run.state.log_history if "loss" in line]
    assert all(0 < line["pseudo_label_f1"] < 1 and "pseudo_label_accuracy" not in line for line in lines)
    assert run.watch.classes is None and "hidden labels" in run.describe()


@pytest.mark.parametrize(("kind", "advice"), [(MULTI_LABEL, r"\(cap\)"), (REGRESSION, r"\(mean_teacher, ucvme\)")])
def test_a_pool_that_takes_no_part_is_warned_of_with_what_to_use_instead(kind, advice, tmp_path, monkeypatch):
    warned = []
    monkeypatch.setattr("hf_ssl.training.watch.logger.warning", warned.append)
    certain = {"algorithm": "fixmatch", "algorithm_kwargs": {"threshold": 1.0, "negative_threshold": 0.0}}
    numbers = {"algorithm": "rankup", "algorithm_kwargs": {"threshold": 1.0}}
    settings = certain if kind == MULTI_LABEL else numbers
    trainer(save_base("text", tmp_path / "base"), tmp_path / "run", kind, **settings).train()
    assert any(re.search(f"no unlabeled example took part .* or use an algorithm .*{advice}", each) for each in warned)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_resumed_run_is_the_same_bit_for_bit(kind, accumulation, tmp_path):
    def make(seed):
        torch.manual_seed(seed)
        settings = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "ema_role": "both", "ema_decay": 0.9}
        given = settings | eager(kind) | {"gradient_accumulation_steps": accumulation}
        return trainer(str(tmp_path / "base"), tmp_path / "run", kind, **given)

    save_base("text", tmp_path / "base")
    whole, resumed = make(0), make(1)
    whole.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    expected, found = everything(whole), everything(resumed)
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert log_lines(whole) == log_lines(resumed)


def test_a_batch_in_two_passes_is_one_step_of_several_labels(tmp_path):
    found = {}
    for passes in (1, 2):
        torch.manual_seed(0)
        sizes = {"gradient_accumulation_steps": passes, "per_device_train_batch_size": 4 // passes}
        settings = sizes | {"optim": "sgd", "learning_rate": 0.1} | eager(MULTI_LABEL)
        run = trainer(save_base("text", tmp_path / "base"), tmp_path / "run", MULTI_LABEL, **settings)
        run.train()
        found[passes] = run.model.state_dict()
    for name, tensor in found[1].items():
        assert torch.allclose(tensor, found[2][name], atol=1e-5), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_pool_without_end_may_have_labels_or_none(kind, tmp_path):
    pool = problem_task("text", kind)["unlabeled_dataset"]
    column = label_settings(kind)["label_column"]
    save_base("text", tmp_path / "base")
    for stream in (pool, pool.remove_columns(column)):
        given = eager(kind) | {"unlabeled_dataset": stream.to_iterable_dataset()}
        run = trainer(str(tmp_path / "base"), tmp_path / "run", kind, **given)
        run.train()
        hidden = [line for line in run.state.log_history if "pseudo_label_f1" in line]
        assert run.state.global_step == 2 and bool(hidden) == (stream is pool and kind == MULTI_LABEL)


@pytest.mark.parametrize("kind", KINDS)
def test_broken_files_and_duplicates_are_found_beside_such_labels(kind, tmp_path):
    given = dict(problem_task("image", kind))
    pool = given["unlabeled_dataset"].cast_column("image", datasets.Image(decode=False))
    broken = {"bytes": b"no image", "path": None}
    pool = pool.map(lambda row, place: {"image": broken} if place % 3 == 0 else row, with_indices=True)
    pool = pool.cast_column("image", datasets.Image())
    base = save_base("image", tmp_path / "base")
    more = {"unlabeled_dataset": pool, "eval_dataset": given["train_dataset"], "max_steps": 4}
    run = trainer(base, tmp_path / "run", kind, "image", **eager(kind) | more)
    run.train()
    assert sum(line.get("broken_files", 0) for line in run.state.log_history) > 0
    (overlap,) = [each for each in run.duplicates.overlaps if (each.name, each.other) == ("evaluation", "labeled")]
    assert overlap.places == {row: row for row in range(6)}


def test_an_adapter_is_trained_for_several_labels_and_saved_with_its_head(tmp_path):
    base = AutoModelForSequenceClassification.from_pretrained(
        save_base("text", tmp_path / "base"), num_labels=2, ignore_mismatched_sizes=True
    )
    adapted = get_peft_model(base, LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"]))
    run = trainer(adapted, tmp_path / "run", MULTI_LABEL, learning_rate=1e-2, **eager(MULTI_LABEL))
    run.train()
    expected = run.predict(problem_task("text", MULTI_LABEL)["eval_dataset"]).predictions
    run.save_model(str(tmp_path / "saved"))
    fresh = AutoModelForSequenceClassification.from_pretrained(
        str(tmp_path / "base"), num_labels=2, ignore_mismatched_sizes=True, problem_type=MULTI_LABEL
    )
    again = PeftModel.from_pretrained(fresh, str(tmp_path / "saved")).eval()
    tokens = run.processing_class(problem_task("text", MULTI_LABEL)["eval_dataset"]["text"][:], padding=True)
    inputs = {name: torch.tensor(values) for name, values in tokens.items()}
    with torch.no_grad():
        assert np.allclose(again(**inputs).logits.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_of_texts_have_such_labels_too(kind, tmp_path):
    def paired(dataset):
        texts = dataset["text"][:]
        return dataset.rename_column("text", "premise").add_column("hypothesis", texts[::-1])

    sets = {name: rows for name, rows in problem_task("text", kind).items() if name != "processing_class"}
    pairs = {name: paired(rows) for name, rows in sets.items()}
    run = trainer(save_base("text", tmp_path / "base"), tmp_path / "run", kind, **eager(kind) | pairs)
    assert run.data.input_columns == ("premise", "hypothesis") and run.data.problem_type == kind
    run.train()
    assert run.predict(pairs["eval_dataset"]).predictions.shape == (6, len(run.data.label_names))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["mapped", "transformed", "collated"])
def test_rows_that_the_user_prepared_have_such_labels(kind, way, tmp_path):
    given = problem_task("text", kind)
    tokenizer = given["processing_class"]

    def tokenized(rows):
        return {**tokenizer(rows["text"]), **{name: rows[name] for name in ["label"] if name in rows}}

    # By this name collators know it.
    own = label_settings(kind)["label_column"]
    sets = {name: rows.rename_column(own, "label") for name, rows in given.items() if name != "processing_class"}
    if way == "mapped":
        sets = {name: rows.map(tokenized, batched=True, remove_columns=["text"]) for name, rows in sets.items()}
    elif way == "transformed":
        sets = {name: rows.with_transform(tokenized) for name, rows in sets.items()}
    more = {"data_collator": DataCollatorWithPadding(tokenizer)} if way != "collated" else {}
    run = trainer(
        save_base("text", tmp_path / "base"), tmp_path / "run", kind, **eager(kind) | sets | more, label_column="label"
    )
    run.train()
    expected = [[0, 0], [1, 0], [1, 1]] if kind == MULTI_LABEL else [[40.0], [45.5], [51.0]]
    assert run.predict(run.eval_dataset).label_ids.tolist() == expected * 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_of_the_users_gets_such_labels(kind, tmp_path):
    seen = []

    def loss(outputs, labels, num_items_in_batch):
        seen.append((tuple(outputs.logits.shape), tuple(labels.shape), labels.dtype))
        return (outputs.logits - labels).abs().mean()

    given = eager(kind) | {"compute_loss_func": loss}
    run = trainer(save_base("text", tmp_path / "base"), tmp_path / "run", kind, **given)
    run.train()
    size = len(run.data.label_names)
    assert set(seen) == {((count, size), (count, size), torch.float32) for count in (2, 3)}  # 2 when a step is tried
    seen.clear()
    answer = run.predict(run.eval_dataset)
    assert answer.metrics["test_loss"] == pytest.approx(np.abs(answer.predictions - answer.label_ids).mean(), rel=1e-5)


# ---- Models and settings ----


@pytest.mark.parametrize("way", ["path", "object"])
@pytest.mark.parametrize(
    ("own", "names", "kind", "is_kept"),
    [
        (MULTI_LABEL, TAGS, MULTI_LABEL, True),
        (SINGLE_LABEL, TAGS, MULTI_LABEL, True),
        (REGRESSION, TAGS, MULTI_LABEL, False),
        (REGRESSION, ["price"], REGRESSION, True),
        (None, ["price"], REGRESSION, True),
        (MULTI_LABEL, ["price"], REGRESSION, False),
    ],
)
def test_a_head_for_another_kind_of_answer_is_renewed(own, names, kind, is_kept, way, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(
        save_base("text", tmp_path / "base"), num_labels=len(names), ignore_mismatched_sizes=True
    )
    model.config.problem_type, model.config.id2label = own, dict(enumerate(names))
    with torch.no_grad():
        model.classifier.bias.fill_(3.0)
    model.save_pretrained(tmp_path / "model")
    run = trainer(str(tmp_path / "model") if way == "path" else model, tmp_path / "run", kind)
    assert run.model.config.problem_type == kind
    assert run.model.classifier.bias.tolist() == [3.0 if is_kept else 0.0] * len(names)


def test_a_saved_model_evaluates_columns_that_have_the_names_of_its_labels(tmp_path):
    run = trainer(save_base("text", tmp_path / "base"), tmp_path / "run", MULTI_LABEL)
    run.save_model(str(tmp_path / "saved"))
    rows = problem_task("text", MULTI_LABEL)["eval_dataset"]
    expected = run.evaluate()
    columns = {name: [int(name in tags) for tags in rows["tags"]] for name in reversed(TAGS)}
    table = datasets.Dataset.from_dict({"text": rows["text"][:], **columns})
    args = SSLConfig(str(tmp_path / "again"), use_cpu=True, report_to="none")
    found = SSLTrainer(str(tmp_path / "saved"), args, eval_dataset=table).evaluate()
    assert found["eval_loss"] == pytest.approx(expected["eval_loss"], rel=1e-5)
    assert found["eval_map"] == expected["eval_map"]
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    without_data = SSLTrainer(model, args, processing_class=run.processing_class)
    assert without_data.evaluate(table)["eval_map"] == expected["eval_map"]


@pytest.mark.parametrize(("kind", "metric"), [(MULTI_LABEL, ("map", True)), (REGRESSION, ("mae", False))])
def test_the_main_metric_of_the_kind_chooses_the_best_checkpoint(kind, metric, tmp_path):
    saving = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps"}
    run = trainer(save_base("text", tmp_path / "base"), tmp_path / "run", kind, **saving, save_steps=1)
    assert (run.args.metric_for_best_model, run.args.greater_is_better) == metric
    chosen = trainer(str(tmp_path / "base"), tmp_path / "run", kind, **saving, metric_for_best_model="loss")
    assert chosen.args.metric_for_best_model == "loss"


# case: (kind of problem, settings, what the error says)
REFUSED = {
    "an algorithm for classes": (
        MULTI_LABEL,
        {"algorithm": "freematch"},
        "must be one for several labels per example",
    ),
    "one for labels": (REGRESSION, {"algorithm": "cap"}, "must be one for numbers .* got 'cap', which is for several"),
    "a correction": (MULTI_LABEL, {"imbalance": "abc"}, "imbalance must be None for problem_type='multi_label"),
    "a head from names": (REGRESSION, {"start": "names"}, "start must be random, head or features for problem_type="),
    "a teacher": (MULTI_LABEL, {"teacher_column": "t"}, "teacher_column must be None for problem_type='multi_label"),
    "smoothing": (MULTI_LABEL, {"label_smoothing_factor": 0.1}, "label_smoothing_factor must be 0.0 for problem_type"),
    "foreign examples": (REGRESSION, {"open_set": "report"}, "open_set must be None for problem_type='regression'"),
}


@pytest.mark.parametrize(("kind", "settings", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_make_no_sense_are_refused_in_one_line(kind, settings, message, tmp_path):
    with pytest.raises(ValueError, match=message) as error:
        trainer(save_base("text", tmp_path / "base"), tmp_path / "run", kind, **settings)
    assert "\n" not in str(error.value)


def test_a_model_of_another_size_or_kind_is_refused(tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(save_base("text", tmp_path / "base"))
    with pytest.raises(ValueError, match="the model predicts 3 labels and the labeled dataset has 2; load it with"):
        trainer(model, tmp_path / "run", MULTI_LABEL)
    model.config.problem_type = MULTI_LABEL
    args = SSLConfig(str(tmp_path / "run"), use_cpu=True, report_to="none", problem_type=REGRESSION)
    with pytest.raises(ValueError, match="problem_type must be 'multi_label_classification', what the model is for"):
        SSLTrainer(model, args, eval_dataset=problem_task("text", REGRESSION)["eval_dataset"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_is_evaluated_if_each_row_has_a_label(kind, tmp_path):
    run = trainer(save_base("text", tmp_path / "base"), tmp_path / "run", kind)
    rows, column = problem_task("text", kind)["eval_dataset"], label_settings(kind)["label_column"]
    assert run.evaluate(rows.to_iterable_dataset())["eval_loss"] == pytest.approx(
        run.evaluate()["eval_loss"], rel=1e-5
    )
    gap = datasets.Dataset.from_list([*rows, {"text": "a rose", column: None}], features=rows.features)
    with pytest.raises(ValueError, match=f"must have a label in each row or in none, got both in column '{column}'"):
        run.evaluate(gap.to_iterable_dataset())
    with pytest.raises(ValueError, match="the evaluation dataset has no label in row 6"):
        run.evaluate(gap)
