"""Repositories that a push creates, and that it leaves only if there is something in them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from huggingface_hub import HfApi, RepoUrl
from huggingface_hub.errors import HfHubHTTPError

from .errors import clear_errors
from .requests import guarded, patiently

logger = logging.getLogger(__name__)
# What is in a repository of each type that was created just now.
_OF_THE_HUB = {
    "model": {".gitattributes"},
    "dataset": {".gitattributes"},
    "space": {".gitattributes", "README.md", "index.html", "style.css"},
}


class Repository(NamedTuple):
    """A repository to push to.

    Args:
        url: its address, with its id as `url.repo_id`.
        is_new: whether it was created just now.
    """

    url: RepoUrl
    is_new: bool


def create_repository(
    api: HfApi, repo_id: str, repo_type: str = "model", private: bool | None = None, sdk: str = "static"
) -> Repository:
    """Create a repository unless it exists.

    Args:
        api: with the access token.
        repo_id: ACCOUNT/NAME.
        repo_type: "model", "dataset" or "space".
        private: None for the account's default.
        sdk: of a Space: "static" or "gradio".

    Raises:
        OSError: in one line, if the Hub refuses or cannot be reached.
    """

    def create(exist_ok: bool) -> RepoUrl:
        asked = sdk if repo_type == "space" else None
        return patiently(
            lambda: api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=exist_ok, space_sdk=asked)
        )

    with clear_errors(repo_id, api.token if isinstance(api.token, str) else None):
        try:
            return Repository(create(exist_ok=False), True)
        except HfHubHTTPError as error:
            # It exists; or the token may not create repositories, but write to this one.
            if error.response is None or error.response.status_code not in (401, 403, 409):
                raise
        return Repository(create(exist_ok=True), False)


@contextmanager
def filled_or_gone(api: HfApi, repository: Repository, repo_type: str = "model") -> Iterator[None]:
    """Delete a repository that is new and still empty if the block fails: nobody should find an empty page.

    Raises:
        BaseException: whatever the block raises.
    """
    try:
        yield
    except BaseException:
        if repository.is_new:
            discard_if_empty(api, repository.url, repo_type)
        raise


def discard_if_empty(api: HfApi, url: RepoUrl, repo_type: str = "model") -> bool:
    """Delete a repository if it holds nothing but what the Hub itself puts there; a warning if that fails.

    Returns:
        whether it is gone.
    """
    try:
        with guarded():
            if set(api.list_repo_files(url.repo_id, repo_type=repo_type)) - _OF_THE_HUB[repo_type]:
                return False
            api.delete_repo(url.repo_id, repo_type=repo_type, missing_ok=True)
    except Exception:  # the failed push is what has to be told
        logger.warning(f"{url} may be empty and could not be deleted; push again, or delete it there")
        return False
    return True
