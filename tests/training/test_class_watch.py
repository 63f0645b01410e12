"""Pseudo-labels that collapse into one class or drift away from the labels are warned of once, and others are not."""

import numpy as np
import pytest

from hf_ssl import Progress
from hf_ssl.training.class_watch import ClassWatch

from tests.helpers.tiny_images import make_vit

COLLAPSE, DRIFT = "one class takes all", "pseudo-labels drift from the labels"
EVEN, TWO, TAIL = [0.25] * 4, [0.5, 0.5], [0.9, 0.1]
# Labels' shares, pseudo-labels' shares, number of labels -> alerts and their steps, with a log line every 50 of 1,000.
SHARES = {
    "as the labels": (EVEN, EVEN, 400, []),
    "one class of four": (EVEN, [0.88, 0.04, 0.04, 0.04], 400, [(200, COLLAPSE)]),
    "nearly one class of four": (EVEN, [0.82, 0.06, 0.06, 0.06], 400, [(500, DRIFT)]),
    "one class of two": (TWO, [0.92, 0.08], 400, [(200, COLLAPSE)]),
    "a share that labels have, too": (TAIL, [0.95, 0.05], 400, []),
    "a long tail that is lost": (TAIL, [0.99, 0.01], 400, [(200, COLLAPSE)]),
    "two classes of four": (EVEN, [0.5, 0.5, 0.0, 0.0], 400, [(500, DRIFT)]),
    "what few labels may be off by": (EVEN, [0.45, 0.3, 0.15, 0.1], 8, []),
    "three of four classes, of few labels": (EVEN, [0.5, 0.25, 0.25, 0.0], 8, []),
}


@pytest.mark.parametrize(("labels", "pseudo", "num_labeled", "expected"), SHARES.values(), ids=SHARES)
def test_shares_of_the_classes(labels, pseudo, num_labeled, expected):
    watch = ClassWatch(labels, num_labeled, list("abcd"))
    found = [
        (step, alert.title)
        for step in range(50, 1_001, 50)
        for alert in watch.see([500 * share for share in pseudo], Progress(step, 1_000, 10))
    ]
    assert found == expected


def test_few_pseudo_labels_say_nothing_until_there_are_enough():
    watch = ClassWatch(EVEN, 400, list("abcd"))
    found = [step for step in range(100, 1_001, 100) if watch.see([10.0, 0, 0, 0], Progress(step, 1_000, 10))]
    assert found == [500]


def test_where_other_shares_are_expected_only_a_collapse_is_told():
    for pseudo, told in (([0.5, 0.5, 0.0, 0.0], 0), ([0.97, 0.01, 0.01, 0.01], 1)):
        watch = ClassWatch(EVEN, 400, list("abcd"), expects_shares=False)
        counts = [500 * share for share in pseudo]
        assert sum(len(watch.see(counts, Progress(step, 1_000, 10))) for step in range(100, 1_001, 100)) == told


def test_one_class_or_none_of_the_pool_is_nothing_to_tell():
    for shares in ([1.0], EVEN):
        watch = ClassWatch(shares, 10, list("abcd"))
        counts = np.zeros(len(shares)) if len(shares) > 1 else [500.0]
        assert not [step for step in range(100, 1_001, 100) if watch.see(counts, Progress(step, 1_000, 10))]


def test_the_trainer_warns_of_a_collapse_with_the_name_of_the_class(make_trainer, monkeypatch):
    warnings = []
    monkeypatch.setattr("hf_ssl.training.watch.logger.warning", warnings.append)
    model = make_vit()
    model.classifier.bias.data[1] = 9.0
    config = {"algorithm": "pseudo_label", "learning_rate": 0.0, "logging_steps": 10, "max_steps": 60}
    trainer = make_trainer(model, **config)
    alerts = []
    trainer.watch.alert = lambda *alert: alerts.append(alert)
    trainer.train()
    (said,) = [warning for warning in warnings if "collapsing" in warning]
    name = trainer.data.label_names[1]
    assert said.startswith(f"100% of the pseudo-labels of the last 20 steps are of class {name!r}, which has ")
    assert (COLLAPSE, said) in alerts
