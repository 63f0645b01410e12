"""Python files that a grid names: they register models with transformers, or algorithms, which its cells then use."""

import sys
from collections.abc import Iterable, Mapping
from importlib import util
from pathlib import Path
from typing import Any

from ...algorithms import ALGORITHMS, SSLAlgorithm
from ...files import file_hash

# Names of the modules that were imported here -> hash of their files.
_IMPORTED: dict[str, str] = {}


def import_files(paths: Iterable[str | Path], expected: Mapping[str, str] | None = None) -> dict[str, str]:
    """Run each file once in this process, as a module of its name; files beside it can be imported from it.

    Args:
        paths: of the files.
        expected: name of a file -> the hash that it must have; None for whatever it has.

    Returns:
        Name of a file -> hash of its content.

    Raises:
        ImportError: in one line, if a file cannot be run or was changed since it ran, if another module has its name,
            or if it puts what is no algorithm, or another one than before, into `ALGORITHMS`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "an_example_of_imports.py")
        ...     _ = path.write_text("answer = 42")
        ...     found = import_files([path])
        >>> list(found), sys.modules["an_example_of_imports"].answer
        (['an_example_of_imports.py'], 42)
    """
    found = {}
    for path in map(Path, paths):
        found[path.name] = content = file_hash(path)[:16]
        if expected is not None and expected.get(path.name) != content:
            raise ImportError(f"{path.name} was changed since the grid was read; run the grid again")
        _import(path.resolve(), content)
    return found


def _import(path: Path, content: str) -> None:
    name = path.stem
    if (there := sys.modules.get(name)) is not None:
        if Path(getattr(there, "__file__", None) or "").resolve() != path:
            raise ImportError(
                f"{path.name} must have a name of its own, and there is a module {name}; rename the file"
            )
        if _IMPORTED.setdefault(name, content) != content:
            raise ImportError(f"{path.name} was changed since it was imported; start Python again")
        return
    spec = util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "the grid names .py files alone"
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    module, before = util.module_from_spec(spec), dict(ALGORITHMS)
    # Known before it runs: what it registers is looked up by the name of its module.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        _check_algorithms(before, path.name)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        ALGORITHMS.clear()
        ALGORITHMS.update(before)
        if isinstance(error, ImportError) and error.path == path.name:
            raise
        raise ImportError(f"{path.name} cannot be imported: {type(error).__name__}: {error}") from error
    _IMPORTED[name] = content


def _check_algorithms(before: Mapping[str, Any], name: str) -> None:
    """What a file did to the table of algorithms: it may add some."""
    for key, cls in ALGORITHMS.items():
        if before.get(key, cls) is not cls:
            raise ImportError(f"{name} must not replace the algorithm {key!r}; give yours another name", path=name)
        if not (isinstance(cls, type) and issubclass(cls, SSLAlgorithm)):
            raise ImportError(f"{name} must register subclasses of SSLAlgorithm, got {cls!r} as {key!r}", path=name)
