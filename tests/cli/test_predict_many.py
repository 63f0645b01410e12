"""`hf-ssl predict` on many rows and classes: what is written, in which memory, and what is never overwritten."""

import errno
import json
import os
import resource
import tracemalloc

import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoModelForSequenceClassification, pipeline

from hf_ssl.cli import classifier, main
from hf_ssl.cli.answers import Answer, ClassAnswers, as_rows
from hf_ssl.cli.classifier import Classifier, highest
from hf_ssl.cli.inputs import Item, collect
from hf_ssl.cli.output import printable
from hf_ssl.report import spreadsheets

from tests.helpers.command_data import read_csv, save_model, texts, write_csv, write_image, write_sound
from tests.helpers.tiny_tasks import WORDS


def save_text_model(folder, classes, problem_type=None):
    """A tiny classifier of texts with any number of classes."""
    save_model("text", folder)
    kind = AutoModelForSequenceClassification
    torch.manual_seed(1)
    model = kind.from_pretrained(folder, num_labels=classes, ignore_mismatched_sizes=True, problem_type=problem_type)
    torch.nn.init.normal_(model.classifier.weight, std=2.0)
    model.config.id2label = {index: f"class {index}" for index in range(classes)}
    model.config.label2id = {name: index for index, name in model.config.id2label.items()}
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def seven(tmp_path_factory):
    return save_text_model(tmp_path_factory.mktemp("seven"), 7)


@pytest.mark.parametrize(("options", "shown"), [([], 5), (["--top-k", "2"], 2), (["--top_k", "all"], 7)])
def test_the_most_probable_classes_are_written_as_the_pipeline_ranks_them(tmp_path, seven, options, shown):
    table = write_csv(tmp_path / "t.csv", texts(20, 0))
    output = tmp_path / "p.csv"
    assert main(["predict", seven, str(table), "--output", str(output), *options]) == 0
    expected = pipeline("text-classification", seven, device="cpu")([text for text, _ in texts(20, 0)], top_k=shown)
    for row, answers in zip(read_csv(output), expected, strict=True):
        ends = ["", *(f"_{k}" for k in range(2, shown + 1))]
        assert [row[f"label{end}"] for end in ends] == [answer["label"] for answer in answers]
        found = [float(row[f"probability{end}"]) for end in ends]
        assert found == pytest.approx([answer["score"] for answer in answers], abs=6e-5)
        assert f"label_{shown + 1}" not in row


@pytest.mark.parametrize(
    ("kind", "classes"),
    [("single_label_classification", 3), ("multi_label_classification", 3), ("regression", 3), (None, 3), (None, 1)],
)
def test_numbers_are_those_of_the_pipeline_for_each_kind_of_problem(tmp_path, kind, classes):
    model = save_text_model(tmp_path, classes, kind)
    (answer,) = Classifier(model, device="cpu")(["the sky"])
    expected = pipeline("text-classification", model, device="cpu")("the sky", top_k=None)
    wanted = {row["label"]: row["score"] for row in expected}
    assert answer.probabilities | answer.numbers == pytest.approx(wanted, rel=1e-6)


def test_of_equal_scores_the_first_classes_are_the_highest():
    scores = np.random.default_rng(0).integers(0, 4, (50, 9)) / 4
    for row in scores:
        ranked = sorted(range(9), key=lambda i: (-row[i], i))
        assert [highest(row, count).tolist() for count in (1, 4, 9, 12)] == [ranked[:1], ranked[:4], ranked, ranked]


# ---- What is never overwritten ----


def same_file(folder, table, how):
    """The table under another name."""
    other = folder / "other.csv"
    if how == "link":
        other.symlink_to(table)
    elif how == "hard link":
        os.link(table, other)
    return {"as it is": table, "another spelling": folder / "." / ".." / folder.name / table.name}.get(how, other)


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]], ids=["plain", "overwrite"])
@pytest.mark.parametrize("how", ["as it is", "another spelling", "link", "hard link"])
def test_an_input_is_never_overwritten(tmp_path, how, overwrite, capsys):
    table = write_csv(tmp_path / "ok.csv", texts(3, 0))
    before = table.read_bytes()
    target = same_file(tmp_path, table, how)
    # The model does not exist: the refusal comes before anything is loaded.
    assert main(["predict", "gone/model", str(table), "--output", str(target), *overwrite]) == 2
    assert "--output must not be an input, got" in capsys.readouterr().err
    assert table.read_bytes() == before


def test_an_existing_file_is_replaced_only_if_told_to_and_only_by_a_whole_one(tmp_path, seven, capsys, monkeypatch):
    table, output = write_csv(tmp_path / "t.csv", texts(3, 0)), tmp_path / "p.csv"
    output.write_text("mine")
    words = ["predict", seven, str(table), "--output", str(output)]
    assert main(words) == 2 and "--output must not exist yet, got" in capsys.readouterr().err
    assert output.read_text() == "mine"

    def interrupted(self, values, top_k=None):
        yield Answer({"class 1": 1.0})
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(classifier.Classifier, "__call__", interrupted)
        assert main([*words, "--overwrite"]) == 130
    assert output.read_text() == "mine" and sorted(os.listdir(tmp_path)) == ["p.csv", "t.csv"]
    assert main([*words, "--overwrite"]) == 0
    assert len(read_csv(output)) == 3


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path, seven, capsys):
    table, output = write_csv(tmp_path / "t.csv", texts(300, 0)), tmp_path / "p.csv"
    output.write_text("mine")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        assert main(["predict", seven, str(table), "--output", str(output), "--overwrite"]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-ssl: error: ")]
    assert "File too large; nothing was written" in error and "p.csv" in error
    assert output.read_text() == "mine" and sorted(os.listdir(tmp_path)) == ["p.csv", "t.csv"]


def test_the_reason_of_a_failed_write_is_said_also_if_the_error_does_not_say_it(tmp_path):
    def rows():
        yield ["a"]
        raise OSError(errno.ENOSPC, None)

    with pytest.raises(OSError, match=rf"No space left on device; nothing was written: '{tmp_path}/a\.csv'"):
        spreadsheets.write_csv(tmp_path / "a.csv", ["input"], rows())
    assert os.listdir(tmp_path) == []


# ---- What a person sees of the inputs ----


def test_rows_carry_their_text_or_the_name_of_their_file(tmp_path, seven):
    (tmp_path / "lines.txt").write_text("a red rose\n\n=1+2 is a formula\n")
    table = write_csv(tmp_path / "t.csv", [("the sky", 1), ("", 2)], header=("text", "id"))
    inputs = [str(tmp_path / "lines.txt"), str(table), "a text in quotes"]
    assert main(["predict", seven, *inputs, "--output", str(tmp_path / "p.csv")]) == 0
    rows = [(row["row"], row["content"], bool(row["error"])) for row in read_csv(tmp_path / "p.csv")]
    assert rows == [
        ("0", "a red rose", False),
        ("1", "'=1+2 is a formula", False),
        ("0", "the sky", False),
        ("1", "", True),
        ("", "", False),
    ]
    write_image(tmp_path / "a.png", "red")
    pictures = write_csv(tmp_path / "list.csv", [("a.png",), ("gone.png",)], header=("image",))
    model = save_model("image", tmp_path / "model")
    assert main(["predict", model, str(pictures), "--output", str(tmp_path / "i.csv")]) == 0
    assert [os.path.basename(row["content"]) for row in read_csv(tmp_path / "i.csv")] == ["a.png", "gone.png"]
    assert main(["predict", model, str(tmp_path / "a.png"), "--output", str(tmp_path / "j.csv")]) == 0
    assert "content" not in read_csv(tmp_path / "j.csv")[0]


def test_both_texts_of_a_pair_are_shown():
    head, rows = as_rows(
        [Item("t.csv", 0, ("one", "two")), Item("t.csv", 1, "one")], [Answer({"a": 1.0})] * 2, ClassAnswers(1)
    )
    assert head == ["input", "row", "content", "content_2", "label", "probability", "error"]
    assert rows == [
        ["t.csv", "0", "one", "two", "a", "1.0000", ""],
        ["t.csv", "1", "one", "", "a", "1.0000", ""],
    ]


def test_the_name_of_a_file_need_not_be_text(tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    write_image(tmp_path / "a.png", "red").rename(folder / os.fsdecode(b"caf\xe9.png"))
    model = save_model("image", tmp_path / "model")
    assert main(["predict", model, str(folder), "--output", str(tmp_path / "p.csv")]) == 0
    assert read_csv(tmp_path / "p.csv")[0]["input"].endswith("caf\\udce9.png")
    assert main(["predict", model, str(folder)]) == 0
    assert "caf\\udce9.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "shown"),
    [("one\n\ttwo", "one two"), ("\x1b]0;title\x07", "\\x1b]0;title\\x07"), ("a" * 81, "a" * 79 + "…")],
)
def test_a_text_cannot_steer_the_terminal(text, shown):
    assert printable(text) == shown


def test_more_rows_than_are_aligned_are_further_tables(tmp_path, seven, capsys, monkeypatch):
    monkeypatch.setattr("hf_ssl.cli.predict._ALIGNED", 4)
    (tmp_path / "lines.txt").write_text("".join(f"{word} rose\n" for word in WORDS[:10]))
    assert main(["predict", seven, str(tmp_path / "lines.txt")]) == 0
    lines = capsys.readouterr().out.splitlines()
    head = ["row", "---"]
    assert [line.split()[1] for line in lines] == [*head, *"0123", *head, *"4567", *head, *"89"]


# ---- One bad input beside good ones ----


def test_an_input_that_the_model_cannot_take_is_a_row_and_its_batch_gets_answers(tmp_path):
    model = save_model("audio", tmp_path / "model")
    good = [str(write_sound(tmp_path / f"{name}.wav", name)) for name in ("high", "low")]
    one_sample = tmp_path / "one.wav"
    soundfile.write(one_sample, np.array([0.5], np.float32), 16_000)
    first, bad, last = Classifier(model, batch_size=3, device="cpu")([good[0], str(one_sample), good[1]])
    assert bad.error and not bad.probabilities
    alone = [next(Classifier(model, device="cpu")([path])) for path in good]
    assert [first, last] == alone


def test_one_text_that_fails_in_a_batch_of_the_model_fails_alone(tmp_path):
    model = save_model("text", tmp_path / "model")
    found = Classifier(model, batch_size=4, device="cpu")
    words = ["the sky", "the rose", "the sea", "very red", "a leaf"]
    expected = list(found(words))
    forward, bad = found.pipeline.forward, found.pipeline.tokenizer("the rose")["input_ids"]

    def failing(inputs):
        if any(row[: len(bad)].tolist() == bad for row in inputs["input_ids"]):
            raise IndexError("index out of range\nin self")
        return forward(inputs)

    found.pipeline.forward = failing
    answers = list(found(words))
    assert answers[1] == Answer({}, "the model cannot take it: index out of range in self")
    for place in (0, 2, 3, 4):
        assert answers[place].probabilities == pytest.approx(expected[place].probabilities)


@pytest.mark.parametrize("how", ["a pipe", "a link to a device", "a link that leads nowhere"])
def test_what_is_no_file_is_a_row_and_is_never_opened(tmp_path, how, capsys):
    odd, output = tmp_path / "odd.png", tmp_path / "p.csv"
    if how == "a pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to("/dev/zero" if how == "a link to a device" else tmp_path / "gone.png")
    good = write_image(tmp_path / "good.png", "red")
    model = save_model("image", tmp_path / "model")
    assert main(["predict", model, str(odd), str(good), "--output", str(output)]) == 0
    first, second = read_csv(output)
    assert first["error"].startswith(f"{odd} must be a file, got a device, a pipe or a link") and not first["label"]
    assert second["label"] and not second["error"]
    (tmp_path / "folder").mkdir()
    for path in (odd, good):
        path.rename(tmp_path / "folder" / path.name)
    assert main(["predict", model, str(tmp_path / "folder"), "--output", str(output), "--overwrite"]) == 0
    assert [bool(row["error"]) for row in read_csv(output)] == [False, True]


def damaged(folder, how):
    """A model's folder that cannot be loaded, for the reason `how`."""
    save_model("text", folder)
    weights, config = folder / "model.safetensors", folder / "config.json"
    content = weights.read_bytes()
    if how == "weights cut off":
        weights.write_bytes(content[: len(content) // 2])
    elif how == "weights that are none":
        weights.write_bytes(b"\xff" * len(content))
    elif how == "weights that are missing":
        weights.unlink()
    elif how == "a setting of another type":
        config.write_text(config.read_text().replace('"hidden_size": 16', '"hidden_size": "many"'))
    elif how == "fewer classes than outputs":
        settings = json.loads(config.read_text())
        settings["id2label"], settings["label2id"] = {"0": "a", "1": "b"}, {"a": 0, "b": 1}
        config.write_text(json.dumps(settings))
    elif how == "settings nested too deep":
        config.write_text('{"a":' * 50_000 + "1" + "}" * 50_000)
    return folder


@pytest.mark.parametrize(
    "how",
    [
        "weights cut off",
        "weights that are none",
        "weights that are missing",
        "a setting of another type",
        "fewer classes than outputs",
        "settings nested too deep",
    ],
)
def test_a_damaged_model_is_one_line(tmp_path, how, capsys):
    assert main(["predict", str(damaged(tmp_path / "model", how)), "a text", "--device", "cpu"]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line.lower()]
    assert error.startswith("hf-ssl: error: ") and str(tmp_path / "model") in error
    assert len(error) < 1000 and "Traceback" not in error


# ---- Memory ----


class Stub:
    """Answers at once."""

    modality, names = "text", [f"class {index}" for index in range(1000)]
    problem_type, foreign_limit = "single_label_classification", None

    def __init__(self, *_, **__):
        pass

    def told(self, top, *_):
        return ClassAnswers(top)

    def __call__(self, values, top_k=None):
        return (Answer({f"class {k}": 0.5 for k in range(top_k)}) for _ in values)


# `datasets` reads 10,000 lines of a CSV file at once.
@pytest.mark.parametrize(("suffix", "few", "many"), [(".csv", 11_000, 25_000), (".txt", 2_000, 16_000)])
def test_memory_does_not_grow_with_the_rows(tmp_path, monkeypatch, suffix, few, many):
    monkeypatch.setattr(classifier, "Classifier", Stub)
    peaks = []
    # The first run loads modules.
    for rows in (10, few, many):
        path = tmp_path / f"{rows}{suffix}"
        lines = [f"row {row} has a text of some length and all of it would be kept" for row in range(rows)]
        path.write_text("\n".join(["text"] * (suffix == ".csv") + lines) + "\n")
        tracemalloc.start()
        assert main(["predict", "model", str(path), "--output", str(tmp_path / f"{rows}.out.csv")]) == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 14,000 more texts alone are 1.6 MB.
    assert peaks[2] - peaks[1] < 300_000
    assert len(read_csv(tmp_path / f"{many}.out.csv")) == many


def test_an_answer_holds_the_classes_that_are_asked_for_and_values_are_read_when_needed(tmp_path, seven):
    read = []
    values = (read.append(word) or f"the {word}" for word in WORDS * 10)
    answers = Classifier(seven, batch_size=4, device="cpu")(values, top_k=3)
    assert [len(next(answers).probabilities) for _ in range(5)] == [3] * 5
    assert len(read) == 8


def test_inputs_are_read_again_each_time(tmp_path):
    (tmp_path / "lines.txt").write_text("one\n\n two \n")
    found, notes = collect([str(tmp_path / "lines.txt"), "a text"], "text", None)
    assert len(found) == 3 and notes == [f"{tmp_path / 'lines.txt'}: 1 empty line left out"]
    expected = [(str(tmp_path / "lines.txt"), 0, "one"), (str(tmp_path / "lines.txt"), 1, "two")]
    for _ in range(2):
        assert [(item.name, item.row, item.value) for item in found] == [*expected, ("a text", None, "a text")]
