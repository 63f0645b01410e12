"""New cells as a pull request to a results repository: all of them or none, and none over what is there."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import CommitOperationAdd, HfApi, get_token

from ...hub.errors import clear_errors
from ...hub.requests import patiently
from ..grid.remote_results import CELLS, content_of, fetch, is_cell, remote_cells
from .checks import check_cell, measured


class Submitted(NamedTuple):
    """What `submit` has done.

    Args:
        url: of the pull request; None if there was nothing new, or in a dry run.
        new: paths of the cells in it.
        present: paths of the cells that the repository has already, with the same results.
        is_new: whether the pull request was opened just now; False if it was open already.
    """

    url: str | None
    new: list[str]
    present: list[str]
    is_new: bool = False


def submit(results: str | Path, repo_id: str, *, dry_run: bool = False) -> Submitted:
    """Open a pull request with the cells of a results folder that a results repository does not have yet.

    Every cell is checked first, see `check_cell`; error files, checkpoints and the report are left out. The token is
    that of `hf auth login`, or of the environment variable HF_TOKEN.

    Args:
        results: folder of the results.
        repo_id: ACCOUNT/NAME of a dataset repository, which must exist.
        dry_run: check and compare, but send nothing.

    Raises:
        FileNotFoundError: if there is no such folder, or no finished cell in it.
        ValueError: in one line, if a cell is not valid, or the repository has another result in its place; nothing is
            sent then.
        OSError: in one line, if the Hub refuses or cannot be reached; nothing is submitted then.
    """
    cells = checked_cells(Path(results))
    api = HfApi()
    commit, there = remote_cells(api, repo_id)
    present = [name for name in cells if name in there]
    unlike = [name for name in present if there[name] != _git_id(cells[name])]
    theirs = fetch(api, repo_id, unlike, commit)
    conflicts = [line for name in unlike if (line := _conflict(name, cells[name], theirs[name]))]
    if conflicts:
        raise ValueError(
            f"{repo_id} has another result in the place of {len(conflicts)} cell{'s' * (len(conflicts) > 1)}, so "
            f"nothing was submitted: {'; '.join(conflicts[:3])}; give yours a variant in the grid, or ask there to "
            "have the old ones taken out"
        )
    new = [name for name in cells if name not in there]
    if dry_run or not new:
        return Submitted(None, new, present)
    url, opened = _open_pull_request(api, repo_id, {name: cells[name] for name in new})
    return Submitted(url, new, present, opened)


def checked_cells(folder: Path) -> dict[str, Path]:
    """The finished cells of a folder: path below it -> file; each is checked, see `check_cell`.

    Raises:
        FileNotFoundError: if there is no such folder, or no finished cell in it.
        ValueError: in one line, if one cannot be published, or two are of one setting with different draws of labels.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"RESULTS must be a folder, got {folder}; `hf-ssl benchmark run` writes one")
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.glob(CELLS))}
    found = {name: path for name, path in found.items() if is_cell(name)}
    if not found:
        raise FileNotFoundError(f"RESULTS must hold finished cells, got {folder} without any; run the grid first")
    token, problems = get_token(), []
    draws: dict[str, tuple[str, str]] = {}
    for name, path in found.items():
        try:
            content = check_cell(path, name, token)
        except ValueError as error:
            problems.append(str(error))
            continue
        cell = content["cell"]
        # Of one name, the supervised upper bound has all labels, and a long tail others.
        parts = [cell.get("task"), cell.get("task_revision"), cell["num_labeled"], cell["seed"]]
        setting = str([*parts, content["settings"].get("task"), content["runs"][0].get("num_labeled")])
        other, draw = draws.setdefault(setting, (name, cell["draw"]))
        if draw != cell["draw"]:
            problems.append(f"{name}: its draw of labels must be that of {other}, {draw}, got {cell['draw']}")
    if problems:
        raise ValueError(
            f"{len(problems)} of {len(found)} cells cannot be published, so nothing was sent: "
            f"{'; '.join(problems[:3])}"
        )
    return found


def _conflict(name: str, mine: Path, theirs: Path) -> str | None:
    """How two files of one path differ; None if only the cost and the versions of packages do."""
    ours, others = content_of(mine), content_of(theirs)
    if measured(ours) == measured(others):
        return None
    if ours["key"] == others.get("key"):
        accuracies = [_accuracy(content) for content in (others, ours)]
        return f"{name}: both have the key {ours['key']}, test_accuracy {accuracies[0]} there and {accuracies[1]} here"
    return f"{name}: the key is {others.get('key')} there and {ours['key']} here"


def _accuracy(content: Mapping[str, Any]) -> Any:
    runs = content.get("runs")
    return runs[0].get("test_accuracy") if isinstance(runs, list) and runs and isinstance(runs[0], dict) else None


def _git_id(path: Path) -> str:
    """Git's name for the content of a file, by which the Hub lists it."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0%b" % (len(data), data)).hexdigest()


def _open_pull_request(api: HfApi, repo_id: str, cells: Mapping[str, Path]) -> tuple[str, bool]:
    """The address of the pull request, and whether it is new: the same cells are not submitted twice."""
    keys = {name: content_of(path)["key"] for name, path in cells.items()}
    mark = hashlib.sha256("\n".join(f"{name} {key}" for name, key in sorted(keys.items())).encode()).hexdigest()[:12]
    title = f"{len(cells):,} new cell{'s' * (len(cells) > 1)} ({mark})"
    with clear_errors(repo_id):
        pulls = api.get_repo_discussions(
            repo_id, repo_type="dataset", discussion_type="pull_request", discussion_status="open"
        )
        if (found := next((pull for pull in pulls if pull.title == title), None)) is not None:
            return found.url, False
        made = patiently(
            lambda: api.create_commit(
                repo_id,
                [CommitOperationAdd(name, path) for name, path in cells.items()],
                commit_message=title,
                commit_description=_description(cells),
                repo_type="dataset",
                create_pr=True,
            )
        )
    return str(made.pr_url), True


def _description(cells: Mapping[str, Path]) -> str:
    """What the pull request brings, in Markdown: number of cells by task and algorithm, and the versions."""
    contents = [content_of(path) for path in cells.values()]
    counts = Counter(
        (it["cell"]["task"], it["cell"]["num_labeled"], path.split("/")[2])
        for path, it in zip(cells, contents, strict=True)
    )
    versions = sorted({str(content["versions"].get("hf-ssl")) for content in contents})
    rows = [
        f"- {task}, {labels} labels, {label}: {number}" for (task, labels, label), number in sorted(counts.items())
    ]
    return "\n".join([f"Made with hf-ssl {', '.join(versions)}; keys and paths were checked.", "", *rows])
