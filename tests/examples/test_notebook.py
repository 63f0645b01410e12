"""The notebook of the quickstart: it runs, and its output is there and whole."""

import json

import matplotlib
import pytest

from tests.helpers.pages import EXAMPLES

PATH = EXAMPLES / "guides" / "quickstart.ipynb"
NOTEBOOK = json.loads(PATH.read_text(encoding="utf-8"))
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_it_runs_with_a_few_steps(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("transformers.utils.logging.set_verbosity_error", lambda: None)
    matplotlib.use("agg")
    namespace = {"__name__": "notebook"}
    changed = 0
    for number, cell in enumerate(CODE):
        source = "".join(cell["source"])
        changed += source.count("STEPS = 600")
        exec(compile(source.replace("STEPS = 600", "STEPS = 2"), f"cell {number}", "exec"), namespace)
    assert changed == 1
    assert namespace["fixmatch"].state.global_step == 2
    assert (tmp_path / "quickstart-model" / "README.md").is_file()
    assert capsys.readouterr().out.count("of the test digits") == 2


def test_its_output_is_committed():
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    outputs = [output for cell in CODE for output in cell["outputs"]]
    kinds = [output["output_type"] for output in outputs]
    assert kinds.count("display_data") == 2 and "error" not in kinds
    assert all(output.get("name") != "stderr" for output in outputs)
    assert PATH.stat().st_size < 150_000


def test_its_output_shows_what_it_claims():
    text = "".join(line for cell in CODE for output in cell["outputs"] for line in output.get("text", ()))
    accuracies = [float(line.split()[1].rstrip("%")) for line in text.splitlines() if "of the test digits" in line]
    supervised, fixmatch = accuracies
    assert fixmatch > supervised + 2


@pytest.mark.parametrize("word", ["/root/", "/home/", "/tmp/"])
def test_it_names_no_place_of_a_machine(word):
    assert word not in PATH.read_text(encoding="utf-8")
