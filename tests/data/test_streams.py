"""Streams as pools: what is found from their first rows, and rows like those of datasets."""

import io
import zipfile

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from hf_ssl import SSLConfig
from hf_ssl.data.columns import inspect_data
from hf_ssl.data.labels import UNKNOWN, StreamIndex
from hf_ssl.data.prepare import prepare_pool
from hf_ssl.data.rows import BrokenFiles
from hf_ssl.data.streams import StreamPart, as_datasets_stream, beginning, is_stream, pool_size
from hf_ssl.errors import BrokenExampleError
from hf_ssl.features.inputs import find_inputs
from hf_ssl.views.image_decoding import decode_image

from tests.helpers.tiny_tasks import make_sounds, make_texts, task


class Rows(torch.utils.data.IterableDataset):
    """A torch stream of rows."""

    def __init__(self, *rows):
        self.rows = rows

    def __iter__(self):
        yield from self.rows


def pictures(count):
    made = [Image.fromarray(np.full((6, 6, 3), 40 * place, np.uint8)) for place in range(count)]
    return datasets.Dataset.from_dict({"image": made, "label": [place % 2 for place in range(count)]})


def encoded(picture):
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def prepared(pool):
    """Rows of a prepared stream."""
    return [pool.prepare(row, place) for place, row in enumerate(pool.part().begin(0))]


def arrays(row):
    return {name: np.asarray(decode_image(cell)).tolist() if name == "image" else cell for name, cell in row.items()}


TEXTS = inspect_data(make_texts(6, 0))
IMAGES = inspect_data(pictures(4))
SAME = {
    "texts": (TEXTS, make_texts(20, 1), ()),
    "a text column of another name": (TEXTS, make_texts(3, 1).rename_column("text", "sentence"), ()),
    "images": (IMAGES, pictures(5), ("image",)),
    "images of another name": (IMAGES, pictures(5).rename_column("image", "picture"), ("image",)),
    "arrays": (
        inspect_data(datasets.Dataset.from_dict({"image": np.zeros((2, 4, 4, 3)) + 0.5, "label": [0, 1]})),
        datasets.Dataset.from_dict({"image": np.linspace(0, 1, 96).reshape(2, 4, 4, 3)}),
        ("image",),
    ),
    "labels numbered in another order": (
        TEXTS,
        make_texts(6, 1).map(lambda row: {"label": ["blue", "red", "green"][row["label"]]}, features=None),
        (),
    ),
    "labels that are not classes": (
        TEXTS,
        datasets.Dataset.from_dict({"text": list("abcd"), "label": ["red", "pink", None, "-1"]}),
        (),
    ),
}


@pytest.mark.parametrize("kind", ["datasets", "torch"])
@pytest.mark.parametrize("name", SAME)
def test_rows_of_a_stream_are_those_of_the_dataset(name, kind):
    data, rows, media = SAME[name]
    pool = prepare_pool(rows, data, True)
    expected = [pool[place] for place in range(len(pool))]
    stream = prepare_pool(rows.to_iterable_dataset() if kind == "datasets" else Rows(*rows), data, True)
    found = prepared(stream)
    if media:
        expected, found = map(arrays, expected), map(arrays, found)
    assert list(found) == list(expected)
    assert set(stream.column_names) == set(pool.column_names) and len(beginning(stream)) == min(len(rows), 16)


def test_rows_that_hold_tensors_are_tensors():
    columns = {"input_ids": [[5, 6], [7, 8]], "attention_mask": [[1, 1]] * 2, "label": [0, 1]}
    data = inspect_data(datasets.Dataset.from_dict(columns))
    rows = [{"input_ids": [5, 6, 7], "attention_mask": np.ones(3, np.int64)}, {"input_ids": torch.tensor([9])}]
    for stream in (Rows(rows[0]), datasets.Dataset.from_list([rows[0]]).to_iterable_dataset()):
        (row,) = prepared(prepare_pool(stream, data, True))
        assert row["input_ids"].tolist() == [5, 6, 7] and row["attention_mask"].dtype == torch.int64
    with pytest.raises(ValueError, match="rows of the unlabeled dataset have no 'attention_mask', and those"):
        prepare_pool(Rows(rows[1]), data, True)


def test_recordings_are_streamed_without_a_decoder():
    data = inspect_data(make_sounds(3, 0))
    sounds = make_sounds(4, 1)
    pool = prepare_pool(sounds, data, True)
    stream = prepare_pool(sounds.to_iterable_dataset(), data, True)
    assert prepared(stream) == [pool[place] for place in range(4)]


def test_files_at_an_address_are_fetched(tmp_path):
    with zipfile.ZipFile(tmp_path / "pool.zip", "w") as archive:
        for place, picture in enumerate(pictures(2)["image"]):
            archive.writestr(f"{place}.png", encoded(picture)["bytes"])
    paths = [f"zip://{name}.png::{tmp_path}/pool.zip" for name in ("0", "1", "gone")]
    cells = [{"image": {"path": path, "bytes": None}} for path in paths]
    features = datasets.Features({"image": datasets.Image()})
    stream = datasets.IterableDataset.from_generator(lambda: iter(cells), features=features)
    pool = prepare_pool(stream, IMAGES, True)
    found = list(pool.part().begin(0))
    assert [np.asarray(decode_image(pool.prepare(row, 0)["image"])).max() for row in found[:2]] == [0, 40]
    with pytest.raises(BrokenExampleError, match=r"cannot read zip://gone.png::.*gone.png"):
        pool.prepare(found[2], 2)
    assert len(beginning(pool)) == 2
    with pytest.raises(BrokenExampleError, match="none of the first 1 files of the unlabeled stream can be read"):
        prepare_pool(Rows(cells[2]), IMAGES, True).first(4)


def test_pictures_of_an_archive_are_found_beside_its_path(tmp_path):
    """As WebDataset archives are loaded: columns named after the suffixes, and where the example comes from."""
    archive = tmp_path / "pool.tar"
    archive.write_bytes(b"it exists")
    places = {"__key__": ["0", "1"], "__url__": [str(archive)] * 2}
    rows = datasets.Dataset.from_dict({"png": pictures(2)["image"], **places})
    for pool in (rows, rows.to_iterable_dataset(), Rows(*rows)):
        found = prepare_pool(pool, IMAGES, True)
        assert "image" in found.column_names and "png" not in found.column_names


def test_the_users_stream_stays_where_it_is():
    stream = make_texts(6, 0).to_iterable_dataset()
    pool = prepare_pool(stream, TEXTS, True)
    rows = pool.part().begin(3)
    next(rows), next(rows)
    assert stream.epoch == 0 and next(iter(stream))["text"] == make_texts(6, 0)[0]["text"]
    part = StreamPart(stream)
    part.begin(2)
    assert stream.epoch == 0
    assert is_stream(pool) and pool_size(pool) is None and pool_size([1, 2]) == 2


@pytest.mark.parametrize(
    ("stream", "exact"),
    [
        (make_texts(4, 0).to_iterable_dataset(), True),
        (make_texts(4, 0).to_iterable_dataset().shuffle(buffer_size=2), False),
        (make_texts(4, 0).to_iterable_dataset().shuffle(buffer_size=2).map(lambda row: row).take(3), False),
        (datasets.concatenate_datasets([make_texts(4, 0).to_iterable_dataset().shuffle(buffer_size=3)] * 2), False),
        (make_texts(4, 0).to_iterable_dataset().shuffle(buffer_size=1), True),
        (Rows({"text": "a"}), False),
    ],
    ids=["plain", "a buffer", "a buffer inside", "buffers side by side", "only shards shuffled", "torch"],
)
def test_it_is_known_whether_a_state_is_all_there_is_to_know(stream, exact):
    assert StreamPart(stream).has_state is exact


def test_a_buffer_of_its_own_is_warned_of(monkeypatch):
    warned = []
    monkeypatch.setattr("hf_ssl.data.streams.logger.warning_once", warned.append)
    stream = make_texts(4, 0).to_iterable_dataset()
    prepare_pool(stream, TEXTS, True).part()
    prepare_pool(Rows(*make_texts(4, 0)), TEXTS, True).part()
    assert warned == []
    prepare_pool(stream.shuffle(buffer_size=4), TEXTS, True).part()
    assert len(warned) == 1 and "leave .shuffle(...) out, or set its buffer_size to 1: stream_buffer_size" in warned[0]


def test_labels_without_end_are_not_all_remembered(monkeypatch):
    warned = []
    monkeypatch.setattr("hf_ssl.data.labels.logger.warning_once", warned.append)
    monkeypatch.setattr(StreamIndex, "_MOST_KEPT", 5)
    index = StreamIndex(None, TEXTS.classes, "unlabeled", known=False)
    assert [index(f"word {number}") for number in range(9)] == [UNKNOWN] * 9
    assert [index("green"), index("Green"), index("-1"), index(None)] == [1, 1, None, None]
    assert len(index.known) == 5
    assert sum("are not classes of the labeled dataset" in line for line in warned) == 1


def test_broken_rows_without_end_are_not_all_remembered(monkeypatch):
    warned = []
    monkeypatch.setattr("hf_ssl.data.rows.logger.warning", warned.append)
    files = BrokenFiles(prepare_pool(Rows({"text": "a"}), TEXTS, True), "text")
    assert files.note(list(range(100))) == 100
    assert len(files.names) == 6 and len(warned) == 6
    assert warned[0].startswith("row 0 of the unlabeled stream cannot be read")


WRONG = {
    "no rows": (Rows(), ValueError, "the stream must hold at least one example, got none; check its filter or split"),
    "tuples": (Rows(("a", 1)), TypeError, "rows of the unlabeled stream must be dicts of columns, got a tuple; yield"),
    "objects": (
        Rows({"text": object()}),
        ValueError,
        "rows of the stream must hold texts, numbers, images, .* got text: object .*; leave other columns out",
    ),
    "no text": (Rows({"number": 1}), ValueError, "unlabeled dataset has no column 'text'; its columns are number"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_stream_must_give_is_said_in_one_line(name):
    stream, error, message = WRONG[name]
    with pytest.raises(error, match=message) as raised:
        prepare_pool(stream, TEXTS, True)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("modality", ["text", "image", "audio"])
def test_features_of_a_torch_stream_are_made_of_the_same_rows(modality):
    given = task(modality)
    rows = given["unlabeled_dataset"].select(range(4))
    if modality == "audio":
        rows = rows.cast_column("audio", datasets.Audio(decode=False))
    args = SSLConfig("run", report_to="none", use_cpu=True)
    whole = find_inputs(given["unlabeled_dataset"].select(range(4)), given["processing_class"], args)
    streamed = find_inputs(Rows(*rows), given["processing_class"], args)
    expected = whole.views.collate([whole.views.evaluation(whole.rows[place]) for place in range(4)])
    found = streamed.views.collate([streamed.views.evaluation(row) for row in streamed.rows])
    assert as_datasets_stream(Rows(*rows)).features is not None
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        name: tensor.tolist() for name, tensor in expected.items()
    }
