"""What is put on the Hub: which files, in one commit, with nothing private in them. No Hub: its client is replaced."""

import json
import multiprocessing
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from hf_ssl.files import without_paths
from hf_ssl.hub import upload
from hf_ssl.training.checksums import CHECKSUMS, find_change, write_checksums


class Client:
    """Instead of `HfApi`: a repository that holds `present`, and remembers what was committed."""

    present = ["README.md", "config.json", "old.txt", "data/kept.parquet", "data/stale.parquet", "logs/a.txt"]
    commits: list[dict]

    def __init__(self, token=None):
        self.token = token

    def list_repo_files(self, repo_id, *, repo_type=None, revision=None):
        return self.present

    def create_commit(self, repo_id, operations, **given):
        self.commits.append({"repo_id": repo_id, "token": self.token, "operations": list(operations), **given})
        return "done"

    def run_as_future(self, call):
        future = Future()
        future.set_result(call())
        return future


@pytest.fixture
def commits(monkeypatch):
    monkeypatch.setattr(Client, "commits", [], raising=False)
    monkeypatch.setattr(upload, "HfApi", Client)
    return Client.commits


def added(commit):
    return {o.path_in_repo: o.path_or_fileobj for o in commit["operations"] if isinstance(o, CommitOperationAdd)}


def deleted(commit):
    return [o.path_in_repo for o in commit["operations"] if isinstance(o, CommitOperationDelete)]


@pytest.mark.parametrize(
    ("is_stale", "expected"),
    [
        (None, []),
        (lambda name: name.startswith("data/"), ["data/stale.parquet"]),
        (lambda name: True, ["README.md", "config.json", "old.txt", "data/stale.parquet", "logs/a.txt"]),
    ],
)
def test_a_commit_adds_all_files_and_deletes_the_stale_ones(commits, is_stale, expected):
    done = upload.commit_files("a/b", "dataset", {"data/kept.parquet": b"1"}, "title", is_stale=is_stale, token="t")
    (commit,) = commits
    assert done == "done" and added(commit) == {"data/kept.parquet": b"1"} and deleted(commit) == expected
    assert (commit["repo_id"], commit["repo_type"], commit["commit_message"]) == ("a/b", "dataset", "title")
    assert commit["token"] == "t"


def test_a_commit_in_another_thread_is_a_future(commits):
    future = upload.commit_files("a/b", "model", {}, "title", blocking=False)
    assert isinstance(future, Future) and future.result() == "done" and len(commits) == 1


def test_a_model_replaces_an_earlier_one_and_leaves_what_is_not_a_model_s(commits, tmp_path):
    for name in ("README.md", "model.safetensors"):
        (tmp_path / name).write_text('model = "run"\n')
    files = {**upload.published_files(tmp_path), "logs/b.txt": tmp_path / "model.safetensors"}
    upload.push_files("a/b", files, "title")
    (commit,) = commits
    # Of the top those of a model, of a folder that is written to everything; a card is never deleted.
    assert deleted(commit) == ["config.json", "logs/a.txt"]
    assert added(commit)["README.md"] == b'model = "a/b"\n'


@pytest.mark.parametrize("name", ["config.json", "README.md"])
def test_a_file_with_the_access_token_is_not_published(commits, tmp_path, name):
    (tmp_path / name).write_text('{"token": "hf_secret"}')
    with pytest.raises(ValueError, match=f"{name} holds your access token and is not published"):
        upload.push_files("a/b", {name: tmp_path / name}, "title", token="hf_secret")
    assert commits == []


def test_a_worker_that_is_forked_during_a_push_starts(monkeypatch):
    """The client's locks are those of a thread that is sending, and the forked process has no such thread."""
    from huggingface_hub.utils import _http

    closed = []

    class Busy:
        def close(self):
            closed.append(True)
            threading.Event().wait(60)

    upload._let_workers_start()
    monkeypatch.setattr(_http, "_GLOBAL_CLIENT", Busy())
    worker = multiprocessing.get_context("fork").Process(target=int)
    worker.start()
    worker.join(20)
    started = worker.exitcode == 0
    worker.kill()
    # The client of this process is as it was, and can be closed here.
    assert started and closed == []
    monkeypatch.setattr(threading.Event, "wait", lambda self, timeout: True)
    _http._GLOBAL_CLIENT.close()
    assert closed == [True]


def test_published_json_names_no_folders(tmp_path):
    content = {
        "base_model_name_or_path": str(tmp_path / "base"),
        "inner": [{"_name_or_path": "models/a/b"}, {"_name_or_path": "someone/model"}],
        "note": "/not/a/known/key",
    }
    public = json.loads(without_paths(json.dumps(content)))
    assert public["base_model_name_or_path"] == "base"
    assert public["inner"] == [{"_name_or_path": "b"}, {"_name_or_path": "someone/model"}]
    assert public["note"] == "/not/a/known/key"
    text = '{"_name_or_path":   "someone/model"}'
    assert without_paths(text) is text
    assert without_paths("no JSON") == "no JSON"


def test_checksums_of_a_checkpoint_are_those_of_what_is_uploaded(commits, tmp_path):
    """The state of a training names a local folder, so what is uploaded of it is another file."""
    checkpoint, downloaded = tmp_path / "checkpoint-2", tmp_path / "last-checkpoint"
    (checkpoint / "adapter").mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text(json.dumps({"best_model_checkpoint": str(checkpoint)}))
    (checkpoint / "optimizer.pt").write_bytes(b"0011")
    (checkpoint / "adapter" / "config.json").write_text("{}")
    write_checksums(checkpoint)
    names = [path.relative_to(checkpoint).as_posix() for path in checkpoint.rglob("*") if path.is_file()]
    upload.push_files("a/b", {f"last-checkpoint/{name}": checkpoint / name for name in names}, "title")
    for name, content in added(commits[0]).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else Path(content).read_bytes())
    assert "tmp" not in (downloaded / "trainer_state.json").read_text()
    assert len((downloaded / CHECKSUMS).read_text().splitlines()) == 4
    assert find_change(downloaded) is None and find_change(checkpoint) is None
