"""`hf-ssl benchmark submit`: what reaches the Hub, and what does not. The real client against a loopback Hub."""

import json

import pytest

from tests.helpers.grid_cells import make_cell, make_content, write_cell
from tests.helpers.hub_client import check_private, run_client
from tests.helpers.loopback_hub import LoopbackHub, Repository

SUBMIT = """
import os, sys
def submit(folder, *options, to="someone/results"):
    return cli("benchmark", "submit", f"{sys.argv[1]}/{folder}", "--to", to, *options)

known = os.environ.pop("HF_TOKEN")
told = {"no token": submit("new")}
for case, token in (("wrong token", "hf_wrong_9876543210"), ("token without rights", "hf_loopback_read_only")):
    os.environ["HF_TOKEN"] = token
    told[case] = submit("new")
os.environ["HF_TOKEN"] = known
told["dry run"] = submit("new", "--dry-run")
for case in ("invalid", "another key", "other numbers"):
    told[case] = submit(case)
told["no repository"] = submit("new", to="someone/nowhere")
fail("/commit/", 30)
told["500"] = submit("new")
fail("/commit/", 0)
told["new"] = submit("new")
told["again"] = submit("new")
told["nothing"] = submit("old")
tell(told)
"""

ERRORS = {
    "no token": "someone/results: no access token; log in with `hf auth login`, or set HF_TOKEN",
    "wrong token": "someone/results: the Hub does not know this access token; make one with write permission",
    "token without rights": "someone/results: this access token may not write there; use one with write permission",
    "invalid": "1 of 2 cells cannot be published, so nothing was sent: ag_news/40/uda/someone__tiny-bert/seed0",
    "another key": "someone/results has another result in the place of 1 cell, so nothing was submitted: ag_news/4",
    "other numbers": "someone/results has another result in the place of 1 cell, so nothing was submitted: ag_news/4",
    "no repository": "someone/nowhere does not exist on the Hub, or is private and this access token may not read it",
    "500": "someone/results: the Hub has trouble (HTTP 500); nothing was published, try again later",
}


@pytest.fixture(scope="module")
def submitted(tmp_path_factory):
    """What the commands told, and the repository afterwards, which had the cells of `old` before."""
    folder = tmp_path_factory.mktemp("submit")
    old, new = make_cell("fixmatch"), [make_cell("uda"), make_cell("uda", seed=1)]
    other_key = make_cell("fixmatch", settings={"training": {"max_steps": 40}})
    with LoopbackHub() as hub:
        repository = hub.repositories["someone/results"] = Repository()
        # The same results, but measured on a machine that took longer.
        content = json.dumps(make_content(old, seconds=99.0)).encode()
        repository.files = {old.path.as_posix(): content, "README.md": b"# Results\n"}
        for name, cells in {
            "new": [old, *new],
            "old": [old],
            "invalid": new[:1],
            "other numbers": [],
            "another key": [other_key],
        }.items():
            for cell in cells:
                write_cell(folder / name, cell)
        write_cell(folder / "other numbers", old, accuracy=0.5)
        write_cell(folder / "invalid", new[0], make_content(new[0]) | {"key": "0" * 16})
        write_cell(folder / "invalid", old)
        error = folder / "new" / new[0].error_path
        error.write_text("{}")
        told = run_client(hub, folder / "home", SUBMIT, folder)
    return {"told": told, "repository": repository, "old": old, "new": new, "other key": other_key}


@pytest.mark.parametrize("case", ERRORS)
def test_what_is_refused_is_told_in_one_line(case, submitted):
    status, out, error = submitted["told"][case]
    assert (status, out) == (2, "")
    assert error.startswith(f"hf-ssl: error: {ERRORS[case]}") and error.count("\n") == 1


def test_a_conflict_names_both_keys(submitted):
    old, other = submitted["old"], submitted["other key"]
    assert f"{old.path}: the key is {old.key} there and {other.key} here" in submitted["told"]["another key"][2]
    numbers = f"{old.path}: both have the key {old.key}, test_accuracy 0.8125 there and 0.5 here"
    assert numbers in submitted["told"]["other numbers"][2]


def test_new_cells_become_one_pull_request(submitted):
    told, repository = submitted["told"], submitted["repository"]
    assert told["dry run"] == [0, "2 new cells for someone/results; 1 are there already\n", ""]
    (pull,) = repository.pulls
    assert set(pull["files"]) - set(repository.files) == {cell.path.as_posix() for cell in submitted["new"]}
    assert set(repository.files) == {submitted["old"].path.as_posix(), "README.md"} and len(repository.commits) == 1
    assert json.loads(pull["files"][submitted["new"][1].path.as_posix()]) == make_content(submitted["new"][1])
    assert pull["title"].startswith("2 new cells (")
    assert pull["description"].endswith("keys and paths were checked.\n\n- ag_news, 40 labels, uda: 2")
    check_private(pull["files"])
    status, out, _ = told["new"]
    assert status == 0 and out.endswith("/datasets/someone/results/discussions/1\n")


def test_the_same_cells_are_not_submitted_twice(submitted):
    status, out, _ = submitted["told"]["again"]
    assert status == 0 and "These cells were submitted before: " in out and out.endswith("/discussions/1\n")
    assert submitted["told"]["nothing"] == [0, "0 new cells for someone/results; 1 are there already\n", ""]
