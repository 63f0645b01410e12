"""`hf-ssl pick`: what it leaves is labeled and trained on as it is, in all modalities; rounds; labeling tools."""

import csv
import json
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

from hf_ssl.cli import main
from hf_ssl.cli.label_file import LabelFile
from hf_ssl.features.picking import DRAW_ORDER, PICK_ORDER

from tests.helpers.command_data import audio_folders, image_folders, read_csv, save_model, texts, write_csv

QUICK = ["--algorithm", "features", "--use_cpu", "--disable_tqdm", "true", "--save_strategy", "no"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "features"
    monkeypatch.setattr("hf_ssl.features.bank.default_cache", lambda: folder)
    return folder


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(text for text, _ in texts(60, 2)), encoding="utf-8")
    return path


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.suffix == ".jsonl" else read_csv(path)


def class_of(modality, row, folder):
    """What a person would say: the last word, or the color or tone, which the order of the files tells."""
    if modality == "text":
        return row["text"].split()[-1]
    names = {"image": ["blue", "green", "red"], "audio": ["high", "low", "middle"]}[modality]
    path = (folder / row[modality]).resolve()
    assert path.is_file()
    return names[int(path.stem) % 3]


def label_all(path, modality):
    names = [class_of(modality, row, path.parent) for row in rows_of(path)]
    with LabelFile(path) as file:
        assert file.modality == modality and not any(file.labels)
        for row, name in enumerate(names):
            file.write(row, name)
    return names


@pytest.mark.parametrize(("modality", "suffix"), [("text", ".jsonl"), ("image", ".csv"), ("audio", ".csv")])
def test_picked_labeled_and_trained_as_it_is(modality, suffix, tmp_path, lines, cache, capsys):
    make = {"image": image_folders, "audio": audio_folders}
    pool = str(lines) if modality == "text" else make[modality](tmp_path / "data")["pool"]
    model, picks = save_model(modality, tmp_path / "model"), tmp_path / f"picks{suffix}"
    assert main(["pick", pool, "--model", model, "-n", "6", "--output", str(picks)]) == 0
    said = capsys.readouterr().out
    assert "Picked by typical: 6 of" in said and f"hf-ssl label {picks}\n" in said
    assert f"hf-ssl train --model {model} --labeled {picks} --unlabeled {pool}" in said
    assert ("1 example left out that cannot be read" in said) == (modality == "image")
    rows = rows_of(picks)
    assert [int(row[PICK_ORDER]) for row in rows] == list(range(1, 7))
    assert len({row[modality] for row in rows}) == 6
    (encoded,) = [path.name for path in cache.iterdir() if path.is_dir()]
    names = label_all(picks, modality)
    run = tmp_path / "run"
    assert (
        main(
            ["train", "--model", model, "--labeled", str(picks), "--unlabeled", pool, "--output-dir", str(run), *QUICK]
        )
        == 0
    )
    said = capsys.readouterr()
    assert "of the unlabeled pool" not in said.err and "are also" not in said.err
    assert json.loads((run / "results.json").read_text())["runs"][0]["num_labeled"] == 6
    assert set(json.loads((run / "config.json").read_text())["label2id"]) == set(names)
    # The pool was not encoded again.
    now = {path.name for path in cache.iterdir() if path.is_dir()}
    assert encoded in now and len(now) == 2


def test_random_picks_are_a_sample_whose_labels_tell_how_frequent_a_class_is(tmp_path, lines, capsys):
    model, picks = save_model("text", tmp_path / "model"), tmp_path / "picks.csv"
    assert main(["pick", str(lines), "--model", model, "-n", "7", "--by", "random", "--output", str(picks)]) == 0
    assert "Picked by random: 7 of 60" in capsys.readouterr().out
    rows = read_csv(picks)
    assert list(rows[0]) == ["text", DRAW_ORDER, "label"] and [row[DRAW_ORDER] for row in rows] == [*"1234567"]


def test_a_second_round_leaves_out_what_is_in_the_file(tmp_path, lines, capsys):
    model, first, second = save_model("text", tmp_path / "model"), tmp_path / "1.csv", tmp_path / "2.csv"
    assert main(["pick", str(lines), "--model", model, "-n", "9", "--output", str(first)]) == 0
    label_all(first, "text")
    with LabelFile(first) as file:
        file.write(8, "")  # one is left for later, and not picked again
    again = ["pick", str(lines), "--model", model, "-n", "9", "--labeled", str(first), "--output", str(second)]
    assert main([*again, "--by", "margin"]) == 0
    said = capsys.readouterr().out
    assert "Picked by margin: 9 of 60" in said
    picked = read_csv(first), read_csv(second)
    assert not {row["text"] for row in picked[0]} & {row["text"] for row in picked[1]}
    # What it says to do next is right as it is: the same classes, and all labels in one file.
    names = sorted({row["label"] for row in picked[0]} - {""})
    assert f"hf-ssl label {second} --classes {','.join(names)}\n" in said
    (append,) = [line for line in said.splitlines() if "tail" in line]
    subprocess.run(append, shell=True, check=True, timeout=60)
    assert read_csv(first) == [*picked[0], *picked[1]]


def test_a_second_round_leaves_out_pictures_that_a_table_names(tmp_path, capsys):
    pool, model = image_folders(tmp_path / "data")["pool"], save_model("image", tmp_path / "model")
    first, second = tmp_path / "1.csv", tmp_path / "2.csv"
    assert main(["pick", pool, "--model", model, "-n", "6", "--output", str(first)]) == 0
    label_all(first, "image")
    with LabelFile(first) as file:
        file.write(5, "")  # what has a label is also known by its features
    rest = ["pick", pool, "--model", model, "-n", "500", "--labeled", str(first), "--output", str(second)]
    assert main(rest) == 0
    assert not {row["image"] for row in read_csv(first)} & {row["image"] for row in read_csv(second)}


def test_margin_asks_the_trained_model_itself(tmp_path, lines, monkeypatch, capsys):
    model, labeled, run = save_model("text", tmp_path / "model"), tmp_path / "labeled.csv", tmp_path / "run"
    write_csv(labeled, texts(9, 0))
    assert (
        main(
            [
                "train",
                "--model",
                model,
                "--labeled",
                str(labeled),
                "--unlabeled",
                str(lines),
                "--output-dir",
                str(run),
                *QUICK,
            ]
        )
        == 0
    )
    seen = []
    picked = __import__("hf_ssl.features.picking", fromlist=["pick"])
    monkeypatch.setattr(
        picked, "pick", lambda *a, real=picked.pick, **k: seen.append(k["probabilities"]) or real(*a, **k)
    )
    round_two = ["pick", str(lines), "--labeled", str(labeled), "-n", "3", "--by", "margin"]
    assert main([*round_two, "--model", str(run), "--output", str(tmp_path / "a.csv")]) == 0
    assert main([*round_two, "--model", model, "--output", str(tmp_path / "b.csv")]) == 0
    assert seen[0].shape == (69, 3) and seen[1] is None
    # The head's own probabilities, as `hf-ssl predict` gives them.
    assert main(["predict", str(run), str(lines), "--top-k", "1", "--output", str(tmp_path / "p.csv")]) == 0
    said = [float(row["probability"]) for row in read_csv(tmp_path / "p.csv")]
    assert seen[0][9:].max(axis=1) == pytest.approx(said, abs=2e-4)


def test_files_are_copied_to_be_sorted(tmp_path, capsys):
    folders = image_folders(tmp_path / "data")
    model, out = save_model("image", tmp_path / "model"), tmp_path / "sorted"
    assert main(["pick", folders["pool"], "--model", model, "-n", "4", "--output", str(out)]) == 0
    names = sorted(path.name for path in out.iterdir())
    assert len(names) == 4 and all(re.fullmatch(rf"{i} \d+\.jpg", name) for i, name in enumerate(names, start=1))
    assert main(["pick", folders["pool"], "--model", model, "-n", "4", "--output", str(out)]) == 2
    assert "must be a new or empty folder" in capsys.readouterr().err


def test_label_studio_imports_tasks(tmp_path, capsys):
    folders, out = image_folders(tmp_path / "data"), tmp_path / "tasks.json"
    model = save_model("image", tmp_path / "model")
    base = ["pick", folders["pool"], "--model", model, "-n", "3", "--output", str(out)]
    assert main([*base, "--format", "label-studio"]) == 0
    said = capsys.readouterr().out
    root = Path(re.search(r"LOCAL_FILES_DOCUMENT_ROOT='?([^'\n]+?)'? label-studio", said)[1])
    for task in json.loads(out.read_text()):
        served = unquote(task["data"]["image"].removeprefix("/data/local-files/?d="))
        assert (root / served).samefile(task["data"]["file"])
    assert '<Image name="image" value="$image"/>' in said and '<Choices name="label" toName="image">' in said


def test_argilla_reads_records(tmp_path, lines, capsys):
    out = tmp_path / "records.json"
    model = save_model("text", tmp_path / "model")
    assert main(["pick", str(lines), "--model", model, "-n", "3", "--output", str(out), "--format", "argilla"]) == 0
    pool = lines.read_text().splitlines()
    for record in json.loads(out.read_text()):
        assert set(record) == {"id", "fields"} and record["fields"] == {"text": pool[int(record["id"])]}
    assert "rg.TextField(name='text')" in capsys.readouterr().out


def test_texts_like_formulas_are_kept_and_told_of(tmp_path, capsys):
    pool, out = tmp_path / "pool.csv", tmp_path / "out.csv"
    write_csv(pool, [("=1+1 red",), ("the sky",)], ("text",))
    assert (
        main(["pick", str(pool), "--model", save_model("text", tmp_path / "model"), "-n", "9", "--output", str(out)])
        == 0
    )
    assert {row["text"] for row in read_csv(out)} == {"=1+1 red", "the sky"}
    said = capsys.readouterr().out
    assert "1 text would be a formula in a spreadsheet program" in said and "Fewer than 9" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--output", "{}/there.csv"], "--output must not exist yet"),
        (["--output", "{}/new.txt"], "--output must end in .csv or .jsonl, or be a folder without a suffix"),
        (["--output", "{}/new.csv", "--format", "argilla"], "must be a .json file with --format argilla"),
        (["--output", "{}/new"], "must end in .csv or .jsonl for texts"),
        (["--output", "{}/new.csv", "-n", "0"], "-n must be at least 1, got 0"),
        (["--output", "{}/new.csv", "--by", "margin"], "--by margin needs --labeled with at least two classes"),
        (["--output", "{}/new.csv", "--labeled", "{}/lines.csv"], "must have a column of labels"),
    ],
)
def test_what_cannot_be_done_is_an_error_of_one_line(words, message, tmp_path, lines, capsys):
    write_csv(tmp_path / "there.csv", [])
    with (tmp_path / "lines.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text"], ["a"]])
    model = save_model("text", tmp_path / "model")
    assert main(["pick", str(lines), "--model", model, *(word.format(tmp_path) for word in words)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error and error.startswith("hf-ssl: error: ")
    assert not (tmp_path / "new.csv").exists()
