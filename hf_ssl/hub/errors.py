"""What goes wrong with the Hub and with the network, in one line that says what to do."""

import contextlib
import re
from collections.abc import Iterator
from json import JSONDecodeError

from huggingface_hub import constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HTTPError, RepositoryNotFoundError

from .requests import RefusedAnswer, guarded

_OUTCOME = "nothing was published, try again later"
# What the client raises for answers that are not JSON, or lack what the Hub's have.
_UNREADABLE = (JSONDecodeError, KeyError, TypeError, AttributeError)
# Words of the Hub about what an account may store or pay for, which another access token does not change.
_QUOTA = re.compile(r"quota|storage|billing|payment|(space|size|rate) limit|limit (reached|exceeded)|exceeded", re.I)


@contextlib.contextmanager
def clear_errors(subject: str, token: str | None = None, outcome: str = _OUTCOME) -> Iterator[None]:
    """Turn errors of the Hub and of the network into errors of one line; arguments as in `explain`.

    Requests in the block are `guarded`.

    Raises:
        PermissionError: if the access token is missing, unknown or may not write there.
        OSError: for all other errors of the Hub or the network.

    Example:
        >>> with clear_errors("someone/model"):
        ...     raise ConnectionError("connection refused")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        OSError: someone/model: ...
    """
    try:
        with guarded():
            yield
    except (HTTPError, OSError, RuntimeError, ValueError, *_UNREADABLE) as error:
        cause = _cause(error)
        if not isinstance(cause, HTTPError | ConnectionError | RefusedAnswer) and not _is_unreadable(cause):
            raise
        refused = getattr(getattr(cause, "response", None), "status_code", None) in (401, 403)
        raise (PermissionError if refused else OSError)(explain(cause, subject, token, outcome)) from error


def _is_unreadable(error: BaseException) -> bool:
    # The client itself checks one kind of answer.
    return isinstance(error, _UNREADABLE) or "improperly formatted" in str(error)


def _cause(error: BaseException) -> BaseException:
    """The network's error behind a failed upload, which the client reports as a RuntimeError."""
    return error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ is not None else error


def explain(error: BaseException, subject: str, token: str | None = None, outcome: str = _OUTCOME) -> str:
    """One line about an error of the Hub: what happened, and what to do.

    Args:
        error: of the Hub's client, or of the network.
        subject: what the line begins with, such as the id of the repository.
        token: the one that was used, unless it was that of `hf auth login` or HF_TOKEN.
        outcome: the resulting state and what to do, if the Hub is at fault.
    """
    error = _cause(error)
    status = error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else None
    if isinstance(error, RefusedAnswer):
        return f"{subject}: {error}"
    if _is_unreadable(error):
        return (
            f"{subject}: {constants.ENDPOINT} answers, but not as a Hub does ({_said(error)}); check HF_ENDPOINT, or "
            "try again later"
        )
    if status in (402, 403, 413) and _QUOTA.search(_message(error)):
        return (
            f"{subject}: the account has reached a limit of the Hub ({_message(error)}); free space or raise the "
            "limit in its settings, or use another account"
        )
    if status in (401, 403):
        return f"{subject}: {_explain_refusal(error, status, token)}"
    if isinstance(error, RepositoryNotFoundError):
        return f"{subject} does not exist on the Hub, or is private and this access token may not read it"
    if status is not None and status >= 500:
        return f"{subject}: the Hub has trouble (HTTP {status}); {outcome}"
    if status is not None:
        return f"{subject}: the Hub refused (HTTP {status}): {_said(error)}"
    if constants.HF_HUB_OFFLINE:
        return f"{subject}: HF_HUB_OFFLINE is set, so nothing is sent; unset it to publish"
    return f"{subject}: the connection to {constants.ENDPOINT} failed ({_said(error)}); {outcome}"


def _said(error: BaseException) -> str:
    """What an error says, in one line; its type if that is nothing, or only a key."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if isinstance(error, KeyError) else said or type(error).__name__


def _message(error: BaseException) -> str:
    """What the Hub itself says in an error."""
    headers = error.response.headers if isinstance(error, HfHubHTTPError) and error.response is not None else {}
    said = getattr(error, "server_message", None) or headers.get("X-Error-Message") or ""
    return " ".join(said.split()).rstrip(".")


def _explain_refusal(error: BaseException, status: int, token: str | None) -> str:
    if status == 401 and not (token or get_token()):
        return "no access token; log in with `hf auth login`, or set HF_TOKEN"
    if status == 401 and "Invalid credentials" in str(error):
        return (
            "the Hub does not know this access token; make one with write permission on its settings page, then "
            "`hf auth login`, or set HF_TOKEN"
        )
    return "this access token may not write there; use one with write permission, or another account"
