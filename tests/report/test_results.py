"""The file results.json: what a run leaves in it."""

import json

import pytest

from hf_ssl.report.results import result_of, versions, write_results

from tests.helpers.run_facts import make_run

HISTORY = (
    {"loss": 1.0, "mask_ratio": 0.2, "step": 5},
    {"eval_accuracy": 0.9, "step": 5},
    {"loss": 0.5, "mask_ratio": 0.4, "pseudo_label_accuracy": 0.8, "step": 10},
    {"eval_accuracy": 0.7, "step": 10},
)


def test_a_row_holds_the_last_and_the_best_accuracy():
    row = result_of(make_run(history=HISTORY, args={"seed": 3}), seconds=12.345)
    assert row == {
        "algorithm": "fixmatch",
        "seed": 3,
        "test_accuracy": 0.7,
        "best_accuracy": 0.9,
        "best_split": "test",
        "num_labeled": 6,
        "num_unlabeled": 24,
        "steps": 10,
        "seconds": 12.3,
        "mask_ratio": 0.4,
        "pseudo_label_accuracy": 0.8,
    }


def test_the_best_evaluation_is_by_the_metric_that_was_named():
    history = (
        {"eval_accuracy": 0.9, "eval_loss": 0.5, "step": 5},
        {"eval_accuracy": 0.8, "eval_loss": 0.3, "step": 10},
    )
    for named, best in ((None, 0.9), ("eval_loss", 0.8), ("accuracy", 0.9)):
        run = make_run(history=history, args={"metric_for_best_model": named})
        assert result_of(run, seconds=1.0)["best_accuracy"] == best, named


def test_what_was_not_measured_is_none():
    row = result_of(make_run("supervised"), seconds=1.0)
    missing = ("test_accuracy", "best_accuracy", "best_split", "mask_ratio", "pseudo_label_accuracy")
    assert {name for name, value in row.items() if value is None} == set(missing)


def test_the_file_is_replaced_as_a_whole(tmp_path):
    first = write_results(tmp_path, [{"algorithm": "fixmatch"}], {"seed": 0})
    with pytest.raises(TypeError):
        write_results(tmp_path, [{"algorithm": object()}], {"seed": 1})
    assert json.loads(first.read_text()) == {
        "runs": [{"algorithm": "fixmatch"}],
        "settings": {"seed": 0},
        "versions": versions(),
    }
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_versions_name_this_package_and_python():
    assert {"hf-ssl", "python", "torch", "transformers"} <= versions().keys()
