"""Examples run, and what docstrings and the architecture name is there; of the guide see `test_guide`."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import embedder
import tissuumaps_sic

ROOT = Path(__file__).resolve().parents[1]

# What each example tells of the demo.
TOLD = {"label_from_seeds.py": " positive, after ", "regions_from_h5ad.py": "\nTumour: 1.0"}


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_examples_run(script, demo_h5ad):
    ran = subprocess.run(
        [sys.executable, str(script), str(demo_h5ad)], check=True, capture_output=True, text=True
    )
    assert TOLD[script.name] in ran.stdout


PACKAGES = (Path(embedder.__file__).parent, Path(tissuumaps_sic.__file__).parent)
SOURCES = [path for package in PACKAGES for path in sorted(package.rglob("*.py"))]
# Words of Python, of other libraries and of other files that docstrings name.
FOREIGN = {"with", "transformers", "tileSource", "VIPS_DISC_THRESHOLD", "dask_jobqueue.SLURMCluster"}


def test_what_docstrings_name_is_there():
    """A name that is changed must be changed where it is spoken of, too."""
    trees = {path: ast.parse(path.read_text()) for path in SOURCES}
    there = {part for path in SOURCES for part in (path.stem, path.parent.name)}
    for node in (node for tree in trees.values() for node in ast.walk(tree)):
        there |= {getattr(node, field) for field in ("id", "attr", "arg", "name") if hasattr(node, field)}
    named = {
        (path.name, word)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module)
        for word in re.findall(r"(?<!`)`([A-Za-z_][\w.]*)`(?!`)", ast.get_docstring(node) or "")
        if word not in FOREIGN
    }
    assert len(named) > 200
    assert sorted((path, word) for path, word in named if not set(word.split(".")) <= there) == []


def test_what_the_architecture_names_is_there():
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`([\w./]+(?:\.py|\.js|/))`", text)
    assert len(named) > 40
    everything = [path.relative_to(ROOT).as_posix() for package in PACKAGES for path in package.rglob("*")]
    for folder in ("tests", "docs"):
        everything += [path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*")] + [folder]
    everything += ["embedder", "tissuumaps_sic"]
    for name in named:
        ending = f"/{name.rstrip('/')}"
        assert any(f"/{path}".endswith(ending) for path in everything), name
    code = "\n".join(path.read_text() for path in SOURCES)
    for name in re.findall(r"`([A-Z]\w+)`", text):
        assert re.search(rf"\b{name}\b", code), name
