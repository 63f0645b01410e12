"""Whatever a person names becomes a dataset, or one line that says what is wrong with it."""

import errno

import datasets
import pytest

from hf_ssl.data.columns import inspect_data
from hf_ssl.data.labels import missing_labels
from hf_ssl.data.sources import load_source

from tests.helpers.command_data import audio_folders, image_folders, write_csv, write_image
from tests.helpers.tiny_tasks import make_sounds

ROWS = [("a rose, red", "red"), ("NA", "none"), ("null", "blue")]


def write_table(folder, suffix):
    path = folder / f"rows{suffix}"
    dataset = datasets.Dataset.from_dict({"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]})
    if suffix == ".csv":
        write_csv(path, ROWS)
    elif suffix == ".tsv":
        path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in ROWS))
    elif suffix == ".parquet":
        dataset.to_parquet(path)
    else:
        dataset.to_json(path, lines=suffix == ".jsonl")
    return str(path)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl", ".parquet"])
def test_a_table_is_read_word_for_word(tmp_path, suffix):
    dataset = load_source(write_table(tmp_path, suffix), "labeled").dataset
    assert [(row["text"], row["label"]) for row in dataset] == ROWS


def test_a_table_with_brackets_in_its_name_is_one_file(tmp_path):
    write_csv(tmp_path / "a[1].csv", ROWS)
    write_csv(tmp_path / "a1.csv", ROWS * 2)
    assert len(load_source(str(tmp_path / "a[1].csv"), "labeled").dataset) == 3


def test_names_of_files_in_a_table_are_taken_from_its_folder(tmp_path):
    picture = write_image(tmp_path / "pictures" / "1.png", "red")
    path = write_csv(tmp_path / "list.csv", [("pictures/1.png", "red")], header=("file", "label"))
    assert load_source(str(path), "labeled").dataset[0]["file"] == str(picture)


def test_lines_are_texts_and_blank_ones_are_counted(tmp_path):
    (tmp_path / "lines.txt").write_text("\ufeffone\n\n  two words \n\n", encoding="utf-8")
    source = load_source(str(tmp_path / "lines.txt"), "unlabeled", input_column="sentence")
    assert source.dataset.to_dict() == {"sentence": ["one", "two words"]}
    assert source.notes == [f"{tmp_path / 'lines.txt'}: 2 empty lines left out"]


def test_class_folders_give_names_and_other_files_are_counted(tmp_path):
    folders = image_folders(tmp_path, per_class=2)
    (tmp_path / "labeled" / "red" / "deep").mkdir()
    write_image(tmp_path / "labeled" / "red" / "deep" / "x.JPG", "red")
    (tmp_path / "labeled" / "red" / "Thumbs.db").write_bytes(b"")
    source = load_source(folders["labeled"], "labeled")
    assert source.dataset.features["label"].names == ["blue", "green", "red"]
    assert source.dataset["label"][:] == [0, 0, 1, 1, 2, 2, 2]
    assert source.dataset.features["image"].decode is False
    assert source.notes == [f"{folders['labeled']}: 1 file, no images, ignored"]


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["010", "001", "1e3", "true"], ["001", "010", "1e3", "true"]),
        (["10", "9", "1"], ["1", "9", "10"]),
        (["NA", "null", "-1"], ["-1", "NA", "null"]),
    ],
    ids=["texts", "numbers", "words for nothing"],
)
def test_names_of_class_folders_are_texts(tmp_path, folders, names):
    for folder in folders:
        write_image(tmp_path / folder / "1.png", "red")
    dataset = load_source(str(tmp_path), "labeled").dataset
    found = inspect_data(dataset)
    assert found.label_names == names
    for cell, label in zip(dataset["image"], found.labels, strict=True):
        assert cell["path"].split("/")[-2] == names[label]


def test_a_pool_of_any_nesting_has_no_labels_and_no_hidden_files(tmp_path):
    source = load_source(image_folders(tmp_path)["pool"], "unlabeled", input_column="img")
    assert source.dataset.column_names == ["img"]
    assert len(source.dataset) == 13
    assert not any(".thumbnail" in cell["path"] for cell in source.dataset["img"])


def test_recordings_of_several_formats_are_one_dataset(tmp_path):
    dataset = load_source(audio_folders(tmp_path)["labeled"], "labeled").dataset
    assert {cell["path"].rsplit(".", 1)[1] for cell in dataset["audio"]} == {"wav", "flac", "ogg"}
    assert dataset.features["label"].names == ["high", "low", "middle"]


def test_a_link_back_ends(tmp_path):
    write_image(tmp_path / "a" / "1.png", "red")
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert len(load_source(str(tmp_path), "unlabeled").dataset) == 1


def test_other_columns_beside_recordings_are_looked_at_without_decoding_them(tmp_path):
    make_sounds(3, 0).add_column("speaker", ["ann", "bob", "cy"]).to_parquet(tmp_path / "rows.parquet")
    dataset = load_source(str(tmp_path / "rows.parquet"), "labeled").dataset
    found = inspect_data(dataset)
    assert (found.modality, found.input_column, found.label_names) == ("audio", "audio", ["low", "middle", "high"])


@pytest.fixture
def saved(tmp_path):
    whole = datasets.Dataset.from_dict({"text": ["a", "b", "c"]})
    whole.save_to_disk(tmp_path / "one")
    splits = datasets.DatasetDict({"train": whole.select([0]), "test": whole.select([1, 2]), "extra": whole})
    splits.save_to_disk(tmp_path / "several")
    (tmp_path / "files").mkdir()
    for name, split in splits.items():
        if name != "extra":
            split.to_parquet(tmp_path / "files" / f"{name}.parquet")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "role", "texts"),
    [
        ("one", "labeled", "abc"),
        ("several", "labeled", "a"),
        ("several", "test", "bc"),
        ("several@extra", "labeled", "abc"),
        ("files", "unlabeled", "a"),
        ("files", "test", "bc"),
        ("files@test", "labeled", "bc"),
        ("files@test[:1]", "labeled", "b"),
    ],
)
def test_a_saved_dataset_gives_the_split_that_is_named_or_usual(saved, name, role, texts):
    assert "".join(load_source(str(saved / name), role).dataset["text"]) == texts


@pytest.fixture
def unusable(tmp_path):
    folder = tmp_path
    (folder / "empty").mkdir()
    (folder / "empty" / ".hidden.png").write_bytes(b"")
    (folder / "words").mkdir()
    (folder / "words" / "a.doc").write_text("x")
    (folder / "lines.txt").write_text("one\n")
    (folder / "latin.txt").write_bytes("é".encode("latin-1"))
    (folder / "blank.txt").write_text("\n")
    (folder / "zero.csv").write_text("")
    (folder / "header.csv").write_text("text,label\n")
    (folder / "bad.json").write_text("{nothing")
    (folder / "bad.parquet").write_text("nothing")
    write_image(folder / "loose" / "1.png", "red")
    write_image(folder / "splits" / "train" / "red" / "1.png", "red")
    write_image(folder / "splits" / "test" / "red" / "1.png", "red")
    write_image(folder / "gap" / "red" / "1.png", "red")
    (folder / "gap" / "blue").mkdir()
    write_image(folder / "both" / "1.png", "red")
    (folder / "both" / "1.wav").write_bytes(b"")
    datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(folder / "saved")
    return folder


# case: (source, role, modality, what the error says)
WRONG = {
    "no such file": ("gone.csv", "labeled", None, "there is no file or folder"),
    "no such folder": ("a/b/c", "labeled", None, "ids of Hub datasets have one slash at most"),
    "an empty folder": ("empty", "labeled", None, "is empty"),
    "nothing usable": ("words", "labeled", None, "holds no images, recordings or tables, only .doc"),
    "lines without labels": ("lines.txt", "labeled", None, "has texts without labels"),
    "not utf-8": ("latin.txt", "unlabeled", None, "is not UTF-8"),
    "blank lines only": ("blank.txt", "unlabeled", None, "holds no text"),
    "an empty table": ("zero.csv", "labeled", None, "is empty"),
    "a header only": ("header.csv", "labeled", None, "has no rows"),
    "broken json": ("bad.json", "labeled", None, "cannot be read"),
    "broken parquet": ("bad.parquet", "labeled", None, "cannot be read"),
    "an image without class": ("loose", "labeled", None, "must be in a class folder"),
    "splits for classes": ("splits", "labeled", None, "holds splits (test, train) and not classes"),
    "an empty class": ("gap", "labeled", None, "holds no images"),
    "two modalities": ("both", "unlabeled", None, "holds images and recordings"),
    "another modality": ("loose", "unlabeled", "audio", "must hold recordings, got images"),
    "a split of one dataset": ("saved@test", "labeled", None, "has no split 'test'"),
}


@pytest.mark.parametrize(("name", "role", "modality", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_used_is_one_line_that_names_it(unusable, name, role, modality, message):
    path = name if "/" in name else str(unusable / name)
    with pytest.raises((ValueError, OSError)) as caught:
        load_source(path, role, modality=modality)
    assert message in str(caught.value)
    assert name.partition("@")[0] in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [["x", None, "y"], ["x", "", "y"], ["x", " ", "y"], [1.0, float("nan"), 2.0]],
    ids=["none", "empty", "blank", "nan"],
)
def test_rows_without_a_label_are_found(values):
    rows = datasets.Dataset.from_dict({"label": values})
    assert missing_labels(rows, "label").tolist() == [False, True, False]


LABELS = ["001", "1e3", "1.10", "12345678901234567", "true", "NaN", "NA", "null", "-1", "007"]


def labels_of(path, **given):
    dataset = load_source(str(path), "labeled", **given).dataset
    return dataset[given.get("label_column", "label")][:]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("labels", [LABELS, LABELS[:1], ["1", "2", "10"], ["1.0", "0.5"], ["true", "false"]], ids=len)
def test_labels_of_text_files_are_what_stands_there(tmp_path, suffix, labels):
    separator = "\t" if suffix == ".tsv" else ","
    lines = [f"text {i}{separator}{label}" for i, label in enumerate(labels)]
    path = tmp_path / f"rows{suffix}"
    path.write_text("\n".join([f"text{separator}label", *lines]))
    assert labels_of(path) == labels
    # So they are if the column has another name, and in a folder.
    path.write_text("\n".join([f"text{separator}kind", *lines]))
    assert labels_of(path, label_column="kind") == labels
    assert labels_of(tmp_path, label_column="kind") == labels


# case: (content of a CSV file, its labels)
FORMS = {
    "byte order mark": ("\ufefflabel,text\n01,a\n", ["01"]),
    "quotes": ('text,label\na,"01"\nb,"x, y"\n', ["01", "x, y"]),
    "spaces": ("text,label\na, 01\nb,01 \n", [" 01", "01 "]),
    "windows": ("text,label\r\na,01\r\nb,02\r\n", ["01", "02"]),
    "blank lines": ("\ntext,label\n\na,01\n", ["01"]),
    "an id beside it": ("id,text,label\n7,a,01\n", ["01"]),
}


@pytest.mark.parametrize(("content", "labels"), FORMS.values(), ids=FORMS)
def test_forms_of_csv_files(tmp_path, content, labels):
    (tmp_path / "rows.csv").write_text(content, encoding="utf-8", newline="")
    assert labels_of(tmp_path / "rows.csv") == labels


def test_other_columns_of_a_csv_file_keep_their_types(tmp_path):
    (tmp_path / "rows.csv").write_text("id,title,label\n7,a,01\n8,b,02\n")
    found = inspect_data(load_source(str(tmp_path / "rows.csv"), "labeled").dataset)
    assert (found.input_columns, found.label_names) == (("title",), ["01", "02"])


@pytest.mark.parametrize("cell", ["", '""', " "], ids=["empty", "quotes", "blank"])
def test_an_empty_cell_is_a_missing_label(tmp_path, cell):
    (tmp_path / "rows.csv").write_text(f"text,label\na,1\nb,{cell}\nc,2\n")
    dataset = load_source(str(tmp_path / "rows.csv"), "labeled").dataset
    assert missing_labels(dataset, "label").tolist() == [False, True, False]
    with pytest.raises(ValueError, match="the labeled dataset has no label in row 1"):
        inspect_data(dataset)
    assert inspect_data(dataset.select([0, 2])).label_names == ["1", "2"]


# case: (labels in a JSON Lines file, names of the classes, indices)
JSON = {
    "texts and numbers": ('"a" 1 "a" 2', ["1", "2", "a"], [2, 0, 2, 1]),
    "whole and decimal": ("1 1.0 2", ["1", "2"], [0, 0, 1]),
    "truth values": ("true false true", ["False", "True"], [1, 0, 1]),
    "zeros": ('"001" "010" "002"', ["001", "002", "010"], [0, 2, 1]),
    "long numbers": ("12345678901234568 12345678901234567", ["12345678901234567", "12345678901234568"], [1, 0]),
}


@pytest.mark.parametrize(("cells", "names", "indices"), JSON.values(), ids=JSON)
def test_labels_of_json_lines(tmp_path, cells, names, indices):
    lines = [f'{{"text": "text {i}", "label": {cell}}}' for i, cell in enumerate(cells.split())]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    found = inspect_data(load_source(str(tmp_path / "rows.jsonl"), "labeled").dataset)
    assert (found.label_names, found.labels.tolist()) == (names, indices)


CACHE = str(datasets.config.HF_DATASETS_CACHE)
# case: (what `datasets` raises, what is said)
WRITING = {
    "too little room": (OSError("Not enough disk space. Needed: Unknown size"), "there is no room in {cache}; free"),
    "a full disk": (OSError(errno.ENOSPC, "No space left on device"), "there is no room in {cache}; free"),
    "a disk that is read-only": (
        OSError(errno.EROFS, "Read-only", f"{CACHE}/csv"),
        "{cache} cannot be written to; set",
    ),
    "another file": (
        OSError(errno.EACCES, "Permission denied", "/data/rows.csv"),
        "Permission denied: '/data/rows.csv'",
    ),
}


@pytest.mark.parametrize(("error", "message"), WRITING.values(), ids=WRITING)
@pytest.mark.parametrize("inside", [False, True], ids=["at once", "while it is written"])
def test_a_cache_that_cannot_be_written_is_told_with_the_way_out(tmp_path, monkeypatch, error, message, inside):
    def load(**options):
        if inside:
            raise datasets.exceptions.DatasetGenerationError("failed") from error
        raise error

    monkeypatch.setattr("datasets.load_dataset", load)
    (tmp_path / "rows.csv").write_text("text,label\nx,a\n")
    with pytest.raises((OSError, ValueError)) as caught:
        load_source(str(tmp_path / "rows.csv"), "labeled")
    assert message.format(cache=CACHE) in str(caught.value)
