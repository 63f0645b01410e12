"""Image views: what they change, what they leave, and where their random numbers come from."""

import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from hf_ssl.views.image import ImageViews, decode_image, shifted
from hf_ssl.views.image_operations import CUTOUT_COLOR, apply_operation, cutout


def picture(width=16, height=16, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def views(processor, **settings):
    return ImageViews(processor, **settings)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", ["weak", "strong", "rotated"])
def test_a_view_depends_on_its_generator_alone(image_processor, kind):
    maker, row = views(image_processor), {"image": picture()}

    def draw(seed):
        view = maker(kind, row, rng(seed))
        return view[0] if kind == "rotated" else view

    first = draw(1)
    torch.manual_seed(99)
    np.random.seed(99)
    assert torch.equal(first, draw(1))
    assert first.shape == (3, 12, 12)
    assert first.dtype == torch.uint8
    assert any(not torch.equal(first, draw(seed)) for seed in (2, 3, 4))


def test_weak_without_shift_and_flip_is_the_image_itself(image_processor):
    image = picture(12, 12)
    view = views(image_processor, crop_ratio=1.0, horizontal_flip=False)("weak", {"image": image}, rng())
    assert torch.equal(view, torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1))


def test_weak_flips_half_of_the_time(image_processor):
    image = picture(12, 12)
    maker = views(image_processor, crop_ratio=1.0)
    plain = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
    drawn = [maker("weak", {"image": image}, rng(seed)) for seed in range(200)]
    flipped = sum(torch.equal(view, plain.flip(2)) for view in drawn)
    assert flipped + sum(torch.equal(view, plain) for view in drawn) == 200
    assert 75 < flipped < 125


def test_the_shift_is_one_eighth_of_the_side_with_mirrored_borders(image_processor):
    image = Image.fromarray(np.tile(np.arange(12, dtype=np.uint8)[:, None, None], (1, 12, 3)))
    maker = views(image_processor, horizontal_flip=False)
    rows = {tuple(maker("weak", {"image": image}, rng(seed))[0, :, 0].tolist()) for seed in range(60)}
    down = (1, *range(11))
    up = (*range(1, 12), 10)
    assert rows == {tuple(range(12)), down, up}


def test_rotation_labels_are_quarter_turns(image_processor):
    image = picture(12, 12)
    maker = views(image_processor, crop_ratio=1.0, horizontal_flip=False)
    plain = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
    seen = set()
    for seed in range(20):
        view, turns = maker("rotated", {"image": image}, rng(seed))
        assert torch.equal(view, torch.rot90(plain, turns, dims=(1, 2)))
        seen.add(turns)
    assert seen == {0, 1, 2, 3}


OPERATIONS = [
    *("autocontrast", "brightness", "color", "contrast", "equalize", "identity", "posterize", "rotate"),
    *("sharpness", "shear_x", "shear_y", "solarize", "translate_x", "translate_y"),
]


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_keeps_size_and_mode(name):
    for seed in range(5):
        result = apply_operation(picture(14, 10), name, rng(seed))
        assert (result.size, result.mode) == ((14, 10), "RGB")


def test_the_table_of_operations_is_usb_s(image_processor):
    assert set(views(image_processor).operations) == set(OPERATIONS)
    without = set(OPERATIONS) - {"autocontrast", "color", "contrast", "posterize", "solarize"}
    assert set(views(image_processor, color_operations=False).operations) == without


def test_known_answers_of_operations():
    gray = Image.new("RGB", (8, 8), (100, 100, 100))
    assert np.asarray(apply_operation(gray, "brightness", rng(0)))[0, 0, 0] == int(100 * rng(0).uniform(0.05, 0.95))
    bits = int(rng(0).integers(4, 8))
    assert np.asarray(apply_operation(gray, "posterize", rng(0)))[0, 0, 0] == 100 >> (8 - bits) << (8 - bits)
    threshold = rng(0).uniform(0, 256)
    assert np.asarray(apply_operation(gray, "solarize", rng(0)))[0, 0, 0] == (155 if threshold <= 100 else 100)
    column = Image.fromarray(np.tile(np.arange(10, dtype=np.uint8)[None, :, None], (10, 1, 3)))
    moved = np.asarray(apply_operation(column, "translate_x", rng(0)))[0, :, 0].astype(int)
    shift = round(rng(0).uniform(-0.3, 0.3) * 10)
    inside = [x for x in range(10) if 0 <= x + shift < 10]
    assert [moved[x] for x in inside] == [x + shift for x in inside]


def test_cutout_covers_at_most_half_the_side():
    for seed in range(50):
        changed = (np.asarray(cutout(Image.new("RGB", (20, 20)), rng(seed))) != 0).any(axis=2)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        assert changed.sum() == len(rows) * len(columns)
        assert len(rows) <= 10 and len(columns) <= 10
    covered = np.asarray(cutout(Image.new("RGB", (20, 20)), rng(1)))
    assert {tuple(color) for color in covered.reshape(-1, 3)} <= {(0, 0, 0), CUTOUT_COLOR}


def encoded(image, format="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, format)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("value", "pixel"),
    [
        (Image.new("L", (3, 5), 70), (70, 70, 70)),
        (Image.new("RGBA", (3, 5), (10, 20, 30, 0)), (255, 255, 255)),
        (Image.new("RGBA", (3, 5), (10, 20, 30, 255)), (10, 20, 30)),
        (Image.new("1", (3, 5), 1), (255, 255, 255)),
        (Image.fromarray(np.full((5, 3), 51 << 8, dtype=np.uint16)), (51, 51, 51)),
        (np.full((5, 3, 3), 9, dtype=np.uint8), (9, 9, 9)),
        ({"bytes": encoded(Image.new("RGB", (3, 5), (1, 2, 3))), "path": None}, (1, 2, 3)),
    ],
)
def test_every_kind_of_image_becomes_rgb(value, pixel):
    image = decode_image(value)
    assert (image.mode, image.size) == ("RGB", (3, 5))
    assert image.getpixel((0, 0)) == pixel


def test_a_broken_file_is_named(tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(encoded(picture())[:40])
    for value in (str(path), {"bytes": None, "path": str(path)}, {"bytes": b"", "path": str(path)}):
        with pytest.raises(ValueError, match=r"broken\.png"):
            decode_image(value)


def test_evaluation_is_what_the_processor_makes(image_processor):
    image = picture(20, 20)
    maker = views(image_processor)
    stacked = maker.collate([maker.evaluation({"image": image})])["pixel_values"]
    assert torch.equal(stacked, image_processor(image, return_tensors="pt")["pixel_values"])


def test_collate_normalizes_with_mean_and_deviation(image_processor):
    pixels = views(image_processor).collate([torch.full((3, 2, 2), 255, dtype=torch.uint8)])["pixel_values"]
    assert torch.equal(pixels, torch.ones(1, 3, 2, 2))


def test_views_are_picklable(image_processor):
    maker = pickle.loads(pickle.dumps(views(image_processor)))
    assert maker("weak", {"image": picture()}, rng()).shape == (3, 12, 12)


class Fixed:
    """A generator that draws what it is told."""

    def __init__(self, value):
        self.value = value

    def uniform(self, low, high):
        return self.value

    def integers(self, low, high):
        return self.value


SAMPLES = {
    "noise": picture(40, 30),
    "dark": Image.fromarray(np.random.default_rng(1).integers(40, 90, (30, 40, 3), dtype=np.uint8)),
    "skewed": Image.fromarray((np.random.default_rng(2).random((30, 40, 3)) ** 6 * 255).astype(np.uint8)),
    "one color": Image.new("RGB", (8, 8), (10, 20, 30)),
    "two colors": Image.fromarray(np.array([[[0, 9, 250], [255, 9, 3]]], np.uint8)),
}


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize(
    ("name", "drawn", "expected"),
    [
        ("autocontrast", [0], lambda image, _: ImageOps.autocontrast(image)),
        ("equalize", [0], lambda image, _: ImageOps.equalize(image)),
        ("posterize", [4, 6, 8], ImageOps.posterize),
        ("solarize", [0.0, 100.5, 128.0, 255.9], ImageOps.solarize),
    ],
)
def test_operations_on_levels_are_those_of_pillow(sample, name, drawn, expected):
    for value in drawn:
        made = np.asarray(apply_operation(SAMPLES[sample], name, Fixed(value)))
        np.testing.assert_array_equal(made, np.asarray(expected(SAMPLES[sample], value)))


@pytest.mark.parametrize("shift", [-11, -3, -1, 0, 1, 3, 11])
def test_a_shift_mirrors_at_the_border(shift):
    rows = np.arange(12) + shift
    expected = 11 - np.abs(11 - np.abs(rows))
    assert shifted(np.arange(12), shift).tolist() == expected.tolist()


def test_bytes_that_are_normalized_later_give_the_same_pixels(image_processor):
    maker = views(image_processor)
    items = [torch.randint(256, (3, 4, 4), dtype=torch.uint8) for _ in range(2)]
    stacked = maker.stack(items)
    assert list(stacked) == ["pixel_bytes"] and stacked["pixel_bytes"].dtype == torch.uint8
    finished = maker.finish(stacked)["pixel_values"]
    assert torch.equal(finished, maker.collate(items)["pixel_values"])
    # (p / 255 - 0.5) / 0.5
    assert torch.allclose(finished, torch.stack(items).double().div(127.5).sub(1).float(), atol=1e-6)


def test_pixels_that_are_normalized_already_stay_as_they_are(image_processor):
    maker = views(image_processor)
    items = [torch.rand(3, 4, 4) for _ in range(2)]
    assert torch.equal(maker.finish(maker.stack(items))["pixel_values"], torch.stack(items))
