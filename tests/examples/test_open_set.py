"""The evidence on foreign examples: which runs there are, and what is made of their numbers."""

import numpy as np
import pytest

from tests.helpers.launching import ROOT


@pytest.fixture(scope="module")
def script(benchmark_scripts):
    """The script, as a module."""
    import open_set

    return open_set


def test_every_method_was_run_with_every_draw_and_the_page_has_their_table(script):
    found = script.read(script.RESULTS)
    assert [tuple(row[name] for name in script.FIELDS) for row in found] == sorted(
        tuple(row.values()) for row in script.rows()
    )
    assert script.table(found) in (ROOT / "examples" / "benchmarks" / "README.md").read_text(encoding="utf-8")


def test_the_page_has_the_table_of_scores(benchmark_scripts):
    import open_set_scores

    found = open_set_scores.read(open_set_scores.RESULTS)
    assert len(found) == 20
    assert open_set_scores.table(found) in (ROOT / "examples" / "benchmarks" / "README.md").read_text(encoding="utf-8")


def test_lines_have_means_and_standard_errors(script):
    rows = [
        {"method": "iomatch", "open_set": "none", "labels": 4, "seed": seed, "accuracy": value, "own_auroc": None}
        for seed, value in enumerate((0.5, 0.6, 0.7))
    ]
    error = np.std([50, 60, 70], ddof=1) / 3**0.5
    assert script.summary(rows, 4) == [["`iomatch`", f"60.0 ± {error:.1f}", "", "", ""]]
    assert script.summary(rows, 25) == []
