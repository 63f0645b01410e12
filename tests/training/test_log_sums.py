"""What a log line says of the batches since the last one."""

import pytest
import torch
from accelerate import Accelerator
from datasets import Value

from hf_ssl import AlgorithmOutput
from hf_ssl.batches.collators import MISSING_LABEL
from hf_ssl.training.log_sums import LogSums

FOREIGN = -2  # a class that the labeled dataset does not have
PSEUDO_LABELS = torch.tensor([0, 1, 2, 0])
# Name -> (pseudo-labels, their weights, hidden labels, sum of the right weights, sum of the weights that count).
HIDDEN = {
    "all known": (PSEUDO_LABELS, [1, 1, 0.5, 1], [0, 1, 1, 1], 2.0, 3.5),
    "known in part": (PSEUDO_LABELS, [1, 1, 0.5, 1], [0, MISSING_LABEL, 1, 1], 1.0, 2.5),
    "a class of its own": (PSEUDO_LABELS, [1, 1, 0.5, 1], [0, MISSING_LABEL, 1, FOREIGN], 1.0, 2.5),
    "no weights": (PSEUDO_LABELS, None, [0, MISSING_LABEL, 2, 1], 2.0, 3.0),
    "distributions": (torch.eye(3)[PSEUDO_LABELS] * 0.6, [1, 0, 1, 1], [MISSING_LABEL, 1, 2, 1], 1.0, 2.0),
    "none known": (PSEUDO_LABELS, [1, 1, 1, 1], [MISSING_LABEL] * 4, 0.0, 0.0),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_pseudo_labels_are_compared_with_the_hidden_labels_that_are_known(case):
    pseudo_labels, weights, hidden, right, counted = HIDDEN[case]
    mask = None if weights is None else torch.tensor(weights, dtype=torch.float32)
    output = AlgorithmOutput(torch.tensor(1.0), {}, mask=mask, pseudo_labels=pseudo_labels)
    sums = LogSums()
    for _ in range(2):
        sums.add(output, torch.tensor(hidden))
    assert sums.values["pseudo_label_accuracy"].tolist() == [2 * right, 2 * counted]
    expected = {"pseudo_label_accuracy": pytest.approx(right / counted)} if counted else {}
    assert sums.means(Accelerator(cpu=True)) == expected


COUNTED = [(PSEUDO_LABELS, None), (torch.eye(3)[PSEUDO_LABELS] * 0.6, [1, 0, 0.5, 1])]


@pytest.mark.parametrize(("labels", "weights"), COUNTED, ids=["classes", "weighted distributions"])
def test_pseudo_labels_are_counted_by_class(labels, weights):
    mask = None if weights is None else torch.tensor(weights, dtype=torch.float32)
    sums = LogSums(num_classes=3)
    for _ in range(2):
        sums.add(AlgorithmOutput(torch.tensor(1.0), {}, mask=mask, pseudo_labels=labels))
    expected = torch.bincount(PSEUDO_LABELS, weights=mask, minlength=3)
    assert sums.class_counts(Accelerator(cpu=True)) == (2 * expected).tolist()
    sums.clear()
    assert sums.class_counts(Accelerator(cpu=True)) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("missing", [-1, None])
def test_examples_of_the_pool_without_a_label_say_nothing_of_its_pseudo_labels(make_trainer, images, missing):
    """As if only every second example were in the pool: its classes' shares among the pseudo-labels add up to 1."""
    labeled, pool = (images[name].cast_column("label", Value("int64")) for name in ("labeled", "unlabeled"))
    pool = pool.remove_columns("label")
    accuracies = []
    for label in range(3):
        labels = [label if row % 2 else missing for row in range(len(pool))]
        given = {"train_dataset": labeled, "eval_dataset": None, "unlabeled_dataset": pool.add_column("label", labels)}
        trainer = make_trainer(trainer=given, max_steps=1)
        trainer.train()
        accuracies.append(trainer.state.log_history[0].get("pseudo_label_accuracy", 0.0))
    assert sum(accuracies) == pytest.approx(1.0)
