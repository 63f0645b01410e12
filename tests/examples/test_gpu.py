"""The benchmark for GPUs: it says that there is none, and its parts work where there is none."""

import importlib
import re

import pytest
import torch

from hf_ssl.model.micro_batches import pieces


@pytest.fixture(scope="module")
def gpu(benchmark_scripts):
    """The script, as a module."""
    return importlib.import_module("gpu")


def test_without_a_gpu_it_says_so_in_one_line(gpu, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 1
    said = capsys.readouterr()
    assert said.out == "" and re.fullmatch(r"gpu\.py must have a GPU, and torch sees none; try .*\n", said.err)


def test_memory_and_hours_are_measured_with_tiny_models_on_a_cpu(gpu, capsys):
    assert gpu.main(["--device", "cpu", "--tiny", "--parts", "waits", "memory", "hours"]) == 0
    printed = capsys.readouterr().out
    assert "only a GPU is waited for" in printed
    assert [line.split()[0] for line in printed.splitlines() if re.match(r"\d+ +[\d,]+ ", line)] == ["1", "7"]
    # Five tasks of two label settings, of which Semi-Aves has one, and three seeds.
    rows = re.findall(r"(ViT-\S+ at \d+ px) +(\d+) +([\d.]+) +([\d,.]+)$", printed, flags=re.MULTILINE)
    assert [int(runs) for _, runs, _, _ in rows] == [6, 6, 6, 6, 3]
    for _, runs, milliseconds, spent in rows:
        expected = int(runs) * 204_800 * float(milliseconds) / 3.6e6
        assert float(spent.replace(",", "")) == pytest.approx(expected, rel=0.05, abs=0.1)


@pytest.mark.slow
def test_steps_are_compared_with_tiny_models_on_a_cpu(gpu, capsys, monkeypatch):
    import step_time

    monkeypatch.setattr(step_time, "TASKS", dict(step_time.TASKS))
    assert gpu.main(["--device", "cpu", "--tiny", "--parts", "steps"]) == 0
    rows = re.findall(r"ViT-S/8, 16 px +(\S+)( +[\d.]+){3}$", capsys.readouterr().out, flags=re.MULTILINE)
    assert [mode for mode, _ in rows] == ["float32", "bfloat16"]


def test_a_step_computes_gradients_of_all_its_views(gpu):
    model = gpu.vit("S", 8, 16, tiny=True)
    seen = []
    model.register_forward_pre_hook(lambda _, __, given: seen.append(len(given["pixel_values"])), with_kwargs=True)
    step = gpu.Step(model, gpu.pixels_of(16, "cpu"), 4, 3, bf16=False, micro_batch=6)
    assert step.run() > 0
    # 12 weak views without gradient; 4 + 12 with, of which all but the last piece are computed again.
    sizes = [len(piece["x"]) for piece in pieces({"x": torch.zeros(16)}, 6)]
    assert seen == [6, 6, *sizes, *sizes[-2::-1]]
    assert any(parameter.grad.abs().max() > 0 for parameter in model.parameters())
