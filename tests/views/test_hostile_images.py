"""Images with too many pixels, programs, pipes, several frames, and data that do not fit their header."""

import io
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from hf_ssl.data.cells import file_arrays, usual_levels
from hf_ssl.errors import BrokenExampleError
from hf_ssl.views.image_decoding import decode_image

from tests.helpers.hostile_files import at_once, pipe, png

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
BROKEN = {
    "more pixels than Pillow warns of": (
        png(9_460, 9_460),
        "at most 89,478,485 pixels, got 89,491,600; make it smaller",
    ),
    "more pixels than Pillow refuses": (png(20_000, 20_000), "at most 89,478,485 pixels, got 400,000,000; make"),
    "the largest header": (png(2**31 - 1, 2**31 - 1), "at most 89,478,485 pixels, got 4,611,686,014,132,420,609"),
    "a program": (EPS, "EPS is not a format of pictures; save it as PNG"),
    "no rows": (png(10, 10), "cannot read a.png"),
    "text that unpacks to 100 MB": (
        png(1, 1, (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8))), rows=b"\0\0"),
        "cannot read a.png",
    ),
    "a color profile that unpacks to 100 MB": (
        png(1, 1, (b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8))), rows=b"\0\0"),
        "cannot read a.png",
    ),
    "a chunk that claims 2 GB": (png(9, 9)[:33] + b"\x7f\xff\xff\xffIDAT" + bytes(20), "cannot read a.png"),
    "empty": (b"", "not an image of a known format"),
    "a text": (b"not a picture", "not an image of a known format"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_shown_is_one_line_with_the_file(content, message):
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with at_once(), pytest.raises(BrokenExampleError, match=r"^cannot read a\.png: ") as error:
            decode_image({"bytes": content, "path": "a.png"})
    assert message in str(error.value) and "\n" not in str(error.value)


def test_the_bound_on_pixels_is_pillows_own(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    buffers = {size: io.BytesIO() for size in ((10, 10), (11, 10))}
    for size, buffer in buffers.items():
        Image.new("RGB", size, (1, 2, 3)).save(buffer, "PNG")
    assert decode_image(buffers[10, 10].getvalue()).getpixel((9, 9)) == (1, 2, 3)
    with pytest.raises(BrokenExampleError, match="at most 100 pixels, got 110; make it smaller, or set PIL"):
        decode_image(buffers[11, 10].getvalue())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert decode_image(buffers[11, 10].getvalue()).size == (11, 10)


def test_pipes_devices_and_folders_are_never_opened(tmp_path):
    with at_once():
        for path, what in (
            (pipe(tmp_path / "a.png"), "a named pipe"),
            ("/dev/zero", "a device"),
            (tmp_path, "a folder"),
        ):
            with pytest.raises(BrokenExampleError, match=rf"^cannot read {path}: it is {what} and not a file$"):
                decode_image({"path": str(path), "bytes": None})
            assert file_arrays([str(path), {"path": str(path), "bytes": None}]) == []


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_many_frames_the_first_is_shown(kind):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")] * 20
    buffer = io.BytesIO()
    frames[0].save(
        buffer, kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
    )
    assert decode_image(buffer.getvalue()).getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_a_file_that_is_cut_off_anywhere_is_an_error_or_a_picture(kind):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    whole = buffer.getvalue()
    for length in range(0, len(whole) - 1, max(1, len(whole) // 40)):
        try:
            assert decode_image(whole[:length]).size == (20, 20)
        except BrokenExampleError as error:
            assert "cannot read an image" in str(error)


def test_of_pictures_of_32_bits_only_what_tells_their_range_is_kept():
    def tiff(pixels):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "TIFF")
        return buffer.getvalue()

    pixels = np.full((50, 50), 3.0, dtype=np.float32)
    pixels[7, 7], pixels[8, 8], pixels[9, 9] = -0.5, 200.0, np.nan
    (kept,) = file_arrays([tiff(pixels)])
    assert sorted(kept.tolist()) == [-0.5, -0.5, 200.0]
    (whole,) = file_arrays([tiff(np.arange(9, dtype=np.int32).reshape(3, 3))])
    assert whole.tolist() == [0, 8] and whole.dtype.kind == "i"
    (dark,) = file_arrays([tiff(np.full((4, 4), np.nan, dtype=np.float32))])
    assert usual_levels([dark]) is None
    assert file_arrays([png(9_460, 9_460)]) == []
