"""What may answer to a push instead of the Hub: each ends in one line, and leaves no empty repository."""

import json
import re
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from huggingface_hub import HfApi, close_session, constants, file_download, get_session

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.cli import main
from hf_ssl.hub import requests
from hf_ssl.hub.repositories import create_repository, filled_or_gone
from hf_ssl.hub.requests import RefusedAnswer, guarded, patiently, seconds_to_wait
from hf_ssl.hub.upload import commit_files

from tests.helpers.command_data import save_model
from tests.helpers.loopback_hub import READ_TOKEN, TOKEN, LoopbackHub, Repository
from tests.helpers.tiny_tasks import new_model, task

REPO = "someone/name"
FILES = {"README.md": b"# A card", "model.safetensors": b"weights"}
# All requests of a push, in their order.
REQUESTS = ["/repos/create", "/api/models/", "/preupload/", "/objects/batch", "/upload/", "/commit/"]


@pytest.fixture
def waits(monkeypatch):
    """What was waited for, in seconds; nothing is."""
    found = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


@pytest.fixture
def hub(monkeypatch, waits):
    for name, value in {"HF_HUB_DISABLE_XET": True, "HF_HUB_OFFLINE": False}.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with LoopbackHub() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        close_session()
        yield running
        close_session()


def push(token=TOKEN):
    """As `hf-ssl push` does it, without a model."""
    api = HfApi(token=token)
    made = create_repository(api, REPO)
    with filled_or_gone(api, made):
        return commit_files(REPO, "model", FILES, "message", is_stale=lambda name: False, token=token)


def state(hub):
    """None without a repository, or its files."""
    return hub.repositories[REPO].files if REPO in hub.repositories else None


# ---- Waiting ----


@pytest.mark.parametrize("path", REQUESTS)
@pytest.mark.parametrize(
    "headers",
    [{"Retry_After": "3"}, {"ratelimit": '"api";r=0;t=3'}],
    ids=["Retry-After", "ratelimit"],
)
def test_a_short_wait_is_waited_for_in_every_request(hub, waits, path, headers):
    hub.fail(path, 2, status=429, message="slow down", **headers)
    push()
    assert state(hub) == FILES
    # The client waits a second longer than it was told.
    assert len(waits) == 2 and all(3 <= wait <= 4 for wait in waits)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("path", REQUESTS)
def test_a_long_wait_is_refused_with_the_time_when_it_ends(hub, waits, path, status):
    hub.fail(path, 1, status=status, Retry_After="100000")
    with pytest.raises(OSError) as caught:
        push()
    until = datetime.now() + timedelta(seconds=100_000)
    expected = rf"^{REPO}: the Hub takes no more requests for now \(HTTP {status}\); try again in 28 hours, after "
    assert re.search(expected + f"{until:%Y-%m-%d}", str(caught.value)) and "\n" not in str(caught.value)
    assert waits == [] and state(hub) is None


def test_waiting_comes_to_an_end(hub, waits):
    hub.fail("/repos/create", 100, status=429, Retry_After="2")
    with pytest.raises(OSError, match=r"the Hub refused \(HTTP 429\)"):
        push()
    assert waits == [2.0] * 4


def test_a_date_may_say_when():
    later = datetime.now(timezone.utc) + timedelta(seconds=90)
    assert seconds_to_wait({"retry-after": format_datetime(later)}) == pytest.approx(90, abs=2)
    assert seconds_to_wait({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert seconds_to_wait({"retry-after": "soon"}) is None


# ---- What ends a push, and what it leaves ----

QUOTA = "Private repository storage limit reached, please upgrade your plan"
ENDINGS = {
    "no storage": ({"status": 403, "message": QUOTA}, rf"reached a limit of the Hub \({QUOTA}\); free space or"),
    "to be paid": ({"status": 402, "message": "Payment required"}, r"reached a limit of the Hub \(Payment required\)"),
    "no rights": ({"status": 403, "message": "Forbidden"}, "this access token may not write there"),
    "web page": (
        {"status": 200, "body": "<html>Log in</html>", "Content_Type": "text/html; charset=utf-8"},
        r"answers with a web page and not as a Hub does; check HF_ENDPOINT",
    ),
    "cut off": ({"status": 200, "body": '{"url": "http'}, r"answers, but not as a Hub does \(.*\); check HF_ENDPOINT"),
    "empty": ({"status": 200, "body": ""}, r"answers, but not as a Hub does"),
    "other JSON": (
        {"status": 200, "body": "{}"},
        r"answers, but not as a Hub does \((KeyError: .*|.* improperly formatted)\)",
    ),
    "other type of JSON": ({"status": 200, "body": "[1]"}, r"answers, but not as a Hub does"),
    "moved": (
        {"status": 307, "body": "", "Location": "http://localhost:9/elsewhere"},
        r"redirects to http://localhost:9, where nothing is sent; check HF_ENDPOINT",
    ),
    "moved to a page": (
        {"status": 302, "body": "", "Location": "https://login.example/"},
        r"redirects to https://login\.example, where nothing is sent",
    ),
    "broken": ({"status": 500}, r"the Hub has trouble \(HTTP 500\); nothing was published, try again later"),
    "dead": ({"die": True}, r"the connection to .* failed"),
    "silent": ({"hang": 3}, r"the connection to .* failed \(.*timed out.*\); nothing was published"),
}


@pytest.mark.parametrize("path", ["/repos/create", "/preupload/", "/commit/"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_push_that_fails_is_one_line_and_leaves_no_repository(hub, ending, path, monkeypatch):
    answer, message = ENDINGS[ending]
    monkeypatch.setattr(requests, "TIMEOUT", 0.2)
    hub.fail(path, 10, **answer)
    started = time.monotonic()
    with pytest.raises(OSError) as caught:
        push()
    said = str(caught.value)
    assert said.startswith(f"{REPO}: ") and "\n" not in said and len(said) < 400
    assert re.search(message, said), said
    assert time.monotonic() - started < 5
    if ending != "dead":
        assert state(hub) is None
    # Nothing went anywhere else with the token, and the next push brings all.
    hub.revive()
    push()
    assert state(hub) == FILES


def test_an_interrupted_push_leaves_no_repository_either(hub):
    api = HfApi(token=TOKEN)
    with pytest.raises(KeyboardInterrupt), filled_or_gone(api, create_repository(api, REPO)):
        raise KeyboardInterrupt
    assert state(hub) is None


def test_a_repository_that_was_there_is_never_deleted(hub):
    hub.repositories[REPO] = Repository(kind="model")
    hub.fail("/commit/", 10, status=403, message=QUOTA)
    with pytest.raises(OSError):
        push()
    assert state(hub) == {}


def test_a_new_repository_that_somebody_has_filled_meanwhile_is_kept(hub):
    api = HfApi(token=TOKEN)
    with pytest.raises(ValueError, match="other"), filled_or_gone(api, create_repository(api, REPO)):
        hub.repositories[REPO].files["theirs.txt"] = b"theirs"
        raise ValueError("other")
    assert state(hub) == {"theirs.txt": b"theirs"}


def test_what_cannot_be_deleted_is_named(hub, caplog):
    hub.fail("/repos/delete", 1, status=403, message="Forbidden")
    hub.fail("/commit/", 1, status=403, message="Forbidden")
    with pytest.raises(PermissionError, match="may not write"):
        push()
    assert f"{hub.url}/{REPO} may be empty and could not be deleted" in caplog.text


def test_a_token_that_may_not_create_can_still_write_to_what_exists(hub):
    hub.repositories[REPO] = Repository(kind="model")
    hub.fail("/repos/create", 2, status=403, message="Forbidden: no rights to create")
    push()
    assert state(hub) == FILES
    with pytest.raises(PermissionError, match="may not write there"):
        push(READ_TOKEN)


# ---- Redirects ----


def test_a_renamed_repository_is_followed_on_the_same_host(hub):
    hub.repositories["someone/new"] = Repository(kind="model", files={"a.txt": b"a"})
    hub.fail("/api/models/someone/old", 1, status=307, body="", Location="/api/models/someone/new")
    with guarded():
        assert HfApi(token=TOKEN).model_info("someone/old").id == "someone/new"


def test_files_may_be_stored_elsewhere_and_the_token_stays_here(hub, tmp_path):
    hub.repositories[REPO] = Repository(kind="model", files={"a.txt": b"a"})
    with LoopbackHub() as store:
        store.repositories[REPO] = Repository(kind="model", files={"a.txt": b"a"})
        there = f"{store.url.replace('127.0.0.1', 'localhost')}/{REPO}/resolve/main/a.txt"
        hub.fail("/resolve/", 2, status=302, body="", Location=there, X_Repo_Commit="0" * 40, ETag='"1"')
        with guarded():
            answer = get_session().get(
                f"{hub.url}/{REPO}/resolve/main/a.txt", headers={"Authorization": f"Bearer {TOKEN}"}
            )
        assert answer.content == b"a"
        assert [token for _, _, token in store.requests] == [None]


def test_no_request_reaches_the_host_that_an_api_call_is_redirected_to(hub):
    with LoopbackHub() as other:
        hub.fail("/commit/", 1, status=308, body="", Location=f"{other.url.replace('127.0.0.1', 'localhost')}/commit")
        with pytest.raises(OSError, match="where nothing is sent"):
            push()
        assert other.requests == []


# ---- Whose requests ----


def test_every_request_has_a_time_limit_also_those_that_want_none(hub):
    hub.repositories[REPO] = Repository(kind="model")
    seen = []
    with guarded():
        client = get_session()
        client.event_hooks["request"].append(lambda request: seen.append(request.extensions["timeout"]))
        client.event_hooks = client.event_hooks
        HfApi(token=TOKEN).model_info(REPO)
        HfApi(token=TOKEN).model_info(REPO, timeout=2)
    limits = dict.fromkeys(("connect", "read", "write", "pool"), requests.TIMEOUT)
    assert seen == [limits, dict.fromkeys(limits, 2)]


def test_a_silent_server_is_given_up_and_what_is_cached_is_used(hub, monkeypatch, tmp_path):
    hub.repositories[REPO] = Repository(kind="model", files={"a.txt": b"a", "b.txt": b"b"})
    monkeypatch.setattr(requests, "TIMEOUT", 0.2)
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.2)
    # The client waits longer when it tries again.
    monkeypatch.setattr(file_download, "_ETAG_RETRY_TIMEOUT", 0.2)
    address = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
    api = HfApi(token=TOKEN)
    with guarded(follow=True):
        path = api.hf_hub_download(REPO, "a.txt", cache_dir=tmp_path)
    hub.fail("/", 1000, hang=3)
    before = len(hub.requests)
    with guarded(follow=True):
        assert api.hf_hub_download(REPO, "a.txt", cache_dir=tmp_path) == path
        with pytest.raises(OSError):
            api.hf_hub_download(REPO, "b.txt", cache_dir=tmp_path)
    assert len(hub.requests) - before == 3
    # Asked again the next time.
    hub.revive()
    with guarded(follow=True):
        api.hf_hub_download(REPO, "b.txt", cache_dir=tmp_path)


def test_outside_of_our_calls_the_client_is_as_it_was(hub, waits):
    hub.repositories[REPO] = Repository(kind="model")
    with guarded():
        HfApi(token=TOKEN).model_info(REPO)
    hub.fail("/api/models/", 1, status=200, body=json.dumps({"id": REPO}), Content_Type="text/html")
    assert HfApi(token=TOKEN).model_info(REPO).id == REPO
    hub.fail("/api/models/", 1, status=200, body="<html>", Content_Type="text/html")
    with pytest.raises(RefusedAnswer):
        patiently(lambda: HfApi(token=TOKEN).model_info(REPO))


# ---- The command ----


def test_the_command_says_it_in_one_line(hub, tmp_path, capsys, monkeypatch):
    model = save_model("image", tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("# A card\n")
    monkeypatch.setattr(requests, "TIMEOUT", 0.2)
    hub.fail("/commit/", 1, status=403, message=QUOTA)
    assert main(["push", model, REPO]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"hf-ssl: error: {REPO}: the account has reached a limit of the Hub ({QUOTA})")
    assert state(hub) is None
    assert main(["push", model, REPO]) == 0
    assert {"README.md", "model.safetensors", "config.json"} <= set(state(hub))


def make_trainer(folder, **config):
    options = {"max_steps": 1, "use_cpu": True, "report_to": "none", "disable_tqdm": True, "save_strategy": "no"}
    args = SSLConfig(output_dir=str(folder), hub_model_id=REPO, hub_token=TOKEN, **options, **config)
    return SSLTrainer(new_model("image"), args, **task("image"))


def test_a_trainer_leaves_no_empty_repository_either_and_makes_it_again(hub, tmp_path):
    trainer = make_trainer(tmp_path)
    hub.fail("/commit/", 1, status=403, message=QUOTA)
    with pytest.raises(OSError, match="the account has reached a limit of the Hub"):
        trainer.push_to_hub()
    assert state(hub) is None
    trainer.push_to_hub()
    assert {"README.md", "model.safetensors"} <= set(state(hub))


def test_a_push_in_another_thread_waits_as_long_as_it_is_told(hub, waits, tmp_path):
    trainer = make_trainer(tmp_path, push_to_hub=True)
    hub.fail("/commit/", 2, status=429, Retry_After="7")
    trainer.push_to_hub(blocking=False).result(60)
    assert waits == [7.0, 7.0] and {"README.md", "model.safetensors"} <= set(state(hub))


def test_a_command_has_time_limits_for_what_it_loads_and_may_use_a_mirror(hub, monkeypatch, capsys):
    hub.repositories[REPO] = Repository(kind="model")
    found = {}

    def run(args):
        api = HfApi(token=TOKEN)
        with LoopbackHub() as mirror:
            mirror.repositories[REPO] = Repository(kind="model")
            there = mirror.url.replace("127.0.0.1", "localhost")
            hub.fail(f"/api/models/{REPO}", 1, status=302, body="", Location=f"{there}/api/models/{REPO}")
            found["read"] = api.model_info(REPO).id
            found["tokens"] = [token for _, _, token in mirror.requests]
            hub.fail("/repos/create", 1, status=307, body="", Location=f"{there}/api/repos/create")
            with pytest.raises(RefusedAnswer, match="nothing is sent"):
                api.create_repo("someone/other")
            found["after"] = len(mirror.requests)
        monkeypatch.setattr(requests, "TIMEOUT", 0.2)
        hub.fail(f"/api/models/{REPO}", 1, hang=3)
        api.model_info(REPO)

    monkeypatch.setattr("hf_ssl.cli.predict.run", run)
    assert main(["predict", "model", "input"]) == 2
    assert "timed out" in capsys.readouterr().err
    assert found == {"read": REPO, "tokens": [None], "after": 1}
