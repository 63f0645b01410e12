"""`hf-ssl train` after an interruption: goes on by itself, says so, and never does again what is finished."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from hf_ssl import SSLTrainer
from hf_ssl.cli import main
from hf_ssl.cli.train_options import parse
from hf_ssl.cli.train_output import Output
from hf_ssl.training import checkpoint_files

from tests.helpers.attacks import FULL
from tests.helpers.command_data import save_model, texts, write_csv

QUICK = "--algorithm fixmatch --max-steps 6 --save-steps 2 --save-total-limit 3 --eval-steps 3 --logging-steps 1"
QUICK += " --per_device_train_batch_size 4 --use_cpu --disable_tqdm true --dataloader-num-workers 0"
# What a run of the same settings must have in common with an interrupted one, beside its weights.
SAME = ("algorithm", "test_accuracy", "best_accuracy", "steps", "mask_ratio", "num_labeled")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_csv(folder / "labeled.csv", texts(12, 0))
    write_csv(folder / "test.csv", texts(12, 1))
    (folder / "pool.txt").write_text("\n".join(text for text, _ in texts(40, 2)))
    given = ["--model", save_model("text", folder / "model"), "--labeled", str(folder / "labeled.csv")]
    return [*given, "--unlabeled", str(folder / "pool.txt"), "--test", str(folder / "test.csv"), *QUICK.split()]


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert main(["train", *data, "--output-dir", str(folder)]) == 0
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def train(data, tmp_path):
    """Runs the command on `tmp_path / "run"`; its exit status."""
    return lambda *words: main(["train", *data, "--output-dir", str(tmp_path / "run"), *words])


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_same_run(expected, found):
    """The same model, and the same numbers."""
    weights = load_file(found / "model.safetensors")
    assert all(
        torch.equal(tensor, weights[name]) for name, tensor in load_file(expected / "model.safetensors").items()
    )
    rows = [json.loads((folder / "results.json").read_text())["runs"][-1] for folder in (expected, found)]
    assert [rows[0][name] for name in SAME] == [rows[1][name] for name in SAME]
    losses = [[row.get("train_loss") for row in history(folder)] for folder in (expected, found)]
    assert losses[0] == losses[1]


def history(folder):
    return json.loads((folder / "trainer_state.json").read_text())["log_history"]


def interrupt(folder, steps):
    """Leave what a run has that was interrupted with the checkpoints of these steps."""
    for path in folder.iterdir():
        if not path.is_dir():
            path.unlink()
        elif int(path.name.partition("-")[2]) not in steps:
            shutil.rmtree(path)


# ---- Going on ----


def test_it_resumes_from_the_newest_complete_checkpoint_and_says_so(finished, run, train, capsys, caplog):
    interrupt(run, (2, 4))
    (run / "checkpoint-4" / "trainer_state.json").unlink()
    (run / ".checkpoint-6.partial").mkdir()
    assert train("--resume") == 0
    assert f"Resuming from {run}/checkpoint-2, step 2." in capsys.readouterr().out
    (warning,) = [text for text in caplog.messages if "skipping this checkpoint" in text]
    assert warning.startswith(f"{run}/checkpoint-4/trainer_state.json is missing")
    assert_same_run(finished, run)
    assert not [path.name for path in run.iterdir() if path.name.startswith(".")]


def test_a_named_checkpoint_is_enough(finished, run, train, capsys):
    interrupt(run, (2, 4))
    assert train("--resume_from_checkpoint", str(run / "checkpoint-2")) == 0
    assert f"Resuming from {run}/checkpoint-2, step 2." in capsys.readouterr().out
    assert_same_run(finished, run)


def test_a_run_that_was_killed_after_its_last_step_writes_what_is_missing(finished, run, train, capsys):
    interrupt(run, (2, 4, 6))
    assert train("--resume") == 0
    assert_same_run(finished, run)
    # How often predicted classes change is counted in steps, of which none was left.
    there = {path.name for path in finished.iterdir()} - {"predictions.safetensors"}
    assert {path.name for path in run.iterdir()} == there


def test_times_cover_the_whole_run(run, train, monkeypatch):
    interrupt(run, (2,))
    load = checkpoint_files.load_log

    def after_an_hour(*given):
        found = load(*given)
        found.seconds = 3600.0
        return found

    monkeypatch.setattr(checkpoint_files, "load_log", after_an_hour)
    assert train("--resume") == 0
    (row,) = json.loads((run / "results.json").read_text())["runs"]
    (runtime,) = [row["train_runtime"] for row in history(run) if "train_runtime" in row]
    assert 3600 < runtime < 3720 and 3600 < row["seconds"] < 3720
    assert f"{runtime:,.0f} s" in (run / "README.md").read_text()


def test_without_a_checkpoint_it_starts_from_scratch_and_says_so(finished, tmp_path, train, capsys):
    assert train("--resume") == 0
    assert f"{tmp_path}/run holds no checkpoint yet: starting from scratch." in capsys.readouterr().out
    assert_same_run(finished, tmp_path / "run")


# ---- Nothing left to do ----


@pytest.mark.parametrize("words", [["--resume"], ["--resume_from_checkpoint", "{run}/checkpoint-6"]])
def test_a_finished_run_is_left_as_it_is(words, run, train, capsys):
    before = files(run)
    assert train(*(word.format(run=run) for word in words)) == 0
    assert f"The run in {run} is finished: nothing left to do" in capsys.readouterr().out
    assert files(run) == before


def test_a_finished_baseline_is_not_trained_again(run, train, capsys, monkeypatch):
    interrupt(run, ())
    shutil.copytree(run, run / "baseline")
    row = {"algorithm": "supervised", "seed": 42, "test_accuracy": 0.125, "best_accuracy": 0.125, "steps": 6}
    row |= {"mask_ratio": None, "pseudo_label_accuracy": None, "num_labeled": 12, "num_unlabeled": 40, "seconds": 1}
    (run / "results.json").write_text(json.dumps({"runs": [row], "settings": {}}))
    (run / "baseline" / "trainer_state.json").write_text('{"log_history": []}')
    trained = []
    monkeypatch.setattr(SSLTrainer, "train", lambda self, **given: trained.append(self.algorithm_name))
    assert train("--baseline", "--resume") == 0
    printed = capsys.readouterr().out
    assert "The labeled-only baseline is finished and is not trained again." in printed
    assert trained == ["fixmatch"]
    assert json.loads((run / "results.json").read_text())["runs"][0] == row


def test_an_interrupted_baseline_is_said_to_start_again(run, train, capsys, monkeypatch):
    interrupt(run, ())
    (run / "baseline").mkdir()
    monkeypatch.setattr(SSLTrainer, "train", lambda self, **given: (_ for _ in ()).throw(KeyboardInterrupt))
    assert train("--baseline", "--resume") == 130
    assert "The labeled-only baseline keeps no checkpoints and is trained again, too." in capsys.readouterr().out


def test_a_finished_baseline_stays_in_the_results_while_other_stages_run(tmp_path):
    """Stages before the baseline write results.json, too, and a run killed then would train it again."""
    row = {"algorithm": "supervised", "seed": 42}
    (tmp_path / "baseline").mkdir()
    (tmp_path / "baseline" / "trainer_state.json").write_text("{}")
    (tmp_path / "results.json").write_text(json.dumps({"runs": [row], "settings": {}}))
    arguments, settings = parse(["--model", "m", "--baseline", "--resume", "--output-dir", str(tmp_path)])
    data, config = SimpleNamespace(name="d"), SimpleNamespace(algorithm_kwargs=None)
    output = Output(SimpleNamespace(arguments=arguments, settings=settings, data=data, config=config))
    output.add({"algorithm": "probe", "seed": 42}, [])
    output.write_results()
    assert json.loads((tmp_path / "results.json").read_text())["runs"] == [{"algorithm": "probe", "seed": 42}, row]


# ---- What is refused ----


def test_damaged_checkpoints_alone_are_refused_by_name(run, train, capsys, caplog):
    interrupt(run, (4,))
    path = run / "checkpoint-4" / "optimizer.pt"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    before = files(run)
    assert train("--resume") == 2
    assert train("--resume_from_checkpoint", str(run / "checkpoint-4")) == 2
    first, second = capsys.readouterr().err.splitlines()[-2:]
    assert first.startswith(
        f"hf-ssl: error: there is no complete checkpoint in {run}; 1 incomplete or damaged there; "
    )
    assert second.startswith(f"hf-ssl: error: {path} is damaged: it was changed or truncated after it was saved; ")
    assert any(text.startswith(f"{path} is damaged") for text in caplog.messages)
    assert files(run) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resume"], "--resume continues an earlier run, but {folder} holds files and no earlier run"),
        (["--overwrite"], "--overwrite replaces an earlier run, but {folder} holds files and no earlier run"),
        ([], "--output-dir must be new or empty, but {folder} is not empty; choose another folder"),
    ],
)
def test_a_folder_of_other_files_is_left_alone(words, message, tmp_path, train, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "holiday.jpg").write_bytes(b"")
    assert train(*words) == 2
    assert message.format(folder=tmp_path / "run") in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["holiday.jpg"]


def test_overwriting_the_checkpoint_to_resume_from_is_refused(run, train, capsys):
    before = files(run)
    assert train("--overwrite", "--resume_from_checkpoint", str(run / "checkpoint-2")) == 2
    assert "--overwrite deletes the earlier run, and with it the checkpoint to resume from" in capsys.readouterr().err
    assert files(run) == before


@pytest.mark.parametrize(
    "left", ["baseline/a", ".checkpoint-2.partial/a", ".README.17.tmp.md", "runs/events", "rounds/start/a"]
)
def test_an_interrupted_run_can_be_overwritten(left, tmp_path, train, monkeypatch):
    (tmp_path / "run" / left).parent.mkdir(parents=True)
    (tmp_path / "run" / left).write_bytes(b"")
    monkeypatch.setattr(SSLTrainer, "train", lambda self, **given: (_ for _ in ()).throw(KeyboardInterrupt))
    assert train() == 2
    assert train("--overwrite") == 130


def test_a_run_killed_after_overwriting_is_not_taken_for_the_finished_one(run, train, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(SSLTrainer, "train", lambda self, **given: (_ for _ in ()).throw(KeyboardInterrupt))
        assert train("--overwrite") == 130
    left = {path.name for path in run.iterdir()}
    assert not {"results.json", "model.safetensors", "checkpoint-2", "checkpoint-6"} & left


# ---- A full disk ----


@pytest.mark.parametrize("who", ["torch", "safetensors"])
def test_a_full_disk_is_one_line_and_the_run_resumes(who, finished, tmp_path, train, monkeypatch, capsys):
    """The second checkpoint does not fit."""
    owner, name = {"torch": (torch, "save"), "safetensors": (checkpoint_files, "save_file")}[who]
    write, count = getattr(owner, name), []

    def filled(*given, **keywords):
        count.append(1)
        if len(count) == {"torch": 5, "safetensors": 6}[who]:
            raise FULL[who]
        return write(*given, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, filled)
        assert train() == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == (
        f"hf-ssl: error: {tmp_path}/run/checkpoint-4 cannot be written: No space left on device; "
        "free some space and resume; checkpoints before this one are as they were"
    )
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["checkpoint-2"]
    assert train("--resume") == 0
    assert_same_run(finished, tmp_path / "run")
