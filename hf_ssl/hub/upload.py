"""Putting files on the Hub: which of a model folder, all in one commit, and without local paths."""

import fnmatch
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import Literal, overload

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, get_session, get_token

from ..files import without_paths
from ..training.checksums import CHECKSUMS, checksum, checksums
from .errors import clear_errors
from .requests import patiently
from .secrets import YOURS, find_secret

CARD = "README.md"
# Of an adapter: the base model's configuration with these classes. Beside the adapter it would be taken for that of a
# whole model.
BASE_CONFIG = "base/config.json"
# What the Hub reads of a model on a task of the benchmark. Other files of this folder are other people's, and stay.
EVAL_RESULTS = ".eval_results/hf_ssl.yaml"
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    "adapter_model.safetensors",
)
# Everything that is needed to use a model, and what a person reads of it. Not published: the states of the optimizer
# and of the training, logs (their names tell the machine), checkpoints, and anything else in the folder.
PUBLISHED = (
    CARD,
    *WEIGHTS,
    "uncertainty.safetensors",
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
    "ssl_foreignness.safetensors",
    "results.json",
    "curves.png",
    "class_recalls.png",
    "evaluation.json",
    "confusion_matrix.png",
)
# The line of the card's code that names the model.
_MODEL_LINE = re.compile(r'^model = ".*"$', re.MULTILINE)


# ---- Which files ----


def published_files(folder: str | Path) -> dict[str, Path]:
    """The files of a folder that are published: name -> path, as `PUBLISHED` lists them.

    Raises:
        ValueError: if one of them is a link or a device, and not a file of the run.
    """
    files = sorted(path for path in Path(folder).iterdir() if not path.name.endswith(".tmp") and not path.is_dir())
    found = {path.name: path for path in files if is_published(path.name)}
    for name in (BASE_CONFIG, EVAL_RESULTS):
        path = Path(folder, name)
        if path.exists() and (name != BASE_CONFIG or "adapter_config.json" in found):
            found[name] = path
    for name, path in found.items():
        check_regular(path, name)
    return found


def check_regular(path: Path, name: str) -> None:
    """Raise a ValueError unless the file, and each folder that its name goes through, is what it seems.

    A link may lead to a file that nobody meant to publish; reading a device or a pipe may never end.

    Args:
        path: of the file.
        name: its path in the repository; its folders are those of the run, which themselves must not be links.
    """
    parts = [path, *path.parents[: name.count("/")]]
    if (link := next((part for part in parts if part.is_symlink()), None)) is not None:
        raise ValueError(
            f"{link} must be a file of the run, got a link to {os.path.realpath(link)}; replace it by a copy"
        )
    if not path.is_file():
        raise ValueError(f"{path} must be a regular file, got a device or pipe; delete it")


def is_published(name: str) -> bool:
    """Whether a file of this name in a model's folder is published.

    Example:
        >>> is_published("model-00001-of-00002.safetensors"), is_published("optimizer.pt")
        (True, False)
    """
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in PUBLISHED)


def with_repository(card: str, repo_id: str) -> str:
    """The card's text with the repository that it is pushed to in its lines of code.

    Example:
        >>> print(with_repository('model = "runs/digits"\\nclassify = pipeline(model=model)', "someone/digits"))
        model = "someone/digits"
        classify = pipeline(model=model)
    """
    return _MODEL_LINE.sub(f'model = "{repo_id}"', card)


# ---- In one commit ----


@overload
def push_files(
    repo_id: str,
    files: Mapping[str, Path],
    message: str,
    *,
    token: str | None = ...,
    revision: str | None = ...,
    blocking: Literal[True] = ...,
) -> CommitInfo: ...


@overload
def push_files(
    repo_id: str,
    files: Mapping[str, Path],
    message: str,
    *,
    token: str | None = ...,
    revision: str | None = ...,
    blocking: bool,
) -> CommitInfo | Future[CommitInfo]: ...


def push_files(
    repo_id: str,
    files: Mapping[str, Path],
    message: str,
    *,
    token: str | None = None,
    revision: str | None = None,
    blocking: bool = True,
) -> CommitInfo | Future[CommitInfo]:
    """Commit the files of a model to its repository, all of them or none, without the paths of this machine.

    Files of an earlier model that this one does not have are deleted: in every folder that `files` write to, and at
    the top those that `PUBLISHED` names. Results that others added in `.eval_results/` stay.

    Args:
        repo_id: the model repository, which must exist.
        files: path in the repository -> local file.
        message: title of the commit.
        token, revision, blocking: as in `commit_files`, as is the result.

    Raises:
        OSError: in one line, if the Hub refuses or cannot be reached.
        ValueError: if a file contains a token or key, or is not a regular file; nothing is published then.
    """
    folders = {name.rpartition("/")[0] for name in files}

    def is_stale(name: str) -> bool:
        folder = name.rpartition("/")[0]
        if folder == EVAL_RESULTS.rpartition("/")[0]:
            return name == EVAL_RESULTS
        return folder in folders and (bool(folder) or (is_published(name) and name != CARD))

    contents = {name: public_content(path, name, repo_id, token or get_token()) for name, path in files.items()}
    contents |= _checksums_of(contents)
    return commit_files(
        repo_id, "model", contents, message, is_stale=is_stale, token=token, revision=revision, blocking=blocking
    )


@overload
def commit_files(
    repo_id: str,
    repo_type: str,
    files: Mapping[str, Path | bytes],
    message: str,
    *,
    is_stale: Callable[[str], bool] | None = ...,
    token: str | None = ...,
    revision: str | None = ...,
    blocking: Literal[True] = ...,
) -> CommitInfo: ...


@overload
def commit_files(
    repo_id: str,
    repo_type: str,
    files: Mapping[str, Path | bytes],
    message: str,
    *,
    is_stale: Callable[[str], bool] | None = ...,
    token: str | None = ...,
    revision: str | None = ...,
    blocking: bool,
) -> CommitInfo | Future[CommitInfo]: ...


def commit_files(
    repo_id: str,
    repo_type: str,
    files: Mapping[str, Path | bytes],
    message: str,
    *,
    is_stale: Callable[[str], bool] | None = None,
    token: str | None = None,
    revision: str | None = None,
    blocking: bool = True,
) -> CommitInfo | Future[CommitInfo]:
    """Commit files to a repository of the Hub, all of them or none; without a change there is no new commit.

    Args:
        repo_id: the repository, which must exist.
        repo_type: "model", "dataset" or "space".
        files: path in the repository -> a local file, or the content.
        message: title of the commit.
        is_stale: whether a file of the repository that is not among `files` is to be deleted, by its path there;
            None deletes nothing.
        token: None for that of `hf auth login` or the environment variable HF_TOKEN.
        revision: the branch; None for the main one.
        blocking: False uploads in another thread.

    Returns:
        the `CommitInfo`, or its `Future` if not `blocking`.

    Raises:
        OSError: in one line, if the Hub refuses or cannot be reached; nothing is published then.
    """
    if not blocking:
        _let_workers_start()
    api = HfApi(token=token)
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(name, content) for name, content in files.items()
    ]

    def commit() -> CommitInfo:
        return patiently(
            lambda: api.create_commit(
                repo_id, operations, commit_message=message, repo_type=repo_type, revision=revision
            )
        )

    with clear_errors(repo_id, token):
        if is_stale is not None:
            present = patiently(lambda: api.list_repo_files(repo_id, repo_type=repo_type, revision=revision))
            operations += [CommitOperationDelete(name) for name in present if name not in files and is_stale(name)]
        return commit() if blocking else api.run_as_future(commit)


def public_content(path: Path, name: str, repo_id: str, token: str | None) -> Path | bytes:
    """What is uploaded of a file: the file, or other bytes if it names local folders or is the card.

    Args:
        path: of the file.
        name: its path in the repository.
        repo_id: the repository.
        token: the access token in use.

    Raises:
        ValueError: if it contains a token or key, or is not a regular file.
    """
    check_regular(path, name)
    check_secrets(path, token)
    if path.suffix not in (".json", ".md"):
        return path
    text = path.read_text(encoding="utf-8")
    if path.name == CARD:
        return with_repository(text, repo_id).encode()
    public = without_paths(text)
    return path if public == text else public.encode()


def _checksums_of(contents: Mapping[str, Path | bytes]) -> dict[str, bytes]:
    """The lists of checksums among the files, for what is uploaded: without local paths a file has another one."""
    lists = {}
    for name in (name for name in contents if name.rpartition("/")[2] == CHECKSUMS):
        folder = name.removesuffix(CHECKSUMS)
        listed = {path.removeprefix(folder): content for path, content in contents.items() if path.startswith(folder)}
        lists[name] = checksums({path: checksum(it) for path, it in listed.items() if path != CHECKSUMS})
    return lists


def check_secrets(path: Path, token: str | None) -> None:
    """Raise a ValueError that names the file if it holds the access token, or what looks like a key of any kind."""
    if (kind := find_secret(path, [token] if token else [])) is not None:
        holds = kind if kind == YOURS else f"what looks like a key ({kind})"
        raise ValueError(f"{path} holds {holds} and is not published; take it out")


@cache
def _let_workers_start() -> None:
    """Make it safe to fork, as data loaders do for their workers, while another thread sends files.

    huggingface_hub closes its HTTP client in every forked process. Closing waits for a lock that the sending thread
    may have held at that moment and that nobody releases in the new process: the worker never starts, and the training
    waits for it forever. So a process can only close the client that it made itself. (To close it before the fork,
    with `close_session`, would break the upload; `set_client_factory` would replace the user's factory.)
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_keep_client_open_elsewhere)


def _keep_client_open_elsewhere() -> None:
    client, owner = get_session(), os.getpid()
    close = client.close

    def close_in_its_process() -> None:
        if os.getpid() == owner:
            close()

    if close.__name__ != close_in_its_process.__name__:
        client.close = close_in_its_process  # type: ignore[method-assign]  # of this client, not of its class
