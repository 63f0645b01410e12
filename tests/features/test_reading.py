"""What is read of a training's datasets in one pass each, and the head that repeats a classifier."""

import numpy as np
import pytest
import torch

from hf_ssl import ModelForward, Progress, SSLBatch, SSLConfig, SSLTrainer
from hf_ssl.features import FeatureBank
from hf_ssl.features.distillation import FeatureDistillation
from hf_ssl.features.reading import LinearHead, head_for, read
from hf_ssl.features.start import labels_alone, labels_and_pool
from hf_ssl.losses import probabilities
from hf_ssl.model.head import find_head

from tests.helpers.feature_banks import CountingCalls, config
from tests.helpers.tiny_tasks import make_texts, new_model, task, tokenizer


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_ssl.features.bank.default_cache", lambda: tmp_path / "features")


def make_trainer(folder, modality="text", **more):
    args = SSLConfig(str(folder), max_steps=2, report_to="none", use_cpu=True, disable_tqdm=True, save_strategy="no")
    return SSLTrainer(new_model(modality, 0), args, **{**task(modality), **more})


def read_all(trainer, evaluation=None):
    given = trainer.train_dataset, trainer.unlabeled_dataset, trainer.data, trainer.processing_class, trainer.args
    return read(trainer.model, *given, evaluation=evaluation)


def test_tokens_and_head_input_come_from_one_pass(tmp_path):
    texts, args = make_texts(20, 5), config()
    model = new_model("text", 1)
    counting = CountingCalls(model)
    both = FeatureBank.encode(model, texts, tokenizer(), args=args, cache_dir=tmp_path, with_head=True)
    assert counting.examples == 20
    apart = [
        FeatureBank.encode(model, texts, tokenizer(), args=args, cache_dir=tmp_path, pooling=pooling).features
        for pooling in ("mean", "head")
    ]
    np.testing.assert_allclose(both.features, apart[0], atol=1e-6)
    np.testing.assert_allclose(both.head_features, apart[1], atol=1e-6)


def test_labeled_examples_come_first_and_evaluation_is_read_too(tmp_path):
    trainer = make_trainer(tmp_path)
    reading = read_all(trainer, {"": trainer.eval_dataset})
    count = len(trainer.train_dataset)
    assert reading.labels[:count].tolist() == list(trainer.data.labels) and (reading.labels[count:] == -1).all()
    assert len(reading.features) == count + len(trainer.unlabeled_dataset)
    _, head_features, labels = reading.tests[""]
    head = find_head(trainer.model)
    logits = LinearHead(head.weight.detach().numpy(), head.bias.detach().numpy()).logits(head_features)
    predicted = trainer.predict(trainer.eval_dataset)
    np.testing.assert_allclose(logits, predicted.predictions, atol=1e-5)
    assert labels.tolist() == predicted.label_ids.tolist()


def test_a_head_repeats_a_classifier_of_other_features():
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(3, 6))
    truth = rng.integers(0, 3, 300)
    features = centers[truth] + 0.4 * rng.normal(size=(300, 6))
    seen_by_head = np.tanh(features @ rng.normal(size=(6, 10)))
    labels = np.where(np.arange(300) < 9, truth, -1)
    wanted = labels_and_pool(features, labels, 3)
    head = head_for(seen_by_head, wanted)
    agreement = (head.logits(seen_by_head).argmax(axis=1) == wanted.argmax(axis=1)).mean()
    assert agreement > 0.95


def test_classes_without_a_label_are_never_predicted():
    rng = np.random.default_rng(0)
    truth = np.arange(40) % 2
    features = truth[:, None] + 0.1 * rng.normal(size=(40, 2))
    labels = np.where(np.arange(40) < 8, truth, -1)
    assert (labels_and_pool(features, labels, 3)[:, 2] == 0).all()
    assert (labels_alone(features, labels, 3).argmax(axis=1) < 2).all()


def test_a_head_of_another_shape_is_refused():
    model = new_model("image", 0)
    with pytest.raises(ValueError, match=r"the head must have weights of shape \(2, 3\), got"):
        LinearHead(np.zeros((2, 3), dtype=np.float32), np.zeros(2, dtype=np.float32)).write(model)


def test_distillation_is_cross_entropy_with_targets_that_the_model_joins_slowly():
    torch.manual_seed(0)
    targets = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.0, 0.0, 1.0]], dtype=np.float32)
    sizes = {"num_labeled": 2, "num_unlabeled": 4, "labeled_batch_size": 2, "unlabeled_batch_size": 2}
    algorithm = FeatureDistillation(
        targets=targets, num_classes=3, own_share=0.4, feature_size=5, unsupervised_weight=0.5, **sizes
    )
    model = torch.nn.Linear(5, 3)
    labeled, strong, weak, index = *torch.randn(3, 2, 5), torch.tensor([3, 1])
    views = {"strong": {"input": strong}, "weak": {"input": weak}}
    batch = SSLBatch({"input": labeled}, torch.tensor([0, 2]), views, unlabeled_index=index)
    output = algorithm(ModelForward(torch.nn.Sequential(model)), batch, Progress(4, 10, 1))
    supervised = -probabilities(model(labeled)).log()[[0, 1], [0, 2]].mean()
    aims = 0.84 * torch.as_tensor(targets)[index] + 0.16 * probabilities(model(weak))
    unsupervised = -(aims.detach() * probabilities(model(strong)).log()).sum(dim=1).mean()
    assert output.loss.item() == pytest.approx((supervised + 0.5 * unsupervised).item(), rel=1e-5)
    assert output.metrics["mask_ratio"] == 1
