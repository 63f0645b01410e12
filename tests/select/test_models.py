"""What the models of several folders say of the same examples, and `hf-ssl select` on them."""

import json

import numpy as np
import pytest
import torch
from transformers import pipeline

from hf_ssl.cli import main
from hf_ssl.select import METRICS, known_accuracy, read_runs

from tests.helpers.command_data import image_folders, save_model, texts, write_csv
from tests.helpers.tiny_tasks import NAMES, TASKS, make_texts


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_ssl.features.bank.default_cache", lambda: tmp_path / "features")


def save_run(folder, seed, accuracy=None, modality="text", names=NAMES):
    """A model with its processor, and the results of a run if it has an accuracy."""
    torch.manual_seed(seed)
    model = TASKS[modality][2]()
    model.config.id2label = dict(enumerate(names))
    model.save_pretrained(folder)
    TASKS[modality][1]().save_pretrained(folder)
    if accuracy is not None:
        runs = [{"test_accuracy": accuracy, "kept": True}, {"test_accuracy": 0.1}]
        (folder / "results.json").write_text(json.dumps({"runs": runs}))
    return str(folder)


@pytest.fixture
def runs(tmp_path):
    return [save_run(tmp_path / f"run{i}", i, accuracy) for i, accuracy in enumerate((0.5, 0.7, 0.6))]


@pytest.fixture
def pool(tmp_path):
    return str(write_csv(tmp_path / "pool.csv", [[text] for text, _ in texts(40, 3)], ["text"]))


def test_answers_are_those_of_the_pipeline(runs):
    rows = make_texts(8, 0)
    found = read_runs(runs[:2], rows, "text")
    for folder, each in zip(runs, found, strict=False):
        probabilities = np.exp(each.logits) / np.exp(each.logits).sum(axis=1, keepdims=True)
        said = pipeline("text-classification", folder)(rows["text"][:], top_k=None)
        for mine, theirs in zip(probabilities, said, strict=True):
            wanted = {row["label"]: row["score"] for row in theirs}
            assert dict(zip(each.classes, mine.tolist(), strict=True)) == pytest.approx(wanted, abs=1e-5)
    assert known_accuracy(runs[0]) == 0.5


def test_the_command_shows_and_writes_ranks_choice_and_how_good_it_was(runs, pool, tmp_path, capsys):
    target = tmp_path / "choice.json"
    assert main(["select", *runs, "--unlabeled", pool, "--output", str(target), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    content = json.loads(target.read_text())
    assert [row["run"] for row in content["runs"]] == ["run0", "run1", "run2"] and content["examples"] == 40
    (chosen,) = [row for row in content["runs"] if row["chosen"]]
    assert chosen["mean_squared_rank"] == min(row["mean_squared_rank"] for row in content["runs"])
    assert chosen["mean_squared_rank"] == pytest.approx(np.mean([chosen["ranks"][name] ** 2 for name in METRICS]))
    assert content["agreement"]["regret"] == pytest.approx(0.7 - chosen["test_accuracy"])
    assert str(tmp_path) not in target.read_text()
    assert "mean squared rank" in printed and f"Chosen: {tmp_path}/{chosen['run']}, on 40 examples." in printed
    assert "By the test sets it is right for" in printed and "rank correlation" in printed
    # An existing file stays.
    assert main(["select", *runs, "--unlabeled", pool, "--output", str(target), "--device", "cpu"]) == 2
    assert "must not exist yet" in capsys.readouterr().err


def test_examples_are_a_draw_that_the_seed_decides(runs, pool, tmp_path):
    def scores(name, *more):
        target = tmp_path / name
        given = ["--unlabeled", pool, "--examples", "15", "--device", "cpu", "--output", str(target)]
        assert main(["select", *runs, *given, *more]) == 0
        content = json.loads(target.read_text())
        assert content["examples"] == 15
        return content["runs"]

    assert scores("a.json") == scores("b.json") != scores("c.json", "--seed", "1")


def test_examples_that_cannot_be_read_are_left_out(tmp_path, capsys):
    folders = image_folders(tmp_path / "data")
    runs = [save_run(tmp_path / f"run{i}", i, modality="image") for i in range(2)]
    assert main(["select", *runs, "--unlabeled", folders["pool"], "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    # One of the 13 pictures is cut short; the accuracies are not known, and nothing is said of them.
    assert "on 12 examples" in printed and "test sets" not in printed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda runs, tmp: runs[:1], "RUN must be given at least twice"),
        (lambda runs, tmp: [runs[0], runs[0]], "must be different folders"),
        (lambda runs, tmp: [runs[0], str(tmp / "nothing")], "nothing"),
        (lambda runs, tmp: [runs[0], save_model("image", tmp / "other")], "must be of one modality, got image"),
        (
            lambda runs, tmp: [runs[0], save_run(tmp / "other", 0, names=["a", "b", "c"])],
            "must have the same classes, got a, b, c in",
        ),
        (lambda runs, tmp: [*runs, "--examples", "3"], "more examples than the 3 classes, got 3"),
        (lambda runs, tmp: [*runs, "--device", "cuda:1"], "--device must be cpu, got cuda:1"),
        (lambda runs, tmp: [*runs, "--examples", "0"], "--examples must be at least 1, got 0"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused_in_one_line(runs, pool, tmp_path, capsys, change, said):
    words = ["select", "--unlabeled", pool, "--device", "cpu", *change(runs, tmp_path)]
    assert main(words) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in error
