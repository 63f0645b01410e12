"""Ratings that a dataset keeps as classes, trained on as the numbers that their names tell."""

import datasets
import numpy as np
import pytest

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.benchmark import build_task
from hf_ssl.benchmark.repository import config_name
from hf_ssl.data.class_numbers import ClassNumbers
from hf_ssl.data.columns import inspect_data
from hf_ssl.data.prepare import prepare
from hf_ssl.problem_types import REGRESSION

from tests.helpers.benchmark_sources import make_source
from tests.helpers.tiny_numbers import number_model
from tests.helpers.tiny_tasks import tokenizer


def rated(names, labels):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    return datasets.Dataset.from_dict({"text": ["fine"] * len(labels), "label": labels}, features=features)


def test_the_number_of_a_name_is_what_is_learned():
    data = rated(["1 star", "2 stars", "10 stars"], [2, 0, 1, 0])
    summary = inspect_data(data, problem_type=REGRESSION)
    assert summary.label_names == ["label"] and summary.labels.tolist() == [[10.0], [1.0], [2.0], [1.0]]
    # Another dataset may number them in another way.
    other = rated(["10 stars", "1 star", "2 stars"], [0, 1])
    assert [row["label"] for row in prepare(other, summary, "evaluation")] == [[10.0], [1.0]]
    assert inspect_data(data).label_names == ["1 star", "2 stars", "10 stars"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["1 star", "many"], "'many' does not begin with a number"),
        (["3D", "4D"], "'3D' does not begin with a number"),
        (["1 star", "1.0 stars"], "two of them begin with the same number"),
    ],
)
def test_names_that_tell_no_numbers_are_refused(names, reason):
    with pytest.raises(ValueError) as error:
        inspect_data(rated(names, [0, 1, 1]), problem_type=REGRESSION)
    assert f"got the class names of column 'label': {reason}; cast it to numbers" in str(error.value)


def test_a_cell_without_a_class_has_no_number():
    read = ClassNumbers(["-1", "+2.5 points"])
    assert read(0) == [-1.0] and read(1.0) == [2.5] and read(-1) is None and read(None) is None
    with pytest.raises(ValueError, match="7: not the index of one of 2 classes"):
        read(7)


def test_stars_of_the_benchmark_are_learned_as_numbers(tmp_path):
    """The ordinary task with its own draws: one setting makes it an ordered regression."""
    source = make_source("yelp_review", tmp_path / "raw")
    folder = build_task(source.task, source.folder, tmp_path / "out")
    name = config_name(source.task.label_settings[0], 0)
    task = datasets.load_dataset(str(folder), name, cache_dir=str(tmp_path / "cache"))
    settings = {"max_steps": 2, "report_to": "none", "use_cpu": True, "disable_tqdm": True, "save_strategy": "no"}
    settings |= {"per_device_train_batch_size": 4, "dataloader_num_workers": 0, "learning_rate": 1e-4}
    args = SSLConfig(str(tmp_path / "run"), algorithm="rankup", problem_type=REGRESSION, **settings)
    given = {"train_dataset": task["labeled"], "unlabeled_dataset": task["unlabeled"], "eval_dataset": task["test"]}
    trainer = SSLTrainer(number_model("text"), args, processing_class=tokenizer(), **given)
    expected = np.array(task["labeled"]["label"]) + 1
    assert trainer.data.labels[:, 0].tolist() == expected.tolist()
    trainer.train()
    # Stars around 3, from a head that has hardly learned.
    assert trainer.evaluate()["eval_mae"] < 2
