"""The image operations do what those of the USB benchmark do, which are Pillow's, over the same ranges."""

import numpy as np
import pytest

pytest.importorskip("torchvision")

from PIL import Image, ImageEnhance, ImageOps

from hf_ssl.views.image_operations import OPERATIONS

AFFINE = Image.Transform.AFFINE
# name -> range of the drawn amount (None: nothing is drawn), and what the reference does with the amount.
REFERENCE = {
    "autocontrast": (None, lambda image, _: ImageOps.autocontrast(image)),
    "brightness": ((0.05, 0.95), lambda image, v: ImageEnhance.Brightness(image).enhance(v)),
    "color": ((0.05, 0.95), lambda image, v: ImageEnhance.Color(image).enhance(v)),
    "contrast": ((0.05, 0.95), lambda image, v: ImageEnhance.Contrast(image).enhance(v)),
    "equalize": (None, lambda image, _: ImageOps.equalize(image)),
    "identity": (None, lambda image, _: image),
    "posterize": ((4, 7), lambda image, v: ImageOps.posterize(image, int(v))),
    "rotate": ((-30, 30), lambda image, v: image.rotate(v)),
    "sharpness": ((0.05, 0.95), lambda image, v: ImageEnhance.Sharpness(image).enhance(v)),
    "shear_x": ((-0.3, 0.3), lambda image, v: image.transform(image.size, AFFINE, (1, v, 0, 0, 1, 0))),
    "shear_y": ((-0.3, 0.3), lambda image, v: image.transform(image.size, AFFINE, (1, 0, 0, v, 1, 0))),
    "solarize": ((0, 256), ImageOps.solarize),
    "translate_x": ((-0.3, 0.3), lambda image, v: image.transform(image.size, AFFINE, (1, 0, v * 40, 0, 1, 0))),
    "translate_y": ((-0.3, 0.3), lambda image, v: image.transform(image.size, AFFINE, (1, 0, 0, 0, 1, v * 30))),
}


def test_the_table_is_the_reference_s():
    assert set(OPERATIONS) == set(REFERENCE)


@pytest.mark.parametrize("name", REFERENCE)
def test_amounts_are_drawn_from_the_reference_s_range(name):
    drawn = [OPERATIONS[name].draw(np.random.default_rng(seed)) for seed in range(300)]
    limits = REFERENCE[name][0]
    if limits is None:
        assert set(drawn) == {0}
    elif name == "posterize":
        # The reference draws from [4, 8) and drops the fraction.
        assert set(drawn) == {4, 5, 6, 7}
    else:
        width = limits[1] - limits[0]
        assert limits[0] <= min(drawn) < limits[0] + 0.05 * width
        assert limits[1] - 0.05 * width < max(drawn) <= limits[1]


@pytest.mark.parametrize("name", REFERENCE)
def test_the_same_amount_gives_the_same_picture(name):
    limits, expected = REFERENCE[name]
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
    low, high = limits or (0, 0)
    for share in (0.0, 0.2, 0.45, 0.5, 0.7, 1.0):
        amount = low + share * (high - low)
        made = OPERATIONS[name].apply(picture, int(amount) if OPERATIONS[name].whole else amount)
        np.testing.assert_array_equal(np.asarray(made), np.asarray(expected(picture, amount)))
