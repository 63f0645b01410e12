"""Two processes share the work, and both have what one would have made."""

import json

import numpy as np
import pytest

from tests.helpers.feature_banks import POOL, encode, pool
from tests.helpers.launching import ROOT, launch

pytestmark = [pytest.mark.multiprocess, pytest.mark.slow]


def test_two_processes_encode_half_each_and_load_the_same(tmp_path):
    launch(ROOT / "tests" / "helpers" / "feature_banks.py", str(tmp_path), "0")
    reports = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    alone = encode(tmp_path / "alone")
    for rank, report in enumerate(reports):
        assert np.array_equal(np.load(tmp_path / f"rank{rank}.npy"), alone.features)
        assert report["same as streamed"] and report["key"] == alone.key
        assert report["labels"] == report["streamed labels"] == pool()["label"]
    # Both datasets: as it is and streamed.
    shares = [report["examples"] for report in reports]
    assert sum(shares) == 2 * POOL and max(shares) <= 1.3 * POOL
    left = sorted(path.name for path in (tmp_path / "cache" / alone.key).iterdir())
    assert left == ["bank.json", "features.npy", "labels.npy"]
