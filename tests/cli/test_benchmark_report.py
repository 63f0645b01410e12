"""`hf-ssl benchmark report`, `hf-ssl benchmark compare` and `hf-ssl algorithms --recommend --results`."""

import json

import pytest

from hf_ssl.cli import main

from tests.helpers.cell_files import make_cell, write_cell, write_cells

ERRORS = {
    ("ag_news", 40): {"supervised": [15.0, 17.0], "fixmatch": [30.0, 32.0], "comatch": [13.0, 14.0]},
    ("aclImdb", 20): {"supervised": [20.0, 21.0], "fixmatch": [8.0, 9.0], "comatch": [7.5, 9.0]},
    ("yelp_review", 250): {"supervised": [51.0, 51.5], "fixmatch": [51.5, 52.5]},
}


@pytest.fixture
def folder(tmp_path):
    return str(write_cells(tmp_path / "results", ERRORS, modality="text"))


def test_report(folder, capsys):
    assert main(["benchmark", "report", folder]) == 0
    text = capsys.readouterr().out
    assert "16 runs, 3 algorithms, 3 settings" in text
    assert f"Open {folder}/report/index.html in a browser." in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["no-such-folder"], "the results must be a folder, got no-such-folder"),
        (["{folder}", "--metric", "f1"], "--metric must be one of accuracy, got 'f1'; no cell has it"),
        (["{folder}", "--output-dir", "{file}"], "--output-dir must be a folder, got the file"),
    ],
)
def test_a_report_that_cannot_be_made(folder, tmp_path, capsys, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    assert main(["benchmark", "report", *(word.format(folder=folder, file=tmp_path / "file") for word in words)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hf-ssl: error: ") and says in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "results"]


def test_compare(folder, capsys):
    assert main(["benchmark", "compare", "comatch", "supervised", "--results", folder]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("comatch is better than supervised: its error is lower")


def test_recommendations_of_a_results_folder(folder, capsys):
    assert main(["algorithms", "--recommend", "--results", folder]) == 0
    published, _, measured = capsys.readouterr().out.partition("Measured, in")
    assert "arXiv 2208.07204" in published
    rows = [" ".join(line.split()) for line in measured.splitlines() if line.startswith("texts")]
    assert rows == [
        # CoMatch needs three views. With two the labels alone are first on AG News, FixMatch on IMDB.
        "texts up to 10 10 two views supervised 18.2 % 18.2 % - fixmatch (+1.5 ± 0.0)",
        "texts up to 10 10 any number comatch 10.9 % 18.2 % 2 of 2 supervised (+7.4 ± 0.3)",
        # On Yelp FixMatch does not pay: the labels alone are taken.
        "texts more than 10 50 two views supervised 51.2 % 51.2 % - fixmatch (+0.8 ± 0.2)",
        "texts more than 10 50 any number supervised 51.2 % 51.2 % - fixmatch (+0.8 ± 0.2)",
    ]


def test_labels_per_class_of_a_long_tail_are_those_it_has(tmp_path, capsys):
    """Its setting is the size of the largest class alone: 150, 70, 18 and 10 labels are 62 per class, not 38."""
    settings = {"training": {}, "algorithm": {}, "task": {"base": "ag_news", "labeled_imbalance": 10}}
    for algorithm, error in (("uda", 10.0), ("fixmatch", 20.0), ("fully_supervised", 5.0)):
        cell = make_cell("ag_news_lt", 150, 0, algorithm, modality="text", settings=settings)
        path = write_cell(tmp_path, cell, error)
        content = json.loads(path.read_text())
        content["runs"][0]["num_labeled"] = 8000 if algorithm == "fully_supervised" else 248
        path.write_text(json.dumps(content))
    assert main(["algorithms", "--recommend", "--results", str(tmp_path)]) == 0
    _, _, measured = capsys.readouterr().out.partition("Measured, in")
    row = next(line.split() for line in measured.splitlines() if line.startswith("texts"))
    assert row[1:5] == ["more", "than", "10", "62"] and row[7] == "uda"


def test_too_few_results_recommend_nothing(tmp_path, capsys):
    folder = write_cells(
        tmp_path, {("ag_news", 40): {"uda": [1.0]}, ("no such task", 40): {"uda": [1.0], "vat": [2.0]}}
    )
    assert main(["algorithms", "--recommend", "--results", str(folder)]) == 0
    assert "so there is nothing to recommend" in capsys.readouterr().out


def test_recommendations_name_the_algorithms_of_imports_which_they_leave_out(tmp_path, capsys):
    folder = write_cells(tmp_path, {("ag_news", 40): {"uda": [1.0], "vat": [2.0], "mymatch": [0.5]}})
    assert main(["algorithms", "--recommend", "--results", str(folder)]) == 0
    assert "Left out, since their views are not known here: mymatch." in capsys.readouterr().out


def test_results_alone_are_not_a_question(folder, capsys):
    assert main(["algorithms", "--results", folder]) == 2
    assert "--results must come with --recommend" in capsys.readouterr().err
