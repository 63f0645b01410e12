"""Python files that a grid names: what they bring is known to the grid and to its workers."""

import sys
from contextlib import closing

import pytest

from hf_ssl.algorithms import ALGORITHMS
from hf_ssl.benchmark.grid import imports, make_engine
from hf_ssl.benchmark.grid.cell_file import read
from hf_ssl.benchmark.grid.grid_file import parse_grid
from hf_ssl.benchmark.grid.imports import import_files
from hf_ssl.benchmark.grid.running import run_cell

from tests.helpers.tiny_grid import TRAINING, tiny_work

FILE = """
from grid_part_of_mine import SHARPER
from hf_ssl.algorithms import ALGORITHMS, FixMatch


class MyMatch(FixMatch):
    title = "MyMatch"

    def __init__(self, *, sharper: float = SHARPER, **keywords):
        super().__init__(**keywords)
        self.sharper = sharper


ALGORITHMS["mymatch"] = MyMatch
"""


@pytest.fixture
def file(tmp_path):
    """A file that registers an algorithm, and imports another file beside it."""
    (tmp_path / "grid_part_of_mine.py").write_text("SHARPER = 0.5\n", encoding="utf-8")
    path = tmp_path / "grid_algorithm_of_mine.py"
    path.write_text(FILE, encoding="utf-8")
    before = list(sys.path)
    yield path
    sys.path[:] = before
    ALGORITHMS.pop("mymatch", None)
    for name in ("grid_algorithm_of_mine", "grid_part_of_mine"):
        sys.modules.pop(name, None)
        imports._IMPORTED.pop(name, None)


def forget(monkeypatch):
    """As if Python was started again."""
    monkeypatch.setattr(imports, "_IMPORTED", {})
    for name in ("grid_algorithm_of_mine", "grid_part_of_mine"):
        sys.modules.pop(name, None)
    ALGORITHMS.pop("mymatch", None)


def grid(path, **changes):
    content = {
        "imports": [str(path)],
        "schedule": {"base": "short", "training": TRAINING},
        "tasks": [{"task": "digits", "labels": [40]}],
        "algorithms": [{"algorithm": "mymatch", "settings": {"sharper": 0.25}}],
        "seeds": [0],
        **changes,
    }
    return parse_grid(content, "mine")


@pytest.mark.multiprocess
def test_workers_train_an_algorithm_that_a_file_of_the_grid_registers(file, tmp_path):
    found = grid(file)
    work = tiny_work(tmp_path / "results", jobs=1, imports=found.imports)
    with closing(make_engine("local").run(found.cells, work)) as outcomes:
        outcome = next(iter(outcomes))
    assert outcome.error is None
    content = read(outcome.path)
    assert content["cell"]["algorithm"] == "mymatch" and content["settings"]["algorithm"] == {"sharper": 0.25}
    assert list(content["settings"]["imports"]) == ["grid_algorithm_of_mine.py"]


def test_a_key_follows_the_content_of_the_file(file, monkeypatch):
    before = grid(file)
    file.write_text(FILE + "\n# changed\n", encoding="utf-8")
    # In this process it ran as it was, and a key must not say more.
    with pytest.raises(ImportError, match="was changed since it was imported; start Python again"):
        grid(file)
    forget(monkeypatch)
    assert grid(file).cells[0].key != before.cells[0].key
    assert grid(file).cells[0].path == before.cells[0].path


def test_a_cell_refuses_a_file_that_was_changed_since_the_grid_was_read(file, tmp_path):
    found = grid(file)
    file.write_text(FILE + "\n# changed\n", encoding="utf-8")
    outcome = run_cell(found.cells[0], tiny_work(tmp_path / "results", imports=found.imports))
    assert "grid_algorithm_of_mine.py was changed since the grid was read; run the grid again" in outcome.error


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ALGORITHMS['fixmatch'] = type('Mine', (ALGORITHMS['fixmatch'],), {})", "must not replace the algorithm 'fi"),
        ("ALGORITHMS['mymatch'] = int", "must register subclasses of SSLAlgorithm, got <class 'int'> as 'mymatch'"),
        ("raise SystemExit(0)", "cannot be imported: SystemExit: 0"),
    ],
)
def test_a_file_that_spoils_the_table_of_algorithms_is_refused_and_leaves_it_as_it_was(tmp_path, line, message):
    path, before = tmp_path / "grid_file_that_spoils.py", dict(ALGORITHMS)
    path.write_text(f"from hf_ssl.algorithms import ALGORITHMS\n{line}\n", encoding="utf-8")
    with pytest.raises(ImportError, match=r"grid_file_that_spoils\.py ") as error:
        grid(path, algorithms=["fixmatch"])
    assert message in str(error.value)
    assert before == ALGORITHMS and "grid_file_that_spoils" not in sys.modules


def test_all_algorithms_are_those_of_the_imports_too(file):
    assert "mymatch" in {cell.algorithm for cell in grid(file, algorithms="all").cells}
    assert grid(file, imports=[], algorithms=["fixmatch"]).imports == ()


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("models.txt", "", ValueError, "mine: imports must be Python files, got "),
        ("broken_grid_file.py", "1 / 0", ImportError, "broken_grid_file.py cannot be imported: ZeroDivisionError: "),
        ("json.py", "", ImportError, "json.py must have a name of its own, and there is a module json; rename the"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_line(tmp_path, name, content, error, message):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(error, match=message):
        grid(path, algorithms=["fixmatch"])
    assert "broken_grid_file" not in sys.modules


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"imports must be Python files, got .*absent\.py; write the path of one"):
        grid(tmp_path / "absent.py", algorithms=["fixmatch"])


def test_a_file_runs_once_in_a_process(tmp_path):
    path = tmp_path / "grid_file_that_counts.py"
    path.write_text("import builtins\nbuiltins.counted = getattr(builtins, 'counted', 0) + 1\n", encoding="utf-8")
    import builtins

    import_files([path, path])
    try:
        assert builtins.counted == 1
    finally:
        del builtins.counted, sys.modules["grid_file_that_counts"]
