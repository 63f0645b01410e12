"""Thumbnails, texts and clips on a page."""

import base64
import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from hf_ssl.errors import BrokenExampleError
from hf_ssl.report.inspection.media import file_name, medium


def content(src, kind):
    start = f"data:{kind};base64,"
    assert src.startswith(start)
    return io.BytesIO(base64.b64decode(src.removeprefix(start)))


@pytest.mark.parametrize("size", [(500, 250), (8, 8), (40, 200)])
def test_a_picture_is_a_small_jpeg_of_the_same_shape_and_color(size):
    found = medium(Image.new("RGB", size, (200, 40, 40)), "image")
    image = Image.open(content(found["src"], "image/jpeg"))
    assert max(image.size) <= 64 and image.size[0] / image.size[1] == pytest.approx(size[0] / size[1], rel=0.05)
    np.testing.assert_allclose(image.getpixel((0, 0)), (200, 40, 40), atol=6)


def test_of_a_recording_the_loudest_second_is_heard(tmp_path):
    wave = 0.001 * np.ones(48_000, dtype=np.float32)
    wave[20_000:32_000] = 0.2 * np.sin(np.arange(12_000) * 0.3)
    soundfile.write(tmp_path / "a.wav", wave, 16_000)
    found = medium({"path": str(tmp_path / "a.wav"), "bytes": None}, "audio")
    samples, rate = soundfile.read(content(found["src"], "audio/wav"))
    assert (rate, len(samples), found["seconds"]) == (8_000, 8_000, 1.0)
    assert np.square(samples).mean() > 0.2 and np.abs(samples).max() == pytest.approx(0.9, abs=0.05)
    assert len(found["src"]) < 11_000


def test_silence_and_short_recordings_stay_as_they_are():
    found = medium({"array": np.zeros(400, dtype=np.float32), "sampling_rate": 8_000}, "audio")
    assert not soundfile.read(content(found["src"], "audio/wav"))[0].any() and found["seconds"] == 0.05


# Of a text column -> on the page.
TEXTS = [
    ("two\n lines", "two lines"),
    ("word " * 100, ("word " * 100)[:299] + "…"),
    ("", ""),
    (None, ""),
    (["a premise", "a hypothesis"], "a premise | a hypothesis"),
    ("<script>alert(1)</script>", "<script>alert(1)</script>"),
]


@pytest.mark.parametrize(("value", "shown"), TEXTS)
def test_texts_are_cut_and_in_one_line(value, shown):
    assert medium(value, "text") == {"kind": "text", "text": shown}


@pytest.mark.parametrize(("kind", "value"), [("image", b"not a picture"), ("audio", {"path": "/no/such.wav"})])
def test_what_cannot_be_read_is_an_error_of_the_example(kind, value):
    with pytest.raises((BrokenExampleError, OSError)):
        medium(value, kind)


# What a row holds -> the name of its file: never its folders.
NAMES = [
    ({"path": "/home/me/private/cat.jpg", "bytes": None}, "cat.jpg"),
    ({"path": "C:\\Users\\me\\cat.jpg"}, "cat.jpg"),
    ({"path": None, "bytes": b""}, None),
    ("a text with/a slash", None),
    (np.zeros(3), None),
]


@pytest.mark.parametrize(("value", "name"), NAMES)
def test_of_a_path_the_name_of_the_file_is_shown_alone(value, name):
    assert file_name(value) == name
