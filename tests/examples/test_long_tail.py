"""The evidence on corrections for long tails: which runs there are, and what is made of their numbers."""

import json

import pytest

from hf_ssl.algorithms.imbalance import IMBALANCE


@pytest.fixture(scope="module")
def script(benchmark_scripts):
    """The script, as a module."""
    import long_tail

    return long_tail


@pytest.fixture(scope="module")
def report(benchmark_scripts):
    """What makes tables and the picture, as a module."""
    import long_tail_report

    return long_tail_report


def row(imbalance, seed, accuracy, pool="consistent", algorithm="fixmatch"):
    fields = {"task": "images", "pool": pool, "start": "head", "algorithm": algorithm, "imbalance": imbalance}
    return {**fields, "seed": seed, "balanced_accuracy": accuracy}


ROWS = [
    *(row("none", seed, 0.50 + 0.02 * seed) for seed in range(3)),
    *(row("abc", seed, 0.55 + 0.02 * seed + 0.001 * (seed == 1)) for seed in range(3)),
    *(row("darp", seed, accuracy) for seed, accuracy in enumerate((0.48, 0.51, 0.52))),
    *(row("saw", seed, accuracy) for seed, accuracy in enumerate((0.50, 0.60))),
]


def test_gains_are_paired_by_seed(report):
    gain = report.gain
    found = gain(ROWS, "abc", pool="consistent", algorithm="fixmatch")
    assert found.mean == pytest.approx(5.033, abs=1e-3) and found.error == pytest.approx(0.0333, abs=1e-3)
    assert found.verdict == "better" and str(found) == "**+5.0 ± 0.0**"
    assert gain(ROWS, "darp").verdict == "worse" and str(gain(ROWS, "darp")) == "*-1.7 ± 0.3* ▼"
    assert gain(ROWS, "saw") == report.Gain(pytest.approx(4.0), None), "two draws have no error"
    assert gain(ROWS, "cdmad") is None


def test_the_table_is_in_the_order_of_the_gains(report, tmp_path):
    lines = report.table(ROWS).splitlines()
    assert [line.split("|")[1].strip() for line in lines[4:]] == ["plain, accuracy", "`abc`", "`saw`", "`darp`"]
    report.picture(ROWS, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5_000


def test_every_correction_is_run_with_every_algorithm_that_it_allows(script):
    rows = list(script.rows(["images"], [0, 1], ["head", "features"]))
    assert len({script.identity(each) for each in rows}) == len(rows)
    assert {each["imbalance"] for each in rows} == {"none", *IMBALANCE}
    assert {each["algorithm"] for each in rows if each["start"] == "head"} == set(script.ALGORITHMS)
    assert {each["algorithm"] for each in rows if each["start"] == "features"} == {"fixmatch"}
    assert set(script.IMBALANCE_SETTINGS) <= set(IMBALANCE)


def test_a_run_is_added_once(script, tmp_path):
    path = tmp_path / "runs.json"
    for accuracy in (0.4, 0.5):
        script.add(path, row("abc", 0, accuracy))
    script.add(path, row("none", 0, 0.3))
    assert [(each["imbalance"], each["balanced_accuracy"]) for each in script.read(path)] == [
        ("abc", 0.5),
        ("none", 0.3),
    ]
    assert json.loads(path.read_text())["settings"]["training"]["max_steps"] == 300
