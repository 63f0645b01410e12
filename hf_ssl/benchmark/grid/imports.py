"""Python files that a grid names: they register models with transformers, or algorithms, which its cells then use."""

import sys
from collections.abc import Iterable
from importlib import util
from pathlib import Path


def import_files(paths: Iterable[str | Path]) -> None:
    """Run each file once in this process, as a module of its name; files beside it can be imported from it.

    Raises:
        ImportError: in one line, if a file cannot be run, or another module has its name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "an_example_of_imports.py")
        ...     _ = path.write_text("answer = 42")
        ...     import_files([path])
        >>> sys.modules["an_example_of_imports"].answer
        42
    """
    for path in map(Path, paths):
        _import(path.resolve())


def _import(path: Path) -> None:
    name = path.stem
    if (there := sys.modules.get(name)) is not None:
        if Path(getattr(there, "__file__", None) or "").resolve() == path:
            return
        raise ImportError(f"{path.name} must have a name of its own, and there is a module {name}; rename the file")
    spec = util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "the grid names .py files alone"
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    module = util.module_from_spec(spec)
    # Known before it runs: what it registers is looked up by the name of its module.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ImportError(f"{path.name} cannot be imported: {type(error).__name__}: {error}") from error
