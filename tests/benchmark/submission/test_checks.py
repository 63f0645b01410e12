"""What a cell's file must be to be published."""

import json

import pytest

from hf_ssl.benchmark.grid.cells import Cell
from hf_ssl.benchmark.submission.checks import check_cell
from hf_ssl.benchmark.submission.submit import checked_cells

from tests.helpers.grid_cells import make_cell, make_content, write_cell


def problem(tmp_path, content, name=None) -> str:
    """The error of a file with this content, without its name in front."""
    name = name or make_cell().path.as_posix()
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError) as error:
        check_cell(path, name, "hf_my_own_token")
    return str(error.value).removeprefix(f"{name}: ")


def with_settings(**training) -> dict:
    return make_content(make_cell(settings={"training": training}))


def changed(*place, value) -> dict:
    content = make_content(make_cell())
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return content


def test_a_cell_as_it_was_written_is_published(tmp_path):
    path = write_cell(tmp_path, make_cell())
    assert check_cell(path, make_cell().path.as_posix())["key"] == make_cell().key
    urls = make_cell(
        settings={"training": {"source": "https://huggingface.co/datasets/a/b", "ratio": "7/1", "x": "a/b/c"}}
    )
    write_cell(tmp_path, urls)
    assert checked_cells(tmp_path) == {make_cell().path.as_posix(): tmp_path / make_cell().path}


PROBLEMS = {
    "no JSON object": ([1], "schema must be 1, got 'list'"),
    "another layout": (changed("schema", value=2), "schema must be 1, got 2"),
    "a block is missing": (changed("curves", value=None), "curves must be a list, got NoneType"),
    "a changed setting": (changed("settings", "training", value={"max_steps": 9}), "key must be "),
    "another key": (changed("key", value="0" * 16), "key must be "),
    "percent": (changed("runs", 0, "test_accuracy", value=81.25), "test_accuracy must be a share in 0..1, got 81.25"),
    "not a number": (changed("metrics", "last", "f1", value=float("nan")), "metrics.last.f1 must be finite, got nan"),
    "an infinite setting": (
        changed("settings", "training", "c", value=float("inf")),
        "settings.training.c must be fin",
    ),
    "another algorithm": (
        changed("runs", 0, "algorithm", value="uda"),
        "runs must be of algorithm 'fixmatch', got 'uda'",
    ),
    "another seed": (changed("runs", 0, "seed", value=3), "runs must be of seed 0, got 3"),
    "two accuracies": (
        changed("metrics", "last", "accuracy", value=0.9),
        "test_accuracy must be that of metrics.last, 0.9",
    ),
    "steps that go back": (changed("curves", 1, "step", value=5), "the steps of curves must increase"),
    "steps that are none": (changed("curves", value=["x"]), "the steps of curves must increase"),
    "no draw": (
        changed("cell", "draw", value="../x"),
        "cell.draw must be the hash of the labeled indices, got '../x'",
    ),
    "a seed that is a path": (
        make_content(Cell("ag_news", 40, "../x", "fixmatch", "m")),
        "cell.seed must be of type int, got '../x'",
    ),
    "a folder as source": (
        with_settings(source="/home/me/data/ag_news"),
        "settings.training.source must not name a local",
    ),
    "a folder within words": (
        with_settings(note="from '/mnt/disk 1/x'"),
        "settings.training.note must not name a local",
    ),
    "a folder of Windows": (
        with_settings(source="C:\\Users\\me"),
        "settings.training.source must not name a local path",
    ),
    "a folder of Windows with slashes": (
        with_settings(source="C:/Users/me"),
        "settings.training.source must not name a local path",
    ),
    "a folder of a server of Windows": (
        with_settings(source="\\\\server\\me"),
        "settings.training.source must not name a local path",
    ),
    "a home folder": (
        with_settings(source="~/data/x"),
        "settings.training.source must not name a local path, got '~/'",
    ),
    "an address of a file": (
        with_settings(source="file:///data"),
        "settings.training.source must not name a local path",
    ),
    "a folder as key": (with_settings(**{"/home/me/x": 1}), "a key of settings.training must not name a local path"),
}


@pytest.mark.parametrize(("content", "message"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_is_wrong_is_told_in_one_line(content, message, tmp_path):
    told = problem(tmp_path, content)
    assert told.startswith(message) and "\n" not in told


def test_a_cell_in_another_place_is_told(tmp_path):
    name = make_cell(seed=1).path.as_posix()
    told = problem(tmp_path, make_content(make_cell()), name)
    assert told == f"it must be at {make_cell().path}, got {name}; move it there"


@pytest.mark.parametrize("secret", ["hf_" + 34 * "a", "hf_my_own_token", "ghp_" + 36 * "b"])
def test_a_key_or_token_is_never_published(secret, tmp_path):
    told = problem(tmp_path, with_settings(note=secret))
    assert "is not published; take it out" in told and secret not in told


@pytest.mark.parametrize("secret", ["hf_" + 34 * "a", "hf_my_own_token", "Bearer " + 24 * "x"])
def test_a_key_with_escaped_letters_is_never_published(secret, tmp_path):
    path = tmp_path / make_cell().path
    path.parent.mkdir(parents=True)
    text = json.dumps(with_settings(note=secret))
    path.write_text(text.replace(secret, f"\\u{ord(secret[0]):04x}{secret[1:]}"))
    with pytest.raises(ValueError, match="is not published; take it out") as error:
        check_cell(path, make_cell().path.as_posix(), "hf_my_own_token")
    assert secret not in str(error.value) and "settings.training.note" in str(error.value)


def test_a_link_is_refused(tmp_path):
    path = write_cell(tmp_path / "elsewhere", make_cell())
    link = tmp_path / "results" / make_cell().path
    link.parent.mkdir(parents=True)
    link.symlink_to(path)
    with pytest.raises(ValueError, match="must be a file of the run, got a link to"):
        checked_cells(tmp_path / "results")


def test_all_cells_are_checked_and_one_setting_has_one_draw(tmp_path):
    for algorithm in ("fixmatch", "uda"):
        write_cell(tmp_path, make_cell(algorithm))
    content = make_content(make_cell("flexmatch"))
    content["cell"]["draw"] = "f" * 16
    write_cell(tmp_path, make_cell("flexmatch"), content)
    write_cell(tmp_path, make_cell("freematch"), make_content(make_cell("freematch")) | {"key": "0" * 16})
    with pytest.raises(ValueError) as error:
        checked_cells(tmp_path)
    told = str(error.value)
    assert told.startswith("2 of 4 cells cannot be published, so nothing was sent: ag_news/40/flexmatch/")
    assert f"its draw of labels must be that of {make_cell().path}, 0{15 * 'a'}, got {16 * 'f'}" in told
    assert f"{make_cell('freematch').path}: key must be {make_cell('freematch').key}, got" in told


def test_a_folder_without_cells_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"RESULTS must hold finished cells, got .* without any; run the grid"):
        checked_cells(tmp_path)
    with pytest.raises(FileNotFoundError, match="RESULTS must be a folder, got "):
        checked_cells(tmp_path / "none")
    (tmp_path / "x").write_text("")
    for name in ("report/a/b/c/seed0.txt", ".work/40/uda/m/seed0.json", "ag_news/40/uda/m/seed0.error.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("{}")
    with pytest.raises(FileNotFoundError, match="without any"):
        checked_cells(tmp_path)
