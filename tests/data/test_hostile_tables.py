"""Tables, folders and lists of files that no parser should see, or that are not files: one line, before parsing."""

import itertools
import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from hf_ssl.data import table_limits
from hf_ssl.data.duplicates import digest
from hf_ssl.data.rows import Rows, missing_file
from hf_ssl.data.sources import load_source
from hf_ssl.data.table_limits import check_table
from hf_ssl.errors import BrokenExampleError

from tests.helpers.hostile_files import at_once, nested, pipe


def deep_row(depth: int) -> str:
    return '{"text": "a rose", "label": "x", "more": ' + nested(depth - 1) + "}\n"


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize("depth", [101, 1_000, 100_000])
def test_nested_json_is_refused_before_it_is_parsed(suffix, depth, tmp_path):
    """A hundred thousand objects in each other are a segmentation fault of pyarrow's reader."""
    path = tmp_path / f"rows{suffix}"
    path.write_text('{"text": "a", "label": "x"}\n' * 50_000 + deep_row(depth))
    with (
        at_once(),
        pytest.raises(ValueError, match=rf"rows{suffix} must be nested at most 100 deep, got {depth:,}; fl"),
    ):
        load_source(str(path), "labeled")


def test_json_of_the_largest_depth_is_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(deep_row(60) * 3)
    dataset = load_source(str(path), "labeled").dataset
    assert dataset["text"][:] == ["a rose"] * 3
    assert json.dumps(dataset[2]["more"]) == json.dumps(json.loads(nested(59)))


def test_lines_of_json_are_bounded_and_documents_are_not(monkeypatch, tmp_path):
    monkeypatch.setattr(table_limits, "LONGEST_ROW", 10_000)
    row = {"text": "a" * 9_000, "label": "x"}
    for name, text, fine in (
        ("a.jsonl", (json.dumps(row) + "\n") * 300, True),
        ("b.jsonl", (json.dumps(row) + "\n") * 3 + json.dumps({**row, "text": "a" * 11_000}), False),
        ("c.jsonl", json.dumps([row] * 3), False),
        ("d.json", json.dumps([row] * 3), True),
    ):
        (tmp_path / name).write_text(text)
        for size in (2**20, 1_000):
            monkeypatch.setattr("hf_ssl.limits._READ", size)
            if fine:
                check_table(tmp_path / name)
            else:
                with pytest.raises(
                    ValueError, match=rf"each line of .*{name} must have at most 10,000 bytes, got more"
                ):
                    check_table(tmp_path / name)
    monkeypatch.setattr(table_limits, "LARGEST_DOCUMENT", 20_000)
    with pytest.raises(
        ValueError, match=r"each line of .*d\.json must have at most 10,000 bytes, got more; write one"
    ):
        check_table(tmp_path / "d.json")


def parquet(path, metadata=None, rows=3):
    schema = pa.schema([("text", pa.string()), ("label", pa.string())], metadata=metadata)
    pq.write_table(pa.table({"text": ["a"] * rows, "label": ["x"] * rows}, schema=schema), path)
    return path


def test_parquet_that_cannot_be_read_is_named(monkeypatch, tmp_path):
    path = parquet(tmp_path / "rows.parquet")
    assert load_source(str(path), "labeled").dataset["text"][:] == ["a"] * 3
    whole = path.read_bytes()
    for content in (
        whole[:-1],
        whole[:40],
        b"PAR1",
        whole[:-8] + b"\xff\xff\xff\x7fPAR1",
        b"PAR1" + bytes(200) + b"PAR1",
    ):
        path.write_bytes(content)
        with at_once(), pytest.raises(ValueError, match=r"rows\.parquet cannot be read: "):
            load_source(str(path), "labeled")
    for depth in (200, 100_000):
        parquet(path, {"huggingface": '{"info": {"features": ' + nested(depth) + "}}"})
        with pytest.raises(
            ValueError, match=rf"rows\.parquet, in its metadata, must be nested at most 100 deep, got {depth + 2:,}"
        ):
            load_source(str(path), "labeled")


@pytest.mark.parametrize("name", ["a.csv", "b.tsv", "c.jsonl", "d.parquet"])
def test_columns_are_counted(name, monkeypatch, tmp_path):
    monkeypatch.setattr(table_limits, "MOST_COLUMNS", 3)
    for count, fine in ((3, True), (4, False)):
        names = [f"c{i}" for i in range(count)]
        if name.endswith("parquet"):
            pq.write_table(pa.table({column: ["a"] for column in names}), tmp_path / name)
        elif name.endswith("jsonl"):
            (tmp_path / name).write_text(json.dumps(dict.fromkeys(names, "a:b")) + "\n")
        else:
            (tmp_path / name).write_text(("\t" if name.endswith("tsv") else ",").join(names) + "\na, b, c, d, e, f\n")
        if fine:
            check_table(tmp_path / name)
        else:
            with pytest.raises(ValueError, match=rf"{name} must have at most 3 columns, got 4; leave some out"):
                check_table(tmp_path / name)


def test_parquet_that_claims_too_much_is_refused(monkeypatch, tmp_path):
    path = parquet(tmp_path / "rows.parquet", rows=1_000)
    check_table(path)
    monkeypatch.setattr(table_limits, "MOST_ROWS", 999)
    with pytest.raises(ValueError, match=r"rows\.parquet must have at most 999 rows, got 1,000; divide it"):
        check_table(path)
    monkeypatch.setattr(table_limits, "MOST_ROWS", 2**29)
    monkeypatch.setattr("hf_ssl.limits.UNPACKED_FREELY", 2**10)
    table = pa.table({"text": ["a" * 2**22], "label": ["x"]})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)
    with pytest.raises(
        ValueError, match=r"rows\.parquet of .* bytes must unpack to at most .*, got 4,\d+,\d+; write it"
    ):
        check_table(path)


@pytest.mark.parametrize("name", ["train.csv", "train.jsonl", "train.parquet", "train.json", "train.tsv"])
def test_pipes_in_a_folder_of_tables_are_never_opened(name, tmp_path):
    pipe(tmp_path / name)
    with at_once():
        with pytest.raises(ValueError, match=rf"{name} must be a file, got a named pipe; remove it"):
            load_source(str(tmp_path), "labeled")
        with pytest.raises((ValueError, OSError), match=name):
            load_source(str(tmp_path / name), "labeled")


def test_pipes_among_pictures_are_known_as_such(tmp_path):
    for label, i in itertools.product("xy", range(2)):
        (tmp_path / label).mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (40 * i, 0, 0)).save(tmp_path / label / f"{i}.png")
    pipe(tmp_path / "y" / "2.png")
    with at_once():
        dataset = load_source(str(tmp_path), "labeled").dataset
        assert missing_file(dataset, "image") == str(tmp_path / "y" / "2.png")
        assert digest({"path": str(tmp_path / "y" / "2.png"), "bytes": None}) is None
        assert digest({"path": str(tmp_path / "y" / "1.png"), "bytes": None}) is not None
        with open(tmp_path / "holes.png", "wb") as file:
            file.truncate(2**40)
        assert digest({"path": str(tmp_path / "holes.png"), "bytes": None}) is None


SAVED = {
    "nested": ("state.json", nested(100_000)),
    "a list": ("state.json", "[1]"),
    "cut off": ("state.json", '{"_data_files": ['),
    "other info": ("dataset_info.json", nested(100_000)),
    "a list of info": ("dataset_info.json", "[[[1]]]"),
    "no data": ("data-00000-of-00001.arrow", "ARROW1"),
}


@pytest.mark.parametrize(("name", "content"), SAVED.values(), ids=SAVED)
def test_what_save_to_disk_wrote_and_is_damaged_is_one_line(name, content, tmp_path):
    datasets.Dataset.from_dict({"text": ["a", "b"], "label": ["x", "y"]}).save_to_disk(tmp_path / "saved")
    (tmp_path / "saved" / name).write_text(content)
    with pytest.raises(ValueError, match=r"saved was written by save_to_disk and cannot be read back: ."):
        load_source(str(tmp_path / "saved"), "labeled")


@pytest.mark.parametrize("error", [EOFError, SyntaxError, MemoryError, Image.DecompressionBombError, OSError])
def test_what_a_transform_raises_about_a_broken_file_is_that_row_s_error(error):
    def transform(batch):
        raise error("broken PNG file")

    raw = datasets.Dataset.from_dict({"image": [b"a", b"b"]})
    rows = Rows(raw, raw.with_transform(transform), ["pixel_values"])
    with pytest.raises(BrokenExampleError, match="the transform of row 1 failed: broken PNG file"):
        rows[1]


def test_a_mistake_in_a_transform_stays_one():
    raw = datasets.Dataset.from_dict({"image": [b"a"]})
    with pytest.raises(ZeroDivisionError):
        Rows(raw, raw.with_transform(lambda batch: 1 / 0), ["pixel_values"])[0]
