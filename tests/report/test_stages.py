"""The table of stages: which columns it has, and how rows are told apart."""

import pytest

from hf_ssl.features.choose import Comparison, Estimate
from hf_ssl.report.stages import stage_rows, verdict

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


# measured difference, expected one -> what is said
SAID = {
    "better": (0.2, 0.1, "the pool changes labels alone by +20.0 ± 10.0 points, which supports it."),
    "worse": (-0.2, -0.1, "the pool changes labels alone by -20.0 ± 10.0 points, which speaks against it."),
    "uncertain": (
        -0.05,
        0.02,
        "by -5.0 ± 10.0 points, which is too uncertain to speak against it: together with what it brought on data "
        "that were looked at, +2.0 ± 3.0 points are expected.",
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_labels_that_were_held_out_support_only_what_they_say(case):
    difference, expected, sentence = SAID[case]
    estimate = Estimate(0.5, 0.1, 12)
    found = Comparison(estimate, estimate, difference, 0.1, expected, 0.03)
    assert verdict([{**PROBE, "kept": True}], found, None).endswith(sentence)
