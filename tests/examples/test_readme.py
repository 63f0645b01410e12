"""What the README shows must run."""

import re
from pathlib import Path

import pytest

from hf_ssl.algorithms import ALGORITHMS

README = Path(__file__).resolve().parents[2] / "README.md"


def code_blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_algorithm_of_one_s_own_trains(make_trainer):
    (source,) = [block for block in code_blocks("python") if "class SmoothMatch" in block]
    namespace = {}
    exec(compile(source, "README.md", "exec"), namespace)
    trainer = make_trainer(trainer={"algorithm": namespace["SmoothMatch"]}, algorithm_kwargs={"power": 2.0})
    trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert trainer.algorithm.power == 2.0
    assert all(row["loss"] == pytest.approx(row["supervised"] + row["unsupervised"], rel=1e-5) for row in rows)
    assert all(0 < row["mask_ratio"] < 1 for row in rows)


def test_the_first_example_uses_real_settings(tmp_path):
    from hf_ssl import SSLConfig

    (source,) = [block for block in code_blocks("python") if "google/vit" in block]
    (call,) = re.findall(r"SSLConfig\((.*?)\n?\)", source, flags=re.DOTALL)
    args = eval(f"SSLConfig({call}, use_cpu=True)", {"SSLConfig": SSLConfig})
    assert args.ema_evaluates


def test_every_algorithm_stands_in_the_table():
    text = README.read_text(encoding="utf-8")
    assert [name for name in ALGORITHMS if f"| `{name}` |" not in text] == []


def test_every_file_it_names_exists():
    names = re.findall(r"`((?:hf_ssl|examples|tests)/[\w/]+\.py)`", README.read_text(encoding="utf-8"))
    assert len(names) > 4
    assert [name for name in names if "NAME" not in name and not (README.parent / name).exists()] == []
