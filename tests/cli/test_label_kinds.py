"""`hf-ssl predict` and `evaluate` with models for several labels and for numbers: columns, thresholds, metrics."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, mean_absolute_error, r2_score
from transformers import pipeline

from hf_ssl.cli import main
from hf_ssl.model.uncertainty import save_uncertainty
from hf_ssl.problem_types import MULTI_LABEL, REGRESSION

from tests.helpers.command_data import read_csv, save_model, write_csv
from tests.helpers.tiny_tasks import TASKS, new_model

TEXTS = ["a rose is red", "the sky was blue", "green leaf", "the sea is blue", "a red leaf"]
TAGS = [["rose", "warm"], ["sky"], [], ["sky", "cold"], ["rose"]]
LABELS = ["rose", "sky", "warm", "cold"]


def model_of(kind, folder, names, modality="text", **settings):
    """A tiny model for several labels or for numbers, with random weights, whose answers differ."""
    torch.manual_seed(0)
    model = type(new_model(modality))(
        type(new_model(modality).config).from_dict(
            new_model(modality).config.to_dict()
            | {"num_labels": len(names), "id2label": dict(enumerate(names)), "problem_type": kind}
            | {"label2id": {name: place for place, name in enumerate(names)}}
            | settings
        )
    )
    with torch.no_grad():
        model.classifier.weight.mul_(40)
    model.save_pretrained(folder)
    TASKS[modality][1]().save_pretrained(folder)
    return str(folder)


def answers_of(model, texts=TEXTS):
    """What transformers' own pipeline gives: a row of values by name for each text."""
    found = pipeline("text-classification", model, device="cpu")(texts, top_k=None)
    return [{each["label"]: each["score"] for each in row} for row in found]


def rows_of_table(path, header, cells):
    return str(write_csv(path, [[text, *row] for text, row in zip(TEXTS, cells, strict=True)], ("text", *header)))


@pytest.mark.parametrize(
    ("saved", "options", "thresholds"),
    [
        (None, [], [0.5] * 4),
        ([0.2, 0.9, 0.5, 0.7], [], [0.2, 0.9, 0.5, 0.7]),
        ([0.2, 0.9, 0.5, 0.7], ["--threshold", "0.3"], [0.3] * 4),
    ],
    ids=["a half of each", "those that were saved", "one for all"],
)
def test_predict_names_all_labels_that_reach_their_thresholds(tmp_path, saved, options, thresholds, capsys):
    own = {} if saved is None else {"label_thresholds": saved}
    model, output = model_of(MULTI_LABEL, tmp_path / "m", LABELS, **own), tmp_path / "out.csv"
    table = rows_of_table(tmp_path / "t.csv", [], [[]] * 5)
    assert main(["predict", model, table, "--output", str(output), "--top-k", "2", *options]) == 0
    limits = dict(zip(LABELS, thresholds, strict=True))
    rows, expected = read_csv(output), answers_of(model)
    for row, scores in zip(rows, expected, strict=True):
        ranked = sorted(scores, key=scores.get, reverse=True)
        assert row["labels"].split(";") == ([name for name in ranked if scores[name] >= limits[name]] or [""])
        assert [row["label"], row["label_2"]] == ranked[:2] and "label_3" not in row
        assert float(row["probability_2"]) == pytest.approx(scores[ranked[1]], abs=6e-5)
    without = sum(row["labels"] == "" for row in rows)
    assert (f"{without} of 5 inputs have none of the labels" in capsys.readouterr().out) == (without > 0)


@pytest.mark.parametrize("separator", [";", "|"])
def test_what_stands_between_labels_is_in_none_of_their_names(tmp_path, separator, capsys):
    names = LABELS if separator == ";" else ["rose; or tulip", *LABELS[1:]]
    model = model_of(MULTI_LABEL, tmp_path / "m", names, label_thresholds=[0.0] * 4)
    output = tmp_path / "out.csv"
    assert main(["predict", model, "a rose", "--output", str(output)]) == 0
    assert sorted(read_csv(output)[0]["labels"].split(separator)) == sorted(names)
    assert ("Between labels stands '|'" in capsys.readouterr().out) == (separator == "|")


def test_predict_tells_numbers_with_their_deviations(tmp_path, capsys):
    model, output = model_of(REGRESSION, tmp_path / "m", ["height", "width"]), tmp_path / "out.csv"
    save_uncertainty(model, torch.zeros(2, 16), torch.tensor([4.0, 0.25]).log())
    table = rows_of_table(tmp_path / "t.csv", [], [[]] * 5)
    assert main(["predict", model, table, "--output", str(output)]) == 0
    rows, expected = read_csv(output), answers_of(model)
    columns = ["input", "row", "content", "height", "height_std", "width", "width_std", "error"]
    assert list(rows[0]) == columns
    for name, deviation in (("height", 2.0), ("width", 0.5)):
        found = [float(row[name]) for row in rows]
        assert found == pytest.approx([row[name] for row in expected], rel=1e-5)
        assert {float(row[f"{name}_std"]) for row in rows} == {deviation}
    mean = f"{np.mean([row['height'] for row in expected]):.4g}"
    assert mean in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("height"))


def test_numbers_without_deviations_have_no_column_for_them(tmp_path, capsys):
    model = model_of(REGRESSION, tmp_path / "m", ["height"])
    assert main(["predict", model, "a rose"]) == 0
    header = capsys.readouterr().out.splitlines()[0].split()
    assert header == ["input", "height"]


@pytest.mark.parametrize("option", [["--threshold", "0.5"], ["--top-k", "2"]])
def test_options_of_classes_are_refused_for_numbers(tmp_path, option, capsys):
    model = model_of(REGRESSION, tmp_path / "m", ["height"])
    assert main(["predict", model, "a rose", *option]) == 2
    assert f"{option[0]} must be given for a model of classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    "written",
    ["columns", "columns in another case", "separator", "lists"],
)
def test_evaluate_measures_labels_as_scikit_learn_does(tmp_path, written, capsys):
    model = model_of(MULTI_LABEL, tmp_path / "m", LABELS, label_thresholds=[0.4, 0.6, 0.5, 0.5])
    true = np.array([[int(name in tags) for name in LABELS] for tags in TAGS])
    options = []
    if written == "columns":  # found by their names, in any order
        order = [3, 0, 2, 1]
        data = rows_of_table(tmp_path / "t.csv", [LABELS[i] for i in order], true[:, order].tolist())
    elif written == "columns in another case":
        order = [3, 0, 2, 1]
        names = [LABELS[i].upper() for i in order]
        data = rows_of_table(tmp_path / "t.csv", names, true[:, order].tolist())
        options = ["--label-columns", ",".join(names)]
    elif written == "separator":
        cells = [[";".join(tags) or ";"] for tags in TAGS]
        data = rows_of_table(tmp_path / "t.csv", ["label"], cells)
        options = ["--label-separator", ";"]
    else:
        data = str(tmp_path / "t.jsonl")
        lines = [json.dumps({"text": text, "labels": tags}) for text, tags in zip(TEXTS, TAGS, strict=True)]
        (tmp_path / "t.jsonl").write_text("\n".join(lines))
    out = tmp_path / "out"
    assert main(["evaluate", model, data, "--output-dir", str(out), *options]) == 0
    printed = capsys.readouterr().out
    scores = np.array([[row[name] for name in LABELS] for row in answers_of(model)])
    guessed = scores >= [0.4, 0.6, 0.5, 0.5]
    content = json.loads((out / "evaluation.json").read_text())
    assert content["metrics"]["micro_f1"] == pytest.approx(f1_score(true, guessed, average="micro", zero_division=0))
    assert content["metrics"]["subset_accuracy"] == pytest.approx((true == guessed).all(axis=1).mean())
    assert content["labels"]["sky"]["examples"] == 2 and content["labels"]["sky"]["threshold"] == 0.6
    rows = read_csv(out / "predictions.csv")
    assert [row["true_labels"] for row in rows] == ["rose;warm", "sky", "", "sky;cold", "rose"]
    assert [row["label"] for row in read_csv(out / "labels.csv")] == LABELS
    assert "labels.csv" in printed and "average precision" in printed


@pytest.mark.parametrize("names", [["height"], ["height", "width"]])
def test_evaluate_measures_numbers_as_scikit_learn_does(tmp_path, names, capsys):
    model = model_of(REGRESSION, tmp_path / "m", names)
    true = np.random.default_rng(0).normal(size=(5, len(names))) * 3 + 10
    data = rows_of_table(tmp_path / "t.csv", names[::-1], true[:, ::-1].tolist())
    out = tmp_path / "out"
    assert main(["evaluate", model, data, "--output-dir", str(out)]) == 0
    found = json.loads((out / "evaluation.json").read_text())["metrics"]
    predicted = np.array([[row[name] for name in names] for row in answers_of(model)])
    assert found["mae"] == pytest.approx(mean_absolute_error(true, predicted), rel=1e-5)
    assert found["r2"] == pytest.approx(r2_score(true, predicted), rel=1e-4)
    rows = read_csv(out / "predictions.csv")
    assert [float(row[f"true_{names[-1]}"]) for row in rows] == pytest.approx(true[:, -1].tolist(), rel=1e-6)
    assert ("mean of all" in capsys.readouterr().out) == (len(names) > 1)
    assert (out / "numbers.png").stat().st_size > 1_000


def test_how_far_an_uncertainty_can_be_trusted_is_told(tmp_path, capsys):
    model = model_of(REGRESSION, tmp_path / "m", ["height"])
    predicted = [row["height"] for row in answers_of(model)]
    save_uncertainty(model, torch.zeros(1, 16), torch.zeros(1))  # a standard deviation of 1
    offsets = [0.5, 0.9, 1.5, 1.9, 3.0]
    data = rows_of_table(tmp_path / "t.csv", ["height"], [[a + b] for a, b in zip(predicted, offsets, strict=True)])
    assert main(["evaluate", model, data]) == 0
    assert "Within one standard deviation: 40 % (normal: 68 %), within two: 80 % (95 %)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "header", "cells", "options", "message"),
    [
        (MULTI_LABEL, ["label"], [["rose"]] * 5, [], "labels must be lists, texts with a label_separator or several"),
        (MULTI_LABEL, ["label"], [["tulip"]] * 5, ["--label-separator", ";"], "'tulip', which is not a class"),
        (MULTI_LABEL, ["a", "b"], [[0, 1]] * 5, ["--label-columns", "a,b"], "--label-columns must be 4 columns"),
        (
            MULTI_LABEL,
            ["sky", "rose", "c", "d"],
            [[0, 1, 0, 1]] * 5,
            ["--label-columns", "sky,rose,c,d"],
            "one for each of rose, sky, warm, cold, got sky, rose, c, d",
        ),
        (REGRESSION, ["label"], [["tall"]] * 5, [], "'tall': not a number"),
        (REGRESSION, ["label"], [[1.5]] * 4 + [[""]], [], "has no label in row 4"),
        (REGRESSION, ["label"], [[1.5]] * 5, ["--label-columns", "size"], "--label-column must be one of"),
        (REGRESSION, ["label"], [[1.5]] * 5, ["--open-set"], "--open-set must be left out"),
        (None, ["label"], [["rose"]] * 5, ["--label-separator", ";"], "must be left out for a model of one class"),
    ],
)
def test_labels_of_a_wrong_form_are_an_error_of_one_line(tmp_path, kind, header, cells, options, message, capsys):
    if kind is None:
        model = save_model("text", tmp_path / "m")
    else:
        model = model_of(kind, tmp_path / "m", LABELS if kind == MULTI_LABEL else ["height"])
    data = rows_of_table(tmp_path / "t.csv", header, cells)
    assert main(["evaluate", model, data, *options]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-ssl: error: ")]
    assert message in error


def test_damaged_thresholds_are_an_error_of_one_line(tmp_path, capsys):
    model = model_of(MULTI_LABEL, tmp_path / "m", LABELS, label_thresholds=[0.5, 2.0])
    assert main(["predict", model, "a rose"]) == 2
    assert "label_thresholds must be 4 numbers from 0 to 1" in capsys.readouterr().err
