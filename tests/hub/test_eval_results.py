"""`.eval_results/hf_ssl.yaml` beside the card: what it says of a benchmark task, and when it says nothing."""

import dataclasses

import datasets
import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from hf_ssl._version import __version__
from hf_ssl.data.duplicates import Duplicates, Overlap
from hf_ssl.hub.eval_results import benchmark_entries, write_eval_results
from hf_ssl.hub.provenance import DataSource, source_of
from hf_ssl.hub.upload import EVAL_RESULTS, published_files

from tests.helpers.hub_client import run_client
from tests.helpers.loopback_hub import LoopbackHub, Repository
from tests.helpers.run_facts import make_model, make_run
from tests.helpers.tiny_images import make_images

ROW = {"eval_accuracy": 0.8125, "eval_f1": 0.25, "step": 10}
TEST = DataSource("someone/usb-x", "a" * 40, "labels40_seed2", "test")


def of(split, **changes):
    return dataclasses.replace(TEST, split=split, **changes)


TASK = {"labeled": of("labeled"), "unlabeled": of("unlabeled"), "evaluation": {"": TEST}}
NOTES = f"accuracy of the last weights; fixmatch, seed 42, hf-ssl {__version__}"


def test_a_model_of_a_benchmark_task_has_an_entry_that_the_hub_reads(tmp_path):
    write_eval_results(tmp_path, make_run(history=(ROW,)), make_model(**TASK))
    content = yaml.safe_load((tmp_path / EVAL_RESULTS).read_text())
    dataset = {"id": "someone/usb-x", "task_id": "labels40_seed2", "revision": "a" * 40}
    assert content == [{"dataset": dataset, "value": 0.8125, "notes": NOTES}]
    assert parse_eval_result_entries(content) == benchmark_entries(make_run(history=(ROW,)), make_model(**TASK))
    assert EVAL_RESULTS in published_files(tmp_path)
    # The next model in this folder was not evaluated.
    write_eval_results(tmp_path, make_run(), make_model(**TASK))
    assert published_files(tmp_path) == {}


NOTED = {
    "the best weights": (
        {
            "history": (ROW | {"step": 5}, ROW | {"eval_accuracy": 0.5}, {"train_runtime": 1.0, "step": 10}),
            "args": {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 5, "save_steps": 5},
            "state": {"best_global_step": 5, "best_model_checkpoint": "checkpoint-5"},
        },
        NOTES.replace("last weights", "best weights, chosen by loss during training"),
    ),
    "test examples among the trained ones": (
        {"history": (ROW,), "duplicates": Duplicates([Overlap("evaluation", "unlabeled", 12, 24, 24, {0: 3})])},
        NOTES + "; some test examples were in the training data",
    ),
    "no pool": ({"history": (ROW,), "has_pool": False, "num_unlabeled": 0}, NOTES),
}


@pytest.mark.parametrize(("run", "notes"), NOTED.values(), ids=NOTED)
def test_the_notes_say_how_the_value_came_about(run, notes):
    facts = TASK | ({"unlabeled": DataSource()} if "has_pool" in run else {})
    (entry,) = benchmark_entries(make_run(**run), make_model(**facts))
    assert (entry.notes, entry.value) == (notes, 0.8125)


NOTHING = {
    "data from a folder": (
        {},
        {"labeled": of("labeled", repository=None), "evaluation": {"": of("test", repository=None)}},
    ),
    "a dataset that is no draw of the benchmark": ({}, {"evaluation": {"": of("test", config="plain_text")}}),
    "another draw of labels": ({}, {"labeled": of("labeled", config="labels40_seed0")}),
    "labels of one's own": ({}, {"labeled": DataSource()}),
    "a part of the labels": ({}, {"labeled": of(None)}),
    "a pool of one's own": ({}, {"unlabeled": DataSource("someone/photos", split="train")}),
    "another revision": ({}, {"labeled": of("labeled", revision="b" * 40)}),
    "evaluated on the validation split": ({}, {"evaluation": {"": of("validation")}}),
    "a part of the test split": ({}, {"evaluation": {"": of(None)}}),
    "evaluated before the last step": ({"history": (ROW | {"step": 5},)}, {}),
    "a metric of one's own": ({"history": ({"eval_kappa": 0.5, "step": 10},)}, {}),
    "never evaluated": ({"history": ()}, {}),
}


@pytest.mark.parametrize(("run", "model"), NOTHING.values(), ids=NOTHING)
def test_nothing_is_said_that_could_be_wrong(run, model):
    assert benchmark_entries(make_run(**{"history": (ROW,), **run}), make_model(**{**TASK, **model})) == []


def test_a_part_of_a_split_is_not_taken_for_the_split(tmp_path):
    for name, number in (("train", 6), ("test", 4)):
        make_images(number, 0).to_parquet(tmp_path / "data" / f"{name}.parquet")
    loaded = datasets.load_dataset(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    assert source_of(loaded["test"].shuffle(seed=0)).split == "test"
    parts = loaded["train"].train_test_split(2, seed=0)
    for part in (loaded["test"].select(range(3)), parts["train"], parts["test"]):
        assert source_of(part).split is None


PUSH = """
import sys
from pathlib import Path
from hf_ssl.hub.upload import published_files, push_files
for name in sys.argv[1:]:
    push_files("someone/model", published_files(name), "A model")
tell(None)
"""


def test_a_push_replaces_our_results_and_no_others(tmp_path):
    for name, history in (("first", (ROW,)), ("second", ())):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        write_eval_results(tmp_path / name, make_run(history=history), make_model(**TASK))
    with LoopbackHub() as hub:
        repository = hub.repositories["someone/model"] = Repository(kind="model")
        repository.files = {".eval_results/theirs.yaml": b"[]"}
        run_client(hub, tmp_path / "home", PUSH, tmp_path / "first", tmp_path / "second")
    first, second = [set(files) for _, files in repository.commits[1:]]
    assert first == {"config.json", EVAL_RESULTS, ".eval_results/theirs.yaml"}
    assert second == {"config.json", ".eval_results/theirs.yaml"}
