"""FSDP2 on two processes trains, averages, evaluates, saves and resumes as DDP does."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import ViTForImageClassification

from tests.helpers import sharded_models
from tests.helpers.launching import ROOT, launch
from tests.helpers.two_processes import make_trainer

pytestmark = [pytest.mark.multiprocess, pytest.mark.slow]

# In float64; other cases are in float32, and in bfloat16 each process rounds what it sends.
_CLOSE = {"batch norm": 1e-5, "head, bfloat16": 3e-2}


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    launch(ROOT / "tests" / "helpers" / "sharded_models.py", str(folder))
    return folder, [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("name", sharded_models.CASES)
def test_a_sharded_training_is_that_of_ddp(name, reports):
    """Weights, moving average, heads and memories, optimizer, each log line with the norm of the gradients."""
    folder, (first, second) = reports
    close = _CLOSE.get(name, 1e-9)
    expected, found = (load_file(folder / "compared" / f"{kind}-{name}.safetensors") for kind in ("ddp", "fsdp"))
    assert expected.keys() == found.keys()
    far = {key: (expected[key].double() - found[key].double()).abs().max().item() for key in expected}
    assert {key: distance for key, distance in far.items() if distance > close} == {}
    # Nothing is shown by weights that stay.
    both = [key[4:] for key in found if key.startswith("ema/") and f"student/{key[4:]}" in found]
    assert any(not torch.equal(found[f"ema/{key}"], found[f"student/{key}"]) for key in both)
    for report in (first, second):
        logs = report["logs"]
        for row, again in zip(logs[f"ddp {name}"], logs[f"fsdp {name}"], strict=True):
            assert again == pytest.approx(row, rel=close, abs=close)
        for weights, values in report["evaluation"][f"ddp {name}"].items():
            assert report["evaluation"][f"fsdp {name}"][weights] == pytest.approx(values, rel=max(close, 1e-6))


@pytest.mark.parametrize("kept", ["student", "ema"])
def test_no_process_has_a_whole_model(kept, reports):
    (mine, total), (others, _) = (report["parts"][kept] for report in reports[1])
    assert mine + others == total
    assert max(mine, others) < 0.75 * total


def test_an_update_of_the_average_sends_nothing(reports):
    assert [report["parts"]["sent"] for report in reports[1]] == [0, 0]


def test_parts_and_whole_heads_are_clipped_by_their_common_norm(reports):
    for report in reports[1]:
        norm, count, (left,) = report["clipped"]
        assert norm == pytest.approx(count**0.5, rel=1e-12)
        assert left == pytest.approx(0.5 / (norm + 1e-6), rel=1e-12)


@pytest.mark.parametrize("name", sharded_models.RESUMED)
def test_resuming_a_sharded_training_is_bit_for_bit(name, reports):
    assert [report["resumed"][name]["differing"] for report in reports[1]] == [[], []]


@pytest.mark.parametrize("change", ["fsdp to ddp", "ddp to fsdp"])
def test_a_training_goes_on_sharded_or_not(change, reports):
    assert max(report["resumed"]["simmatch"][change] for report in reports[1]) < 1e-9


def test_evaluation_before_and_a_second_training_are_those_of_ddp(reports):
    for report in reports[1]:
        expected, found = report["best"]["ddp"], report["best"]["fsdp"]
        assert found["before"] == pytest.approx(expected["before"], rel=1e-9)
        assert found["history"] == pytest.approx(expected["history"], rel=1e-9)
        for weights, values in expected["again"].items():
            assert found["again"][weights] == pytest.approx(values, rel=1e-9)


def test_heads_are_whole_and_the_same_in_all_processes(reports):
    first, second = (report["best"]["fsdp"]["heads"] for report in reports[1])
    assert first == second
    assert torch.tensor(first).shape == torch.tensor(reports[1][0]["best"]["ddp"]["heads"]).shape


def test_the_best_model_is_evaluated_saved_and_loaded_without_fsdp(reports, tmp_path):
    folder, (report, _) = reports
    found = report["best"]["fsdp"]
    assert found["after"] == pytest.approx(min(found["history"]), rel=1e-9)
    saved = ViTForImageClassification.from_pretrained(folder / "fsdp-saved")
    again = make_trainer(tmp_path, "simmatch", model=saved, ema_role="none", double=True)
    assert again.evaluate()["eval_loss"] == pytest.approx(found["after"], rel=1e-6)
    assert json.loads((folder / "fsdp-saved" / "config.json").read_text())["architectures"] == [
        "ViTForImageClassification"
    ]
    assert "FSDP" not in (folder / "fsdp-saved" / "README.md").read_text()


def test_vat_is_refused_before_the_first_step(reports):
    for report in reports[1]:
        assert report["refusal"].startswith("VAT cannot train a sharded model: it differentiates twice")
