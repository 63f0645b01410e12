"""`hf-ssl benchmark leaderboard`: the report's page as a static Space. The real client against a loopback Hub."""

import json

import pytest
import yaml

from hf_ssl.benchmark.submission import space

from tests.helpers.grid_cells import make_cell, make_content, write_cell
from tests.helpers.hub_client import check_private, run_client
from tests.helpers.loopback_hub import LoopbackHub, Repository

PUSH = """
import sys
def push(results, name, *options):
    return cli("benchmark", "leaderboard", results, "--space", f"someone/{name}", *options)

folder = sys.argv[1]
fail("/commit/", 30)
told = {"500": push(f"{folder}/results", "board")}
fail("/commit/", 0)
told["new"] = push(f"{folder}/results", "board")
told["again"] = push(f"{folder}/results", "board")
told["of a repository"] = push("someone/results", "remote", "--private")
told["more cells"] = push("someone/results", "board")
told["another page"] = push(f"{folder}/results", "mine")
told["public"] = push(f"{folder}/results", "board", "--private")
told["invalid"] = push(f"{folder}/invalid", "nowhere")
told["no folder"] = push(f"{folder}/none", "nowhere")
told["no repository"] = push("someone/none", "nowhere")
told["hostile repository"] = push("someone/hostile", "nowhere")
tell(told)
"""

ERRORS = {
    "500": "someone/board: the Hub has trouble (HTTP 500); nothing was published, try again later",
    "another page": "someone/mine must be a leaderboard of hf-ssl, got a Space with another page, which would be lost",
    "public": "HUB/spaces/someone/board exists and is public; make it private first",
    "invalid": "1 of 1 cells cannot be published, so nothing was sent: ag_news/40/uda/someone__tiny-bert/seed0",
    "no folder": "RESULTS must be a folder of results or the id of a dataset repository, got ",
    "no repository": "someone/none does not exist on the Hub, or is private and this access token may not read it",
    "hostile repository": "1 of 1 cells cannot be published, so nothing was sent: ag_news/40/fixmatch/someone__",
}


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """What the commands told, the Hub afterwards, and its address."""
    folder = tmp_path_factory.mktemp("space")
    cells = [make_cell(name, seed) for name in ("fixmatch", "uda") for seed in (0, 1)]
    with LoopbackHub() as hub:
        for name, number in (("someone/results", 4), ("someone/hostile", 1)):
            hub.repositories[name] = Repository()
            for cell in cells[:number]:
                content = make_content(cell)
                content["runs"][0]["note"] = "/home/me/x" if name == "someone/hostile" else "a/b"
                hub.repositories[name].files[cell.path.as_posix()] = json.dumps(content).encode()
        hub.repositories["someone/mine"] = Repository(
            kind="space", files={"README.md": b"My page.", "index.html": b""}
        )
        for cell in cells[:2]:
            write_cell(folder / "results", cell)
        write_cell(folder / "invalid", make_cell("uda"), make_content(make_cell("uda")) | {"key": "0" * 16})
        told = run_client(hub, folder / "home", PUSH, folder)
        yield {"told": told, "hub": hub}


@pytest.mark.parametrize("case", ERRORS)
def test_what_is_refused_is_told_in_one_line(case, pushed):
    status, out, error = pushed["told"][case]
    assert (status, out) == (2, "")
    assert error.startswith(f"hf-ssl: error: {ERRORS[case].replace('HUB', pushed['hub'].url)}")
    assert error.count("\n") == 1


def test_the_page_becomes_a_static_space(pushed):
    hub, told = pushed["hub"], pushed["told"]
    board = hub.repositories["someone/board"]
    # The Hub's own page to begin with is gone.
    assert board.kind == "space" and not board.private and set(board.files) == {"README.md", "index.html"}
    card = board.files["README.md"].decode()
    metadata = yaml.safe_load(card.split("---")[1])
    assert (metadata["sdk"], metadata["app_file"]) == ("static", "index.html") and "leaderboard" in metadata["tags"]
    first = board.commits[1][1]["index.html"].decode()
    assert first.lstrip().lower().startswith("<!doctype html>") and "fixmatch" in first and "uda" not in first
    url = f"{hub.url}/spaces/someone/board"
    assert told["new"] == [0, f"Pushed 2 cells: {url}\n", told["new"][2]]
    assert told["again"][:2] == [0, f"Nothing has changed: 2 cells: {url}\n"]
    check_private(board.files)


def test_the_page_can_be_made_from_a_results_repository(pushed):
    hub, told = pushed["hub"], pushed["told"]
    remote = hub.repositories["someone/remote"]
    assert remote.private and told["of a repository"][1] == f"Pushed 4 cells: {hub.url}/spaces/someone/remote\n"
    card = remote.files["README.md"].decode()
    assert yaml.safe_load(card.split("---")[1])["datasets"] == ["someone/results"]
    assert "from the cells in [someone/results](" in card
    assert "uda" in hub.repositories["someone/board"].files["index.html"].decode()


def test_what_failed_leaves_no_space(pushed):
    assert {name for name, found in pushed["hub"].repositories.items() if found.kind == "space"} == {
        "someone/board",
        "someone/remote",
        "someone/mine",
    }
    # The first push to "board" failed: it was made again, with its first commit and those of two pushes.
    assert len(pushed["hub"].repositories["someone/board"].commits) == 3


def test_numbers_lead_to_the_files_of_a_repository(monkeypatch):
    monkeypatch.setattr(space.constants, "ENDPOINT", "https://huggingface.co")
    assert space._files_at("someone/results") == "https://huggingface.co/datasets/someone/results/blob/main/"
    monkeypatch.setattr(space.constants, "ENDPOINT", "http://127.0.0.1:1")
    assert space._files_at("someone/results") is None and space._files_at(None) is None
