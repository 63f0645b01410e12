"""`hf-ssl inspect`: from what a run leaves to its page, whatever the run is and whatever is missing."""

import json
import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.benchmark.grid.cell_file import make_result, write
from hf_ssl.benchmark.grid.cells import Cell
from hf_ssl.cli import main
from hf_ssl.hub.upload import published_files

from tests.helpers.command_data import audio_folders, image_folders, save_model, texts, write_csv

QUICK = ["--per_device_train_batch_size", "4", "--use_cpu", "--disable_tqdm", "true", "--save_strategy", "no"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The folder of all features in this file."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("features")
        patch.setattr("hf_ssl.features.bank.default_cache", lambda: folder)
        yield folder


@pytest.fixture(scope="module")
def base(tmp_path_factory, cache):
    """A folder with data of three modalities and a tiny model for each."""
    folder = tmp_path_factory.mktemp("data")
    image_folders(folder / "image")
    audio_folders(folder / "audio")
    (folder / "text").mkdir()
    write_csv(folder / "text" / "labeled", texts(12, 0)).rename(folder / "text" / "labeled.csv")
    write_csv(folder / "text" / "test", texts(9, 1)).rename(folder / "text" / "test.csv")
    (folder / "text" / "pool.txt").write_text("\n".join(text for text, _ in texts(20, 2)))
    for modality in ("image", "audio", "text"):
        save_model(modality, folder / f"{modality}_model")
    return folder


def sources(base, modality):
    names = {"labeled": "labeled", "unlabeled": "pool", "test": "test"}
    if modality == "text":
        names = {"labeled": "labeled.csv", "unlabeled": "pool.txt", "test": "test.csv"}
    return {option: str(base / modality / name) for option, name in names.items()}


def train(base, run, modality, *options):
    words = [word for name, place in sources(base, modality).items() for word in (f"--{name}", place)]
    model = ["--model", str(base / f"{modality}_model"), "--output-dir", str(run)]
    assert main(["train", *words, *model, *QUICK, *options]) == 0
    return run


@pytest.fixture(scope="module")
def runs(base, tmp_path_factory):
    """A run of each kind, trained when a test first asks for it: (modality, *options) -> its folder."""
    made = {}

    def run(modality, *options):
        if (modality, options) not in made:
            folder = tmp_path_factory.mktemp("run") / "run"
            made[modality, options] = train(base, folder, modality, *options)
        return made[modality, options]

    return run


@pytest.fixture
def inspect(monkeypatch, capsys):
    """Runs the command; the document that the page was made of, and what was printed."""

    def look(place, *options):
        found = []
        from hf_ssl.report.inspection import page

        real = page.write_page
        with monkeypatch.context() as patch:
            patch.setattr(page, "write_page", lambda path, data: (found.append(data), real(path, data)))
            assert main(["inspect", str(place), "--map", "pca", *map(str, options)]) == 0
        json.dumps(found[0], allow_nan=False)
        return found[0], capsys.readouterr().out

    return look


def part_sizes(document):
    return np.bincount(document["examples"]["part"], minlength=3).tolist()


FEATURES = ("--algorithm", "features")


@pytest.mark.parametrize(("modality", "kind"), [("image", "image"), ("text", "text"), ("audio", "audio")])
def test_a_staged_run_shows_both_stages_on_examples_with_their_media(runs, inspect, modality, kind):
    run = runs(modality, *FEATURES)
    document, printed = inspect(run)
    sizes = {"image": [15, 12, 9], "text": [12, 20, 9], "audio": [9, 9, 9]}[modality]
    assert part_sizes(document) == sizes
    kept = next(row["algorithm"] for row in document["stages"] if row["kept"])
    assert sorted(document["methods"]) == ["features", "probe"] and document["methods"][-1] == kept
    assert all(each >= 0 for each in document["examples"]["media"])
    assert {medium["kind"] for medium in document["media"]} == {kind}
    test_accuracy = next(row["test_accuracy"] for row in document["stages"] if row["kept"])
    counts = np.array(document["confusion"]["counts"])
    assert counts.trace() / counts.sum() == pytest.approx(test_accuracy)
    assert document["verdict"].startswith("Kept: ") and document["command"].startswith("hf-ssl train --model ")
    assert f"Written to {run / 'inspect.html'}" in printed and (run / "inspect.html").stat().st_size < 500_000


def test_features_come_from_the_cache_of_the_training(runs, inspect, cache):
    # A run that no other test looks at, which would leave features of its own.
    run = runs("text", *FEATURES, "--max_length", "9")
    before = sorted(cache.iterdir())
    inspect(run)
    assert sorted(cache.iterdir()) == before


def test_nothing_of_it_names_local_folders_or_is_published(runs, inspect, base):
    run = runs("image", *FEATURES)
    document, _ = inspect(run)
    page = (run / "inspect.html").read_text()
    assert str(base) not in page and str(run.parent) not in page
    assert "0.png" in document["examples"]["name"]
    assert not {"sources.json", "predictions.safetensors", "inspect.html"} & set(published_files(run))


def test_a_fine_tuned_model_looks_at_labels_and_pool_once(runs, inspect):
    run = runs("text", "--max-steps", "3")
    rows = json.loads((run / "results.json").read_text())["runs"]
    if not rows[-1]["kept"]:
        pytest.skip("fine-tuning was given up")
    document, printed = inspect(run)
    assert document["methods"] == ["probe", "features", "distillation"] and "41 examples, once" in printed
    assert document["curves"]["loss"]["distillation"] and any("in training" in value for _, value in document["facts"])


def test_a_named_algorithm_is_asked_about_all_examples_and_has_its_own_map(runs, inspect):
    run = runs("image", "--algorithm", "pseudo_label", "--max-steps", "4", "--baseline")
    document, _ = inspect(run)
    assert document["methods"] == ["pseudo_label"] and part_sizes(document) == [15, 12, 9]
    assert set(document["curves"]["loss"]) == {"supervised", "pseudo_label"}
    assert all(value is not None for value in document["examples"]["x"])
    counts = np.array(document["confusion"]["counts"])
    last = document["stages"][-1]["test_accuracy"]
    assert counts.trace() / counts.sum() == pytest.approx(last)
    facts = dict(document["facts"])
    assert "not looked for" in facts["Wrong labels, duplicates"] and document["label_errors"] == []


# ---- What is missing ----


@pytest.fixture
def moved(base, runs, tmp_path):
    """A run of its own whose data are in a folder that tests may change: (run, folder)."""
    shutil.copytree(base / "text", tmp_path / "text")
    shutil.copytree(base / "text_model", tmp_path / "text_model")
    return train(tmp_path, tmp_path / "run", "text", *FEATURES), tmp_path


def notes(document):
    return " ".join(value for name, value in document["facts"] if name == "Note")


def test_data_that_were_moved_are_named_and_predictions_shown_without_them(moved, inspect):
    run, folder = moved
    (folder / "text").rename(folder / "elsewhere")
    document, printed = inspect(run)
    assert part_sizes(document) == [12, 20, 9] and document["media"] == [] and document["confusion"] is not None
    assert "the data cannot be read any more" in notes(document) and "--labeled" in printed
    assert str(folder) not in notes(document)
    again = [word for name in sources(folder, "text") for word in (f"--{name}", "")]
    again[1::2] = [place.replace("/text/", "/elsewhere/") for place in sources(folder, "text").values()]
    document, _ = inspect(run, *again)
    assert len(document["media"]) == 41 and notes(document) == ""


def test_data_that_have_changed_since_are_not_taken_for_those_of_the_run(moved, inspect):
    run, folder = moved
    (folder / "text" / "pool.txt").write_text("one text\nanother text")
    document, _ = inspect(run)
    assert "the data have changed since: then 12 labeled, 20 pool, 9 test, now 12 labeled, 2 pool" in notes(document)
    assert document["media"] == []


def test_without_the_pretrained_model_the_trained_one_makes_the_map(moved, inspect):
    run, folder = moved
    shutil.rmtree(folder / "text_model")
    document, _ = inspect(run)
    assert "the pretrained model cannot be loaded any more" in notes(document)
    assert all(value is not None for value in document["examples"]["x"]) and len(document["media"]) == 41


def test_a_broken_file_of_the_pool_is_left_out(runs, inspect):
    run = runs("image", *FEATURES)
    pool = Path(json.loads((run / "sources.json").read_text())["arguments"]["unlabeled"])
    assert [path.name for path in pool.rglob("cut.jpg")] == ["cut.jpg"]
    document, _ = inspect(run)
    assert "cut.jpg" not in document["examples"]["name"]


# ---- Other runs ----


@pytest.fixture
def trained(base, tmp_path):
    """What SSLTrainer leaves, without a command."""
    rows = datasets.Dataset.from_csv(str(base / "text" / "labeled.csv"), cache_dir=str(tmp_path / "cache"))
    pool = datasets.Dataset.from_dict({"text": [text for text, _ in texts(20, 2)]})
    args = SSLConfig(
        str(tmp_path / "own"),
        algorithm="freematch",
        max_steps=2,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        dataloader_num_workers=0,
        save_strategy="no",
        per_device_train_batch_size=4,
    )
    trainer = SSLTrainer(str(base / "text_model"), args, train_dataset=rows, unlabeled_dataset=pool)
    trainer.train()
    trainer.save_model()
    trainer.save_state()
    return tmp_path / "own"


def test_of_a_trainer_s_folder_it_shows_what_is_there_and_more_with_data(trained, inspect, base):
    document, printed = inspect(trained)
    assert part_sizes(document) == [0, 0, 0] and "--labeled, --unlabeled and --test name them" in printed
    assert "loss" in document["curves"] or document["curves"] == {}
    options = [word for name, place in sources(base, "text").items() for word in (f"--{name}", place)]
    document, _ = inspect(trained, *options)
    assert part_sizes(document) == [12, 20, 9] and document["methods"] == ["freematch"]
    document, _ = inspect(trained, "--test", base / "text" / "test.csv", "--unlabeled", base / "text" / "pool.txt")
    assert part_sizes(document) == [0, 20, 9] and document["confusion"]["of"] == "test"


def test_of_a_grid_s_cell_it_loads_the_data_of_its_draw(tmp_path, inspect):
    cell = Cell("digits", 40, 1, "fixmatch", "tiny-resnet", {"training": {"max_steps": 5}})
    row = {"algorithm": "fixmatch", "seed": 1, "test_accuracy": 0.8, "num_labeled": 40, "num_unlabeled": 1144}
    curves = [{"step": 5, "test_accuracy": 0.8, "loss": 1.0}]
    path = write(tmp_path / str(cell.path), make_result(cell, "0" * 16, row, {"last": None, "best": None}, curves, {}))
    document, printed = inspect(path, "--examples", 200)
    assert part_sizes(document)[0] == 40 and sum(part_sizes(document)) <= 200
    assert document["methods"] == [] and document["curves"]["accuracy"] == {"fixmatch": [[5, 0.8]]}
    assert [row["labeled"] for row in document["classes"]] == [4] * 10 and len(document["media"]) > 40
    assert "keeps no models" in printed and "not those of the cell" in notes(document)
    assert path.with_suffix(".html").is_file()


# Words after `inspect` -> the error, with {folder} for an empty folder.
WRONG = {
    "nothing there": (["{folder}/no"], "RUN must exist, got {folder}/no"),
    "no run": (["{folder}"], "RUN must be"),
    "no cell": (["{folder}/a.json"], "a.json"),
    "too many": (["{folder}", "--examples", "20000"], "--examples must be in 1..10000, got 20000"),
    "another suffix": (["{folder}", "--output", "{folder}/page.txt"], "--output must be a .html file"),
}


@pytest.mark.parametrize(("words", "error"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_one_line(tmp_path, capsys, words, error):
    (tmp_path / "a.json").write_text("{}")
    assert main(["inspect", *(word.format(folder=tmp_path) for word in words)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hf-ssl: error: ") and error.format(folder=tmp_path) in line


def test_another_page_is_not_overwritten_unless_told(runs, tmp_path, capsys):
    run, page = runs("text", *FEATURES), tmp_path / "page.html"
    page.write_text("mine")
    assert main(["inspect", str(run), "--output", str(page)]) == 2 and page.read_text() == "mine"
    assert main(["inspect", str(run), "--output", str(page), "--overwrite", "--map", "pca"]) == 0
    assert page.read_text().startswith("<!")
