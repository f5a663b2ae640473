"""What a notebook imports from the packages themselves, and the examples in docstrings, which run."""

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("embedder", "tissuumaps_sic")
HEAVY = ("anndata", "h5py", "matplotlib", "numpy", "pandas", "sklearn", "torch")
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_those_of_their_homes_and_type_checkers_are_told_the_same(package):
    module = importlib.import_module(package)
    assert sorted(module._HOMES) == module.__all__ == sorted(set(module.__all__))
    assert set(module.__all__) <= set(dir(module))
    for name, home in module._HOMES.items():
        found = getattr(module, name)
        assert found is getattr(importlib.import_module(home), name)
        assert found.__module__ == home
        assert found.__doc__
    stub = ast.parse(Path(module.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    assert {name.asname: node.module for node in imports for name in node.names} == module._HOMES
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = module.nonsense


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_nothing_heavy_until_it_is_asked(package):
    code = f"import sys, {package}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert not set(HEAVY) & set(ran.stdout.split())


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_in_docstrings_run(name):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried
    assert not failed
