"""Two processes compute what one would, hold the same state, and resume exactly."""

import importlib
import json
import re
import sys

import pytest
import torch
from safetensors.torch import load_file
from transformers import ResNetForImageClassification

from hf_ssl.model.head import find_head
from hf_ssl.problem_types import MAIN_METRICS

from tests.helpers import two_processes
from tests.helpers.launching import ROOT, launch
from tests.helpers.odd_algorithms import LateHead
from tests.helpers.resuming import everything, log_lines

pytestmark = [pytest.mark.multiprocess, pytest.mark.slow]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    launch(ROOT / "tests" / "helpers" / "two_processes.py", str(folder))
    return folder, [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def test_there_were_two(reports):
    assert [report["processes"] for report in reports[1]] == [2, 2]


@pytest.mark.parametrize("algorithm", two_processes.EQUAL)
def test_every_process_holds_the_same(algorithm, reports):
    first, second = (load_file(reports[0] / f"{algorithm}-rank{rank}.safetensors") for rank in (0, 1))
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert reports[1][0]["logs"] == reports[1][1]["logs"]


@pytest.mark.parametrize("algorithm", two_processes.EQUAL)
def test_two_processes_train_like_one_with_the_whole_batch(algorithm, reports, tmp_path):
    whole = two_processes.make_trainer(tmp_path, algorithm, double=True, per_device_train_batch_size=4)
    whole.train()
    halves = load_file(reports[0] / f"{algorithm}-rank0.safetensors")
    expected = everything(whole)
    assert expected.keys() == halves.keys()
    far = {n: (expected[n].double() - halves[n].double()).abs().max().item() for n in expected}
    assert {n: d for n, d in far.items() if d > 1e-9} == {}
    for row, again in zip(log_lines(whole), reports[1][0]["logs"][algorithm], strict=True):
        assert again == pytest.approx(row, rel=1e-4)
    assert whole.evaluate()["eval_accuracy"] == pytest.approx(reports[1][0]["evaluation"][algorithm])


@pytest.mark.parametrize("kind", two_processes.EQUAL_OF_KIND)
def test_two_processes_train_for_labels_and_numbers_like_one(kind, reports, tmp_path):
    first, second = (load_file(reports[0] / f"{kind}-rank{rank}.safetensors") for rank in (0, 1))
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    config = {"double": True, "kind": kind, "per_device_train_batch_size": 4}
    whole = two_processes.make_trainer(tmp_path, two_processes.EQUAL_OF_KIND[kind], **config)
    whole.train()
    expected = everything(whole)
    far = {n: (expected[n].double() - first[n].double()).abs().max().item() for n in expected}
    assert {n: d for n, d in far.items() if d > 1e-9} == {}
    for row, again in zip(log_lines(whole), reports[1][0]["logs"][kind], strict=True):
        assert again == pytest.approx(row, rel=1e-4)
    metric = f"eval_{MAIN_METRICS[kind].name}"
    assert whole.evaluate()[metric] == pytest.approx(reports[1][0]["evaluation"][kind][metric], rel=1e-5)


def test_two_processes_in_pieces_train_like_one_without(reports, tmp_path):
    config = {**two_processes.PIECES, "per_device_train_batch_size": 4}
    whole = two_processes.make_trainer(tmp_path, "fixmatch", double=True, **config)
    whole.train()
    for rank in (0, 1):
        pieces = load_file(reports[0] / "pieces" / f"rank{rank}.safetensors")
        far = {name: (value.double() - pieces[name]).abs().max().item() for name, value in everything(whole).items()}
        assert {name: distance for name, distance in far.items() if distance > 1e-9} == {}
        assert reports[1][rank]["exchanges in pieces"] == config["max_steps"], "one for each optimizer step"


@pytest.mark.parametrize("name", two_processes.ODD)
def test_processes_stay_equal_whatever_differs_or_takes_no_part(name, reports):
    layerdrop = two_processes.ODD[name].get("layerdrop")
    for report in reports[1]:
        differing, layerdrop_after = report["odd"][name]
        assert differing == []
        assert layerdrop is None or layerdrop_after == layerdrop


def test_a_head_without_a_part_in_the_first_steps_learns_like_in_one_process(reports, tmp_path):
    whole = two_processes.make_trainer(
        tmp_path, LateHead, double=True, per_device_train_batch_size=4, optim="adamw_torch"
    )
    whole.train()
    halves = load_file(reports[0] / "late-rank0.safetensors")
    far = {name: (tensor - halves[name]).abs().max().item() for name, tensor in everything(whole).items()}
    assert {name: distance for name, distance in far.items() if distance > 1e-9} == {}


def test_what_only_some_processes_see_is_counted_like_in_one(reports, tmp_path):
    """Hidden labels of a pool that is labeled in part, and files that cannot be read."""
    whole = two_processes.make_trainer(
        tmp_path, "fixmatch", labeled_in_part=True, double=True, per_device_train_batch_size=4, logging_steps=2
    )
    whole.train()
    lines = log_lines(whole)
    assert sum(line.get("broken_files", 0) for line in lines) >= 2
    assert sum("pseudo_label_accuracy" in line for line in lines) > 0
    for report in reports[1]:
        for row, again in zip(lines, report["logs"]["labeled in part"], strict=True):
            assert again == pytest.approx(row, rel=1e-4)


@pytest.mark.parametrize("start", two_processes.STARTS)
def test_a_fitted_head_is_the_same_in_both_and_in_one_process(start, reports, tmp_path, monkeypatch):
    # So that it is undone, for the helper sets it.
    monkeypatch.setattr("hf_ssl.features.bank.default_cache", lambda: tmp_path)
    alone = two_processes.fitted_heads(tmp_path)[start]
    for report in reports[1]:
        torch.testing.assert_close(torch.tensor(report["heads"][start]), torch.tensor(alone), rtol=1e-4, atol=1e-5)
    assert alone != find_head(two_processes.new_model("image", 0)).weight.tolist()


def test_the_evaluated_model_is_the_saved_one_also_with_batch_normalization(reports, tmp_path):
    saved = ResNetForImageClassification.from_pretrained(reports[0] / "batch-norm")
    again = two_processes.make_trainer(
        tmp_path, "fixmatch", model=saved, ema_role="none", per_device_eval_batch_size=3
    )
    expected = again.evaluate()["eval_loss"]
    for report in reports[1]:
        assert report["batch norm"]["ema"] == pytest.approx(expected, rel=1e-5)
        assert report["batch norm"]["student"] != pytest.approx(expected, rel=1e-5)


def test_the_benchmark_compares_one_process_with_two(tmp_path, benchmark_scripts, monkeypatch):
    benchmark = importlib.import_module("two_processes")
    output = tmp_path / "results.json"
    options = ["--rounds", "1", "--steps", "2", "--warmup", "1", "--layers", "1", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["two_processes.py", *options])
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    benchmark.main()
    found = json.loads(output.read_text())
    assert [run["processes"] for run in found["runs"]] == [1, 2]
    # FlexMatch's positions, labels and confidences make one message.
    assert [run["collectives"] for run in found["runs"]] == [0, 1]
    assert found["ratio"] > 0


@pytest.mark.parametrize("name", two_processes.RESUMES)
def test_resuming_on_two_processes_is_bit_for_bit(name, reports):
    assert [report["resumed"][name] for report in reports[1]] == [[], []]


def test_a_loss_that_one_process_alone_finds_wrong_stops_both(reports):
    for report in reports[1]:
        step, said = report["stopped"]
        assert step == 4
        assert re.match(r"loss nan at step 3 \(supervised \d+\.?\d*, extra nan\): training stopped", said)
