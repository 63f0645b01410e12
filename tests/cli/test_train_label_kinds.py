"""`hf-ssl train` for several labels and for numbers, from files to a model that is used, inspected and published."""

import contextlib
import io
import json
import re
import shlex

import pytest
import torch
from huggingface_hub import ModelCard

from hf_ssl.cli import main
from hf_ssl.cli.train_options import parse
from hf_ssl.hub.upload import published_files
from hf_ssl.problem_types import MULTI_LABEL, REGRESSION

from tests.helpers.command_data import COLORS, TONES, read_csv, save_model, texts, write_csv, write_image, write_sound
from tests.helpers.hub_client import check_private, run_client
from tests.helpers.loopback_hub import LoopbackHub

QUICK = ["--use-cpu", "--quiet", "--per-device-train-batch-size", "4", "--unlabeled-batch-ratio", "2"]
STEPS = ["--max-steps", "4", "--save-strategy", "no"]


def media(folder, modality, count, seed):
    """Inputs of the three classes in turn: texts, or the names of files beside the table."""
    if modality == "text":
        return [text for text, _ in texts(count, seed)]
    names = [*(COLORS if modality == "image" else TONES)]
    write, suffix = (write_image, "png") if modality == "image" else (write_sound, "wav")
    found = [write(folder / f"{seed}-{i}.{suffix}", names[i % 3], seed=100 * seed + i) for i in range(count)]
    return [path.name for path in found]


def table(folder, modality, count, seed, header, cells):
    """A table of inputs, and of what `cells` makes of their numbers."""
    inputs = media(folder, modality, count, seed)
    rows = [[name, *cells(i)] for i, name in enumerate(inputs)]
    return str(write_csv(folder / f"table-{seed}.csv", rows, ("text" if modality == "text" else modality, *header)))


def data_of(folder, modality, header, cells):
    """The options that name model, labeled examples, pool and test set."""
    folder.mkdir()
    return [
        *("--model", save_model(modality, folder / "model")),
        *("--labeled", table(folder, modality, 12, 0, header, cells)),
        *("--unlabeled", table(folder, modality, 24, 1, [], lambda i: [])),
        *("--test", table(folder, modality, 9, 2, header, cells)),
    ]


# Of the classes in turn the first has no tag, the second one, the third both.
TAGS = ("", "warm", "warm;cold")
# Columns of the labels of a table, and the cells of its row i.
JOINED = (["tags"], lambda i: [TAGS[i % 3] or ";"])
COLUMNS = (["warm", "cold"], lambda i: [int(i % 3 > 0), int(i % 3 > 1)])
BY_SEPARATOR = ["--label-column", "tags", "--label-separator", ";"]
PRICE = (["price"], lambda i: [40 + 5.5 * (i % 3) + i / 16])
BY_PRICE = ["--label-column", "price"]
SIZES = (["width", "height"], lambda i: [i % 3, 10.5 * (i % 3)])
STARS = (["label"], lambda i: [1 + 2 * (i % 3)])
# Algorithm, modality, how labels are written, options for it, and the names that the model has learned.
RUNS = {
    "cap": ("text", JOINED, BY_SEPARATOR, ["cold", "warm"]),
    "fixmatch": ("image", COLUMNS, ["--label-columns", "warm,cold"], ["warm", "cold"]),
    "rankup": ("audio", PRICE, BY_PRICE, ["price"]),
    "ucvme": ("text", SIZES, ["--label-columns", "width,height"], ["width", "height"]),
    "mean_teacher": ("image", STARS, ["--problem-type", "regression"], ["label"]),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run with an algorithm, its data and its options; each is trained once."""
    root, known = tmp_path_factory.mktemp("runs"), {}

    def run_of(algorithm):
        if algorithm not in known:
            modality, written, options, _ = RUNS[algorithm]
            arguments = ["train", *data_of(root / f"{algorithm} data", modality, *written), *options]
            arguments += ["--algorithm", algorithm, "--output-dir", str(root / algorithm), *QUICK, *STEPS]
            assert main(arguments) == 0
            known[algorithm] = (root / algorithm, root / f"{algorithm} data", arguments)
        return known[algorithm]

    return run_of


def printed(words):
    """What a command prints, once it has ended well."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(words) == 0
    return out.getvalue()


def metrics_of(run, data, options, folder):
    """What `hf-ssl evaluate` measures of a run on its test set."""
    printed(["evaluate", str(run), str(data / "table-2.csv"), "--output-dir", str(folder), *options])
    return json.loads((folder / "evaluation.json").read_text())["metrics"]


@pytest.mark.parametrize("algorithm", RUNS)
def test_a_named_algorithm_is_trained_measured_and_saved(finished, algorithm, tmp_path):
    run, data, _ = finished(algorithm)
    _, _, options, names = RUNS[algorithm]
    kind = MULTI_LABEL if "warm" in names else REGRESSION
    config = json.loads((run / "config.json").read_text())
    assert (config["problem_type"], list(config["id2label"].values())) == (kind, names)
    (row,) = json.loads((run / "results.json").read_text())["runs"]
    name = "test_map" if kind == MULTI_LABEL else "test_mae"
    assert row["problem_type"] == kind and row["test_accuracy"] is None and row["steps"] == 4
    own = [word for word in options if word not in ("--problem-type", "regression")]
    measured = metrics_of(run, data, own, tmp_path / "evaluation")
    assert row[name] == row["test_metrics"][name.removeprefix("test_")]
    assert row["test_metrics"] == pytest.approx({key: measured[key] for key in row["test_metrics"]}, rel=1e-4)
    assert (run / "curves.png").stat().st_size > 1_000
    files = set(published_files(run))
    assert {"README.md", "config.json", "model.safetensors", "results.json", "curves.png"} <= files
    assert ("uncertainty.safetensors" in files) == (algorithm == "ucvme")


@pytest.mark.parametrize("algorithm", RUNS)
def test_the_card_of_a_run_says_what_is_predicted_and_its_code_runs(finished, algorithm, monkeypatch):
    run, data, _ = finished(algorithm)
    names = RUNS[algorithm][-1]
    card = ModelCard.load(run / "README.md")
    content, values = card.content, {}
    assert "argmax" not in content and "classes" not in content.partition("## Training")[0]
    monkeypatch.chdir(run.parent)
    content = content.replace("photo.jpg", str(data / "1-0.png")).replace("recording.wav", str(data / "1-0.wav"))
    first, second = re.findall(r"```python\n(.*?)```", content, re.DOTALL)
    *lines, last = first.strip().splitlines()
    exec("\n".join(lines), values)
    found = eval(last, values)
    assert sorted(each["label"] for each in found) == sorted(names)
    *lines, last = second.strip().splitlines()
    exec("\n".join(lines), values)
    answer = eval(last.removeprefix("print"), values)
    if "warm" in names:
        assert answer == [name for name in names if {each["label"]: each["score"] for each in found}[name] >= 0.5]
        assert {"multi-label-classification", algorithm} <= set(card.data.tags)
        assert "no labeled example was held out to find better thresholds" in content
        assert [each.metric_type for each in card.data.eval_results] == [
            "mean_average_precision",
            "f1",
            "f1",
            "accuracy",
        ]
    else:
        assert answer == pytest.approx({each["label"]: each["score"] for each in found}, rel=1e-4)
        assert ("uncertainty.safetensors" in content) == (algorithm == "ucvme")
        assert card.data.eval_results[0].metric_type == "mae" and "| R² |" in content
    assert ("| width |" in content) == (algorithm == "ucvme")


@pytest.mark.parametrize("algorithm", ["cap", "ucvme"])
def test_the_command_on_the_card_reads_the_labels_the_same_way(finished, algorithm):
    run, _, arguments = finished(algorithm)
    (line,) = [line for line in (run / "README.md").read_text().splitlines() if line.startswith("hf-ssl train")]
    _, again = parse(shlex.split(line)[2:])
    _, first = parse(arguments[1:])
    for name in ("label_column", "label_columns", "label_separator", "problem_type", "algorithm"):
        assert again[name] == first[name], name


@pytest.mark.parametrize("algorithm", ["cap", "ucvme"])
def test_a_run_is_inspected_without_what_is_for_classes(finished, algorithm, tmp_path):
    run, _, _ = finished(algorithm)
    page = tmp_path / "page.html"
    out = printed(["inspect", str(run), "--output", str(page)])
    kind = "several labels per example" if algorithm == "cap" else "numbers"
    assert f"The model is for {kind}. Map, examples, confusion" in out
    text = page.read_text()
    assert f"The model is for {kind}." in text and 'id="confusion"' not in text
    assert ("mean average precision" if algorithm == "cap" else "mean absolute error") in text.lower()


def test_the_baseline_is_compared_in_the_measure_of_numbers_and_read_back(tmp_path, capsys):
    data = data_of(tmp_path / "data", "text", *PRICE)
    options = [*BY_PRICE, "--algorithm", "pi_model", "--baseline", "--output-dir", str(tmp_path / "run")]
    words = [word for word in QUICK if word != "--quiet"]
    arguments = ["train", *data, *options, *words, "--disable-tqdm", "true", "--max-steps", "4"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "test mean absolute error" in out and "pseudo-label error" in out
    rows = json.loads((tmp_path / "run" / "results.json").read_text())["runs"]
    assert [row["algorithm"] for row in rows] == ["supervised", "pi_model"]
    (line,) = [each for each in (tmp_path / "run" / "README.md").read_text().splitlines() if "(baseline)" in each]
    assert line.split("|")[3].strip() == f"{rows[0]['test_mae']:.4g}"
    # A run that was stopped before its results were written reads its baseline and its last checkpoint back.
    (tmp_path / "run" / "results.json").unlink()
    assert main([*arguments, "--resume"]) == 0
    again = json.loads((tmp_path / "run" / "results.json").read_text())["runs"]
    assert [row["test_mae"] for row in again] == pytest.approx([row["test_mae"] for row in rows], rel=1e-5)


def test_features_are_measured_with_the_thresholds_that_they_are_saved_with(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_ssl.features.bank.default_cache", lambda: tmp_path / "features")
    data, run = data_of(tmp_path / "data", "text", *JOINED), tmp_path / "run"
    assert main(["train", *data, *BY_SEPARATOR, "--algorithm", "features", "--output-dir", str(run), *QUICK]) == 0
    (row,) = [row for row in json.loads((run / "results.json").read_text())["runs"] if row["kept"]]
    thresholds = json.loads((run / "config.json").read_text())["label_thresholds"]
    measured = metrics_of(run, tmp_path / "data", BY_SEPARATOR, tmp_path / "evaluation")
    assert row["test_metrics"] == pytest.approx({key: measured[key] for key in row["test_metrics"]}, abs=1e-6)
    content = (run / "README.md").read_text()
    assert f"cold {thresholds[0]:.2f}, warm {thresholds[1]:.2f}." in content
    assert "are those with these thresholds" in content and "classifier.config.label_thresholds" in content
    # Weights that are trained on have other probabilities.
    again = [*data, *BY_SEPARATOR, "--algorithm", "cap", "--output-dir", str(tmp_path / "cap"), *QUICK, *STEPS]
    again[again.index("--model") + 1] = str(run)
    assert main(["train", *again]) == 0
    assert "label_thresholds" not in json.loads((tmp_path / "cap" / "config.json").read_text())


def test_a_test_set_without_labels_and_seen_examples_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hf_ssl.features.bank.default_cache", lambda: tmp_path / "features")
    data, run = data_of(tmp_path / "data", "text", *COLUMNS), tmp_path / "run"
    # Examples of the labeled set, and none of them has a label: their average precision is not defined.
    test = data[data.index("--test") + 1] = table(tmp_path, "text", 6, 0, ["warm", "cold"], lambda i: [0, 0])
    columns = ["--label-columns", "warm,cold"]
    loud = [word for word in QUICK if word != "--quiet"]
    assert main(["train", *data, *columns, "--output-dir", str(run), *loud]) == 0
    told = capsys.readouterr()
    assert "6 of 6 examples of the evaluation dataset are also among the labeled ones" in told.err
    assert main(["evaluate", str(run), test, *columns, "--output-dir", str(run / "evaluation")]) == 0
    assert "nan" not in (told.out + capsys.readouterr().out + (run / "README.md").read_text()).lower()
    results, measured = (
        json.loads((run / name).read_text()) for name in ("results.json", "evaluation/evaluation.json")
    )
    assert [row["test_map"] for row in results["runs"]] == [None, None] and measured["metrics"]["map"] is None
    assert all(row["estimate_error"] >= 0 for row in results["runs"])


WRONG = {
    "no label at all": ((["warm", "cold"], lambda i: [0, 0]), ["--label-columns", "warm,cold"], "nothing but 0"),
    "an algorithm for classes": (JOINED, [*BY_SEPARATOR, "--algorithm", "freematch"], "several labels per example ("),
    "an algorithm for labels": (PRICE, [*BY_PRICE, "--algorithm", "cap"], "must be one for numbers ("),
    "no separator": (
        JOINED,
        ["--label-column", "tags", "--problem-type", MULTI_LABEL],
        "a label_separator or several",
    ),
    "names are no numbers": (JOINED, ["--label-column", "tags", "--problem-type", REGRESSION], "not a number"),
    "an unknown column": (COLUMNS, ["--label-columns", "warm,hot"], "'hot'"),
    "an unknown kind": (PRICE, ["--problem-type", "ranking"], "'ranking'"),
    "a correction": (PRICE, [*BY_PRICE, "--imbalance", "debiaspl"], "imbalance"),
}


@pytest.mark.parametrize(("written", "options", "message"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_the_labels_is_an_error_of_one_line(tmp_path, written, options, message, capsys):
    data = data_of(tmp_path / "data", "text", *written)
    defaults = [] if "--algorithm" in options else ["--algorithm", "supervised"]
    assert main(["train", *data, *defaults, *options, "--output-dir", str(tmp_path / "run"), *QUICK, *STEPS]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-ssl: error: ")]
    assert message in error, error
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_commands_for_one_class_refuse_other_models_and_files_in_one_line(finished, tmp_path, capsys):
    cap, data, _ = finished("cap")
    prices = finished("ucvme")[0]
    lists = tmp_path / "lists.jsonl"
    lists.write_text("".join(json.dumps({"text": text, "labels": [name]}) + "\n" for text, name in texts(6, 0)))
    pool = str(data / "table-1.csv")
    picking = ["pick", pool, "--model", str(data / "model"), "--labeled", str(lists)]
    cases = {
        "choosing without labels is for models for one class": ["select", str(cap), str(prices), "--unlabeled", pool],
        "--labeled must hold one class per example, got several": [*picking, "--output", str(tmp_path / "p.csv")],
        "must have one class per example, which is what": ["label", str(lists), "--terminal"],
        "must distinguish classes": ["demo", str(prices), "--output-dir", str(tmp_path / "demo")],
    }
    for message, words in cases.items():
        capsys.readouterr()
        assert main(words) == 2, words
        (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-ssl: error: ")]
        assert message in error, error


@pytest.mark.slow
def test_runs_of_both_kinds_are_pushed_and_used_from_the_hub(finished, tmp_path):
    code = """
import sys
told = {}
for name in ("cap", "ucvme"):
    told[name] = cli("push", f"{sys.argv[1]}/{name}", f"someone/{name}")
    told[f"{name} answers"] = cli("predict", f"someone/{name}", "the sea is blue", "--output", f"{name}.csv")
tell(told)
"""
    runs = [finished(name)[0] for name in ("cap", "ucvme")]
    with LoopbackHub() as hub:
        told = run_client(hub, tmp_path / "home", code, runs[0].parent)
        assert all(told[name][0] == 0 for name in told), told
        files = {name: repository.files for name, repository in hub.repositories.items()}
    assert "uncertainty.safetensors" in files["someone/ucvme"]
    for repository in files.values():
        check_private(repository, str(runs[0].parent))
    (row,) = read_csv(tmp_path / "ucvme.csv")
    assert float(row["width_std"]) > 0 and torch.tensor(float(row["height"])).isfinite()
    assert "labels" in read_csv(tmp_path / "cap.csv")[0]
