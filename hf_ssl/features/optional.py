"""Packages that only `hf_ssl.features` needs."""

from importlib import import_module
from typing import Any

EXTRA = 'pip install "hf-ssl[features]"'


def optional(module: str) -> Any:
    """A module of the extra `features`: scipy, scikit-learn or faiss, imported when first needed.

    Raises:
        ImportError: in one line that names the extra, if the package is not installed.

    Example:
        >>> optional("scipy.sparse").identity(2).nnz
        2
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"{module.partition('.')[0]} is not installed; do {EXTRA}") from error
