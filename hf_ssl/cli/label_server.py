"""The page of `hf-ssl label`: a small server that only a browser on this machine can use.

    GET  /TOKEN/            the page (label_page.html, .css, .js)
    GET  /TOKEN/state       file, modality, classes, the labels of all rows
    GET  /TOKEN/row/N       the texts of a row, or its file's name
    GET  /TOKEN/media/N     its picture or recording
    POST /TOKEN/answer      {"row": N, "label": NAME}; on the disk when it is answered
    POST /TOKEN/undo        {}
    POST /TOKEN/end         {}

It listens on 127.0.0.1 alone. Other sites in the same browser can send requests there, too: the token in the address,
which they cannot know, the checks of Host (against names that are made to point here) and Origin, and JSON bodies, for
which a browser asks first, keep them out. Files are served by the number of their row, never by a path.
"""

import hmac
import io
import json
import secrets
import threading
import webbrowser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..limits import LARGEST_FILE, check_file
from .labeling import Labeling

# What browsers show and play by themselves; other files are converted.
_SHOWN = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".gif": "gif", ".webp": "webp", ".avif": "avif"}
_PLAYED = {".wav": "wav", ".mp3": "mpeg", ".flac": "flac", ".ogg": "ogg", ".opus": "ogg"}
_PAGE = {"": "text/html", "label_page.css": "text/css", "label_page.js": "text/javascript"}
_POLICY = "; ".join(
    [
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "img", "media", "connect")),
        *(f"{kind} 'none'" for kind in ("base-uri", "form-action", "frame-ancestors")),
    ]
)
# Bytes of a request's body.
_MOST = 10_000


class LabelServer(ThreadingHTTPServer):
    """The server of one labeling.

    Args:
        labeling: what is labeled.

    Attributes:
        address: of the page, with its token.

    Example:
        >>> import tempfile
        >>> from hf_ssl.cli.label_file import LabelFile
        >>> path = Path(tempfile.mkdtemp(), "rows.csv")
        >>> _ = path.write_text("text,label\\na rose,\\n")
        >>> with LabelFile(path) as file, LabelServer(Labeling(file)) as server:
        ...     server.address  # doctest: +ELLIPSIS
        'http://127.0.0.1:.../.../'
    """

    daemon_threads = True

    def __init__(self, labeling: Labeling):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.labeling = labeling
        self.token = secrets.token_urlsafe(24)
        self.address = f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def handle_error(self, *_: Any) -> None:
        """A browser that closes a connection early is no event."""

    def state(self) -> dict[str, Any]:
        """What the page has to know."""
        file = self.labeling.file
        return {
            "name": file.path.name,
            "modality": file.modality,
            "classes": self.labeling.classes,
            "labels": file.labels,
        }


def label_in_browser(labeling: Labeling, open_browser: bool = True) -> None:
    """Serve the page until it says that it is done, or Ctrl-C."""
    with LabelServer(labeling) as server:
        print(f"Label in the browser:  {server.address}")
        print("It can be opened on this machine only. Ctrl-C, or `Finish` in the page, ends it.", flush=True)
        if open_browser:
            # In a thread: a browser in the terminal would keep the server from answering.
            threading.Thread(target=_open, args=(server.address,), daemon=True).start()
        server.serve_forever(poll_interval=0.1)


def _open(address: str) -> None:
    try:
        opened = webbrowser.open(address)
    except webbrowser.Error:
        opened = False
    if not opened:
        print("No browser was found; open the address yourself, or label with --terminal.", flush=True)


class _Refused(Exception):
    """A request that is not answered, with its status and a line."""

    def __init__(self, status: HTTPStatus, line: str):
        super().__init__(line)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: LabelServer
    protocol_version = "HTTP/1.1"
    timeout = 60
    server_version, sys_version = "hf-ssl", ""

    def do_GET(self) -> None:
        self._answered(self._get)

    def do_POST(self) -> None:
        self._answered(self._post)

    def log_message(self, *_: Any) -> None:
        """Nothing: the terminal belongs to the person."""

    def _answered(self, work: Any) -> None:
        try:
            kind, content = work(self._path())
            self._send(HTTPStatus.OK, kind, content)
        except _Refused as refused:
            self.close_connection = True
            self._send(refused.status, "application/json", _json({"error": str(refused)}))
        except (ValueError, OSError) as error:
            self._send(HTTPStatus.CONFLICT, "application/json", _json({"error": str(error)}))

    def _path(self) -> str:
        """What is asked for, behind the token.

        Raises:
            _Refused: if the request does not come from the page.
        """
        here = f"127.0.0.1:{self.server.server_port}"
        if self.headers.get("Host") != here:
            raise _Refused(HTTPStatus.FORBIDDEN, f"the page is at {here} only")
        if self.headers.get("Origin", f"http://{here}") != f"http://{here}":
            raise _Refused(HTTPStatus.FORBIDDEN, "another site asked")
        token, _, path = self.path.partition("?")[0].lstrip("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            raise _Refused(HTTPStatus.NOT_FOUND, "open the address that the terminal shows")
        return path

    def _get(self, path: str) -> tuple[str, bytes]:
        if path in _PAGE:
            return f"{_PAGE[path]}; charset=utf-8", files(__package__).joinpath(path or "label_page.html").read_bytes()
        if path == "state":
            return "application/json", _json(self.server.state())
        what, _, number = path.partition("/")
        if what not in ("row", "media") or not (number.isascii() and number.isdecimal()):
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such page")
        file, row = self.server.labeling.file, int(number)
        if row >= len(file):
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such row")
        if what == "row":
            return "application/json", _json({"shown": file.shown(row)})
        if file.modality == "text":
            raise _Refused(HTTPStatus.NOT_FOUND, "texts have no file")
        return media(file.file_of(row), file.modality)

    def _post(self, path: str) -> tuple[str, bytes]:
        labeling, sent = self.server.labeling, self._body()
        if path == "answer":
            row, label = sent.get("row"), sent.get("label")
            if not isinstance(row, int) or not isinstance(label, str):
                raise _Refused(HTTPStatus.BAD_REQUEST, "row must be a number and label a text")
            labeling.answer(row, label)
            return "application/json", _json({"row": row, **self.server.state()})
        if path == "undo":
            return "application/json", _json({"row": labeling.undo(), **self.server.state()})
        if path == "end":
            threading.Thread(target=self.server.shutdown, daemon=True).start()
            return "application/json", _json({})
        raise _Refused(HTTPStatus.NOT_FOUND, "there is no such page")

    def _body(self) -> dict[str, Any]:
        # A form of another site cannot have this type without the browser asking here first.
        if self.headers.get("Content-Type") != "application/json":
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send JSON")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MOST:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send at most {_MOST:,} bytes")
        try:
            sent = json.loads(self.rfile.read(int(length)))
        except ValueError:
            sent = None
        if not isinstance(sent, dict):
            raise _Refused(HTTPStatus.BAD_REQUEST, "send a JSON object")
        return sent

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Content-Security-Policy": _POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def media(path: Path, modality: str) -> tuple[str, bytes]:
    """The type and the bytes of a picture or recording that a browser can show or play.

    Raises:
        ValueError, OSError: in one line, if it cannot be read.
    """
    suffix = path.suffix.lower()
    known = _SHOWN if modality == "image" else _PLAYED
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path.name}")
    check_file(path, LARGEST_FILE)
    if suffix in known:
        return f"{modality}/{known[suffix]}", path.read_bytes()
    found = io.BytesIO()
    if modality == "image":
        from ..errors import BrokenExampleError
        from ..views.image_decoding import decode_image

        try:
            decode_image(str(path)).save(found, "PNG")
        except BrokenExampleError as error:
            raise ValueError(str(error)) from None
        return "image/png", found.getvalue()
    import soundfile

    try:
        wave, rate = soundfile.read(path)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path.name} cannot be played: {error}") from None
    soundfile.write(found, wave, rate, format="WAV")
    return "audio/wav", found.getvalue()
