"""The report of any folder: full, half-filled or empty. It says what cannot be said."""

import builtins
import os

import pytest

from hf_ssl.benchmark.leaderboard.notes import table_notes
from hf_ssl.benchmark.leaderboard.report import write_report
from hf_ssl.benchmark.leaderboard.runs import load_results

from tests.helpers.cell_files import make_cell, write_cell, write_cells, write_failure

FILES = {"report.txt", "errors.csv", "runs.csv", "ranks.csv", "pairs.csv", "tables.tex", "index.html"}
FULL = {
    ("ag_news", 40): {"supervised": [15.0, 17.0], "fixmatch": [30.0, 32.0], "freematch": [13.0, 14.0]},
    ("cifar100", 200): {"supervised": [35.0, 36.0], "fixmatch": [29.0, 30.0], "freematch": [21.0, 22.0]},
    ("esc50", 250): {"supervised": [50.0, 49.0], "fixmatch": [43.0, 44.0], "freematch": [38.0, 39.0]},
}


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    folder = write_cells(tmp_path_factory.mktemp("results"), FULL)
    return folder, write_report(folder)


def test_every_kind_of_file_is_written(full):
    folder, report = full
    pictures = {"ranks.png", "ranks_image.png", "ranks_text.png", "ranks_audio.png", "wins.png", "costs.png"}
    assert {path.name for path in report.files} == set(os.listdir(folder / "report")) == FILES | pictures
    assert all((folder / "report" / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    assert (folder / "report" / "report.txt").read_text(encoding="utf-8") == report.text + "\n"


def test_the_text_tells_the_whole_story(full):
    text = full[1].text
    for part in (
        "18 runs, 3 algorithms, 3 settings",
        "Error rates: image",
        "30.17 ± 1.87",  # published for FixMatch on AG News with 40 labels
        "Ranks: all settings",
        "Ranks: recordings",
        "Friedman's test",
        "The best by rank, freematch, against the others",
        "In how many settings the row is better than the column",
        "Error against time",
        "at the end of each training (last), not at its best",
        "For tasks without a validation split, the test set chose that best.",
    ):
        assert part in " ".join(text.split()), part


def test_a_second_report_is_the_same(full):
    folder, report = full
    before = {path: path.read_bytes() for path in report.files}
    again = write_report(folder)
    assert {path: path.read_bytes() for path in again.files} == before


def test_the_report_can_be_elsewhere(full, tmp_path):
    report = write_report(full[0], tmp_path / "a" / "b")
    assert {path.parent for path in report.files} == {tmp_path / "a" / "b"}
    # From there the files of the cells are not a folder above.
    assert 'data-runs=""' in (tmp_path / "a" / "b" / "index.html").read_text(encoding="utf-8")
    assert 'data-runs="../"' in (full[0] / "report" / "index.html").read_text(encoding="utf-8")


def test_no_line_is_wider_than_a_screen(full):
    assert max(map(len, full[1].text.splitlines())) <= 119


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ({}, "There is no finished cell yet"),
        ({("ag_news", 40): {"fixmatch": [30.0, 31.0]}}, "No two algorithms have a run with the same setting"),
        ({("ag_news", 40): {"fixmatch": [30.0], "uda": [40.0]}}, "One setting is not enough for a test of ranks"),
        ({("ag_news", 40): {"fixmatch": [30.0], "uda": [40.0]}}, "without a standard deviation: 2 numbers"),
        ({("ag_news", 40): {"fixmatch": [30.0], "uda": [40.0]}}, "no p below 0.05 is possible"),
        (
            {("ag_news", 40): {"fixmatch": [30.0], "uda": [40.0]}, ("ag_news", 200): {"fixmatch": [9.0]}},
            "1 of 4 numbers (an algorithm in a setting) are missing; nothing was filled in",
        ),
    ],
    ids=["empty", "one algorithm", "one task", "one seed", "few pairs", "half filled"],
)
def test_what_cannot_be_said_is_said(tmp_path, cells, says):
    report = write_report(write_cells(tmp_path, cells))
    assert says in " ".join(report.text.split())
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert says in page or "standard deviation" in says
    assert set(os.listdir(tmp_path / "report")) >= FILES


def test_a_folder_of_failures_alone(tmp_path):
    write_failure(tmp_path, make_cell(), "the loss became NaN at step 7", "NotFiniteError")
    text = write_report(tmp_path).text
    assert "1 cell failed (1 NotFiniteError)" in text
    assert "ag_news 40 fixmatch seed 0: NotFiniteError: the loss became NaN at step 7" in text


def test_a_damaged_file_is_left_out(tmp_path, caplog):
    path = write_cell(tmp_path, make_cell(), 10.0)
    write_cell(tmp_path, make_cell(seed=1), 12.0)
    path.write_text(path.read_text().replace('"fixmatch"', '"freematch"'))
    assert "1 run, 1 algorithm" in write_report(tmp_path).text
    assert "key must be" in caplog.text


def test_runs_without_accuracy_are_missing(tmp_path):
    write_cell(tmp_path, make_cell(), None)
    write_cell(tmp_path, make_cell(algorithm="uda"), 12.0)
    assert "1 of 2 numbers" in write_report(tmp_path).text


def test_pictures_that_are_not_true_any_more_go(tmp_path):
    write_cells(tmp_path, FULL)
    write_report(tmp_path)
    for path in tmp_path.rglob("seed*.json"):
        if "fixmatch" not in path.parts:
            path.unlink()
    write_report(tmp_path)
    assert set(os.listdir(tmp_path / "report")) == FILES


def test_without_matplotlib_everything_else_is_there(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError("No module named 'matplotlib'", name="matplotlib")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    report = write_report(write_cells(tmp_path, FULL))
    assert report.without_pictures and set(os.listdir(tmp_path / "report")) == FILES


def test_different_versions_and_revisions_are_named(tmp_path):
    write_cells(tmp_path, {("ag_news", 40): {"fixmatch": [30.0]}}, task_revision="one")
    write_cells(tmp_path, {("ag_news", 40): {"uda": [30.0]}}, task_revision="two")
    assert "different revisions of: task ag_news" in write_report(tmp_path).text


def test_another_schedule_is_not_called_the_published_one(tmp_path):
    write_cells(tmp_path, {("ag_news", 40): {"fixmatch": [30.0]}}, schedule="short")
    assert "Settings with the schedule short are not trained as the published ones were" in " ".join(
        write_report(tmp_path).text.split()
    )


def test_the_pretrained_models_of_published_numbers_stand_beside_ours(tmp_path):
    write_cells(tmp_path, {("cifar100", 200): {"fixmatch": [29.0]}}, backbone="org/vit")
    write_cells(tmp_path, {("ag_news", 40): {"fixmatch": [30.0]}}, backbone="org/bert")
    note = next(note for note in table_notes(load_results(tmp_path)) if "pretrained model" in note)
    assert note == (
        "Reported numbers are of BERT-base uncased (here org/bert), ViT-S/2 at 32 px (here org/vit); with another "
        "pretrained model or image size do not expect the same numbers."
    )


def test_without_published_numbers_nobody_asks_for_their_model(tmp_path):
    write_cells(tmp_path, {("digits", 40): {"fixmatch": [29.0]}})
    assert not any("pretrained model" in note for note in table_notes(load_results(tmp_path)))
