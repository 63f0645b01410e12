"""Two processes share a stream: each has full batches in every step, and both resume exactly."""

import json

import pytest

from tests.helpers import stream_processes
from tests.helpers.launching import ROOT, launch

pytestmark = [pytest.mark.multiprocess, pytest.mark.slow]
STEPS, BATCH = 6, 4


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams")
    launch(ROOT / "tests" / "helpers" / "stream_processes.py", str(folder))
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("name", stream_processes.POOLS)
def test_processes_stay_equal_and_resume_exactly(name, reports):
    for report in reports:
        assert report[name]["between"] == report[name]["resumed"] == []
        assert report[name]["seen again"] == report[name]["seen"][3:]


@pytest.mark.parametrize("name", stream_processes.POOLS)
def test_every_process_has_full_batches_of_its_own_rows(name, reports):
    seen = [report[name]["seen"] for report in reports]
    assert [[len(batch) for batch in batches] for batches in seen] == [[BATCH] * STEPS] * 2
    first, second = ({position for batch in batches for position in batch} for batches in seen)
    assert not first & second
    if "uneven" in name:
        # Of 24 draws: the process with 4 rows has begun again, and with the shards in another order from then on.
        assert len(first) == 20 and 4 < len(second) < 24
    else:
        assert sorted(first | second) == list(range(24))
