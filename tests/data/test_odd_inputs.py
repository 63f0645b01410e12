"""Images, recordings and texts of every kind, size and rate, and what is said of those that cannot be read."""

import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from hf_ssl.errors import BrokenExampleError
from hf_ssl.views.audio import AudioViews, decode, usual_seconds
from hf_ssl.views.image import ImageViews, decode_image
from hf_ssl.views.text import TextViews

from tests.helpers.tiny_tasks import TASKS


def image_bytes(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return {"bytes": buffer.getvalue(), "path": None}


def ramp(mode):
    """2 x 1 pixels, black and white, in a mode."""
    values = {"1": (0, 1), "I;16": (0, 65535), "F": (0.0, 1.0), "I": (0, 65535)}.get(mode, (0, 255))
    types = {"1": bool, "I;16": np.uint16, "F": np.float32, "I": np.int32}
    return Image.fromarray(np.array([values], dtype=types.get(mode, np.uint8)))


def palette():
    return Image.fromarray(np.array([[0, 255]], np.uint8)).convert("RGB").quantize(2)


EXIF = Image.Exif()
EXIF[0x0112] = 3


KINDS = "gray bits 16-bit float-tiff 32-bit rgba gray-alpha cmyk palette transparent exif channel floats uint16 bool"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (image_bytes(ramp("L"), format="PNG"), [0, 255]),
        (image_bytes(ramp("1"), format="PNG"), [0, 255]),
        (image_bytes(ramp("I;16"), format="PNG"), [0, 255]),
        (image_bytes(ramp("F"), format="TIFF"), [0, 255]),
        (image_bytes(ramp("I"), format="TIFF"), [0, 255]),
        (image_bytes(ramp("L").convert("RGBA"), format="PNG"), [0, 255]),
        (image_bytes(ramp("L").convert("LA"), format="PNG"), [0, 255]),
        (image_bytes(ramp("L").convert("CMYK"), format="TIFF"), [0, 255]),
        (image_bytes(palette(), format="PNG"), [0, 255]),
        (image_bytes(palette(), format="PNG", transparency=palette().getpixel((0, 0))), [255, 255]),
        (image_bytes(ramp("L"), format="PNG", exif=EXIF), [255, 0]),
        (np.array([[[0], [255]]], np.uint8), [0, 255]),
        (np.array([[0.0, 1.0]]), [0, 255]),
        (np.array([[0, 65535]], np.uint16), [0, 255]),
        (np.array([[False, True]]), [0, 255]),
    ],
    ids=KINDS.split(),
)
def test_images_of_all_kinds_become_rgb(value, expected):
    pixels = np.asarray(decode_image(value))
    assert pixels.shape == (1, 2, 3)
    assert pixels.reshape(2, 3).tolist() == [[value] * 3 for value in expected]


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (3000, 2)])
def test_views_of_odd_sizes(image_processor, size):
    views = ImageViews(image_processor)
    row = {"image": Image.new("RGB", size, (200, 100, 50))}
    weak = views("weak", row, np.random.default_rng(0))
    assert weak.shape == (3, 12, 12)
    assert weak.flatten(1).float().mean(1).tolist() == [200, 100, 50]
    for kind in ("strong", "rotated"):
        for seed in range(8):
            views(kind, row, np.random.default_rng(seed))
    assert views.collate([views.evaluation(row)])["pixel_values"].shape == (1, 3, 12, 12)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"bytes": b"", "path": "a.jpg"}, r"cannot read a\.jpg: it is not an image of a known format"),
        (
            {"bytes": image_bytes(Image.effect_noise((12, 12), 99), format="PNG")["bytes"][:60], "path": "a.png"},
            r"cannot read a\.png: ",
        ),
        ("nowhere.png", r"cannot read nowhere\.png: there is no such file"),
        (None, "cannot read an image: "),
        (np.zeros((2, 2, 7), np.uint8), "cannot read an image: "),
    ],
    ids=["empty", "cut-off", "missing", "none", "seven-channels"],
)
def test_images_that_cannot_be_read(value, message):
    with pytest.raises(BrokenExampleError, match=f"^{message}") as error:
        decode_image(value)
    assert "\n" not in str(error.value)


def sound(wave, rate, **options):
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, **{"format": "WAV", **options})
    return {"bytes": buffer.getvalue(), "path": "clip.wav"}


def tone(rate, seconds=0.5):
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 22_050, 44_100, 48_000])
@pytest.mark.parametrize(
    "options", [{}, {"subtype": "PCM_U8"}, {"subtype": "PCM_24"}, {"format": "FLAC"}, {"format": "OGG"}], ids=str
)
def test_recordings_of_any_rate_and_format(rate, options):
    wave = decode(sound(tone(rate), rate, **options), 16_000)
    assert wave.dtype == np.float32
    assert len(wave) == pytest.approx(8_000, abs=2)
    frequencies = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    assert frequencies.argmax() * 16_000 / len(wave) == pytest.approx(440, abs=3)
    assert np.abs(wave).max() == pytest.approx(0.5, abs=0.06)


def test_channels_are_averaged():
    stereo = np.stack([tone(16_000), -0.5 * tone(16_000)], axis=1)
    np.testing.assert_allclose(decode(sound(stereo, 16_000), 16_000), 0.25 * tone(16_000), atol=1e-4)


def test_an_empty_recording_is_named():
    with pytest.raises(BrokenExampleError, match=r"clip\.wav: it holds no samples"):
        decode(sound(np.zeros(0), 16_000), 16_000)


@pytest.mark.parametrize("samples", [1, 2, 17])
def test_views_of_a_click(samples):
    views = AudioViews(TASKS["audio"][1]())
    row = {"audio": sound(np.full(samples, 0.5), 16_000)}
    items = [views(kind, row, np.random.default_rng(seed)) for kind in ("weak", "strong") for seed in range(12)]
    assert all(np.isfinite(item).all() for item in items)
    assert views.collate(items)["input_values"].shape == (24, 16_000)


@pytest.mark.parametrize(("lengths", "expected"), [((0.5, 1.5, 1.0), 1.5), ((0.5, 30.0), 10.0)])
def test_the_usual_length_is_the_longest_up_to_ten_seconds(lengths, expected):
    rows = [{"audio": sound(tone(8_000, seconds), 8_000)} for seconds in lengths]
    assert usual_seconds(rows, "audio") == expected


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n", "very " * 5_000, "sky\u200b\U0001f600", "[MASK]", "\u0000"],
    ids=["empty", "space", "line", "long", "emoji", "mask", "nul"],
)
def test_texts_of_all_kinds_have_views(text):
    """With a tokenizer that frames a text, as those of encoders do, there is always a token."""
    from tests.helpers.word_tokenizer import make_tokenizer

    views = TextViews(make_tokenizer(), max_length=16)
    items = [views.evaluation({"text": text})]
    items += [
        views(kind, {"text": text}, np.random.default_rng(seed)) for kind in ("weak", "strong") for seed in range(5)
    ]
    assert all(2 <= len(item["input_ids"]) <= 16 for item in items)
    assert views.collate(items)["input_ids"].shape[0] == 11
