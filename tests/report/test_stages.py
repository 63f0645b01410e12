"""The table of stages: which columns it has, and how rows are told apart."""

import pytest

from hf_ssl.report.stages import stage_rows

PROBE = {"algorithm": "probe", "seed": 0, "test_accuracy": 0.5, "seconds": 1.0, "estimate": None, "kept": False}
BASE = {"algorithm": "supervised", "seed": 0, "test_accuracy": 0.6, "seconds": 2.0}
TUNED = {"algorithm": "fixmatch", "seed": 0, "test_accuracy": 0.7, "seconds": 3.0, "kept": True}
MEMBER = {"algorithm": "lora", "title": "tiny: LoRA", "seed": 0, "test_accuracy": None, "seconds": 4.0}
WITH, WITHOUT = 5, 4
# case: (rows, number of columns, first cells)
CASES = {
    "stages on features": (
        [PROBE, TUNED],
        WITH,
        ["probe (labels alone, frozen features)", "fixmatch (fine-tuned from there)"],
    ),
    "one training and its baseline": ([BASE, TUNED], WITHOUT, ["supervised (labels alone, fine-tuned)", "fixmatch"]),
    "several seeds": ([TUNED, {**TUNED, "seed": 1}], WITHOUT, ["fixmatch, seed 0", "fixmatch, seed 1"]),
    "members of an ensemble": ([MEMBER], WITHOUT, ["tiny: LoRA"]),
    "nothing yet": ([], WITH, []),
}


@pytest.mark.parametrize("case", CASES)
def test_columns_and_names_follow_from_what_was_trained(case):
    runs, columns, names = CASES[case]
    header, rows = stage_rows(runs)
    assert len(header) == columns and ("estimate from labels" in header) == (columns == WITH)
    assert [row[0] for row in rows] == names and all(len(row) == columns for row in rows)
