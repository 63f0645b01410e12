"""The page of `hf-ssl label`: who may ask, what is answered, and that an answer is on the disk by then."""

import http.client
import io
import json
import os
import signal
import subprocess
import sys
import threading

import pytest
import soundfile
from PIL import Image

from hf_ssl.cli.label_file import LabelFile
from hf_ssl.cli.label_server import LabelServer
from hf_ssl.cli.labeling import Labeling

from tests.helpers.command_data import write_csv, write_image, write_sound

HOSTILE = '<img src=x onerror="document.title=1">'


class Client:
    """Requests as a browser sends them, with the changes that a test makes."""

    def __init__(self, server):
        self.server, self.path = server, f"/{server.token}"

    def __call__(self, method, path, sent=None, headers=()):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=20)
        usual = {"Content-Type": "application/json"} if method == "POST" else {}
        body = sent if isinstance(sent, bytes) else None if sent is None else json.dumps(sent).encode()
        connection.request(method, path, body, {**usual, **dict(headers)})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content

    def get(self, what, **headers):
        return self("GET", f"{self.path}/{what}", headers=headers)

    def post(self, what, sent, **headers):
        answer, content = self(
            "POST", f"{self.path}/{what}", sent, {k.replace("_", "-"): v for k, v in headers.items()}
        )
        return answer.status, json.loads(content)


@pytest.fixture
def serve():
    running = []

    def served(path, classes=()):
        file = LabelFile(path)
        server = LabelServer(Labeling(file, classes))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((file, server, thread))
        return Client(server)

    yield served
    for file, server, thread in running:
        server.shutdown()
        thread.join(timeout=20)
        server.server_close()
        file.close()


@pytest.fixture
def texts(tmp_path, serve):
    path = write_csv(tmp_path / "rows.csv", [("a rose", ""), (HOSTILE, ""), ("the sky", "blue")])
    return path, serve(path, ["red"])


def test_an_answer_is_on_the_disk_when_it_is_answered(texts):
    path, client = texts
    status, state = client.post("answer", {"row": 0, "label": " pink  rose "})
    assert status == 200 and state["labels"] == ["pink rose", "", "blue"]
    assert state["classes"] == ["red", "blue", "pink rose"]
    assert path.read_text().splitlines()[1] == "a rose,pink rose"
    assert client.post("undo", {})[1]["row"] == 0 and path.read_text().splitlines()[1] == "a rose,"
    assert client.post("undo", {})[1]["row"] is None


def test_the_page_and_its_state(texts):
    _, client = texts
    for name, kind in (("", "text/html"), ("label_page.css", "text/css"), ("label_page.js", "text/javascript")):
        answer, content = client.get(name)
        assert answer.status == 200 and answer.headers["Content-Type"].startswith(kind) and content
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    state = json.loads(client.get("state")[1])
    assert state["modality"] == "text" and state["name"] == "rows.csv" and state["labels"] == ["", "", "blue"]
    assert json.loads(client.get("row/1")[1]) == {"shown": [HOSTILE]}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost:1"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_requests_of_other_sites_are_refused(texts, headers, status):
    path, client = texts
    before = path.read_bytes()
    assert client.post("answer", {"row": 0, "label": "x"}, **headers)[0] == status
    assert path.read_bytes() == before


@pytest.mark.parametrize("path", ["/", "/state", "/wrong/state", "/%2e%2e/state", "//"])
def test_nothing_is_told_without_the_token(texts, path):
    answer, content = texts[1]("GET", path)
    assert answer.status == 404 and b"rose" not in content


@pytest.mark.parametrize(
    "what", ["row/9", "row/-1", "row/x", "media/0", "media/../rows.csv", "../rows.csv", "label.py"]
)
def test_nothing_but_rows_is_served(texts, what):
    answer, content = texts[1].get(what)
    assert answer.status == 404 and b"text,label" not in content


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"row": 9, "label": "x"}, 409),
        ({"row": 0, "label": " "}, 409),
        ({"row": "0", "label": "x"}, 400),
        ({"row": 0}, 400),
        ([], 400),
        (b"{", 400),
        (b"x" * 20_000, 413),
    ],
)
def test_a_request_that_makes_no_sense_changes_nothing(texts, sent, status):
    path, client = texts
    before = path.read_bytes()
    found, answer = client.post("answer", sent)
    assert found == status and answer["error"] and path.read_bytes() == before


def test_pictures_of_all_kinds_are_shown(tmp_path, serve):
    names = [write_image(tmp_path / f"a picture.{kind}", "red").name for kind in ("png", "jpg", "tiff", "bmp")]
    (tmp_path / "broken.tiff").write_bytes(b"II*\0")
    client = serve(
        write_csv(
            tmp_path / "rows.csv", [(name, "") for name in [*names, "broken.tiff", "gone.png"]], ("image", "label")
        )
    )
    for row in range(4):
        answer, content = client.get(f"media/{row}")
        assert answer.headers["Content-Type"] in ("image/png", "image/jpeg")
        assert Image.open(io.BytesIO(content)).size == (16, 14)
    assert [client.get(f"media/{row}")[0].status for row in (4, 5)] == [409, 409]


def test_recordings_of_all_kinds_are_played(tmp_path, serve):
    names = [write_sound(tmp_path / f"{kind}.{kind}", "high").name for kind in ("wav", "flac", "aiff")]
    client = serve(write_csv(tmp_path / "rows.csv", [(name, "") for name in names], ("audio", "label")))
    for row in range(3):
        answer, content = client.get(f"media/{row}")
        assert answer.headers["Content-Type"] in ("audio/wav", "audio/flac")
        assert len(soundfile.read(io.BytesIO(content))[0]) == 4_000


@pytest.mark.slow
@pytest.mark.multiprocess
def test_a_kill_loses_no_answer_and_frees_the_file(tmp_path):
    path = write_csv(tmp_path / "rows.csv", [(f"text {i}", "") for i in range(6)])
    command = [sys.executable, "-m", "hf_ssl.cli", "label", str(path), "--classes", "x,y", "--terminal"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    try:
        for _ in range(4):
            process.stdin.write("2\n")
            process.stdin.flush()
        answered = 0
        while answered < 4:
            line = process.stdout.readline()
            assert line, "it ended early"
            answered += line.startswith(("> y (", "y ("))
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait(timeout=60)
        process.stdin.close()
        process.stdout.close()
    with LabelFile(path) as file:
        assert file.labels == ["y"] * 4 + [""] * 2
