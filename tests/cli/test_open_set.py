"""From a pool with a class that nobody labeled to answers "none of these": train, predict, evaluate."""

import json
import shutil

import pytest

from hf_ssl.cli import main
from hf_ssl.cli.answers import Answer, ClassAnswers, cells_of, header
from hf_ssl.cli.inputs import Item

from tests.helpers.command_data import image_folders, read_csv, save_model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on folders of red and green images, with blue ones in the pool; the folder of the data, and its own."""
    base = tmp_path_factory.mktemp("open_set")
    folders = image_folders(base / "data")
    for split in ("labeled", "test"):
        shutil.move(base / "data" / split / "blue", base / f"blue of {split}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hf_ssl.features.bank.default_cache", lambda: base / "features")
        arguments = ["--labeled", folders["labeled"], "--unlabeled", folders["pool"], "--test", folders["test"]]
        arguments += ["--model", save_model("image", base / "model"), "--output-dir", str(base / "run")]
        arguments += ["--use_cpu", "--disable_tqdm", "true", "--algorithm", "features", "--open-set", "drop"]
        assert main(["train", *arguments]) == 0
    return base


def test_the_features_route_drops_foreign_images_before_the_graph(run):
    rows = json.loads((run / "run" / "results.json").read_text())["runs"]
    assert [row["algorithm"] for row in rows] == ["probe", "features"]
    # 12 images of the pool can be read, of which 4 are blue.
    assert {row["foreign_dropped"] for row in rows} == {rows[0]["foreign_examples"]} and rows[0][
        "foreign_dropped"
    ] >= 4
    assert rows[1]["test_accuracy"] == 1.0
    card = (run / "run" / "README.md").read_text()
    assert "of 12 pool examples look foreign" in card and "--foreign-threshold auto" in card


def test_predict_leaves_foreign_inputs_without_a_label(run, tmp_path, capsys):
    output = tmp_path / "p.csv"
    inputs = [str(run / "data" / "test"), str(run / "blue of test")]
    assert main(["predict", str(run / "run"), *inputs, "--output", str(output), "--foreign-threshold", "auto"]) == 0
    rows = read_csv(output)
    assert list(rows[0])[-2:] == ["foreign", "error"] and len(rows) == 9
    known, blue = ([row for row in rows if ("blue of test" in row["input"]) == is_blue] for is_blue in (False, True))
    assert max(float(row["foreign"]) for row in known) < min(float(row["foreign"]) for row in blue)
    assert [row["label"] for row in blue] == [""] * 3 and all(row["probability"] for row in blue)
    assert {row["label"] for row in known} - {""} == {"red", "green"}
    printed = capsys.readouterr().out
    assert "of 9 inputs look foreign, beyond" in printed and "they got no label" in printed


def test_a_threshold_of_the_users_own_wins(run, tmp_path, capsys):
    output = tmp_path / "p.csv"
    given = ["predict", str(run / "run"), str(run / "blue of test"), "--output", str(output)]
    assert main([*given, "--foreign-threshold", "1e9"]) == 0
    assert all(row["label"] for row in read_csv(output)) and "No input looks foreign" in capsys.readouterr().out


def test_evaluate_measures_the_known_classes_and_tells_the_others(run, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(run / "data" / "test", data)
    shutil.copytree(run / "blue of test", data / "blue")
    given = ["evaluate", str(run / "run"), str(data)]
    assert main(given) != 0 and "which is not a class of the model" in capsys.readouterr().err
    assert main([*given, "--open-set", "--output-dir", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "3 of 9 examples are of classes that the model does not know" in printed
    metrics = json.loads((tmp_path / "out" / "evaluation.json").read_text())["metrics"]
    assert metrics["accuracy"] == 1.0 and metrics["foreign_auroc"] == 1.0 and metrics["foreign_found"] == 1.0
    assert 0 <= metrics["known_rejected"] < 1
    assert len(read_csv(tmp_path / "out" / "predictions.csv")) == 6


def test_evaluate_judges_other_models_by_their_confidence(run, tmp_path, capsys):
    model = shutil.copytree(run / "run", tmp_path / "plain")
    (model / "ssl_foreignness.safetensors").unlink()
    data = tmp_path / "data"
    shutil.copytree(run / "data" / "test", data)
    shutil.copytree(run / "blue of test", data / "blue")
    assert main(["evaluate", str(model), str(data), "--open-set"]) == 0
    printed = capsys.readouterr().out
    assert "how unsure the model is" in printed and "foreign_auroc" in printed and "foreign_found" not in printed


ERRORS = {
    "no file": (
        ["--foreign-threshold", "auto"],
        "--foreign-threshold must be given for a model that was trained with",
    ),
    "no number": (["--foreign-threshold", "far"], "must be a number or auto, got far"),
    "not finite": (["--foreign-threshold", "nan"], "must be a number or auto, got nan"),
}


@pytest.mark.parametrize(("option", "message"), ERRORS.values(), ids=ERRORS)
def test_what_cannot_be_told_is_one_line(option, message, run, capsys):
    try:
        assert main(["predict", str(run / "model"), str(run / "data" / "test"), *option]) != 0
    except SystemExit as error:
        assert error.code == 2
    assert message in capsys.readouterr().err


def test_data_of_unknown_classes_alone_are_an_error(run, tmp_path, capsys):
    shutil.copytree(run / "blue of test", tmp_path / "data" / "blue")
    assert main(["evaluate", str(run / "run"), str(tmp_path / "data"), "--open-set"]) != 0
    error = capsys.readouterr().err
    assert "must have examples of the model's classes" in error and error.count("\n") == 1


def test_the_column_is_there_only_if_asked_for():
    item, answer = Item("a.png", None, None), Answer({"cat": 0.75}, foreign=2.5)
    above, below, unasked = (ClassAnswers(1, None, limit) for limit in (3.0, 2.0, None))
    assert header(0, above) == ["input", "row", "label", "probability", "foreign", "error"]
    assert cells_of(item, answer, 0, above) == ["a.png", "", "cat", "0.7500", "2.5000", ""]
    assert cells_of(item, answer, 0, below) == ["a.png", "", "", "0.7500", "2.5000", ""]
    assert cells_of(item, answer, 0, unasked) == ["a.png", "", "cat", "0.7500", ""]
    assert cells_of(item, Answer({}, "broken"), 0, below) == ["a.png", "", "", "", "", "broken"]
