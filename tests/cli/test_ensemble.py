"""`hf-ssl ensemble`: from files to members, vote and student."""

import json
import shlex

import pytest
from huggingface_hub import ModelCard

from hf_ssl.cli import main

from tests.helpers.command_data import image_folders, read_csv, save_model, texts, write_csv

QUICK = ["--max-steps", "2", "--per_device_train_batch_size", "4", "--use_cpu", "--disable_tqdm", "true"]
QUICK += ["--unlabeled-batch-ratio", "1", "--report-to", "none"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_ssl.features.bank.default_cache", lambda: tmp_path / "features")


@pytest.fixture
def words(tmp_path):
    """A command on texts, with two models."""
    labeled = write_csv(tmp_path / "few.csv", texts(9, 0))
    pool = write_csv(tmp_path / "many.csv", [[text] for text, _ in texts(20, 1)], ["text"])
    test = write_csv(tmp_path / "test.csv", texts(6, 2))
    models = [save_model("text", tmp_path / name) for name in ("first", "second")]
    named = [word for model in models for word in ("--model", model)]
    data = ["--labeled", str(labeled), "--unlabeled", str(pool), "--test", str(test)]
    return ["ensemble", *named, *data, "--output-dir", str(tmp_path / "run"), *QUICK]


def rows_of(tmp_path):
    return json.loads((tmp_path / "run" / "results.json").read_text())["runs"]


def test_every_model_is_fitted_with_every_method_and_the_student_predicts(words, tmp_path, capsys):
    assert main([*words, "--peft", "probe,lora", "--student", str(tmp_path / "second"), "--vote", "votes"]) == 0
    printed = capsys.readouterr().out
    rows = rows_of(tmp_path)
    titles = ["first: probe of frozen features", "first: LoRA", "second: probe of frozen features", "second: LoRA"]
    assert [row["title"] for row in rows] == [*titles, "vote of 4 (votes)", "student: second: LoRA"]
    assert "The student has learned the votes of 4 members" in " ".join(printed.split())
    assert f"Written to {tmp_path}/run" in printed and "estimate" not in printed
    target = tmp_path / "answers.csv"
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "test.csv"), "--output", str(target)]) == 0
    right = [row["label"] == name for row, (_, name) in zip(read_csv(target), texts(6, 2), strict=True)]
    assert sum(right) / 6 == pytest.approx(rows[-1]["test_accuracy"])
    # The command on the card repeats the run, with names instead of paths.
    command = ModelCard.load(tmp_path / "run" / "README.md").text.split("```sh\n")[1].split("\n")[2]
    repeated = shlex.split(command)
    assert repeated[:6] == ["hf-ssl", "ensemble", "--model", "first", "--model", "second"]
    assert repeated[repeated.index("--peft") + 1] == "probe,lora" and repeated[repeated.index("--vote") + 1] == "votes"
    assert repeated[repeated.index("--student") + 1] == "second" and str(tmp_path) not in command

    # `hf-ssl select` reads the members' folders as they are.
    members = sorted(str(path) for path in (tmp_path / "run" / "members").iterdir())
    capsys.readouterr()
    assert main(["select", *members, "--unlabeled", str(tmp_path / "many.csv"), "--device", "cpu"]) == 0
    assert "By the test sets" in capsys.readouterr().out


def test_a_folder_is_resumed_or_replaced_only_if_asked_to(words, tmp_path, capsys):
    words = [*words, "--peft", "probe,none"]
    assert main(words) == 0
    capsys.readouterr()
    assert main(words) == 2
    assert "--resume continues the run in it" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
    assert capsys.readouterr().out.count("(from the earlier run)") == 4
    assert main([*words, "--overwrite"]) == 0
    assert "(from the earlier run)" not in capsys.readouterr().out


def test_pictures_that_cannot_be_read_have_no_vote(tmp_path, capsys):
    folders = image_folders(tmp_path / "data")
    data = ["--labeled", folders["labeled"], "--unlabeled", folders["pool"], "--test", folders["test"]]
    model = save_model("image", tmp_path / "tiny")
    words = ["ensemble", "--model", model, *data, "--output-dir", str(tmp_path / "run"), "--peft", "features,none"]
    assert main([*words, *QUICK, "--max-steps", "9"]) == 0
    assert rows_of(tmp_path)[-1]["num_unlabeled"] == 12


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--peft", "adapters"], "every method must be one of none, upper, lora"),
        (["--student-peft", "probe"], "--student-peft must be one of none, upper"),
        (["--algorithm", "fixmatch"], "--algorithm is of `hf-ssl train`"),
        (["--baseline"], "--baseline is of `hf-ssl train`"),
        (["--vote", "majority"], "invalid choice: 'majority'"),
        (["--max-stps", "3"], "did you mean --max-steps"),
    ],
)
def test_wrong_options_are_refused_in_one_line(words, tmp_path, capsys, more, said):
    try:
        status = main([*words, *more])
    except SystemExit as error:
        status = error.code
    error = capsys.readouterr().err.strip()
    assert status == 2 and said in error and "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_help_names_methods_and_rules(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["ensemble", "--help"])
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for part in ("--model MODEL", "lora", "probe (probe of frozen features)", "softmax_votes", "--student-peft"):
        assert part in shown
