"""`hf-ssl demo`: the Space that it writes, run with a stand-in for gradio; and what it refuses.

That it is pushed, and sound code in every form, is tested in tests/hub/test_demo.py.
"""

import re
import runpy
import sys
from collections import Counter
from importlib.util import find_spec
from unittest.mock import MagicMock

import numpy as np
import pyarrow.parquet as parquet
import pytest
import soundfile
import yaml
from PIL import Image
from safetensors.numpy import load_file
from transformers import pipeline

from hf_ssl.cli import main

from tests.helpers.command_data import COLORS, TONES, audio_folders, image_folders, read_csv, texts, write_csv
from tests.helpers.tiny_tasks import NAMES, TASKS, new_model

HOSTILE = '<img src=x onerror="x()">'


def make_model(modality, folder, names):
    model = new_model(modality)
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: index for index, name in enumerate(names)}
    model.save_pretrained(folder)
    TASKS[modality][1]().save_pretrained(folder)
    return str(folder)


def make_data(modality, folder):
    """Names of classes, labeled data, pool."""
    if modality == "image":
        made = image_folders(folder, per_class=2)
        return sorted(COLORS), made["labeled"], made["pool"]
    if modality == "audio":
        made = audio_folders(folder)
        return sorted(TONES), made["labeled"], made["pool"]
    labeled = write_csv(folder / "labeled.csv", texts(6, 0))
    pool = folder / "pool.txt"
    pool.write_text("\n".join([*(text for text, _ in texts(11, 1)), f"the sky {HOSTILE}", "a " * 500]))
    return NAMES, str(labeled), str(pool)


@pytest.fixture(scope="module", params=["image", "text", "audio"])
def space(request, tmp_path_factory):
    """A Space with examples: modality, its folder, the model, labeled data and pool."""
    if request.param == "audio" and "MP3" not in soundfile.available_formats():
        pytest.skip("libsndfile writes no MP3")
    folder = tmp_path_factory.mktemp(request.param)
    names, labeled, pool = make_data(request.param, folder)
    model = make_model(request.param, folder / "model", names)
    words = ["demo", model, "--labeled", labeled, "--pool", pool, "--device", "cpu"]
    assert main([*words, "--with-examples", "--output-dir", str(folder / "space")]) == 0
    assert main([*words, "--output-dir", str(folder / "bare")]) == 0
    return request.param, folder, model, labeled, pool


def start(folder, monkeypatch):
    """The names of app.py, started without a page."""
    page = MagicMock()
    page.Error = type("Error", (Exception,), {"__init__": lambda self, text, **_: Exception.__init__(self, text)})
    monkeypatch.setitem(sys.modules, "gradio", page)
    monkeypatch.chdir(folder)
    return runpy.run_path(str(folder / "app.py"))


def first_input(modality, labeled):
    """The first labeled example as the page gives it to the app, and as a pipeline takes it."""
    if modality == "text":
        text = texts(6, 0)[0][0]
        return text, text
    if modality == "image":
        picture = Image.open(f"{labeled}/{sorted(COLORS)[0]}/0.png").convert("RGB")
        return picture, picture
    path = f"{labeled}/{sorted(TONES)[0]}/1.flac"
    return path, soundfile.read(path, dtype="float32")[0]


def test_the_app_says_what_the_pipeline_says_and_finds_the_example_itself(space, monkeypatch):
    modality, folder, model, labeled, _ = space
    app = start(folder / "space", monkeypatch)
    value, same = first_input(modality, labeled)
    answer, near, opinion = app["classify"](value)
    expected = pipeline(TASKS_OF[modality], model, device="cpu")(same, top_k=3)
    assert answer == pytest.approx({row["label"]: row["score"] for row in expected}, abs=1e-4)
    assert near.count("<li>") == 5 and "similarity 1.00" in near.split("</li>")[0]
    assert near.count({"image": "<img src=", "text": "<p>", "audio": "<audio controls"}[modality]) == 5
    best = max(answer, key=answer.get)
    pool = load_file(folder / "space" / "index.safetensors")["pool_classes"]
    agreeing = Counter(pool.tolist())[list(answer).index(best)]
    # The pool has fewer than 20 examples: all of them are asked.
    assert f"Of the {len(pool)} unlabeled" in opinion and f"predicts <b>{agreeing}</b>" in opinion


TASKS_OF = {"image": "image-classification", "text": "text-classification", "audio": "audio-classification"}


def test_the_pool_has_the_classes_that_predict_gives(space, tmp_path):
    modality, folder, model, _, pool = space
    index = load_file(folder / "space" / "index.safetensors")
    output = tmp_path / "p.csv"
    assert main(["predict", model, pool, "--output", str(output), "--device", "cpu"]) == 0
    rows = [row for row in read_csv(output) if not row["error"]]
    names = list(pipeline(TASKS_OF[modality], model, device="cpu").model.config.id2label.values())
    assert [names[i] for i in index["pool_classes"]] == [row["label"] for row in rows]
    assert np.allclose(np.linalg.norm(index["pool"].astype(np.float32), axis=1), 1, atol=2e-3)
    counts = Counter(index["labeled_classes"].tolist())
    assert set(counts) == {0, 1, 2} and len(set(counts.values())) == 1


def test_examples_are_small_copies(space):
    modality, folder, _, _, _ = space
    shown = parquet.read_table(folder / "space" / "pool.parquet")["example"].to_pylist()
    files = sorted((folder / "space" / "examples").iterdir())
    assert [path.stem for path in files] == list("123456")
    if modality == "text":
        assert max(map(len, shown)) == 300 and shown[-1].endswith("…") and HOSTILE in shown[-2]
    else:
        assert all(example.startswith((b"\xff\xd8", b"ID3", b"\xff")) for example in shown)
    assert all(path.suffix == {"image": ".jpg", "text": ".txt", "audio": ".mp3"}[modality] for path in files)


def test_without_being_asked_it_holds_no_example(space, monkeypatch):
    modality, folder, _, labeled, _ = space
    bare = folder / "bare"
    files = {path.name: path.read_bytes() for path in bare.iterdir()}
    assert set(files) == {"README.md", "app.py", "index.safetensors", "requirements.txt"}
    assert all(b"sea" not in content and b"leaf" not in content for content in files.values())
    _, near, opinion = start(bare, monkeypatch)["classify"](first_input(modality, labeled)[0])
    assert near.count("<li><div>") == 5 and "<img" not in near + opinion and "<li>" not in opinion
    assert "pyarrow" not in files["requirements.txt"].decode()


def test_its_card_is_one_of_a_gradio_space(space):
    _, folder, _, _, _ = space
    card = (folder / "space" / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---")[1])
    assert (front["sdk"], front["app_file"]) == ("gradio", "app.py") and re.fullmatch(
        r"\d+\.\d+\.\d+", front["sdk_version"]
    )
    assert "models" not in front and "and shows them" in card
    assert str(folder) not in card + (folder / "space" / "app.py").read_text(encoding="utf-8")
    assert "of which it has only features and classes" in (folder / "bare" / "README.md").read_text(encoding="utf-8")


def test_texts_and_names_of_classes_are_shown_and_never_run(tmp_path, monkeypatch):
    names = [HOSTILE, 'a"b', "\\n'''"]
    model = make_model("text", tmp_path / 'odd" name', names)
    labeled = write_csv(tmp_path / "labeled.csv", [(f"{HOSTILE} rose {i}", names[i % 3]) for i in range(6)])
    words = ["--labeled", str(labeled), "--with-examples", "--output-dir", str(tmp_path / "space"), "--device", "cpu"]
    assert main(["demo", model, *words]) == 0
    app = start(tmp_path / "space", monkeypatch)
    answer, near = app["classify"]("a rose")
    assert set(answer) == set(names)
    assert "<img" not in near and "&lt;img src=x" in near
    with pytest.raises(Exception, match="Please write a text"):
        app["classify"]("  ")


def test_what_cannot_be_is_told_in_one_line(tmp_path, capsys):
    model = make_model("text", tmp_path / "model", NAMES)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / "app.py").write_text("x")
    other = write_csv(tmp_path / "other.csv", [("a rose", "violet"), ("the sky", "red")])
    new = ["--output-dir", str(tmp_path / "new")]
    cases = {
        "MODEL must be on the Hub for --push": [model, *new, "--push", "someone/try"],
        "--with-examples needs examples": [model, *new, "--with-examples"],
        "--private is of the Space that --push creates": [model, *new, "--private"],
        "--output-dir must be new or a Space": [model, "--output-dir", str(tmp_path / "full")],
        "--output-dir must not hold a Space yet": [model, "--output-dir", str(tmp_path / "earlier")],
        "violet": [model, *new, "--labeled", str(other)],
        "--labeled must have a column of labels": [model, *new, "--labeled", str(make_unlabeled(tmp_path))],
    }
    if find_spec("gradio") is None:
        cases["--launch needs gradio, which is missing; pip install"] = [model, *new, "--launch"]
    for said, words in cases.items():
        assert main(["demo", *words]) == 2
        error = capsys.readouterr().err
        assert said in error and error.startswith("hf-ssl: error: ") and error.count("\n") == 1
    assert not (tmp_path / "new").exists() and (tmp_path / "earlier" / "app.py").read_text() == "x"


def make_unlabeled(folder):
    return write_csv(folder / "unlabeled.csv", [("a rose",), ("the sky",)], header=["text"])


def test_a_model_alone_is_enough(tmp_path, monkeypatch):
    model = make_model("image", tmp_path / "model", sorted(COLORS))
    assert main(["demo", model, "--output-dir", str(tmp_path / "space"), "--device", "cpu"]) == 0
    assert {path.name for path in (tmp_path / "space").iterdir()} == {"README.md", "app.py", "requirements.txt"}
    app = start(tmp_path / "space", monkeypatch)
    assert set(app["classify"](Image.new("RGB", (12, 12)))) == set(COLORS) and app["classify"](None) is None
