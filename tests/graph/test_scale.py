"""The benchmark of label propagation, on few rows."""

import json

import pytest

from hf_ssl.graph import neighbors


def test_the_benchmark_compares_with_scikit_learn(benchmark_scripts, tmp_path, monkeypatch, capsys):
    import features_scale as benchmark

    # Peaks of memory are of a process of its own; here that of other tests may be higher.
    monkeypatch.setattr(benchmark, "in_process", lambda *given: {**benchmark.measure(*given), "memory_mb": 5.0})
    output = tmp_path / "results.json"
    with pytest.warns(match="max_iter"):
        benchmark.main(["--sizes", "800", "--sklearn", "600", "--output", str(output)])
    found = json.loads(output.read_text())["pools"]
    assert found.keys() == {"600", "800"} and found["800"].keys() == {"ours"}
    for method in found["600"].values():
        assert method["accuracy"] > 0.3 and method["seconds"] > 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["600", "800"]


def test_the_benchmark_measures_recall_above_the_exact_sizes(benchmark_scripts, tmp_path, monkeypatch):
    pytest.importorskip("faiss")
    import features_scale as benchmark

    monkeypatch.setattr(neighbors, "EXACT_ROWS", 500)
    monkeypatch.setattr(benchmark, "RECALL_ROWS", 50)
    benchmark.write_features(tmp_path, 2_000, chunk=700)
    found = benchmark.measure(tmp_path, "ours")
    assert 0.5 < found["recall"] <= 1 and found["accuracy"] > 0.5
