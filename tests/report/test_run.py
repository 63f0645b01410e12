"""The words for a run, from facts that were written by hand: no trainer, no training."""

import pytest

from hf_ssl.data.duplicates import Duplicates, Overlap
from hf_ssl.report.run import describe_run, run_rows

from tests.helpers.run_facts import make_run

ROWS = {
    "algorithm and settings": (
        {},
        "algorithm",
        "fixmatch (threshold=0.95, hard_labels=True, temperature=0.5, margin_penalty=0.0)",
    ),
    "algorithm without settings": ({"algorithm": "supervised"}, "algorithm", "supervised"),
    "columns": ({}, "columns", "image in 'image', classes in 'label'"),
    "a pair of texts": (
        {"modality": "text", "columns": ("premise", "hypothesis")},
        "columns",
        "text in 'premise', 'hypothesis', classes in 'label'",
    ),
    "classes of one size": ({}, "labeled", "6 examples, 3 classes, 2 per class"),
    "a class without examples": (
        {"names": ("a", "b", "c", "d")},
        "labeled",
        "6 examples, 4 classes, 0 to 2 per class",
    ),
    "a pool": ({"num_unlabeled": 1234}, "unlabeled", "1,234 examples"),
    "a pool with labels": (
        {"hidden_labels": True},
        "unlabeled",
        "24 examples, with hidden labels (used for the accuracy of pseudo-labels only)",
    ),
    "no pool": ({"has_pool": False}, "unlabeled", "none; the labeled examples serve as the pool"),
    "neither pool nor use for one": ({"has_pool": False, "algorithm": "supervised"}, "unlabeled", "none"),
    "one evaluation dataset": ({}, "evaluation", "12 examples"),
    "a stream": ({"evaluation_sizes": {"": None}}, "evaluation", "a stream"),
    "several": ({"evaluation_sizes": {"easy": 3, "hard": None}}, "evaluation", "several: easy, hard"),
    "none": ({"evaluation_sizes": {}}, "evaluation", "none"),
    "batch": (
        {"args": {"gradient_accumulation_steps": 3}},
        "batch",
        "6 labeled + 12 unlabeled per step (1 device, 3 passes)",
    ),
    "batch without a pool": ({"algorithm": "supervised"}, "batch", "2 labeled per step (1 device, 1 pass)"),
    "steps before the training": ({"state": {"max_steps": 0}}, "steps", "10, 1.7 passes over the pool"),
    "epochs before the training": (
        {"state": {"max_steps": 0}, "args": {"max_steps": -1}},
        "steps",
        "3 passes over the pool",
    ),
    "steps": ({}, "steps", "10, 1.7 passes over the pool"),
    "steps of accumulated passes": (
        {"args": {"gradient_accumulation_steps": 3}},
        "steps",
        "10, 5.0 passes over the pool",
    ),
    "learning rate": (
        {"args": {"learning_rate": 0.1, "warmup_steps": 2, "layer_decay": 0.5}},
        "learning rate",
        "0.1, linear, 2 warm-up steps, times 0.5 for each layer below the head",
    ),
    "no average": ({}, "moving average", "none"),
    "an average": ({"args": {"ema_role": "evaluation"}}, "moving average", "decay 0.999, for evaluation"),
    "a teacher": ({"algorithm": "mean_teacher"}, "moving average", "decay 0.999, for teacher"),
    "a teacher that is evaluated": (
        {"algorithm": "mean_teacher", "args": {"ema_role": "evaluation"}},
        "moving average",
        "decay 0.999, for teacher and evaluation",
    ),
    "both": (
        {"algorithm": "mean_teacher", "args": {"ema_role": "both"}},
        "moving average",
        "decay 0.999, for teacher and evaluation",
    ),
}


@pytest.mark.parametrize(("changes", "name", "text"), ROWS.values(), ids=ROWS)
def test_a_row_says(changes, name, text):
    assert run_rows(make_run(**changes))[name] == text


def test_only_views_that_the_algorithm_asks_for_are_described():
    assert "strong view" in run_rows(make_run())
    assert "strong view" not in run_rows(make_run("supervised"))


def test_the_duplicates_that_were_found_are_a_row():
    found = Duplicates([Overlap("evaluation", "labeled", 12, 6, 6, {0: 3})], seconds=0.25)
    assert run_rows(make_run(duplicates=found))["duplicates"].startswith("1 of 12 evaluation in labeled (by content")
    assert "duplicates" not in run_rows(make_run())


def test_the_block_has_a_title_and_aligned_lines():
    title, *lines = describe_run(make_run()).splitlines()
    assert title == "Semi-supervised training"
    assert (
        lines[0]
        == "  algorithm       fixmatch (threshold=0.95, hard_labels=True, temperature=0.5, margin_penalty=0.0)"
    )
    assert {line[: len("  moving average  ")][-2:] for line in lines} == {"  "}


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("b", "a", "c"), "b 2, a 2, c 2"),
        (("b", "a ", "c\nd", "e"), "b 2, 'a ' 2, 'c\\nd' 2, e 0"),
        (tuple(f"c{i}" for i in range(30)), None),
    ],
    ids=["names", "names that need quotes", "many"],
)
def test_the_block_lists_the_classes_with_their_counts(names, shown):
    (line,) = [line for line in describe_run(make_run(names=names)).splitlines() if line.startswith("  classes  ")]
    if shown is not None:
        assert line == f"  classes         {shown}"
    else:
        assert line.endswith("c18 0, c19 0 and 10 more")


@pytest.mark.parametrize(
    ("finished", "loads_best", "checkpoint", "holds"),
    [
        (True, True, "checkpoint-5", True),
        (False, True, "checkpoint-5", False),
        (True, False, "checkpoint-5", False),
        (True, True, None, False),
    ],
)
def test_the_best_weights_are_held_once_training_has_ended_and_loaded_them(finished, loads_best, checkpoint, holds):
    args = {"load_best_model_at_end": True, "save_strategy": "steps", "eval_strategy": "steps", "eval_steps": 500}
    run = make_run(
        history=({"train_runtime": 1.0},) if finished else (),
        state={"best_model_checkpoint": checkpoint},
        args=args if loads_best else {},
    )
    assert run.holds_best is holds
