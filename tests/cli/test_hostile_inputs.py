"""Commands on hostile files: a row with its error and answers for the others, or one line; never a traceback."""

import json
from pathlib import Path

import pytest

from hf_ssl.cli import main

from tests.helpers.command_data import (
    audio_folders,
    image_folders,
    read_csv,
    save_model,
    texts,
    write_csv,
    write_image,
    write_sound,
)
from tests.helpers.hostile_files import (
    alias_bomb,
    at_once,
    flac_claiming,
    nested,
    pipe,
    png,
    safetensors_claiming,
    sound_bytes,
    wav_with,
)


def answers(model: str, folder: Path, capsys) -> dict[str, dict[str, str]]:
    """The rows of `hf-ssl predict` by name of the file."""
    output = folder.parent / "answers.csv"
    with at_once(60):
        assert main(["predict", model, str(folder), "--output", str(output)]) == 0
    assert "Traceback" not in "".join(capsys.readouterr())
    return {Path(row["input"]).name: row for row in read_csv(output)}


def test_hostile_pictures_are_rows_with_errors_and_the_others_get_answers(tmp_path, capsys):
    folder = tmp_path / "pictures"
    write_image(folder / "a.png", "red")
    (folder / "huge.png").write_bytes(png(9_460, 9_460))
    (folder / "huger.png").write_bytes(png(60_000, 60_000))
    (folder / "program.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    pipe(folder / "pipe.png")
    write_image(folder / "z.png", "blue")
    rows = answers(save_model("image", tmp_path / "model"), folder, capsys)
    assert {name for name, row in rows.items() if row["label"] and not row["error"]} == {"a.png", "z.png"}
    assert "at most 89,478,485 pixels, got 89,491,600" in rows["huge.png"]["error"]
    assert "got 3,600,000,000" in rows["huger.png"]["error"]
    assert "EPS is not a format of pictures" in rows["program.png"]["error"]
    assert "must be a file, got a device, a pipe" in rows["pipe.png"]["error"]


def test_hostile_recordings_are_rows_with_errors_and_the_others_get_answers(tmp_path, capsys):
    folder = tmp_path / "sounds"
    write_sound(folder / "a.wav", "high")
    (folder / "claims.flac").write_bytes(flac_claiming(2**36 - 1))
    (folder / "empty.wav").write_bytes(sound_bytes([]))
    (folder / "slow.wav").write_bytes(wav_with([0.0] * 900, rate=1))
    pipe(folder / "pipe.wav")
    write_sound(folder / "odd.wav", "low", rate=44_101)
    write_sound(folder / "z.flac", "low")
    rows = answers(save_model("audio", tmp_path / "model"), folder, capsys)
    assert {name for name, row in rows.items() if row["label"] and not row["error"]} == {"a.wav", "odd.wav", "z.flac"}
    assert "at most 134,217,728 samples, got 68,719,476,735" in rows["claims.flac"]["error"]
    assert "must be at least 100 Hz, got 1" in rows["slow.wav"]["error"]
    assert "it holds no samples" in rows["empty.wav"]["error"]
    assert "must be a file, got a device, a pipe" in rows["pipe.wav"]["error"]
    # The same tone at another rate.
    assert float(rows["odd.wav"]["probability"]) == pytest.approx(float(rows["z.flac"]["probability"]), abs=0.02)


def trained(tmp_path: Path, modality: str, folders: dict[str, str]) -> int:
    model = save_model(modality, tmp_path / "model")
    data = ["--labeled", folders["labeled"], "--unlabeled", folders["pool"]]
    short = ["--max-steps", "2", "--per-device-train-batch-size", "2", "--dataloader-num-workers", "0"]
    return main(["train", "--model", model, *data, *short, "--output-dir", str(tmp_path / "run"), "--seed", "1"])


def test_hostile_files_of_the_pool_are_replaced_and_those_with_labels_named(tmp_path, capsys):
    folders = image_folders(tmp_path / "data", per_class=2)
    pool = Path(folders["pool"])
    (pool / "huge.png").write_bytes(png(9_460, 9_460))
    pipe(pool / "pipe.png")
    with at_once(120):
        assert trained(tmp_path, "image", folders) == 0
    (Path(folders["labeled"]) / "red" / "huge.png").write_bytes(png(9_460, 9_460))
    capsys.readouterr()
    (tmp_path / "second").mkdir()
    with at_once(120):
        assert trained(tmp_path / "second", "image", folders) == 2
    assert "red/huge.png" in capsys.readouterr().err


@pytest.mark.slow
def test_hostile_recordings_of_the_pool_are_replaced(tmp_path):
    folders = audio_folders(tmp_path / "data")
    pool = Path(folders["pool"])
    (pool / "claims.flac").write_bytes(flac_claiming(2**36 - 1))
    write_sound(pool / "odd.wav", "low", rate=44_101)
    pipe(pool / "pipe.wav")
    with at_once(120):
        assert trained(tmp_path, "audio", folders) == 0


@pytest.fixture(scope="module")
def model_and_rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    return save_model("text", folder / "model"), write_csv(folder / "rows.csv", texts(9, 0))


TABLES = {
    "nested.jsonl": '{"text": "a", "more": ' + nested(100_000) + "}\n",
    "nested.json": '[{"text": "a", "more": ' + nested(100_000) + "}]",
    "cut.parquet": "PAR1",
}


@pytest.mark.parametrize("name", TABLES)
def test_a_hostile_table_is_one_line_and_status_2(name, model_and_rows, tmp_path, capsys):
    model, _ = model_and_rows
    (tmp_path / name).write_text(TABLES[name])
    with at_once(60):
        assert main(["predict", model, str(tmp_path / name)]) == 2
        assert main(["evaluate", model, str(tmp_path / name)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("hf-ssl: error: ") and name in line for line in lines)


RECIPES = {
    "nested": nested(100_000),
    "alias bomb in a value": "algorithm_kwargs:\n  " + alias_bomb().replace("\n", "\n  "),
    "nested in a value": json.dumps({"algorithm_kwargs": "[" * 100_000}),
}


@pytest.mark.parametrize("content", RECIPES.values(), ids=RECIPES)
def test_a_hostile_recipe_is_one_line_and_status_2(content, model_and_rows, tmp_path, capsys):
    model, rows = model_and_rows
    (tmp_path / "recipe.yaml").write_text(content)
    with at_once(60):
        status = main(["train", "--config", str(tmp_path / "recipe.yaml"), "--model", model, "--labeled", str(rows)])
    error = capsys.readouterr().err
    assert status == 2 and error.startswith("hf-ssl: error: ") and len(error.splitlines()) == 1 and len(error) < 1_000


def test_a_damaged_model_is_one_line_and_status_2(model_and_rows, tmp_path, capsys):
    _, rows = model_and_rows
    model = save_model("text", tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(safetensors_claiming(b"{}", length=2**60))
    out = ["--output-dir", str(tmp_path / "run")]
    for words in (["predict", model, str(rows)], ["evaluate", model, str(rows)], ["train", "--model", model, *out]):
        labeled = ["--labeled", str(rows), "--algorithm", "supervised"] if words[0] == "train" else []
        with at_once(60):
            assert main([*words, *labeled]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("hf-ssl: error: ") and "model.safetensors is damaged" in line
    assert not (tmp_path / "run" / "model").exists()


def test_what_a_message_quotes_is_printable_and_short(model_and_rows, tmp_path, capsys):
    model, _ = model_and_rows
    (tmp_path / "odd.csv").write_text("te\x1b[2Jxt,la\x07bel" + "x" * 5_000 + "\na,b\n", encoding="utf-8")
    assert main(["predict", model, str(tmp_path / "odd.csv"), "--column", "text"]) == 2
    error = capsys.readouterr().err.rstrip("\n")
    assert error.isprintable() and len(error) < 1_000 and r"\x1b[2J" in error
