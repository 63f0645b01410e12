"""Images and recordings as columns store them: which numbers are black, white, silent and loud, and in which mode."""

import io

import datasets
import numpy as np
import pytest
import soundfile
from datasets import Array2D, Array3D, Audio, List, Value
from PIL import Image

from hf_ssl.cli.inputs import cells, collect
from hf_ssl.data.columns import inspect_data
from hf_ssl.data.prepare import prepare
from hf_ssl.errors import BrokenExampleError
from hf_ssl.views.audio import decode
from hf_ssl.views.image_decoding import decode_image

from tests.helpers.tiny_images import make_vit


def column(values, feature, name="image"):
    features = datasets.Features({name: feature, "label": Value("int64")})
    return datasets.Dataset.from_dict({name: values, "label": [i % 2 for i in range(len(values))]}, features=features)


def read(dataset, decoder=decode_image, name="image", **options):
    """What training reads, and what `hf-ssl predict` reads of the same column."""
    data = inspect_data(dataset, **options)
    rows = prepare(dataset, data, "labeled")
    trained = [np.asarray(decoder(rows[i][name])) for i in range(len(rows))]
    predicted = [np.asarray(decoder(cell)) for cell in cells(dataset, [name], data.modality)]
    assert all(map(np.array_equal, trained, predicted))
    return trained


def gray(pixels):
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3 and (pixels == pixels[..., :1]).all()
    return pixels[..., 0].tolist()


FLAT = Array2D((1, 3), "float32")
NESTED = List(List(Value("float64")))
COLUMNS = {
    "0 to 1": (FLAT, [[[0, 0.2, 1]]], [[[0, 51, 255]]]),
    "-1 to 1": (FLAT, [[[-1, -0.6, 1]]], [[[0, 51, 255]]]),
    "0 to 255": (FLAT, [[[0, 51, 255]]], [[[0, 51, 255]]]),
    "16 bits in floats": (FLAT, [[[0, 13107, 65535]]], [[[0, 51, 255]]]),
    "a dark picture of 0 to 255": (FLAT, [[[0, 1, 0]], [[0, 200, 0]]], [[[0, 1, 0]], [[0, 200, 0]]]),
    "a bright picture of -1 to 1": (FLAT, [[[0, 0.2, 1]], [[-1, 0, 0]]], [[[128, 153, 255]], [[0, 128, 128]]]),
    "lists": (NESTED, [[[0, 0.2, 1]]], [[[0, 51, 255]]]),
    "lists of several sizes": (NESTED, [[[0, 0.2]], [[1], [0]]], [[[0, 51]], [[255], [0]]]),
    "lists of integers": (List(List(Value("int64"))), [[[0, 51, 255]]], [[[0, 51, 255]]]),
    "lists of 16-bit integers": (
        List(List(Value("int32"))),
        [[[0, 13107, 65535]], [[9, 0, 0]]],
        [[[0, 51, 255]], [[0] * 3]],
    ),
    "bytes": (Array2D((1, 3), "uint8"), [[[0, 51, 255]]], [[[0, 51, 255]]]),
    "dark bytes": (Array2D((1, 3), "uint8"), [[[0, 1, 1]]], [[[0, 1, 1]]]),
    "uint16": (Array2D((1, 3), "uint16"), [[[0, 13107, 65535]]], [[[0, 51, 255]]]),
    "bool": (Array2D((1, 2), "bool"), [[[False, True]]], [[[0, 255]]]),
    "one channel, last": (Array3D((1, 3, 1), "float32"), [[[[0], [0.2], [1]]]], [[[0, 51, 255]]]),
}


@pytest.mark.parametrize(
    ("feature", "values", "expected"),
    [row for row in COLUMNS.values() if row[1]],
    ids=[name for name, row in COLUMNS.items() if row[1]],
)
def test_arrays_have_one_range_in_the_whole_dataset(feature, values, expected):
    # A second row, since there must be two classes.
    dataset = column([*values, values[0]], feature)
    assert [gray(pixels) for pixels in read(dataset)] == [*expected, expected[0]]


COLORS = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)


@pytest.mark.parametrize(
    ("feature", "value"),
    [
        (Array3D((5, 7, 3), "uint8"), COLORS),
        (Array3D((3, 5, 7), "uint8"), COLORS.transpose(2, 0, 1)),
        (Array3D((None, 7, 3), "uint8"), COLORS),
        (List(List(List(Value("uint8")))), COLORS.tolist()),
        (List(List(List(Value("int64")))), COLORS.transpose(2, 0, 1).tolist()),
    ],
    ids=["last", "first", "any height", "lists", "lists, first"],
)
def test_channels_may_be_first_or_last(feature, value):
    assert np.array_equal(read(column([value, value], feature))[0], COLORS)


def test_an_array_column_of_any_name_is_taken_if_it_is_named():
    dataset = column([COLORS, COLORS], Array3D((5, 7, 3), "uint8"), "scan")
    assert np.array_equal(read(dataset, name="scan", input_column="scan")[0], COLORS)
    with pytest.raises(ValueError, match=r"no image, audio or single text column found"):
        inspect_data(dataset)


@pytest.mark.parametrize(
    ("feature", "values", "message"),
    [
        (
            Array3D((5, 7, 6), "uint8"),
            np.zeros((5, 7, 6), np.uint8),
            r"with 1, 3 or 4 channels, got shape \(5, 7, 6\)",
        ),
        (FLAT, [[0, 0, 99999.0]], r"of 0\.\.1, -1\.\.1, 0\.\.255, 0\.\.65535, got 0 to 99999; scale"),
        (FLAT, [[-5, 0, 1]], r"got -5 to 1; scale"),
        (List(List(Value("int64"))), [[-1, 0, 1]], r"of 0\.\.255, 0\.\.65535, got -1 to 1"),
    ],
    ids=["six channels", "large", "negative", "negative integers"],
)
def test_arrays_that_are_no_pictures_are_refused_by_column(feature, values, message):
    dataset = column([values, values], feature)
    with pytest.raises(ValueError, match=f"column 'image' must be .*{message}"):
        prepare(dataset, inspect_data(dataset), "labeled")


def test_an_input_column_of_another_type_is_told_as_what_it_is():
    dataset = datasets.Dataset.from_dict({"x": [1.5, 2.5], "label": [0, 1]})
    with pytest.raises(ValueError, match=r"must hold images, recordings or texts, got 'x' of type Value\('float64'\)"):
        inspect_data(dataset, "x")


def test_other_datasets_share_the_range_of_the_labeled_one():
    data = inspect_data(column([[[0, 1.5, 255]], [[0, 0, 0]]], FLAT))
    dark = prepare(column([[[0, 1, 1]]], FLAT), data, "evaluation")
    assert gray(np.asarray(decode_image(dark[0]["image"]))) == [[0, 1, 1]]
    with pytest.raises(ValueError, match=r"must have pixels in 0\.\.255 as in the labeled dataset, got 0\.\.1; scale"):
        prepare(column([[[0, 0.5, 1]]], FLAT), data, "unlabeled")
    # A pixel that the rows looked at did not announce is an error of its row.
    rows = prepare(column([[[0, 0.5, 1]]] * 2, FLAT), inspect_data(column([[[0, 0.5, 1]]] * 2, FLAT)), "labeled")
    with pytest.raises(BrokenExampleError, match=r"^cannot read row 1: pixels must be in 0\.\.1 .*, got 0\.\.2$"):
        decode_image({**rows[1]["image"], "array": np.array([[0, 2.0]])})


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_make_a_broken_row(number):
    dataset = column([[[0, 0.5, 1]], [[0, number, 1]]], FLAT)
    rows = prepare(dataset, inspect_data(dataset), "labeled")
    assert gray(np.asarray(decode_image(rows[0]["image"]))) == [[0, 128, 255]]
    with pytest.raises(BrokenExampleError, match=r"^cannot read row 1: 1 of 3 numbers are NaN or infinite$"):
        decode_image(rows[1]["image"])


def test_a_broken_pixel_ends_neither_training_nor_prediction(make_trainer, tmp_path):
    pixels = np.random.default_rng(0).random((24, 12, 12, 3)).astype(np.float32)
    labeled = column(list(pixels[:6]), Array3D((12, 12, 3), "float32"))
    pixels[5, 0, 0, 0] = np.nan
    pool = column(list(pixels), Array3D((12, 12, 3), "float32"))
    trainer = make_trainer(
        make_vit(), trainer={"train_dataset": labeled, "unlabeled_dataset": pool, "eval_dataset": labeled}, max_steps=6
    )
    trainer.train()
    assert trainer.broken_files.names == {5: "row 5 of the unlabeled dataset"}
    trainer.save_model(str(tmp_path / "model"))

    from hf_ssl.cli.classifier import Classifier

    classifier = Classifier(str(tmp_path / "model"), device="cpu")
    answers = list(classifier(cells(pool, ["image"], "image")))
    assert {i: answer.error for i, answer in enumerate(answers) if answer.error} == {
        5: "cannot read row 5: 1 of 432 numbers are NaN or infinite"
    }
    logits = trainer.predict(labeled).predictions
    assert [next(iter(a.probabilities)) for a in answers[:5]] == [classifier.names[i] for i in logits.argmax(-1)[:5]]


# ---- Files ----


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


COLOR = Image.fromarray(np.array([[[200, 100, 50, 255], [10, 20, 30, 0]]], np.uint8), "RGBA")


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1", "P", "CMYK", "F"])
def test_the_mode_of_an_image_column_is_honored(mode):
    dataset = column([{"bytes": encoded(COLOR), "path": None}] * 2, datasets.Image(mode=mode))
    given = dataset[0]["image"]
    assert given.mode == mode
    if mode == "RGBA":
        given = Image.alpha_composite(Image.new("RGBA", given.size, "white"), given)
    expected = given.convert("L").convert("RGB") if mode == "F" else given.convert("RGB")
    assert np.array_equal(read(dataset)[0], np.asarray(expected))


def test_a_gray_mode_scales_16_bits():
    deep = Image.fromarray(np.array([[0, 13107, 65535]], np.uint16))
    dataset = column([{"bytes": encoded(deep), "path": None}] * 2, datasets.Image(mode="L"))
    assert gray(read(dataset)[0]) == [[0, 51, 255]]


@pytest.mark.parametrize(
    "feature",
    [Value("binary"), {"bytes": Value("binary")}, {"bytes": Value("binary"), "path": Value("string")}],
    ids=["bytes", "dict", "dict with path"],
)
def test_encoded_files_may_be_stored_in_any_way(feature):
    cell = encoded(Image.fromarray(COLORS))
    cell = cell if isinstance(feature, Value) else {name: cell if name == "bytes" else None for name in feature}
    assert np.array_equal(read(column([cell, cell], feature))[0], COLORS)
    wave = io.BytesIO()
    soundfile.write(wave, np.array([0.0, 0.5, -0.5]), 16_000, format="WAV")
    cell = wave.getvalue() if isinstance(feature, Value) else {**cell, "bytes": wave.getvalue()}
    np.testing.assert_allclose(decode(cell, 16_000), [0, 0.5, -0.5], atol=1e-4)


def test_files_of_32_bits_share_a_range(tmp_path):
    for name, value in (("dark", 1.0), ("bright", 200.0)):
        Image.fromarray(np.array([[0.0, value]], np.float32)).save(tmp_path / f"{name}.tif")
    paths = [str(tmp_path / "dark.tif"), str(tmp_path / "bright.tif")]
    dataset = column(paths, Value("string"))
    assert [gray(pixels) for pixels in read(dataset)] == [[[0, 1]], [[0, 200]]]
    items, _ = collect(paths, "image", None)
    assert [gray(np.asarray(decode_image(item.value))) for item in items] == [[[0, 1]], [[0, 200]]]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(np.array([[0, 13107, 65535]], np.uint16)), [0, 51, 255]),
        (Image.fromarray(np.array([[0, 51, 255]], np.uint8)).convert("LA"), [0, 51, 255]),
        (Image.fromarray(np.array([[0, 51, 255]], np.uint8)).convert("CMYK"), [0, 51, 255]),
    ],
    ids=["16 bits", "gray with alpha", "CMYK"],
)
def test_tiff_files_of_many_modes(image, expected):
    assert gray(np.asarray(decode_image(encoded(image, "TIFF")))) == [expected]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_is_shown(kind):
    frames = [Image.new("RGB", (4, 4), color) for color in ("white", "black")]
    options = {"lossless": True} if kind == "WEBP" else {}
    assert (
        gray(np.asarray(decode_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))))[0]
        == [255] * 4
    )


# ---- Recordings ----


SOUNDS = {
    "int16": (List(Value("int16")), [[0, 16384, -32768]], [[0, 0.5, -1]]),
    "int8": (List(Value("int8")), [[0, 64, -128]], [[0, 0.5, -1]]),
    "uint8": (List(Value("uint8")), [[128, 192, 0]], [[0, 0.5, -1]]),
    "integers of 16 bits": (List(Value("int64")), [[0, 16384, -32768], [0, 64, 0]], [[0, 0.5, -1], [0, 2**-9, 0]]),
    "integers of 24 bits": (List(Value("int32")), [[0, 2**22, -(2**23)], [2**14] * 3], [[0, 0.5, -1], [2**-9] * 3]),
    "integers of 32 bits": (List(Value("int32")), [[0, 2**30, -(2**31)]], [[0, 0.5, -1]]),
    "floats": (List(Value("float64")), [[0, 0.5, -1]], [[0, 0.5, -1]]),
    "stereo": (List(List(Value("float32"))), [[[0, 0.5, -1], [0, 0, 0]]], [[0, 0.25, -0.5]]),
    "stereo, time first": (Array2D((3, 2), "float32"), [[[0, 0], [0.5, 0], [-1, 0]]], [[0, 0.25, -0.5]]),
    "dict": (
        {"array": List(Value("float32")), "sampling_rate": Value("int64")},
        [{"array": [0, 0.5, -1], "sampling_rate": 16_000}],
        [[0, 0.5, -1]],
    ),
    "dict of integers": (
        {"array": List(Value("int64")), "sampling_rate": Value("int64"), "path": Value("string")},
        [{"array": [0, 16384, -32768], "sampling_rate": 16_000, "path": None}],
        [[0, 0.5, -1]],
    ),
}


@pytest.mark.parametrize(("feature", "values", "expected"), SOUNDS.values(), ids=SOUNDS)
def test_samples_of_all_types_are_in_one_scale(feature, values, expected):
    dataset = column([*values, values[0]], feature, "audio")
    waves = read(dataset, lambda cell: decode(cell, 16_000), "audio")
    assert [wave.tolist() for wave in waves] == [*expected, expected[0]]


class Decoder:
    """As torchcodec's: channels first whatever the length."""

    def __init__(self, data):
        self.data, self.sample_rate = data, 16_000

    def get_all_samples(self):
        if self.data is None:
            raise RuntimeError("no such stream")
        return self


def test_decoded_streams_have_their_channels_first():
    assert decode(Decoder(np.array([[0.5], [0.0]])), 16_000).tolist() == [0.25]
    with pytest.raises(BrokenExampleError, match="it cannot be decoded: no such stream"):
        decode(Decoder(None), 16_000)


def test_the_sampling_rate_of_an_audio_column_is_honored(tmp_path):
    pytest.importorskip("torchaudio")
    rate, seconds = 16_000, np.arange(8_000) / 16_000
    # 1 kHz is within what 8 kHz can carry, 6 kHz is not.
    soundfile.write(
        tmp_path / "a.wav", 0.4 * np.sin(2e3 * np.pi * seconds) + 0.4 * np.sin(12e3 * np.pi * seconds), rate
    )
    cell = str(tmp_path / "a.wav")
    dataset = column([cell, cell], Value("string"), "audio").cast_column("audio", Audio(sampling_rate=8_000))
    wave = read(dataset, lambda cell: decode(cell, rate), "audio")[0]
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) / len(wave) * 4
    assert spectrum[500] == pytest.approx(0.4, rel=0.02) and spectrum[3000] < 0.004


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"array": [], "sampling_rate": 16_000}, "it holds no samples"),
        ({"array": [0.0, float("nan")], "sampling_rate": 16_000}, "some samples are NaN or infinite"),
        ({"array": [0.0, float("inf")], "sampling_rate": 16_000}, "some samples are NaN or infinite"),
        ({"array": [0.0], "sampling_rate": 0}, "its sampling rate must be at least 100 Hz, got 0"),
        ({"array": ["a"], "sampling_rate": 16_000}, "samples must be numbers, got type <U1"),
        ({"array": [[0.0], [0.0, 1.0]], "sampling_rate": 16_000}, "samples must be numbers"),
        (
            {"array": np.zeros((1, 1, 1)), "sampling_rate": 16_000},
            r"samples must be \[n\] or \[channels, n\], got shape",
        ),
    ],
    ids=["empty", "nan", "infinite", "rate", "words", "ragged", "three axes"],
)
def test_samples_that_are_no_sound_name_their_row(value, message):
    with pytest.raises(BrokenExampleError, match=f"^row 7: {message}"):
        decode({**value, "name": "row 7"}, 16_000)


@pytest.mark.parametrize(
    ("feature", "value", "expected"),
    [
        (FLAT, [[0, 1, 51]], [[0, 1, 51]]),
        (Array2D((1, 3), "uint16"), [[0, 13107, 65535]], [[0, 51, 255]]),
    ],
    ids=["levels of the labeled", "uint16"],
)
def test_a_stream_is_read_like_the_labeled_dataset(feature, value, expected):
    data = inspect_data(column([[[0, 51, 255]], [[0, 0, 0]]], FLAT))
    (row,) = prepare(column([value], feature).to_iterable_dataset(), data, "evaluation")
    assert gray(np.asarray(decode_image(row["image"]))) == expected


def test_a_stream_has_its_mode():
    dataset = column([{"bytes": encoded(COLOR), "path": None}] * 2, datasets.Image(mode="L"))
    (row, _) = prepare(dataset.to_iterable_dataset(), inspect_data(dataset), "evaluation")
    assert np.array_equal(np.asarray(decode_image(row["image"])), np.asarray(COLOR.convert("L").convert("RGB")))
