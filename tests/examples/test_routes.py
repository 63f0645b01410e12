"""The table of routes: runs that belong together are paired by the hash of their labels."""

import json

import pytest

from tests.helpers.grid_cells import make_cell, make_content, write_cell


@pytest.fixture
def script(benchmark_scripts):
    import routes

    return routes


@pytest.fixture
def folder(tmp_path):
    stages = [
        {
            "task": "text",
            "per_class": 10,
            "seed": seed,
            "draw": draw,
            "test_examples": 100,
            "stages": {"probe": {"test_accuracy": probe}, "features": {"test_accuracy": probe + gain}},
        }
        for seed, (draw, probe, gain) in enumerate((("a" * 16, 0.5, 0.1), ("b" * 16, 0.6, 0.3)))
    ]
    for name, rows in {"stages": stages, "ensemble": []}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"runs": rows}))
    for seed, place, labels, accuracy in (
        (0, "minilm-mean-upper", 40, 0.7),
        # No draw of the stages, other layers, other labels.
        (2, "minilm-mean-upper", 40, 0.1),
        (1, "minilm-mean", 40, 0.1),
        (1, "minilm-mean-upper", 8, 0.1),
    ):
        cell = make_cell("freematch", seed, task="ag_news_4000", num_labeled=labels, backbone=place)
        content = make_content(cell, accuracy)
        content["runs"][0]["num_test"] = 100
        write_cell(tmp_path / "evidence", cell, content)
    (tmp_path / "evidence_teachers").mkdir()
    return tmp_path


def test_a_teacher_is_paired_with_the_draws_of_its_students(script, folder):
    row = {"task": "ag_news", "teacher": "M", "test_accuracy": 0.75, "test_examples": 100, "seeds": [0, 1, 2]}
    (folder / "evidence_teachers.json").write_text(json.dumps({"runs": [row]}))
    for variant, accuracy in ((None, 0.7), ("teacher", 0.8)):
        cell = make_cell(
            "freematch", 1, task="ag_news_taught", num_labeled=40, backbone="minilm-mean-upper", variant=variant
        )
        content = make_content(cell, accuracy)
        content["runs"][0]["num_test"] = 100
        write_cell(folder / "evidence_teachers", cell, content)
    runs = script.measured(folder)
    routes = ("a teacher alone", "FreeMatch and a teacher", "FreeMatch and a teacher, from its head")
    found = [script.route_of(runs, name, "text") for name in routes]
    assert [(each.draws, pytest.approx(each.gain)) for each in found] == [(2, 20.0), (1, 10.0), (1, 20.0)]


def test_gains_are_paired_by_draw_and_runs_without_a_probe_are_left_out(script, folder):
    runs = script.measured(folder)
    features = script.route_of(runs, "features of labels and pool", "text")
    assert (features.accuracy, features.draws) == (pytest.approx(75.0), 2)
    assert (features.gain, features.gain_error) == (pytest.approx(20.0), pytest.approx(10.0))
    trained = script.route_of(runs, "FreeMatch from a new head", "text")
    assert (trained.accuracy, trained.draws, trained.gain) == (pytest.approx(70.0), 1, pytest.approx(20.0))
    assert script.route_of(runs, "FreeMatch from a new head", "audio") is None


def test_a_run_on_other_test_examples_is_paired_with_the_probe_of_its_draw_on_most_examples(script):
    runs = [
        script.Measured(script.PROBE, "images", "a", 1000, 50.0),
        script.Measured(script.PROBE, "images", "a", 4000, 52.0),
        script.Measured("FreeMatch from a new head", "images", "a", 2000, 55.0),
        script.Measured("ensemble: its student", "images", "a", 1000, 55.0),
    ]
    gains = [
        script.route_of(runs, name, "images").gain for name in ("FreeMatch from a new head", "ensemble: its student")
    ]
    assert gains == [3.0, 5.0]


def test_the_table_and_the_picture_show_the_routes(script, folder, capsys):
    assert script.main(["table", "--results", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == [
        "probe of frozen features",
        "features of labels and pool",
        "FreeMatch from a new head",
    ]
    assert lines[3].startswith("| features of labels and pool | 75.0 ± 15.0 (2) | +20.0 ± 10.0 |")
    assert script.main(["picture", "--results", str(folder), "--output", str(folder / "it.png")]) == 0
    assert (folder / "it.png").read_bytes().startswith(b"\x89PNG")
