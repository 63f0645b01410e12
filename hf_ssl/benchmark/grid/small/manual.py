"""Paragraphs of SciPy's documentation; the class is the part of SciPy that each one is from.

They are read from the docstrings of the installed package, so their wording depends on its version: a different
version is a different task. No docstring has paragraphs in two splits.
"""

import ast
import hashlib
import re
from importlib.util import find_spec
from pathlib import Path

import datasets

CLASSES = ("optimize", "signal", "sparse", "stats")
PER_CLASS = 400
_TEST, _VALIDATION = 0.25, 0.1
_LEAST_WORDS, _MOST_WORDS = 12, 48
# Examples of code, tables, lists and directives are not prose.
_NOT_PROSE = (">>>", "---", "===", "::", "..", "\\")


def load_manual() -> datasets.DatasetDict:
    """The splits "train", "validation" and "test" with columns text and label, of 1,600 paragraphs in all.

    Raises:
        FileNotFoundError: if SciPy is installed without its sources.
    """
    rows: dict[str, dict[str, list]] = {name: {"text": [], "label": []} for name in ("train", "validation", "test")}
    for label, part in enumerate(CLASSES):
        found = sorted(_paragraphs(part).items(), key=lambda item: _share(item[0]))
        if len(found) < PER_CLASS:
            raise FileNotFoundError(f"scipy.{part} must have {PER_CLASS} paragraphs of text, got {len(found)}")
        for text, owner in found[:PER_CLASS]:
            share = _share(owner)
            split = "test" if share < _TEST else "validation" if share < _TEST + _VALIDATION else "train"
            rows[split]["text"].append(text)
            rows[split]["label"].append(label)
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(CLASSES))})
    return datasets.DatasetDict(
        {name: datasets.Dataset.from_dict(columns, features=features) for name, columns in rows.items()}
    )


def _paragraphs(part: str) -> dict[str, str]:
    """The paragraphs of prose of a part of SciPy, each once -> what they document."""
    spec = find_spec("scipy")
    assert spec is not None and spec.origin is not None, "SciPy is a dependency of this package"
    found: dict[str, str] = {}
    for path in sorted((Path(spec.origin).parent / part).rglob("*.py")):
        if "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            for text in _prose(ast.get_docstring(node) or ""):
                found.setdefault(text, f"{part}.{path.stem}.{node.name}")
    return found


def _prose(docstring: str) -> list[str]:
    """The paragraphs of a docstring that are prose: of 12 words or more, half of them plain, the first 48.

    Example:
        >>> _prose("Sum.\\n\\n>>> 1 + 1\\n2\\n\\n" + "one " * 12)
        ['one one one one one one one one one one one one']
    """
    texts = (part.split() for part in re.split(r"\n\s*\n", docstring) if not any(sign in part for sign in _NOT_PROSE))
    return [
        " ".join(words[:_MOST_WORDS])
        for words in texts
        if len(words) >= _LEAST_WORDS and sum(map(str.isalpha, words)) >= _LEAST_WORDS // 2
    ]


def _share(text: str) -> float:
    """A number in [0, 1) that only depends on the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
