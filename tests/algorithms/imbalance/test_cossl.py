"""CoSSL: it mixes and labels with the balanced head, unlike a published implementation; where its labels come from."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from hf_ssl import ModelForward, Progress, SSLBatch, SSLConfig, SSLTrainer, get_algorithm
from hf_ssl.algorithms.fixmatch import FixMatch
from hf_ssl.algorithms.imbalance.cossl import CoSSL
from hf_ssl.batches.collators import SSLCollator
from hf_ssl.batches.dataset import ViewDataset
from hf_ssl.batches.sampler import ExampleKey

from tests.helpers.tiny_tasks import new_model, task

GOLDEN = Path(__file__).resolve().parents[2] / "known_answers" / "imbalance" / "cossl-default.safetensors"
COUNTS = [8, 5, 2, 1]
FIXED = ("balanced_labels", "mix_lambda", "mix_choice")
SIZES = {"num_unlabeled": 24, "feature_size": 6, "labeled_batch_size": 4, "unlabeled_batch_size": 8}


def make(**settings):
    sizes = {**SIZES, "num_classes": 4, "num_labeled": 16, "threshold": 0.7}
    kwargs = {"class_counts": COUNTS, "imbalance_kwargs": settings}
    return get_algorithm("fixmatch", imbalance="cossl", **kwargs, **sizes).double()


def start(**settings):
    """The algorithm, model and first batch of the known answers."""
    golden = {name: each.double() if each.is_floating_point() else each for name, each in load_file(GOLDEN).items()}
    algorithm, head = make(**settings), nn.Linear(6, 4).double()
    for part, name in ((algorithm.balanced_head, "balanced_head"), (head, "classifier")):
        part.load_state_dict({key: golden[f"init/{name}.{key}"] for key in ("weight", "bias")})
    given = {key.split("/")[-1]: value for key, value in golden.items() if key.startswith("step0/input/")}
    batch = SSLBatch(
        {"input": given["labeled"]},
        given["labels"],
        {name: {"input": given[name]} for name in ("weak", "strong", "strong_2")},
        balanced_labeled={"input": given["balanced_labeled"]},
        balanced_unlabeled={"input": given["balanced_unlabeled"]},
        **{name: given[name] for name in FIXED},
    )
    model = nn.Sequential(nn.Identity(), head)
    return algorithm, ModelForward(model, teacher=model), batch, golden


def test_mixes_features_of_the_tail():
    algorithm, model, batch, golden = start()
    output = algorithm(model, batch, Progress(0, 12, 3))
    expected = golden["step0/terms/balanced"]
    torch.testing.assert_close(output.terms["balanced"], expected)
    # The erroneous form looks the probability up at the argmax of a label, which is 0: the head class is never mixed.
    x, head = batch.balanced_labeled["input"], algorithm.balanced_head
    unmixed = F.cross_entropy(head(x), batch.balanced_labels)
    assert algorithm.mix_probability[0] == 0 and abs(unmixed - expected) > 0.1


def test_the_balanced_head_labels_the_pool():
    algorithm, model, batch, golden = start()
    output = algorithm(model, batch, Progress(0, 12, 3))
    assert output.pseudo_labels.tolist() == golden["step0/pseudo_labels"].tolist()
    # The erroneous form takes those of the model's own head.
    assert model(weak=batch.unlabeled["weak"])["weak"].logits.argmax(dim=1).tolist() != output.pseudo_labels.tolist()


def test_neither_the_features_nor_the_models_head_learn_from_the_balanced_term():
    algorithm, model, batch, _ = start()
    features = {name: {"input": view["input"].requires_grad_()} for name, view in batch.unlabeled.items()}
    batch.balanced_labeled["input"].requires_grad_()
    batch.unlabeled = features
    output = algorithm(model, batch, Progress(0, 12, 3))
    output.loss.backward()
    assert batch.balanced_labeled["input"].grad is None
    plain = output.terms["supervised"] + output.terms["unsupervised"]
    torch.testing.assert_close(output.loss.detach(), plain + output.terms["balanced"])
    assert all(parameter.grad is not None for parameter in algorithm.balanced_head.parameters())


def test_draws_mixtures_as_often_as_the_class_is_rare():
    algorithm, _, batch, _ = start(max_lambda=0.0)
    part = algorithm.correction
    labels = torch.arange(4).repeat_interleave(2000)
    zeros, ones = torch.zeros(8000, 6, dtype=torch.float64), torch.ones(8000, 6, dtype=torch.float64)
    with torch.no_grad():
        algorithm.balanced_head.weight.zero_()
        algorithm.balanced_head.bias.zero_()
    batch.balanced_labels, batch.mix_choice, batch.mix_lambda = labels, None, None
    seen = []
    algorithm.balanced_head.register_forward_hook(lambda module, given, out: seen.append(given[0].detach()))
    torch.manual_seed(0)
    out = {"teacher": {"balanced_labeled": ones, "weak": zeros}}
    part.additions(out, batch, Progress(0, 12, 3))
    mixed = (seen[0][:, 0] < 1).reshape(4, 2000).double().mean(dim=1)
    torch.testing.assert_close(mixed, torch.tensor([0.0, 0.375, 0.75, 0.875]).double(), rtol=0, atol=0.04)
    share = seen[0][:, 0][seen[0][:, 0] < 1]
    assert abs(share.mean() - 0.5) < 0.02


def test_pseudo_labels_are_the_models_until_the_head_is_warm():
    algorithm, model, batch, golden = start(warmup_fraction=0.5)
    own = model(weak=batch.unlabeled["weak"])["weak"].logits.argmax(dim=1)
    assert torch.equal(algorithm(model, batch, Progress(5, 12, 3)).pseudo_labels, own)
    expected = golden["step0/pseudo_labels"]
    assert torch.equal(algorithm(model, batch, Progress(6, 12, 3)).pseudo_labels, expected)


# ---- Class-balanced labels ----


class Plain:
    """Views that are the row itself."""

    modality, shares_decoding = "image", False

    def __call__(self, kind, row, rng):
        return torch.tensor([float(row["x"]), rng.random()])

    def evaluation(self, row):
        return torch.tensor([float(row["x"])])

    def collate(self, items):
        return {"x": torch.stack(items)}


def dataset(seed=0):
    rows = [{"x": i, "label": 0 if i < 90 else 1 + i % 2} for i in range(100)]
    names = {"weak": "weak", "balanced_labeled": "strong"}
    return ViewDataset(rows, rows, Plain(), names, "label", seed, classes=np.array([row["label"] for row in rows]))


def test_every_class_is_as_likely_in_the_balanced_view():
    made = dataset()
    items = made.__getitems__([ExampleKey(True, i % 100, 0, i // 100) for i in range(3000)])
    counts = Counter(int(item["balanced_label"]) for item in items)
    assert all(900 < counts[label] < 1100 for label in range(3))
    tail = Counter(float(item["balanced_labeled"][0]) for item in items if item["balanced_label"] == 1)
    assert len(tail) == 5 and max(tail.values()) < 1.5 * min(tail.values())
    for item in items[:50]:
        assert made.labeled[int(item["balanced_labeled"][0])]["label"] == item["balanced_label"]
        assert item["label"] == made.labeled[item["key"].index]["label"]


def test_the_balanced_view_follows_from_the_key_and_stands_in_the_batch():
    keys = [ExampleKey(True, 3, 0, 0), ExampleKey(True, 95, 2, 1), ExampleKey(False, 7, 0, 0)]
    first, again = dataset().__getitems__(keys), dataset().__getitems__(keys[::-1])[::-1]
    assert all(
        torch.equal(a["balanced_labeled"], b["balanced_labeled"]) for a, b in zip(first[:2], again, strict=False)
    )
    assert "balanced_labeled" not in first[2]
    batch = SSLCollator(Plain()).to_batch(SSLCollator(Plain())(first))
    assert batch.balanced_labeled["x"].shape == (2, 2) and list(batch.unlabeled) == ["weak"]
    assert batch.balanced_labels.tolist() == [item["balanced_label"] for item in first[:2]]


class CoSSLFixMatch(FixMatch):
    def __init__(self, *, threshold: float = 0.35, **task):
        super().__init__(threshold=threshold, **task)
        counts = self.problem.frequencies() * self.problem.num_labeled
        self.correct_with(CoSSL(problem=self.problem, class_counts=counts))


@pytest.mark.parametrize("modality", ["image", "text", "audio"])
def test_trains_in_the_trainer(modality, tmp_path):
    sizes = {"per_device_train_batch_size": 2, "unlabeled_batch_ratio": 2, "max_steps": 3, "logging_steps": 1}
    quiet = {"report_to": "none", "use_cpu": True, "disable_tqdm": True, "dataloader_num_workers": 0}
    args = SSLConfig(str(tmp_path), ema_role="both", save_strategy="no", learning_rate=1e-2, **sizes, **quiet)
    trainer = SSLTrainer(new_model(modality), args, algorithm=CoSSLFixMatch, **task(modality))
    before = trainer.algorithm.balanced_head.weight.detach().clone()
    trainer.train()
    assert [row["step"] for row in trainer.state.log_history if "balanced" in row] == [1, 2, 3]
    assert not torch.equal(before, trainer.algorithm.balanced_head.weight)
