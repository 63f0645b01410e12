"""A Hub on 127.0.0.1, as much of it as publishing and loading a repository of a model or dataset needs.

with LoopbackHub() as hub:
    run_client(hub.environment(folder))   # real clients in another process: they read HF_ENDPOINT when imported
    hub.repositories["someone/usb-x"].files
    hub.fail("/commit/", times=3)            # the next three commits are answered 500
    hub.fail("/upload/", times=1, die=True)  # the next upload is cut off, and the server answers nobody until `revive`
    hub.fail("/commit/", times=1, status=429, Retry_After="3", message="slow down")
    hub.fail("/commit/", times=1, status=200, body="<html>", Content_Type="text/html")
    hub.fail("/commit/", times=1, hang=20)   # no answer for 20 seconds

A client does the same with `GET /control/fail?path=/commit/&times=3` and `GET /control/revive`.
"""

import base64
import fnmatch
import hashlib
import json
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from tests.helpers.loopback_cards import card_errors
from tests.helpers.loopback_collections import COLLECTION_ROUTES, CollectionHandlers
from tests.helpers.loopback_jobs import JOB_ROUTES, Job, JobHandlers

TOKEN = "hf_loopback_0123456789"
READ_TOKEN = "hf_loopback_read_only"
_PREFIXES = {"model": "", "dataset": "datasets/", "space": "spaces/"}


@dataclass
class Repository:
    """What a repository holds; `commits` are (title, files) in order, `kind` is "model", "dataset" or "space".

    `pulls` are the open pull requests: title, description and the files that each would leave.
    """

    private: bool = False
    kind: str = "dataset"
    files: dict[str, bytes] = field(default_factory=dict)
    pulls: list[dict] = field(default_factory=list)
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=lambda: [("initial commit", {})])

    @property
    def sha(self) -> str:
        return hashlib.sha1(f"{len(self.commits)}".encode()).hexdigest()


class LoopbackHub:
    """Use it in a `with` block.

    `repositories`: id -> `Repository`; `collections`: slug -> the API's entry; `jobs`: id -> `Job`; `requests`:
    (method, path, token or None).
    """

    def __init__(self):
        self.repositories: dict[str, Repository] = {}
        self.collections: dict[str, dict] = {}
        self.objects: dict[str, bytes] = {}
        self.jobs: dict[str, Job] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.failures: dict[str, dict] = {}
        self.dead = False
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "LoopbackHub":
        # Half a second by default, which every test would wait at its end.
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        for job in self.jobs.values():
            job.cancel()
        self._server.shutdown()
        self._server.server_close()

    def fail(
        self,
        path: str,
        times: int,
        die: bool = False,
        after: int = 0,
        status: int = 500,
        hang: int = 0,
        message: str = "Internal Error - We're working hard to fix this as soon as possible!",
        body: str | None = None,
        **headers: str,
    ) -> None:
        """Answer `times` requests whose path has `path` in it with an error; the first `after` pass.

        Or stay dead, or let them wait for `hang` seconds, or answer with any status, body and headers.
        """
        answer = {"status": status, "message": message, "body": body, "headers": headers}
        self.failures[path] = {"times": times, "die": die, "after": after, "hang": hang, "answer": answer}

    def revive(self) -> None:
        """Answer again, and as before."""
        self.failures.clear()
        self.dead = False

    def _failing(self, path: str) -> dict | None:
        """What to do instead of answering: the plan that `fail` made; None: answer as usual."""
        if self.dead:
            return {"die": True}
        plan = next((plan for part, plan in self.failures.items() if plan["times"] and part in path), None)
        if plan is None:
            return None
        with self._lock:
            if plan["after"]:
                plan["after"] -= 1
                return None
            plan["times"] -= 1
            self.dead = plan["die"]
        return plan

    def environment(self, home: Path, token: str | None = TOKEN) -> dict[str, str]:
        """Variables for a client process with a cache of its own."""
        variables = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
        }
        return {**variables, "HF_TOKEN": token} if token else variables


class _Handler(CollectionHandlers, JobHandlers, BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if path == "/control/fail":
            numbers = ("times", "die", "after", "status", "hang")
            options = {key: int(value[0]) if key in numbers else value[0] for key, value in query.items()}
            self.hub.fail(**options)
            return self._json({})
        if path == "/control/revive":
            self.hub.revive()
            return self._json({})
        failing = self.hub._failing(path)
        if failing and failing["die"]:
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        self.hub.requests.append((self.command, path, token))
        if failing:
            return self._fail(failing)
        if token not in (None, TOKEN, READ_TOKEN):
            return self._error(401, None, "Invalid credentials in Authorization header")
        for method, pattern, name in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and self.command in method:
                if name in _WRITES and token is None:
                    return self._error(401, None, "Invalid username or password.")
                if name in _WRITES - {"whoami"} and token == READ_TOKEN:
                    return self._error(403, None, "Forbidden: this token may only read.")
                self.token, self.kind = (
                    token,
                    next((kind for kind in ("dataset", "space") if f"/{kind}s/" in f"{path}/"), "model"),
                )
                return getattr(self, name)(*found.groups(), body=body, query=query)
        return self._error(404, None, f"no such route: {self.command} {path}")

    def _fail(self, plan: dict) -> None:
        # Not `time.sleep`, which tests replace.
        threading.Event().wait(plan["hang"])
        answer = plan["answer"]
        if answer["body"] is None:
            return self._error(answer["status"], None, answer["message"], **answer["headers"])
        headers = dict(answer["headers"])
        kind = headers.pop("Content_Type", "application/json")
        return self._send(answer["body"].encode(), answer["status"], kind, **headers)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _answer

    def _send(self, content: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, content, status: int = 200) -> None:
        self._send(json.dumps(content).encode(), status)

    def _error(self, status: int, code: str | None, message: str, **headers: str) -> None:
        if code:
            headers["X_Error_Code"] = code
        self._send(json.dumps({"error": message}).encode(), status, X_Error_Message=message, **headers)

    def _repository(self, name: str) -> Repository | None:
        found = self.hub.repositories.get(unquote(name))
        if found is not None and found.private and self.token is None:
            self._error(401, "RepoNotFound", "Repository not found")
            return None
        if found is None or found.kind != self.kind:
            self._error(404, "RepoNotFound", "Repository not found")
            return None
        return found

    def whoami(self, body, query) -> None:
        self._json({"name": "someone", "type": "user", "orgs": [], "auth": {"accessToken": {"role": "write"}}})

    def create(self, body, query) -> None:
        asked = json.loads(body)
        name = f"{asked.get('organization') or 'someone'}/{asked['name'].split('/')[-1]}"
        kind = asked.get("type") or "model"
        url = f"{self.hub.url}/{_PREFIXES[kind]}{name}"
        if name in self.hub.repositories:
            return self._json({"error": f"You already created this {kind} repo", "url": url}, 409)
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.hub.repositories[name] = Repository(private=private, kind=kind)
        if kind == "space":
            # As the Hub does: a page to begin with.
            card = f"---\ntitle: {name.rpartition('/')[2]}\nsdk: {asked['sdk']}\n---\n"
            self.hub.repositories[name].files = {"README.md": card.encode(), "style.css": b"", "index.html": b"Hello"}
        return self._json({"url": url, "name": name})

    def delete(self, body, query) -> None:
        asked = json.loads(body)
        name = f"{asked.get('organization') or 'someone'}/{asked['name'].split('/')[-1]}"
        if self.hub.repositories.pop(name, None) is None:
            return self._error(404, "RepoNotFound", "Repository not found")
        return self._json({})

    def validate(self, body, query) -> None:
        errors = [{"message": message} for message in card_errors(json.loads(body)["content"])]
        self._json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def info(self, name, revision, body, query) -> None:
        if repository := self._repository(name):
            siblings = [
                {"rfilename": path, **self._entry(path, data)} for path, data in sorted(repository.files.items())
            ]
            licensed = re.search(r"^license: (\S+)$", repository.files.get("README.md", b"").decode(), re.MULTILINE)
            tags = [f"license:{licensed[1]}"] if licensed else []
            self._json(
                {"id": name, "sha": repository.sha, "private": repository.private, "siblings": siblings, "tags": tags}
            )

    def _entry(self, path: str, data: bytes) -> dict:
        entry = {"size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        entry["blobId"] = entry["oid"]
        if _is_lfs(path):
            digest = hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"oid": digest, "sha256": digest, "size": len(data), "pointerSize": 130}
        return entry

    def tree(self, name, revision, folder, body, query) -> None:
        if repository := self._repository(name):
            prefix = f"{unquote(folder)}/" if folder else ""
            entries = {}
            for path, data in sorted(repository.files.items()):
                if not path.startswith(prefix):
                    continue
                parts = path[len(prefix) :].split("/")
                if len(parts) > 1:
                    directory = prefix + parts[0]
                    entries[directory] = {"type": "directory", "path": directory, "oid": "0" * 40, "size": 0}
                if len(parts) == 1 or query.get("recursive", ["false"])[0].lower() in ("true", "1"):
                    entries[path] = {"type": "file", "path": path, **self._entry(path, data)}
            if prefix and not entries:
                return self._error(404, "EntryNotFound", "Entry not found", X_Repo_Commit=repository.sha)
            self._json(list(entries.values()))

    def paths_info(self, name, revision, body, query) -> None:
        if repository := self._repository(name):
            asked = parse_qs(body.decode()).get("paths", [])
            if body.startswith(b"{"):
                asked = json.loads(body)["paths"]
            rows = []
            for path in asked:
                if path in repository.files:
                    rows.append({"type": "file", "path": path, **self._entry(path, repository.files[path])})
                elif any(other.startswith(f"{path}/") for other in repository.files):
                    rows.append({"type": "directory", "path": path, "oid": "0" * 40, "size": 0})
            self._json(rows)

    def refs(self, name, body, query) -> None:
        if repository := self._repository(name):
            main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repository.sha}
            self._json({"branches": [main], "converts": [], "tags": [], "pullRequests": []})

    def preupload(self, name, revision, body, query) -> None:
        if repository := self._repository(name):
            files = []
            for asked in json.loads(body)["files"]:
                path = asked["path"]
                entry = {"path": path, "uploadMode": "lfs" if _is_lfs(path) else "regular", "shouldIgnore": False}
                if path in repository.files:
                    # By this the client sees what it need not send.
                    entry["oid"] = _object_id(path, repository.files[path])
                files.append(entry)
            self._json({"files": files})

    def lfs_batch(self, name, body, query) -> None:
        objects = []
        for asked in json.loads(body)["objects"]:
            entry = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.hub.objects:
                entry["actions"] = {"upload": {"href": f"{self.hub.url}/upload/{asked['oid']}"}}
            objects.append(entry)
        self._send(json.dumps({"transfer": "basic", "objects": objects}).encode(), kind="application/vnd.git-lfs+json")

    def upload(self, oid, body, query) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            return self._error(400, None, "the content does not match its name")
        self.hub.objects[oid] = body
        return self._send(b"")

    def commit(self, name, revision, body, query) -> None:
        repository = self._repository(name)
        if repository is None:
            return
        files, title, description = dict(repository.files), "", ""
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                title, description = value["summary"], value.get("description", "")
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif entry["key"] == "deletedFile":
                files.pop(value["path"], None)
            elif entry["key"] == "deletedFolder":
                files = {
                    path: data for path, data in files.items() if not path.startswith(value["path"].rstrip("/") + "/")
                }
        url = f"{self.hub.url}/{_PREFIXES[repository.kind]}{name}"
        answer = {"commitUrl": f"{url}/commit/{repository.sha}", "commitOid": repository.sha}
        if query.get("create_pr"):
            repository.pulls.append({"title": title, "description": description, "files": files})
            answer["pullRequestUrl"] = f"{url}/discussions/{len(repository.pulls)}"
            return self._json(answer)
        with self.hub._lock:
            repository.files = files
            repository.commits.append((title, files))
        self._json(answer | {"commitUrl": f"{url}/commit/{repository.sha}", "commitOid": repository.sha})

    def discussions(self, name, body, query) -> None:
        if repository := self._repository(name):
            found = [
                {"num": number, "title": pull["title"], "status": "open", "isPullRequest": True}
                | {"createdAt": "2026-01-01T00:00:00.000Z", "repo": {"name": name, "type": repository.kind}}
                | {"author": {"name": "someone"}}
                for number, pull in enumerate(repository.pulls, 1)
            ]
            self._json({"discussions": found, "count": len(found), "start": 0})

    def resolve(self, name, revision, path, body, query) -> None:
        repository = self._repository(name)
        if repository is None:
            return
        path = unquote(path)
        if path not in repository.files:
            return self._error(404, "EntryNotFound", "Entry not found", X_Repo_Commit=repository.sha)
        data = repository.files[path]
        headers = {
            "X_Repo_Commit": repository.sha,
            "ETag": f'"{hashlib.sha1(data).hexdigest()}"',
            "Accept_Ranges": "bytes",
        }
        if _is_lfs(path):
            headers |= {"X_Linked_Size": str(len(data)), "X_Linked_Etag": f'"{hashlib.sha256(data).hexdigest()}"'}
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not found:
            return self._send(data, kind="application/octet-stream", **headers)
        start, end = int(found[1]), int(found[2] or len(data) - 1)
        if start >= len(data):
            return self._send(b"", 416, Content_Range=f"bytes */{len(data)}", **headers)
        end = min(end, len(data) - 1)
        return self._send(
            data[start : end + 1],
            206,
            "application/octet-stream",
            Content_Range=f"bytes {start}-{end}/{len(data)}",
            **headers,
        )


def _is_lfs(path: str) -> bool:
    return any(fnmatch.fnmatch(path, pattern) for pattern in ("*.parquet", "*.safetensors", "*.pt", "*.png"))


def _object_id(path: str, data: bytes) -> str:
    """The name of a file's content: of an LFS file its SHA-256, of another one git's."""
    return (
        hashlib.sha256(data).hexdigest()
        if _is_lfs(path)
        else hashlib.sha1(b"blob %d\0%b" % (len(data), data)).hexdigest()
    )


_NAME, _REVISION, _KINDS = r"([\w.-]+/[\w.-]+)", r"([^/]+)", "models|datasets|spaces"
_WRITES = {"create", "delete", "preupload", "lfs_batch", "commit", "whoami", "create_collection", "add_item"}
_WRITES |= {"start_job", "cancel_job"}
_ROUTES = [
    ("GET", r"/api/whoami-v2", "whoami"),
    ("POST", r"/api/repos/create", "create"),
    ("DELETE", r"/api/repos/delete", "delete"),
    ("POST", r"/api/validate-yaml", "validate"),
    *COLLECTION_ROUTES,
    *JOB_ROUTES,
    ("GET", rf"/api/(?:{_KINDS})/{_NAME}/discussions", "discussions"),
    ("GET", rf"/api/(?:{_KINDS})/{_NAME}(?:/revision/{_REVISION})?", "info"),
    ("GET", rf"/api/(?:{_KINDS})/{_NAME}/tree/{_REVISION}(?:/(.+))?", "tree"),
    ("POST", rf"/api/(?:{_KINDS})/{_NAME}/paths-info/{_REVISION}", "paths_info"),
    ("GET", rf"/api/(?:{_KINDS})/{_NAME}/refs", "refs"),
    ("POST", rf"/api/(?:{_KINDS})/{_NAME}/preupload/{_REVISION}", "preupload"),
    ("POST", rf"/api/(?:{_KINDS})/{_NAME}/commit/{_REVISION}", "commit"),
    ("POST", rf"/(?:datasets/|spaces/)?{_NAME}\.git/info/lfs/objects/batch", "lfs_batch"),
    ("PUT", r"/upload/([0-9a-f]{64})", "upload"),
    (("GET", "HEAD"), rf"/(?:datasets/|spaces/)?{_NAME}/resolve/{_REVISION}/(.+)", "resolve"),
]
