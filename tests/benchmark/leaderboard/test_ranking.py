"""Ranks are over complete blocks; whatever is missing is named, and never made up."""

import pytest

from hf_ssl.benchmark.leaderboard.pairs import compare_pairs
from hf_ssl.benchmark.leaderboard.ranking import rank
from hf_ssl.benchmark.leaderboard.runs import Results, Run, Setting
from hf_ssl.benchmark.leaderboard.scopes import pair_notes, rank_notes, scopes


def setting(name, modality="text"):
    task, _, labels = name.partition(" ")
    return Setting(modality, task, int(labels), "m", "usb")


def results(table, modality="text"):
    """{"task labels": {algorithm: errors of the seeds}} as results; None is a run that is missing."""
    return Results(
        [
            Run(setting(name, modality), algorithm, seed, error, None, 10.0 + len(algorithm), {"cost": {}})
            for name, row in table.items()
            for algorithm, errors in row.items()
            for seed, error in enumerate(errors)
            if error is not None
        ]
    )


FULL = {
    "a 10": {"x": [10, 12], "y": [20, 22], "z": [30, 32]},
    "b 10": {"x": [5, 5], "y": [4, 4], "z": [5, 5]},
}


def test_ranks_by_hand():
    ranking = rank(results(FULL))
    # On a: 1, 2, 3; on b: 2.5, 1, 2.5.
    assert dict(zip(ranking.algorithms, ranking.mean_ranks, strict=True)) == {"y": 1.5, "x": 1.75, "z": 2.75}
    assert dict(zip(ranking.algorithms, ranking.mean_errors, strict=True)) == {"y": 12.5, "x": 8.0, "z": 18.0}
    assert (len(ranking.blocks), ranking.runs) == (2, 4)
    assert ranking.left_out == {} and ranking.incomplete == ()


def test_ranks_of_runs_are_over_single_runs():
    ranking = rank(results({"a 10": {"x": [1, 9], "y": [2, 3]}}))
    # Of the means 5 and 2.5 y is first; of the runs each is first once.
    assert ranking.algorithms == ("y", "x")
    assert ranking.mean_ranks.tolist() == [1, 2] and ranking.run_ranks.tolist() == [1.5, 1.5]


def test_an_algorithm_that_would_leave_few_blocks_is_left_out():
    table = {f"{name} 10": {"x": [1], "y": [2], "z": [3]} for name in "abcdef"}
    table["a 10"]["w"] = [0.5]
    ranking = rank(results(table))
    assert set(ranking.algorithms) == {"x", "y", "z"} and len(ranking.blocks) == 6
    assert ranking.left_out == {"w": 1}


def test_a_block_that_one_lacks_does_not_count():
    table = {f"{name} 10": {"x": [1], "y": [2], "z": [3]} for name in "abcdef"}
    del table["c 10"]["y"]
    found = results(table)
    ranking = rank(found)
    assert set(ranking.algorithms) == {"x", "y", "z"} and len(ranking.blocks) == 5
    assert ranking.incomplete == (setting("c 10"),)
    (scope,) = scopes(found)
    notes = " ".join(rank_notes(scope, found.titles))
    assert "3 of 3 algorithms over 5 of 6 settings" in notes
    assert "Not counted, because a ranked algorithm lacks them: c 10." in notes


def test_seeds_count_if_all_have_them():
    ranking = rank(results({"a 10": {"x": [1, 100, 3], "y": [2, None, 2]}}))
    assert ranking.seeds == ((0, 2),)
    assert dict(zip(ranking.algorithms, ranking.mean_errors, strict=True)) == {"x": 2.0, "y": 2.0}


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"a 10": {"x": [1, 2]}},
        {"a 10": {"x": [1]}, "b 10": {"y": [1]}},
        {"a 10": {"x": [1, None], "y": [None, 1]}},
    ],
    ids=["nothing", "one algorithm", "no common setting", "no common seed"],
)
def test_without_a_common_run_there_is_no_rank(table):
    found = results(table)
    assert rank(found) is None
    (scope,) = scopes(found)
    assert rank_notes(scope, found.titles)[0].startswith("No two algorithms have a run")


def test_one_block_has_no_test():
    found = results({"a 10": FULL["a 10"]})
    (scope,) = scopes(found)
    assert scope.ranking.test is None and scope.ranking.difference is None and scope.ranking.diagram.bars == []
    assert "One setting is not enough" in rank_notes(scope, found.titles)[-1]


def test_modalities_are_ranked_by_themselves_and_together():
    both = Results([*results(FULL).runs, *results({"c 10": {"x": [9], "y": [1], "z": [5]}}, "audio").runs])
    parts = scopes(both)
    assert [(part.name, len(part.ranking.blocks)) for part in parts] == [("all", 3), ("text", 2), ("audio", 1)]
    assert [part.title for part in parts] == ["All settings", "Texts", "Recordings"]


def test_of_many_algorithms_the_diagram_shows_the_best(tmp_path):
    from hf_ssl.benchmark.leaderboard.drawings import ranks_svg
    from hf_ssl.benchmark.leaderboard.pictures import draw_ranks

    table = {f"{task} 10": {f"a{k:03}": [k / 10] for k in range(200)} for task in ("a", "b")}
    ranking = rank(results(table))
    assert ranking.diagram.algorithms[-1] == "a059" and ranking.diagram.end == 60
    assert ranks_svg(ranking, "n").count("<path") == 60
    draw_ranks(tmp_path / "ranks.png", ranking)


# ---- Pairs ----


def test_pairs_by_hand():
    pairs = compare_pairs(results(FULL), ["x", "y", "z"])
    first = pairs.pairs[0]
    assert (first.first, first.second, first.settings, first.runs) == ("x", "y", 2, 4)
    # a: -10 twice; b: 1 twice.
    assert first.difference == -4.5 and first.standard_error == 0
    assert (first.wins, first.ties, first.losses) == (1, 0, 1)
    assert pairs.wins()["z", "x"] == (0, 1, 1)


def test_few_settings_are_compared_by_their_runs():
    table = {"a 10": {"x": [1, 2, 3], "y": [2, 4, 6]}, "b 10": {"x": [1, 2, 3], "y": [5, 7, 9]}}
    pairs = compare_pairs(results(table), ["x", "y"])
    # Six runs of two settings, all better by different amounts.
    assert pairs.unit == "run" and pairs.pairs[0].p_value == 0.03125


def test_many_settings_are_compared_by_their_means():
    table = {f"a {k}": {"x": [1, 2, 3], "y": [k + 1, k + 2, k + 3]} for k in range(1, 7)}
    pairs = compare_pairs(results(table), ["x", "y"])
    assert pairs.unit == "setting" and pairs.pairs[0].p_value == 0.03125
    assert pairs.pairs[0].difference == -3.5


def test_settings_that_a_pair_lacks_are_no_pairs():
    """Six settings of which two are shared: by settings no p below 0.5 would be possible."""
    table = {f"a {k}": {"x": [k, k + 1, k + 2], "y": [3 * k + 9, 3 * k + 11, 3 * k + 13]} for k in (1, 2)}
    table |= {f"a {k}": {"x": [k]} for k in (3, 4)} | {f"a {k}": {"y": [k]} for k in (5, 6)}
    (scope,) = scopes(results(table))
    assert len(scope.ranking.blocks) == 2
    assert scope.pairs.unit == "run" and scope.pairs.pairs[0].p_value == 0.03125
    notes = " ".join(pair_notes(scope.pairs, 2))
    assert "single runs, since some pair has fewer than 6 settings in common" in notes


def test_all_pairs_are_corrected_together():
    table = {f"a {k}": {"x": [k], "y": [2 * k], "z": [4 * k]} for k in range(1, 9)}
    pairs = compare_pairs(results(table), ["x", "y", "z"])
    assert [pair.p_value for pair in pairs.pairs] == [2 / 2**8] * 3
    assert [pair.corrected for pair in pairs.pairs] == [6 / 2**8] * 3


def test_no_difference_is_no_win():
    """100 - 100 * 0.9 and 100 * (1 - 0.9) differ in the last digit."""
    pairs = compare_pairs(results({"a 10": {"x": [100 - 100 * 0.9], "y": [10.0]}}), ["x", "y"])
    assert (pairs.pairs[0].wins, pairs.pairs[0].ties) == (0, 1) and pairs.pairs[0].p_value == 1


# Errors of 360 test examples, from the numbers of correct ones.
EQUAL_SUMS = [([305, 335, 320], [306, 334, 320]), ([300, 301, 303], [301, 303, 300])]


@pytest.mark.parametrize(("of_x", "of_y"), EQUAL_SUMS, ids=["other runs", "the same runs in another order"])
def test_equal_means_are_equal_to_the_last_digit(of_x, of_y):
    x, y = ([100 - 100 * (correct / 360) for correct in side] for side in (of_x, of_y))
    found = results({f"{task} 10": {"x": x, "y": y, "z": [90.0] * 3} for task in "abcdef"})
    ranking = rank(found)
    assert dict(zip(ranking.algorithms, ranking.mean_ranks, strict=True)) == {"x": 1.5, "y": 1.5, "z": 3.0}
    pair = compare_pairs(found, ["x", "y"]).pairs[0]
    assert (pair.wins, pair.ties, pair.losses) == (0, 6, 0)
    assert (pair.difference, pair.p_value) == (0, 1)


# ---- Costs ----


def test_costs_name_what_nothing_faster_beats():
    (scope,) = scopes(results({"a 10": {"x": [30], "yy": [40], "zzz": [10]}}))
    assert [(c.algorithm, c.seconds, c.error, c.is_best_value) for c in scope.costs] == [
        ("x", 11.0, 30.0, True),
        ("yy", 12.0, 40.0, False),
        ("zzz", 13.0, 10.0, True),
    ]
