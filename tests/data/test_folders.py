"""Folders as people have them: names of every kind, files of programs and cameras, links and suffixes in capitals."""

import os
import shutil

import pytest

from hf_ssl.data.sources import load_source
from hf_ssl.modality import MODALITIES

from tests.helpers.command_data import write_image, write_sound


@pytest.fixture
def folder(tmp_path):
    for name in ("red", "blue"):
        for number in range(2):
            write_image(tmp_path / name / f"{number}.png", name, seed=number)
    return tmp_path


def files_of(source):
    (column,) = {"image", "audio"} & set(source.dataset.column_names)
    return [os.path.basename(cell["path"]) for cell in source.dataset[column][:]]


# What is put into a folder beside its pictures by programs, and is not for people.
HIDDEN = [".DS_Store", "._0.png", "__MACOSX/._0.png", "@eaDir/0.png", "$RECYCLE.BIN/0.png", ".thumbs/0.png"]


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("role", ["labeled", "unlabeled"])
def test_what_programs_leave_is_not_data(folder, name, role):
    write_image(folder / "x.png", "red").rename(folder / "y")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / "y").rename(folder / name)
    source = load_source(str(folder), role)
    assert files_of(source) == ["0.png", "1.png"] * 2 and source.notes == []


NAMES = ["a b.png", "q'uote\".png", "new\nline.png", "x" * 240 + ".png", "CAPITALS.PNG", "dots.in.name.png", "ü.png"]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_files_of_any_name_are_read(folder, name):
    write_image(folder / "x.png", "red").rename(folder / "red" / name)
    source = load_source(str(folder), "labeled")
    assert name in files_of(source) and len(source.dataset) == 5


@pytest.mark.parametrize("suffix", sorted({".avif", ".jfif", ".jpe", ".jp2", ".qoi", ".pbm"}))
def test_a_folder_takes_the_formats_that_a_single_file_may_have(folder, suffix):
    assert suffix in MODALITIES["image"].suffixes
    write_image(folder / "red" / f"x{suffix.upper()}", "red")
    assert f"x{suffix.upper()}" in files_of(load_source(str(folder), "unlabeled"))


# case: (name of a file, what is said of it)
KINDS = {
    "an iPhone's image": ("a.HEIC", "1 .heic file is not read", "convert it to JPEG"),
    "a camera's raw image": ("a.cr2", "1 .cr2 file is not read", "export it as JPEG"),
    "a video": ("a.mp4", "1 .mp4 file is not read", "ffmpeg"),
    "a recording": ("a.m4a", "1 .m4a file is not read", "ffmpeg -i x.m4a x.wav"),
    "an archive": ("a.zip", "1 .zip file is not read", "unpack it"),
}


@pytest.mark.parametrize(("name", "what", "way"), KINDS.values(), ids=KINDS)
def test_files_that_need_another_program_are_named_with_what_to_do(folder, name, what, way):
    (folder / "red" / name).write_bytes(b"x")
    source = load_source(str(folder), "labeled")
    assert source.notes[0] == f"{folder}: 1 file, no images, ignored"
    assert what in source.notes[1] and way in source.notes[1] and len(source.notes) == 2
    shutil.rmtree(folder / "blue")
    for path in (folder / "red").glob("*.png"):
        path.unlink()
    for source, start in ((folder, "holds no images, recordings or tables"), (folder / "red" / name, "is a")):
        with pytest.raises(ValueError, match=start) as caught:
            load_source(str(source), "unlabeled")
        assert way in str(caught.value)


def test_one_picture_is_not_a_folder_of_pictures(folder):
    with pytest.raises(ValueError, match="it is one file, give the folder that holds it"):
        load_source(str(folder / "red" / "0.png"), "labeled")


def test_names_that_are_not_text_are_left_out_of_a_pool_and_named_in_labels(folder):
    odd = os.fsencode(folder / "red") + b"/caf\xe9.png"
    shutil.copy(os.fsencode(folder / "red" / "0.png"), odd)
    source = load_source(str(folder), "unlabeled")
    assert len(source.dataset) == 4
    (note,) = source.notes
    assert (
        note.startswith("1 file left out, the name is not UTF-8 text") and note.isprintable() and "caf\\udce9" in note
    )
    with pytest.raises(ValueError, match="is not UTF-8 text; rename it") as caught:
        load_source(str(folder), "labeled")
    assert "caf\\udce9.png" in str(caught.value) and str(caught.value).isprintable()


def test_links_are_followed_once_and_those_that_lead_nowhere_are_files_that_are_not_there(folder):
    (folder / "red" / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "red" / "again.png").symlink_to(folder / "red" / "0.png")
    (folder / "red" / "gone.png").symlink_to("nowhere.png")
    assert sorted(files_of(load_source(str(folder), "labeled")))[-2:] == ["again.png", "gone.png"]


def test_classes_may_be_nested_and_recordings_of_any_suffix_lie_beside_each_other(tmp_path):
    for name in ("high", "low"):
        write_sound(tmp_path / name / "by" / "day" / "1.WAV", name)
        write_sound(tmp_path / name / "2.caf", name)
    source = load_source(str(tmp_path), "labeled")
    assert source.dataset["label"][:] == [0, 0, 1, 1] and sorted(files_of(source)) == [
        "1.WAV",
        "1.WAV",
        "2.caf",
        "2.caf",
    ]
