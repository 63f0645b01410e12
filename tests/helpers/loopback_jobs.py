"""Jobs of the loopback Hub: what they were asked for, and, in a process of their own, the script that they run."""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

# Jobs of this flavor wait for a machine.
NEVER = "never"
ROOT = Path(__file__).resolve().parents[2]


class Job:
    """`spec` is what the client sent, `stage` and `output` how it went; `header` is the script's PEP 723 block."""

    def __init__(self, number: str, namespace: str, spec: dict):
        self.number, self.namespace, self.spec = number, namespace, spec
        self.stage, self.message, self.output, self.header = "SCHEDULING", None, "", ""
        self.process: subprocess.Popen | None = None

    def entry(self) -> dict:
        """As the API shows it: the values of secrets are not told."""
        shown = {key: self.spec.get(key) for key in ("command", "arguments", "environment", "flavor", "labels")}
        status = {"stage": self.stage, "message": self.message}
        owner = {"id": "0" * 24, "name": self.namespace, "type": "user"}
        secrets = dict.fromkeys(self.spec.get("secrets", {}))
        return {"id": self.number, "status": status, "owner": owner, "secrets": secrets, **shown}

    def run(self, environment: dict[str, str]) -> None:
        """`uv run [--with PACKAGE]... URL ARGUMENTS...` with this Python, whatever packages the script wants."""
        words = self.spec["command"][2:]
        while words[0] in ("--with", "--python"):
            words = words[2:]
        url, *arguments = words
        secrets = self.spec.get("secrets", {})
        asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {secrets['HF_TOKEN']}"})
        script = urllib.request.urlopen(asked).read().decode()
        self.header = re.search(r"^# /// script\n((?:#.*\n)+)# ///$", script, re.MULTILINE)[1]
        environment = {**environment, **self.spec["environment"], **secrets, "PYTHONPATH": str(ROOT)}
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "script.py").write_text(script)
            command = [sys.executable, "script.py", *arguments]
            streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            self.process = subprocess.Popen(command, cwd=folder, env=environment, **streams)
            self.stage = "RUNNING"
            self.output = self.process.communicate()[0]
        if self.stage == "RUNNING":
            self.stage = "COMPLETED" if self.process.returncode == 0 else "ERROR"

    def cancel(self) -> None:
        """Stop it, unless it has ended."""
        if self.stage in ("SCHEDULING", "RUNNING"):
            self.stage = "CANCELED"
            if self.process is not None:
                self.process.kill()


class JobHandlers:
    """Methods of the loopback Hub's handler."""

    def start_job(self, namespace, body, query) -> None:
        job = Job(f"{len(self.hub.jobs):024x}", namespace, json.loads(body))
        self.hub.jobs[job.number] = job
        home = tempfile.mkdtemp()
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        environment |= self.hub.environment(Path(home), token=None)
        if job.spec["flavor"] != NEVER:
            threading.Thread(target=job.run, args=(environment,), daemon=True).start()
        self._json(job.entry())

    def list_jobs(self, namespace, body, query) -> None:
        self._json([job.entry() for job in self.hub.jobs.values() if job.namespace == namespace])

    def job(self, namespace, number, body, query) -> None:
        found = self.hub.jobs.get(number)
        return self._json(found.entry()) if found else self._error(404, None, "Job not found")

    def cancel_job(self, namespace, number, body, query) -> None:
        self.hub.jobs[number].cancel()
        self._json({})


JOB_ROUTES = [
    ("POST", r"/api/jobs/([\w.-]+)", "start_job"),
    ("GET", r"/api/jobs/([\w.-]+)", "list_jobs"),
    ("GET", r"/api/jobs/([\w.-]+)/([0-9a-f]+)", "job"),
    ("POST", r"/api/jobs/([\w.-]+)/([0-9a-f]+)/cancel", "cancel_job"),
]
