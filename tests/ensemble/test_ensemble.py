"""Members, vote and student together: what is trained, what is kept, and what a resumed run does not train again."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoModelForSequenceClassification, pipeline

import hf_ssl.ensemble.run as ensemble_run
from hf_ssl.ensemble import members, soft_labels, train_ensemble
from hf_ssl.files import atomic_write

from tests.helpers.command_data import save_model
from tests.helpers.tiny_tasks import TASKS

METHODS = ("none", "lora", "features")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_ssl.features.bank.default_cache", lambda: tmp_path / "features")


class Runs:
    """Ensembles of one tiny model in one folder; `fitted` has the members that the last one fitted."""

    def __init__(self, modality, folder, monkeypatch):
        self.modality, self.folder = modality, folder / "run"
        self.make, self.model = TASKS[modality][0], save_model(modality, folder / "tiny")
        self.fitted, self.said = [], []
        fit = ensemble_run.fit

        def counted(base, method, *rest):
            self.fitted.append(method)
            return fit(base, method, *rest)

        monkeypatch.setattr(ensemble_run, "fit", counted)

    def __call__(
        self, methods=METHODS, *, resume=False, vote="mean_probabilities", test=True, student=None, **changes
    ):
        self.fitted.clear(), self.said.clear()
        quiet = {"use_cpu": True, "disable_tqdm": True, "report_to": "none", "dataloader_num_workers": 0}
        sizes = {"max_steps": 3, "per_device_train_batch_size": 4, "unlabeled_batch_ratio": 1, "seed": 0}
        return train_ensemble(
            [self.model],
            train_dataset=self.make(9, 0),
            unlabeled_dataset=self.make(30, 1),
            eval_dataset=self.make(12, 2) if test else None,
            methods=methods,
            vote=vote,
            student=student,
            settings={"output_dir": str(self.folder), **quiet, **sizes, **changes},
            resume=resume,
            say=self.said.append,
        )

    @property
    def results(self):
        return json.loads((self.folder / "results.json").read_text())

    def weights(self, member=""):
        return load_file(self.folder / member / "model.safetensors")


@pytest.fixture
def texts(tmp_path, monkeypatch):
    return Runs("text", tmp_path, monkeypatch)


def same(first, second):
    return all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("modality", TASKS)
def test_members_vote_and_student_have_their_rows_and_folders(modality, tmp_path, monkeypatch):
    runs = Runs(modality, tmp_path, monkeypatch)
    trainer = runs()
    rows = runs.results["runs"]
    names = ["supervised", "supervised_lora", "features", "ensemble", "ensemble_distillation"]
    assert [row["algorithm"] for row in rows] == names
    assert [row["kept"] for row in rows] == [False, False, False, False, True]
    assert [row.get("votes") for row in rows] == [True, True, True, None, None]
    assert all(row["test_accuracy"] is not None for row in rows) and rows[-1]["steps"] == 3
    # The student's 3 steps read 12 of the 30 examples, and no more are voted on.
    logits = [load_file(runs.folder / "members" / f"tiny-{method}" / "logits.safetensors") for method in METHODS]
    assert all(each["pool"].shape == (12, 3) and each["test"].shape == (12, 3) for each in logits)
    soft = soft_labels(np.stack([each["test"] for each in logits]))
    assert rows[3]["test_accuracy"] == (soft.argmax(axis=1) == np.array(runs.make(12, 2)["label"])).mean()
    np.testing.assert_allclose(
        trainer.algorithm.targets, soft_labels(np.stack([e["pool"] for e in logits])), rtol=1e-5
    )
    card = (runs.folder / "README.md").read_text()
    assert "tiny: LoRA" in card and "vote of 3 (mean_probabilities)" in card and "student: tiny: all weights" in card
    assert "self-training on the votes of an ensemble" in card and "held out" not in card
    assert str(tmp_path) not in card + json.dumps(runs.results)


def test_members_and_student_are_ordinary_classifiers(texts):
    texts(("lora", "none"))
    rows = texts.make(12, 2)
    for place in ("members/tiny-lora", "members/tiny-none", ""):
        classify = pipeline("text-classification", str(texts.folder / place))
        right = np.mean(
            [row["label"] == name for row, name in zip(classify(rows["text"][:]), names(rows), strict=True)]
        )
        known = json.loads((texts.folder / place / "results.json").read_text())["runs"][-1]["test_accuracy"]
        assert right == pytest.approx(known)
    # The student is LoRA's, too, and its adapters are in the weights.
    before = AutoModelForSequenceClassification.from_pretrained(texts.model).state_dict()
    after = texts.weights()
    assert before.keys() == after.keys()
    assert not np.array_equal(
        before["bert.encoder.layer.0.attention.self.query.weight"],
        after["bert.encoder.layer.0.attention.self.query.weight"],
    )


def names(rows):
    return [rows.features["label"].int2str(label) for label in rows["label"]]


def test_members_that_were_fitted_are_not_fitted_again(texts, monkeypatch):
    texts()
    whole = {place: texts.weights(place) for place in ("", *(f"members/tiny-{method}" for method in METHODS))}
    rows = texts.results["runs"]
    # Killed while the third member is saved, which leaves everything but its results.
    (texts.folder / "members" / "tiny-features" / "results.json").unlink()
    texts(resume=True)
    assert texts.fitted == ["features"]
    assert sum(line.endswith("(from the earlier run)") for line in texts.said) == 2
    assert all(same(texts.weights(place), weights) for place, weights in whole.items())
    accuracies = [[row["test_accuracy"] for row in each] for each in (rows, texts.results["runs"])]
    assert accuracies[0] == accuracies[1]


def test_a_student_that_was_killed_goes_on_from_its_checkpoint(texts, monkeypatch):
    texts()
    whole = texts.weights()

    def fails(*_):
        raise KeyboardInterrupt

    (texts.folder / "model.safetensors").unlink()
    texts.folder.rename(texts.folder.with_name("whole"))
    with monkeypatch.context() as patch:
        patch.setattr(ensemble_run, "merge_adapters", fails)
        with pytest.raises(KeyboardInterrupt):
            texts(save_steps=1, save_total_limit=3)
    shutil.rmtree(texts.folder / "checkpoint-3")
    trainer = texts(resume=True, save_steps=1, save_total_limit=3)
    assert texts.fitted == [] and trainer.state.global_step == 3
    assert same(texts.weights(), whole)
    # It did not begin again.
    assert [row["step"] for row in trainer.state.log_history if "loss" in row] == [1, 2, 3]
    assert trainer.earlier_seconds > 0


def test_another_vote_keeps_the_members_and_trains_the_student_anew(texts):
    texts()
    before = texts.weights()
    trainer = texts(resume=True, vote="votes")
    assert texts.fitted == [] and not same(before, texts.weights())
    assert set(np.unique(np.round(trainer.algorithm.targets.numpy() * 3))) <= {0.0, 1.0, 2.0, 3.0}
    assert trainer.earlier_seconds == 0


def test_another_student_does_not_go_on_from_the_checkpoint_of_the_first(texts):
    texts(("none", "lora"))
    trainer = texts(("none", "lora"), resume=True, student=(texts.model, "lora"))
    assert texts.fitted == [] and trainer.earlier_seconds == 0
    assert texts.results["runs"][-1]["method"] == "lora"


def test_a_member_that_is_killed_while_fitted_again_is_not_taken_for_the_one_before(texts, monkeypatch):
    texts(("none", "probe"))
    with monkeypatch.context() as patch:
        patch.setattr(members, "pool_logits", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            texts(("none", "probe"), resume=True, learning_rate=1e-5)
    texts(("none", "probe"), resume=True)
    assert texts.fitted == ["none"]


@pytest.mark.parametrize("change", [{"learning_rate": 1e-5}, {"seed": 1}])
def test_members_with_other_settings_are_fitted_again(texts, change):
    texts(("none", "probe"))
    texts(("none", "probe"), resume=True, **change)
    assert texts.fitted == ["none", "probe"]


def test_a_further_member_joins_those_that_are_there(texts):
    texts(("none", "probe"))
    texts(("none", "probe", "features"), resume=True)
    assert texts.fitted == ["features"]
    assert [row["title"] for row in texts.results["runs"]][-2] == "vote of 3 (mean_probabilities)"


def test_a_damaged_member_is_fitted_again(texts):
    texts(("none", "probe"))
    with atomic_write(texts.folder / "members" / "tiny-none" / "logits.safetensors") as path:
        path.write_bytes(b"\xff" * 100)
    texts(("none", "probe"), resume=True)
    assert texts.fitted == ["none"]


def test_labels_alone_are_reported_if_the_students_method_is_no_member(texts):
    texts(("probe", "features"))
    rows = texts.results["runs"]
    assert [row["algorithm"] for row in rows] == [
        "probe",
        "features",
        "supervised",
        "ensemble",
        "ensemble_distillation",
    ]
    assert rows[2]["votes"] is False and "it has no vote" in rows[2]["title"]
    assert rows[3]["title"].startswith("vote of 2")


def test_nothing_is_said_of_accuracy_without_a_test_set(texts):
    texts(("none", "probe"), test=False)
    rows = texts.results["runs"]
    assert all(row["test_accuracy"] is None for row in rows) and 0 <= rows[2]["pseudo_label_accuracy"] <= 1
    assert "Nothing was evaluated" in (texts.folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"methods": ["adapters"]}, "every method must be one of none, upper, lora"),
        ({"methods": []}, "at least one of none"),
        ({"vote": "majority"}, "vote must be one of votes, "),
        ({"algorithm": "fixmatch"}, "algorithm must be left out, got 'fixmatch'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(texts, change, said):
    with pytest.raises(ValueError, match=said):
        texts(**change)
    assert not texts.folder.exists()


def test_a_run_is_never_overwritten(texts):
    texts(("probe", "none"))
    before = texts.weights()
    with pytest.raises(ValueError, match="output_dir must hold no run yet"):
        texts(("probe", "none"))
    assert same(before, texts.weights())


def test_models_of_one_name_are_refused(texts, tmp_path):
    other = save_model("text", tmp_path / "elsewhere" / "tiny")
    with pytest.raises(ValueError, match="models must have different names"):
        train_ensemble(
            [texts.model, other],
            train_dataset=texts.make(6, 0),
            unlabeled_dataset=texts.make(6, 1),
            settings={"output_dir": str(texts.folder)},
        )
