"""What begins when: by steps and shares of the run, said at its start; and which algorithms and settings fit a run."""

import numpy as np
import pytest
import torch

from hf_ssl import Progress, SSLAlgorithm, SSLConfig, SSLTrainer, get_algorithm
from hf_ssl.algorithms import ALGORITHMS
from hf_ssl.algorithms.problem import ProblemSpec
from hf_ssl.report.run import run_rows

from tests.helpers.algorithm_cases import make_algorithm, make_batch, make_models, run_step
from tests.helpers.run_facts import make_run
from tests.helpers.tiny_tasks import new_model, task

# ---- The unit of published schedules ----


@pytest.mark.parametrize(
    ("modality", "max_steps", "unit"),
    [
        ("image", 204_800, 1024),
        ("image", 1000, 5),
        ("image", 399, 1),
        ("image", 60, 1),
        ("text", 102_400, 1024),
        ("text", 1000, 10),
        ("audio", 250, 2),
        ("audio", 1, 1),
        ("text", 0, 1),
    ],
)
def test_the_unit_is_a_share_of_the_run(modality, max_steps, unit):
    progress = Progress.in_run(7, max_steps, modality, unsupervised_ramp=0.5)
    assert progress == Progress(7, max_steps, unit, 0.5)


def trainer_of(modality, folder, **config):
    usual = {"report_to": "none", "use_cpu": True, "dataloader_num_workers": 0, "per_device_train_batch_size": 2}
    return SSLTrainer(new_model(modality), SSLConfig(str(folder), **{**usual, **config}), **task(modality))


@pytest.mark.parametrize(("modality", "unit"), [("image", 2), ("text", 4), ("audio", 4)])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_trainer_sets_it_for_any_pool_and_batch(modality, unit, accumulation, tmp_path):
    trainer = trainer_of(modality, tmp_path, gradient_accumulation_steps=accumulation)
    trainer.state.max_steps, trainer.state.global_step = 400, 13
    assert trainer.progress == Progress(13, 400, unit)
    assert trainer.steps_per_epoch == unit


def test_epochs_over_the_pool_are_steps_by_then(make_trainer):
    """The steps of a run that counts epochs are known when it begins."""
    trainer = make_trainer(max_steps=-1, num_train_epochs=2, algorithm="dash", algorithm_kwargs=None)
    seen, forward = [], trainer.algorithm.forward
    trainer.algorithm.forward = lambda *given: seen.append(given[2]) or forward(*given)
    trainer.train()
    assert [(p.step, p.max_steps, p.steps_per_epoch) for p in seen] == [(step, 12, 1) for step in range(12)]


def test_dash_lowers_its_limit_every_ten_units(make_trainer):
    settings = {"gamma": 2.0, "c": 1.0, "initial_loss_threshold": 4.0, "min_loss_threshold": 0.5}
    trainer = make_trainer(algorithm="dash", algorithm_kwargs=settings, max_steps=42, per_device_train_batch_size=1)
    limits, forward = [], trainer.algorithm.forward

    def noted(*given):
        output = forward(*given)
        limits.append(trainer.algorithm.loss_threshold.item())
        return output

    trainer.algorithm.forward = noted
    trainer.train()
    # 42 steps of 2 unlabeled examples are 3.5 passes over the pool of 24.
    assert limits == [4.0] * 10 + [2.0] * 10 + [1.0] * 10 + [0.5] * 12


# ---- What is said at the start ----

SENTENCES = {
    "simmatch, images": (
        {"algorithm": "simmatch", "state": {"max_steps": 1000}},
        "SimMatch's memory votes from step 5 of 1,000 (0.5 %)",
    ),
    "simmatch, texts": (
        {"algorithm": "simmatch", "modality": "text", "state": {"max_steps": 1000}},
        "SimMatch's memory votes from step 10 of 1,000 (1 %)",
    ),
    "comatch, long": (
        {"algorithm": "comatch", "state": {"max_steps": 100_000}},
        "CoMatch's memory votes from step 500 of 100,000 (0.5 %)",
    ),
    "comatch, until its queue is full": (
        {"algorithm": "comatch", "state": {"max_steps": 1000}},
        "CoMatch's memory votes from step 33 of 1,000 (3.3 %)",
    ),
    "comatch, too short": (
        {"algorithm": "comatch", "state": {"max_steps": 33}},
        "CoMatch's memory votes from step 33, after the end of this run of 33 steps: never",
    ),
    "dash": (
        {"algorithm": "dash", "state": {"max_steps": 1000}},
        "Dash's pseudo-labels count from step 10 of 1,000 (1 %), Dash's limit falls from step 50 of 1,000 (5 %)",
    ),
}


@pytest.mark.parametrize(("changes", "sentence"), SENTENCES.values(), ids=SENTENCES)
def test_the_start_says_when_each_part_begins(changes, sentence):
    assert run_rows(make_run(**changes))["schedule"] == sentence


def test_nothing_is_said_of_what_works_from_the_first_step():
    assert all("schedule" not in run_rows(make_run(algorithm=name)) for name in ("fixmatch", "freematch", "mixmatch"))
    before = make_run(algorithm="simmatch", state={"max_steps": 0}, args={"max_steps": -1})
    assert "schedule" not in run_rows(before)


def test_a_known_initial_loss_needs_no_warm_up():
    algorithm = make_algorithm("dash", initial_loss_threshold=0.7)
    assert algorithm.milestones(Progress(0, 1000, 5)) == {"limit falls": 50}


@pytest.mark.parametrize("name", ["simmatch", "comatch"])
def test_the_memory_votes_from_the_step_that_is_said(name):
    """Not before, and from then on: the prediction is smoothed by something."""
    algorithm, models = make_algorithm(name, smoothing=0.0), make_models()
    said = algorithm.milestones(Progress(0, 10, 1))["memory votes"]
    for step in range(5):
        aligned = []
        algorithm.alignment.register_forward_hook(lambda *given, aligned=aligned: aligned.append(given[2]))
        output = run_step(name, algorithm, step, models, make_batch(step))
        assert torch.allclose(output.pseudo_labels, aligned[0]) is (step < said)


@pytest.mark.parametrize(
    ("algorithm", "max_steps", "settings", "warning"),
    [
        ("comatch", 3, {}, "CoMatch's memory votes from step 33, after the end of this run of 3 steps: never; "
         "set queue_batches=1 or lower in algorithm_kwargs, or train longer"),
        ("simmatch", 1, {}, "SimMatch's memory votes from step 1, after the end of this run of 1 step: never; "
         "train longer"),
        ("simmatch", 2, {}, None),
        ("comatch", 3, {"queue_batches": 1}, None),
    ],
)  # fmt: skip
def test_a_run_that_is_too_short_is_warned_of(make_trainer, monkeypatch, algorithm, max_steps, settings, warning):
    said: list[str] = []
    monkeypatch.setattr("hf_ssl.training.watch.logger.warning", said.append)
    make_trainer(algorithm=algorithm, algorithm_kwargs=settings, max_steps=max_steps).train()
    assert [line for line in said if "never" in line] == ([warning] if warning else [])


def test_the_line_is_printed(make_trainer, capsys):
    make_trainer(algorithm="simmatch", disable_tqdm=False, max_steps=2).train()
    assert "schedule        SimMatch's memory votes from step 1 of 2 (50 %)" in capsys.readouterr().out


def test_flexmatch_is_warned_of_by_passes_over_the_pool(make_trainer, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr("hf_ssl.training.watch.logger.warning", said.append)
    for steps, accumulation in ((5, 1), (6, 1), (3, 2)):
        said.clear()
        given = {"max_steps": steps, "gradient_accumulation_steps": accumulation}
        make_trainer(algorithm="flexmatch", algorithm_kwargs=None, **given).train()
        found = [line for line in said if "of the pool, and flexmatch" in line]
        assert bool(found) is (steps == 5)
        assert not found or found[0].startswith("5 steps look at 83% of the pool")


# ---- Algorithm objects ----

SIZES = {
    "num_classes": 3,
    "num_labeled": 6,
    "num_unlabeled": 24,
    "feature_size": 16,
    "labeled_batch_size": 4,
    "unlabeled_batch_size": 8,
}


def made(**changes):
    return get_algorithm("flexmatch", **{**SIZES, **changes})


ACCUMULATED = {"gradient_accumulation_steps": 2, "algorithm_kwargs": None}


def test_an_algorithm_object_of_the_right_sizes_is_taken(make_trainer):
    algorithm = made(threshold=0.3, unsupervised_weight=2.0)
    trainer = make_trainer(trainer={"algorithm": algorithm}, **ACCUMULATED)
    trainer.train()
    assert trainer.algorithm is algorithm and algorithm.unsupervised_weight == 2.0


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("num_classes", 7, 3),
        ("num_labeled", 5, 6),
        ("num_unlabeled", 25, 24),
        ("feature_size", 8, 16),
        ("labeled_batch_size", 2, 4),
        ("unlabeled_batch_size", 4, 8),
        ("modality", "text", "image"),
    ],
)
def test_an_algorithm_object_of_another_problem_is_refused(make_trainer, name, value, right):
    with pytest.raises(ValueError, match=rf"^the algorithm's {name} must be {right!r}, got {value!r}; ") as error:
        make_trainer(trainer={"algorithm": made(**{name: value})}, **ACCUMULATED)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"algorithm_kwargs": {"threshold": 0.4}}, r"^algorithm_kwargs must be left out beside an algorithm object"),
        ({"unsupervised_weight": 2.0}, r"^unsupervised_weight must be 1\.0, that of the algorithm object, got 2\.0"),
        ({"algorithm": "freematch"}, r"^algorithm must be left out of the settings, got 'freematch' beside FlexMatch"),
    ],
)
def test_settings_that_an_algorithm_object_would_ignore_are_refused(make_trainer, config, message):
    with pytest.raises(ValueError, match=message) as error:
        make_trainer(trainer={"algorithm": made()}, **{**ACCUMULATED, **config})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_classes": 7}, "^algorithm_kwargs must hold the algorithm's own settings, got num_classes, which"),
        ({"unsupervised_weight": 2.0}, "^algorithm_kwargs must hold .* got unsupervised_weight, which"),
        ("[0.9]", r"^algorithm_kwargs must be a dict of settings, got \[0\.9\]$"),
    ],
)
def test_what_is_not_a_setting_of_the_algorithm_is_refused(make_trainer, given, message):
    with pytest.raises(TypeError, match=message) as error:
        make_trainer(algorithm_kwargs=given)
    assert "\n" not in str(error.value)


class Mine(SSLAlgorithm):
    """A user's class."""

    def __init__(self, *, strength: float = 1.0, **task):
        super().__init__(**task)
        self.strength = strength


def test_a_class_beside_the_name_of_another_algorithm_is_refused(make_trainer):
    with pytest.raises(ValueError, match=r"^algorithm must be left out of the settings, got 'freematch' beside Mine"):
        make_trainer(trainer={"algorithm": Mine}, algorithm="freematch", algorithm_kwargs=None)


# ---- Ranges and types of settings ----

SHARE, NON_NEGATIVE, COUNT = (-0.1, 1.1, "nan"), (-1.0, "nan", "inf"), (0, -1)
ABOVE_0, BELOW_1 = (0, -0.5, "nan", "inf"), (-1, 1.0, "nan")
BAD = {
    "threshold": (-0.1, 1.5, "nan"),
    "temperature": ABOVE_0,
    "momentum": BELOW_1,
    "warmup_fraction": (-0.1, "nan", "inf"),
    "fairness_weight": NON_NEGATIVE,
    "n_sigma": ABOVE_0,
    "gamma": (1, 0.5, "nan", "inf"),
    "c": ABOVE_0,
    "min_loss_threshold": NON_NEGATIVE,
    "initial_loss_threshold": ABOVE_0,
    "epsilon": ABOVE_0,
    "entropy_weight": NON_NEGATIVE,
    "mixup_alpha": ABOVE_0,
    "kl_weight": NON_NEGATIVE,
    "rotation_weight": NON_NEGATIVE,
    "graph_threshold": SHARE,
    "contrastive_weight": NON_NEGATIVE,
    "projection_size": COUNT,
    "queue_batches": COUNT,
    "smoothing": SHARE,
    "alignment_queue_size": COUNT,
    "instance_weight": NON_NEGATIVE,
    "margin_penalty": NON_NEGATIVE,
    "reward_start": BELOW_1,
    "candidate_mass": (0, 1.5, "nan"),
    "candidate_weight": NON_NEGATIVE,
    "ratio_momentum": BELOW_1,
    "queue_size": COUNT,
    "warmup_steps": (-1,),
    "ambiguous_weight": NON_NEGATIVE,
    "gce_q": ABOVE_0,
    "num_heads": (2, 4),
    "rounds": (0,),
    "disagreement_weight": NON_NEGATIVE,
    "percentile": SHARE,
    "threshold_high": SHARE,
    "class_mixup_alpha": ABOVE_0,
    "smoothness": SHARE,
    "start_fraction": (-0.1, 1, "nan"),
    "consistency_weight": NON_NEGATIVE,
    "open_threshold": SHARE,
    "open_weight": NON_NEGATIVE,
    "multi_binary_weight": NON_NEGATIVE,
    "refresh_steps": COUNT,
    "neighbors": COUNT,
    "alpha": (0, 1.0, "nan"),
}
CHOICES = {"tsa_schedule", "alignment_target", "base_threshold", "class_aware_weighting"}
SETTINGS = [
    (name, setting, value)
    for name, cls in ALGORITHMS.items()
    for setting in cls.settings()
    for value in BAD.get(setting, ())
]


@pytest.mark.parametrize(("name", "setting", "value"), SETTINGS)
def test_a_number_outside_its_range_is_refused_in_one_line(name, setting, value):
    value = float(value) if isinstance(value, str) else value
    with pytest.raises(ValueError, match=rf"^{setting} must be .*, got {value}$"):
        get_algorithm(name, **{setting: value}, **SIZES)


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_every_setting_has_a_range_or_is_a_switch(name):
    switches = {setting for setting, parameter in ALGORITHMS[name].settings().items() if parameter.annotation is bool}
    assert set(ALGORITHMS[name].settings()) <= {*BAD, *switches, *CHOICES}


@pytest.mark.parametrize(
    ("name", "setting", "value", "wanted"),
    [
        ("fixmatch", "threshold", "0.9", "a number"),
        ("fixmatch", "threshold", True, "a number"),
        ("fixmatch", "threshold", None, "a number"),
        ("fixmatch", "hard_labels", "false", "True or False"),
        ("fixmatch", "hard_labels", 1, "True or False"),
        ("comatch", "queue_batches", "32", "a whole number"),
        ("comatch", "projection_size", 1.5, "a whole number"),
        ("dash", "initial_loss_threshold", "1", "a number or None"),
        ("uda", "tsa_schedule", 1, "a string"),
    ],
)
def test_a_value_of_another_type_is_refused_in_one_line(name, setting, value, wanted):
    with pytest.raises(TypeError, match=rf"^{setting} must be {wanted}, got {value!r}$"):
        get_algorithm(name, **{setting: value}, **SIZES)


def test_numbers_of_numpy_and_whole_ones_for_fractions_are_taken():
    given = get_algorithm("softmatch", n_sigma=3, momentum=np.float32(0.5), **SIZES).current_settings()
    assert (given["n_sigma"], given["momentum"]) == (3, 0.5)
    assert get_algorithm("comatch", queue_batches=np.int64(2), **SIZES).queue_batches == 2


def test_settings_of_a_custom_class_may_have_any_type():
    class Listing(SSLAlgorithm):
        def __init__(self, *, names: list, scale=1.0, **task):
            super().__init__(**task)
            self.names, self.scale = names, scale

    assert get_algorithm(Listing, names=["a"], scale="wide", **SIZES).names == ["a"]
    with pytest.raises(TypeError, match=r"^strength must be a number, got 'much'$"):
        get_algorithm(Mine, strength="much", **SIZES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_labeled": 0}, "num_labeled must be at least 1, got 0"),
        ({"num_unlabeled": -1}, "num_unlabeled must be at least 0, got -1"),
        ({"feature_size": 0}, "feature_size must be at least 1, got 0"),
        ({"labeled_batch_size": 0}, "labeled_batch_size must be at least 1, got 0"),
        ({"unlabeled_batch_size": -2}, "unlabeled_batch_size must be at least 0, got -2"),
        ({"unsupervised_weight": float("inf")}, "unsupervised_weight must be finite, got inf"),
        ({"class_distribution": torch.ones(7)}, "class_distribution must be frequencies [3], got a tensor [7]"),
        (
            {"class_distribution": torch.tensor([0.5, 0.6, -0.1])},
            "class_distribution must be at least 0 with sum 1, got [0.5, 0.6, -0.1]",
        ),
        (
            {"class_distribution": torch.tensor([2.0, 1.0, 1.0])},
            "class_distribution must be at least 0 with sum 1, got [2.0, 1.0, 1.0]",
        ),
    ],
)
def test_a_problem_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError) as error:
        ProblemSpec(**{**SIZES, **changes})
    assert str(error.value) == message


def test_an_algorithm_that_reads_the_pool_needs_one():
    without = {**SIZES, "num_unlabeled": 0, "unlabeled_batch_size": 0}
    assert get_algorithm("supervised", **without).num_unlabeled == 0
    with pytest.raises(ValueError, match=r"^num_unlabeled must be at least 1, got 0$"):
        get_algorithm("fixmatch", **without)


def test_the_trainer_names_a_setting_outside_its_range(make_trainer):
    with pytest.raises(ValueError, match=r"^threshold must be in \[0, 1\], got 1\.5$"):
        make_trainer(algorithm_kwargs={"threshold": 1.5})
