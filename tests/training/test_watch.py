"""Losses that are not finite stop the training, and a pool that takes no part is warned of."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from hf_ssl import AlgorithmOutput, Progress, SSLConfig, get_algorithm, losses
from hf_ssl.errors import NotFiniteError
from hf_ssl.features.distillation import FeatureDistillation
from hf_ssl.training.watch import Watch

from tests.helpers.odd_algorithms import Spoiled
from tests.helpers.tiny_images import make_vit


def spoiled(make_trainer, value=float("nan"), at=3, **config):
    return make_trainer(trainer={"algorithm": Spoiled}, algorithm_kwargs={"at": at, "value": value}, **config)


def checkpoints(trainer):
    return sorted(path.name for path in Path(trainer.args.output_dir).glob("checkpoint-*"))


# Settings -> step at which the training stops, and what is in the folder then. The loss is wrong in step 3 of 8.
WHEN = {
    "the next log line": ({"logging_steps": 2, "save_strategy": "steps", "save_steps": 2}, 4, ["checkpoint-2"]),
    "the next checkpoint": ({"logging_steps": 100, "save_strategy": "steps", "save_steps": 5}, 5, []),
    "the next evaluation": ({"logging_steps": 100, "eval_strategy": "steps", "eval_steps": 6}, 6, []),
    "the end": ({"logging_steps": 100}, 8, []),
    "the end of an epoch": ({"logging_strategy": "epoch", "save_strategy": "epoch"}, 6, []),
}


@pytest.mark.parametrize(("config", "stops", "saved"), WHEN.values(), ids=WHEN)
def test_a_loss_that_is_not_finite_stops_the_training_at(make_trainer, config, stops, saved):
    trainer = spoiled(make_trainer, max_steps=8, **config)
    with pytest.raises(
        NotFiniteError, match=r"^loss nan at step 3 \(supervised \d\S*, extra nan\): training stopped"
    ) as error:
        trainer.train()
    assert "\n" not in str(error.value) and "stop_on_nan=False" in str(error.value)
    assert trainer.state.global_step == stops
    assert checkpoints(trainer) == saved
    assert all(value == value for row in trainer.state.log_history for value in row.values())


@pytest.mark.parametrize(("value", "shown"), [(float("inf"), "inf"), (float("-inf"), "-inf")])
def test_infinite_losses_stop_it_too(make_trainer, value, shown):
    with pytest.raises(ValueError, match=rf"^loss {shown} at step 3 \(.*, extra {shown}\)"):
        spoiled(make_trainer, value).train()


def test_a_pass_among_accumulated_ones_is_enough(make_trainer):
    with pytest.raises(NotFiniteError, match="loss nan at step 2 "):
        spoiled(make_trainer, at=2, gradient_accumulation_steps=2, max_steps=3).train()


def test_the_setting_turns_it_off(make_trainer):
    trainer = spoiled(make_trainer, stop_on_nan=False, max_steps=4)
    trainer.train()
    assert trainer.state.global_step == 4
    assert trainer.state.log_history[2]["extra"] != trainer.state.log_history[2]["extra"]


def test_the_model_can_be_evaluated_after_the_stop(make_trainer):
    trainer = spoiled(make_trainer)
    with pytest.raises(NotFiniteError):
        trainer.train()
    assert 0 <= trainer.evaluate()["eval_accuracy"] <= 1


class Overflowing(Spoiled):
    """Its loss is always finite; its gradient in step `at` is not."""

    def forward(self, model, batch, progress):
        logits = model(labeled=batch.labeled)["labeled"].logits
        loss = losses.cross_entropy(logits, batch.labels)
        if progress.step + 1 == self.at:
            loss = loss + (logits.sum() * 0).sqrt()  # 0, with the slope infinity * 0
        return AlgorithmOutput(loss, {"supervised": loss.detach()})


def test_weights_that_are_not_finite_are_never_saved(make_trainer):
    trainer = make_trainer(
        trainer={"algorithm": Overflowing},
        algorithm_kwargs={"at": 4},
        max_steps=8,
        save_strategy="steps",
        save_steps=2,
    )
    with pytest.raises(NotFiniteError, match=r"weights are not finite after step 4 \(first vit\."):
        trainer.train()
    assert checkpoints(trainer) == ["checkpoint-2"]


def test_running_statistics_count_as_weights_and_other_buffers_do_not(make_trainer):
    model = make_vit()
    model.register_buffer("attention_mask", torch.tensor([0.0, float("-inf")]))
    trainer = make_trainer(model, max_steps=2, save_strategy="steps", save_steps=2)
    trainer.train()
    assert checkpoints(trainer) == ["checkpoint-2"]
    model.norm = torch.nn.BatchNorm1d(2)
    model.norm.running_var.fill_(float("inf"))
    with pytest.raises(NotFiniteError, match=r"1 weights are not finite .*first norm\.running_var"):
        trainer.watch.check(2, model)


# Settings of 8 steps -> what is said. 0.5 ** 8 is 0.4 %.
AVERAGES = {
    "slow statistics": (
        {"algorithm": "freematch", "algorithm_kwargs": {"momentum": 0.999}},
        "99% of what freematch averages .* set momentum=0.38 or lower in algorithm_kwargs",
    ),
    "thresholds that stay down": (
        {"algorithm": "flexmatch", "max_steps": 2},
        "2 steps look at 33% of the pool, and flexmatch .* set threshold_warmup=False",
    ),
    "fast statistics": ({"algorithm": "freematch", "algorithm_kwargs": {"momentum": 0.5}}, None),
    "slow": ({"ema_role": "evaluation", "ema_decay": 0.999}, "99% of the average .* set ema_decay=0.38 or lower"),
    "fast": ({"ema_role": "evaluation", "ema_decay": 0.5}, None),
    "a teacher that stays untrained": (
        {"algorithm": "mean_teacher", "max_steps": 50, "ema_decay": 0.9},
        "after 10 of them 35% of the teacher of mean_teacher will still be .* set ema_decay=0.5 or lower, or train "
        "longer$",
    ),
    "a teacher that learns in time": ({"algorithm": "mean_teacher", "max_steps": 50, "ema_decay": 0.5}, None),
    "not evaluated": ({"ema_role": "teacher", "ema_decay": 0.999}, None),
}


@pytest.mark.parametrize(("config", "said"), AVERAGES.values(), ids=AVERAGES)
def test_averages_that_stay_at_their_start_are_warned_of(make_trainer, monkeypatch, config, said):
    warnings = []
    monkeypatch.setattr("hf_ssl.training.watch.logger.warning", warnings.append)
    make_trainer(**{"max_steps": 8, **config}).train()
    assert len(warnings) == (said is not None)
    assert said is None or re.search(said, warnings[0])


UNTRAINED = {"algorithm": "adamatch", "algorithm_kwargs": {"momentum": 0.5}, "max_steps": 12, "logging_steps": 10}
GUESSES = {
    "a model at chance": ({"learning_rate": 0.0}, True),
    "a model that learns": ({"learning_rate": 0.05, "logging_steps": 40, "max_steps": 40}, False),
    "a warm-up": ({"learning_rate": 0.0, "unsupervised_warmup_steps": 2}, False),
    "lines of few steps": ({"learning_rate": 0.0, "logging_steps": 5}, True),
    "lines of one step": ({"learning_rate": 0.0, "logging_steps": 1}, True),
    "a run of few steps": ({"learning_rate": 0.0, "logging_steps": 1, "max_steps": 9}, False),
    "a threshold that nothing passes": (
        # Without the warning that nothing took part, which is another test's.
        {
            "learning_rate": 0.0,
            "algorithm": "fixmatch",
            "algorithm_kwargs": {"threshold": 0.95},
            "zero_mask_warning_steps": 0,
        },
        False,
    ),
    "no pseudo-labels": ({"learning_rate": 0.0, "algorithm": "supervised", "algorithm_kwargs": None}, False),
}


@pytest.mark.parametrize(("config", "warns"), GUESSES.values(), ids=GUESSES)
def test_a_model_that_learns_its_own_guesses_is_warned_of_once(make_trainer, monkeypatch, config, warns):
    warnings = []
    monkeypatch.setattr("hf_ssl.training.watch.logger.warning", warnings.append)
    make_trainer(**UNTRAINED | config).train()
    assert len(warnings) == warns
    if warns:
        assert re.match(
            r"\d+% of the pseudo-labels of the first 10 steps counted, while .* \(supervised 1\.\d+, ", warnings[0]
        )
        assert "set unsupervised_warmup_steps=2 or so" in warnings[0]


# ---- By itself, with a state that was written by hand ----


def make_watch(algorithm="fixmatch", **config):
    sizes = {"num_labeled": 6, "num_unlabeled": 24, "feature_size": 4}
    batch = {"labeled_batch_size": 2, "unlabeled_batch_size": 4}
    made = get_algorithm(algorithm, num_classes=3, **sizes, **batch)
    return Watch(SSLConfig(output_dir="somewhere", use_cpu=True, **config), made, algorithm)


@pytest.fixture
def warnings(monkeypatch):
    said: list[str] = []
    monkeypatch.setattr("hf_ssl.training.watch.logger.warning", said.append)
    return said


def test_the_first_loss_that_is_not_finite_is_named_with_its_step_and_terms():
    watch = make_watch()
    for step, loss in enumerate((1.0, float("inf"), float("nan"))):
        watch.see(torch.tensor(loss), {"supervised": torch.tensor(0.5 + step)}, step)
    with pytest.raises(NotFiniteError, match=r"^loss inf at step 2 \(supervised 1\.5\): training stopped"):
        watch.check(step=3)
    # What was told once is not told again.
    watch.check(step=3)


def test_finite_losses_and_weights_pass():
    watch = make_watch()
    watch.see(torch.tensor(1.0), {}, step=0)
    watch.check(1, torch.nn.Linear(2, 2))


# Mask ratios of the log lines at steps 100, 200, ... -> at which of them a warning comes.
ZEROS = {
    "never above 0": ([0.0] * 7, [500]),
    "above 0 in between": ([0.0, 0.0, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [800]),
    "no mask": ([None] * 7, []),
}


@pytest.mark.parametrize(("ratios", "expected"), ZEROS.values(), ids=ZEROS)
def test_a_pool_that_takes_no_part_is_warned_of_once(warnings, ratios, expected):
    watch, found = make_watch(), []
    for line, ratio in enumerate(ratios, start=1):
        before = len(warnings)
        watch.warn_if_nothing_takes_part(ratio, 100 * line)
        found += [100 * line] * (len(warnings) - before)
    assert found == expected
    assert all("lower its threshold (0.95 now)" in warning for warning in warnings)


# Mask ratios of the log lines, that of the steps after the last one, and whether the end of the training warns.
ENDS = {
    "never above 0": ([0.0, 0.0], 0.0, True),
    "the last line at the end": ([0.0], None, True),
    "no line": ([], 0.0, True),
    "above 0 in a line": ([0.0, 0.1, 0.0], 0.0, False),
    "above 0 after the last line": ([0.0], 0.1, False),
    "no mask": ([None], None, False),
}


@pytest.mark.parametrize("limit", [500, 0])
@pytest.mark.parametrize(("ratios", "last", "warns"), ENDS.values(), ids=ENDS)
def test_a_short_training_without_the_pool_is_warned_of_at_its_end(warnings, ratios, last, warns, limit):
    watch = make_watch(zero_mask_warning_steps=limit)
    for line, ratio in enumerate(ratios, start=1):
        watch.warn_if_nothing_takes_part(ratio, 10 * line)
    watch.warn_if_nothing_took_part(last, 40)
    assert len(warnings) == (warns and limit > 0)
    assert all("no unlabeled example took part in the last 40 steps" in warning for warning in warnings)


@pytest.mark.parametrize("logging_steps", [1, 100])
def test_the_trainer_warns_of_it(make_trainer, warnings, logging_steps):
    make_trainer(algorithm_kwargs={"threshold": 0.999}, logging_steps=logging_steps).train()
    assert [warning for warning in warnings if "took part in the last 4 steps" in warning]


@pytest.mark.parametrize(("algorithm", "warns"), [("fixmatch", True), ("supervised", False)])
def test_a_training_without_a_pool_is_warned_of(make_trainer, warnings, algorithm, warns):
    trainer = make_trainer(algorithm=algorithm, max_steps=1, trainer={"unlabeled_dataset": None})
    trainer.train()
    assert any("unlabeled_dataset is missing" in warning for warning in warnings) is warns
    assert ("serve as the pool" in trainer.describe()) is warns


@pytest.mark.parametrize(("step", "warns"), [(9, False), (10, True)])
def test_guesses_are_warned_of_at_the_first_line_only(warnings, step, warns):
    watch = make_watch("adamatch")
    progress = Progress(step=step, max_steps=100, steps_per_epoch=6)
    for _ in range(2):
        watch.warn_if_guesses_teach({"supervised": 1.1, "mask_ratio": 0.9}, progress)
    assert len(warnings) == warns
    assert not warns or "set unsupervised_warmup_steps=20 or so" in warnings[0]


def test_the_first_steps_are_weighed_by_how_many_a_line_has(warnings):
    watch = make_watch("adamatch")
    # Means over 12 steps: 0.75 * 0.9 + 0.25 * 0.1 = 0.7 of the pseudo-labels, a loss of 0.75 * 1.2 + 0.25 * 0.4 = 1.
    for step, mask_ratio, loss in ((9, 0.9, 1.2), (12, 0.1, 0.4), (15, 1.0, 2.0)):
        progress = Progress(step=step, max_steps=100, steps_per_epoch=6)
        watch.warn_if_guesses_teach({"supervised": loss, "mask_ratio": mask_ratio}, progress)
    (said,) = warnings
    assert said.startswith("70% of the pseudo-labels of the first 12 steps counted") and "(supervised 1.00" in said


def test_targets_of_another_model_are_not_guesses(warnings):
    watch = make_watch("adamatch")
    watch.algorithm = FeatureDistillation(
        targets=np.full((24, 3), 1 / 3),
        num_classes=3,
        num_labeled=6,
        num_unlabeled=24,
        feature_size=4,
        labeled_batch_size=2,
        unlabeled_batch_size=4,
    )
    progress = Progress(step=10, max_steps=100, steps_per_epoch=6)
    watch.warn_if_guesses_teach({"supervised": 1.1, "mask_ratio": 1.0}, progress)
    assert warnings == []


# Seconds of an example, algorithm, steps -> what is said. A step has 2 labeled and, if it reads the pool, 4 unlabeled.
HOURS = {
    "hours": (1.0, "fixmatch", 6000, "6,000 steps will take up to about 10 hours (6 s per step"),
    "labels alone": (1.0, "supervised", 6000, "6,000 steps will take up to about 3 hours (2 s per step"),
    "what an hour allows": (1.0, "fixmatch", 6000, "lower max_steps (600 take an hour)"),
    "less than an hour": (1.0, "fixmatch", 599, None),
    "not known": (None, "fixmatch", 10**6, None),
}


@pytest.mark.parametrize(("seconds", "algorithm", "steps", "said"), HOURS.values(), ids=HOURS)
def test_a_run_of_hours_is_warned_of_before_it_starts(warnings, seconds, algorithm, steps, said):
    watch = make_watch(algorithm)
    watch.seconds_per_example = seconds
    watch.warn_of_long_run(Progress(step=0, max_steps=steps, steps_per_epoch=6))
    assert len(warnings) == (said is not None) and all(said in warning for warning in warnings)


def test_a_resumed_run_counts_the_steps_that_are_left(warnings):
    watch = make_watch()
    watch.seconds_per_example = 1.0
    watch.warn_of_long_run(Progress(step=5000, max_steps=6200, steps_per_epoch=6))
    assert warnings[0].startswith("1,200 steps will take up to about 2 hours")


def test_the_trainer_tries_a_step_and_knows_how_long_it_takes(make_trainer):
    seconds = make_trainer().watch.seconds_per_example
    assert 0 < seconds < 10


@pytest.mark.parametrize(("algorithm", "batch", "kinds"), [
    ("fixmatch", 4 * 6, []),
    ("fixmatch", 32 * 6, ["labeled"]),
    ("fixmatch", 32 * 24, ["labeled", "unlabeled"]),
    ("supervised", 32 * 24, ["labeled"]),
])  # fmt: skip
def test_batches_that_repeat_few_examples_are_warned_of(warnings, algorithm, batch, kinds):
    watch = make_watch(algorithm)
    watch.algorithm = get_algorithm(algorithm, num_classes=3, num_labeled=6, num_unlabeled=24, feature_size=4,
                                    labeled_batch_size=batch, unlabeled_batch_size=batch)  # fmt: skip
    watch.warn_of_repeats()
    assert [warning.split()[4] for warning in warnings] == kinds


def test_slow_averages_are_those_of_the_whole_run(warnings):
    watch = make_watch(ema_role="evaluation", ema_decay=0.99)
    watch.warn_of_slow_averages(Progress(step=0, max_steps=300, steps_per_epoch=6))
    assert warnings == []
    watch.warn_of_slow_averages(Progress(step=0, max_steps=100, steps_per_epoch=6))
    assert len(warnings) == 1 and warnings[0].startswith("ema_decay=0.99 with 100 steps: 37% of the average")
