"""The benchmark of a step compares two ways of computing the same thing."""

import argparse
import json

import pytest
import torch
from PIL import Image

from hf_ssl import ModelForward, Progress, SSLBatch, get_algorithm

from tests.helpers.tiny_images import make_vit
from tests.helpers.tiny_tasks import audio_model, text_model


@pytest.fixture(scope="module")
def benchmark(benchmark_scripts):
    """The script, as a module."""
    import step_time

    return step_time


def fixmatch_step(model, batch):
    sizes = {"num_classes": 3, "num_labeled": 2, "num_unlabeled": 4, "feature_size": 16}
    algorithm = get_algorithm("fixmatch", **sizes, labeled_batch_size=2, unlabeled_batch_size=4, threshold=0.3)
    loss = algorithm(ModelForward(model), batch, Progress(0, 10, 5)).loss
    loss.backward()
    torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0).step()


def test_the_bare_loop_takes_the_step_that_fixmatch_takes(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "THRESHOLD", 0.3)
    first, second = make_vit(), make_vit()
    torch.manual_seed(0)
    images = [{"pixel_values": torch.randn(n, 3, 12, 12)} for n in (2, 4, 4)]
    batch = SSLBatch(images[0], torch.tensor([0, 2]), {"weak": images[1], "strong": images[2]})
    benchmark.Bare(first, benchmark.Clock(torch.device("cpu")), bf16=False).step(batch)
    fixmatch_step(second.train(), batch)
    before = make_vit().state_dict()
    for name, weight in first.state_dict().items():
        assert torch.allclose(weight, second.state_dict()[name], atol=1e-6), name
        assert not torch.equal(weight, before[name]), name


def test_two_views_of_texts_are_padded_with_zeros_to_one_length(benchmark):
    views = [{"input_ids": torch.ones(2, n, dtype=torch.int64), "attention_mask": torch.ones(2, n)} for n in (3, 5)]
    together = benchmark.joined(*views)
    assert together["attention_mask"].tolist() == [[1, 1, 1, 0, 0]] * 2 + [[1] * 5] * 2
    assert together["input_ids"].shape == (4, 5)


@pytest.mark.parametrize("task", ["ViT-Tiny, 32 px", "BERT, news", "wav2vec 2.0, 1 s"])
def test_both_are_timed_in_turns_and_taken_apart(task, benchmark, monkeypatch, tmp_path, capsys):
    models = {"image": make_vit, "text": text_model, "audio": audio_model}
    modality, _, data = benchmark.TASKS[task]
    small = {
        "image": lambda: benchmark.images(12, 12, 12, "PNG"),
        "text": lambda: benchmark.texts([3, 7, 20]),
        "audio": data,
    }
    monkeypatch.setitem(benchmark.TASKS, task, (modality, of_ten_classes(models[modality]), small[modality]))
    torch.set_num_threads(1)
    settings = {
        "labeled": 2,
        "ratio": 1,
        "block": 3,
        "rounds": 2,
        "workers": 0,
        "ema": True,
        "bf16": False,
        "compile": False,
    }
    result = benchmark.measure(task, argparse.Namespace(**settings), str(tmp_path))
    assert 0.1 < result["ratio"] < 100 and 0.1 < result["cpu_ratio"] < 100
    for who, parts in result["parts_ms"].items():
        assert set(parts) == set(benchmark.PARTS)
        assert min(parts[name] for name in ("forward", "backward", "optimizer")) > 0
        assert (parts["data"] > 0) is (parts["EMA"] > 0) is (who == "SSLTrainer")
    benchmark.draw(tmp_path / "picture.png", [result], "title")
    assert Image.open(tmp_path / "picture.png").width > 300
    json.dumps(result)


def of_ten_classes(new_model):
    def make():
        model = new_model()
        model.config.num_labels = 10
        model.classifier = torch.nn.Linear(model.classifier.in_features, 10)
        if hasattr(model, "bert"):
            model.resize_token_embeddings(5005)
        return model

    return make
