"""Training in rounds: what each round has, and that a run which was killed goes on as if it had not been."""

import functools
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageClassification, TrainerCallback

from hf_ssl import SSLConfig, get_algorithm
from hf_ssl.algorithms.rounds import Picks
from hf_ssl.errors import BrokenExampleError
from hf_ssl.training import rounds
from hf_ssl.training.checkpoint_files import find_problem
from hf_ssl.training.pool_predictions import UNREADABLE, PoolInputs, predict_pool

from tests.helpers.children import finish, start_child
from tests.helpers.in_rounds import KINDS, STEPS, Restarting, make_trainer, picked
from tests.helpers.launching import ROOT, launch
from tests.helpers.resuming import everything, log_lines
from tests.helpers.tiny_tasks import new_model, task


def assert_equal(whole, resumed):
    expected, found = everything(whole), everything(resumed)
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert log_lines(whole) == log_lines(resumed)
    assert len(log_lines(whole)) == STEPS // 3
    assert picked(whole) == picked(resumed)


class Watching(TrainerCallback):
    """Notes what each step was trained with."""

    def __init__(self, trainer):
        self.trainer, self.seen = trainer, []
        trainer.add_callback(self)

    def on_step_end(self, args, state, control, **kwargs):
        trainer = self.trainer
        labels = [row[trainer.data.label_column] for row in trainer.labeled_of_round]
        self.seen.append((state.global_step, len(labels), trainer.progress, trainer._get_learning_rate()))


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """Kind -> a run that nothing interrupted, with a checkpoint after each step."""

    @functools.cache
    def run(kind):
        trainer = make_trainer(tmp_path_factory.mktemp(kind), kind, save_steps=1)
        trainer.kind, trainer.watching = kind, Watching(trainer)
        trainer.output = trainer.train()
        return trainer

    return run


@pytest.fixture(params=KINDS)
def whole(request, run_of):
    return run_of(request.param)


# ---- What a round has ----


def test_one_training_has_all_rounds(whole):
    assert whole.output.global_step == whole.state.global_step == STEPS
    steps = [row["step"] for row in whole.state.log_history if "loss" in row]
    assert steps == [3, 6, 9, 12]
    assert [row["round"] for row in whole.state.log_history if "loss" in row] == [1, 2, 3, 3]
    assert sum("train_runtime" in row for row in whole.state.log_history) == 1


def test_each_round_has_the_given_labels_and_what_was_picked_for_it(whole):
    sizes = [size for _, size, _, _ in whole.watching.seen]
    tables = picked(whole)
    assert list(tables) == ["round-2.json", "round-3.json"]
    counts = [len(whole.train_dataset)] + [6 + len(table["picked"]) for table in tables.values()]
    assert sizes == [count for count in counts for _ in range(STEPS // 3)]
    assert counts[1] > counts[0]
    if whole.kind != "crest_plus":
        most = [max(table["counts"].values()) for table in tables.values()]
        assert most == [2, 4]
    for table in tables.values():
        rows = [row["row"] for row in table["picked"]]
        assert len(set(rows)) == len(rows) and all(0 <= row < 24 for row in rows)
        assert sum(table["counts"].values()) == len(rows)
    assert len(whole.train_dataset) == 6 and len(whole.unlabeled_dataset) == 24


def test_schedules_are_those_of_a_round_only_if_it_starts_from_scratch(whole):
    progress = [(each.step, each.max_steps) for _, _, each, _ in whole.watching.seen]
    rates = [rate for *_, rate in whole.watching.seen]
    if whole.kind == "continuing":
        assert progress == [(step, STEPS) for step in range(1, STEPS + 1)]
        assert rates == sorted(rates, reverse=True)
    else:
        assert progress == [(step, 4) for _ in range(3) for step in range(1, 5)]
        assert rates == pytest.approx(3 * [0.0075, 0.005, 0.0025, 0.0])


def test_every_round_that_starts_from_scratch_begins_with_the_first_weights(tmp_path):
    class Lazy(Restarting):
        """Its rounds leave the weights as they are."""

    start = new_model("image", 0).state_dict()
    trainer = make_trainer(tmp_path, Lazy, learning_rate=0.0, ema_role="none")
    trainer.train()
    for name, tensor in trainer.model.state_dict().items():
        torch.testing.assert_close(tensor, start[name], rtol=0, atol=0)
    assert trainer.algorithm.begun == [2] and trainer.algorithm.num_labeled == len(trainer.labeled_of_round)


def test_the_saved_model_is_an_ordinary_one_and_the_run_says_its_rounds(whole, tmp_path):
    whole.save_model(str(tmp_path))
    assert AutoModelForImageClassification.from_pretrained(tmp_path).config.num_labels == 3
    text = whole.describe()
    assert "3 in these steps" in text and "number 3 has 6 labels and" in text


# ---- Resuming ----


STOPS = [(kind, step) for kind in ("restarting", "continuing") for step in (2, 4, 5, 8, 12)] + [("crest_plus", 5)]


@pytest.mark.parametrize("kind, step", STOPS)
def test_resuming_is_bit_for_bit_in_every_round_and_between_them(kind, step, run_of):
    whole = run_of(kind)
    resumed = make_trainer(whole.args.output_dir, whole.kind, seed=5)
    resumed.train(resume_from_checkpoint=str(Path(whole.args.output_dir, f"checkpoint-{step}")))
    assert_equal(whole, resumed)


@pytest.mark.parametrize("step", [2, 4, 5])
def test_a_run_goes_on_in_another_folder(step, run_of, tmp_path):
    whole = run_of("restarting")
    resumed = make_trainer(tmp_path, whole.kind, seed=5)
    resumed.train(resume_from_checkpoint=str(Path(whole.args.output_dir, f"checkpoint-{step}")))
    torch.testing.assert_close(everything(resumed), everything(whole), rtol=0, atol=0)


@pytest.mark.parametrize("step", [4, 5])
def test_without_the_weights_of_the_start_it_does_not_even_begin(step, run_of, tmp_path):
    name = f"checkpoint-{step}"
    shutil.copytree(Path(run_of("restarting").args.output_dir, name), tmp_path / name)
    resumed = make_trainer(tmp_path, "restarting")
    watching = Watching(resumed)
    with pytest.raises(ValueError, match=r"start must hold the weights of the start, .* folder 'rounds' of that run"):
        resumed.train(resume_from_checkpoint=str(tmp_path / name))
    assert watching.seen == []


def dies_at(place, monkeypatch):
    """Let the process die, as by `kill -9`, at a place between two rounds."""

    def die(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)

    if place == "the table is written":
        monkeypatch.setattr(rounds, "atomic_write", die)
    elif place == "the pool is predicted":
        monkeypatch.setattr(rounds, "predict_pool", die)
    elif place == "the start is written":
        monkeypatch.setattr(rounds.checkpoint_files, "save_student", die)
    else:
        save_round, counted = rounds.save_round, []
        number = {"the first checkpoint is written": 1, "the second checkpoint is written": 2}[place]
        monkeypatch.setattr(
            rounds,
            "save_round",
            lambda *a, **k: die() if len(counted) + 1 == number else counted.append(save_round(*a, **k)),
        )


PLACES = [
    "the start is written",
    "the first checkpoint is written",
    "the pool is predicted",
    "the table is written",
    "the second checkpoint is written",
]


@pytest.mark.parametrize("kind, place", [*(("restarting", place) for place in PLACES), ("continuing", PLACES[2])])
def test_a_run_killed_between_two_rounds_continues(kind, place, run_of, tmp_path, monkeypatch):
    whole = run_of(kind)
    killed = make_trainer(tmp_path, whole.kind)
    with monkeypatch.context() as patch:
        dies_at(place, patch)
        assert finish(start_child(killed.train)) == -signal.SIGKILL
    saved = [path for path in tmp_path.glob("checkpoint-*") if find_problem(path) is None]
    assert len(saved) == (0 if place in PLACES[:2] else 1)
    resumed = make_trainer(tmp_path, whole.kind, seed=5 if saved else 0)
    resumed.train(resume_from_checkpoint=bool(saved))
    assert_equal(whole, resumed)


def test_a_second_training_begins_with_the_first_round(tmp_path):
    trainer = make_trainer(tmp_path, "restarting")
    trainer.train()
    watching = Watching(trainer)
    stale = tmp_path / "rounds" / "round-9.json"
    stale.write_text("{}")
    trainer.train()
    assert watching.seen[0][:2] == (1, 6) and trainer.state.global_step == STEPS
    assert not stale.exists() and list(picked(trainer)) == ["round-2.json", "round-3.json"]


def test_evaluation_at_the_end_of_a_round_is_kept(tmp_path):
    config = {"eval_strategy": "epoch", "load_best_model_at_end": True, "save_strategy": "epoch"}
    trainer = make_trainer(tmp_path, "restarting", metric_for_best_model="loss", **config)
    trainer.train()
    assert [row["step"] for row in trainer.state.log_history if "eval_loss" in row] == [4, 6, 8, 12]
    best = min(row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize(
    "kind, config, given, message",
    [
        ("restarting", {"max_steps": 2}, {}, "max_steps must be at least 3, one for each round, got 2; train longer"),
        ("restarting", {"save_only_model": True}, {}, "save_only_model must be off with"),
        ("continuing", {"save_strategy": "best"}, {}, "save_strategy must not be 'best'"),
        ("continuing", {}, {"unlabeled_dataset": None}, "unlabeled_dataset must be given for"),
    ],
)
def test_refuses_what_does_not_go_with_rounds(kind, config, given, message, tmp_path):
    config = {"metric_for_best_model": "loss", "eval_strategy": "steps", **config}
    with pytest.raises(ValueError, match=message):
        make_trainer(tmp_path, kind, given=given, **config).train()


def test_refuses_to_resume_with_other_rounds(run_of, tmp_path):
    whole = run_of("restarting")
    checkpoint = str(Path(whole.args.output_dir, "checkpoint-5"))
    with pytest.raises(ValueError, match=r"max_steps must be 12 as before, got 18"):
        make_trainer(tmp_path, whole.kind, max_steps=18).train(resume_from_checkpoint=checkpoint)


def test_an_algorithm_object_cannot_be_made_again(tmp_path):
    sizes = {"num_labeled": 6, "num_unlabeled": 24, "labeled_batch_size": 2, "unlabeled_batch_size": 4}
    made = get_algorithm(Restarting, num_classes=3, feature_size=16, **sizes)
    with pytest.raises(ValueError, match="the algorithm must not be an object with"):
        make_trainer(tmp_path, made).train()


# ---- The pool ----


@pytest.mark.parametrize("modality", ["text", "audio"])
def test_other_modalities_are_picked_from_alike(modality, tmp_path):
    more = {"train_sampling_strategy": "group_by_length"} if modality == "text" else {}
    trainer = make_trainer(tmp_path, "restarting", modality, max_steps=6, **more)
    trainer.train()
    assert [len(table["picked"]) > 0 for table in picked(trainer).values()] == [True, True]


def test_hidden_labels_never_decide_what_is_picked(tmp_path):
    tables = []
    for name, change in (("true", lambda labels: labels), ("false", lambda labels: [2 - label for label in labels])):
        pool = task("image")["unlabeled_dataset"]
        label = "label"
        changed = change(pool[label])
        pool = pool.remove_columns(label).add_column(label, changed).cast_column(label, pool.features[label])
        trainer = make_trainer(tmp_path / name, "restarting", given={"unlabeled_dataset": pool})
        trainer.train()
        tables.append((picked(trainer), trainer.model.state_dict()))
    assert tables[0][0] == tables[1][0]
    assert all(torch.equal(tensor, tables[1][1][name]) for name, tensor in tables[0][1].items())


class Numbers:
    """Views of rows that are numbers; a negative one cannot be read."""

    def evaluation(self, row):
        if row < 0:
            raise BrokenExampleError("it is negative")
        return torch.tensor([float(row), 0.0])

    def collate(self, items):
        return {"x": torch.stack(items)}


@pytest.mark.parametrize("batch", [2, 3, 100])
def test_every_example_is_predicted_once_and_unreadable_ones_are_left_out(batch, tmp_path):
    args = SSLConfig(str(tmp_path), per_device_eval_batch_size=batch, use_cpu=True, dataloader_num_workers=0)
    pool = [3, -1, 0, 5, -1, -1, 2]
    classes, confidence = predict_pool(lambda keywords: keywords["x"], pool, Numbers(), args)
    assert classes.tolist() == [0, UNREADABLE, 0, 0, UNREADABLE, UNREADABLE, 0]
    expected = [1 / (1 + np.exp(-x)) if x >= 0 else 0.0 for x in pool]
    assert confidence == pytest.approx(expected)


def test_an_unreadable_example_is_an_error_if_the_settings_say_so():
    with pytest.raises(BrokenExampleError, match="row 1 of the unlabeled dataset: it is negative"):
        PoolInputs([3, -1], np.arange(2), Numbers(), 0, skip_broken=False)[1]


def test_what_is_picked_survives_a_checkpoint(tmp_path):
    picks = Picks(np.array([5, 2, 9]), np.array([1, 0, 1]))
    rounds.save_round(str(tmp_path), "fixmatch", rounds.Round(1, picks, max_steps=30), 4, done=True)
    found, done = rounds.load_round(str(tmp_path), "fixmatch", 4)
    assert done and (found.number, found.max_steps, found.begins) == (1, 30, False)
    assert found.picks.index.tolist() == [5, 2, 9] and found.picks.labels.tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match="is of a training in 4 rounds, got 5"):
        rounds.load_round(str(tmp_path), "fixmatch", 5)
    with pytest.raises(ValueError, match="belongs to the algorithm 'fixmatch'"):
        rounds.load_round(str(tmp_path), "adamatch", 4)


# ---- Several processes ----


@pytest.mark.multiprocess
@pytest.mark.slow
def test_two_processes_pick_the_same_and_resume_exactly(tmp_path):
    launch(ROOT / "tests" / "helpers" / "in_rounds.py", str(tmp_path))
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first["processes"] == 2
    assert first["picks"] == second["picks"] and all(len(index) > 0 for index, _ in first["picks"].values())
    for report in (first, second):
        assert report["differing"] == {name: [] for name in report["differing"]}
