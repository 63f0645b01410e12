"""Data of one's own in a grid: what an entry may say, what its key depends on, and what is trained on."""

import csv
import json
import os
import shutil

import datasets
import pytest
from PIL import Image

from hf_ssl.benchmark.grid import own_data
from hf_ssl.benchmark.grid.cell_file import read
from hf_ssl.benchmark.grid.data import cell_data
from hf_ssl.benchmark.grid.engines.base import Work
from hf_ssl.benchmark.grid.grid_file import parse_grid
from hf_ssl.benchmark.grid.launching import _written
from hf_ssl.benchmark.grid.running import run_cell
from hf_ssl.cli.recommend_measured import labels_per_class

from tests.helpers.tiny_grid import TRAINING

TENS = ("one", "two", "three", "four", "five")
WORDS = {"sea": "boat wave salt", "wood": "tree moss deer"}


def write_csv(path, count, names=("sea", "wood"), column="topic"):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", column])
        for number in range(count):
            name = names[number % 2]
            words = WORDS[("sea", "wood")[number % 2]].split()
            writer.writerow([f"{words[number // 2 % 3]} {words[number % 3]} of {TENS[number % 5]}", name])


@pytest.fixture
def folder(tmp_path):
    """A folder with the files of a train and a test split."""
    place = tmp_path / "topics"
    place.mkdir()
    write_csv(place / "train.csv", 40)
    write_csv(place / "test.csv", 13)
    return place


def entry(folder, **changes):
    fixed = {"task": "topics", "data": str(folder), "modality": "text", "label_column": "topic", "labels": [6]}
    return {**fixed, **changes}


def grid(*entries, **changes):
    content = {
        "schedule": {"base": "short", "training": {**TRAINING, "start": "random", "max_length": 8}},
        "tasks": list(entries),
        "algorithms": ["fixmatch"],
        "seeds": [0],
        "backbones": {"text": "bag-of-words"},
        **changes,
    }
    return parse_grid(content, "mine")


def work_of(found, tmp_path):
    return Work(tmp_path / "results", data=found.data)


def test_a_cell_has_the_hash_of_its_data_and_no_place(folder):
    found = grid(entry(folder))
    cell = found.cells[0]
    assert (cell.task, cell.modality, cell.task_revision) == ("topics", "text", None)
    assert cell.settings["task"]["data"].keys() == {"train", "test"}
    assert found.data == {"topics": {split: f"{folder}@{split}" for split in ("train", "test")}}
    assert str(folder.parent) not in json.dumps([cell.record(), cell.settings])


def test_a_key_follows_the_content_of_the_data_alone(folder, tmp_path):
    key = grid(entry(folder)).cells[0].key
    (folder / "README.md").write_text("About the topics", encoding="utf-8")
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    assert grid(entry(moved)).cells[0].key == key
    write_csv(moved / "train.csv", 41)
    assert grid(entry(moved)).cells[0].key != key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "ag_news"}, "mine: tasks: task must be a new name for data of your own, got 'ag_news'; choose one"),
        ({"task": None}, "task must be a new name for data of your own, got None"),
        ({"modality": "txt"}, "mine: tasks: topics: unknown modality 'txt', did you mean 'text'?"),
        ({"modality": None}, "topics: unknown modality None; the known ones are image, audio, text"),
        ({"label_column": 3}, "topics: label_column must be the name of a column, got 3"),
        ({"data": {"train": "x"}}, "mine: tasks: topics: data: test is missing; name its file, folder or Hub dataset"),
        ({"data": {"train": "x", "tset": "y"}}, "topics: data: unknown key 'tset', did you mean 'test'?"),
        ({"labels": None}, "mine: tasks: topics: labels is missing, and the task has none of its own"),
        ({"data": ""}, "topics: data must be a mapping with keys of train, test, validation, got ''"),
        (
            {"data": {"train": None, "test": "x"}},
            "data: train must be the name of a file, folder or Hub dataset, got N",
        ),
        (
            {"data": {"train": ["x"], "test": "y"}},
            "data: train must be the name of a file, folder or Hub dataset, got [",
        ),
        (
            {"data": {"train": "no.csv", "test": "y"}},
            "data: train: there is no file or folder no.csv; correct the name",
        ),
        ({"data": "./nowhere"}, "data: train: there is no file or folder nowhere; correct the name"),
        (
            {"data": {"train": "a/b", "test": "a/b"}},
            "train and test must not be the same; write PLACE@SPLIT for parts",
        ),
        ({"name": "ag_news"}, "topics: name must not be that of another task, got 'ag_news'; choose another"),
        ({"deduplicated": True}, "topics: deduplicated is for STL-10; leave it out"),
    ],
)
def test_a_wrong_entry_is_one_line(folder, changes, message):
    with pytest.raises(ValueError, match="mine: tasks") as error:
        grid(entry(folder, **changes))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_what_own_data_lack_is_one_line(folder, tmp_path):
    with pytest.raises(ValueError, match="topics: backbones is missing, and the task has none of its own"):
        grid(entry(folder), backbones={"image": "tiny-resnet"})
    with pytest.raises(ValueError, match="the schedule of topics must be short, got 'usb'; choose that"):
        grid(entry(folder), schedule="usb")
    with pytest.raises(ValueError, match="tasks: modality is for data of your own; name them with data, or leave"):
        grid({"task": "digits", "modality": "image"})
    other = shutil.copytree(folder, tmp_path / "other")
    write_csv(other / "test.csv", 5)
    with pytest.raises(
        ValueError, match="topics must have the same data in every entry; give other data another name"
    ):
        grid(entry(folder), entry(other, labels=[8]))


def test_one_file_is_not_two_splits(folder):
    with pytest.raises(
        ValueError, match="must be a place with the splits train and test, got a file; write train: and"
    ):
        grid(entry(folder / "train.csv"))
    with pytest.raises(ValueError, match="train and test must not be the same"):
        grid(entry(None, data={split: str(folder / "train.csv") for split in ("train", "test")}))


def test_backbones_may_be_named_by_task_for_every_own_task(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    write_csv(other / "test.csv", 5)
    found = grid(entry(folder), entry(other, task="later"), backbones={"topics": "a/b", "later": "c/d"})
    assert {cell.task: cell.backbone for cell in found.cells} == {"topics": "a/b", "later": "c/d"}


def test_changed_data_never_give_a_result_under_the_old_key(folder, tmp_path):
    found = grid(entry(folder))
    work = work_of(found, tmp_path)
    assert len(cell_data(found.cells[0], work).test) == 13
    # Content of other length, in a file of the same name and time: `datasets` takes it for what it has cached.
    stat = (folder / "test.csv").stat()
    write_csv(folder / "test.csv", 6)
    os.utime(folder / "test.csv", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    later = grid(entry(folder))
    assert later.cells[0].key != found.cells[0].key
    assert len(cell_data(later.cells[0], work).test) == 6
    write_csv(folder / "test.csv", 9)
    last = grid(entry(folder))
    write_csv(folder / "test.csv", 4)
    outcome = run_cell(last.cells[0], work)
    assert "the test data must be those of the grid's key, and were changed; run the grid again" in outcome.error


def test_data_that_are_gone_are_the_error_of_the_cell_without_their_place(folder, tmp_path):
    found = grid(entry(folder))
    folder.rename(tmp_path / "elsewhere")
    outcome = run_cell(found.cells[0], work_of(found, tmp_path))
    assert "and were changed; run the grid again" in outcome.error and str(tmp_path) not in outcome.error


def test_a_place_is_read_once_for_its_key(folder, monkeypatch):
    read = []
    monkeypatch.setattr(own_data, "data_hash", lambda place: read.append(place) or "0" * 16)
    grid(entry(folder), entry(folder, name="few", labels=[2]))
    assert read == [folder]


def test_the_hash_of_a_draw_of_files_is_that_of_their_content(tmp_path):
    for split, count in (("train", 6), ("test", 2)):
        for name in ("cat", "dog"):
            place = tmp_path / "photos" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (4, 4), (number, 9 * (name == "dog"), len(split))).save(place / f"{number}.png")
    task = {"task": "pets", "data": str(tmp_path / "photos"), "modality": "image", "labels": [4]}
    moved = shutil.copytree(tmp_path / "photos", tmp_path / "moved")
    draws = []
    for place in (tmp_path / "photos", moved):
        found = grid({**task, "data": str(place)}, seeds=[0, 1, 2], backbones=["tiny-resnet"])
        draws.append([cell_data(cell, work_of(found, tmp_path)).draw for cell in found.cells])
    assert len(set(draws[0])) == 3 and draws[0] == draws[1]


def test_names_of_files_in_a_table_are_refused(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    for split in ("train", "test"):
        rows = "".join(f"{tmp_path}/a.png,{name}\n" for name in ("cat", "dog") * (2 if split == "train" else 3))
        (tmp_path / f"{split}.csv").write_text(f"image,topic\n{rows}", encoding="utf-8")
    places = {split: str(tmp_path / f"{split}.csv") for split in ("train", "test")}
    found = grid(entry(None, data=places, modality="image", labels=[2]), backbones=["tiny-resnet"])
    outcome = run_cell(found.cells[0], work_of(found, tmp_path))
    assert "the data must hold their files, got names of files in column 'image'" in outcome.error


def test_errors_name_no_folder_although_it_has_spaces(tmp_path):
    secret = tmp_path / "my secret place"
    secret.mkdir()
    write_csv(secret / "train.csv", 12)
    (secret / "test.csv").write_text("", encoding="utf-8")
    found = grid(entry(None, data={split: str(secret / f"{split}.csv") for split in ("train", "test")}))
    outcome = run_cell(found.cells[0], work_of(found, tmp_path))
    error = next((tmp_path / "results").rglob("*.error.json")).read_text(encoding="utf-8")
    assert "test.csv" in outcome.error and "secret" not in error


def test_numbered_classes_are_not_matched_with_named_ones(tmp_path):
    words = ["boat wave", "tree moss", "ball goal"]
    train = datasets.Dataset.from_dict({"text": words * 3, "label": [0, 1, 2] * 3})
    names = datasets.ClassLabel(names=["sea", "game", "wood"])
    test = datasets.Dataset.from_dict({"text": words, "label": [0, 2, 1]}).cast_column("label", names)
    for name, rows in (("train", train), ("test", test)):
        rows.to_parquet(tmp_path / f"{name}.parquet")
    places = {split: str(tmp_path / f"{split}.parquet") for split in ("train", "test")}
    found = grid(entry(None, data=places, label_column="label", labels=[3]))
    outcome = run_cell(found.cells[0], work_of(found, tmp_path))
    assert "the test data name their classes and the training data number theirs; name them in both" in outcome.error


def test_the_column_of_the_texts_may_have_any_name(folder, tmp_path):
    for split in ("train", "test"):
        path = folder / f"{split}.csv"
        path.write_text(path.read_text(encoding="utf-8").replace("text,", "Wörter,", 1), encoding="utf-8")
    found = grid(entry(folder, training={"input_column": "Wörter"}))
    assert run_cell(found.cells[0], work_of(found, tmp_path)).error is None


def test_the_splits_have_the_classes_of_the_training_data(tmp_path):
    train, test = tmp_path / "train.csv", tmp_path / "late.csv"
    write_csv(train, 40)
    write_csv(test, 12)
    write_csv(tmp_path / "more.csv", 8)
    places = {"train": str(train), "test": str(test), "validation": str(tmp_path / "more.csv")}
    found = grid(entry(None, data=places))
    data = cell_data(found.cells[0], work_of(found, tmp_path))
    assert len(data.labeled) == 6 and len(data.unlabeled) == 40
    for split in (data.labeled, data.unlabeled, data.test, data.validation):
        assert split.features["label"] == datasets.ClassLabel(names=["sea", "wood"])
        assert "topic" not in split.column_names
    assert data.test["label"] == [0, 1] * 6
    assert sorted(data.labeled["label"]) == [0, 0, 0, 1, 1, 1]


def test_options_of_tasks_hold_for_own_data(folder, tmp_path):
    found = grid(entry(folder, test_examples=4, labeled_imbalance=3, num_unlabeled=9, unlabeled_imbalance=3))
    data = cell_data(found.cells[0], work_of(found, tmp_path))
    assert [data.labeled["label"].count(label) for label in (0, 1)] == [6, 2]
    assert [data.unlabeled["label"].count(label) for label in (0, 1)] == [9, 3]
    assert sorted(data.test["label"]) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("names", "column", "message"),
    [
        (("sea", "wod"), "topic", "the test dataset has the label 'wod', which is not a class of the labeled dataset"),
        (("sea", ""), "topic", "the test data must have a label for every example, got none for row 1"),
        (("sea", "wood"), "theme", "the test data must have the column 'topic' of the training data; add it"),
    ],
)
def test_test_data_that_do_not_fit_are_the_error_of_the_cell(folder, tmp_path, names, column, message):
    write_csv(tmp_path / "late.csv", 12, names, column)
    found = grid(entry(None, data={"train": str(folder / "train.csv"), "test": str(tmp_path / "late.csv")}))
    outcome = run_cell(found.cells[0], work_of(found, tmp_path))
    assert message in outcome.error


def test_data_of_another_modality_are_the_error_of_the_cell(folder, tmp_path):
    found = grid(entry(folder, modality="image"), backbones=["tiny-resnet"])
    outcome = run_cell(found.cells[0], work_of(found, tmp_path))
    assert outcome.path is None and "image" in outcome.error


def test_a_cell_of_own_data_trains_and_tells_how_many_classes_there_are(folder, tmp_path):
    found = grid(entry(folder), entry(folder, name="few", labels=[2]))
    for cell in found.cells:
        outcome = run_cell(cell, work_of(found, tmp_path))
        assert outcome.error is None
        content = read(outcome.path)
        assert content["cell"]["num_classes"] == 2 and content["runs"][0]["num_test"] == 13
    from hf_ssl.benchmark.leaderboard.runs import load_results

    runs = load_results(tmp_path / "results").runs
    assert sorted(labels_per_class(run) for run in runs) == [1, 3]


def test_processes_on_several_gpus_are_told_where_the_data_are(folder, tmp_path):
    found = grid(entry(folder))
    work = Work(tmp_path, data=found.data, imports=("models.py",))
    told = json.loads(json.dumps(_written(found.cells[0], work)))["work"]
    assert told["data"] == found.data and told["imports"] == ["models.py"]
