"""`load_task` from a built folder and from raw data, and what is not published; the Hub is in test_publish.py."""

import os
import re
import shutil
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import datasets
import pytest

from hf_ssl.benchmark import TASKS, build_task, load_task, publish_task, verify_task
from hf_ssl.benchmark.load import find_repository
from hf_ssl.cli import main

from tests.helpers.benchmark_sources import make_source

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """AG News with 50 training rows per class: enough for USB's own label settings."""
    source = make_source("ag_news", tmp_path_factory.mktemp("raw"), per_class=50)
    source.task = replace(source.task, label_settings=TASKS["ag_news"].label_settings)
    return source


@pytest.fixture(scope="module")
def folder(raw, tmp_path_factory):
    return build_task(raw.task, raw.folder, tmp_path_factory.mktemp("built") / "usb-ag_news")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def test_a_built_folder_is_loaded(folder):
    loaded = load_task("ag_news", num_labeled=200, seed=1, source=folder)
    assert {split: len(data) for split, data in loaded.items()} == {
        "labeled": 200,
        "unlabeled": 200,
        "validation": 4,
        "test": 4,
    }
    assert loaded["labeled"].features["label"].names == ["World", "Sports", "Business", "Sci/Tech"]


def test_raw_data_are_built_into_the_cache_once(raw, cache, monkeypatch):
    loaded = load_task("ag_news", num_labeled=40, source=raw.folder)
    assert len(loaded["labeled"]) == 40
    (record,) = (cache / "hf_ssl").glob("usb-ag_news-*/benchmark.json")
    assert record.parent.name.startswith("usb-ag_news-")
    monkeypatch.setattr("hf_ssl.benchmark.load.build_task", lambda *args: pytest.fail("built again"))
    again = load_task("ag_news", num_labeled=40, source=str(raw.folder))
    assert again["labeled"]["text"] == loaded["labeled"]["text"]


def test_processes_that_load_raw_data_at_once_build_it_once(raw, cache, monkeypatch):
    builds = []

    def build(*arguments):
        builds.append(arguments)
        time.sleep(0.3)
        return build_task(*arguments)

    monkeypatch.setattr("hf_ssl.benchmark.load.build_task", build)
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: find_repository(TASKS["ag_news"], raw.folder), range(4)))
    assert len(folders) == len(builds) == 1


def test_changed_raw_data_are_built_again(raw, cache, tmp_path):
    source = make_source("yelp_review", tmp_path / "raw", per_class=60)
    load_task("yelp_review", num_labeled=250, source=source.folder)
    (path,) = source.folder.rglob("train.csv")
    os.utime(path, ns=(1, 1))
    load_task("yelp_review", num_labeled=250, source=source.folder)
    assert len(list((cache / "hf_ssl").glob("*/benchmark.json"))) == 2


def test_the_documented_commands_work(tmp_path, monkeypatch, capsys):
    source = make_source("cifar100", tmp_path / "raw", per_class=4)
    monkeypatch.chdir(tmp_path)
    with tarfile.open("cifar-100-python.tar.gz", "w:gz") as archive:
        archive.add(source.folder / "cifar-100-python", "cifar-100-python")
    documents = [ROOT / "README.md", ROOT / "examples" / "guides" / "benchmark.md"]
    texts = [path.read_text(encoding="utf-8") for path in documents if path.is_file()]
    block = re.compile(r"```sh\n((?:hf-ssl benchmark .*\n)+)```")
    blocks = [(text, commands) for text in texts for commands in block.findall(text)]
    text, commands = next((text, commands) for text, commands in blocks if "benchmark build" in commands)
    lines = [line.partition("#")[0].split()[1:] for line in commands.splitlines()]
    build, verify, publish = [line for line in lines if line[1] in ("build", "verify", "publish")]
    assert main(build) == 0
    assert main(verify) == 2 and "2 of 13 checks failed: train: count, test: count" in capsys.readouterr().err
    card = (tmp_path / "usb-cifar100" / "README.md").read_text(encoding="utf-8")
    assert "**This is not all of USB's data**, which has 50,000 `train`, 10,000 `test` examples" in card
    (tmp_path / "usb-cifar100" / "data" / "test-00000-of-00001.parquet").rename("test")
    assert main(publish) == 2 and "is not published: these checks failed: files: missing" in capsys.readouterr().err
    (tmp_path / "test").rename(tmp_path / "usb-cifar100" / "data" / "test-00000-of-00001.parquet")
    (code,) = re.findall(r"```python\n(from datasets import load_dataset\n.*?)```", text, flags=re.DOTALL)
    names = {}
    exec(compile(code, "the documentation", "exec"), names)
    assert [len(names["data"][split]) for split in ("labeled", "unlabeled", "test")] == [200, 400, 100]


WRONG = [
    ({"name": "agnews"}, ValueError, r"unknown task 'agnews'; the known ones are cifar100, stl10"),
    ({"num_labeled": 41}, ValueError, r"ag_news has no setting with 41 labels; the known ones are 40, 200"),
    ({"seed": 3}, ValueError, r"ag_news has no draw with seed 3; the known ones are 0, 1, 2"),
    ({"deduplicated": True}, ValueError, r"ag_news has no deduplicated pool; stl10 has one"),
    ({"source": "./nowhere"}, FileNotFoundError, r"\./nowhere does not exist"),
    ({"source": Path("nowhere")}, FileNotFoundError, r"nowhere does not exist"),
    ({"name": "yelp_review", "num_labeled": 250}, ValueError, r"usb-ag_news holds the task ag_news, not yelp_review"),
]


@pytest.mark.parametrize(("changes", "error", "message"), WRONG, ids=lambda value: str(value)[:30])
def test_what_is_wrong_is_said_with_what_is_known(changes, error, message, folder):
    with pytest.raises(error, match=message):
        load_task(**{"name": "ag_news", "num_labeled": 40, "source": folder, **changes})


def test_a_folder_whose_record_has_the_former_name_of_the_label_count_is_loaded(folder, tmp_path):
    earlier = Path(shutil.copytree(folder, tmp_path / "usb-ag_news"))
    record = (earlier / "benchmark.json").read_text()
    assert '"num_labeled": 40' in record
    (earlier / "benchmark.json").write_text(record.replace('"num_labeled"', '"num_labels"'))
    assert len(load_task("ag_news", 40, source=earlier)["labeled"]) == 40
    assert all(check.passed or check.of_source for check in verify_task(earlier))


@pytest.mark.parametrize("record", [None, "[" * 100_000, "[1]", '{"task": '])
def test_a_built_folder_that_is_damaged_is_named(record, folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    if record is None:
        path = next(copy.glob("data/train-*.parquet"))
        # A page of the content, not what describes it.
        data = bytearray(path.read_bytes())
        data[20:60] = b"\xff" * 40
        path.write_bytes(data)
    else:
        (copy / "benchmark.json").write_text(record)
    with pytest.raises(ValueError, match=r"copy(/benchmark\.json)? (is damaged|lacks)") as error:
        load_task("ag_news", num_labeled=200, seed=1, source=copy)
    assert "\n" not in str(error.value)


def test_a_draw_that_was_not_built_is_named(raw, tmp_path):
    folder = build_task(replace(raw.task, seeds=(0,)), raw.folder, tmp_path / "out")
    with pytest.raises(
        ValueError, match="out was built without labels40_seed2; it has labels40_seed0, labels200_seed0"
    ):
        load_task("ag_news", num_labeled=40, seed=2, source=folder)


def test_what_fails_its_checks_or_may_not_be_passed_on_is_not_published(raw, folder, tmp_path):
    spoiled = shutil.copytree(folder, tmp_path / "spoiled")
    (spoiled / "labels" / "40-seed0.parquet").unlink()
    with pytest.raises(
        ValueError, match=r"is not published: these checks failed: files: missing: labels/40-seed0.parquet"
    ):
        publish_task("ag_news", "someone", spoiled)
    with pytest.raises(ValueError, match="holds the task ag_news, not yelp_review"):
        publish_task("yelp_review", "someone", folder)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; build it first: hf-ssl benchmark"):
        publish_task("ag_news", "someone", tmp_path / "nowhere")
    birds = make_source("semi_aves", tmp_path / "birds", per_class=1)
    built = build_task(birds.task, birds.folder, tmp_path / "usb-semi_aves")
    with pytest.raises(
        ValueError, match="the terms of Semi-Aves do not allow redistributing its data; publish it with --private only"
    ):
        publish_task(birds.task, "someone", built)
