"""Raw sources that claim more than they hold: archives, arrays, pickles and lines have bounds; pipes are not read."""

import bz2
import gzip
import io
import itertools
import json
import lzma
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from hf_ssl import limits
from hf_ssl.benchmark import verify
from hf_ssl.benchmark.readers import archives, arrays, hub_datasets, open_source, pickles, texts

from tests.helpers.benchmark_sources import TASKS, make_source
from tests.helpers.hostile_files import at_once, flac_claiming, nested, npy_claiming, pipe, sound_bytes, tar_of_sparse


def read_all(source, workdir: Path) -> None:
    for split in open_source(source.task, source.folder, workdir).values():
        for _ in split.rows():
            pass


# Archives


def tar_of(members: dict[str, bytes], **options) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **options) as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


ARCHIVES = {
    "a.tar.gz": lambda members: gzip.compress(tar_of(members)),
    "a.tar.bz2": lambda members: bz2.compress(tar_of(members)),
    "a.tar.xz": lambda members: lzma.compress(tar_of(members)),
    "a.tgz": lambda members: gzip.compress(tar_of(members)),
    "a.zip": zip_of,
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_unpacks_to_a_hundred_times_its_size_and_no_further(name, monkeypatch, tmp_path):
    monkeypatch.setattr(limits, "UNPACKED_FREELY", 2**16)
    (tmp_path / name).write_bytes(ARCHIVES[name]({"a.txt": b"honest", "zeros.bin": bytes(2**22)}))
    packed = (tmp_path / name).stat().st_size
    assert 100 * packed < 2**22
    with pytest.raises(
        ValueError, match=rf"{name}: an archive of {packed:,} bytes must unpack to at most .*, got .* or"
    ):
        archives.extract(tmp_path / name, tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []
    # Text of a usual vocabulary.
    words = np.random.default_rng(0).choice(["the", "rose", "is", "a"], 200_000)
    (tmp_path / name).write_bytes(ARCHIVES[name]({"b.txt": " ".join(words).encode()}))
    folder = archives.extract(tmp_path / name, tmp_path / "work")
    assert (folder / "b.txt").read_text() == " ".join(words)


def test_zeros_between_members_count_too(monkeypatch, tmp_path):
    monkeypatch.setattr(limits, "UNPACKED_FREELY", 2**16)
    whole = tar_of({"a.txt": b"a"})
    # A header that tells of a long name, which is never shown.
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**24
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(info.tobuf() + bytes(2**24) + whole))
    with pytest.raises(
        ValueError, match=r"a\.tar\.gz: the archive is damaged: a header of a member claims 16,777,216"
    ):
        archives.extract(tmp_path / "a.tar.gz", tmp_path / "work")
    # Sixteen times of an allowed length.
    names = b"".join(_long_name(2**20 - 1) for _ in range(16))
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(names + whole))
    with pytest.raises(ValueError, match=r"b\.tar\.gz: .*(must unpack to at most|damaged)"):
        archives.extract(tmp_path / "b.tar.gz", tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []


def _long_name(length: int) -> bytes:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, length
    return info.tobuf() + b"a" * length + bytes(-length % 512)


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_sparse_members_are_refused(form, tmp_path):
    if form == "gnu":
        tar_of_sparse(tmp_path / "a.tar", 2**37)
    else:
        with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as file:
            info = tarfile.TarInfo("hole.bin")
            info.pax_headers = {"GNU.sparse.size": str(2**37), "GNU.sparse.map": f"{2**37},0"}
            file.addfile(info, io.BytesIO())
    with (
        at_once(),
        pytest.raises(ValueError, match=r"a\.tar: member 'hole.bin' is sparse; such archives are not extr"),
    ):
        archives.extract(tmp_path / "a.tar", tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
def test_members_are_counted(name, monkeypatch, tmp_path):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    (tmp_path / name).write_bytes(ARCHIVES[name]({f"{i}.txt": b"" for i in range(4)}))
    with pytest.raises(ValueError, match="an archive must have at most 3 members, got more; unpack it yourself"):
        archives.extract(tmp_path / name, tmp_path / "work")


def test_headers_that_name_each_other_without_end_are_damage(tmp_path):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2
    (tmp_path / "a.tar").write_bytes((info.tobuf() + b"a".ljust(512, b"\0")) * 5_000 + tar_of({"a": b""}))
    with pytest.raises(ValueError, match=r"a\.tar: the archive is damaged: "):
        archives.extract(tmp_path / "a.tar", tmp_path / "work")


def test_every_cut_of_an_archive_is_damage(tmp_path):
    for name, make in ARCHIVES.items():
        whole = make({f"{i}.txt": bytes(np.random.default_rng(i).bytes(300)) for i in range(3)})
        for length in range(1, len(whole) - 12, len(whole) // 12):
            (tmp_path / name).write_bytes(whole[:length])
            with pytest.raises(ValueError, match=rf"{name}: the archive is damaged"):
                archives.extract(tmp_path / name, tmp_path / "work")
        assert list((tmp_path / "work").iterdir()) == []


# Arrays


def npz_with(path: Path, **members: bytes) -> None:
    """The small npz with other members."""
    with zipfile.ZipFile(path) as file:
        content = {name: file.read(name) for name in file.namelist()}
    path.write_bytes(zip_of({**content, **{f"{name}.npy": data for name, data in members.items()}}))


NPZ = {
    "labels of 2^40 rows": (
        {"train_labels": npy_claiming((2**40, 1), b"\0" * 9)},
        "the header tells of 1,099,511,627,776",
    ),
    "images of 2^40 rows": (
        {"train_images": npy_claiming((2**40, 28, 28), b"\0" * 9)},
        "expected a label for each of the 1",
    ),
    "images of 2^40 pixels": ({"train_images": npy_claiming((16, 2**20, 2**20), b"\0" * 9)}, "ends at row 1 of 16"),
    "a negative length": ({"train_labels": npy_claiming((-1, 1), b"")}, "whole numbers"),
    "an axis of True": ({"train_labels": npy_claiming((True, 1), b"\0")}, "whole numbers"),
    "fewer bytes": (
        {"train_labels": npy_claiming((16, 1), b"\0" * 15)},
        "the header tells of 16 bytes, and there are 15",
    ),
    "objects": ({"train_labels": npy_claiming((16, 1), bytes(128), "|O")}, "allow_pickle=False"),
    "no header": ({"train_labels": b"nothing"}, "magic|header"),
    "a long header": ({"train_labels": b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65_535}, "."),
    "zeros": ({"further": bytes(2**22)}, r"must unpack to at most 3,\d+,\d+, got 4,"),
}


@pytest.mark.parametrize(("members", "message"), NPZ.values(), ids=NPZ)
def test_arrays_that_claim_more_than_the_file_holds_are_named(members, message, monkeypatch, tmp_path):
    monkeypatch.setattr(limits, "UNPACKED_FREELY", 2**16)
    source = make_source("tissuemnist", tmp_path / "raw")
    npz_with(source.folder / "tissuemnist.npz", **members)
    with at_once(), pytest.raises(ValueError, match=rf"tissuemnist\.npz.*{message}"):
        read_all(source, tmp_path)


def test_an_npy_file_is_the_array_that_it_holds():
    for array in (
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.asfortranarray(np.ones((2, 3), np.int16)),
        np.array(7),
    ):
        buffer = io.BytesIO()
        np.save(buffer, array)
        found = arrays.npy_array(buffer.getvalue())
        assert np.array_equal(found, array) and found.dtype == array.dtype


def test_waveforms_that_claim_more_than_they_hold_are_named(tmp_path):
    source = make_source("esc50", tmp_path / "raw", form="usb_audio_pickles")
    rows = {0: {"wav": npy_claiming((2**40,), bytes(400), "<f4"), "label": 0}}
    (source.folder / "esc50" / "test.pkl").write_bytes(pickle.dumps(rows))
    with (
        at_once(),
        pytest.raises(ValueError, match=r"test\.pkl, row 1: 'wav' is not a waveform: the header tells of 4,"),
    ):
        read_all(source, tmp_path)


def test_matlab_arrays_are_compared_with_their_file(monkeypatch, tmp_path):
    monkeypatch.setattr(limits, "UNPACKED_FREELY", 2**16)
    source = make_source("svhn", tmp_path / "raw")
    path = source.folder / "train_32x32.mat"
    labels = scipy.io.loadmat(path)["y"]
    scipy.io.savemat(path, {"X": np.zeros((32, 32, 3, 5_000), np.uint8), "y": labels}, do_compression=True)
    with at_once(), pytest.raises(ValueError, match=r"train_32x32\.mat: .*X must have at most .* numbers"):
        read_all(source, tmp_path)


# Pickles


def shared(levels: int, leaf: bytes, pair: bytes) -> bytes:
    """A value inside of itself, twice on each level."""
    return leaf + b"".join(b"2" + pair for _ in range(levels))


def test_keys_inside_of_keys_are_refused_before_they_are_hashed(tmp_path):
    """The hash of a tuple asks for those of its parts, here 2^60 times."""
    (tmp_path / "p").write_bytes(b"\x80\x02}" + shared(60, b"K\x01", b"\x86") + b"K\x01s.")
    with at_once(), pytest.raises(ValueError, match="p: the pickle is damaged: a key of a dict is a tuple"):
        pickles.load(tmp_path / "p")


def test_calls_cannot_make_more_than_the_file_holds(tmp_path):
    text = b"X" + (100_000).to_bytes(4, "little") + b"a" * 100_000 + b"q\x00"
    call = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"
    (tmp_path / "p").write_bytes(b"\x80\x02]" + text + b"0(" + call + b"e.")
    assert pickles.load(tmp_path / "p", arrays=True) == [b"a" * 100_000]
    (tmp_path / "p").write_bytes(b"\x80\x02]" + text + b"0(" + call * 1_000 + b"e.")
    with pytest.raises(ValueError, match="p: the pickle holds calls that make more than the file holds"):
        pickles.load(tmp_path / "p", arrays=True)


@pytest.mark.parametrize("place", ["label_names", "labels"])
def test_values_inside_of_values_are_named_in_bounded_time(place, tmp_path):
    source = make_source("cifar10", tmp_path / "raw")
    folder = source.folder / "cifar-10-batches-py"
    bomb: list = ["lol"]
    for _ in range(60):
        bomb = [bomb, bomb]
    path = folder / ("batches.meta" if place == "label_names" else "data_batch_1")
    content = pickle.loads(path.read_bytes())
    content[place.encode()] = bomb if place == "label_names" else [bomb] * len(content[b"labels"])
    path.write_bytes(pickle.dumps(content, protocol=2))
    with at_once(), pytest.raises(ValueError, match=path.name) as error:
        open_source(source.task, source.folder, tmp_path)
    assert len(str(error.value)) < 3_000


# Texts


def test_lines_of_csv_files_are_bounded(monkeypatch, tmp_path):
    monkeypatch.setattr(limits, "LONGEST_ROW", 5_000)
    source = make_source("ag_news", tmp_path / "raw")
    with open(source.folder / "ag_news_csv" / "test.csv", "a") as file:
        file.write('"1","' + "a" * 10_000)
    with pytest.raises(ValueError, match=r"test\.csv, line \d+ must have at most 5,000 characters, got more"):
        open_source(source.task, source.folder, tmp_path)


def test_texts_are_bounded(tmp_path):
    source = make_source("aclImdb", tmp_path / "raw")
    path = source.folder / "aclImdb" / "test" / "neg" / "0_3.txt"
    with open(path, "wb") as file:
        file.truncate(2**40)
    with (
        at_once(),
        pytest.raises(ValueError, match=r"0_3\.txt must have at most 16,777,216 bytes, got 1,099,511,627,776"),
    ):
        read_all(source, tmp_path)


JSON = {
    "nested": ('{"0": {"ori": ' + nested(100_000) + "}}", "row 1: it is nested too deep"),
    "a number of many digits": (
        '{"0": {"ori": "a", "label": ' + "9" * 10_000 + "}}",
        "row 1: it is not valid JSON: Exc",
    ),
    "spaces": ("{" + " " * 3_000_000 + "x", "row 1: expected \", got 'x'"),
    "spaces in front of a value": ('{"0":' + "\n" * 3_000_000 + "x", "row 1: it is not valid JSON: Expecting value"),
}


@pytest.mark.parametrize(("content", "message"), JSON.values(), ids=JSON)
def test_json_that_no_parser_should_see_is_named(content, message, monkeypatch, tmp_path):
    monkeypatch.setattr(texts, "_READ", 10_000)
    source = make_source("ag_news", tmp_path / "raw", form="usb_json")
    (path,) = source.folder.rglob("train.json")
    path.write_text(content)
    with at_once(10), pytest.raises(ValueError, match=rf"train\.json, {message}"):
        open_source(source.task, source.folder, tmp_path)


# What is not a file

PIPES = {
    "cifar10": "data_batch_2",
    "stl10": "train_X.bin",
    "stl10, labels": "train_y.bin",
    "tissuemnist": "tissuemnist.npz",
    "svhn": "test_32x32.mat",
    "semi_aves": "u_train_in.txt",
    "ag_news": "train.csv",
    "urbansound8k": "UrbanSound8K.csv",
    "fsdnoisy": "train.csv",
    "superbks": "testing_list.txt",
    "eurosat": "Forest_2.jpg",
    "semi_aves, image": "7.jpg",
    "superbks, sound": "00000000_nohash_0.wav",
    "aclImdb": "0_3.txt",
}


@pytest.mark.parametrize("case", PIPES)
def test_pipes_are_never_opened(case, tmp_path):
    source = make_source(case.split(",")[0], tmp_path / "raw")
    path = next(source.folder.rglob(PIPES[case]))
    path.unlink()
    pipe(path)
    with at_once():
        try:
            read_all(source, tmp_path / "work")
        except ValueError as error:
            assert path.name.split(".")[0] in str(error)
        else:
            # Listed are files alone.
            assert path.suffix in (".jpg", ".wav", ".txt")


def test_a_dataset_cannot_name_devices_or_files_of_holes(tmp_path):
    with open(tmp_path / "holes.png", "wb") as file:
        file.truncate(2**40)
    for path, reason in (
        ("/dev/zero", "must be a file, got a device"),
        (tmp_path / "holes.png", "at most 1,073,741,824"),
    ):
        with at_once(), pytest.raises(ValueError, match=rf"^data, row 1: the row has no content: .*{reason}"):
            hub_datasets._content({"bytes": None, "path": str(path)}, "data, row 1")


def test_recordings_of_a_built_task_are_checked_within_the_bounds():
    with pytest.raises(ValueError, match=r"the recording: .* at most 134,217,728 samples, got 68,719,476,735"):
        verify._check_wave(flac_claiming(2**36 - 1))
    with pytest.raises(ValueError, match="must be mono at 16,000 Hz, got 2 samples, 3 channels and 8,000 Hz"):
        verify._check_wave(sound_bytes(np.zeros((2, 3)), 8_000))
    verify._check_wave(sound_bytes(np.zeros(5)))


def test_pipes_among_parquet_files_and_damaged_records_are_named(tmp_path):
    pipe(tmp_path / "raw" / "train.parquet")
    (tmp_path / "raw" / "test.parquet").write_bytes(b"PAR1")
    with at_once(), pytest.raises(ValueError, match=r"train\.parquet must be a file, got a named pipe|test\.parquet"):
        open_source(TASKS["ag_news"], tmp_path / "raw", tmp_path / "work")
    for record, content in itertools.product(
        ("dataset_dict.json",), (nested(100_000), "[1]", "{}", json.dumps({"splits": 3}))
    ):
        folder = tmp_path / "saved"
        folder.mkdir(exist_ok=True)
        (folder / record).write_text(content)
        with pytest.raises(ValueError, match="saved: a file of the dataset is damaged: "):
            open_source(TASKS["ag_news"], folder, tmp_path / "work")
