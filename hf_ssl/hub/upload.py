"""Putting a model folder on the Hub: which files, in one commit, and without local paths."""

import fnmatch
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.utils import _http

from .errors import clear_errors
from .model_card import with_repository

CARD = "README.md"
# Of an adapter: the base model's configuration with these classes. Beside the adapter it would be taken for a whole model's.
BASE_CONFIG = "base/config.json"
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    "adapter_model.safetensors",
)
# Everything that using a model takes, and what a person reads of it. Not published: states of optimizers and of the training,
# logs (their names tell the machine), checkpoints, and whatever else lies in the folder.
PUBLISHED = (
    CARD,
    *WEIGHTS,
    "config.json",
    "adapter_config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.*",
    "vocab*",
    "merges.txt",
    "*.model",
    "*.spm",
    "*.codes",
    "modeling_*.py",
    "configuration_*.py",
    "LICENSE*",
    "ssl_config.json",
    "results.json",
    "curves.png",
    "evaluation.json",
    "confusion_matrix.png",
)
# Where libraries write the folder that something was loaded from.
_PATHS = (
    "_name_or_path",
    "name_or_path",
    "base_model_name_or_path",
    "best_model_checkpoint",
    "tokenizer_file",
    "vocab_file",
)


def published_files(folder: str | Path) -> dict[str, Path]:
    """The files of a folder that are published: name -> path, by `PUBLISHED`."""
    files = sorted(path for path in Path(folder).iterdir() if path.is_file() and not path.name.endswith(".tmp"))
    found = {path.name: path for path in files if is_published(path.name)}
    base = Path(folder, BASE_CONFIG)
    return {**found, BASE_CONFIG: base} if "adapter_config.json" in found and base.is_file() else found


def is_published(name: str) -> bool:
    """Whether a file of this name, in the folder of a model, is published."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in PUBLISHED)


def push_files(
    repo_id: str,
    files: Mapping[str, Path],
    message: str,
    *,
    token: str | None = None,
    revision: str | None = None,
    blocking: bool = True,
) -> Any:
    """Commit files to a model repository, all of them or none; without a change there is no new commit.

    Files of an earlier model that this one has not are deleted: a folder of `files`, and the names of `PUBLISHED` at the top.

    Args:
        files: path in the repository -> local file.
        blocking: False hands the upload to another thread.

    Returns:
        a `CommitInfo`, or its `Future` where not `blocking`.

    Raises:
        OSError: in one line, if the Hub refuses or cannot be reached.
        ValueError: if a file holds the access token.
    """
    if not blocking:
        _let_workers_start()
    api = HfApi(token=token)
    additions = [
        CommitOperationAdd(name, _content(path, repo_id, token or get_token())) for name, path in files.items()
    ]
    folders = {name.rpartition("/")[0] for name in files}
    with clear_errors(repo_id, token):
        present = api.list_repo_files(repo_id, revision=revision)
        stale = [
            name
            for name in present
            if name not in files
            and name.rpartition("/")[0] in folders
            and ("/" in name or (is_published(name) and name != CARD))
        ]
        return api.create_commit(
            repo_id,
            [*additions, *map(CommitOperationDelete, stale)],
            commit_message=message,
            revision=revision,
            run_as_future=not blocking,
        )


@cache
def _let_workers_start() -> None:
    """Make it safe to fork, as data loaders do for their workers, while another thread sends files.

    huggingface_hub closes its HTTP client in every forked process, and the client waits there for a lock that the other thread
    held at that moment and nobody will release: the worker never starts, and the training waits for it forever. So forked
    processes find no client to close; they make their own when they need one.
    """
    if not hasattr(_http, "_GLOBAL_CLIENT") or not hasattr(os, "register_at_fork"):
        return
    hidden: list[Any] = []

    def hide() -> None:
        hidden.append(_http._GLOBAL_CLIENT)
        _http._GLOBAL_CLIENT = None

    def show() -> None:
        _http._GLOBAL_CLIENT = hidden.pop()

    os.register_at_fork(before=hide, after_in_parent=show)


def _content(path: Path, repo_id: str, token: str | None) -> bytes | str:
    """What is uploaded of a file: its path, or other bytes where it names local folders or lacks the repository."""
    if path.suffix not in (".json", ".md"):
        return str(path)
    text = path.read_text(encoding="utf-8")
    if token and token in text:
        raise ValueError(f"{path} holds your access token and is not published; take it out")
    if path.name == CARD:
        return with_repository(text, repo_id).encode()
    public = without_paths(text)
    return str(path) if public == text else public.encode()


def without_paths(text: str) -> str:
    """A JSON document in which the folders that something was loaded from are named without their paths."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError:
        return text
    changed = False

    def clean(value):
        nonlocal changed
        if isinstance(value, list):
            return [clean(item) for item in value]
        if not isinstance(value, dict):
            return value
        cleaned = {}
        for key, item in value.items():
            if key in _PATHS and isinstance(item, str) and is_local(item):
                item, changed = Path(item).name, True
            cleaned[key] = clean(item)
        return cleaned

    content = clean(content)
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n" if changed else text


def is_local(name: str) -> bool:
    """Whether a model's name is a path: it is there, or cannot be an id."""
    return (
        os.path.isabs(name)
        or name.startswith((".", "~"))
        or name.count("/") > 1
        or "\\" in name
        or os.path.exists(name)
    )
