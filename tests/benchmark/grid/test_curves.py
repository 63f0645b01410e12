"""The last and the best evaluation of a log."""

import pytest

from hf_ssl.benchmark.grid.curves import curves, measured

# step, test, validation: accuracy and balanced accuracy
ROWS = [(10, (0.5, 0.3), (0.4, 0.9)), (20, (0.7, 0.5), (0.8, 0.1)), (30, (0.6, 0.4), (0.8, 0.2))]
LOG = [
    line
    for step, test, validation in ROWS
    for line in (
        {"step": step - 1, "loss": step / 10, "grad_norm": 1.0},
        {"step": step, "eval_validation_accuracy": validation[0], "eval_validation_balanced_accuracy": validation[1]},
        {
            "step": step,
            "eval_test_accuracy": test[0],
            "eval_test_balanced_accuracy": test[1],
            "eval_test_runtime": 1.0,
        },
    )
] + [{"step": 30, "train_loss": 0.1}]


@pytest.mark.parametrize(
    ("splits", "balanced", "best"),
    [
        # Of two equally good evaluations the first.
        (["test", "validation"], False, (0.7, "validation", 20)),
        (["test", "validation"], True, (0.5, "validation", 10)),
        (["test"], False, (0.7, "test", 20)),
    ],
)
def test_the_split_and_metric_that_choose_the_best(splits, balanced, best):
    row, metrics = measured(LOG, splits, balanced)
    assert row["test_accuracy"] == 0.6 and metrics["last"] == {"accuracy": 0.6, "balanced_accuracy": 0.4}
    assert (row["best_accuracy"], row["best_split"], row["best_step"]) == best
    assert metrics["best"]["accuracy"] == best[0]


def test_a_curve_has_the_last_line_of_training_before_each_evaluation():
    assert [(row["step"], row["loss"], row["test_accuracy"]) for row in curves(LOG)] == [
        *((10, 1.0, 0.5), (20, 2.0, 0.7)),
        (30, 3.0, 0.6),
    ]
