"""`--quiet`: nothing on the screen but errors, and every file all the same."""

import json

import pytest

from hf_ssl.cli import main

from tests.helpers.command_data import save_model, texts, write_csv


@pytest.fixture
def request_of(tmp_path):
    """Algorithm -> the words of a training that would print much: a baseline, a test set and unbalanced labels."""
    write_csv(tmp_path / "labeled.csv", [*texts(9, 0), *texts(30, 1)[::3]])
    write_csv(tmp_path / "test.csv", texts(12, 2))
    (tmp_path / "pool.txt").write_text("\n".join(text for text, _ in texts(40, 3)) + "\n\n")
    model = save_model("text", tmp_path / "model")
    words = ["train", "--model", model, "--use-cpu", "--output-dir", str(tmp_path / "run")]
    for name in ("labeled.csv", "test.csv", "pool.txt"):
        words += [f"--{'unlabeled' if name == 'pool.txt' else name[:-4]}", str(tmp_path / name)]
    return lambda algorithm: [*words, "--algorithm", algorithm, "--baseline", "--max-steps", "2", "--quiet"]


@pytest.mark.parametrize("algorithm", ["fixmatch", "features"])
def test_a_training_shows_nothing_and_leaves_everything(request_of, tmp_path, capfd, monkeypatch, algorithm):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    capfd.readouterr()
    assert main(request_of(algorithm)) == 0
    assert capfd.readouterr() == ("", "")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {"supervised", algorithm} <= {row["algorithm"] for row in results["runs"]}
    assert (tmp_path / "run" / "model.safetensors").is_file()
    card = (tmp_path / "run" / "README.md").read_text()
    assert "hf-ssl train" in card and "--quiet" not in card


def test_an_error_is_one_line(request_of, tmp_path, capfd):
    capfd.readouterr()
    assert main([*request_of("fixmatch"), "--model", str(tmp_path / "none")]) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("hf-ssl: error: ") and err.count("\n") == 1
