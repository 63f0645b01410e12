"""Requests to the Hub that end: each has a time limit, and answers that lead elsewhere or nowhere are refused."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from huggingface_hub import constants, get_session
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import parse_ratelimit_headers

T = TypeVar("T")

# Seconds in which a connection must be there, and after which an answer that has stopped coming is given up.
TIMEOUT = 60.0
# Seconds that are waited if the Hub says when it takes the next request; and if it does not say.
LONGEST_WAIT, _USUAL_WAIT = 60, 5
_TRIES = 5
# Statuses after which the client tries again by itself, as late as the Hub says.
_TRY_LATER = (408, 429, 500, 502, 503, 504)
_PARTS = ("connect", "read", "write", "pool")

# The blocks of `guarded` in progress, in all threads, since uploads are made in threads of their own: whether each
# follows redirects.
_guards: list[bool] = []
_lock = threading.Lock()
# What was said of the requests since the last answer, none of which had one; and how many of them are enough.
_silences: list[str] = []
_SILENCES = 3


class RefusedAnswer(OSError):
    """An answer that is not followed, waited for or read; the message says what it was, and what to do."""


@contextmanager
def guarded(follow: bool = False) -> Iterator[None]:
    """Watch the requests that huggingface_hub makes in this block, in whichever thread.

    A request without a time limit gets `TIMEOUT`, and after three in a row without an answer none is made any more.
    `RefusedAnswer` is raised for a redirect of an API call to another
    host (where nothing is sent), for a web page in place of JSON, and if the Hub asks to wait for longer than
    `LONGEST_WAIT`.

    Args:
        follow: let what is only read be redirected to another host, as mirrors of the Hub do; the client does not send
            the token there.
    """
    with _lock:
        _guards.append(follow)
        client = get_session()
        hooks = client.event_hooks
        if len(_guards) == 1:
            _silences.clear()
        if _limit not in hooks["request"]:
            # Of this client, which may be one of the user: `set_client_factory` would replace it.
            client.event_hooks = {
                "request": [*hooks["request"], _limit],
                "response": [*hooks["response"], _check],
            }
            client.send = _counting_silences(client.send)  # type: ignore[method-assign]  # of this client
    try:
        yield
    finally:
        with _lock:
            _guards.remove(follow)


def patiently(call: Callable[[], T]) -> T:
    """The result of a call to the Hub, which is made again if the Hub asks to wait for a short time (HTTP 429).

    The client itself waits in some of its calls, but neither to create a repository nor to commit.
    """
    with guarded():
        for _ in range(_TRIES - 1):
            try:
                return call()
            except HfHubHTTPError as error:
                if error.response is None or error.response.status_code != 429:
                    raise
                wait = seconds_to_wait(error.response.headers)
            time.sleep(_USUAL_WAIT if wait is None else wait)
        return call()


def seconds_to_wait(headers: Any) -> float | None:
    """How long the Hub asks to wait, from its `Retry-After` or `ratelimit` header; None if it does not say.

    Example:
        >>> [seconds_to_wait(headers) for headers in ({"Retry-After": "3"}, {"ratelimit": '"api";r=0;t=55'}, {})]
        [3.0, 55.0, None]
    """
    limit = parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    said = next((value.strip() for name, value in headers.items() if name.lower() == "retry-after"), "")
    if said.isdigit():
        return float(said)
    try:
        return max((parsedate_to_datetime(said) - datetime.now().astimezone()).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return None


def _counting_silences(send: Callable[..., Any]) -> Callable[..., Any]:
    """A client's `send` that gives up after `_SILENCES` requests in a row without an answer.

    The client tries each request six times, and files are looked for under many names: all together would take hours.
    As if it were offline, it then takes what is in the cache.
    """

    def send_unless_silent(request: Any, *args: Any, **options: Any) -> Any:
        if _guards and len(_silences) >= _SILENCES:
            raise OfflineModeIsEnabled(f"{request.url.host} has not answered: {_silences[-1]}")
        try:
            answer = send(request, *args, **options)
        except HTTPError as error:
            # The HTTP library is not the same in all versions of the client.
            if "Timeout" in type(error).__name__:
                _silences.append(str(error) or type(error).__name__)
            raise
        _silences.clear()
        return answer

    return send_unless_silent


def _limit(request: Any) -> None:
    """Give a request a time limit where it has none; most calls of the client state that they want none."""
    if _guards:
        given = request.extensions.get("timeout") or {}
        kept = {part: TIMEOUT if given.get(part) is None else given[part] for part in _PARTS}
        request.extensions = {**request.extensions, "timeout": kept}


def _check(response: Any) -> None:
    """Raise a `RefusedAnswer` for an answer of the Hub that is not one."""
    request, endpoint = response.request, urlsplit(constants.ENDPOINT)
    if not _guards or request.url.host != endpoint.hostname:
        return
    if response.status_code in _TRY_LATER:
        wait = seconds_to_wait(response.headers)
        if wait is not None and wait > LONGEST_WAIT:
            until = datetime.now() + timedelta(seconds=wait)
            raise RefusedAnswer(
                f"the Hub takes no more requests for now (HTTP {response.status_code}); try again in "
                f"{_in_words(wait)}, after {until:%Y-%m-%d %H:%M}"
            )
    path = request.url.path
    if not (path.startswith("/api/") or ".git/info/lfs/" in path):
        # Files are redirected to where they are stored; the client does not send the token there.
        return
    if response.has_redirect_location and (request.method not in ("GET", "HEAD") or not all(_guards)):
        target = request.url.join(response.headers["location"])
        if (target.host, target.port) != (request.url.host, request.url.port):
            raise RefusedAnswer(
                f"{constants.ENDPOINT} redirects to {target.scheme}://{target.netloc.decode()}, where nothing is "
                "sent; check HF_ENDPOINT, and whether the network asks for a login"
            )
    elif response.is_success and "html" in response.headers.get("content-type", ""):
        raise RefusedAnswer(
            f"{constants.ENDPOINT} answers with a web page and not as a Hub does; check HF_ENDPOINT, and whether the "
            "network asks for a login"
        )


def _in_words(seconds: float) -> str:
    """A duration for people, rounded up.

    Example:
        >>> _in_words(61), _in_words(100_000)
        ('2 minutes', '28 hours')
    """
    size, unit = (60, "minutes") if seconds <= 2 * 3600 else (3600, "hours")
    return f"{-(-seconds // size):.0f} {unit}"
