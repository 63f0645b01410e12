"""The table of routes: runs that belong together are paired by the hash of their labels."""

import json

import pytest


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
            "draw": draw,
            "test_examples": 100,
            "stages": {"probe": {"test_accuracy": probe}, "features": {"test_accuracy": probe + gain}},
        }
        for draw, probe, gain in (("a" * 16, 0.5, 0.1), ("b" * 16, 0.6, 0.3))
    ]
    evidence = [
        {"task": "text", "labels": labels, "algorithm": name, "draw_hash": draw, "test_examples": 100} | accuracy
        for labels, name, draw, accuracy in (
            (40, "freematch", "a" * 64, {"test_accuracy": 0.7}),
            (40, "freematch", "c" * 64, {"test_accuracy": 0.1}),
            (8, "freematch", "b" * 64, {"test_accuracy": 0.1}),
        )
    ]
    for name, rows in {"stages": stages, "evidence": evidence, "starts": [], "ensemble": []}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"runs": rows}))
    return tmp_path


def test_gains_are_paired_by_draw_and_runs_without_a_probe_are_left_out(script, folder):
    runs = script.measured(folder)
    features = script.route_of(runs, "features of labels and pool", "text")
    assert (features.accuracy, features.draws) == (pytest.approx(75.0), 2)
    assert (features.gain, features.gain_error) == (pytest.approx(20.0), pytest.approx(10.0))
    trained = script.route_of(runs, "FreeMatch from a new head", "text")
    assert (trained.accuracy, trained.draws, trained.gain) == (pytest.approx(70.0), 1, pytest.approx(20.0))
    assert script.route_of(runs, "FreeMatch from a new head", "audio") is None


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
