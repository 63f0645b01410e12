"""A labeled or test file that cannot be read is named before training; a pool is left to its own rule."""

import io

import datasets
import numpy as np
import pytest
import soundfile
from PIL import Image

from hf_ssl.data.columns import inspect_data
from hf_ssl.data.headers import unreadable
from hf_ssl.data.prepare import prepare, prepare_pool
from hf_ssl.data.sources import load_source
from hf_ssl.errors import BrokenExampleError

from tests.helpers.command_data import write_image, write_sound


def empty_wav(path):
    soundfile.write(path, np.zeros(0, dtype=np.float32), 16_000)


def cut_header(path):
    path.write_bytes(path.read_bytes()[:10])


# case: (modality, what is done to a file, what the error says)
BROKEN = {
    "an empty image": ("image", lambda path: path.write_bytes(b""), "it is empty"),
    "words for an image": ("image", lambda path: path.write_text("x"), "it is not an image of a known format"),
    "half a header": ("image", cut_header, "it is not an image of a known format"),
    "an empty recording": ("audio", lambda path: path.write_bytes(b""), "it is empty"),
    "a recording of no samples": ("audio", empty_wav, "it holds no samples"),
    "words for a recording": ("audio", lambda path: path.write_text("x"), "it cannot be read as sound"),
    "half a recording's header": ("audio", cut_header, "it cannot be read as sound"),
}


@pytest.fixture
def folder(tmp_path):
    def make(modality):
        write, suffix = (write_image, "png") if modality == "image" else (write_sound, "wav")
        names = ["red", "blue"] if modality == "image" else ["high", "low"]
        for name in names:
            for number in range(2):
                write(tmp_path / name / f"{number}.{suffix}", name, seed=number)
        return load_source(str(tmp_path), "labeled").dataset, tmp_path / names[0] / f"1.{suffix}"

    return make


@pytest.mark.parametrize(("modality", "spoil", "problem"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_of_labels_or_test_is_named_before_training(folder, modality, spoil, problem):
    dataset, path = folder(modality)
    data = inspect_data(dataset)
    prepare(dataset, data, "evaluation")
    spoil(path)
    row = 3 if modality == "image" else 1
    for what in ("labeled", "evaluation"):
        with pytest.raises(BrokenExampleError) as caught:
            prepare(dataset, data, what)
        start = f"a file of the {what} dataset cannot be used, row {row} ({path}): {problem}"
        assert str(caught.value).startswith(start) and str(caught.value).endswith("or leave the row out")
    # Of the pool another example takes its place.
    assert len(prepare_pool(dataset.remove_columns("label"), data, files=False)) == 4


def stored(content):
    return {"bytes": content, "path": "clip.wav"}


def sound(samples):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(samples), 16_000, format="WAV")
    return stored(buffer.getvalue())


# case: (cells, modality, the problem)
STORED = {
    "an empty one": ([sound(9), stored(b"")], "audio", "row 1 (clip.wav): it is empty"),
    "no samples": ([sound(9), sound(0)], "audio", "row 1 (clip.wav): it holds no samples"),
    "all are good": ([sound(9), sound(90_000)], "audio", None),
    "an array of nothing": (
        [{"array": [0.5], "sampling_rate": 9}, {"array": [], "sampling_rate": 9}],
        "audio",
        "row 1: it is empty",
    ),
    "a path and bytes": ([stored(None), sound(9)], "audio", None),
    "an address": (["https://example.org/x.png"], "image", None),
    "a file that is not there": (["/nowhere/x.png"], "image", None),
    "numbers": ([[[0, 1], [2, 3]]], "image", None),
}


@pytest.mark.parametrize(("cells", "modality", "problem"), STORED.values(), ids=STORED)
def test_files_in_their_rows_are_looked_at_as_far_as_that_costs_little(cells, modality, problem):
    assert unreadable(datasets.Dataset.from_dict({"x": cells}), "x", modality) == problem


def test_the_look_ends_in_time(folder):
    dataset, path = folder("image")
    path.write_bytes(b"")
    assert unreadable(dataset, "image", "image", seconds=-1.0) is None


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 1)])
@pytest.mark.parametrize(("mode", "suffix"), [("P", "gif"), ("CMYK", "jpg"), ("1", "png"), ("L", "tif")])
def test_odd_images_are_not_broken(tmp_path, size, mode, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.new(mode, size).save(path)
    assert unreadable(datasets.Dataset.from_dict({"image": [str(path)]}), "image", "image") is None
