"""Every evidence script finds what it imports: a module beside it that was renamed shows at once."""

import ast
import importlib
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "benchmarks"
SCRIPTS = sorted(FOLDER.glob("*.py"))
# Packages that a script asks for in its own words.
OUTSIDE = {"setfit", "openwakeword", "onnx", "umap", "cleanlab"}


def imports_of(path):
    """(module, name or None) of each import at the top of a file."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module, alias.name) for alias in node.names)


def defined_in(path):
    """The names that a module defines or imports at its top."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_finds_what_it_imports(script):
    beside = {path.stem for path in SCRIPTS}
    missing = []
    for module, name in imports_of(script):
        top = module.split(".")[0]
        if top in OUTSIDE:
            continue
        if top in beside:
            found = name is None or name in defined_in(FOLDER / f"{top}.py")
        elif top == "hf_ssl" and name is not None:
            found = hasattr(importlib.import_module(module), name) or find_spec(f"{module}.{name}") is not None
        else:
            found = find_spec(top) is not None
        missing += [] if found else [f"{module}.{name}"]
    assert missing == []
