"""The house rules that no tool checks: sizes and names of files, and one place for the version."""

import ast
import re
from pathlib import Path

import pytest

import hf_ssl

from tests.helpers.longest_files import LONGEST as LONGEST_FILES

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(path for folder in ("hf_ssl", "examples", "tests") for path in (ROOT / folder).rglob("*.py"))
LONGEST = 450
VERSION = ROOT / "hf_ssl" / "_version.py"


def test_there_are_files_to_check():
    assert len(FILES) > 150


def test_no_file_is_too_long():
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


@pytest.mark.parametrize("word", ["utils", "util", "misc", "common"])
def test_no_file_or_folder_has_a_name_that_says_nothing(word):
    assert [path for path in FILES if word in (path.stem, path.parent.name)] == []


def test_every_package_tells_its_story():
    packages = [path for path in FILES if path.name == "__init__.py" and path.is_relative_to(ROOT / "hf_ssl")]
    assert [path for path in packages if not path.read_text(encoding="utf-8").startswith('"""')] == []


def test_the_version_is_written_once():
    assert hf_ssl.__version__ in VERSION.read_text(encoding="utf-8")
    texts = {path: path.read_text(encoding="utf-8") for path in [*FILES, ROOT / "pyproject.toml", ROOT / "setup.cfg"]}
    pattern = re.compile(rf'(?:\b|__)version(?:__)? = "{re.escape(hf_ssl.__version__)}"')
    assert [path for path, text in texts.items() if pattern.search(text)] == [VERSION]


def test_files_that_are_started_first_exist():
    assert [name for name in LONGEST_FILES if not (ROOT / "tests" / name).is_file()] == []


def test_no_test_waits_for_a_process_without_a_limit():
    tests = [path for path in FILES if path.is_relative_to(ROOT / "tests")]
    limited = {"run", "check_output", "check_call", "wait", "communicate"}
    found = []
    for path in tests:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = getattr(node.func.value, "id", "")
            starts = owner in ("subprocess", "process") and node.func.attr in limited
            if starts and "timeout" not in {keyword.arg for keyword in node.keywords}:
                found.append((path.name, node.lineno))
            if node.func.attr == "waitpid" and path.name != "children.py":
                found.append((path.name, node.lineno))
    assert found == []


def test_no_test_imports_another():
    imports = re.compile(r"^\s*(?:from|import) tests\.(?!helpers\b)", flags=re.MULTILINE)
    tests = [path for path in FILES if path.is_relative_to(ROOT / "tests")]
    assert [path for path in tests if imports.search(path.read_text(encoding="utf-8"))] == []
