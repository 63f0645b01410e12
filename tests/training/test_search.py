"""Several models in one trainer: each begins from scratch, with its own settings, and with the data's classes."""

import pytest
import torch
from transformers import TrainerCallback

from hf_ssl import SSLConfig, SSLTrainer, get_algorithm
from hf_ssl.features.start import fit_head
from hf_ssl.model.head import find_head

from tests.helpers.tiny_tasks import new_model, task


def make(folder, modality="text", keywords=None, model_init=None, **config):
    settings = {"max_steps": 2, "per_device_train_batch_size": 2, "unlabeled_batch_ratio": 2, "logging_steps": 1}
    settings |= {"save_strategy": "no", "report_to": "none", "use_cpu": True, "disable_tqdm": True}
    settings |= {"dataloader_num_workers": 0, "duplicate_check_seconds": 0, "learning_rate": 1e-2}
    args = SSLConfig(str(folder), **{**settings, **config})
    made = model_init or (lambda: new_model(modality))
    return SSLTrainer(None, args, **task(modality), model_init=made, **(keywords or {}))


class Seen(TrainerCallback):
    """What each training begins and ends with."""

    def __init__(self):
        self.trials, self.trainer = [], None

    def on_train_begin(self, args, state, control, **kwargs):
        trainer = self.trainer
        start = {name: value.clone() for name, value in trainer.algorithm.state_dict().items()}
        self.trials.append({"start": start, "weights": find_head(trainer.model).weight.detach().clone()})
        self.trials[-1] |= {"algorithm": trainer.algorithm, "max_steps": state.max_steps, "views": trainer.views}
        self.trials[-1] |= {"average": trainer.ema is not None, "log": dict(trainer._sums.values)}

    def on_train_end(self, args, state, control, **kwargs):
        self.trials[-1]["end"] = {name: value.clone() for name, value in self.trainer.algorithm.state_dict().items()}
        self.trials[-1]["losses"] = [row["loss"] for row in state.log_history if "loss" in row]


def watched(trainer):
    seen = Seen()
    seen.trainer = trainer
    trainer.add_callback(seen)
    return seen.trials


def search(trainer, space, trials=2):
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.RandomSampler(seed=0)
    return trainer.hyperparameter_search(space, n_trials=trials, backend="optuna", sampler=sampler)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("algorithm", ["flexmatch", "freematch", "simmatch"])
def test_every_trial_begins_from_scratch(algorithm, tmp_path):
    low = {"algorithm_kwargs": {"threshold": 0.3}} if algorithm == "flexmatch" else {}
    trainer = make(tmp_path, algorithm=algorithm, ema_role="evaluation", **low)
    trials = watched(trainer)
    search(trainer, lambda trial: {"learning_rate": trial.suggest_categorical("learning_rate", [1e-2])})
    first, second = trials
    assert not same(first["start"], first["end"])
    assert same(first["start"], second["start"]) and same(first["end"], second["end"])
    assert first["algorithm"] is not second["algorithm"]
    assert first["losses"] == second["losses"] and first["log"] == second["log"] == {}


def test_settings_of_a_trial_reach_algorithm_views_and_schedule(tmp_path):
    kwargs = {"threshold": 0.9, "temperature": 0.7}
    trainer = make(tmp_path, algorithm_kwargs=kwargs, max_length=8, ema_role="evaluation")
    trials, given = watched(trainer), trainer.args.to_dict()
    spaces = [
        {"unsupervised_weight": 2.5, "algorithm_kwargs": {"threshold": 0.5}, "max_length": 4, "ema_role": "none"},
        {"global_batch_size": 4},
    ]
    search(trainer, lambda trial: spaces[trial.number])
    first, second = trials
    assert first["algorithm"].unsupervised_weight == 2.5
    # What a trial does not set is as the trainer was made with, not as the last trial had it.
    assert first["algorithm"].current_settings() == {**second["algorithm"].current_settings(), "threshold": 0.5}
    assert second["algorithm"].current_settings()["threshold"] == 0.9
    assert (first["average"], second["average"]) == (False, True)
    assert (first["views"].max_length, second["views"].max_length) == (4, 8)
    assert second["algorithm"].unsupervised_weight == 1.0 and second["algorithm"].labeled_batch_size == 4
    assert trainer.args.to_dict() == given


def test_another_algorithm_and_epochs_in_a_trial(tmp_path):
    args = {"use_cpu": True, "report_to": "none", "disable_tqdm": True, "dataloader_num_workers": 0}
    # The threshold is FixMatch's, and does not reach another algorithm.
    args |= {"algorithm": "fixmatch", "algorithm_kwargs": {"threshold": 0.7}}
    config = SSLConfig(str(tmp_path), save_strategy="no", unlabeled_batch_ratio=3, **args)
    trainer = SSLTrainer(None, config, **task("text"), model_init=lambda: new_model("text"))
    trials = watched(trainer)
    # The space of transformers sets epochs; a pool of 24 in batches of 24 is one step.
    search(trainer, lambda trial: {"num_train_epochs": 2 + trial.number, "algorithm": "freematch"})
    assert [trial["max_steps"] for trial in trials] == [2, 3]
    assert {type(trial["algorithm"]).__name__ for trial in trials} == {"FreeMatch"}
    assert trainer.args.max_steps == 10_000 and trainer.args.algorithm == "fixmatch"
    assert trainer.args.algorithm_kwargs == {"threshold": 0.7}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"threshold": 0.5}, r'got \'threshold\'; .*\{"algorithm_kwargs": \{\'threshold\': ...\}\}'),
        ({"unsupervised_weight": -1.0}, "unsupervised_weight must be at least 0, got -1.0"),
    ],
)
def test_what_a_trial_cannot_set_is_refused(space, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        search(make(tmp_path), lambda trial: dict(space))


def test_names_that_the_model_reads_are_left_to_it(tmp_path):
    made = []

    def model_init(trial):
        made.append(trial if trial is None else trial.suggest_categorical("dropout", [0.25]))
        return new_model("text")

    trainer = make(tmp_path, model_init=model_init, max_steps=1)
    search(trainer, lambda trial: {"dropout": trial.suggest_categorical("dropout", [0.25])}, trials=1)
    assert made == [None, 0.25]


def test_a_second_training_is_like_the_first(tmp_path):
    trainer = make(tmp_path, algorithm="flexmatch")
    trials = watched(trainer)
    trainer.train()
    trainer.train()
    assert trials[0]["losses"] == trials[1]["losses"] and same(trials[0]["start"], trials[1]["start"])


def test_settings_changed_between_trainings_are_those_of_the_next(tmp_path):
    trainer = make(tmp_path)
    trials = watched(trainer)
    trainer.args.unsupervised_weight = 3.0
    trainer.train()
    assert trials[0]["algorithm"].unsupervised_weight == 3.0


def test_each_new_model_gets_the_fitted_head(tmp_path):
    trainer = make(tmp_path, start="head")
    trials = watched(trainer)
    expected = new_model("text")
    given = trainer.train_dataset, trainer.unlabeled_dataset, trainer.data, trainer.processing_class, trainer.args
    fit_head(expected, *given)
    trainer.train()
    trainer.train()
    for trial in trials:
        torch.testing.assert_close(trial["weights"], expected.classifier.weight.detach())


def test_its_model_has_the_classes_of_the_data(tmp_path):
    trainer = make(tmp_path)
    trainer.train()
    assert trainer.model.config.id2label == {0: "red", 1: "green", 2: "blue"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": None, "model_init": None}, "model must be a classifier, its Hub id or its path, got None"),
        ({"algorithm": "object"}, "algorithm must not be an object beside model_init"),
    ],
)
def test_what_does_not_go_with_it_is_refused(given, message, tmp_path):
    sizes = {"num_labeled": 6, "num_unlabeled": 24, "labeled_batch_size": 8, "unlabeled_batch_size": 8}
    problem = {"num_classes": 3, "feature_size": 16, "modality": "text", **sizes}
    if given.get("algorithm") == "object":
        given = {"model_init": lambda: new_model("text"), "algorithm": get_algorithm("fixmatch", **problem)}
    with pytest.raises(ValueError, match=message):
        SSLTrainer(args=SSLConfig(str(tmp_path), use_cpu=True), **task("text"), **given)
