"""The tables of the evidence: made from the cells, and those of the page are made from the kept ones."""

import math

import pytest

from hf_ssl.benchmark.grid import read_results
from hf_ssl.benchmark.submission.checks import check_cell


@pytest.fixture
def report(benchmark_scripts):
    import evidence_report

    return evidence_report


def record(algorithm, seed, accuracy, variant=None, place=("ag_news_4000", "minilm-mean")):
    cell = {"task": place[0], "backbone": place[1], "algorithm": algorithm, "seed": seed, "variant": variant}
    return {"cell": cell, "runs": [{"test_accuracy": accuracy}]}


RECORDS = [
    *(record("supervised", seed, accuracy) for seed, accuracy in enumerate((0.80, 0.82, 0.84))),
    # Gains of 3, 4 and 5 points: 4 on average, standard error 1 / sqrt(3) = 0.58.
    *(record("fixmatch", seed, accuracy) for seed, accuracy in enumerate((0.83, 0.86, 0.89))),
    # Gains of 4, -2 and 1 points: 1 on average, standard error sqrt(3) = 1.73.
    *(record("freematch", seed, accuracy) for seed, accuracy in enumerate((0.84, 0.80, 0.85))),
    *(record("adamatch", seed, accuracy) for seed, accuracy in enumerate((0.70, 0.71, 0.74))),
    record("softmatch", 0, 0.85),
    # From the features' head: 2 points more with seed 0, 6 with seed 2.
    record("fixmatch", 0, 0.85, "features"),
    record("fixmatch", 2, 0.95, "features"),
]


def lines_of(table):
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0].strip("`"): row[2] for row in rows}


def test_clear_differences_to_labels_alone_are_marked(report):
    assert lines_of(report.algorithms_table(report.collect(RECORDS))) == {
        "from a new head": "AG News",
        "---": "---",
        "supervised": "82.0 ± 2.0",
        "fixmatch": "86.0 ± 3.0 ▲",
        "adamatch": "71.7 ± 2.1 ▼",
        "freematch": "83.0 ± 2.6",
        "softmatch": "85.0 (1)",
    }


def test_gains_of_the_fitted_head_are_paired_by_seed(report):
    assert report.paired({0: 85.0, 2: 95.0}, {0: 83.0, 1: 86.0, 2: 89.0}) == [2.0, 6.0]
    rows = lines_of(report.starts_table(report.collect(RECORDS)))
    assert rows["fixmatch"] == f"90.0 (at least 85.0): +4.0 ± {math.sqrt(8) / math.sqrt(2):.1f} (2)"
    assert "freematch" not in rows


@pytest.mark.parametrize("table", ["algorithms", "starts"])
def test_the_page_shows_the_tables_of_the_kept_cells(report, benchmark_scripts, capsys, table):
    assert report.main([table]) == 0
    assert capsys.readouterr().out.strip() in (benchmark_scripts / "README.md").read_text(encoding="utf-8")


def test_the_kept_cells_could_be_published(report):
    """They are whole and have the keys of what they say, and no path or token is in them."""
    paths = sorted(report.RESULTS.glob("*/*/*/*/seed*.json"))
    assert len(paths) == len(list(read_results(report.RESULTS))) > 300
    for path in paths:
        check_cell(path, path.relative_to(report.RESULTS).as_posix())


def test_all_algorithms_have_the_same_labels_in_a_draw(report):
    draws: dict[tuple, set] = {}
    for content in read_results(report.RESULTS):
        cell = content["cell"]
        draws.setdefault((cell["task"], cell["num_labeled"], cell["seed"]), set()).add(cell["draw"])
    assert draws and all(len(found) == 1 for found in draws.values())
