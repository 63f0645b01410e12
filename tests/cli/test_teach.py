"""`hf-ssl teach`: from a pool and a larger model to a column that training learns from."""

import json
import os
import re
import shlex
import signal

import datasets
import numpy as np
import pytest

from hf_ssl.cli import main
from hf_ssl.teach.models import Teacher

from tests.helpers.children import finish, start_child
from tests.helpers.command_data import image_folders, read_csv, save_model, texts, write_csv, write_sound
from tests.helpers.tiny_teachers import save_teacher

QUICK = ["--max-steps", "2", "--per_device_train_batch_size", "2", "--use_cpu", "--disable_tqdm", "true"]
QUICK += ["--unlabeled-batch-ratio", "1", "--report-to", "none", "--dataloader_num_workers", "0"]


@pytest.fixture
def words(tmp_path):
    """A command on texts; eleven examples in the pool, one of them empty."""
    labeled = write_csv(tmp_path / "few.csv", [*texts(6, 0), ("the sky is red", ""), ("a leaf", "")])
    pool = write_csv(
        tmp_path / "many.csv", [[text, str(i)] for i, (text, _) in enumerate(texts(11, 1))], ["text", "id"]
    )
    teacher = save_teacher("writer", tmp_path / "teacher")
    given = ["--model", teacher, "--labeled", str(labeled), "--output", str(tmp_path / "taught.jsonl")]
    return ["teach", str(pool), *given, "--device", "cpu", "--batch-size", "2"]


def records(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_texts_get_the_probabilities_of_a_model_that_writes(words, tmp_path, capsys):
    assert main(words) == 0
    printed = capsys.readouterr().out
    found = records(tmp_path / "taught.jsonl")
    assert [list(row) for row in found] == [["text", "id", "teacher"]] * 11
    expected = Teacher(str(tmp_path / "teacher"), ["blue", "green", "red"], device="cpu")(
        [row["text"] for row in found]
    )
    for row, probabilities in zip(found, expected, strict=True):
        assert list(row["teacher"]) == ["blue", "green", "red"]
        np.testing.assert_allclose(list(row["teacher"].values()), probabilities, atol=1e-5)
    few = read_csv(tmp_path / "few.csv")[:6]
    answers = Teacher(str(tmp_path / "teacher"), ["blue", "green", "red"], device="cpu")([row["text"] for row in few])
    right = sum(
        ["blue", "green", "red"][each.argmax()] == row["label"] for each, row in zip(answers, few, strict=True)
    )
    assert f"The teacher is right about {right} of 6 labeled examples ({100 * right / 6:.1f} %)" in printed
    assert f"Written to {tmp_path}/taught.jsonl: 11 examples. Next:" in printed
    assert not list(tmp_path.glob("*.unfinished"))

    # The command that is named trains, once it is told the model.
    command = shlex.split(printed.splitlines()[-1])
    student = save_model("text", tmp_path / "student")
    rest = [student if word == "MODEL" else word for word in command[1:]]
    run = tmp_path / "run"
    assert main([*rest, "--algorithm", "freematch", "--output-dir", str(run), *QUICK]) == 0
    (row,) = json.loads((run / "results.json").read_text())["runs"]
    # Two of its rows have no label, and join the pool without an opinion.
    assert row["num_unlabeled"] == 13
    assert row["algorithm"] == "freematch"
    assert "opinions in 'teacher', weight 1, falling" in (run / "README.md").read_text(encoding="utf-8")


def test_pictures_in_folders_are_named_as_seen_from_the_table_and_broken_ones_have_no_opinion(tmp_path, capsys):
    folders = image_folders(tmp_path / "images", per_class=2)
    teacher = save_teacher("clip", tmp_path / "teacher")
    output = tmp_path / "taught.jsonl"
    given = [
        "--model",
        teacher,
        "--labeled",
        folders["labeled"],
        "--template",
        "a photo of {}",
        "--output",
        str(output),
    ]
    assert main(["teach", folders["pool"], *given, "--device", "cpu"]) == 0
    assert "1 example without an opinion; the first: " in capsys.readouterr().out
    found = records(output)
    assert len(found) == 13 and [row["image"] for row in found if row["teacher"] is None] == [
        "images/pool/day 1/cut.jpg"
    ]
    student = save_model("image", tmp_path / "student")
    data = ["--labeled", folders["labeled"], "--unlabeled", str(output), "--teacher-column", "teacher"]
    options = ["--algorithm", "supervised", "--output-dir", str(tmp_path / "run"), *QUICK]
    assert main(["train", "--model", student, *data, *options]) == 0


def test_recordings_inside_a_table_stay_there(tmp_path, capsys):
    cells = [write_sound(tmp_path / f"{name}.wav", name).read_bytes() for name in ("low", "high", "low")]
    stored = [{"bytes": cell, "path": None} for cell in cells]
    pool = datasets.Dataset.from_dict({"audio": stored}).cast_column(
        "audio", datasets.Audio(sampling_rate=16_000, decode=False)
    )
    pool.to_parquet(tmp_path / "pool.parquet")
    teacher, output = save_teacher("clap", tmp_path / "teacher"), tmp_path / "taught.parquet"
    words = ["teach", str(tmp_path / "pool.parquet"), "--model", teacher, "--classes", "low,high", "--device", "cpu"]
    assert main([*words, "--output", str(tmp_path / "taught.jsonl")]) == 2
    assert "--output must end in .parquet, since the recordings are inside" in capsys.readouterr().err
    assert main([*words, "--output", str(output), "--teacher-column", "clap says"]) == 0
    taught = datasets.Dataset.from_parquet(str(output))
    assert taught.column_names == ["audio", "clap says"] and set(taught[0]["clap says"]) == {"low", "high"}
    first, _, third = (row["clap says"]["low"] for row in taught)
    assert first == pytest.approx(third, abs=1e-3)
    assert [cell["bytes"] for cell in taught.data.column("audio").to_pylist()] == cells


def test_a_killed_run_goes_on_behind_what_was_answered(words, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hf_ssl.cli.teach._BATCHES", 1)
    whole = [*words[:-6], "--output", str(tmp_path / "whole.jsonl"), *words[-4:]]
    assert main(whole) == 0
    asked, ask = [], Teacher.__call__

    def counted(self, values):
        asked.append(list(values))
        # The labeled examples, then two of the pool at a time.
        if len(asked) == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return ask(self, values)

    monkeypatch.setattr(Teacher, "__call__", counted)
    assert finish(start_child(lambda: main(words))) == -signal.SIGKILL
    unfinished = tmp_path / "taught.jsonl.unfinished"
    assert len(unfinished.read_text().splitlines()) == 5 and not (tmp_path / "taught.jsonl").exists()
    capsys.readouterr()
    monkeypatch.setattr(Teacher, "__call__", lambda self, values: asked.append(list(values)) or ask(self, values))
    assert main([*words, "--template", "It is {} :"]) == 2
    assert "must be of the same question, got another template in it; delete it" in capsys.readouterr().err
    assert main(words) == 0
    assert "4 of 11 examples are known from an earlier run" in capsys.readouterr().out
    assert sum(map(len, asked)) == 6 + 7
    assert (tmp_path / "taught.jsonl").read_text() == (tmp_path / "whole.jsonl").read_text()
    assert not unfinished.exists()


WRONG = {
    "no classes": (["--classes", "a"], "--classes must name at least two classes, got 'a'"),
    "other classes": (
        ["--classes", "red,green,black"],
        "--classes must be the classes of .*few.csv, which are blue, green",
    ),
    "no place": (["--template", "what is this"], r"--template must hold \{\} once, where the text belongs"),
    "a taken column": (["--teacher-column", "id"], "--teacher-column must be new, got 'id', which"),
    "an odd file": (["--output", "taught.csv"], "--output must end in .jsonl or .parquet, got taught.csv"),
    "no model": (["--model", "./nothing"], "nothing"),
    "an empty batch": (["--batch-size", "0"], "--batch-size must be at least 1, got 0"),
    "no column": (["--column", "body"], "has no column 'body'; its columns are text, id"),
}


@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_request_is_one_line_and_writes_nothing(options, message, words, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert main([*words, *options]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and line.startswith("hf-ssl: error: ")
    assert re.search(message, line), line
    assert sorted(tmp_path.rglob("*")) == before


def test_an_existing_file_is_kept_unless_asked_and_classes_that_are_numbers_need_names(words, tmp_path, capsys):
    (tmp_path / "taught.jsonl").write_text("mine")
    assert main(words) == 2
    assert "--output must not exist yet" in capsys.readouterr().err
    numbered = write_csv(tmp_path / "numbered.csv", [(text, str(i % 3)) for i, (text, _) in enumerate(texts(6, 0))])
    words = [*words, "--overwrite", "--labeled", str(numbered)]
    assert main(words) == 2
    assert "--classes must say what the classes of" in capsys.readouterr().err
    assert main([*words, "--classes", "red,green,blue"]) == 0
    # They are asked for by name, and written as the labeled examples have them.
    assert [list(row["teacher"]) for row in records(tmp_path / "taught.jsonl")] == [["0", "1", "2"]] * 11
