"""The file of a cell: written, read, checked."""

import json

import pytest

from hf_ssl.benchmark.grid.cell_file import (
    key_in,
    make_error,
    make_result,
    path_in_results,
    read,
    read_errors,
    read_results,
    write,
)
from hf_ssl.benchmark.grid.cells import Cell
from hf_ssl.benchmark.grid.remote_results import is_cell

CELL = Cell("digits", 40, 0, "fixmatch", "tiny-resnet", {"training": {"max_steps": 9}}, task_revision="abc")
RUN = {"algorithm": "fixmatch", "seed": 0, "test_accuracy": 0.5, "best_accuracy": None, "mask_ratio": 0.25}


def content(**changes):
    found = make_result(
        CELL, "0" * 16, RUN, {"last": {"accuracy": 0.5}, "best": None}, [{"step": 9}], {"seconds": 1.0}
    )
    return {**found, **changes}


def test_what_is_written_is_read(tmp_path):
    path = write(tmp_path / CELL.path, content())
    assert read(path) == content() and key_in(path) == CELL.key
    assert path_in_results(content()) == str(CELL.path)
    assert [record["key"] for record in read_results(tmp_path)] == [CELL.key]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "schema must be 1, got 2"),
        ({"runs": []}, "runs must have one row, got 0"),
        ({"runs": [{**RUN, "test_accuracy": 55.0}]}, "test_accuracy must be a share in 0..1, got 55.0"),
        ({"runs": [{**RUN, "mask_ratio": "high"}]}, "mask_ratio must be a share in 0..1, got 'high'"),
        ({"settings": {"training": {"max_steps": 10}}}, "the file was changed, run it again"),
        ({"cell": {**CELL.record(), "seed": 1}}, "the file was changed, run it again"),
        ({"versions": {"hf-ssl": "0.0"}}, "the file was changed, run it again"),
        ({"curves": None}, "curves must be a list, got NoneType"),
        ({"cell": {}}, "cell.task must be of type str, got None"),
        ({"settings": {"training": None}}, "settings.training must be a dict, got NoneType"),
        ({"settings": {"training": {"max_steps": "9"}}}, "settings.training.max_steps must be a number in 0..1e+15"),
        ({"runs": [{**RUN, "steps": "9"}]}, "runs[0].steps must be a number in 0..1e+15, got 9"),
        ({"runs": [{**RUN, "seconds": 10**400}]}, "runs[0].seconds must be a number in 0..1e+15, got 1000"),
        ({"metrics": {"last": [1]}}, "metrics.last must be a dict, got list"),
    ],
)
def test_a_changed_file_is_refused_and_left_out(tmp_path, caplog, changes, message):
    path = write(tmp_path / CELL.path, content(**changes))
    with pytest.raises(ValueError, match="seed0") as error:
        read(path)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert read_results(tmp_path) == [] and message in caplog.text


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_damaged_file_counts_as_missing(tmp_path, text):
    path = tmp_path / "seed0.json"
    assert key_in(path) is None
    path.write_text(text, encoding="utf-8")
    assert key_in(path) == ""


def test_numbers_that_json_does_not_have_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write(tmp_path / "seed0.json", content(cost={"seconds": float("nan")}))
    assert list(tmp_path.iterdir()) == []


def test_errors_are_apart_from_results(tmp_path):
    write(tmp_path / CELL.error_path, make_error(CELL, "ValueError", "no data"))
    assert read_results(tmp_path) == []
    assert [error["error"]["message"] for error in read_errors(tmp_path)] == ["no data"]


def test_a_damaged_error_file_is_left_out(tmp_path, caplog):
    write(tmp_path / CELL.error_path, make_error(CELL, "ValueError", "no data"))
    (tmp_path / CELL.error_path).with_name("seed1.error.json").write_text("{", encoding="utf-8")
    assert len(read_errors(tmp_path)) == 1 and "seed1.error.json" in caplog.text


def test_a_copy_by_hand_is_no_second_run(tmp_path):
    for name in ("seed0.json", "seed0 copy.json", "seed0-1.json"):
        write((tmp_path / CELL.path).with_name(name), content())
    assert len(read_results(tmp_path)) == 1
    assert [is_cell(f"a/b/c/d/{name}") for name in ("seed0.json", "seed0 copy.json")] == [True, False]


def test_hidden_folders_and_the_report_are_no_results(tmp_path):
    for folder in (".work/a/b/c", "report"):
        write(tmp_path / folder / "seed0.json", content())
    assert read_results(tmp_path) == []


def test_a_folder_that_there_is_not_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="the results must be a folder"):
        read_results(tmp_path / "none")


def test_a_file_is_plain_json(tmp_path):
    assert json.loads(write(tmp_path / "seed0.json", content()).read_text(encoding="utf-8")) == content()
