"""A results repository: a dataset repository of the Hub that holds cells as a results folder does."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile

from ...documents import read_json
from ...hub.errors import clear_errors
from ...hub.requests import patiently
from .cell_file import NAMED

# Where cells are in a repository, as in a folder; error files match it, too.
CELLS = "*/*/*/*/seed*.json"
# Files that are asked for at once.
_AT_ONCE = 8


def remote_cells(api: HfApi, repo_id: str) -> tuple[str, dict[str, str]]:
    """The commit that a results repository is at, and path -> git's id of the content for each of its cells.

    Args:
        api: with the access token.
        repo_id: ACCOUNT/NAME of the dataset repository.

    Raises:
        OSError: in one line, if it does not exist or the Hub cannot be reached.
    """
    with clear_errors(repo_id, outcome="try again later"):
        commit = patiently(lambda: api.dataset_info(repo_id)).sha
        entries = patiently(
            lambda: list(api.list_repo_tree(repo_id, recursive=True, revision=commit, repo_type="dataset"))
        )
    files = {entry.path: entry.blob_id for entry in entries if isinstance(entry, RepoFile)}
    return str(commit), {path: blob for path, blob in files.items() if is_cell(path)}


def is_cell(path: str) -> bool:
    """Whether a path in a results repository is that of a finished cell.

    Example:
        >>> [is_cell(f"ag_news/40/uda/m/seed0{end}") for end in (".json", ".error.json")], is_cell("README.md")
        ([True, False], False)
    """
    name = path.rpartition("/")[2]
    hidden = path.startswith(".") or name.endswith(".error.json")
    return path.count("/") == 4 and NAMED.fullmatch(name) is not None and not hidden


def fetch(api: HfApi, repo_id: str, paths: Iterable[str], commit: str) -> dict[str, Path]:
    """Download some files of a results repository into the cache: path there -> local file.

    Args:
        api: with the access token.
        repo_id: ACCOUNT/NAME of the dataset repository.
        paths: which of its files.
        commit: at which the repository is read.

    Raises:
        OSError: in one line, if the Hub cannot be reached.
    """

    def download(path: str) -> Path:
        return Path(patiently(lambda: api.hf_hub_download(repo_id, path, repo_type="dataset", revision=commit)))

    wanted = list(paths)
    with clear_errors(repo_id, outcome="try again later"), ThreadPoolExecutor(_AT_ONCE) as threads:
        return dict(zip(wanted, threads.map(download, wanted), strict=True))


def content_of(path: Path) -> Mapping[str, Any]:
    """The content of a cell that others wrote; empty if it is not a JSON object."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
