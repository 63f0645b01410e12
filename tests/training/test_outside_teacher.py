"""A training with the opinions of a larger model in a column of the pool."""

import datasets
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification

from hf_ssl import SSLConfig, SSLTrainer, get_algorithm
from hf_ssl.data.columns import inspect_data
from hf_ssl.data.labels import Classes
from hf_ssl.data.opinions import OPINION, Opinions
from hf_ssl.data.prepare import prepare_pool

from tests.helpers.resuming import everything
from tests.helpers.tiny_tasks import NAMES, new_model, task

STEPS = 6


def with_opinions(pool: datasets.Dataset, seed: int = 3) -> datasets.Dataset:
    """The pool with a teacher that has something to say on five of six examples, by names in another order."""
    names, rng = pool.features["label"].names, np.random.default_rng(seed)
    cells = [dict(zip(names[::-1], rng.dirichlet(np.ones(3)).tolist(), strict=True)) for _ in range(len(pool))]
    return pool.add_column("teacher", [None if row % 6 == 5 else cell for row, cell in enumerate(cells)])


def make_trainer(folder, modality="image", seed=0, stream=False, **config):
    defaults = {
        "algorithm": "fixmatch",
        "algorithm_kwargs": {"threshold": 0.35},
        "teacher_column": "teacher",
        "max_steps": STEPS,
        "per_device_train_batch_size": 2,
        "unlabeled_batch_ratio": 2,
        "learning_rate": 1e-2,
        "ema_role": "evaluation",
        "ema_decay": 0.9,
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "logging_steps": 3,
        "dataloader_num_workers": 0,
    }
    given = dict(task(modality))
    given["unlabeled_dataset"] = with_opinions(given["unlabeled_dataset"])
    if stream:
        given["unlabeled_dataset"] = given["unlabeled_dataset"].to_iterable_dataset()
    return SSLTrainer(new_model(modality, seed), SSLConfig(str(folder), **{**defaults, **config}), **given)


def teacher_lines(trainer):
    return [
        (row["step"], row["teacher"], row["teacher_ratio"]) for row in trainer.state.log_history if "teacher" in row
    ]


CASES = {
    "image, accumulation": ("image", {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 1}),
    "text, workers": ("text", {"dataloader_num_workers": 1}),
    "audio": ("audio", {}),
    "image, labels alone": ("image", {"algorithm": "supervised", "algorithm_kwargs": None}),
}


@pytest.mark.parametrize(("modality", "config"), CASES.values(), ids=CASES)
def test_a_resumed_training_is_the_whole_one_and_the_saved_model_is_plain(tmp_path, modality, config):
    whole = make_trainer(tmp_path, modality, save_steps=4, **config)
    whole.train()
    resumed = make_trainer(tmp_path, modality, seed=5, save_steps=4, **config)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    expected, found = everything(whole), everything(resumed)
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    lines = teacher_lines(whole)
    assert lines == teacher_lines(resumed) and [step for step, _, _ in lines] == [3, 6]
    # Four of the 24 examples have no opinion; within the first passes all of them were seen about equally often.
    assert all(0.5 < term < 3 and 0.5 < share < 1 for _, term, share in lines)
    assert "algorithm/outside_teacher.head.weight" in expected
    whole.save_model(str(tmp_path / "model"))
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert len(saved) == len(new_model(modality).state_dict()) and not any("teacher" in name for name in saved)
    assert "opinions in 'teacher', weight 1, falling" in whole.describe()


def test_the_opinions_change_the_features_that_are_learned(tmp_path):
    models = []
    for weight in (0.0, 5.0):
        trainer = make_trainer(tmp_path / str(weight), teacher_weight=weight, teacher_schedule="constant")
        trainer.train()
        models.append(trainer.model.vit.embeddings.patch_embeddings.projection.weight)
    assert not torch.allclose(*models)
    loaded = AutoModelForImageClassification.from_pretrained(_saved(trainer, tmp_path))
    assert loaded.config.id2label == dict(enumerate(task("image")["train_dataset"].features["label"].names))


def _saved(trainer, folder):
    trainer.save_model(str(folder / "saved"))
    return folder / "saved"


def test_the_auxiliary_head_learns_to_agree_with_the_teacher(tmp_path):
    given = dict(task("text"))
    pool = given["unlabeled_dataset"]
    given["unlabeled_dataset"] = pool.add_column("teacher", [NAMES[label] for label in pool["label"]])
    args = {"teacher_column": "teacher", "teacher_schedule": "constant", "max_steps": 60, "learning_rate": 3e-2}
    args |= {"algorithm": "supervised", "unlabeled_batch_ratio": 4, "per_device_train_batch_size": 2}
    args |= {"use_cpu": True, "report_to": "none", "disable_tqdm": True, "dataloader_num_workers": 0}
    trainer = SSLTrainer(new_model("text"), SSLConfig(str(tmp_path), logging_steps=20, **args), **given)
    trainer.train()
    first, *_, last = teacher_lines(trainer)
    assert first[1] > 0.5 and last[1] < 0.2


def test_a_stream_has_opinions_too(tmp_path):
    streamed, loaded = make_trainer(tmp_path / "a", stream=True), make_trainer(tmp_path / "b")
    for trainer in (streamed, loaded):
        trainer.train()
    assert teacher_lines(streamed) == teacher_lines(loaded)


# ---- The column ----

CLASSES = Classes(["cat", "dog", "2"], {"cat": 0, "dog": 1, "2": 2}, True)
PLAIN = Classes(["cat", "dog", "cow"], {"cat": 0, "dog": 1, "cow": 2}, True)
CELLS = [
    ({"cow": 0.25, "cat": 0.75}, [0.75, 0.0, 0.25]),
    ({"cow": None, "cat": 1.0, "dog": None}, [1.0, 0.0, 0.0]),
    ([0.5, 0.25, 0.25], [0.5, 0.25, 0.25]),
    ([0.333, 0.333, 0.333], [1 / 3, 1 / 3, 1 / 3]),
    ('{"dog": 1}', [0.0, 1.0, 0.0]),
    ("[0, 0, 1]", [0.0, 0.0, 1.0]),
    ("dog", [0.0, 1.0, 0.0]),
    (2, [0.0, 0.0, 1.0]),
    (0.0, [1.0, 0.0, 0.0]),
    (None, [0.0] * 3),
    ({}, [0.0] * 3),
    ("", [0.0] * 3),
    (-1, [0.0] * 3),
    (float("nan"), [0.0] * 3),
    ({"cow": None}, [0.0] * 3),
]


@pytest.mark.parametrize(("cell", "expected"), CELLS, ids=lambda value: repr(value)[:30])
def test_a_cell_becomes_a_distribution(cell, expected):
    np.testing.assert_allclose(Opinions(PLAIN, "teacher")(cell, 0), expected, rtol=1e-6)


WRONG = [
    ("horse", r"row 7 of the teacher column 'teacher' must name classes of the labeled dataset, got 'horse'; .* dog"),
    ({"horse": 1.0}, "must name classes of the labeled dataset, got 'horse'"),
    (3, "must name classes of the labeled dataset, got 3"),
    ([0.5, 0.5], "must hold 3 probabilities, got 2: one for each class of the labeled dataset"),
    ([0.5, 0.5, 0.5], r"must hold probabilities, at least 0 with sum 1, got \[0.5, 0.5, 0.5\]"),
    ([1.5, -0.5, 0.0], "at least 0 with sum 1"),
    ([float("nan"), 0.5, 0.5], "at least 0 with sum 1"),
    (["a", "b", "c"], "must hold numbers"),
    ("{broken", "must be a class, or JSON of probabilities, got '{broken'"),
]


@pytest.mark.parametrize(("cell", "message"), WRONG, ids=lambda value: repr(value)[:30])
def test_what_is_no_opinion_is_refused_with_its_row(cell, message):
    with pytest.raises(ValueError, match=message) as error:
        Opinions(PLAIN, "teacher")(cell, 7)
    assert "\n" not in str(error.value)


def test_numbers_are_names_of_classes_if_a_class_is_called_by_one():
    assert Opinions(CLASSES, "teacher")(2, 0).tolist() == Opinions(CLASSES, "teacher")("2", 0).tolist() == [0, 0, 1]


def test_columns_of_a_pool_are_matched_by_the_names_of_their_own_classes():
    labeled = datasets.Dataset.from_dict({"text": ["a", "b"], "label": ["cat", "dog"]})
    other = datasets.Features({"text": datasets.Value("string"), "teacher": datasets.ClassLabel(names=["dog", "cat"])})
    pool = datasets.Dataset.from_dict({"text": ["c", "d"], "teacher": [0, 1]}, features=other)
    rows = prepare_pool(pool, inspect_data(labeled), False, "teacher")
    assert [row[OPINION].tolist() for row in rows.__getitems__([0, 1])] == [[0.0, 1.0], [1.0, 0.0]]


POOLS = [
    (
        {"text": ["a"]},
        "teacher_column must name a column of the unlabeled dataset, got 'teacher'; its columns are text",
    ),
    ({"text": ["a"], "teacher": [None]}, "teacher_column must hold opinions, got 'teacher', in which all cells are"),
    ({"text": ["a", "b"], "teacher": ["cat", "cow"]}, "row 1 of the teacher column 'teacher' must name classes"),
]


@pytest.mark.parametrize(("columns", "message"), POOLS)
def test_a_pool_without_opinions_is_refused_before_training(columns, message):
    labeled = datasets.Dataset.from_dict({"text": ["a", "b"], "label": ["cat", "dog"]})
    with pytest.raises(ValueError, match=message):
        prepare_pool(datasets.Dataset.from_dict(columns), inspect_data(labeled), False, "teacher")


def test_settings_of_no_teacher_are_refused(tmp_path):
    with pytest.raises(ValueError, match="teacher_column must be named beside teacher_weight, got None"):
        make_trainer(tmp_path, teacher_column=None, teacher_weight=0.5)
    with pytest.raises(ValueError, match="teacher_schedule must be one of falling, constant, rising, got 'up'"):
        make_trainer(tmp_path, teacher_schedule="up")


def test_an_algorithm_object_brings_its_own_teacher(tmp_path):
    sizes = {"num_labeled": 6, "num_unlabeled": 24, "labeled_batch_size": 2, "unlabeled_batch_size": 4}
    problem = {"num_classes": 3, "feature_size": 16, **sizes}
    args = {"use_cpu": True, "report_to": "none", "per_device_train_batch_size": 2, "unlabeled_batch_ratio": 2}
    args |= {"max_steps": 1, "dataloader_num_workers": 0, "disable_tqdm": True, "logging_steps": 1}
    given = dict(task("image"))
    given["unlabeled_dataset"] = with_opinions(given["unlabeled_dataset"])
    for teacher, column in ((None, "teacher"), ({}, None)):
        with pytest.raises(ValueError, match="teacher_column must be set for an algorithm object that was made with"):
            algorithm = get_algorithm("fixmatch", teacher=teacher, **problem)
            config = SSLConfig(str(tmp_path), teacher_column=column, **args)
            SSLTrainer(new_model("image"), config, algorithm=algorithm, **given)
    config = SSLConfig(str(tmp_path), teacher_column="teacher", **args)
    trainer = SSLTrainer(
        new_model("image"), config, algorithm=get_algorithm("fixmatch", teacher={}, **problem), **given
    )
    trainer.train()
    assert len(teacher_lines(trainer)) == 1
