"""Public names of a package that are imported on first use, so that importing the package itself stays instant."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any


def lazy_exports(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions `__getattr__` and `__dir__` of a package (PEP 562) that imports its public names on first use.

    Type checkers follow neither; for them the package imports the same names under `if TYPE_CHECKING:`.

    Args:
        package: `__name__` of the package, which has an `__all__`.
        modules: public name -> the module that defines it, relative to the package.

    Example:
        In the `__init__.py` of a package with a module `shapes`::

            __all__ = ["Circle"]
            __getattr__, __dir__ = lazy_exports(__name__, {"Circle": "shapes"})
    """

    def get(name: str) -> Any:
        if name not in modules:
            known = ", ".join(sys.modules[package].__all__)
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {known}")
        return getattr(import_module(f".{modules[name]}", package), name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    if "pdoc" in sys.modules:
        _show_all(package, modules, get)
    return get, names


def _show_all(package: str, modules: Mapping[str, str], get: Callable[[str], Any]) -> None:
    """For the API pages: pdoc shows what a package's namespace holds and its `__all__` names, in that order."""
    module = sys.modules[package]
    below = [info.name for info in iter_modules(module.__path__) if not info.name.startswith("_")]
    shown = [*modules, *(name for name in below if name not in modules)]
    vars(module).update({name: get(name) for name in modules}, __all__=shown)
