"""Raw sources that are damaged or meant to do harm: one error that names file and row, and nothing happens."""

import io
import os
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile

from hf_ssl.benchmark.build import build_task
from hf_ssl.benchmark.readers import archives, open_source

from tests.helpers.benchmark_sources import TASKS, edit_file, make_source


def read_all(source, folder: Path, workdir: Path) -> None:
    for split in open_source(source.task, folder, workdir).values():
        for _ in split.rows():
            pass


# Archives


def tar_with(path: Path, name: str, **attributes) -> Path:
    with tarfile.open(path, "w") as file:
        for member in ("good.txt", name):
            info = tarfile.TarInfo(member)
            if member == name:
                for key, value in attributes.items():
                    setattr(info, key, value)
            info.size = 4 if info.isfile() else 0
            file.addfile(info, io.BytesIO(b"evil") if info.size else None)
    return path


def zip_with(path: Path, name: str, mode: int = 0o644) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("good.txt", "good")
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        file.writestr(info, "evil")
    return path


ARCHIVES = {
    "tar, parent": (tar_with, "../evil.txt", {}, "a path that leads out"),
    "tar, parent within": (tar_with, "a/../../evil.txt", {}, "a path that leads out"),
    "tar, absolute": (tar_with, "{tmp}/evil.txt", {}, "an absolute path"),
    "tar, symbolic link": (tar_with, "link", {"type": tarfile.SYMTYPE, "linkname": "/etc"}, "a link"),
    "tar, hard link": (tar_with, "link", {"type": tarfile.LNKTYPE, "linkname": "good.txt"}, "a link"),
    "tar, device": (tar_with, "device", {"type": tarfile.CHRTYPE}, "a device"),
    "tar, pipe": (tar_with, "pipe", {"type": tarfile.FIFOTYPE}, "a device"),
    "zip, parent": (zip_with, "../evil.txt", {}, "a path that leads out"),
    "zip, parent by backslash": (zip_with, "..\\evil.txt", {}, "a path that leads out"),
    "zip, absolute": (zip_with, "{tmp}/evil.txt", {}, "an absolute path"),
    "zip, drive": (zip_with, "C:\\evil.txt", {}, "an absolute path"),
    "zip, symbolic link": (zip_with, "link", {"mode": 0o120777}, "a link"),
}


@pytest.mark.parametrize(("make", "name", "attributes", "reason"), ARCHIVES.values(), ids=ARCHIVES)
def test_archive_with_an_unsafe_member_is_refused_and_leaves_nothing(make, name, attributes, reason, tmp_path):
    raw, work = tmp_path / "raw", tmp_path / "work"
    raw.mkdir()
    name = name.format(tmp=tmp_path)
    archive = make(raw / ("ag_news_csv.zip" if make is zip_with else "ag_news_csv.tar"), name, **attributes)
    with pytest.raises(ValueError) as error:
        open_source(TASKS["ag_news"], raw, work)
    assert str(archive) in str(error.value) and repr(name) in str(error.value) and reason in str(error.value)
    assert [path for path in tmp_path.rglob("*") if path.name not in ("raw", "work")] == [archive]


def test_damaged_archives_are_named_and_leave_nothing(tmp_path):
    rng = np.random.default_rng(0)
    for name, mode in (("a.tar.gz", "w:gz"), ("b.tar.xz", "w:xz"), ("c.tar", "w")):
        with tarfile.open(tmp_path / name, mode) as file:
            for number in range(3):
                info = tarfile.TarInfo(f"{number}.bin")
                info.size = 20_000
                file.addfile(info, io.BytesIO(rng.bytes(20_000)))
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as file:
        file.writestr("0.bin", rng.bytes(20_000))
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        header = bytearray(whole)
        header[20_480 + 512 : 20_480 + 700] = b"\xff" * 188
        for damaged in (whole[:30_000], whole[:10_000], b"nothing", bytes(header)):
            path.write_bytes(damaged)
            if path.suffix == ".zip" and len(damaged) >= len(whole):
                continue
            with pytest.raises(ValueError, match=f"{path.name}: the archive is damaged"):
                archives.extract(path, tmp_path / "work")
            assert list((tmp_path / "work").iterdir()) == []


# Content


class Runs:
    """A pickle of it would make a folder when it is loaded."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_waveform_that_holds_objects_is_refused(tmp_path):
    source = make_source("esc50", tmp_path / "raw", form="usb_audio_pickles")
    buffer = io.BytesIO()
    np.save(buffer, np.array([Runs(tmp_path / "pwned")], dtype=object), allow_pickle=True)
    path = source.folder / "esc50" / "test.pkl"
    path.write_bytes(pickle.dumps({0: {"wav": buffer.getvalue(), "label": 0}}))
    with pytest.raises(ValueError, match=r"test\.pkl, row 1: 'wav' is not a waveform.*allow_pickle=False"):
        read_all(source, source.folder, tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_empty_and_damaged_images_are_named(tmp_path):
    source = make_source("eurosat", tmp_path / "raw")
    path = source.folder / "2750" / "Forest" / "Forest_2.jpg"
    whole = path.read_bytes()
    for content, reason in (
        (b"", r"empty \(0 bytes\)"),
        (whole[:200], "damaged"),
        (whole[:-600], "damaged"),
        (b"x", "damaged"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"Forest_2\.jpg: the image is {reason}"):
            read_all(source, source.folder, tmp_path / "work")


def test_class_folders_must_be_the_tasks_classes(tmp_path):
    source = make_source("eurosat", tmp_path / "raw")
    root = source.folder / "2750"
    (root / "Glacier").mkdir()
    with pytest.raises(ValueError, match="Glacier: 'Glacier' is not one of the 10 classes of eurosat"):
        open_source(source.task, source.folder, tmp_path)
    (root / "Glacier").rmdir()
    (root / "River").rename(tmp_path / "River")
    with pytest.raises(ValueError, match="there is no folder for the class 'River'"):
        open_source(source.task, source.folder, tmp_path)


@pytest.mark.parametrize("kind", ["empty", "cut off", "no sound"])
def test_damaged_sounds_are_named(kind, tmp_path):
    source = make_source("superbks", tmp_path / "raw")
    path = source.folder / "speech_commands_v0.01" / "yes" / "00000000_nohash_0.wav"
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut off": whole[:-2000], "no sound": b"ID3 is not a wave file"}[kind])
    with pytest.raises(ValueError, match=r"yes/00000000_nohash_0\.wav: "):
        read_all(source, source.folder, tmp_path / "work")


def test_damaged_gtzan_track_is_named_and_may_be_left_out(tmp_path):
    source = make_source("gtzan", tmp_path / "raw")
    path = source.folder / "genres" / "blues" / "blues.00000.wav"
    path.write_bytes(b"RIFFnothing")
    with pytest.raises(ValueError, match=r"blues\.00000\.wav"):
        read_all(source, source.folder, tmp_path / "work")
    soundfile.write(path, np.zeros(22_050 * 20), 22_050)
    with pytest.raises(ValueError, match=r"blues\.00000\.wav: 20\.0 s are too short for 10 pieces of 3 s"):
        read_all(source, source.folder, tmp_path / "work")
    path.unlink()
    assert len(open_source(source.task, source.folder, tmp_path)["validation"]) == 20


def test_arrays_that_do_not_fit_are_named(tmp_path):
    stl = make_source("stl10", tmp_path / "stl")
    labels = stl.folder / "stl10_binary" / "train_y.bin"
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-1] + b"\x0b")
    with pytest.raises(ValueError, match=r"train_y\.bin, row 20: label 11 is not one of the classes 1\.\.10"):
        open_source(stl.task, stl.folder, tmp_path)
    labels.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"train_X\.bin: expected a label for each of the 20 rows of content, got 19"):
        open_source(stl.task, stl.folder, tmp_path)
    images = stl.folder / "stl10_binary" / "unlabeled_X.bin"
    images.write_bytes(images.read_bytes()[:-5])
    labels.write_bytes(whole)
    with pytest.raises(
        ValueError, match=r"unlabeled_X\.bin: the size must be a multiple of 27648 bytes, one image, got \d+"
    ):
        open_source(stl.task, stl.folder, tmp_path)

    cifar = make_source("cifar10", tmp_path / "cifar")
    batch = cifar.folder / "cifar-10-batches-py" / "data_batch_2"
    content = pickle.loads(batch.read_bytes())
    batch.write_bytes(pickle.dumps({**content, b"labels": [*content[b"labels"][:-1], 10]}))
    with pytest.raises(ValueError, match=r"data_batch_2, row 20: label 10 is not one of the classes 0\.\.9"):
        open_source(cifar.task, cifar.folder, tmp_path)
    batch.write_bytes(pickle.dumps({b"data": content[b"data"]}))
    with pytest.raises(ValueError, match=r"data_batch_2: there is no 'labels' in it"):
        open_source(cifar.task, cifar.folder, tmp_path)

    for name, arrays, reason in (
        ("objects", {"train_images": np.array([None])}, "npz: .*allow_pickle=False|got object"),
        (
            "labels",
            {"train_labels": np.full((16, 1), 8, np.uint8)},
            r"row 1: label 8 is not one of the classes 0\.\.7",
        ),
        ("missing", {"test_images": None}, "there is no test_images in it"),
        (
            "fewer",
            {"test_images": np.zeros((3, 28, 28), np.uint8)},
            "expected a label for each of the 3 rows of content, got 8",
        ),
    ):
        tissue = make_source("tissuemnist", tmp_path / name)
        path = tissue.folder / "tissuemnist.npz"
        with np.load(path) as whole:
            content = {key: value for key, value in {**whole, **arrays}.items() if value is not None}
        np.savez_compressed(path, **content)
        with pytest.raises(ValueError, match=rf"tissuemnist\.npz.*({reason})"):
            open_source(tissue.task, tissue.folder, tmp_path)


def test_datasets_that_do_not_fit_are_named(tmp_path):
    def saved(name: str, columns: dict, features=None) -> Path:
        datasets.DatasetDict(train=datasets.Dataset.from_dict(columns, features=features)).save_to_disk(
            tmp_path / name
        )
        return tmp_path / name

    with pytest.raises(ValueError, match=r"split train, row 2: label 4 is not one of the classes 0\.\.3"):
        open_source(TASKS["ag_news"], saved("label", {"text": ["a", "b"], "label": [0, 4]}), tmp_path)
    with pytest.raises(ValueError, match="expected a column of text, got words, label"):
        open_source(TASKS["ag_news"], saved("column", {"words": ["a"], "label": [0]}), tmp_path)
    two = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["a", "b"])})
    with pytest.raises(ValueError, match="column label must have the 4 classes of ag_news, got 2"):
        open_source(TASKS["ag_news"], saved("classes", {"text": ["a"], "label": [0]}, two), tmp_path)
    image = datasets.Dataset.from_dict({"image": [{"bytes": b"", "path": None}], "label": [0]})
    image = image.cast_column("image", datasets.Image(decode=False))
    datasets.DatasetDict(train=image).save_to_disk(tmp_path / "image")
    with pytest.raises(ValueError, match=r"split train, row 1: the image is empty"):
        list(open_source(TASKS["cifar10"], tmp_path / "image", tmp_path)["train"].rows())
    (tmp_path / "parquet").mkdir()
    (tmp_path / "parquet" / "train.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ValueError, match="parquet"):
        open_source(TASKS["ag_news"], tmp_path / "parquet", tmp_path)


def test_text_file_that_is_not_utf8_is_named(tmp_path):
    source = make_source("aclImdb", tmp_path / "raw")
    path = source.folder / "aclImdb" / "test" / "neg" / "0_3.txt"
    for content in (b"caf\xe9", b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"test/neg/0_3\.txt: "):
            read_all(source, source.folder, tmp_path / "work")


# Builds


def spoil_pickle(source, tmp_path: Path) -> str:
    content = {b"data": Runs(tmp_path / "pwned"), b"labels": [0]}
    (source.folder / "cifar-10-batches-py" / "data_batch_3").write_bytes(pickle.dumps(content))
    return r"data_batch_3: the pickle holds the name posix\.mkdir"


def spoil_archive(source, tmp_path: Path) -> str:
    shutil.rmtree(source.folder / "ag_news_csv")
    tar_with(source.folder / "ag_news_csv.tar", "../pwned")
    return r"ag_news_csv\.tar: member '\.\./pwned'"


def spoil_columns(source, tmp_path: Path) -> str:
    with open(source.folder / "ag_news_csv" / "test.csv", "a") as file:
        file.write('"1","only a title"\n')
    return r"test\.csv, row 5 \(line 5\): expected 3 columns .*got 2"


def spoil_class(source, tmp_path: Path) -> str:
    edit_file(source.folder / "yelp_review_full_csv" / "train.csv", '"5",', '"6",')
    return r"train\.csv, row \d+: label '6' is not one of the classes 1\.\.5"


def spoil_image(source, tmp_path: Path) -> str:
    (source.folder / "2750" / "SeaLake" / "SeaLake_3.jpg").write_bytes(b"")
    return r"SeaLake_3\.jpg: the image is empty \(0 bytes\)"


def spoil_list(source, tmp_path: Path) -> str:
    (source.folder / "test" / "7.jpg").unlink()
    return r"test\.txt, row 8: there is no image test/7\.jpg"


HOSTILE = {
    "cifar10": spoil_pickle,
    "ag_news, archive": spoil_archive,
    "ag_news, columns": spoil_columns,
    "yelp_review": spoil_class,
    "eurosat": spoil_image,
    "semi_aves": spoil_list,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_build_of_a_hostile_source_writes_nothing(case, tmp_path):
    source = make_source(case.split(",")[0], tmp_path / "raw", per_class=1)
    reason = HOSTILE[case](source, tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match=reason):
        build_task(source.task, source.folder, tmp_path / "out" / "usb")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw"]
    assert list((tmp_path / "out").iterdir()) == []
