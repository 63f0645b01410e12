"""Checkpoints on the disk: whole or absent, never damaged unnoticed, deleted by their steps."""

import functools
import json
import os
import random
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import TrainerCallback

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.training.checkpoint_files import choose_checkpoint, find_problem
from hf_ssl.training.checkpoint_folders import checkpoints, clean_up, leftovers, rotate
from hf_ssl.training.checksums import CHECKSUMS, find_change

from tests.helpers.attacks import Steps, fill_disk, kill
from tests.helpers.children import finish, start_child
from tests.helpers.resuming import everything
from tests.helpers.tiny_tasks import new_model, task

SETTINGS = {
    "algorithm": "fixmatch",
    "algorithm_kwargs": {"threshold": 0.35},
    "max_steps": 8,
    "per_device_train_batch_size": 2,
    "unlabeled_batch_ratio": 2,
    "learning_rate": 1e-2,
    "ema_role": "evaluation",
    "ema_decay": 0.9,
    "logging_steps": 3,
    "save_steps": 2,
    "report_to": "none",
    "use_cpu": True,
    "disable_tqdm": True,
    "dataloader_num_workers": 0,
    "dataloader_pin_memory": False,
}


def make_trainer(folder, seed=0, **config):
    return SSLTrainer(new_model("image", seed), SSLConfig(str(folder), **{**SETTINGS, **config}), **task("image"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trainer that has trained, and its run with the checkpoints of steps 2, 4, 6 and 8."""
    trainer = make_trainer(tmp_path_factory.mktemp("run"))
    trainer.train()
    return trainer


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the run, to be attacked; the trainer writes its next checkpoint there."""
    folder, place = tmp_path / "run", trained.args.output_dir
    shutil.copytree(place, folder)
    trained.args.output_dir = str(folder)
    yield folder
    trained.args.output_dir = place


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# ---- Whole or absent ----

# What is saved beside the checkpoints of steps 2 and 4, at which step, and how many may stay.
SAVES = {
    "the first": ([], 2, None),
    "a later": ([2, 4], 6, None),
    "again": ([2, 4], 4, None),
    "rotated": ([2, 4], 6, 1),
}


def save(trainer, folder, steps, at, limit):
    """Let the trainer write the checkpoint of a step into a run that has those of some steps."""
    for checkpoint in checkpoints(folder):
        if int(checkpoint.name.partition("-")[2]) not in steps:
            shutil.rmtree(checkpoint)
    trainer.state.global_step, trainer.args.save_total_limit = at, limit
    return functools.partial(trainer._save_checkpoint, trainer.model, None)


# Each case at every fourth place at which files change, and at all of them.
EVERY = [4, pytest.param(1, marks=pytest.mark.slow)]


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("case", SAVES)
def test_a_save_that_is_killed_leaves_the_checkpoint_before_or_the_new_one(
    case, every, trained, run, tmp_path, monkeypatch
):
    steps, at, limit = SAVES[case]
    monkeypatch.setattr(trained, "state", trained.state)
    monkeypatch.setattr(trained.state, "global_step", at)
    monkeypatch.setattr(trained.args, "save_total_limit", limit)
    work = save(trained, run, steps, at, limit)
    before = {checkpoint.name: content(checkpoint) for checkpoint in checkpoints(run)}
    shutil.copytree(run, tmp_path / "before")
    place, seen = 1, set()

    def attacked(place):
        os.fsync = lambda descriptor: None
        Steps(kill).begin(place)
        work()

    while finish(start_child(functools.partial(attacked, place))) == -signal.SIGKILL:
        clean_up(run)
        assert leftovers(run) == []
        found = checkpoints(run)
        assert [problem for problem in map(find_problem, found) if problem] == [], place
        # Each is that of before or the new one, and one is there unless there was none.
        new = [folder.name for folder in found if content(folder) != before.get(folder.name)]
        assert set(new) <= {f"checkpoint-{at}"} and (found or not steps), place
        if steps:
            assert choose_checkpoint(True, run) == str(run / f"checkpoint-{at if new else max(steps)}")
        seen.add(bool(new))
        shutil.rmtree(run)
        shutil.copytree(tmp_path / "before", run)
        place += every
    # After the new one has its name, only replacing and rotating have anything left to do.
    assert place > 30 and seen == ({True, False} if case in ("again", "rotated") else {False})


@pytest.mark.parametrize("every", EVERY)
def test_a_full_disk_is_one_line_at_every_write_and_the_checkpoint_before_stays(
    every, trained, run, tmp_path, monkeypatch
):
    monkeypatch.setattr(trained.state, "global_step", 6)
    monkeypatch.setattr(trained.args, "save_total_limit", 1)
    work = save(trained, run, [2, 4], 6, 1)
    shutil.copytree(run, tmp_path / "before")
    before = {checkpoint.name: content(checkpoint) for checkpoint in checkpoints(run)}

    def attacked():
        os.fsync = lambda descriptor: None
        steps, place, refused = Steps(fill_disk), 1 - every, 0
        while steps.count >= place:
            place += every
            steps.begin(place)
            try:
                work()
            except OSError as error:
                text = str(error)
                assert text.startswith(f"{run}/checkpoint-6 cannot be written: No space left on device; "), text
                assert "\n" not in text and "Errno" not in text
                refused += 1
                left = before
            else:
                # What cannot be deleted is left: the new checkpoint has its name by then.
                assert find_problem(run / "checkpoint-6") is None, place
                left = {"checkpoint-6": content(run / "checkpoint-6")}
                left |= {name: files for name, files in before.items() if (run / name).exists()}
            reached, steps.at = steps.count, 0
            clean_up(run)
            assert {folder.name: content(folder) for folder in checkpoints(run)} == left, place
            shutil.rmtree(run)
            shutil.copytree(tmp_path / "before", run)
            steps.count = reached
        # Every fourth place meets a write less often than every fourth time.
        assert refused >= (20 if every == 1 else 4) and place > 40, (refused, place)

    assert finish(start_child(attacked)) == 0


def test_no_pickle_of_the_settings_is_written_at_any_moment(tmp_path, monkeypatch):
    written = []
    save = torch.save
    monkeypatch.setattr(
        torch, "save", lambda obj, file, *args: (written.append(Path(file).name), save(obj, file, *args))
    )
    trainer = make_trainer(tmp_path / "run", max_steps=2, hub_token="hf_secret")
    trainer.train()
    trainer.save_model()
    assert sorted(set(written)) == ["optimizer.pt", "rng_state.pth", "scheduler.pt"]


def test_what_a_kill_left_is_put_back_or_deleted(tmp_path):
    for name in (
        ".checkpoint-2.replaced",
        "checkpoint-4",
        ".checkpoint-4.replaced",
        ".checkpoint-6.partial",
        ".partial",
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "from").write_text(name)
    (tmp_path / ".checkpoint-1.deleted").mkdir()
    clean_up(tmp_path)
    assert {path.name: (path / "from").read_text() for path in tmp_path.iterdir()} == {
        "checkpoint-2": ".checkpoint-2.replaced",
        "checkpoint-4": "checkpoint-4",
    }


def test_a_model_in_one_file_replaces_one_in_several(trained, tmp_path):
    for name in ("model-00001-of-00002.safetensors", "model.safetensors.index.json", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes(b"old")
    trained.save_model(str(tmp_path))
    left = {path.name for path in tmp_path.iterdir() if "model" in path.name}
    assert left == {"model.safetensors", "adapter_model.safetensors"}


# ---- Damage ----


def test_every_flipped_bit_in_any_file_is_refused_by_its_name(run):
    checkpoint, random_places = run / "checkpoint-8", random.Random(0)
    files = content(checkpoint)
    assert {CHECKSUMS, "README.md", "ssl_config.json", "config.json", "rng_state.pth"} <= files.keys()
    for name, original in files.items():
        for _ in range(20):
            place = random_places.randrange(8 * len(original))
            changed = bytearray(original)
            changed[place // 8] ^= 1 << place % 8
            (checkpoint / name).write_bytes(changed)
            expected = f"{checkpoint / name} is damaged: it was changed or truncated after it was saved"
            assert find_problem(checkpoint) == expected, place
        (checkpoint / name).write_bytes(original)
    assert find_problem(checkpoint) is None


def test_damaged_and_missing_checkpoints_are_passed_over_to_the_newest_whole_one(run, caplog):
    damaged = run / "checkpoint-8" / "optimizer.pt"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    (run / "checkpoint-6" / CHECKSUMS).unlink()
    with caplog.at_level("WARNING", "hf_ssl"):
        assert choose_checkpoint(True, run) == str(run / "checkpoint-4")
    assert [record.getMessage().partition(": ")[0] for record in caplog.records] == [
        f"{damaged} is damaged",
        f"{run / 'checkpoint-6' / CHECKSUMS} is missing",
    ]
    resumed = make_trainer(run, seed=5, save_strategy="no")
    resumed.train(resume_from_checkpoint=True)
    whole = make_trainer(run.parent / "whole", save_strategy="no")
    whole.train()
    assert all(torch.equal(tensor, everything(resumed)[name]) for name, tensor in everything(whole).items())


def test_a_best_model_that_is_damaged_is_not_loaded(run):
    trainer = make_trainer(run)
    trainer.state.best_model_checkpoint = str(run / "checkpoint-2")
    trainer._load_best_model()
    weights = run / "checkpoint-2" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=r"checkpoint-2/model.safetensors is damaged: .* best model cannot be loaded"):
        trainer._load_best_model()


def as_earlier_versions_wrote(checkpoint):
    """Take away what they did not write: checksums, and the sums of the whole run."""
    (checkpoint / CHECKSUMS).unlink()
    for path in checkpoint.glob("ssl_*.safetensors"):
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            info = json.loads(file.metadata()["hf_ssl"])
        info = {name: value for name, value in info.items() if name not in ("checksums", "total_loss", "seconds")}
        save_file(tensors, path, metadata={"format": "pt", "hf_ssl": json.dumps(info)})


def test_a_checkpoint_of_an_earlier_version_still_resumes(trained, run):
    as_earlier_versions_wrote(run / "checkpoint-4")
    assert find_problem(run / "checkpoint-4") is None
    resumed = make_trainer(run, seed=5, save_strategy="no")
    resumed.train(resume_from_checkpoint=str(run / "checkpoint-4"))
    assert all(torch.equal(tensor, everything(resumed)[name]) for name, tensor in everything(trained).items())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"global_step": 10**12}, "global_step must be 4, as the folder is named, got 1000000000000"),
        ({"global_step": 3}, "global_step must be 4, as the folder is named, got 3"),
        ({"global_step": "4"}, "global_step must be 4, as the folder is named, got '4'"),
        ({"global_step": None}, "global_step must be 4, as the folder is named, got None"),
        ({"max_steps": 3}, "global_step must be at most max_steps, 3, got 4"),
    ],
)
def test_a_state_of_another_step_is_refused(changes, problem, run):
    checkpoint = run / "checkpoint-4"
    as_earlier_versions_wrote(checkpoint)
    path = checkpoint / "trainer_state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ValueError) as caught:
        choose_checkpoint(str(checkpoint), run)
    assert (
        str(caught.value) == f"{path} is damaged: its {problem}; resume from {run / 'checkpoint-8'}, which is complete"
    )


# ---- Rotation ----


@pytest.mark.parametrize(
    ("present", "newest", "limit", "best", "left"),
    [
        ([2, 4, 6], 6, 1, None, [6]),
        ([2, 4, 6], 6, 2, None, [4, 6]),
        ([2, 4, 6], 6, 1, 2, [2, 6]),
        ([2, 4, 6], 6, 2, 2, [2, 6]),
        ([2, 4, 6, 10], 10, 3, 2, [2, 6, 10]),
        ([2, 4, 6], 6, 5, None, [2, 4, 6]),
        ([2, 4, 6], 6, 0, None, [2, 4, 6]),
        ([2, 4, 6], 6, None, None, [2, 4, 6]),
        # The run was resumed from 2: those of 6 and 8 are of another course of it.
        ([2, 4, 6, 8], 4, 2, None, [2, 4]),
        ([2, 4, 6, 8], 4, 1, None, [4]),
        ([2, 4, 6, 8], 4, 1, 6, [4, 6]),
    ],
)
def test_rotation_goes_by_steps(present, newest, limit, best, left, tmp_path):
    for age, step in enumerate(present):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        os.utime(folder, (10**9 - age, 10**9 - age))
    rotate(tmp_path / f"checkpoint-{newest}", limit, tmp_path / f"checkpoint-{best}" if best else None)
    assert sorted(int(folder.name.split("-")[1]) for folder in tmp_path.iterdir()) == left


class ClockSetBack(TrainerCallback):
    """Each checkpoint is dated an hour before the one before it."""

    date = 10**9

    def on_save(self, args, state, control, **kwargs):
        for folder in checkpoints(args.output_dir):
            os.utime(folder, (2**31, 2**31))


def test_a_clock_that_was_set_back_deletes_no_new_checkpoint(tmp_path):
    trainer = make_trainer(tmp_path / "run", save_total_limit=1)
    trainer.add_callback(ClockSetBack())
    trainer.train()
    assert [folder.name for folder in checkpoints(tmp_path / "run")] == ["checkpoint-8"]


def test_the_best_checkpoint_is_kept_under_its_name(tmp_path):
    trainer = make_trainer(
        tmp_path / "run",
        learning_rate=0.5,
        ema_decay=0.5,
        eval_strategy="steps",
        eval_steps=1,
        save_steps=1,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
    )
    trainer.train()
    best = tmp_path / "run" / f"checkpoint-{trainer.state.best_global_step}"
    assert best.name != "checkpoint-8" and trainer.state.best_model_checkpoint == str(best)
    assert set(checkpoints(tmp_path / "run")) == {best, tmp_path / "run" / "checkpoint-8"}
    for folder in checkpoints(tmp_path / "run"):
        assert json.loads((folder / "trainer_state.json").read_text())["best_model_checkpoint"] == str(best)


def test_the_best_checkpoint_is_found_in_a_folder_that_was_moved(tmp_path):
    settings = {"learning_rate": 0.5, "ema_decay": 0.5, "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1}
    settings |= {"load_best_model_at_end": True, "metric_for_best_model": "loss"}
    whole = make_trainer(tmp_path / "run", **settings)
    whole.train()
    best = f"checkpoint-{whole.state.best_global_step}"
    assert whole.state.best_global_step < 8
    shutil.move(tmp_path / "run", tmp_path / "moved")
    resumed = make_trainer(tmp_path / "moved", seed=5, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "moved" / "checkpoint-8"))
    assert resumed.state.best_model_checkpoint == str(tmp_path / "moved" / best)
    assert all(torch.equal(tensor, everything(resumed)[name]) for name, tensor in everything(whole).items())


def test_a_checkpoint_of_the_model_alone_has_checksums_too(tmp_path):
    trainer = make_trainer(tmp_path / "run", save_only_model=True, max_steps=2)
    trainer.train()
    checkpoint = tmp_path / "run" / "checkpoint-2"
    assert find_change(checkpoint) is None and (checkpoint / CHECKSUMS).is_file()
    assert "ssl_student.safetensors is missing" in find_problem(checkpoint)


# ---- The whole run ----


@pytest.mark.parametrize("at", [2, 4, 6])
def test_the_mean_loss_is_that_of_the_whole_run(at, trained, run):
    expected = next(row["train_loss"] for row in trained.state.log_history if "train_loss" in row)
    resumed = make_trainer(run, seed=5, save_strategy="no")
    assert resumed.train(resume_from_checkpoint=str(run / f"checkpoint-{at}")).training_loss == expected


def test_times_are_those_of_the_whole_run(run, monkeypatch):
    resumed = make_trainer(run, save_strategy="no")
    begin = resumed._begin_log

    def begin_after_an_hour():
        resumed._resumed.seconds = 3600.0
        begin()

    monkeypatch.setattr(resumed, "_begin_log", begin_after_an_hour)
    metrics = resumed.train(resume_from_checkpoint=str(run / "checkpoint-6")).metrics
    assert 3600 < metrics["train_runtime"] < 3720
    assert metrics["train_steps_per_second"] == pytest.approx(8 / metrics["train_runtime"], abs=1e-3)
    assert resumed.run_facts().earlier_seconds == 3600


def test_the_time_so_far_is_saved(trained, run):
    told = {}
    for step in (2, 4, 6, 8):
        with safe_open(run / f"checkpoint-{step}" / "ssl_log.safetensors", framework="pt") as file:
            told[step] = json.loads(file.metadata()["hf_ssl"])["seconds"]
    runtime = next(row["train_runtime"] for row in trained.state.log_history if "train_runtime" in row)
    assert 0 < told[2] < told[4] < told[6] < told[8] < runtime + 0.01


def test_a_finished_run_has_nothing_to_do(trained, run):
    before = content(run)
    resumed = make_trainer(run, seed=5)
    output = resumed.train(resume_from_checkpoint=True)
    assert (output.global_step, resumed.state.global_step) == (8, 8)
    assert output.training_loss == next(r["train_loss"] for r in trained.state.log_history if "train_loss" in r)
    assert all(torch.equal(tensor, everything(resumed)[name]) for name, tensor in everything(trained).items())
    assert content(run) == before


def test_a_longer_run_goes_on_from_a_finished_one(run):
    resumed = make_trainer(run, seed=5, max_steps=9)
    assert resumed.train(resume_from_checkpoint=True).global_step == 9
