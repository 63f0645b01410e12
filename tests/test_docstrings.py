"""The examples in docstrings run, and every public name has one."""

import doctest
import importlib
from pathlib import Path

import pytest
import torch

import hf_ssl

ROOT = Path(hf_ssl.__file__).parent
# Packages of the extras: a module whose import needs one that is missing is skipped.
OPTIONAL = {"PIL", "matplotlib", "peft", "sentencepiece", "sklearn", "soundfile", "timm", "torchaudio", "torchvision"}
OPTIONAL |= {"ray", "submitit"}


def module_names() -> list[str]:
    paths = sorted(path for path in ROOT.rglob("*.py") if path.stem != "__main__")
    parts = (path.relative_to(ROOT.parent).with_suffix("").parts for path in paths)
    return [".".join(part).removesuffix(".__init__") for part in parts]


@pytest.mark.parametrize("name", module_names())
def test_examples_give_what_they_show(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in OPTIONAL:
            raise
        pytest.skip(f"needs {error.name}")
    torch.manual_seed(0)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0, f"{result.failed} of {result.attempted} lines differ; see the output above"


@pytest.mark.parametrize("name", [name for name in hf_ssl.__all__ if name != "__version__"])
def test_public_names_have_an_example(name):
    assert doctest.DocTestParser().get_examples(getattr(hf_ssl, name).__doc__), f"hf_ssl.{name} has no >>> example"
