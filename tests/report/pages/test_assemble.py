"""What holds for every page: its data cannot end their element, and its scales have round numbers."""

import json
import re

import pytest

from hf_ssl.report.pages.assemble import embedded
from hf_ssl.report.pages.svg import Scale


def test_json_cannot_end_its_element():
    value = {"</script>": "<!--<script>&amp;\u2028"}
    text = embedded(value)
    assert not re.search("[<>&\u2028]", text) and json.loads(text) == value


def test_json_has_only_finite_numbers():
    with pytest.raises(ValueError, match="JSON compliant"):
        embedded([float("nan")])


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 1.0], [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([-1.0, 1.0], [-1.0, -0.5, 0.0, 0.5, 1.0]),
        ([5.0], [4.6, 4.8, 5.0, 5.2, 5.4]),
        ([0.0], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
    ],
)
def test_ticks_are_round_numbers_within_the_scale(values, ticks):
    assert Scale(values, 0, 100).ticks() == pytest.approx(ticks)
