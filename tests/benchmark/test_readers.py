"""Each raw form of the benchmark's tasks gives its labels and its content, in the source's order."""

import csv
import io
import json
import shutil
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile
from PIL import Image

from hf_ssl.benchmark.readers import READERS, RawSplit, archives, open_source
from hf_ssl.benchmark.readers.audio import audio_file

from tests.helpers.benchmark_sources import TASKS, encode_image, make_source, random_pixels, tone

FORMS = [(name, None) for name in TASKS] + [
    ("ag_news", "usb_json"),
    ("esc50", "usb_audio_pickles"),
    ("fsdnoisy", "usb_audio_pickles"),
]


def form_id(value):
    return value or "raw"


def decoded_image(row: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])))


def decoded_sound(row: dict) -> np.ndarray:
    samples, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="int16")
    assert rate == 16_000 and samples.ndim == 1
    assert row["audio"]["bytes"][:4] == b"fLaC" and row["audio"]["path"].endswith(".flac")
    return samples


def assert_rows_are(rows: list[dict], expected: list) -> None:
    assert [row["label"] for row in rows] == [row.label for row in expected]
    for row, wanted in zip(rows, expected, strict=True):
        if wanted.text is not None:
            assert row["text"] == wanted.text
            assert (row.get("aug_0"), row.get("aug_1")) == (wanted.augmented or (None, None))
        if wanted.pixels is not None:
            np.testing.assert_array_equal(decoded_image(row), wanted.pixels)
        if wanted.file_bytes is not None:
            assert row["image"]["bytes"] == wanted.file_bytes
        if wanted.samples is not None:
            samples = decoded_sound(row)
            assert len(samples) == len(wanted.samples)
            # 8-bit files are that coarse. A tone of another height, or shifted, would be off by thousands.
            tolerance = 0 if wanted.exact else 300
            assert np.abs(samples.astype(int) - wanted.samples).max() <= tolerance


@pytest.mark.parametrize(("name", "form"), FORMS, ids=form_id)
def test_raw_form_gives_labels_and_content_in_order(name, form, tmp_path):
    source = make_source(name, tmp_path / "raw", form=form)
    splits = open_source(source.task, source.folder, tmp_path / "work")
    assert set(splits) == set(source.rows)
    for split, expected in source.rows.items():
        assert splits[split].labels.dtype == np.int64
        assert splits[split].labels.tolist() == [row.label for row in expected]
        assert_rows_are(list(splits[split].rows()), expected)
        chosen = np.arange(1, len(expected), 3)
        assert_rows_are(list(splits[split].rows(chosen)), [expected[index] for index in chosen])
        assert list(splits[split].rows([])) == []
    assert all(
        name.startswith(str(tmp_path)) is False
        for name in (row["source"] for row in splits["test" if "test" in splits else "train"].rows())
    )


def test_every_reader_of_every_task_exists():
    assert {name for task in TASKS.values() for name in task.readers} == set(READERS)


@pytest.mark.parametrize("indices", [[1, 0], [0, 0], [-1], [2]], ids=["descending", "twice", "negative", "beyond"])
def test_rows_refuse_indices_that_do_not_ascend_within_the_split(indices):
    split = RawSplit([0, 1], lambda indices: iter(()))
    with pytest.raises(ValueError, match=r"ascend strictly within 0\.\.1"):
        list(split.rows(indices))


# Where a source may lie


def pack(folder: Path, archive: Path) -> Path:
    """All of a folder as a tar or zip archive, as the publishers pack it."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted(folder.rglob("*")):
                file.write(path, path.relative_to(folder))
    else:
        with tarfile.open(archive, "w:gz") as file:
            file.add(folder, arcname=".")
    return archive


@pytest.mark.parametrize("archive", ["cifar-10-python.tar.gz", "cifar10.zip"])
@pytest.mark.parametrize("given", ["the archive", "its folder"])
def test_archive_is_read_as_the_folder_in_it(archive, given, tmp_path):
    source = make_source("cifar10", tmp_path / "raw", per_class=1)
    (tmp_path / "download").mkdir()
    packed = pack(source.folder, tmp_path / "download" / archive)
    splits = open_source(source.task, packed if given == "the archive" else packed.parent, tmp_path / "work")
    assert_rows_are(list(splits["train"].rows()), source.rows["train"])


def test_archive_is_extracted_once_and_again_when_it_changed(tmp_path):
    first = make_source("ag_news", tmp_path / "first")
    archive, work = tmp_path / "ag.tgz", tmp_path / "work"
    archive.write_bytes(pack(first.folder, tmp_path / "a.tar.gz").read_bytes())
    folder = archives.extract(archive, work)
    # What an interrupted extraction leaves behind.
    (work / f"{folder.name}.partial").mkdir()
    marker = folder / "marker"
    marker.touch()
    assert archives.extract(archive, work) == folder and marker.exists()
    archive.write_bytes(
        pack(make_source("ag_news", tmp_path / "second", per_class=5).folder, tmp_path / "b.tar.gz").read_bytes()
    )
    assert archives.extract(archive, work) != folder
    assert len(open_source(first.task, archive, work)["train"]) == 6 * 4


def test_parts_of_a_source_may_be_archives_of_their_own(tmp_path):
    source = make_source("fsdnoisy", tmp_path / "raw")
    (tmp_path / "zenodo").mkdir()
    for part in sorted(source.folder.iterdir()):
        (tmp_path / part.name).mkdir()
        shutil.move(part, tmp_path / part.name / part.name)
        pack(tmp_path / part.name, tmp_path / "zenodo" / f"{part.name}.zip")
    splits = open_source(source.task, tmp_path / "zenodo", tmp_path / "work")
    assert {name: len(split) for name, split in splits.items()} == source.task.sizes


def test_folder_of_several_datasets_gives_the_one_that_is_named_as_the_task(tmp_path):
    for name in ("yelp_review", "ag_news", "amazon_review"):
        source = make_source(name, tmp_path)
    splits = open_source(source.task, tmp_path, tmp_path)
    assert_rows_are(list(splits["test"].rows()), source.rows["test"])


def test_two_folders_that_fit_equally_are_an_error(tmp_path):
    for name in ("one", "two"):
        source = make_source("aclImdb", tmp_path / name)
    with pytest.raises(ValueError, match=r"one.*and in.*two.*give the one that is meant"):
        open_source(source.task, tmp_path, tmp_path)


def test_unknown_source_names_the_forms_and_what_was_looked_for(tmp_path):
    with pytest.raises(ValueError, match=r"STL-10's binary files.*`datasets`.*stl_binaries looked for.*train_X\.bin"):
        open_source(TASKS["stl10"], tmp_path, tmp_path)
    with pytest.raises(ValueError, match=r"no file or folder .*nowhere.*should hold CIFAR's Python pickles"):
        open_source(TASKS["cifar10"], tmp_path / "nowhere", tmp_path)


def test_npz_is_taken_as_a_file_too(tmp_path):
    source = make_source("tissuemnist", tmp_path / "raw")
    splits = open_source(source.task, source.folder / "tissuemnist.npz", tmp_path)
    assert_rows_are(list(splits["test"].rows()), source.rows["test"])


def test_missing_library_is_named_with_what_to_install(tmp_path, monkeypatch):
    source = make_source("svhn", tmp_path)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ImportError, match=r'this source needs scipy .*pip install "scipy"'):
        open_source(source.task, source.folder, tmp_path)


# Quirks of single forms


CSV_FORMS = {
    "doubled": ('"1","say ""a"", b","c\\nd"\n', 'say "a", b c\nd'),
    "doubled after a backslash": ('"1","say \\""a\\"", b","c"\n', 'say "a", b c'),
    "escaped": ('"1","say \\"a\\", b","c\\nd"\n', 'say "a", b c\nd'),
    "not quoted": ("1,say a,b\n", "say a b"),
    "header": ('class,title,text\n"1","a","b"\n', "a b"),
    "header, other names": ('"Class Index","Title","Description"\n"1","a","b"\n', "a b"),
    "header, underscores": ("topic,question_title,text\n1,a,b\n", "a b"),
    "byte order mark": ('\ufeff"1","a","b"\n', "a b"),
    "real line break": ('"1","a\nb","c"\r\n', "a\nb c"),
    "blank lines": ('\n"1","a","b"\n\n', "a b"),
    "empty column": ('"1","","b"\n', "b"),
    "backslash at the end": ('"1","a","b\\\\"\n', "a b\\\\"),
    "very long": ('"1","' + "x" * 300_000 + '","b"\n', "x" * 300_000 + " b"),
}


@pytest.mark.parametrize("form", CSV_FORMS)
def test_csv_form(form, tmp_path):
    content, text = CSV_FORMS[form]
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text(content, encoding="utf-8", newline="")
    split = open_source(TASKS["amazon_review"], tmp_path, tmp_path)["train"]
    assert [(row["label"], row["text"]) for row in split.rows()] == [(0, text)]


def test_json_rows_across_the_ends_of_what_is_read_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_ssl.benchmark.readers.texts._READ", 7)
    rows = {str(n): {"ori": f'{n} "{{}}" é,:' * 3, "label": 0} for n in range(5)}
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    split = open_source(TASKS["ag_news"], tmp_path, tmp_path)["train"]
    assert [row["text"] for row in split.rows()] == [row["ori"] for row in rows.values()]


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "AIFF"])
@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (16_000, 2), (44_100, 2)])
def test_sound_of_any_format_becomes_16_khz_mono(kind, rate, channels, tmp_path):
    wave = tone(0.5, rate, 440)
    path = tmp_path / f"tone.{kind.lower()}"
    soundfile.write(path, np.stack([wave] * channels, axis=1), rate, format=kind)
    samples = decoded_sound(audio_file(path, "tone"))
    assert len(samples) == 8_000
    ideal = tone(0.5, 16_000, 440) * 2**15
    # Vorbis loses a little.
    assert np.abs(samples - ideal).max() < (2_000 if kind == "OGG" else 40)


def test_16_bit_sound_at_16_khz_keeps_every_sample(tmp_path):
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, 5_000).astype(np.int16)
    samples[:2] = -(2**15), 2**15 - 1
    soundfile.write(tmp_path / "noise.wav", samples, 16_000)
    np.testing.assert_array_equal(decoded_sound(audio_file(tmp_path / "noise.wav", "noise")), samples)


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (100, (70, 15, 15)),
        (99, (69, 15, 15)),
        (20, (14, 3, 3)),
        (4, (2, 1, 1)),
        (3, (1, 1, 1)),
        (2, (1, 0, 1)),
        (1, (1, 0, 0)),
    ],
)
def test_gtzan_splits_the_tracks_of_a_genre_70_15_15(count, sizes, tmp_path):
    numbers = [number for number in range(100) if count != 99 or number != 54][:count]
    for genre in TASKS["gtzan"].class_names:
        (tmp_path / genre).mkdir()
        for number in numbers:
            (tmp_path / genre / f"{genre}.{number:05d}.wav").touch()
    splits = open_source(TASKS["gtzan"], tmp_path, tmp_path)
    assert tuple(len(splits[name]) // 100 for name in ("train", "validation", "test")) == sizes
    if count >= 99:
        # The empty files cannot be read, but the error tells which is the first of the split.
        for name, first in (("validation", 70), ("test", 85)):
            with pytest.raises(ValueError, match=rf"blues\.000{first}\.wav: the file is empty"):
                next(splits[name].rows())


def test_gtzan_keeps_all_pieces_of_a_track_in_one_split(tmp_path):
    source = make_source("gtzan", tmp_path / "raw")
    splits = open_source(source.task, source.folder, tmp_path)
    tracks = {name: {row["source"].split(",")[0] for row in split.rows()} for name, split in splits.items()}
    assert sum(map(len, tracks.values())) == len(set.union(*tracks.values())) == 9
    assert tracks["validation"] == {f"{genre}/{genre}.00070.wav" for genre in source.task.class_names}


# Copies as `datasets`


def saved_images(folder: Path, order: list[str], rng: np.random.Generator) -> tuple[datasets.DatasetDict, list[bytes]]:
    files = [encode_image(random_pixels(rng, 8, 8, 3), "PNG") for _ in range(4)]
    features = datasets.Features(
        {"img": datasets.Image(), "fine_label": datasets.ClassLabel(names=order), "other": datasets.Value("int64")}
    )
    columns = {
        "img": [{"bytes": data, "path": None} for data in files],
        "fine_label": [0, 1, 2, 0],
        "other": [9, 9, 9, 9],
    }
    data = datasets.Dataset.from_dict(columns, features=features)
    return datasets.DatasetDict(train=data, test=data.select([1])), files


@pytest.mark.parametrize("kind", ["save_to_disk", "parquet"])
def test_datasets_folder_gives_the_files_bytes_and_classes_by_name(kind, tmp_path):
    task = replace(TASKS["cifar10"], class_names=("cat", "dog", "ship"))
    data, files = saved_images(tmp_path, ["Ship", "cat", "dog"], np.random.default_rng(0))
    if kind == "save_to_disk":
        data.save_to_disk(tmp_path / "raw")
    else:
        (tmp_path / "raw" / "data").mkdir(parents=True)
        for split, part in data.items():
            part.to_parquet(tmp_path / "raw" / "data" / f"{split}-00000-of-00001.parquet")
    splits = open_source(task, tmp_path / "raw", tmp_path / "work")
    assert splits["train"].labels.tolist() == [2, 0, 1, 2]
    assert [row["image"]["bytes"] for row in splits["train"].rows()] == files
    assert [row["label"] for row in splits["test"].rows()] == [0]


def test_datasets_folder_of_text_joins_title_and_description(tmp_path):
    rows = {"title": ["a", "b"], "description": ["c", "d"], "label": [3, 0]}
    datasets.DatasetDict(train=datasets.Dataset.from_dict(rows)).save_to_disk(tmp_path / "raw")
    split = open_source(TASKS["ag_news"], tmp_path / "raw", tmp_path)["train"]
    assert [(row["text"], row["label"]) for row in split.rows()] == [("a c", 3), ("b d", 0)]


def test_datasets_folder_of_sound_is_resampled(tmp_path):
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(0.5, 8_000, 300), 8_000, format="WAV")
    data = datasets.Dataset.from_dict({"audio": [{"bytes": buffer.getvalue(), "path": "a.wav"}], "label": [4]})
    datasets.DatasetDict(train=data.cast_column("audio", datasets.Audio())).save_to_disk(tmp_path / "raw")
    (row,) = open_source(TASKS["superbks"], tmp_path / "raw", tmp_path)["train"].rows()
    assert (row["label"], row["audio"]["path"]) == (4, "a.flac")
    assert np.abs(decoded_sound(row) - tone(0.5, 16_000, 300) * 2**15).max() < 40


def test_hub_id_goes_through_load_dataset(tmp_path, monkeypatch):
    data, files = saved_images(tmp_path, ["cat", "dog", "ship"], np.random.default_rng(0))
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda name: asked.append(name) or data)
    task = replace(TASKS["cifar10"], class_names=("cat", "dog", "ship"))
    splits = open_source(task, "someone/cifar10", tmp_path)
    assert asked == ["someone/cifar10"]
    assert [row["image"]["bytes"] for row in splits["train"].rows()] == files


SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize(
    ("folder", "name"), [("cifar10", "cifar10"), ("ag_news", "ag_news"), ("speech_commands", "superbks")]
)
def test_real_data_is_read(folder, name, tmp_path):
    if not (SHARED / folder).is_dir():
        pytest.skip("the real data is not beside the project")
    raw = datasets.load_dataset(
        "parquet", data_files=str(SHARED / folder / "test.parquet"), split="train", cache_dir=str(tmp_path)
    )
    column = TASKS[name].modality
    split = open_source(TASKS[name], SHARED / folder, tmp_path)["test"]
    assert split.labels.tolist() == raw["label"][:]
    chosen = [0, 5, len(raw) - 1]
    for index, row in zip(chosen, split.rows(chosen), strict=True):
        if column == "text":
            assert row["text"] == raw[index]["text"]
        elif column == "image":
            assert (
                row["image"]["bytes"]
                == raw.cast_column("image", datasets.Image(decode=False))[index]["image"]["bytes"]
            )
        else:
            cell = raw.cast_column("audio", datasets.Audio(decode=False))[index]["audio"]
            np.testing.assert_array_equal(
                decoded_sound(row), soundfile.read(io.BytesIO(cell["bytes"]), dtype="int16")[0]
            )


def test_large_csv_is_never_held(tmp_path):
    """Only labels are kept: the memory that Python allocates stays far below the file's size."""
    import tracemalloc

    for split, count in (("train", 10_000), ("test", 1)):
        with open(tmp_path / f"{split}.csv", "w", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows([i % 4 + 1, "title", "word " * 60] for i in range(count))
    tracemalloc.start()
    split = open_source(TASKS["ag_news"], tmp_path, tmp_path)["train"]
    assert sum(1 for _ in split.rows()) == 10_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2e6 < (tmp_path / "train.csv").stat().st_size
