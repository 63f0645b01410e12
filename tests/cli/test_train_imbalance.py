"""`hf-ssl train` on imbalanced labels: what is said, --imbalance, and what card and results tell of it."""

import json

import pytest
from huggingface_hub import ModelCard

from hf_ssl.cli import main
from hf_ssl.cli.train_imbalance import check_correction, correctable
from hf_ssl.training.recommended import Recommendation

from tests.helpers.command_data import save_model, texts, write_csv
from tests.helpers.tiny_tasks import NAMES

QUICK = ["--per_device_train_batch_size", "4", "--use_cpu", "--disable_tqdm", "true", "--save_strategy", "no"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_ssl.features.bank.default_cache", lambda: tmp_path / "features")


@pytest.fixture
def command(tmp_path):
    """Arguments of a run on 24, 6 and 2 labeled texts of the three classes."""
    sizes = dict(zip(NAMES, (24, 6, 2), strict=True))
    found = {name: [row for row in texts(90, seed=1) if row[1] == name][:size] for name, size in sizes.items()}
    labeled = write_csv(tmp_path / "labeled.csv", [row for rows in found.values() for row in rows])
    pool = write_csv(tmp_path / "pool.csv", [(text,) for text, _ in texts(24, seed=2)], header=("text",))
    test = write_csv(tmp_path / "test.csv", texts(12, seed=3))
    data = ["--labeled", str(labeled), "--unlabeled", str(pool), "--test", str(test)]
    return ["train", *data, "--model", save_model("text", tmp_path / "model"), "--output-dir", str(tmp_path / "run")]


def test_the_sizes_are_said_and_what_would_be_done(command, capsys):
    assert main([*command, *QUICK, "--algorithm", "fixmatch", "--max-steps", "2"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Imbalanced labels")]
    assert line == (
        f"Imbalanced labels: {NAMES[0]!r} has about 10 times the labels of {NAMES[2]!r} (2.7 to 36 times at 95 %); "
        "nothing corrects the training: --imbalance logit_adjustment "
        "would (the labeled loss adds the logarithm of the class frequencies to the logits)."
    )


def test_a_corrected_run_tells_of_classes_of_all_sizes(command, tmp_path, capsys):
    chosen = ["--imbalance", "logit-adjustment", "--imbalance-kwargs", '{"tau": 0.5}']
    assert main([*command, *QUICK, "--algorithm", "fixmatch", "--max-steps", "2", *chosen]) == 0
    printed = capsys.readouterr().out
    assert "the training is corrected by logit_adjustment" in printed and "balanced accuracy" in printed
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    (row,) = results["runs"]
    assert results["settings"]["imbalance"] == "logit_adjustment"
    assert {name: facts["labeled"] for name, facts in row["classes"].items()} == dict(
        zip(NAMES, (24, 6, 2), strict=True)
    )
    recalls = [row["classes"][name]["recall"] for name in NAMES]
    assert row["balanced_accuracy"] == pytest.approx(sum(recalls) / 3)
    assert [row[f"{group}_recall"] for group in ("many", "medium", "few")] == pytest.approx(recalls)
    card = ModelCard.load(tmp_path / "run" / "README.md").content
    assert "](class_recalls.png)" in card and "--imbalance logit_adjustment" in card and "Few labels" not in card
    assert (tmp_path / "run" / "class_recalls.png").stat().st_size > 5_000
    # Evaluating the model says the same, and knows the sizes from the folder.
    out = tmp_path / "evaluated"
    assert main(["evaluate", str(tmp_path / "run"), str(tmp_path / "test.csv"), "--output-dir", str(out)]) == 0
    metrics = json.loads((out / "evaluation.json").read_text())["metrics"]
    for name in ("balanced_accuracy", "geometric_mean", "many_recall", "few_recall"):
        assert metrics[name] == pytest.approx(row[name])
    assert (out / "class_recalls.png").is_file()


def test_the_best_checkpoint_goes_by_balanced_accuracy(command, tmp_path, capsys):
    saving = ["--load-best-model-at-end", "--eval-strategy", "steps", "--eval-steps", "2", "--save-steps", "2"]
    quick = [word for word in QUICK if word not in ("--save_strategy", "no")]
    assert main([*command, *quick, *saving, "--algorithm", "fixmatch", "--max-steps", "4"]) == 0
    state = json.loads((tmp_path / "run" / "trainer_state.json").read_text())
    balanced = [line["eval_balanced_accuracy"] for line in state["log_history"] if "eval_balanced_accuracy" in line]
    assert state["best_metric"] == max(balanced)
    assert "; the best checkpoint goes by balanced accuracy; nothing corrects" in capsys.readouterr().out


def test_nothing_is_said_of_balanced_accuracy_where_it_does_not_choose(command, capsys):
    saving = ["--load-best-model-at-end", "--eval-strategy", "steps", "--eval-steps", "2", "--save-steps", "2"]
    quick = [word for word in QUICK if word not in ("--save_strategy", "no")]
    chosen = ["--algorithm", "fixmatch", "--max-steps", "2", "--metric-for-best-model", "accuracy"]
    assert main([*command, *quick, *saving, *chosen]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Imbalanced labels")]
    assert "balanced accuracy" not in line


def test_auto_corrects_the_fine_tuning(command, tmp_path, capsys):
    assert main([*command, *QUICK, "--max-steps", "2", "--imbalance", "logit_adjustment"]) == 0
    printed = capsys.readouterr().out
    assert "frozen features go by shares estimated from labels and pool; the training is corrected by" in printed
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["settings"]["imbalance"] == "logit_adjustment"
    assert all("few_recall" in row for row in results["runs"])


FINE_TUNED = {None: "distillation", "logit_adjustment": "distillation", "abc": "freematch", "tras": "fixmatch"}


@pytest.mark.parametrize(("imbalance", "algorithm"), FINE_TUNED.items())
def test_auto_fine_tunes_with_what_can_be_corrected(imbalance, algorithm):
    settings = {"imbalance": imbalance, "imbalance_kwargs": None}
    assert correctable(Recommendation(), settings).algorithm == algorithm


WRONG = [
    (["--imbalance", "logit_adjustmnt", "--algorithm", "fixmatch"], "unknown imbalance correction 'logit_adjustmnt'"),
    (["--imbalance-kwargs", '{"tau": 1}'], "--imbalance-kwargs needs --imbalance NAME, one of balanced_sampling"),
    (["--imbalance", "logit_adjustment", "--imbalance-kwargs", "{tau"], "--imbalance-kwargs must be JSON, got '{tau'"),
    (
        ["--imbalance", "logit_adjustment", "--imbalance-kwargs", '{"tua": 1}', "--algorithm", "fixmatch"],
        "Logit adjustment has no setting tua; its settings are tau",
    ),
    (["--imbalance", "abc", "--algorithm", "supervised"], "imbalance must be a correction that"),
    (["--imbalance", "abc", "--algorithm", "features"], "--algorithm features trains nothing"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=lambda value: str(value)[:50])
def test_what_cannot_work_is_said_in_one_line(command, options, message, tmp_path, capsys):
    assert main([*command, *QUICK, *options]) == 2
    *_, error = capsys.readouterr().err.strip().splitlines()
    assert error.startswith("hf-ssl: error: ") and message in error
    assert not (tmp_path / "run" / "results.json").exists()


@pytest.mark.parametrize(
    ("algorithm", "kind"), [("cap", "several labels per example"), ("rankup", "numbers"), ("ucvme", "numbers")]
)
def test_algorithms_for_several_labels_or_numbers_alone_take_no_correction(algorithm, kind):
    settings = {"algorithm": algorithm, "imbalance": "cdmad", "imbalance_kwargs": None}
    with pytest.raises(ValueError, match=f"^imbalance must be None for {kind}, got 'cdmad'"):
        check_correction(settings)
