"""`hf-ssl push` with the real client, in its own process, against a loopback Hub; and what it refuses to push."""

import json
import re
import shutil

import pytest
from safetensors.torch import load_file, save_file

from tests.helpers.command_data import save_model
from tests.helpers.hub_client import check_private, run_client
from tests.helpers.loopback_hub import TOKEN, LoopbackHub


@pytest.fixture
def hub():
    with LoopbackHub() as running:
        yield running


PUSH = """
import os, sys
model = sys.argv[1]
known = os.environ.pop("HF_TOKEN")
told = {"no token": cli("push", model, "someone/first")}
os.environ["HF_TOKEN"] = "hf_wrong_9876543210"
told["wrong token"] = cli("push", model, "someone/first")
os.environ["HF_TOKEN"] = "hf_loopback_read_only"
told["token without rights"] = cli("push", model, "someone/first")
os.environ["HF_TOKEN"] = known
told["first"] = cli("push", model, "someone/first", "--message", "Here it is")
told["again"] = cli("push", model, "someone/first")
told["public"] = cli("push", model, "someone/first", "--private")
told["private"] = cli("push", model, "someone/private", "--private")

# The client tries again by itself, except to create a repository; what fails for longer is told, and can be retried.
for path in ("/upload/", "/objects/batch", "/preupload/"):
    fail(path, 3)
told["500 three times"] = cli("push", model, "someone/patient")
for name, path in (("a", "/repos/create"), ("b", "/preupload/"), ("c", "/commit/main")):
    fail(path, 30)
    told[f"500 {name}"] = cli("push", model, f"someone/{name}")
    fail(path, 0)
    told[f"again {name}"] = cli("push", model, f"someone/{name}")

fail("/upload/", 1, die=1)
told["died"] = cli("push", sys.argv[2], "someone/died")
told["unreachable"] = cli("push", sys.argv[2], "someone/died")
try:
    revive()
    from transformers import AutoModelForImageClassification
    AutoModelForImageClassification.from_pretrained("someone/died")
except (OSError, ValueError) as error:
    told["half"] = str(error)
told["second try"] = cli("push", sys.argv[2], "someone/died")
tell(told)
"""


@pytest.fixture
def finished_run(tmp_path):
    """What a finished run leaves, and things that concern nobody else."""
    folder = tmp_path / "run"
    save_model("image", folder)
    (folder / "README.md").write_text(
        '---\nlicense: mit\n---\n\n```python\nmodel = "run"\npipeline("x", model)\n```\n'
    )
    for name in ("results.json", "ssl_config.json"):
        (folder / name).write_text("{}")
    (folder / "curves.png").write_bytes(b"picture")
    (folder / "adapter_notes.json").write_text("{}")
    for name in (
        "checkpoint-2/optimizer.pt",
        "runs/host/events",
        "trainer_state.json",
        "optimizer.pt",
        ".cache",
        "my data.csv",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{tmp_path} {TOKEN}")
    return folder


@pytest.mark.slow
def test_a_run_is_pushed_whole_once_or_not_at_all(hub, finished_run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(finished_run, other)
    import torch

    state = load_file(other / "model.safetensors")
    save_file(
        {key: value + torch.ones_like(value) for key, value in state.items()},
        other / "model.safetensors",
        {"format": "pt"},
    )
    told = run_client(hub, tmp_path / "home", PUSH, finished_run, other)
    url = f"{hub.url}/someone"
    errors = {
        "no token": "someone/first: no access token; log in with `hf auth login`, or set HF_TOKEN",
        "wrong token": "someone/first: the Hub does not know this access token; make one with write permission",
        "token without rights": "someone/first: this access token may not write there; use one with write permission",
        "public": f"{url}/first exists and is public; make it private first",
        **{
            f"500 {n}": f"someone/{n}: the Hub has trouble (HTTP 500); nothing was published, try again later"
            for n in "abc"
        },
        "died": f"someone/died: the connection to {hub.url} failed",
        "unreachable": f"someone/died: the connection to {hub.url} failed",
    }
    for case, message in errors.items():
        status, out, err = told[case]
        assert (status, out) == (2, ""), (case, err)
        assert err.splitlines()[-1].startswith(f"hf-ssl: error: {message}"), (case, err)
        assert "Traceback" not in err
    pushed = f"Pushed 7 files: {url}"
    names = {"first": "first", "private": "private", "500 three times": "patient", "second try": "died"}
    for case, name in {**names, **{f"again {n}": n for n in "abc"}}.items():
        assert told[case][:2] == [0, f"{pushed}/{name}\n"], (case, told[case])
    assert told["again"][:2] == [0, f"Nothing has changed: {url}/first\n"]
    # The repository was made, and holds nothing.
    assert "someone/died" in told["half"]

    files = {"README.md", "config.json", "curves.png", "model.safetensors", "preprocessor_config.json"}
    for name, repository in hub.repositories.items():
        assert set(repository.files) == files | {"results.json", "ssl_config.json"}
        assert len(repository.commits) == 2 and repository.private == (name == "someone/private")
        check_private(repository.files, str(tmp_path))
        assert f'model = "{name}"' in repository.files["README.md"].decode()
    assert hub.repositories["someone/first"].commits[1][0] == "Here it is"


def break_config(folder):
    (folder / "config.json").unlink()


def only_checkpoints(folder):
    save_model("image", folder / "checkpoint-4")
    break_config(folder)


def break_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:200])


def lose_weights(folder):
    (folder / "model.safetensors").unlink()


def lose_a_shard(folder):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def lose_the_processor(folder):
    (folder / "preprocessor_config.json").unlink()


def no_classifier(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["ViTModel"]}))


def local_adapter(folder):
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(folder)}))


def a_token(folder):
    (folder / "ssl_config.json").write_text(json.dumps({"note": TOKEN}))


NO_MODEL = [
    (break_config, r"FOLDER must hold a model, but in .*run config\.json is missing"),
    (only_checkpoints, r"config\.json is missing; its newest checkpoint is one: hf-ssl push .*checkpoint-4 REPO_ID"),
    (break_weights, r"model\.safetensors is damaged"),
    (
        lose_weights,
        r"must hold a complete model, but in .*run model\.safetensors is missing; save it there with save_pretrained",
    ),
    (lose_a_shard, r"but in .*run model-00002-of-00002\.safetensors is missing"),
    (lose_the_processor, r"but in .*run preprocessor_config\.json is missing"),
    (no_classifier, r"must be a classifier of images, texts or recordings, got .*run, whose architecture is ViTModel"),
    (
        local_adapter,
        r"base model of an adapter must be on the Hub, but .*run is an adapter of .*run; push that model first",
    ),
    (a_token, r"ssl_config\.json holds your access token and is not published"),
    (shutil.rmtree, r"run is not there; give the folder of a trained model"),
]


@pytest.mark.parametrize(("spoil", "message"), NO_MODEL, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_not_a_model_is_refused_before_anything_is_sent(spoil, message, finished_run, capsys, monkeypatch):
    from huggingface_hub import HfApi

    from hf_ssl.cli import main

    if spoil is not a_token:
        (finished_run / "checkpoint-2" / "optimizer.pt").unlink()
        (finished_run / "checkpoint-2").rmdir()
        monkeypatch.setattr(HfApi, "create_repo", lambda *args, **options: pytest.fail("something was sent"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    spoil(finished_run)
    capsys.readouterr()
    if spoil is a_token:
        from hf_ssl.hub.upload import published_files, push_files

        with pytest.raises(ValueError, match=message):
            push_files("someone/name", published_files(finished_run), "message")
        return
    assert main(["push", str(finished_run), "someone/name"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(message, error)


def test_a_key_is_found_before_there_is_a_repository(finished_run, capsys, monkeypatch):
    from huggingface_hub import HfApi

    from hf_ssl.cli import main

    monkeypatch.setattr(HfApi, "create_repo", lambda *args, **options: pytest.fail("something was sent"))
    (finished_run / "modeling_x.py").write_text("login('hf_" + "aB3" * 12 + "')")
    assert main(["push", str(finished_run), "someone/name"]) == 2
    error = capsys.readouterr().err
    assert "modeling_x.py holds what looks like a key (Hugging Face token) and is not published; take it out" in error
    assert error.count("\n") == 1


def test_a_link_is_refused_before_there_is_a_repository(finished_run, tmp_path, capsys, monkeypatch):
    from huggingface_hub import HfApi

    from hf_ssl.cli import main

    monkeypatch.setattr(HfApi, "create_repo", lambda *args, **options: pytest.fail("something was sent"))
    (tmp_path / "private.txt").write_text("private")
    (finished_run / "LICENSE").symlink_to(tmp_path / "private.txt")
    assert main(["push", str(finished_run), "someone/name"]) == 2
    assert re.search(r"run/LICENSE must be a file of the run, got a link to .*private\.txt", capsys.readouterr().err)
