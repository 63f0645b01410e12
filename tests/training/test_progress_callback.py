"""One live line on a terminal, a few plain lines elsewhere."""

import re
from types import SimpleNamespace

import pytest
from transformers import PrinterCallback, ProgressCallback, TrainerControl, TrainerState

from hf_ssl import SSLProgressCallback
from hf_ssl.training.progress import BarAndLines, LogLines

from tests.helpers.terminals import screen, terminal
from tests.helpers.tiny_images import make_vit


class Clock:
    """Time as a test says."""

    def __init__(self, patch):
        self.now = 1000.0
        patch.setattr("hf_ssl.training.progress_callback.time", self)

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def train(
    clock, steps, log_every, seconds, first=0, evaluate_at=(), disable_tqdm=False, end=True, round_at=None, **settings
):
    """The calls that Trainer makes in a training of so many steps, each of which takes so many seconds.

    Args:
        round_at: a step at which a round ends; for the next one Trainer begins again, with a state that it has read.
    """
    args = SimpleNamespace(disable_tqdm=disable_tqdm, algorithm="fixmatch")
    state, callback = TrainerState(max_steps=steps, global_step=first), SSLProgressCallback(**settings)
    callback.on_train_begin(args, state, None)
    for step in range(first + 1, steps + 1):
        clock.now += seconds
        state.global_step = step
        callback.on_step_end(args, state, TrainerControl(should_log=step % log_every == 0))
        if step % log_every == 0:
            callback.on_log(args, state, None, logs={"loss": 1 / step, "mask_ratio": 0.5, "learning_rate": 0.1})
        if step in evaluate_at:
            for _ in range(3):
                callback.on_prediction_step(args, state, None, eval_dataloader=[1, 2, 3])
            callback.on_log(args, state, None, logs={"eval_loss": 0.25, "eval_accuracy": 0.875})
            callback.on_evaluate(args, state, None)
        if step == round_at:
            callback.on_train_begin(args, TrainerState(max_steps=steps, global_step=step), None)
    if end:
        callback.on_train_end(args, state, None)
    return callback


# ---- Elsewhere than on a terminal ----


def test_lines_say_stage_step_time_left_accuracy_mask_ratio_and_loss(clock, capsys):
    train(clock, steps=4, log_every=2, seconds=60.0, evaluate_at=[2])
    out, err = capsys.readouterr()
    assert err == "" and out.splitlines() == [
        "fixmatch: step 1 of 4 (25 %), 03:00 left",
        "fixmatch: step 2 of 4 (50 %), 02:00 left: mask ratio 50.0 %, loss 0.5",
        "fixmatch: step 2 of 4, evaluated: accuracy 87.5 %",
        "fixmatch: step 3 of 4 (75 %), 01:00 left: accuracy 87.5 %, mask ratio 50.0 %, loss 0.5",
        "fixmatch: step 4 of 4 (100 %), 00:00 left: accuracy 87.5 %, mask ratio 50.0 %, loss 0.25",
        "fixmatch: 4 steps in 04:00: accuracy 87.5 %, mask ratio 50.0 %, loss 0.25",
    ]


# Steps, steps per log line, seconds per step -> lines.
AMOUNTS = {
    "a short run of many log lines": (1_000, 1, 0.001, 21),
    "a long run of many log lines": (100_000, 10, 0.001, 30),
    "an hour without a log line": (360, 1_000, 10.0, 70),
    "five days without a log line": (4_320, 10_000, 100.0, 160),
}


@pytest.mark.parametrize(("steps", "log_every", "seconds", "most"), AMOUNTS.values(), ids=AMOUNTS)
def test_there_are_few_lines_however_long_a_training_is(clock, capsys, steps, log_every, seconds, most):
    train(clock, steps, log_every, seconds)
    lines = capsys.readouterr().out.splitlines()
    assert most / 4 < len(lines) <= most


def test_evaluations_at_every_step_are_not_all_told(clock, capsys):
    train(clock, 1_000, 1_000, 0.001, evaluate_at=range(1, 1_001))
    assert capsys.readouterr().out.count("evaluated") == 100


def test_the_time_left_of_a_resumed_training_is_that_of_its_own_steps(clock, capsys):
    train(clock, steps=1_000, log_every=10, seconds=2.0, first=900)
    lines = capsys.readouterr().out.splitlines()
    assert "fixmatch: step 960 of 1,000 (96 %), 01:20 left: mask ratio 50.0 %, loss 0.001042" in lines
    assert lines[-1] == "fixmatch: 100 steps from step 900 on in 03:20: mask ratio 50.0 %, loss 0.001"


def test_rounds_are_one_training(clock, capsys):
    train(clock, steps=10, log_every=5, seconds=6.0, round_at=5)
    assert capsys.readouterr().out.splitlines() == [
        "fixmatch: step 5 of 10 (50 %), 00:30 left: mask ratio 50.0 %, loss 0.2",
        "fixmatch: step 10 of 10 (100 %), 00:00 left: mask ratio 50.0 %, loss 0.1",
        "fixmatch: 10 steps in 01:00: mask ratio 50.0 %, loss 0.1",
    ]


# ---- On a terminal ----

WIDTHS = {
    "wide": (100, "step 3/4  00:01 left  accuracy 87.5 %  mask ratio 50.0 %  loss 0.25"),
    "usual": (80, "step 3/4  00:01 left  accuracy 87.5 %  mask ratio 50.0 %"),
    "narrow": (40, "step 3/4  00:01 left"),
    "very narrow": (20, "step 3/4"),
}


@pytest.mark.parametrize(("columns", "parts"), WIDTHS.values(), ids=WIDTHS)
def test_the_live_line_fits_into_the_terminal(clock, columns, parts):
    with terminal(columns) as found:
        callback = train(clock, steps=4, log_every=2, seconds=1.0, evaluate_at=[2], end=False)
        callback._display._bar.n = 3
        clock.now -= 1.0
        callback._display._bar.refresh()
        shown = str(callback._display._bar)
        callback._display._bar.close()
    assert shown.endswith(f" {parts}") and shown.startswith("fixmatch"[: columns - len(parts) - 9])
    assert all(len(line) <= columns for line in re.split(r"[\r\n]", found.text))


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_one_line_is_left_of_a_training_on_a_terminal(clock, encoding):
    with terminal(encoding=encoding) as found:
        train(clock, steps=4, log_every=2, seconds=1.0, evaluate_at=[2])
    assert screen(found.text) == ["fixmatch: 4 steps in 00:04: accuracy 87.5 %, mask ratio 50.0 %, loss 0.25"]
    # No colors, and nothing that moves the cursor to another line.
    assert "\x1b" not in found.text and "evaluating 1/3" in found.text


def test_one_line_is_left_of_a_training_in_rounds_or_after_an_interruption(clock):
    for first, end in ((0, "3 steps in 00:03"), (1, "2 steps from step 1 on in 00:02")):
        with terminal(60) as found:
            callback = train(clock, steps=3, log_every=3, seconds=1.0, round_at=2, end=False)
            args, state = SimpleNamespace(disable_tqdm=False, algorithm="fixmatch"), TrainerState(max_steps=3)
            if first:
                state.global_step = first
                callback.on_train_begin(args, state, None)
                clock.now += 2.0
            state.global_step = 3
            callback.on_train_end(args, state, None)
        values = "" if first else ": mask ratio 50.0 %, loss 0.3333"
        assert screen(found.text) == [f"fixmatch: {end}{values}"]


PLAIN = {
    "a dumb terminal": ({"term": "dumb"}, {}, 5),
    "--disable-tqdm": ({}, {"disable_tqdm": True}, 5),
    "--disable-tqdm of a command that wants it": ({}, {"disable_tqdm": True, "live": True}, 1),
}


@pytest.mark.parametrize(("look", "settings", "lines"), PLAIN.values(), ids=PLAIN)
def test_plain_lines_on_a_terminal(clock, look, settings, lines):
    with terminal(**look) as found:
        train(clock, steps=4, log_every=1, seconds=1.0, **settings)
    assert len(screen(found.text)) == lines and ("\r" in found.text) == (lines == 1)


# ---- In a trainer ----


def displays(trainer):
    kinds = SSLProgressCallback | ProgressCallback | PrinterCallback
    return [type(found) for found in trainer.callback_handler.callbacks if isinstance(found, kinds)]


def test_it_takes_the_place_of_trainers_display_however_it_is_given(make_trainer):
    assert displays(make_trainer(make_vit())) == [LogLines]
    assert displays(make_trainer(make_vit(), disable_tqdm=False)) == [BarAndLines]
    given = make_trainer(make_vit(), trainer={"callbacks": [SSLProgressCallback()]})
    later = make_trainer(make_vit())
    later.add_callback(SSLProgressCallback)
    assert displays(given) == displays(later) == [SSLProgressCallback]


def test_in_a_notebook_the_table_of_transformers_stays(make_trainer):
    class NotebookProgressCallback(ProgressCallback):
        pass

    trainer, ours = make_trainer(make_vit()), SSLProgressCallback()
    trainer.add_callback(NotebookProgressCallback)
    trainer.add_callback(ours)
    assert NotebookProgressCallback in displays(trainer) and not ours.shows


def test_a_training_with_evaluations_tells_its_steps(make_trainer, capsys):
    trainer = make_trainer(
        make_vit(),
        trainer={"callbacks": [SSLProgressCallback("round one")]},
        max_steps=2,
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=2,
    )
    trainer.train()
    trainer.evaluate()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("round one: ")]
    assert [re.sub(r"\d+\.\d+( %)?|\d+:\d+", "x", line) for line in lines] == [
        "round one: step 1 of 2 (50 %), x left: mask ratio x, loss x",
        "round one: step 2 of 2 (100 %), x left: mask ratio x, loss x",
        "round one: step 2 of 2, evaluated: accuracy x",
        "round one: 2 steps in x: accuracy x, mask ratio x, loss x",
    ]


def test_other_processes_than_the_first_say_nothing(clock, capsys):
    args, state = SimpleNamespace(disable_tqdm=False), TrainerState(max_steps=2, is_world_process_zero=False)
    callback = SSLProgressCallback()
    callback.on_train_begin(args, state, None)
    callback.on_step_end(args, state, TrainerControl())
    callback.on_log(args, state, None, logs={"loss": 1.0})
    callback.on_train_end(args, state, None)
    assert capsys.readouterr() == ("", "")
