"""A large test set is not evaluated for longer than the training takes, and always at the end."""

import json

import pytest

from hf_ssl.cli import main
from hf_ssl.cli.train_pace import evaluations

from tests.helpers.command_data import save_model, texts, write_csv

# Case -> arguments, and how many evaluations take at most a tenth: a step costs 3 passes for a labeled example and 2
# for each view of an unlabeled one.
PACES = {
    "a small test set": ((100, 1000, 8, 8, 2), 10),
    "ten fit exactly": ((56, 100, 8, 8, 2), 10),
    "five": ((1120, 1000, 8, 8, 2), 5),
    "not quite five": ((1121, 1000, 8, 8, 2), 4),
    "larger than the training": ((10**6, 10, 8, 8, 2), 1),
    "a larger pool part": ((1120, 1000, 8, 56, 2), 10),
    "labels alone": ((1200, 1000, 8, 0, 1), 2),
    "few examples in a short run": ((50, 1, 1, 1, 2), 10),
}


@pytest.mark.parametrize(("given", "number"), PACES.values(), ids=PACES)
def test_evaluations_take_a_tenth_of_the_training(given, number):
    assert evaluations(*given) == number


# Options -> steps of the evaluations. A step of 4 and 4 examples costs 4 * 3 + 4 * 2 * 2 = 28 passes, 12 steps 336.
RUNS = {
    "by default": ([], [12]),
    "as chosen": (["--eval_steps", "4"], [4, 8, 12]),
    "never in between": (["--eval-strategy", "no"], [12]),
}


@pytest.mark.parametrize(("options", "steps"), RUNS.values(), ids=RUNS)
def test_the_command_evaluates_at_the_end_at_least(tmp_path, capsys, options, steps):
    write_csv(tmp_path / "labeled.csv", texts(9, 0))
    write_csv(tmp_path / "test.csv", texts(60, 1))
    write_csv(tmp_path / "pool.csv", texts(20, 2))
    run = tmp_path / "run"
    words = ["train", "--model", save_model("text", tmp_path / "model"), "--output-dir", str(run), "--use_cpu"]
    words += ["--labeled", str(tmp_path / "labeled.csv"), "--unlabeled", str(tmp_path / "pool.csv")]
    words += ["--test", str(tmp_path / "test.csv"), "--algorithm", "FixMatch", "--max-steps", "12"]
    words += ["--save_strategy", "no", "--per_device_train_batch_size", "4", *options]
    assert main(words) == 0
    history = json.loads((run / "trainer_state.json").read_text())["log_history"]
    assert [row["step"] for row in history if "eval_accuracy" in row] == steps
    assert ("60 test examples are evaluated once, at the end" in capsys.readouterr().out) == (not options)
    assert json.loads((run / "results.json").read_text())["runs"][0]["algorithm"] == "fixmatch"
