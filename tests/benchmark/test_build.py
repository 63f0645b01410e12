"""Every task from a small raw source: built, loaded by plain `datasets` alone, and compared row by row."""

import hashlib
import io
import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile
from filelock import FileLock
from PIL import Image

from hf_ssl.benchmark import TASKS, build_task, repository, verify_task, writer
from hf_ssl.benchmark.splits import draw_labels

from tests.helpers.benchmark_sources import make_source
from tests.helpers.children import at_most

# What a person without this package does. Rows are told by their decoded content.
LOADER = """
import hashlib, importlib.abc, io, json, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "hf_ssl":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import datasets, numpy, soundfile

datasets.disable_progress_bars()

def content(row):
    if "image" in row:
        pixels = numpy.asarray(row["image"])
        return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    if "audio" in row:
        wave, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="int16")
        return [rate, wave.tolist()[:400], hashlib.sha256(wave.tobytes()).hexdigest()]
    return [row["text"], row.get("aug_0"), row.get("aug_1")]

for line in sys.stdin:
    folder, found = json.loads(line), {}
    for name in datasets.get_dataset_config_names(folder):
        loaded = datasets.load_dataset(folder, name)
        for split, data in loaded.items():
            features = {column: type(feature).__name__ for column, feature in data.features.items()}
            label = data.features["label"]
            if "audio" in features:
                features["audio"] += str(data.features["audio"].sampling_rate)
                data = data.cast_column("audio", datasets.Audio(decode=False))
            rows = [[content(row), row["label"]] for row in data]
            found.setdefault(name, {})[split] = [features, label.names, rows]
    print(json.dumps(found), flush=True)
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw")
    made = {name: make_source(name, root / name, per_class=1 if name == "semi_aves" else 2) for name in TASKS}
    for source in made.values():
        # Two of the three seeds: what a load costs does not depend on how little there is to load.
        source.task = replace(source.task, seeds=(0, 2))
    return made


@pytest.fixture(scope="module")
def built(sources, tmp_path_factory):
    """Task -> folder."""
    root = tmp_path_factory.mktemp("built")
    return {name: build_task(source.task, source.folder, root / name) for name, source in sources.items()}


@pytest.fixture(scope="module")
def load(built, tmp_path_factory):
    """Task -> configuration -> split -> [features, class names, rows], as a process without this package sees them."""
    home = tmp_path_factory.mktemp("home")
    with (
        subprocess.Popen(
            [sys.executable, "-c", LOADER],
            env={"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PATH": "", "OMP_NUM_THREADS": "1"},
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
        at_most(600, process),
    ):

        @cache
        def load(name):
            print(json.dumps(str(built[name])), file=process.stdin, flush=True)
            answer = process.stdout.readline()
            assert answer, "the process ended; its standard error tells why"
            return json.loads(answer)

        yield load
        process.stdin.close()
    assert process.returncode == 0


# Tasks of each modality, one with a pool of its own, one whose splits are drawn. With the others these tests are slow.
SAMPLE = ("cifar100", "stl10", "ag_news", "superbks")


def some(names):
    """Parameters: names of tasks, slow unless they are in the sample."""
    return [pytest.param(name, marks=() if name in SAMPLE else pytest.mark.slow) for name in names]


def expected_rows(source) -> dict[str, list]:
    """The published splits of a source in order, or for the shuffled text splits None."""
    rows, task = dict(source.rows), source.task
    if task.train_share:
        names, parts = range(len(task.class_names)), {"train": [], "test": []}
        for label in names:
            mine = [row for row in rows["train"] if row.label == label]
            first = int(len(mine) * task.train_share)
            parts["train"] += mine[:first]
            parts["test"] += mine[first:]
        rows = parts
    if task.per_class:
        rows["train"] = rows["validation"] = None
    return rows


def assert_same(content, label, row) -> None:
    assert label == row.label
    if row.pixels is not None:
        assert content == hashlib.sha256(str(row.pixels.shape).encode() + row.pixels.tobytes()).hexdigest()
    elif row.samples is not None:
        rate, head, digest = content
        assert rate == 16_000
        if row.exact:
            assert digest == hashlib.sha256(row.samples.tobytes()).hexdigest()
        else:
            np.testing.assert_allclose(head, row.samples[: len(head)], atol=400)
    else:
        assert content == [row.text, *(row.augmented or (None, None))]


@pytest.mark.parametrize("name", some(TASKS))
def test_a_built_task_loads_without_this_package(name, sources, load):
    source, configurations = sources[name], load(name)
    task = source.task
    assert list(configurations) == list(repository.configurations(task))
    column = {"image": "Image", "audio": "Audio16000", "text": "Value"}[task.modality]
    for splits in configurations.values():
        for features, names, _ in splits.values():
            assert features == {task.modality: column, "label": "ClassLabel"}
            assert names == list(task.class_names)

    full = {split: rows for split, (_, _, rows) in configurations["full"].items()}
    assert {split: len(rows) for split, rows in full.items()} == dict(task.sizes)
    for split, rows in expected_rows(source).items():
        if rows is None or (split == "unlabeled" and task.deduplicate_pool):
            continue
        for (content, label), row in zip(full[split], rows, strict=True):
            assert_same(content, label, row)

    labels = np.array([label for _, label in full["train"]])
    for num_labeled in task.label_settings:
        for seed in task.seeds:
            splits = {split: rows for split, (_, _, rows) in configurations[f"labels{num_labeled}_seed{seed}"].items()}
            if task.given_labels:
                assert splits["labeled"] == full["train"] and splits["unlabeled"] == full["unlabeled"]
            else:
                labeled, _ = draw_labels(
                    labels,
                    num_classes=len(task.class_names),
                    num_labeled=num_labeled,
                    seed=seed,
                    shuffle_first=task.shuffle_first,
                )
                assert splits["labeled"] == [full["train"][index] for index in labeled]
                pool = (
                    [*splits["labeled"], *full["unlabeled"], *full["train"]] if "unlabeled" in full else full["train"]
                )
                assert splits["unlabeled"] == pool
            assert splits["test"] == full["test"]
            assert splits.get("validation") == full.get("validation")


@pytest.mark.parametrize("name", some(name for name, task in TASKS.items() if task.per_class))
def test_text_rows_are_shuffled_into_train_and_validation_once_each(name, sources, load):
    full = {split: rows for split, (_, _, rows) in load(name)["full"].items()}
    raw = sorted(([row.text, None, None], row.label) for row in sources[name].rows["train"])
    assert sorted((content, label) for split in ("train", "validation") for content, label in full[split]) == raw


def test_the_deduplicated_pool_of_stl10_has_no_image_of_the_test_set(sources, load):
    configurations = load("stl10")
    test = [content for content, _ in configurations["full"]["test"][2]]
    pool = [content for content, _ in configurations["labels10_seed0"]["unlabeled"][2]]
    clean = [content for content, _ in configurations["labels10_seed0_deduplicated"]["unlabeled"][2]]
    # The source's first two unlabeled images are its first two test images.
    assert [content for content in pool if content in test] == test[:2]
    assert [content for content in pool if content not in test] == clean
    assert configurations["labels10_seed0_deduplicated"]["labeled"] == configurations["labels10_seed0"]["labeled"]


@pytest.mark.parametrize("form", ["usb_json", "usb_audio_pickles"])
def test_usb_s_own_files_are_taken_with_their_splits(form, tmp_path):
    source = make_source("ag_news" if form == "usb_json" else "fsdnoisy", tmp_path / "raw", form=form)
    folder = build_task(source.task, source.folder, tmp_path / "built")
    for split, rows in source.rows.items():
        found = list(repository.read_rows(repository.files_of(folder, [f"data/{split}-*.parquet"])))
        assert [row["label"] for row in found] == [row.label for row in rows]
        if form == "usb_json":
            augmented = [row.augmented or (None, None) for row in rows]
            assert [(row["text"], row["aug_0"], row["aug_1"]) for row in found] == [
                (row.text, *pair) for row, pair in zip(rows, augmented, strict=True)
            ]
    # The small recordings repeat each other.
    assert [
        check for check in verify_task(folder, source.task) if not check.passed and "and test" not in check.name
    ] == []


def contents(folder) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def stop_at(monkeypatch, row: int, error: BaseException) -> None:
    """Let the writing of one row of training data fail."""
    write = writer.ShardWriter.write

    def failing(self, content):
        if self.name == "train" and self.rows == row:
            raise error
        write(self, content)

    monkeypatch.setattr(writer.ShardWriter, "write", failing)


def test_an_interrupted_build_leaves_nothing_and_ends_the_same_when_started_again(tmp_path, monkeypatch):
    source = make_source("ag_news", tmp_path / "raw")
    whole = contents(build_task(source.task, source.folder, tmp_path / "whole"))
    with monkeypatch.context() as patch:
        stop_at(patch, 3, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            build_task(source.task, source.folder, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "whole"]
    # What a process that was killed leaves: its hidden folder, and a lock that nobody holds.
    (tmp_path / ".out.incomplete" / "repository" / "data").mkdir(parents=True)
    (tmp_path / ".out.incomplete" / "repository" / "data" / "train-00000.part").write_bytes(b"half")
    (tmp_path / ".out.lock").touch()
    assert contents(build_task(source.task, source.folder, tmp_path / "out")) == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw", "whole"]


def test_an_earlier_build_survives_one_that_fails(tmp_path, monkeypatch):
    source = make_source("yelp_review", tmp_path / "raw")
    before = contents(build_task(source.task, source.folder, tmp_path / "out"))
    with pytest.raises(FileExistsError, match="out exists; give another output folder, or --overwrite"):
        build_task(source.task, source.folder, tmp_path / "out")
    with monkeypatch.context() as patch:
        stop_at(patch, 1, OSError("no space left"))
        with pytest.raises(OSError, match="no space left"):
            build_task(source.task, source.folder, tmp_path / "out", overwrite=True)
    assert contents(tmp_path / "out") == before
    build_task(replace(source.task, seeds=(1,)), source.folder, tmp_path / "out", overwrite=True)
    assert "labels/5-seed1.parquet" in contents(tmp_path / "out") and "labels/5-seed0.parquet" not in contents(
        tmp_path / "out"
    )


def test_two_builds_of_one_target_do_not_meet(tmp_path):
    source = make_source("yelp_review", tmp_path / "raw")
    with FileLock(tmp_path / ".out.lock"), pytest.raises(FileExistsError, match=r"another process works on .*out now"):
        build_task(source.task, source.folder, tmp_path / "out")


def test_a_folder_of_other_things_is_never_replaced(tmp_path):
    source = make_source("yelp_review", tmp_path / "raw")
    with pytest.raises(FileExistsError, match="raw exists and is not a built task"):
        build_task(source.task, source.folder, source.folder, overwrite=True)


def test_files_are_cut_at_the_asked_size(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "ROW_GROUP_ROWS", 7)
    source = make_source("tissuemnist", tmp_path / "raw", per_class=4)
    folder = build_task(source.task, source.folder, tmp_path / "out", shard_bytes=5_000)
    names = [path.name for path in sorted((folder / "data").glob("train-*"))]
    assert (
        names == [f"train-{index:05d}-of-{len(names):05d}.parquet" for index in range(len(names))] and len(names) > 2
    )
    rows = repository.read_rows(repository.files_of(folder, ["data/train-*.parquet"]))
    for found, row in zip(rows, source.rows["train"], strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(found["image"]["bytes"]))), row.pixels)
    assert all(check.passed for check in verify_task(folder, source.task))


def test_a_source_that_is_too_small_is_said_to_be_and_gives_what_it_can(tmp_path, caplog):
    source = make_source("ag_news", tmp_path / "raw")
    task = replace(source.task, per_class=(8, 2), label_settings=(4, 40))
    folder = build_task(task, source.folder, tmp_path / "out")
    assert (
        "fewer than the 10 training rows per class that USB takes (for 4 classes, among them 'World')" in caplog.text
    )
    assert "no 40 labels can be drawn: class 0 has 2 examples" in caplog.text
    assert list(repository.read_record(folder)["draws"]) == ["labels4_seed0", "labels4_seed1", "labels4_seed2"]
    assert "labels40" not in (folder / "README.md").read_text(encoding="utf-8")
    with pytest.raises(
        ValueError, match="no 40 labels can be drawn: class 0 has 2 examples, this draw needs 10 of it"
    ):
        build_task(replace(task, label_settings=(40,)), source.folder, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_first_test_rows_of_each_class_are_kept(tmp_path):
    source = make_source("aclImdb", tmp_path / "raw")
    task = replace(source.task, test_per_class=1, sizes={**source.task.sizes, "test": 2})
    folder = build_task(task, source.folder, tmp_path / "out")
    kept = [row["text"] for row in repository.read_rows(repository.files_of(folder, ["data/test-*.parquet"]))]
    assert kept == [next(row.text for row in source.rows["test"] if row.label == label) for label in (0, 1)]


def test_the_publisher_s_file_is_told_by_its_checksum(tmp_path, caplog):
    source = make_source("tissuemnist", tmp_path / "raw")
    (path,) = source.folder.rglob("*.npz")
    stated = "md5:" + hashlib.md5(path.read_bytes()).hexdigest()
    for checksum, words in ((stated, "which is the stated one"), ("md5:" + "0" * 32, "which is not the stated one")):
        caplog.clear()
        folder = build_task(replace(source.task, checksum=checksum), path, tmp_path / checksum[-4:])
        assert repository.read_record(folder)["checksum"] == stated
        assert words in (folder / "README.md").read_text(encoding="utf-8")
        assert ("it is damaged or another version" in caplog.text) == (checksum != stated)


def test_what_a_source_lacks_is_named(tmp_path):
    source = make_source("esc50", tmp_path / "raw")
    with pytest.raises(
        ValueError, match="the source of ESC-50 has no unlabeled examples; it has train, validation, test"
    ):
        build_task(replace(source.task, sizes={**source.task.sizes, "unlabeled": 1}), source.folder, tmp_path / "out")


def test_no_local_path_gets_into_what_is_published(tmp_path):
    source = make_source("eurosat", tmp_path / "raw")
    folder = build_task(source.task, source.folder, tmp_path / "out")
    for name, data in contents(folder).items():
        assert str(tmp_path).encode() not in data, name


MEASURE = """
import os, resource, sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from PIL import Image
import numpy as np, pyarrow, datasets, csv
from hf_ssl.benchmark import TASKS, build_task

datasets.disable_progress_bars()
csv.field_size_limit(10**7)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)

root = Path(sys.argv[1])
small = root / "small"
small.mkdir()
for split in ("train", "test"):
    (small / f"{split}.csv").write_text("".join(f'"{i % 4 + 1}","a","b{i}"\\n' for i in range(40)))
task = replace(TASKS["ag_news"], per_class=(8, 2), label_settings=(4,))
build_task(task, small, root / "first")
before = peak()

large = root / "large"
large.mkdir()
text = " ".join(f"word{i}" for i in range(3_500))
for split, count in (("train", 8_000), ("test", 40)):
    with open(large / f"{split}.csv", "w") as file:
        file.writelines(f'"{i % 4 + 1}","{i}","{text}"\\n' for i in range(count))
build_task(replace(task, per_class=(1_900, 100)), large, root / "texts")
texts = peak()

pixels = np.random.default_rng(0).integers(0, 256, (180, 180, 3), dtype=np.uint8)
Image.fromarray(pixels).save(root / "one.png")
for name in TASKS["eurosat"].class_names:
    (root / "pictures" / name).mkdir(parents=True)
    for i in range(220):
        os.link(root / "one.png", root / "pictures" / name / f"{name}_{i}.png")
build_task(replace(TASKS["eurosat"], label_settings=(10,)), root / "pictures", root / "images")
sizes = (large / "train.csv").stat().st_size, 2_200 * (root / "one.png").stat().st_size
print(before, texts, peak(), *(size / 2**20 for size in sizes))
"""


@pytest.mark.slow
def test_a_build_holds_a_small_part_of_its_data_in_memory(tmp_path):
    """200 MB of text and 200 MB of images; the growth that is allowed does not depend on how much there is."""
    done = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    before, texts, images, text_size, image_size = map(float, done.stdout.split()[-5:])
    assert text_size > 190 and image_size > 190
    assert texts - before < 160 and images - texts < 100


SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
REAL = {
    "cifar10": {"sizes": {"train": 20_000, "test": 4_000}},
    "ag_news": {"sizes": {"train": 3_520, "validation": 352, "test": 7_600}, "per_class": (880, 88)},
    "superbks": {"sizes": {"train": 3_156, "test": 797}},
}


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="the shared data are not there")
@pytest.mark.parametrize("name", REAL)
def test_real_data_are_built_verified_and_loaded(name, tmp_path, monkeypatch):
    task = replace(TASKS[name], **REAL[name])
    source = SHARED / {"superbks": "speech_commands"}.get(name, name)
    folder = build_task(task, source, tmp_path / "out")
    assert [check for check in verify_task(folder, task) if not check.passed] == []
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    number = task.label_settings[0]
    loaded = datasets.load_dataset(str(folder), f"labels{number}_seed0", cache_dir=str(tmp_path / "cache"))
    assert len(loaded["labeled"]) == number and len(loaded["unlabeled"]) == task.sizes["train"]
    assert np.bincount(loaded["labeled"]["label"]).tolist() == [number // len(task.class_names)] * len(
        task.class_names
    )
    original = datasets.load_dataset(str(source), cache_dir=str(tmp_path / "cache"))["test"]
    if task.modality == "audio":
        data = [d.cast_column("audio", datasets.Audio(decode=False)) for d in (loaded["test"], original)]
        for index in (0, 400, 796):
            waves = [soundfile.read(io.BytesIO(d[index]["audio"]["bytes"]), dtype="int16") for d in data]
            np.testing.assert_array_equal(waves[0][0], waves[1][0])
    elif task.modality == "image":
        for index in (0, 3_999):
            np.testing.assert_array_equal(
                np.asarray(loaded["test"][index]["image"]), np.asarray(original[index]["image"])
            )
    else:
        assert loaded["test"]["text"] == original["text"]
    assert loaded["test"]["label"] == original["label"]
