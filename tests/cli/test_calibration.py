"""Probabilities on the command line: `evaluate` measures, `predict --threshold` abstains, `train` divides."""

import json

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

from hf_ssl.calibration import calibration_metrics
from hf_ssl.cli import evaluation, main
from hf_ssl.cli.train_calibration import calibration_text

from tests.helpers.command_data import image_folders, read_csv, save_model, texts, write_csv
from tests.helpers.tiny_tasks import NAMES

QUICK = ["--per_device_train_batch_size", "4", "--use_cpu", "--disable_tqdm", "true", "--save_strategy", "no"]


def text_model(folder, names=NAMES, problem_type=None):
    """A tiny classifier of texts whose answers are more and less sure."""
    save_model("text", folder)
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=len(names), ignore_mismatched_sizes=True, problem_type=problem_type
    )
    torch.nn.init.normal_(model.classifier.weight, std=2.0)
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: i for i, name in enumerate(names)}
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return text_model(tmp_path_factory.mktemp("model"))


def probabilities_in(path, names=NAMES):
    """[N, C] of a table with all classes."""
    ends = ["", *(f"_{k}" for k in range(2, len(names) + 1))]
    rows = [{row[f"label{end}"]: float(row[f"probability{end}"]) for end in ends} for row in read_csv(path)]
    return np.array([[row[name] for name in names] for row in rows])


# ---- evaluate ----


def test_evaluate_measures_the_probabilities_that_predict_tells(tmp_path, model, monkeypatch, capsys):
    monkeypatch.setattr(evaluation, "_TOGETHER", 4)  # not all at once
    rows = texts(18, 0)
    table, out = write_csv(tmp_path / "t.csv", rows), tmp_path / "out"
    assert main(["evaluate", model, str(table), "--output-dir", str(out)]) == 0
    printed = capsys.readouterr().out
    assert main(["predict", model, str(table), "--top-k", "all", "--output", str(tmp_path / "p.csv")]) == 0
    found = probabilities_in(tmp_path / "p.csv")
    labels = np.array([NAMES.index(name) for _, name in rows])
    content = json.loads((out / "evaluation.json").read_text())
    expected = calibration_metrics(found / found.sum(axis=1, keepdims=True), labels)
    # The table is rounded to four digits.
    assert {name: content["metrics"][name] for name in expected} == pytest.approx(expected, abs=2e-3)
    assert sum(part["count"] for part in content["reliability"]) == 18 and len(content["reliability"]) == 15
    assert ["nll", f"{content['metrics']['nll']:.4f}"] in [line.split() for line in printed.splitlines()]
    with Image.open(out / "reliability.png") as picture:
        assert picture.size[0] > 600
    assert "reliability.png" in printed


def test_a_threshold_that_evaluate_prints_gives_the_answers_that_it_promises(tmp_path, model, capsys):
    rows = texts(20, 0)
    table, out = write_csv(tmp_path / "t.csv", rows), tmp_path / "out"
    assert main(["evaluate", model, str(table), "--output-dir", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Accuracy of the most confident"))
    share, _, accuracy, _, threshold = lines[start + 3].split()
    told = json.loads((out / "evaluation.json").read_text())["most_confident"][0]
    assert (share, float(accuracy)) == ("50", round(100 * told["accuracy"], 2)) and told["share"] == 0.5
    assert main(["predict", model, str(table), "--threshold", threshold, "--output", str(tmp_path / "p.csv")]) == 0
    answers = [(row["label"], true) for row, (_, true) in zip(read_csv(tmp_path / "p.csv"), rows, strict=True)]
    kept = [label == true for label, true in answers if label]
    assert len(kept) == 10 and np.mean(kept) == pytest.approx(told["accuracy"])


def test_classes_with_probabilities_of_their_own_have_no_calibration(tmp_path):
    model = text_model(tmp_path / "model", problem_type="multi_label_classification")
    table, out = write_csv(tmp_path / "t.csv", texts(6, 0)), tmp_path / "out"
    assert main(["evaluate", model, str(table), "--output-dir", str(out), "--label-separator", ";"]) == 0
    content = json.loads((out / "evaluation.json").read_text())
    assert "ece" not in content["metrics"] and "reliability" not in content
    assert not (out / "reliability.png").exists()


def test_an_unreadable_example_and_a_class_without_examples_do_not_count(tmp_path, capsys):
    folders = image_folders(tmp_path / "data", per_class=2)
    (tmp_path / "data" / "test" / "red" / "0.png").write_bytes(b"cut")
    for path in (tmp_path / "data" / "test" / "blue").iterdir():
        path.unlink()
    folder = save_model("image", tmp_path / "model")
    classifier = AutoModelForImageClassification.from_pretrained(folder)
    classifier.config.id2label = dict(enumerate(["blue", "green", "red"]))
    classifier.save_pretrained(folder)
    out = tmp_path / "out"
    assert main(["evaluate", folder, folders["test"], "--output-dir", str(out)]) == 0
    content = json.loads((out / "evaluation.json").read_text())
    assert content["unreadable"] == 1 and sum(part["count"] for part in content["reliability"]) == 5
    assert 0 <= content["metrics"]["ece"] <= 1


# ---- predict --threshold ----


@pytest.mark.parametrize("top", [[], ["--top-k", "1"], ["--top-k", "all"]])
def test_an_input_below_the_threshold_has_probabilities_and_no_label(tmp_path, model, top, capsys):
    table = write_csv(tmp_path / "t.csv", texts(20, 0))
    plain, held = tmp_path / "plain.csv", tmp_path / "held.csv"
    assert main(["predict", model, str(table), "--output", str(plain), *top]) == 0
    before = read_csv(plain)
    threshold = sorted(float(row["probability"]) for row in before)[8] - 1e-4
    assert main(["predict", model, str(table), "--output", str(held), *top, "--threshold", str(threshold)]) == 0
    printed = capsys.readouterr().out
    after = read_csv(held)
    for was, row in zip(before, after, strict=True):
        if float(was["probability"]) < threshold:
            was = {name: "" if name.startswith("label") else value for name, value in was.items()}
        assert row == was
    assert f"8 of 20 inputs got no label: none of their classes reaches --threshold {threshold:g}" in printed


def test_all_inputs_may_be_below_the_threshold_also_on_the_screen(tmp_path, model, capsys):
    table = write_csv(tmp_path / "t.csv", texts(3, 0))
    assert main(["predict", model, str(table), "--threshold", "1"]) == 0
    printed = capsys.readouterr().out
    assert "probability" in printed and "label " not in printed and "3 of 3 inputs got no label" in printed


@pytest.mark.parametrize("threshold", ["-0.1", "1.5", "nan"])
def test_a_threshold_is_a_probability(model, threshold, capsys):
    assert main(["predict", model, "a text", "--threshold", threshold]) == 2
    assert "--threshold must be a probability from 0 to 1" in capsys.readouterr().err


def test_numbers_have_no_threshold(tmp_path, capsys):
    model = text_model(tmp_path, problem_type="regression")
    assert main(["predict", model, "a text", "--threshold", "0.5"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "predicts numbers; leave it out" in error


# ---- train ----


def row_and_measured(arguments, run, data, out):
    """The row of the stage that was kept, and what `evaluate` says of the saved model."""
    assert main([*arguments, "--output-dir", str(run)]) == 0
    (row,) = [row for row in json.loads((run / "results.json").read_text())["runs"] if row["kept"]]
    assert main(["evaluate", str(run), data, "--output-dir", str(out)]) == 0
    return row, json.loads((out / "evaluation.json").read_text())["metrics"]


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """Of a run whose fine-tuning, if there is one, is kept; its test set."""
    monkeypatch.setattr("hf_ssl.features.bank.default_cache", lambda: tmp_path / "features")
    monkeypatch.setattr("hf_ssl.features.choose.Agreement.holds", property(lambda self: True))
    data = image_folders(tmp_path / "data")
    places = ["--labeled", data["labeled"], "--unlabeled", data["pool"], "--test", data["test"]]
    return ["train", *places, "--model", save_model("image", tmp_path / "model"), *QUICK], data["test"]


def test_a_temperature_is_told_and_divides_the_saved_head_only_if_asked_for(tmp_path, arguments):
    words, test = arguments
    words = [*words, "--algorithm", "features"]
    plain, measured = row_and_measured(words, tmp_path / "plain", test, tmp_path / "e1")
    asked, calibrated = row_and_measured([*words, "--calibrate"], tmp_path / "asked", test, tmp_path / "e2")
    temperature = plain["temperature"]
    assert asked["temperature"] == pytest.approx(temperature) and plain["temperature_labels"] == 15
    for name in ("ece", "nll", "brier"):
        assert measured[name] == pytest.approx(plain[name], abs=1e-4)
        assert calibrated[name] == pytest.approx(plain[f"calibrated_{name}"], abs=1e-4)
    before, after = (
        AutoModelForImageClassification.from_pretrained(tmp_path / name).classifier for name in ("plain", "asked")
    )
    assert torch.allclose(after.weight * temperature, before.weight, rtol=1e-4, atol=1e-6)
    assert torch.allclose(after.bias * temperature, before.bias, rtol=1e-4, atol=1e-6)
    answers = [[row["label"] for row in read_csv(tmp_path / name / "predictions.csv")] for name in ("e1", "e2")]
    assert len(answers[0]) == 9 and answers[0] == answers[1]
    cards = [ModelCard.load(tmp_path / name / "README.md").text for name in ("plain", "asked")]
    assert "divide its logits by the temperature" in cards[0] and "The head of the model is divided by it" in cards[1]
    assert all(f"Temperature {temperature:.3g}, fitted to 15 labels" in card for card in cards)
    assert "--calibrate" in cards[1].split("## Reproduce it")[1]


WEIGHTS = {
    "trained": ["--ema_role", "none"],
    "averaged": ["--ema_role", "evaluation", "--ema_decay", "0.5"],
    "corrected": ["--imbalance", "abc"],
}


@pytest.mark.parametrize("options", WEIGHTS.values(), ids=WEIGHTS)
def test_whichever_weights_are_saved_are_divided(tmp_path, arguments, options):
    words, test = arguments
    words = [*words, "--max-steps", "3", "--calibrate", *options]
    row, calibrated = row_and_measured(words, tmp_path / "run", test, tmp_path / "e")
    assert row["steps"] == 3 and row["temperature"] != 1
    for name in ("ece", "nll", "brier"):
        assert calibrated[name] == pytest.approx(row[f"calibrated_{name}"], abs=1e-4)
    assert "carried over by examples of the pool" in ModelCard.load(tmp_path / "run" / "README.md").text


def test_a_named_algorithm_holds_no_labels_out(tmp_path, capsys):
    words = ["train", "--model", "m", "--labeled", "l.csv", "--algorithm", "fixmatch", "--calibrate"]
    assert main([*words, "--output-dir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "--algorithm auto or features, which hold labels out, got fixmatch" in error


def test_without_a_temperature_the_card_says_so():
    assert "no label could be held out" in calibration_text({"temperature": None, "steps": 0}, divided=False)
