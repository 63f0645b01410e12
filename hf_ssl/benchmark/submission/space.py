"""The leaderboard: the report's page as a static Space, for anyone to open."""

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import HfApi, SpaceCardData, constants, get_token

from ...files import is_local
from ...hub.spaces import push_space
from ...hub.upload import check_secrets
from ..grid.remote_results import fetch, remote_cells
from ..leaderboard.page import render_page
from ..leaderboard.runs import load_results
from ..leaderboard.scopes import scopes
from .submit import checked_cells

PAGE = "index.html"
_TITLE = "Semi-supervised learning leaderboard"
# By this sentence a Space of ours is known again, and no other page is ever replaced.
_MARK = "This page is made by `hf-ssl benchmark leaderboard`"


class Leaderboard(NamedTuple):
    """What `push_leaderboard` has done.

    Args:
        url: address of the Space.
        cells: how many finished cells are in it.
        changed: whether there was anything new to upload.
    """

    url: str
    cells: int
    changed: bool


def push_leaderboard(results: str | Path, space: str, *, private: bool = False) -> Leaderboard:
    """Make the page of `hf-ssl benchmark report` from a results folder or repository, and push it as a static Space.

    The page holds finished cells alone, which are checked as for a submission. The Space is created if it does not
    exist. The token is that of `hf auth login`, or of the environment variable HF_TOKEN.

    Args:
        results: a results folder, or the id of a results repository on the Hub.
        space: ACCOUNT/NAME of the Space.
        private: create a private Space.

    Raises:
        FileNotFoundError: if there is no such folder, or no finished cell.
        ValueError: in one line, if a cell is not valid, or the Space holds something else, or is public and should
            not be.
        OSError: in one line, if the Hub refuses or cannot be reached; nothing is published then.
    """
    api = HfApi()
    repo_id = None if Path(results).is_dir() else _repository(str(results))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if repo_id is None:
            cells = checked_cells(Path(results))
        else:
            commit, there = remote_cells(api, repo_id)
            cells = fetch(api, repo_id, there, commit)
        for path, file in cells.items():
            copied = folder / "results" / path
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copied)
        # Of a repository, too: cells that were not submitted by this package may hold anything.
        cells = checked_cells(folder / "results")
        found = load_results(folder / "results")
        page = folder / PAGE
        page.write_text(render_page(found, scopes(found), runs_at=_files_at(repo_id)), encoding="utf-8")
        check_secrets(page, get_token())
        pushed = push_space(
            space,
            {PAGE: page.read_bytes()},
            _card(repo_id),
            sdk="static",
            mark=_MARK,
            what="a leaderboard",
            message="Results",
            private=private,
        )
    return Leaderboard(pushed.url, len(cells), pushed.changed)


def _repository(name: str) -> str:
    if is_local(name) or name.count("/") != 1:
        raise FileNotFoundError(
            f"RESULTS must be a folder of results or the id of a dataset repository, got {name}; "
            "`hf-ssl benchmark run` writes a folder"
        )
    return name


def _files_at(repo_id: str | None) -> str | None:
    """Where each number of the page leads to; None if there is no such place, or no safe way there."""
    if repo_id is None or not constants.ENDPOINT.startswith("https://"):
        return None
    return f"{constants.ENDPOINT}/datasets/{repo_id}/blob/main/"


def _card(repo_id: str | None) -> bytes:
    """README.md of the Space: what it is, and how it is made."""
    data = SpaceCardData(
        title=_TITLE,
        emoji="🏷️",
        colorFrom="blue",
        colorTo="green",
        sdk="static",
        app_file=PAGE,
        pinned=False,
        datasets=[repo_id] if repo_id else None,
        tags=["leaderboard", "semi-supervised-learning", "hf-ssl"],
    )
    source = f" from the cells in [{repo_id}]({constants.ENDPOINT}/datasets/{repo_id})" if repo_id else ""
    return f"---\n{data.to_yaml()}\n---\n\n# {_TITLE}\n\n{_MARK}{source}.\n".encode()
