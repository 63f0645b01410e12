"""Runs in a process of its own against a `LoopbackHub`: the clients read HF_ENDPOINT when they are imported.

run_client(hub, tmp_path / "home", "print(cli('push', ...))") runs the code with the names of this module, and returns
what it printed last, as JSON.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_client(hub, home: Path, code: str, *arguments: str, token: str | None = None, fails: bool = False):
    """What `code` passed to `tell`, run in a process with a cache of its own; its output must not hold the token."""
    from tests.helpers.loopback_hub import TOKEN

    token = TOKEN if token is None else token or None
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= hub.environment(home, token)
    environment["PYTHONPATH"] = str(ROOT)
    code = "from tests.helpers.hub_client import *\nbegin()\n" + code
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=home.parent, timeout=300)
    assert (done.returncode != 0) == fails, done.stdout[-3000:] + done.stderr[-6000:]
    for known in (TOKEN, token):
        assert not known or known not in done.stdout + done.stderr
    found = [line.removeprefix("TELL ") for line in done.stdout.splitlines() if line.startswith("TELL ")]
    return json.loads(found[-1]) if found else done.stdout + done.stderr


def check_private(files: dict[str, bytes], *secrets: str) -> None:
    """No file that is published holds a token, a secret, or arguments as a pickle."""
    from tests.helpers.loopback_hub import TOKEN

    for name, content in files.items():
        for secret in (TOKEN, *secrets):
            assert secret.encode() not in content, (name, secret)
        assert name.rpartition("/")[2] != "training_args.bin"


# ---- What the code may call ----


def begin() -> None:
    """Clients wait seconds before they try again: here they do not."""
    import datasets

    time.sleep = lambda seconds: None
    # These would look outside of the loopback Hub.
    datasets.config.USE_PARQUET_EXPORT = False
    datasets.disable_progress_bars()


def tell(content) -> None:
    """Hand something that JSON can hold to the test."""
    print("TELL " + json.dumps(content), flush=True)


def cli(*arguments: str) -> list:
    """[exit status, standard output, standard error] of `hf-ssl ...`."""
    from hf_ssl.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(list(map(str, arguments)))
        except SystemExit as stop:
            status = stop.code
    return [status, out.getvalue(), err.getvalue()]


def fail(path: str, times: int, **options: int | str) -> None:
    """See `LoopbackHub.fail`."""
    query = urllib.parse.urlencode({"path": path, "times": times, **options})
    urllib.request.urlopen(f"{os.environ['HF_ENDPOINT']}/control/fail?{query}").read()


def revive() -> None:
    """See `LoopbackHub.revive`."""
    urllib.request.urlopen(f"{os.environ['HF_ENDPOINT']}/control/revive").read()
