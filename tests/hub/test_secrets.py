"""Nothing with a token or key in it is published, and nothing that is not a file of the run."""

import json
import os
import re

import pytest
import torch
from safetensors.torch import save_file

from hf_ssl.hub.secrets import KEYS, find_secret
from hf_ssl.hub.upload import check_regular, published_files, push_files

# In two parts, or those who look for keys would find them here.
EXAMPLES = {
    "Hugging Face token": ["hf_" + "aB3" * 12, "api_org_" + "aB3" * 12],
    "AWS key": ["AKIA" + "ABCD1234" * 2, "ASIA" + "ABCD1234" * 2],
    "AWS secret": ["aws_secret_access_key = " + "aB3/" * 10, '"SecretAccessKey": "' + "aB3+" * 10 + '"'],
    "GitHub token": ["ghp_" + "aB3" * 12, "github_pat_" + "aB3_" * 12],
    "GitLab token": ["glpat-" + "aB3-x" * 4],
    "OpenAI or Anthropic key": ["sk-proj-" + "aB3_" * 10, "sk-ant-api03-" + "aB3-" * 10, "sk-" + "aB3d" * 12],
    "Google key": ["AIza" + "aB3-x" * 7],
    "Slack token": ["xoxb-" + "123456789012-abc"],
    "Weights & Biases key": ["WANDB_API_KEY=" + "0a1b2c3d" * 5],
    "Stripe key": ["sk_live_" + "aB3d" * 6],
    "private key": ["-----BEGIN " + "OPENSSH PRIVATE KEY-----", "-----BEGIN " + "PRIVATE KEY-----"],
    "password in an address": ["postgres" + "://me:hunter22@db.example.org/x"],
}
PAIRS = [(kind, example) for kind, examples in EXAMPLES.items() for example in examples]


def test_every_kind_has_an_example():
    assert EXAMPLES.keys() == KEYS.keys()


def write(path, text):
    """A file of the kind that its name says, with the text somewhere in it."""
    if path.suffix == ".safetensors":
        save_file({"weight": torch.zeros(3)}, path, {"note": text})
    elif path.suffix == ".pth":
        torch.save({"note": text, "weight": torch.zeros(3)}, path)
    elif path.suffix == ".json":
        path.write_text(json.dumps({"inner": [{"note": text}]}))
    else:
        path.write_text(f"# a line\nnote = '{text}'\n")
    return path


@pytest.mark.parametrize(
    "name", ["modeling_x.py", "ssl_config.json", "README.md", "model.safetensors", "LICENSE", "rng.pth"]
)
@pytest.mark.parametrize(("kind", "key"), PAIRS, ids=[f"{kind} {key[:6]}" for kind, key in PAIRS])
def test_a_key_is_found_in_any_file(name, kind, key, tmp_path):
    assert find_secret(write(tmp_path / name, f" {key} ")) == kind
    assert find_secret(write(tmp_path / f"2{name}", "nothing")) is None


@pytest.mark.parametrize(
    "text",
    [
        "hf_ssl.hub.upload hf_hub_download hf_transfer",
        "sk-learn sk-" + "a" * 12,
        "sha256 " + "0a1b2c3d" * 8,
        "https://huggingface.co/a/b?c=d:e@f",
        "https://user:{password}@host",
        "AKIA",
        "-----BEGIN " + "PUBLIC KEY-----",
    ],
)
def test_what_only_resembles_a_key_is_published(text, tmp_path):
    assert find_secret(write(tmp_path / "a.py", text)) is None


def test_a_key_between_two_pieces_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_ssl.hub.secrets._PIECE", 2048)
    (tmp_path / "vocab.txt").write_text("x " * 1015 + EXAMPLES["Hugging Face token"][0] + " x" * 3000)
    assert find_secret(tmp_path / "vocab.txt") == "Hugging Face token"


def test_numbers_of_weights_are_no_text(tmp_path):
    key = EXAMPLES["AWS key"][0].encode()
    save_file({"weight": torch.tensor(list(b" " + key + b" "), dtype=torch.uint8)}, tmp_path / "model.safetensors")
    assert find_secret(tmp_path / "model.safetensors") is None


@pytest.mark.parametrize("name", ["modeling_x.py", "vocab.txt", "LICENSE"])
def test_a_push_refuses_the_file_by_its_name(name, tmp_path):
    (tmp_path / name).write_text(EXAMPLES["GitHub token"][0])
    with pytest.raises(ValueError, match=rf"{name} holds what looks like a key \(GitHub token\) and is not published"):
        push_files("a/b", published_files(tmp_path), "title", token="t")
    (tmp_path / name).write_text("a mytoken1234 b")
    with pytest.raises(ValueError, match=rf"{name} holds your access token and is not published; take it out"):
        push_files("a/b", published_files(tmp_path), "title", token="mytoken1234")


# ---- Links and devices ----


def link_to_file(folder, outside):
    (folder / "LICENSE").symlink_to(outside / "private.txt")


def link_that_leads_nowhere(folder, outside):
    (folder / "vocab.txt").symlink_to(outside / "missing")


def link_within_the_folder(folder, outside):
    (folder / "notes.txt").write_text("x")
    (folder / "merges.txt").symlink_to("notes.txt")


def linked_folder(folder, outside):
    (folder / "adapter_config.json").write_text("{}")
    (outside / "config.json").write_text("{}")
    (folder / "base").symlink_to(outside)


def pipe(folder, outside):
    os.mkfifo(folder / "tokenizer.json")


@pytest.mark.parametrize(
    ("make", "name", "what"),
    [
        (link_to_file, "LICENSE", "must be a file of the run, got a link to .*private.txt"),
        (link_that_leads_nowhere, "vocab.txt", "must be a file of the run, got a link to .*missing"),
        (link_within_the_folder, "merges.txt", "must be a file of the run, got a link to .*notes.txt"),
        (linked_folder, "base", "must be a file of the run, got a link to .*outside"),
        (pipe, "tokenizer.json", "must be a regular file, got a device or pipe"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_not_a_file_of_the_run_is_not_published(make, name, what, tmp_path):
    folder, outside = tmp_path / "run", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "private.txt").write_text("private")
    make(folder, outside)
    with pytest.raises(ValueError, match=rf"run/{name} {what}"):
        published_files(folder)


def test_links_that_nobody_publishes_do_not_matter(tmp_path):
    (tmp_path / "data").symlink_to("/")
    (tmp_path / "notes.txt").symlink_to("/nowhere")
    (tmp_path / "config.json").write_text("{}")
    assert set(published_files(tmp_path)) == {"config.json"}


def test_the_folder_of_a_run_may_be_reached_by_a_link(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    (tmp_path / "latest").symlink_to("run")
    check_regular(tmp_path / "latest" / "config.json", "config.json")


def test_a_checkpoint_s_files_are_looked_at_too(tmp_path):
    (tmp_path / "checkpoint-2").mkdir()
    (tmp_path / "checkpoint-2" / "state.json").symlink_to(tmp_path / "x")
    with pytest.raises(ValueError, match=re.escape("checkpoint-2/state.json must be a file of the run")):
        push_files("a/b", {"last-checkpoint/state.json": tmp_path / "checkpoint-2" / "state.json"}, "title")
