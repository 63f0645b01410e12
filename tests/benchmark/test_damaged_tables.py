"""Tables and lists of raw sources that are damaged: one error that names file and row."""

import json
from pathlib import Path

import pytest

from hf_ssl.benchmark.readers import open_source

from tests.helpers.benchmark_sources import TASKS, edit_file, make_source

CSV_ROWS = {
    "too few columns": ('"1","only a title"', r"row 2 .*expected 3 columns \(class, title, description\), got 2"),
    "too many columns": ('"1","a","b","c"', r"row 2 .*expected 3 columns \(class, title, description\), got 4"),
    "class beyond the list": ('"5","a","b"', r"row 2: label '5' is not one of the classes 1\.\.4"),
    "class 0": ('"0","a","b"', r"row 2: label '0' is not one of the classes 1\.\.4"),
    "class that is not a number": ('"World","a","b"', "row 2: label 'World' is not one"),
    "quotation mark that never closes": ('"1","a","b', "row 2"),
    "text after a quotation mark": ('"1","a"x,"b"', "row 2"),
}


@pytest.mark.parametrize(("row", "reason"), CSV_ROWS.values(), ids=CSV_ROWS)
def test_csv_row_that_does_not_fit_is_named(row, reason, tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text(f'"1","a","b"\n{row}\n')
    with pytest.raises(ValueError, match=rf"train\.csv, {reason}"):
        open_source(TASKS["ag_news"], tmp_path, tmp_path)


def test_csv_that_is_not_utf8_is_named(tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_bytes(b'"1","a","b"\n"2","caf\xe9","b"\n')
    with pytest.raises(ValueError, match=r"train\.csv, after row .*not UTF-8"):
        open_source(TASKS["ag_news"], tmp_path, tmp_path)


LISTS = {
    "class that is not a number": ("u_train_in/0.jpg bird", "label 'bird' is not one of the classes"),
    "missing image": ("u_train_in/nothing.jpg 3", "there is no image u_train_in/nothing.jpg"),
    "class beyond the list": ("u_train_in/0.jpg 200", r"label '200' is not one of the classes 0\.\.199"),
    "named twice": ("u_train_in/1.jpg 3", r"u_train_in/1\.jpg was named before, by .*u_train_in\.txt, row 2"),
    "in two lists": ("trainval_images/{first} 3", r"was named before, by .*l_train_val\.txt, row 1"),
    "absolute path": ("/etc/hostname 3", "leads out of the source"),
    "parent folder": ("../secret.jpg 3", "leads out of the source"),
}


@pytest.fixture(scope="module")
def semi_aves(tmp_path_factory):
    return make_source("semi_aves", tmp_path_factory.mktemp("semi_aves"), per_class=1)


@pytest.mark.parametrize(("line", "reason"), LISTS.values(), ids=LISTS)
def test_list_entry_that_does_not_fit_is_named(line, reason, semi_aves, tmp_path):
    lists = semi_aves.folder / "semi_aves"
    first = (lists / "l_train_val.txt").read_text().split(" ")[0].removeprefix("trainval_images/")
    whole = (lists / "u_train_in.txt").read_text()
    lines = whole.splitlines()
    lines[4] = line.format(first=first)
    (lists / "u_train_in.txt").write_text("\n".join(lines))
    try:
        with pytest.raises(ValueError, match=rf"u_train_in\.txt, row 5: .*{reason}"):
            open_source(semi_aves.task, semi_aves.folder, tmp_path)
    finally:
        (lists / "u_train_in.txt").write_text(whole)


JSON_FILES = {
    "cut off": ('{"0": {"ori": "a", "label": 0}, "1": {"ori": "b', "row 2: it is not valid JSON"),
    "no object": ('[{"ori": "a"}]', "row 1: expected {, got '\\['"),
    "row that is not an object": ('{"0": 3}', "row 1: expected a name and an object"),
    "missing text": ('{"0": {"label": 0}}', "row 1: expected a text 'ori', got a row with 'label'"),
    "label beyond the list": (
        '{"0": {"ori": "a", "label": "4"}}',
        r"row 1: label '4' is not one of the classes 0\.\.3",
    ),
    "missing label": ('{"0": {"ori": "a"}}', "row 1: label None"),
    "missing comma": ('{"0": {"ori": "a", "label": 0} "1": {}}', "row 2: expected ,, got '\""),
    "some augmented": (
        '{"0": {"ori": "a", "aug_0": "b", "aug_1": "c", "label": 0}, "1": {"ori": "b", "label": 0}}',
        "row 2: it has no augmentation, other rows ",
    ),
    "empty": ("", "row 1: expected {, got the end of the file"),
}


@pytest.mark.parametrize(("content", "reason"), JSON_FILES.values(), ids=JSON_FILES)
def test_json_that_does_not_fit_is_named(content, reason, tmp_path):
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.json").write_text(content)
    with pytest.raises(ValueError, match=rf"train\.json, {reason}"):
        open_source(TASKS["ag_news"], tmp_path, tmp_path)


TABLES = {
    "urbansound8k, fold": (
        "urbansound8k",
        "UrbanSound8K/metadata/UrbanSound8K.csv",
        ",1,1,0,air",
        ",1,11,0,air",
        "row 1, fold",
    ),
    "urbansound8k, class": (
        "urbansound8k",
        "UrbanSound8K/metadata/UrbanSound8K.csv",
        ",1,car_horn",
        ",1,siren",
        "row 2: class 1",
    ),
    "urbansound8k, columns": (
        "urbansound8k",
        "UrbanSound8K/metadata/UrbanSound8K.csv",
        ",1,car_horn",
        ",1",
        "row 2: expected 8 columns, got 7",
    ),
    "urbansound8k, header": (
        "urbansound8k",
        "UrbanSound8K/metadata/UrbanSound8K.csv",
        "classID",
        "class_id",
        "no column classID",
    ),
    "esc50, class": (
        "esc50",
        "ESC-50-master/meta/esc50.csv",
        ",0,dog",
        ",50,dog",
        r"row 1: label '50' is not one of .*0\.\.49",
    ),
    "esc50, missing file": (
        "esc50",
        "ESC-50-master/meta/esc50.csv",
        "2-1000-A-0.wav",
        "none.wav",
        "row 1: there is no file .*none.wav",
    ),
    "esc50, other folder": (
        "esc50",
        "ESC-50-master/meta/esc50.csv",
        "2-1000",
        "../2-1000",
        "row 1: expected the name of a file without folders, got '../2-1000",
    ),
    "fsdnoisy, class": (
        "fsdnoisy",
        "FSDnoisy18k.meta/test.csv",
        ",Rain,",
        ",Snow,",
        r"row \d+: 'Snow' is not one of the 20",
    ),
    "fsdnoisy, mark": (
        "fsdnoisy",
        "FSDnoisy18k.meta/train.csv",
        ",0,0",
        ",x,0",
        "row 1: manually_verified must be 0 or 1, got 'x'",
    ),
    "superbks, list": (
        "superbks",
        "speech_commands_v0.01/testing_list.txt",
        "yes/0",
        "yes/9",
        "row 1: there is no file yes/9",
    ),
}


@pytest.mark.parametrize(("name", "table", "old", "new", "reason"), TABLES.values(), ids=TABLES)
def test_table_of_sounds_that_does_not_fit_is_named(name, table, old, new, reason, tmp_path):
    source = make_source(name, tmp_path / "raw", per_class=1)
    edit_file(source.folder / table, old, new)
    with pytest.raises(ValueError, match=rf"{Path(table).name}.*{reason}"):
        open_source(source.task, source.folder, tmp_path / "work")


def test_json_rows_are_limited(tmp_path, monkeypatch):
    """A quotation mark that never closes must not take all of a large file into memory."""
    monkeypatch.setattr("hf_ssl.benchmark.readers.texts._READ", 1000)
    monkeypatch.setattr("hf_ssl.benchmark.readers.texts.LONGEST_ROW", 5000)
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.json").write_text('{"0": {"ori": "' + json.dumps("x" * 50_000))
    with pytest.raises(ValueError, match=r"train\.json, row 1: it is not valid JSON"):
        open_source(TASKS["ag_news"], tmp_path, tmp_path)


def test_label_may_be_missing_in_the_unlabeled_list_alone(semi_aves, tmp_path):
    lists = semi_aves.folder / "semi_aves"
    wholes = {name: (lists / f"{name}.txt").read_text() for name in ("u_train_in", "test")}
    try:
        (lists / "u_train_in.txt").write_text("u_train_in/0.jpg\n\nu_train_in/1.jpg -1\nu_train_in/2.jpg 3\n")
        splits = open_source(semi_aves.task, semi_aves.folder, tmp_path)
        assert splits["unlabeled"].labels.tolist() == [-1, -1, 3]
        (lists / "test.txt").write_text("test/0.jpg\n")
        with pytest.raises(ValueError, match=r"test\.txt, row 1: expected 'path label', got 'test/0.jpg'"):
            open_source(semi_aves.task, semi_aves.folder, tmp_path)
    finally:
        for name, whole in wholes.items():
            (lists / f"{name}.txt").write_text(whole)
