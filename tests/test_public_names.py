"""What a notebook imports from the packages themselves, and the examples in docstrings, which run."""

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import embedder
import tissuumaps_sic
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import save_session

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


def test_files_are_named_by_texts_too(small_h5ad, tmp_path):
    from making.files import write_small_h5ad

    seeds = tmp_path / "seeds.csv"
    seeds.write_text("patch,class\nsmall_0_0,a\nsmall_1408_0,b\n")
    slide = tissuumaps_sic.open_slide_file(str(small_h5ad))
    found = tissuumaps_sic.read_seeds(str(seeds), slide, positive="a")
    assert found is not None
    assert embedder.check(str(small_h5ad)) == embedder.check(small_h5ad)
    assert len(tissuumaps_sic.folder_table([str(small_h5ad)])) == 1
    session = tissuumaps_sic.label(slide, Session.new(slide).seed(["small_0_0"], 1).seed(["small_1408_0"], 0))
    kept = small_h5ad.with_suffix(".sic.json")
    save_session(kept, session.session)
    assert tissuumaps_sic.load_session(str(kept), slide).seeds
    tissuumaps_sic.export_slide(str(small_h5ad), str(tmp_path / "out.csv"), format_="csv", session=str(kept))
    assert (tmp_path / "out.csv").read_text().startswith("patch,")
    manifest = tissuumaps_sic.write_bundle(str(small_h5ad), str(tmp_path / "a.zip"), with_image=False)
    assert manifest is not None
    tissuumaps_sic.unpack_bundle(str(tmp_path / "a.zip"), str(tmp_path / "there"))
    other = write_small_h5ad(tmp_path / "there" / "small.h5ad")
    there = tissuumaps_sic.open_slide_file(str(other))
    assert tissuumaps_sic.receive_sessions(there, str(kept), name="Anna")


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_in_docstrings_run(name):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried
    assert not failed
