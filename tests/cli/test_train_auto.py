"""`hf-ssl train --algorithm auto`: the stages, which model is kept, and what is said of it."""

import json

import numpy as np
import pytest
from huggingface_hub import ModelCard
from transformers import pipeline

from hf_ssl.cli import main
from hf_ssl.features.choose import Agreement

from tests.helpers.command_data import image_folders, read_csv, save_model, texts, write_csv

QUICK = ["--per_device_train_batch_size", "4", "--use_cpu", "--disable_tqdm", "true", "--save_strategy", "no"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_ssl.features.bank.default_cache", lambda: tmp_path / "features")


@pytest.fixture
def images(tmp_path):
    """Arguments of a run on folders of red, green and blue images, and its folder."""
    folders, run = image_folders(tmp_path / "data"), tmp_path / "run"
    arguments = ["--labeled", folders["labeled"], "--unlabeled", folders["pool"], "--test", folders["test"]]
    model = save_model("image", tmp_path / "model")
    return ["train", *arguments, "--model", model, "--output-dir", str(run), *QUICK], run


def results_of(run):
    return json.loads((run / "results.json").read_text())["runs"]


def kept_in(run):
    (row,) = [row for row in results_of(run) if row["kept"]]
    return row["algorithm"]


def test_every_stage_has_a_row_in_the_order_they_ran_and_one_is_kept(images, capsys):
    arguments, run = images
    assert main([*arguments, "--max-steps", "4", "--baseline"]) == 0
    rows = results_of(run)
    assert [row["algorithm"] for row in rows] == ["probe", "features", "supervised", "supervised_lora", "distillation"]
    assert [row["steps"] for row in rows] == [0, 0, 4, 4, 4]
    assert sum(row["kept"] for row in rows if "kept" in row) == 1
    assert all(0 <= row["test_accuracy"] <= 1 and row["seconds"] >= 0 for row in rows)
    assert 0 < rows[1]["estimate"] <= 1 and 0 < rows[1]["estimate_error"] < 0.5
    printed = capsys.readouterr().out
    assert "Kept: " in printed and "labels held out in turn" in printed and "estimate from labels" in printed


def test_epochs_that_are_asked_for_say_how_long_to_fine_tune(images, capsys):
    arguments, run = images
    # 12 images in the pool, 4 per step: with 2 epochs 6 steps of each stage.
    epochs = [*arguments, "--num-train-epochs", "2", "--unlabeled-batch-ratio", "1"]
    assert main(epochs) == 0
    assert [row["steps"] for row in results_of(run)] == [0, 0, 6]
    capsys.readouterr()
    assert main([*epochs, "--resume"]) == 0
    assert "nothing" in capsys.readouterr().out


def test_the_features_alone_predict_as_the_saved_model_does(images, tmp_path):
    arguments, run = images
    assert main([*arguments, "--algorithm", "features"]) == 0
    probe, features = results_of(run)
    assert (probe["algorithm"], features["algorithm"]) == ("probe", "features") and features["steps"] == 0
    assert features["test_accuracy"] == 1.0
    assert main(["predict", str(run), str(tmp_path / "data" / "pool"), "--output", str(tmp_path / "p.csv")]) == 0
    labels = {row["input"].rsplit("/", 1)[1]: row["label"] for row in read_csv(tmp_path / "p.csv")}
    assert [labels[f"{i}.jpg"] for i in range(12)] == ["blue", "green", "red"] * 4


def test_the_card_describes_the_model_that_was_kept(images):
    arguments, run = images
    assert main([*arguments, "--algorithm", "features"]) == 0
    card = ModelCard.load(run / "README.md")
    assert kept_in(run) in card.data.tags
    assert "## How it was found" in card.text and "held out in turn" in card.text
    for of_a_training in ("| batch |", "| learning rate |", "| optimizer |", "| steps |"):
        assert of_a_training not in card.text
    assert card.data.eval_results[0].metric_value == 1.0


def test_fine_tuning_that_ran_away_is_given_up_and_nothing_of_it_is_left(images, tmp_path, monkeypatch):
    arguments, run = images
    monkeypatch.setattr(Agreement, "holds", property(lambda self: False))
    # A rate at which the model is ruined.
    assert main([*arguments, "--max-steps", "4", "--learning_rate", "10"]) == 0
    before = results_of(run)
    assert (
        before[-1]["algorithm"] == "distillation" and not before[-1]["kept"] and kept_in(run) in ("probe", "features")
    )
    stage = next(row for row in before if row["kept"])
    classify = pipeline("image-classification", str(run))
    pictures = sorted((tmp_path / "data" / "test").rglob("*.png")) + sorted(
        (tmp_path / "data" / "test").rglob("*.jpg")
    )
    right = [classify(str(path))[0]["label"] == path.parent.name for path in pictures]
    assert np.mean(right) == pytest.approx(stage["test_accuracy"])


def test_without_fine_tuning_the_baselines_are_trained_all_the_same(images):
    arguments, run = images
    assert main([*arguments, "--algorithm", "features", "--max-steps", "2", "--baseline"]) == 0
    rows = results_of(run)
    assert [row["algorithm"] for row in rows] == ["probe", "features", "supervised", "supervised_lora"]
    # Adapters learn at a multiple of the rate, which is written nowhere but in their own log.
    rates = [
        json.loads((run / folder / "trainer_state.json").read_text())["log_history"][0]["learning_rate"]
        for folder in ("baseline", "baseline/lora")
    ]
    assert rates[1] == pytest.approx(5 * rates[0])


def test_no_time_means_no_fine_tuning(images, capsys):
    arguments, run = images
    assert main([*arguments, "--time-budget", "0s"]) == 0
    assert [row["algorithm"] for row in results_of(run)] == ["probe", "features"]
    assert "No fine-tuning: the stages before it took" in capsys.readouterr().out


def test_the_schedule_is_planned_from_the_time_of_a_step(images, monkeypatch, capsys):
    arguments, run = images
    monkeypatch.setattr("hf_ssl.cli.train_auto.step_seconds", lambda trainer: 1.0)
    monkeypatch.setattr("hf_ssl.cli.train_auto.planned_steps", lambda left, per_step, most: 3 if left > 3000 else 0)
    assert main([*arguments, "--time-budget", "1h"]) == 0
    assert results_of(run)[-1]["steps"] == 3
    assert "Fine-tuning: 3 steps of 1 s, 3 s (--time-budget)" in capsys.readouterr().out


def test_what_the_user_sets_wins(images):
    arguments, run = images
    assert main([*arguments, "--max-steps", "2", "--learning_rate", "1e-3", "--unlabeled_batch_ratio", "2"]) == 0
    assert results_of(run)[-1]["steps"] == 2
    settings = json.loads((run / "ssl_config.json").read_text())
    assert (settings["learning_rate"], settings["unlabeled_batch_ratio"]) == (1e-3, 2)
    told = json.loads((run / "results.json").read_text())["settings"]
    assert (told["algorithm"], told["max_steps"], told["learning_rate"], told["lr_scheduler_type"]) == (
        "auto",
        2,
        1e-3,
        "cosine",
    )


def test_texts_without_a_test_set(tmp_path, capsys):
    write_csv(tmp_path / "labeled.csv", texts(24, 0))
    (tmp_path / "pool.txt").write_text("\n".join(text for text, _ in texts(40, 2)) + "\n")
    arguments = ["--labeled", str(tmp_path / "labeled.csv"), "--unlabeled", str(tmp_path / "pool.txt")]
    arguments += ["--model", save_model("text", tmp_path / "model"), "--output-dir", str(tmp_path / "run")]
    assert main(["train", *arguments, *QUICK, "--max-steps", "2"]) == 0
    rows = results_of(tmp_path / "run")
    assert all(row["test_accuracy"] is None for row in rows) and kept_in(tmp_path / "run")
    assert "Nothing was evaluated" in capsys.readouterr().out


def test_a_wrong_duration_is_one_line_and_nothing_is_written(images, capsys):
    arguments, run = images
    assert main([*arguments, "--time-budget", "soon"]) != 0
    assert "--time-budget must be a duration such as 90s, 3m or 1h, got 'soon'" in capsys.readouterr().err
    assert not run.exists()
