"""Packages that import their public names on first use."""

import subprocess
import sys

import pytest

import hf_ssl
import hf_ssl.benchmark

PACKAGES = [hf_ssl, hf_ssl.benchmark]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_public_name_can_be_imported_and_is_listed(package):
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_another_name_lists_the_public_ones(package):
    with pytest.raises(AttributeError, match=rf"module '{package.__name__}' has no attribute 'nothing'; it has "):
        _ = package.nothing
    with pytest.raises(ImportError, match="nothing"):
        exec(f"from {package.__name__} import nothing")


def test_importing_the_packages_imports_nothing_heavy():
    code = "import sys, hf_ssl, hf_ssl.benchmark; print({'torch', 'transformers', 'datasets'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120).stdout == "set()\n"
    )
