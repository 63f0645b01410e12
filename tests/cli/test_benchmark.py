"""`hf-ssl benchmark`: what it prints, and one line for whatever is wrong; what `verify` finds."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hf_ssl.benchmark import TASKS, back_translation, build_task, repository, tasks, verify_task
from hf_ssl.cli import main

from tests.helpers.benchmark_sources import make_source


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return make_source("tissuemnist", tmp_path_factory.mktemp("raw"), per_class=4)


@pytest.fixture(scope="module")
def original(raw, tmp_path_factory):
    return build_task(raw.task, raw.folder, tmp_path_factory.mktemp("built") / "usb-tissuemnist")


@pytest.fixture
def built(original, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(original, tmp_path / "usb-tissuemnist")


@pytest.fixture
def small_table(raw, monkeypatch):
    """The table with the small task, so that counts are right."""
    monkeypatch.setitem(TASKS, "tissuemnist", raw.task)


def test_list_has_a_line_for_each_task(capsys):
    assert main(["benchmark", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    *table, blank, footnote = lines
    assert [line.split()[0] for line in table[2:]] == list(TASKS)
    assert (blank, footnote) == ("", "* USB's name of the setting; fsdnoisy has 1,772 labeled examples")
    assert [line.split()[3] for line in table if "*" in line] == ["1,773*"]


@pytest.mark.parametrize("name", TASKS)
def test_describe_tells_source_license_and_numbers(name, capsys):
    assert main(["benchmark", "describe", name]) == 0
    text, task = capsys.readouterr().out, TASKS[name]
    assert task.title in text and task.source_url in text and task.license in text and task.homepage in text
    assert ("\nfixmatch " in text) == (name in tasks.USB_TASKS)


def test_build_and_verify(raw, tmp_path, capsys, small_table, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", "build", "tissuemnist", "--source", str(raw.folder)]) == 0
    assert "Built usb-tissuemnist" in capsys.readouterr().out
    assert main(["benchmark", "verify", "usb-tissuemnist"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["check", "result", "found"]
    assert {line.split("  ")[0].strip(): "pass" in line for line in lines[2:]} == dict.fromkeys(
        [
            "files and features",
            *(f"{split}: {what}" for what in ("count", "classes") for split in ("train", "test")),
            *(f"labels{number}_seed{seed}" for number in (8, 32) for seed in (0, 1, 2)),
            "train and test",
            "decoding",
        ],
        True,
    )


def test_a_small_source_is_built_with_warnings_and_does_not_pass(raw, tmp_path, capsys):
    assert (
        main(["benchmark", "build", "tissuemnist", "--source", str(raw.folder), "--output", str(tmp_path / "out")])
        == 2
    )
    error = capsys.readouterr().err
    assert "TissueMNIST: no 80 labels can be drawn: class 0 has 4 examples, this draw needs 10 of it" in error
    assert not (tmp_path / "out").exists()
    source = make_source("tissuemnist", tmp_path / "raw", per_class=10)
    assert (
        main(["benchmark", "build", "tissuemnist", "--source", str(source.folder), "--output", str(tmp_path / "out")])
        == 0
    )
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert "tissuemnist.npz has md5:" in warnings[0] and warnings[0].endswith("it is damaged or another version")
    assert warnings[1] == "hf-ssl: warning: TissueMNIST: train has 80 examples, USB 165,466"
    assert warnings[3].endswith("these configurations are left out") and len(warnings) == 4
    assert main(["benchmark", "verify", str(tmp_path / "out")]) == 2
    assert "2 of 10 checks failed: train: count, test: count" in capsys.readouterr().err


def test_augment_translates_by_way_of_german_and_russian_unless_told_otherwise(monkeypatch, tmp_path, capsys):
    asked = []
    monkeypatch.setattr(back_translation, "augment", lambda folder, models, **options: asked.append((models, options)))
    folder = str(tmp_path / "not built yet")
    assert main(["benchmark", "augment", "ag_news", "--folder", folder]) == 0
    assert f"hf-ssl benchmark verify {folder}" in capsys.readouterr().out
    assert (
        main(["benchmark", "augment", "ag_news", "--translation-models", *"abcd", "--seed", "1", "--overwrite"]) == 0
    )
    usual = {"temperature": 0.9, "batch_size": 32, "seed": 0, "device": None, "overwrite": False}
    first, second = asked
    assert first == (back_translation.TRANSLATION_MODELS, usual)
    assert second == (list("abcd"), {**usual, "seed": 1, "overwrite": True})


WRONG = [
    (["describe", "nothing"], "unknown task 'nothing'; the known ones are cifar100"),
    (["build", "nothing", "--source", "."], "unknown task 'nothing'"),
    (["build", "cifar100", "--source", "nowhere"], "there is no file or folder nowhere"),
    (["build", "cifar100", "--source", "empty", "--output", "out"], "is not a raw source of cifar100"),
    (["build", "cifar100", "--source", "empty", "--output", "other"], "other exists and is not a built task"),
    (["verify", "nowhere"], "nowhere is neither a folder nor the id of a Hub repository"),
    (["verify", "empty"], "empty is not a built task: it has no benchmark.json"),
    (["verify", "damaged"], "benchmark.json is damaged"),
    (["verify", "strange"], "benchmark.json lacks the task, its splits or its draws"),
    (["publish", "cifar100", "--namespace", "me"], "there is no folder usb-cifar100; build it first"),
    (["augment", "cifar100", "--folder", "empty"], "empty is not a built task"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=lambda value: " ".join(value)[:40])
def test_wrong_input_is_one_line_and_status_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "benchmark.json").write_text("{")
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "benchmark.json").write_text('{"task": "cifar100", "splits": {"train": 3}, "draws": {}}')
    before = sorted(tmp_path.rglob("*"))
    assert main(["benchmark", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("hf-ssl: error: ") and message in error and error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def rewrite(path, change) -> None:
    """Write a Parquet file again with other rows, under the same schema."""
    table = pq.read_table(path)
    pq.write_table(pa.Table.from_pylist(change(table.to_pylist()), schema=table.schema), path)


def swap_labeled(folder) -> None:
    rewrite(folder / "labels/8-seed0.parquet", lambda rows: [rows[1], rows[0], *rows[2:]])


def relabel(folder) -> None:
    def change(rows):
        other = next(row for row in rows if row["label"] != rows[0]["label"])
        rows[0]["label"], other["label"] = other["label"], rows[0]["label"]
        return rows

    rewrite(next(folder.glob("data/train-*")), change)


def drop_a_row(folder) -> None:
    rewrite(next(folder.glob("data/train-*")), lambda rows: rows[1:])


def leak(folder) -> None:
    test = pq.read_table(next(folder.glob("data/test-*"))).to_pylist()
    rewrite(next(folder.glob("data/train-*")), lambda rows: [{**test[0], "label": rows[0]["label"]}, *rows[1:]])


def lose_a_file(folder) -> None:
    (folder / "labels/32-seed2.parquet").unlink()


def lose_a_shard(folder) -> None:
    path = next(folder.glob("data/train-*"))
    path.rename(folder / "data/train-00000-of-00002.parquet")


def cut(folder) -> None:
    path = next(folder.glob("data/test-*"))
    path.write_bytes(path.read_bytes()[:-20])


def forget_features(folder) -> None:
    path = next(folder.glob("data/test-*"))
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)


def forget_a_configuration(folder) -> None:
    path = folder / "README.md"
    path.write_text(path.read_text(encoding="utf-8").replace("labels8_seed1", "labels8_seed7"), encoding="utf-8")


def change_the_record(folder) -> None:
    record = repository.read_record(folder)
    record["draws"]["labels8_seed2"]["labeled_sha256"] = "0" * 64
    repository.write_record(folder, record)


def break_an_image(folder) -> None:
    def change(rows):
        rows[0]["image"]["bytes"] = b"no image"
        return rows

    rewrite(next(folder.glob("data/test-*")), change)


SPOILED = [
    (swap_labeled, {"labels8_seed0": "labels/8-seed0.parquet does not hold the drawn examples"}),
    (relabel, {"labels8_seed0": "another draw", "labels32_seed0": "another draw"}),
    (drop_a_row, {"train: count": "31, USB has 32", "train: classes": "not what was built"}),
    (leak, {"train and test": "1 of the same content, the build found 0"}),
    (lose_a_file, {"files": "missing: labels/32-seed2.parquet"}),
    (lose_a_shard, {"files": "missing: data/train-00001-of-00002.parquet"}),
    (cut, {"files and features": "data/test-00000-of-00001.parquet cannot be read"}),
    (forget_features, {"files and features": "data/test-00000-of-00001.parquet has other columns or features"}),
    (forget_a_configuration, {"files and features": "README.md does not declare labels8_seed1"}),
    (change_the_record, {"labels8_seed2": "another draw than the build wrote down"}),
    (break_an_image, {"decoding": "first example of test: the image"}),
]


@pytest.mark.parametrize(("spoil", "expected"), SPOILED, ids=lambda value: getattr(value, "__name__", ""))
def test_verify_finds_what_was_changed(spoil, expected, raw, built):
    assert all(check.passed for check in verify_task(built, raw.task))
    spoil(built)
    failed = {check.name: check.found for check in verify_task(built, raw.task) if not check.passed}
    for name, found in expected.items():
        assert found in failed[name]


def test_many_examples_of_the_test_set_in_train_fail_even_if_the_build_saw_them(raw, tmp_path):
    arrays = dict(np.load(next(raw.folder.rglob("*.npz"))))
    arrays["train_images"][:2] = arrays["test_images"][:2]
    np.savez(tmp_path / "tissuemnist.npz", **arrays)
    folder = build_task(raw.task, tmp_path / "tissuemnist.npz", tmp_path / "out")
    record = json.loads((folder / "benchmark.json").read_text(encoding="utf-8"))
    assert record["overlap_with_test"] == {"train": 2}
    failed = [check for check in verify_task(folder, raw.task) if not check.passed]
    assert [(check.name, check.found) for check in failed] == [
        ("train and test", "2 of the same content, more than 1% of the test set")
    ]


def test_a_task_with_more_seeds_is_another_set_of_files(raw, built):
    checks = verify_task(built, replace(raw.task, seeds=(0,)))
    assert all(check.passed for check in checks)
