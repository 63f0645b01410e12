"""What Trackio is told of a training; it never ends one."""

import json
import sqlite3
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from transformers import TrainerCallback
from transformers.integrations import TrackioCallback

from hf_ssl.training.trackio_callback import SSLTrackioCallback

from tests.helpers.tiny_images import make_vit


class Trackio(SimpleNamespace):
    """The part of the module that is called, with what it was told; `fails` names a function that raises."""

    __version__ = "0.43.0"
    AlertLevel = SimpleNamespace(WARN="warn")

    def __init__(self, fails=None):
        super().__init__(calls=[], config={}, fails=fails)
        self.context_vars = SimpleNamespace(current_space_id=SimpleNamespace(get=lambda: None))
        self.config = type("Config", (dict,), {"update": lambda *_, **__: None})()

    def _told(self, name, /, *given, **named):
        if name == self.fails:
            raise RuntimeError("no space left\non device")
        self.calls.append((name, given, named))

    def init(self, **settings):
        self._told("init", **settings)

    def log(self, metrics):
        self._told("log", metrics)

    def alert(self, title, text, level):
        print("in color")
        self._told("alert", title, level)

    def finish(self):
        self._told("finish")

    Histogram = staticmethod(lambda np_histogram: ("histogram", np_histogram))
    Markdown = staticmethod(lambda text: ("markdown", text))
    Table = staticmethod(lambda columns, data: ("table", columns, data))

    def of(self, name):
        return [(given, named) for called, given, named in self.calls if called == name]


@pytest.fixture
def tracked(monkeypatch, make_trainer):
    """trackio -> a trainer that reports to it."""

    def make(trackio, **config):
        monkeypatch.setattr("transformers.integrations.integration_utils.is_trackio_available", lambda: True)
        monkeypatch.setitem(sys.modules, "trackio", trackio)
        config = {"algorithm": "pseudo_label", "algorithm_kwargs": {"threshold": 0.0}, "logging_steps": 1, **config}
        config.setdefault("max_steps", 2)
        return make_trainer(make_vit(), report_to="trackio", **config)

    return make


def test_a_run_has_group_name_classes_alerts_confusion_and_report(tracked, tmp_path, capsys):
    trackio = Trackio()
    trainer = tracked(trackio, eval_strategy="steps", eval_steps=2, output_dir=str(tmp_path / "leaves"), seed=7)
    (callback,) = [found for found in trainer.callback_handler.callbacks if isinstance(found, TrackioCallback)]
    assert type(callback) is SSLTrackioCallback
    trainer.train()
    trainer.watch.alert("a title", "a text")
    assert "in color" not in capsys.readouterr().out
    ((_, begun),) = trackio.of("init")
    assert (begun["group"], begun["name"], begun["resume"]) == ("pseudo_label", "leaves-6-7 pseudo_label", "never")
    assert trackio.of("alert") == [(("a title", "warn"), {})]
    assert [name for name, _, _ in trackio.calls[-2:]] == ["finish", "alert"]

    logged = [given[0] for given, _ in trackio.of("log")]
    histograms = [row["train/pseudo_labels"] for row in logged if "train/pseudo_labels" in row]
    (kind, (counts, bins)) = histograms[0]
    classes = len(trainer.data.label_names)
    assert kind == "histogram" and len(histograms) == 2
    assert bins.tolist() == (np.arange(classes + 1) - 0.5).tolist()
    # Every unlabeled example of a step counts, in one class.
    assert len(counts) == classes and counts.sum() <= trainer.algorithm.unlabeled_batch_size

    end = logged[-1]
    assert set(end) == {"report", "confusion"}
    _, columns, rows = end["confusion"]
    assert columns == ["true class", *trainer.data.label_names] and len(rows) == classes
    assert sum(sum(row[1:]) for row in rows) == len(trainer.eval_dataset)
    report = end["report"][1]
    assert report.startswith("# pseudo_label on leaves, 6 labels\n\n2 steps, seed 7.\n\nEvaluation at step 2:\n")
    assert "| accuracy | " in report and "Semi-supervised training" in report and str(tmp_path) not in report


def test_what_the_user_named_keeps_its_name(tracked):
    trackio = Trackio()
    tracked(trackio, run_name="mine").train()
    ((_, begun),) = trackio.of("init")
    assert (begun["group"], begun["name"], begun["resume"]) == ("pseudo_label", "mine", "allow")
    # Without an evaluation there is no confusion matrix.
    assert set(trackio.of("log")[-1][0][0]) == {"report"}


@pytest.mark.parametrize("fails", ["init", "log", "finish"])
def test_a_failure_of_trackio_is_warned_of_once_and_ends_nothing(tracked, monkeypatch, fails):
    warnings = []
    monkeypatch.setattr("hf_ssl.training.trackio_callback.logger.warning", warnings.append)
    trainer = tracked(Trackio(fails))
    trainer.train()
    assert trainer.state.global_step == 2
    (said,) = warnings
    assert said.startswith("Trackio failed (RuntimeError: no space left on device); the training goes on")


def test_without_trackio_in_report_to_there_is_none(make_trainer):
    callbacks = make_trainer(make_vit()).callback_handler.callbacks
    assert not [found for found in callbacks if isinstance(found, TrackioCallback)]


def test_the_package_itself_keeps_all_of_it_on_this_machine(make_trainer, monkeypatch, tmp_path):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    trackio = pytest.importorskip("trackio")
    monkeypatch.setattr("transformers.integrations.integration_utils.is_trackio_available", lambda: True)
    config = {"algorithm": "pseudo_label", "algorithm_kwargs": {"threshold": 0.0}, "max_steps": 2, "logging_steps": 1}
    evaluations = {"eval_strategy": "steps", "eval_steps": 2}
    trainer = make_trainer(make_vit(), report_to="trackio", project="leaves", **config, **evaluations)
    trainer.add_callback(_Alerting(trainer))
    trainer.train()
    with sqlite3.connect(trackio.utils.TRACKIO_DIR / "leaves.db") as database:
        rows = database.execute("select metrics from metrics order by step").fetchall()
        alerts = database.execute("select title, text from alerts").fetchall()
    logged = [json.loads(row) for (row,) in rows]
    assert alerts == [("a title", "a text")] * 2
    kinds = [row["train/pseudo_labels"]["_type"] for row in logged if "train/pseudo_labels" in row]
    assert kinds == ["trackio.histogram"] * 2
    assert logged[-1]["report"]["_type"] == "trackio.markdown" and logged[-1]["confusion"]["_type"] == "trackio.table"


class _Alerting(TrainerCallback):
    def __init__(self, trainer):
        self.trainer = trainer

    def on_step_end(self, *_, **__):
        self.trainer.watch.alert("a title", "a text")
