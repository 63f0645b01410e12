"""Pictures with broken EXIF blocks: shown, upright if their orientation can be read, and as stored if not."""

import io
import struct

import datasets
import numpy as np
import pytest
from PIL import Image, ImageOps

from hf_ssl.views.image_decoding import decode_image

from tests.helpers.tiny_images import make_vit

SHORT, LONG, ASCII, RATIONAL, UNDEFINED = 3, 4, 2, 5, 7
ORIENTATION, X_RESOLUTION, SUB_BLOCK, GPS = 0x0112, 0x011A, 0x8769, 0x8825


def block(*entries, order="<", following=0):
    """An EXIF block of entries (tag, type, count, 4 bytes or more of value)."""
    head = b"Exif\0\0" + (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    rows, rest = struct.pack(order + "H", len(entries)), b""
    start = 8 + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        if len(value) > 4:
            value, rest = struct.pack(order + "I", start + len(rest)), rest + value
        rows += struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")
    return head + rows + struct.pack(order + "I", following) + rest


def turned(value=6, order="<"):
    return (ORIENTATION, SHORT, 1, struct.pack(order + "H", value))


# Name -> the block, and the orientation that can be read from it.
BLOCKS = {
    "sound": (block(turned()), 6),
    "big-endian": (block(turned(order=">"), order=">"), 6),
    "resolution as text": (block(turned(), (X_RESOLUTION, ASCII, 3, b"72\0")), 6),
    "resolution as long text": (block(turned(), (X_RESOLUTION, ASCII, 9, b"72.0 dpi\0")), 6),
    "resolution of zero by zero": (block(turned(), (X_RESOLUTION, RATIONAL, 1, bytes(8))), 6),
    "resolution as several": (block(turned(), (X_RESOLUTION, SHORT, 2, b"\1\0\2\0")), 6),
    "resolution without value": (block(turned(), (X_RESOLUTION, RATIONAL, 0, b"")), 6),
    "size as text": (block((0x0100, ASCII, 4, b"abc\0"), turned()), 6),
    "strips as text": (block((0x0111, ASCII, 4, b"abc\0"), turned()), 6),
    "sub-block as text": (block(turned(), (SUB_BLOCK, ASCII, 4, b"abc\0")), 6),
    "sub-block is the block": (block(turned(), (SUB_BLOCK, LONG, 1, struct.pack("<I", 8))), 6),
    "sub-block far away": (block(turned(), (SUB_BLOCK, LONG, 1, b"\xff\xff\xff\x7f")), 6),
    "place as text": (block(turned(), (GPS, ASCII, 4, b"abc\0")), 6),
    "unknown type": (block(turned(), (0x0131, 99, 1, b"abc\0")), 6),
    "software without end": (block(turned(), (0x0131, ASCII, 8, b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8")), 6),
    "following block is the block": (block(turned(), following=8), 6),
    "value far away": (block(turned(), (0x0131, ASCII, 500, b"\xff\xff\xff\x7f")), 6),
    "orientation as a long number": (block((ORIENTATION, LONG, 1, struct.pack("<I", 6))), 6),
    "orientation as text": (block((ORIENTATION, ASCII, 2, b"6\0")), 6),
    "orientation in words": (block((ORIENTATION, ASCII, 4, b"abc\0")), 1),
    "orientation twice": (block((ORIENTATION, SHORT, 2, b"\6\0\3\0")), 6),
    "orientation as bytes": (block((ORIENTATION, UNDEFINED, 4, b"\6\0\0\0")), 1),
    "orientation as a fraction by zero": (block((ORIENTATION, RATIONAL, 1, struct.pack("<II", 6, 0))), 1),
    "orientation 0": (block(turned(0)), 1),
    "orientation 9": (block(turned(9)), 1),
    "empty": (b"Exif\0\0", 1),
    "cut off in the header": (block(turned())[:9], 1),
    "cut off in the entry": (block(turned())[:20], 1),
    "other header": (b"Exif\0\0XX*\0\10\0\0\0", 1),
    "more entries than bytes": (b"Exif\0\0II*\0\10\0\0\0\xff\xff", 1),
    "starts far away": (b"Exif\0\0II*\0\xff\xff\xff\x7f", 1),
    "noise": (b"Exif\0\0" + bytes(range(200)), 1),
}
PIXELS = np.arange(16 * 24 * 3, dtype=np.uint8).reshape(16, 24, 3)


def picture(exif=b"", kind="JPEG"):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, format=kind, **({"exif": exif} if exif else {}), quality=95)
    return {"bytes": buffer.getvalue(), "path": None}


def stored(kind="JPEG"):
    return np.asarray(Image.open(io.BytesIO(picture(kind=kind)["bytes"])).convert("RGB"))


@pytest.mark.parametrize(("exif", "orientation"), BLOCKS.values(), ids=BLOCKS)
def test_the_picture_is_shown_upright_or_as_stored(exif, orientation):
    image = decode_image(picture(exif))
    # Orientation 6: the camera was turned, and the picture has to be turned by a quarter clockwise.
    expected = np.rot90(stored(), -1) if orientation == 6 else stored()
    assert np.array_equal(np.asarray(image), expected)
    # transformers' pipelines turn pictures once more, as far as their notes tell.
    assert np.array_equal(np.asarray(ImageOps.exif_transpose(image)), expected)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_so_are_pictures_of_other_formats(kind):
    exif = block(turned())[6:] if kind == "TIFF" else block(turned(), (X_RESOLUTION, ASCII, 3, b"72\0"))
    assert np.array_equal(np.asarray(decode_image(picture(exif, kind))), np.rot90(stored(kind), -1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_does(orientation):
    value = picture(block(turned(orientation)))
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(value["bytes"])))
    assert np.array_equal(np.asarray(decode_image(value)), np.asarray(expected))


def test_training_evaluation_and_prediction_take_them(make_trainer, tmp_path, image_processor):
    rows = {"image": [picture(exif) for exif, _ in BLOCKS.values()], "label": [i % 3 for i in range(len(BLOCKS))]}
    dataset = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    trainer = make_trainer(
        make_vit(),
        trainer={"train_dataset": dataset, "unlabeled_dataset": dataset, "eval_dataset": dataset},
        max_steps=3,
        on_broken_file="error",
    )
    trainer.train()
    logits = trainer.predict(trainer.eval_dataset).predictions
    trainer.save_model(str(tmp_path / "model"))

    from hf_ssl.cli.classifier import Classifier
    from hf_ssl.cli.inputs import cells

    classifier = Classifier(str(tmp_path / "model"), device="cpu")
    answers = list(classifier(cells(dataset, ["image"], "image")))
    assert [answer.error for answer in answers] == [""] * len(BLOCKS)
    names = [classifier.names[place] for place in logits.argmax(-1)]
    assert [next(iter(answer.probabilities)) for answer in answers] == names
