"""Several labels and numbers through the features package: read from datasets, fitted, and put into a model's head."""

from types import SimpleNamespace

import datasets
import numpy as np
import pytest
from scipy.special import expit
from transformers import EvalPrediction

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.features import FeatureBank
from hf_ssl.features.answers import answers_of
from hf_ssl.features.reading import Reading, read
from hf_ssl.metrics.default import default_metrics
from hf_ssl.problem_types import MULTI_LABEL, REGRESSION

from tests.helpers.problem_tasks import TAGS, label_settings, problem_task, save_base
from tests.helpers.quiet import QUIET

KINDS = [MULTI_LABEL, REGRESSION]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_ssl.features.bank.default_cache", lambda: tmp_path / "features")


def make_trainer(folder, problem_type, modality="image", trainer=None, **config):
    settings = {
        "algorithm": "mean_teacher",
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-6,
        **QUIET,
        **label_settings(problem_type),
        **config,
    }
    given = {**problem_task(modality, problem_type), **(trainer or {})}
    model = save_base(modality, folder / "base")
    return SSLTrainer(model, SSLConfig(str(folder), **settings), **given)


def reading_of(trainer, **options):
    given = trainer.model, trainer.train_dataset, trainer.unlabeled_dataset, trainer.data
    return read(*given, trainer.processing_class, trainer.args, evaluation={"": trainer.eval_dataset}, **options)


@pytest.mark.parametrize("problem_type", KINDS)
def test_labels_of_a_training_are_read_and_those_of_the_pool_are_hidden(problem_type, tmp_path):
    trainer = make_trainer(tmp_path, problem_type)
    reading = reading_of(trainer)
    size = len(trainer.data.label_names)
    assert reading.problem_type == problem_type
    np.testing.assert_array_equal(reading.labels[reading.known], trainer.data.labels)
    assert reading.known.tolist() == [True] * 6 + [False] * 24
    assert np.isnan(reading.labels[~reading.known]).all() and reading.labels.shape == (30, size)
    truth = problem_task("image", problem_type)["unlabeled_dataset"]
    column = truth["tags" if problem_type == MULTI_LABEL else "price"][:]
    wanted = [[float(tag in cell) for tag in TAGS] for cell in column] if problem_type == MULTI_LABEL else column
    np.testing.assert_allclose(reading.hidden_labels, np.reshape(wanted, (24, size)))
    assert reading.test_labels.shape == (6, size)
    fewer = reading.without_pool_rows(np.array([0, 3]))
    assert fewer.known.sum() == 6 and len(fewer.features) == 28
    np.testing.assert_array_equal(fewer.hidden_labels, np.delete(reading.hidden_labels, [0, 3], axis=0))


def test_labels_of_several_columns_are_read(tmp_path):
    def in_columns(dataset):
        cells = dataset["tags"][:]
        for tag in TAGS:
            dataset = dataset.add_column(tag, [int(tag in cell) for cell in cells])
        return dataset.remove_columns("tags")

    parts = problem_task("text", MULTI_LABEL)
    given = {name: in_columns(part) for name, part in parts.items() if isinstance(part, datasets.Dataset)}
    there = make_trainer(tmp_path, MULTI_LABEL, "text", trainer=given, label_column=None, label_columns=TAGS)
    usual = make_trainer(tmp_path, MULTI_LABEL, "text")
    for found, expected in zip(vars(reading_of(there)).items(), vars(reading_of(usual)).items(), strict=True):
        if isinstance(found[1], np.ndarray):
            np.testing.assert_array_equal(found[1], expected[1], err_msg=found[0])


@pytest.mark.parametrize("start", ["head", "features"])
@pytest.mark.parametrize("problem_type", KINDS)
def test_training_starts_from_a_fitted_head(problem_type, start, tmp_path):
    metric = "eval_map" if problem_type == MULTI_LABEL else "eval_mae"
    before = make_trainer(tmp_path, problem_type).evaluate()[metric]
    trainer = make_trainer(tmp_path, problem_type, start=start)
    trainer.train()
    after = trainer.evaluate()[metric]
    assert after > max(before, 0.7) if problem_type == MULTI_LABEL else after < before / 5
    if problem_type == REGRESSION:
        # The head answers in the user's units, also when their mean is near 0 and it is hard to see.
        found = answers_of(reading_of(trainer), with_pool=start == "features")
        predicted = trainer.predict(trainer.eval_dataset).predictions
        np.testing.assert_allclose(predicted, found.head.logits(reading_of(trainer).tests[""][1]), rtol=2e-3)


def test_numbers_near_standard_ones_start_in_the_users_units(tmp_path):
    def shrunk(dataset):
        column = [(price - 45.5) / 5.5 + 0.3 for price in dataset["price"][:]]
        return dataset.remove_columns("price").add_column("price", column)

    parts = problem_task("image", REGRESSION)
    given = {name: shrunk(part) for name, part in parts.items() if isinstance(part, datasets.Dataset)}
    trainer = make_trainer(tmp_path, REGRESSION, trainer=given, start="features", learning_rate=0.0)
    trainer.train()
    reading = reading_of(trainer)
    found = answers_of(reading, with_pool=True).head.logits(reading.tests[""][1])
    np.testing.assert_allclose(trainer.predict(trainer.eval_dataset).predictions, found, atol=0.05)


def planes(size=200, seed=0):
    """Features of a pool, two linear numbers, and other features that a head reads: a rotation of them."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(size, 6)).astype(np.float32)
    rotation, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    return features, features @ np.array([[1, 0], [0, 2], [0, 0], [1, -1], [0, 0], [0, 0.5]]), features @ rotation + 1


@pytest.mark.parametrize("with_pool", [False, True])
def test_a_head_that_reads_other_features_gives_the_same_answers(with_pool):
    features, numbers, read_by_head = planes()
    labels = np.where(np.arange(200)[:, None] < 30, numbers + 50, np.nan)
    reading = Reading(features, read_by_head, labels, 2, np.arange(170), problem_type=REGRESSION)
    found = answers_of(reading, with_pool=with_pool)
    # Nothing but the little penalty of the projection lies between them.
    np.testing.assert_allclose(found.head.logits(read_by_head), found.outputs, atol=0.02)
    np.testing.assert_allclose(found.outputs, numbers + 50, atol=0.1)
    np.testing.assert_allclose(found.held_out, numbers[:30] + 50, atol=0.3)
    assert found.thresholds is None


def test_thresholds_give_labels_as_often_as_among_the_labeled_examples():
    features, numbers, _ = planes(400)
    truth = (numbers > np.quantile(numbers, [0.7, 0.9], axis=0).diagonal()).astype(float)
    labels = np.where(np.arange(400)[:, None] < 40, truth, np.nan)
    reading = Reading(features, features, labels, 2, np.arange(360), problem_type=MULTI_LABEL)
    found = answers_of(reading, with_pool=True)
    shares = (truth[:40].sum(axis=0) + 0.5) / 41
    np.testing.assert_allclose((expit(found.head.logits(features)) > found.thresholds).mean(axis=0), shares, atol=3e-3)
    assert (expit(found.held_out).shape, found.outputs.shape) == ((40, 2), (400, 2))


def test_clear_cases_have_finite_logits():
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 40, size=1_000)
    features = (5 * np.eye(40)[kinds] + 0.01 * rng.normal(size=(1_000, 40))).astype(np.float32)
    labels = np.where(np.arange(1_000)[:, None] < 500, np.eye(40)[kinds], np.nan)
    reading = Reading(features, features, labels, 40, np.arange(500), problem_type=MULTI_LABEL)
    found = answers_of(reading, with_pool=False)
    metrics = default_metrics(SimpleNamespace(problem_type=MULTI_LABEL, label_names=[str(each) for each in range(40)]))
    assert metrics(EvalPrediction(found.held_out, labels[:500]))["map"] == pytest.approx(1)


@pytest.mark.parametrize("problem_type", KINDS)
def test_labels_of_a_stream_are_those_of_its_rows(problem_type, tmp_path):
    trainer = make_trainer(tmp_path, problem_type, "text")
    rows = problem_task("text", problem_type)["unlabeled_dataset"]
    given = {"args": trainer.args, "data": trainer.data}
    banks = [
        FeatureBank.encode(trainer.model, part, trainer.processing_class, **given)
        for part in (rows, rows.to_iterable_dataset())
    ]
    assert banks[0].labels.dtype == np.float32 and banks[0].labels.shape == (24, len(trainer.data.label_names))
    np.testing.assert_array_equal(banks[0].labels, banks[1].labels)
    np.testing.assert_allclose(banks[0].features, banks[1].features, atol=1e-6)


def test_labels_that_are_easy_to_tell_have_finite_logits_left_out():
    # As far apart as this, probabilities in double precision are 1, whose logits would be infinite.
    rng = np.random.default_rng(0)
    truth = (np.arange(120)[:, None] % [2, 12] == 0).astype(np.float32)
    features = (10 * truth + 0.01 * rng.normal(size=(120, 2))).astype(np.float32)
    labels = np.where(np.arange(120)[:, None] < 60, truth, np.nan)
    reading = Reading(features, features, labels, 2, np.arange(60), problem_type=MULTI_LABEL)
    for with_pool in (False, True):
        held_out = answers_of(reading, with_pool=with_pool).held_out
        assert np.abs(held_out).max() > 37 and np.isfinite(held_out).all()
        assert ((held_out > 0) == truth[:60]).all()
