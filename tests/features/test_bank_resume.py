"""A pass that was stopped, at any moment, resumes where it stopped and gives the same bits."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hf_ssl.features import store

from tests.helpers.feature_banks import BATCH, POOL, CountingCalls, encode, pool
from tests.helpers.tiny_tasks import new_model

ROOT = Path(__file__).resolve().parents[2]
# 16 batches of texts are sorted together.
WINDOW = 16 * BATCH


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return encode(tmp_path_factory.mktemp("whole")).features


def as_it_is(dataset):
    return dataset


def streamed(dataset):
    return dataset.to_iterable_dataset()


@pytest.mark.parametrize("kind", [as_it_is, streamed])
@pytest.mark.parametrize("stopped_at", [1, 17, 40, 75])
def test_only_the_rest_is_encoded_and_the_bits_are_the_same(whole, tmp_path, monkeypatch, kind, stopped_at):
    monkeypatch.setattr(store, "_SAVE_SECONDS", -1.0)
    model = new_model("text", 1)
    CountingCalls(model, fails_at=stopped_at)
    with pytest.raises(KeyboardInterrupt):
        encode(tmp_path, model, kind(pool()))
    again = new_model("text", 1)
    counting = CountingCalls(again)
    bank = encode(tmp_path, again, kind(pool()))
    assert np.array_equal(bank.features, whole)
    assert counting.examples == POOL - (stopped_at - 1) // 16 * WINDOW
    assert bank.labels.tolist() == pool()["label"]
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [bank.key]


@pytest.mark.parametrize("moment", ["header", "facts", "rename"])
def test_a_kill_while_finishing_loses_nothing(whole, tmp_path, monkeypatch, moment):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        target, name = {
            "header": (store, "_header"),
            "facts": (store, "atomic_write"),
            "rename": (store.Path, "rename"),
        }[moment]
        real = getattr(target, name)

        def fails_at_the_end(path, *rest):
            return killed() if moment != "facts" or Path(path).name == "bank.json" else real(path, *rest)

        patch.setattr(target, name, fails_at_the_end)
        with pytest.raises(KeyboardInterrupt):
            encode(tmp_path)
    model = new_model("text", 1)
    counting = CountingCalls(model)
    assert np.array_equal(encode(tmp_path, model).features, whole)
    assert counting.calls == 0


def test_rows_after_the_last_save_are_cut_off(tmp_path):
    writer = store.PartWriter(tmp_path / "x.partial")
    writer.append({"features": np.ones((3, 2), np.float32)}, [1])
    writer.save()
    writer.append({"features": np.full((3, 2), 5, np.float32)}, [4])
    writer._files["features"].flush()
    again = store.PartWriter(tmp_path / "x.partial")
    assert again.rows == 3 and again.broken == [1]
    again.append({"features": np.full((1, 2), 7, np.float32)}, [])
    again.save()
    store.finish(tmp_path / "x.partial", tmp_path / "x", 1, {"modality": "text"})
    arrays, facts = store.load(tmp_path / "x")
    assert arrays["features"].tolist() == [[1, 1]] * 3 + [[7, 7]]
    assert facts == {"modality": "text", "rows": 4, "broken": [1]}


@pytest.mark.slow
def test_a_process_that_is_killed_is_resumed(whole, tmp_path):
    command = [sys.executable, str(ROOT / "tests" / "helpers" / "feature_banks.py"), str(tmp_path), "0.15"]
    process = subprocess.Popen(command, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""})
    limit = time.monotonic() + 300
    while not (saved := list((tmp_path / "cache").glob("*.partial/progress-0-of-1.json"))):
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    done = sum(json.loads(saved[0].read_text())["window_rows"])
    assert 0 < done < POOL
    model = new_model("text", 1)
    counting = CountingCalls(model)
    bank = encode(tmp_path / "cache", model)
    assert counting.examples == POOL - done
    assert np.array_equal(bank.features, whole)
