"""The script that kills the command: it sees what is lost, and nothing is."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hf_ssl.training import checkpoint_files

from tests.helpers.launching import ROOT


@pytest.fixture(scope="module")
def chaos(benchmark_scripts):
    """The script, as a module."""
    import chaos

    return chaos


@pytest.fixture(scope="module")
def compare(benchmark_scripts):
    """The comparison of two runs, as a module."""
    import chaos_compare

    return chaos_compare


# ---- Two runs are compared ----


def make_run(folder, *, weight=1.0, steps=12, seconds=2.0, card="took 2 s", turned=False, processes=1):
    checkpoint = folder / "checkpoint-12"
    checkpoint.mkdir(parents=True)
    metadata = {"format": "pt", "hf_ssl": json.dumps({"processes": processes, "seconds": seconds})}
    metadata = dict(reversed(metadata.items())) if turned else metadata
    for place in (folder, checkpoint):
        save_file({"weight": torch.tensor([weight])}, place / "model.safetensors", metadata)
    results = {"runs": [{"steps": steps, "seconds": seconds, "eval_runtime": seconds}], "none": None}
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "README.md").write_text(card)
    (checkpoint / "checksums.sha256").write_text(f"{sha256(card.encode()).hexdigest()} *model.safetensors\n")
    (folder / "curves.png").write_bytes(b"picture")
    return folder


CHANGES = {
    "nothing": ({}, []),
    "the clock": ({"seconds": 3.0, "card": "took 3 s"}, []),
    "the order of a file's metadata": ({"turned": True}, []),
    "the last bit of a weight": (
        {"weight": 1.0 + 2**-23},
        [f"{name}model.safetensors differs in weight and 0 more" for name in ("checkpoint-12/", "")],
    ),
    "a number in the metadata": (
        {"processes": 2},
        [
            f"{name}model.safetensors differs in metadata hf_ssl.processes and 0 more"
            for name in ("checkpoint-12/", "")
        ],
    ),
    "a number": ({"steps": 13}, ["results.json differs in .runs.0.steps and 0 more"]),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_runs_differ_by_what_they_hold_and_not_by_the_clock(compare, tmp_path, change, expected):
    folders = make_run(tmp_path / "a"), make_run(tmp_path / "b", **change)
    assert compare.differences(*folders) == expected


def test_a_folder_too_many_or_too_few_is_named_once(compare, tmp_path):
    whole, other = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    (other / "checkpoint-12").rename(other / "checkpoint-13")
    (other / "curves.png").write_bytes(b"another")
    expected = ["checkpoint-12 is missing", "checkpoint-13 is left over", "curves.png differs"]
    assert compare.differences(whole, other) == expected


# ---- Damaged checkpoints ----


def refuse_all(folder, output_dir):
    raise ValueError("one of a.json, b.bin is damaged")


def refuse_without_a_name(folder, output_dir):
    raise ValueError("something is damaged")


def fail(folder, output_dir):
    raise KeyError("a.json")


@pytest.mark.parametrize(
    ("choose", "refused"),
    [(refuse_all, 6), (refuse_without_a_name, 0), (fail, 0), (lambda *_: "accepted", 0)],
)
def test_a_damaged_file_is_lost_unless_it_is_refused_by_its_name(chaos, monkeypatch, tmp_path, choose, refused):
    for name in ("checkpoint-9", "checkpoint-12"):
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name / "a.json").write_text("{}")
        (tmp_path / "run" / name / "b.bin").write_text(name)
    arena = chaos.Arena(tmp_path, False, 0)
    arena.reference = lambda run, processes: (tmp_path / "run", 1.0)
    monkeypatch.setattr(checkpoint_files, "choose_checkpoint", choose)
    row = chaos.damage_checkpoint(arena, "flips", 3)
    assert (row.times, row.refused, row.lost) == (6, refused, 6 - refused)
    # Of two files, the one that is the same in both checkpoints is not exchanged.
    assert chaos.damage_checkpoint(arena, "mixed", 3).times == 1
    assert (tmp_path / "run" / "checkpoint-12" / "b.bin").read_text() == "checkpoint-12"


def test_damage_is_one_bit_or_a_missing_end(chaos):
    rng = np.random.default_rng(0)
    whole = rng.bytes(50)
    for _ in range(20):
        flipped, cut = chaos.damaged(whole, "flips", rng), chaos.damaged(whole, "cuts", rng)
        bits = [np.unpackbits(np.frombuffer(data, np.uint8)) for data in (whole, flipped)]
        assert (bits[0] != bits[1]).sum() == 1
        assert len(cut) < 50 and whole.startswith(cut)


# ---- The command ----


@pytest.mark.slow
@pytest.mark.multiprocess
def test_killed_runs_of_the_command_continue_bit_for_bit(tmp_path):
    """A short run: two kills at any moment, two while it saves, and each file of a checkpoint is damaged."""
    script = ROOT / "examples" / "benchmarks" / "chaos.py"
    options = ["--times", "4", "--damages", "1", "--runs", "flexmatch", "--processes", "1", "--output"]
    attacks = ["--attacks", "kill", "flips", "cuts", "mixed"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script), *options, str(tmp_path / "chaos.json"), *attacks],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads((tmp_path / "chaos.json").read_text())
    rows = [SimpleNamespace(**row) for row in found["rows"]]
    assert found["problems"] == [] and [row.lost for row in rows] == [0] * len(rows)
    # Something was attacked, and all of it survived or was refused by name.
    assert sum(row.kills for row in rows) >= 3 and [row.times for row in rows[:3]] == [1, 2, 2]
    assert all(row.same == row.times for row in rows[:3]) and all(row.refused == row.times > 5 for row in rows[3:])
