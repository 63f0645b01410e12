"""The notebooks: they run, and their output is there and whole."""

import json
import re

import nbformat
import pytest
from nbclient import NotebookClient

from tests.helpers.pages import EXAMPLES

PATHS = sorted((EXAMPLES / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in PATHS]
NOTEBOOKS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in PATHS}


def code_of(name):
    return [cell for cell in NOTEBOOKS[name]["cells"] if cell["cell_type"] == "code"]


def printed(name):
    return "".join(line for cell in code_of(name) for output in cell["outputs"] for line in output.get("text", ()))


def test_there_is_one_of_each_modality():
    assert NAMES == ["images", "recordings", "texts"]


@pytest.mark.slow
@pytest.mark.multiprocess
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_with_a_few_steps(name, tmp_path):
    notebook = nbformat.read(EXAMPLES / "notebooks" / f"{name}.ipynb", as_version=4)
    steps = 0
    for cell in notebook.cells:
        cell.source, found = re.subn(r"\bSTEPS, PER_CLASS = \d+", "STEPS, PER_CLASS = 2", cell.source)
        steps += found
    assert steps == 1
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / f"{name}-model" / "README.md").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_its_output_is_committed(name):
    assert [cell["execution_count"] for cell in code_of(name)] == list(range(1, len(code_of(name)) + 1))
    outputs = [output for cell in code_of(name) for output in cell["outputs"]]
    kinds = {output["output_type"] for output in outputs}
    assert "stream" in kinds and "error" not in kinds
    assert all(output.get("name") != "stderr" for output in outputs)
    assert (EXAMPLES / "notebooks" / f"{name}.ipynb").stat().st_size < 200_000


@pytest.mark.parametrize("name", NAMES)
def test_its_output_shows_that_the_pool_helps(name):
    accuracies = [float(number) for number in re.findall(r"([\d.]+)% of the test", printed(name))]
    labels_only, with_pool = accuracies[:2]
    assert with_pool > labels_only + 2


@pytest.mark.parametrize("name", NAMES)
def test_its_links_lead_somewhere(name):
    text = "".join(line for cell in NOTEBOOKS[name]["cells"] for line in cell["source"])
    links = re.findall(r"\]\((\.\./[^)]+)\)", text)
    assert links and all((EXAMPLES / "notebooks" / link).is_file() for link in links)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("word", ["/root/", "/home/", "/tmp/"])
def test_it_names_no_place_of_a_machine(name, word):
    assert word not in (EXAMPLES / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
