"""Two algorithms, or two folders, run by run: the differences by hand, and the verdict that they allow."""

import pytest

from hf_ssl.benchmark.leaderboard.compare import compare
from hf_ssl.benchmark.leaderboard.notes import gap_notes
from hf_ssl.benchmark.leaderboard.runs import load_results

from tests.helpers.cell_files import write_cells

ERRORS = {
    ("ag_news", 40): {"fixmatch": [30.0, 32.0, 31.0], "freematch": [13.0, 14.0, 12.0], "uda": [30.0, 32.5, 30.5]},
    ("ag_news", 200): {"fixmatch": [12.0, 13.0], "freematch": [11.0, 11.5, 11.0], "uda": [12.0, 13.0]},
}


@pytest.fixture
def folder(tmp_path):
    return write_cells(tmp_path / "mine", ERRORS)


def test_differences_by_hand(folder):
    found = compare("freematch", "fixmatch", folder)
    first, second = found.rows
    # -17, -18, -19 and -1, -1.5; the third seed with 200 labels has no partner.
    assert (first.difference, first.standard_error) == (-18, pytest.approx(1 / 3**0.5))
    assert (second.difference, second.standard_error) == (-1.25, pytest.approx(0.25))
    assert found.difference == -9.625
    assert found.standard_error == pytest.approx((1 / 3 + 0.25**2) ** 0.5 / 2)
    assert (found.only_first, found.only_second) == (1, 0)
    lines = str(found).splitlines()
    assert lines[2].split() == ["ag_news", "40", "3", "13.00", "31.00", "-18.00", "0.58"]
    assert lines[-2] == "1 run of freematch without a partner: not counted."


@pytest.mark.parametrize("order", [("freematch", "fixmatch"), ("fixmatch", "freematch")])
def test_a_clear_difference(folder, order):
    assert compare(*order, folder).verdict == (
        "freematch is better than fixmatch: its error is lower by 9.62 ± 0.31 points over 2 settings (5 pairs of "
        "runs), lower in 2 of them."
    )


def test_no_difference(folder):
    assert compare("fixmatch", "uda", folder).verdict == (
        "No difference is shown: the error of fixmatch is lower by 0.00 ± 0.14 points over 2 settings (5 pairs of "
        "runs) than that of uda."
    )


def test_equal_means_are_no_difference(tmp_path):
    errors = {("ag_news", k): {"uda": [16 + 2 / 3, 16.4, 15.83], "vat": [16.4, 15.83, 16 + 2 / 3]} for k in range(6)}
    found = compare("uda", "vat", write_cells(tmp_path, errors))
    assert {row.difference for row in found.rows} == {0} and (found.difference, found.p_value) == (0, 1)


def test_a_single_seed_is_no_verdict(tmp_path):
    folder = write_cells(tmp_path, {("ag_news", 40): {"fixmatch": [30.0], "uda": [10.0]}})
    assert compare("uda", "fixmatch", folder).verdict.startswith("Not to be judged with a single seed: ")


def test_better_on_average_need_not_be_better_everywhere(tmp_path):
    errors = {("ag_news", k): {"uda": [1.0, 1.1], "vat": [2.0 + k, 2.2 + k]} for k in range(1, 7)}
    verdict = compare("uda", "vat", write_cells(tmp_path, errors)).verdict
    assert verdict.startswith("uda is better than vat") and ", lower in 6 of them (Wilcoxon p 0.031)." in verdict
    errors |= {("eurosat", k): {"uda": [9.0, 9.1], "vat": [8.5, 8.6]} for k in range(1, 7)}
    verdict = compare("uda", "vat", write_cells(tmp_path, errors)).verdict
    assert verdict.startswith("uda is better than vat")
    assert ", lower in 6 of them, so not consistently (Wilcoxon p 0." in verdict


def test_two_folders(folder, tmp_path):
    other = write_cells(tmp_path / "theirs", {("ag_news", 40): {"fixmatch": [31.0, 33.5], "freematch": [13.0, 14.0]}})
    found = compare(str(folder), str(other))
    rows = {row.name: (row.runs, row.difference) for row in found.rows}
    assert rows == {("ag_news 40", "fixmatch"): (2, -1.25), ("ag_news 40", "freematch"): (2, 0.0)}
    assert (found.first, found.second) == ("mine", "theirs")
    assert found.verdict.startswith(
        "mine is better than theirs: its error is lower by 0.62 ± 0.12 points over 2 numbers"
    )


def test_the_same_folder_twice(folder):
    assert "have the same errors over 6 numbers (16 pairs of runs)." in compare(str(folder), str(folder)).verdict


def test_folders_that_differ_in_their_backbone(folder, tmp_path):
    other = write_cells(tmp_path / "theirs", ERRORS, backbone="other/model")
    found = compare(str(folder), str(other))
    assert found.note == "The sides differ in backbone." and found.difference == 0


def trained(**training):
    return {"settings": {"training": {"max_steps": 300, **training}, "algorithm": {}}}


def test_algorithms_that_were_trained_for_other_steps_are_told_apart(tmp_path):
    errors = {("ag_news", 40): {"uda": [30.0, 31.0]}}
    write_cells(tmp_path, errors, **trained(learning_rate=0.1))
    # A learning rate of its own is a part of an algorithm's recipe, other steps are not.
    write_cells(tmp_path, {("ag_news", 40): {"vat": [40.0, 41.0]}}, **trained(learning_rate=0.2))
    assert compare("uda", "vat", tmp_path).note == ""
    write_cells(tmp_path, {("ag_news", 40): {"dash": [60.0, 61.0]}}, **trained(max_steps=3))
    assert compare("uda", "dash", tmp_path).note == (
        "Runs that are compared were not trained alike: ag_news 40 (max_steps). Their errors tell of that, too, not "
        "of the algorithms alone."
    )
    assert compare("uda", "vat", tmp_path).note == ""


def test_seeds_that_were_trained_differently_are_named(tmp_path):
    write_cells(tmp_path, {("ag_news", 40): {"uda": [30.0], "vat": [30.0, 30.0]}}, **trained())
    write_cells(tmp_path, {("ag_news", 40): {"uda": [None, 31.0]}}, **trained(ema_decay=0.9))
    assert compare("uda", "vat", tmp_path).note == (
        "Seeds of one algorithm were trained with different settings: uda in ag_news 40 (ema_decay)."
    )
    (note,) = gap_notes(load_results(tmp_path))
    assert note == compare("uda", "vat", tmp_path).note


def test_folders_that_were_trained_differently_say_so(tmp_path):
    for name, steps in (("long", 300), ("short", 3)):
        write_cells(tmp_path / name, {("ag_news", 40): {"uda": [30.0, 31.0]}}, **trained(max_steps=steps))
    found = compare(str(tmp_path / "long"), str(tmp_path / "short"))
    assert found.note == "The sides were not trained alike: uda in ag_news 40 (max_steps)."
    assert found.note in str(found)


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ("freemach", "fixmatch", "algorithms of {folder}, got 'freemach'; did you mean freematch"),
        ("{folder}", "fixmatch", "A and B must be two folders or two algorithms, got {folder} and fixmatch"),
        ("{folder}", "{empty}", "A and B must have runs with the same task, labels, algorithm and seed, got"),
    ],
)
def test_wrong_sides_are_named(folder, tmp_path, first, second, says):
    (tmp_path / "empty").mkdir()
    names = {"folder": folder, "empty": tmp_path / "empty"}
    with pytest.raises(ValueError) as error:
        compare(first.format(**names), second.format(**names), folder)
    assert says.format(**names) in str(error.value) and "\n" not in str(error.value)


def test_algorithms_without_a_common_run(tmp_path):
    folder = write_cells(tmp_path, {("ag_news", 40): {"uda": [1.0]}, ("ag_news", 200): {"vat": [1.0]}})
    with pytest.raises(ValueError, match="A and B must have runs with the same setting and seed, got uda and vat"):
        compare("uda", "vat", folder)
