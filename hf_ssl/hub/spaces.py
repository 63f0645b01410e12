"""Spaces: pages and apps that a push creates or brings up to date, and never anyone else's."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import HfApi

from .errors import clear_errors
from .repositories import create_repository, filled_or_gone
from .requests import patiently
from .upload import CARD, commit_files

# Of the page that the Hub puts into a new Space.
_OF_A_NEW_SPACE = ("index.html", "style.css")


class PushedSpace(NamedTuple):
    """What `push_space` has done.

    Args:
        url: address of the Space.
        changed: whether there was anything new to upload.
    """

    url: str
    changed: bool


def push_space(
    repo_id: str,
    files: Mapping[str, Path | bytes],
    card: bytes,
    *,
    sdk: str,
    mark: str,
    what: str,
    message: str,
    private: bool = False,
    is_stale: Callable[[str], bool] | None = None,
) -> PushedSpace:
    """Commit the files of a Space, which is created if it does not exist; it is gone again if nothing could be sent.

    Args:
        repo_id: ACCOUNT/NAME of the Space.
        files: path in the Space -> a local file, or the content.
        card: its README.md; that of a Space that exists may have been edited, and stays.
        sdk: "static" or "gradio".
        mark: a sentence in the README.md of every Space of this kind.
        what: such a Space in words, for the error about another one.
        message: title of the commit.
        private: create a private Space.
        is_stale: whether a file of the Space that is not among `files` is to be deleted.

    Raises:
        ValueError: if the Space holds something else, or is public and should not be.
        OSError: in one line, if the Hub refuses or cannot be reached; nothing is published then.
    """
    api = HfApi()
    made = create_repository(api, repo_id, "space", private or None, sdk)
    with filled_or_gone(api, made, "space"):
        with clear_errors(repo_id):
            before = patiently(lambda: api.space_info(made.url.repo_id))
        if private and not before.private:
            raise ValueError(f"{made.url} exists and is public; make it private first")
        if made.is_new:
            files = {**files, CARD: card}
        else:
            _check_ours(api, repo_id, mark, what)

        def is_old(name: str) -> bool:
            if name == CARD:
                return False
            return (made.is_new and name in _OF_A_NEW_SPACE) or (is_stale is not None and is_stale(name))

        after = commit_files(repo_id, "space", files, message, is_stale=is_old)
    return PushedSpace(str(made.url), after.oid != before.sha)


def _check_ours(api: HfApi, repo_id: str, mark: str, what: str) -> None:
    with clear_errors(repo_id):
        files = patiently(lambda: api.list_repo_files(repo_id, repo_type="space"))
        card = ""
        if CARD in files:
            path = patiently(lambda: api.hf_hub_download(repo_id, CARD, repo_type="space"))
            card = Path(path).read_text(encoding="utf-8", errors="replace")
    if mark not in card:
        raise ValueError(
            f"{repo_id} must be {what} of hf-ssl, got a Space with another page, which would be lost; give "
            "another name"
        )
