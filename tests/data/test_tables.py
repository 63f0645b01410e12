"""Tables as people have them: every encoding, separator and form is read as it was meant, or refused by its line."""

import csv
import datetime

import datasets
import pandas
import pytest

from hf_ssl.data.columns import inspect_data
from hf_ssl.data.labels import alike
from hf_ssl.data.sources import load_source
from hf_ssl.limits import LONGEST_ROW

ROWS = [("a film, that is", "pos"), ("café", "neg"), ("b film", "pos")]
FRAME = pandas.DataFrame(ROWS, columns=["text", "label"])
COMMAS = 'text,label\n"a film, that is",pos\ncafé,neg\nb film,pos\n'
SEMICOLONS = "text;label\na film, that is;pos\ncafé;neg\nb film;pos\n"

# case: (name of the file, content, what is said about how it was read)
READ = {
    "trailing commas": ("a.csv", COMMAS.replace("\n", ",\n").replace("label,", "label"), ""),
    "trailing commas in the header too": ("a.csv", COMMAS.replace("\n", ",\n"), ""),
    "some trailing commas": ("a.csv", COMMAS.replace("neg\n", "neg,,\n"), ""),
    "semicolons": ("a.csv", SEMICOLONS, "semicolons"),
    "tabs": ("a.csv", SEMICOLONS.replace(";", "\t"), "tabs"),
    "bars": ("a.csv", SEMICOLONS.replace(";", "|"), "vertical bars"),
    "commas in a .tsv": ("a.tsv", COMMAS, "commas"),
    "a line that names the separator": ("a.csv", "sep=;\n" + SEMICOLONS, "semicolons"),
    "byte order mark": ("a.csv", COMMAS.encode("utf-8-sig"), ""),
    "mark and semicolons": ("a.csv", SEMICOLONS.encode("utf-8-sig"), "semicolons"),
    "utf-16": ("a.csv", COMMAS.encode("utf-16"), "UTF-16"),
    "utf-16, big end first": ("a.csv", b"\xfe\xff" + COMMAS.encode("utf-16-be"), "UTF-16"),
    "utf-32": ("a.csv", COMMAS.encode("utf-32"), "UTF-32"),
    "ends of windows": ("a.csv", COMMAS.replace("\n", "\r\n"), ""),
    "ends of old macs": ("a.csv", COMMAS.replace("\n", "\r"), ""),
    "no end": ("a.csv", COMMAS.removesuffix("\n"), ""),
    "blank lines": ("a.csv", "\n" + COMMAS.replace("\n", "\n\n"), ""),
    "the index of pandas": ("a.csv", FRAME.to_csv(), ""),
    "spaces around the names": ("a.csv", COMMAS.replace("text,label", " text , label"), ""),
    "other case": ("a.csv", COMMAS.replace("text,label", "Text,LABEL"), ""),
    "columns": ("a.json", FRAME.to_json(), "one JSON object of 2 columns"),
    "columns over several lines": ("a.json", FRAME.to_json(indent=2), "one JSON object of 2 columns"),
    "index": ("a.json", FRAME.to_json(orient="index"), "one JSON object of 2 columns"),
    "split": ("a.json", FRAME.to_json(orient="split"), "one JSON object of 2 columns"),
    "table": ("a.json", FRAME.to_json(orient="table"), "one JSON object of 3 columns"),
    "lists": ("a.json", pandas.Series(FRAME.to_dict("list")).to_json(), "one JSON object of 2 columns"),
    "records": ("a.json", FRAME.to_json(orient="records"), ""),
    "records, utf-16": ("a.json", FRAME.to_json(orient="records", force_ascii=False).encode("utf-16"), ""),
    "lines": ("a.json", FRAME.to_json(orient="records", lines=True), ""),
    "lines with a mark": ("a.jsonl", FRAME.to_json(orient="records", lines=True).encode("utf-8-sig"), ""),
}


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize(("name", "content", "said"), READ.values(), ids=READ)
def test_a_table_that_can_be_read_in_one_way_is_read_in_that_way(tmp_path, name, content, said):
    source = load_source(write(tmp_path / name, content), "labeled")
    found = inspect_data(source.dataset)
    texts = source.dataset[found.input_column][:]
    labels = [found.label_names[index] for index in found.labels]
    assert list(zip(texts, labels, strict=True)) == ROWS
    assert said in " ".join(source.notes) and bool(said) == bool(source.notes)


# case: (name of the file, content, what the error says after the name of the file or around it)
REFUSED = {
    "a column without a name": (
        "a.csv",
        "text,label\nAnn,a film,pos\nBob,b film,neg\n",
        "line 2 of {} has 3 fields, and the header has 2 (text, label); name every column in the first line, or put "
        "texts with commas in double quotes",
    ),
    "a comma without quotes": (
        "a.csv",
        "text,label\nx,pos\n\na film, that is,neg\n",
        "line 4 of {} has 3 fields, and the header has 2 (text, label); put texts with commas in double quotes",
    ),
    "semicolons in a text": (
        "a.csv",
        "text;label\nx;pos\nwell; yes;neg\n",
        "line 3 of {} has 3 fields, and the header has 2 (text, label); put texts with semicolons in double quotes",
    ),
    "a name without a column": (
        "a.csv",
        "id,text,label\na film,pos\nb film,neg\n",
        "line 2 of {} and all others have at most 2 fields, and the header has 3 (id, text, label); name the columns",
    ),
    "a line after one of several lines": (
        "a.csv",
        'text,label\n"x\ny\nz",pos\na,b,neg\n',
        "line 5 of {} has 3 fields",
    ),
    "latin-1": ("a.csv", "text,label\nx,pos\ncafé,neg\n".encode("latin-1"), "is not UTF-8 text (line 3, byte 0xe9)"),
    "cp1252": ("a.csv", "text,label\nit\u2019s,pos\n".encode("cp1252"), "is not UTF-8 text (line 2, byte 0x92)"),
    "latin-1, old mac": ("a.csv", "text,label\rx,pos\rcafé,neg\r".encode("latin-1"), "(line 3, byte 0xe9)"),
    "latin-1 json": ("a.json", '[{"text": "x"},\n{"text": "é"}]'.encode("latin-1"), "(line 2, byte 0xe9)"),
    "latin-1 lines": ("a.jsonl", '{"text": "x"}\n{"text": "é"}\n'.encode("latin-1"), "(line 2, byte 0xe9)"),
    "half a character": ("a.csv", "text,label\nx,y\n".encode("utf-16")[:-1], "is not UTF-16 text (it ends in the"),
    "utf-16 without a mark": ("a.csv", "text,label\nx,y\n".encode("utf-16-le"), "line 1 of {} has a NUL character"),
    "nul": ("a.csv", b"text,label\nx,pos\ny\0,neg\n", "line 3 of {} has a NUL character"),
    "an open quote": ("a.csv", 'text,label\nx,pos\n"y,neg\nz,pos\n', "opened in line 3 of {} is never closed"),
    "a second header": (
        "a.csv",
        "text,label\nx,pos\ntext,label\ny,neg\n",
        "line 3 of {} has the names of the columns once more (text, label)",
    ),
    "an open quote at the end": ("a.csv", 'text,label\nx,pos\nz,"pos', "opened in line 3 of {} is never closed"),
    "two columns of one name": ("a.csv", "text,text,label\nx,y,pos\n", "has two columns with the name 'text'"),
    "two but for spaces": ("a.csv", "text, text,label\nx,y,pos\n", "has two columns with the name 'text'"),
    "rows without names": ("a.json", FRAME.to_json(orient="values"), "has rows without names of columns"),
    "an object of objects": ("a.json", '{"a": {"x": 1}, "b": {"y": 2}}', "is not a list of rows"),
    "a spreadsheet": ("a.xlsx", b"PK\3\4", "is a spreadsheet of another program; save it as CSV (UTF-8) there"),
    "a spreadsheet named .csv": ("a.csv", b"PK\3\4\0", "is a zip archive or a spreadsheet"),
    "an archive": ("a.zip", b"PK\3\4", "is an archive; unpack it"),
    "a compressed table": ("a.csv.gz", b"\x1f\x8b", "is an archive; unpack it"),
    "a compressed table named .csv": ("a.csv", b"\x1f\x8b\x08", "is compressed (gzip); unpack it"),
    "parquet named .csv": ("a.csv", b"PAR1", "is a Parquet file; name it .parquet"),
    "a page to sign in": ("a.csv", "<!DOCTYPE html>\n<html>", "is a web page and not a table"),
    "a document": ("a.pdf", b"%PDF", "is a document; save its texts as CSV"),
    "a pickle": ("a.pkl", b"x", "is a pickle, which could run any code"),
}


@pytest.mark.parametrize(("name", "content", "message"), REFUSED.values(), ids=REFUSED)
def test_a_table_that_cannot_be_read_is_refused_by_the_line(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    with pytest.raises(ValueError) as caught:
        load_source(path, "labeled")
    assert message.format(path) in str(caught.value) and path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_long_texts_are_read_and_endless_ones_are_not(tmp_path):
    before = csv.field_size_limit()
    text = "word " * 60_000
    source = load_source(write(tmp_path / "a.csv", f"text,label\n{text},pos\nb,neg\n"), "labeled")
    assert source.dataset["text"][:] == [text, "b"]
    with pytest.raises(ValueError, match=r"line 2 of .* is longer than 16,777,216 characters"):
        load_source(write(tmp_path / "b.csv", "text,label\n" + "a" * LONGEST_ROW), "labeled")
    assert csv.field_size_limit() == before


def test_lines_that_are_too_short_are_counted(tmp_path):
    source = load_source(write(tmp_path / "a.csv", "text,label\nx,pos\na\nb\n"), "labeled")
    assert source.dataset["label"][:] == ["pos", None, None]
    assert "2 lines have fewer fields than the header, the first is line 3" in source.notes[0]


@pytest.mark.parametrize(("encoding", "lines"), [("utf-16", ["café", "b"]), ("utf-8-sig", ["café", "b"])])
def test_lines_of_text_in_other_encodings(tmp_path, encoding, lines):
    (tmp_path / "a.txt").write_bytes("café\r\nb\r\n".encode(encoding))
    assert load_source(str(tmp_path / "a.txt"), "unlabeled").dataset["text"][:] == lines


def test_a_line_of_latin_1_is_named(tmp_path):
    (tmp_path / "a.txt").write_bytes("one\ncafé\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"\(line 2, byte 0xe9\); save it as UTF-8"):
        load_source(str(tmp_path / "a.txt"), "unlabeled")


def test_texts_that_are_numbers_are_texts(tmp_path):
    source = load_source(write(tmp_path / "a.csv", "text,label\n1,01\n2.50,02\n"), "labeled")
    assert inspect_data(source.dataset).input_columns == ("text",)
    assert source.dataset["text"][:] == ["1", "2.50"]


@pytest.mark.parametrize(("name", "form"), [("a.csv", "text,label\nx,{}\ny,{}\n"), ("a.jsonl", None)])
def test_dates_are_names_of_classes(tmp_path, name, form):
    days = ["2020-01-01", "2021-12-31"]
    content = form.format(*days) if form else "".join(f'{{"text": "{day}!", "label": "{day}"}}\n' for day in days)
    assert inspect_data(load_source(write(tmp_path / name, content), "labeled").dataset).label_names == days


def test_dates_of_a_table_with_types_are_the_same_classes():
    days = [datetime.date(2020, 1, 1), datetime.date(2021, 12, 31)]
    dataset = datasets.Dataset.from_dict({"text": ["x", "y"], "label": days})
    assert inspect_data(dataset).label_names == ["2020-01-01", "2021-12-31"]


def test_tables_of_a_folder_are_written_alike(tmp_path):
    for name in ("a.csv", "b.csv"):
        write(tmp_path / name, SEMICOLONS)
    source = load_source(str(tmp_path), "labeled")
    assert source.dataset["text"][:] == [text for text, _ in ROWS] * 2
    write(tmp_path / "b.csv", COMMAS)
    with pytest.raises(ValueError, match=r"b\.csv has another separator or encoding than .*a\.csv"):
        load_source(str(tmp_path), "labeled")


# case: (names of classes, those that are alike)
ALIKE = {
    "case": (["neg", "NEG", "pos"], [["neg", "NEG"]]),
    "spaces": (["pos ", "pos", "a  b", "a b"], [["pos ", "pos"], ["a  b", "a b"]]),
    "forms of unicode": (["café", "cafe\u0301", "x"], [["café", "cafe\u0301"]]),
    "what is not seen": (["ab", "a\u200bb", "a b", "a\u00a0b"], [["ab", "a\u200bb"], ["a b", "a\u00a0b"]]),
    "wide letters": (["\uff21\uff22", "ab"], [["\uff21\uff22", "ab"]]),
    "numbers": (["1", "1.0", "01", "2"], [["1", "1.0"]]),
}


@pytest.mark.parametrize(("names", "groups"), ALIKE.values(), ids=ALIKE)
def test_names_that_look_alike_are_found(names, groups):
    assert alike(names) == groups
