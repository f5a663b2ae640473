"""Each docstring of a public name says what goes in, what comes out and what goes wrong."""

import ast
import importlib
import re
from pathlib import Path

import pytest
from making.docstrings import entries_of, faults_of, faults_of_function, sections_of

ROOT = Path(__file__).resolve().parents[1]
PUBLIC = [(package, name) for package in ("embedder",) for name in importlib.import_module(package).__all__]


# What those take and give.
BESIDE = [
    ("embedder.embedding.request", "SlideInput"),
    ("embedder.embedding.results", "SlideResult"),
    ("embedder.files.combine", "Added"),
    ("embedder.files.convert", "Converted"),
    ("embedder.files.redaction", "Change"),
    ("embedder.files.share", "Shared"),
    ("embedder.isolation.child", "Limits"),
    ("embedder.patches.options", "PatchOptions"),
    ("embedder.pretraining.augment", "AugmentOptions"),
    ("embedder.pretraining.probes", "Probe"),
    ("embedder.pretraining.report", "PretrainResult"),
    ("tissuumaps_sic.slidefile.contract", "Problem"),
]


@pytest.mark.parametrize(("package", "name"), PUBLIC + BESIDE)
def test_a_public_name_tells_what_it_takes_gives_and_raises(package, name):
    assert faults_of(getattr(importlib.import_module(package), name), name) == []


def good(n_patches: int, *, mpp: float = 0.5) -> float:
    """Return the length of a row.

    Parameters
    ----------
    n_patches : int
    mpp : float, default=0.5
        µm per pixel.

    Returns
    -------
    float
        In µm.

    Raises
    ------
    ValueError
        There are none.
    """
    if n_patches < 1:
        raise ValueError("none")
    return n_patches * mpp


@pytest.mark.parametrize(
    ("left_out", "fault"),
    [
        (r"    mpp : float.*\n.*\n", "mpp is not told under Parameters"),
        (r"    n_patches : int\n", "n_patches is not told under Parameters"),
        (r"    Parameters\n    -+\n(    .*\n)+", "mpp is not told under Parameters"),
        (r"    Returns\n    -+\n(    .*\n)+", "does not tell what it returns"),
        (r"    Raises\n    -+\n(    .*\n)+", "does not tell what it raises"),
        (r"(?s).*", "says nothing"),
    ],
)
def test_what_is_left_out_is_found(left_out, fault, monkeypatch):
    assert faults_of_function(good, "good") == []
    cut, n = re.subn(left_out, "", good.__doc__, count=1)
    assert n == 1
    monkeypatch.setattr(good, "__doc__", cut)
    assert f"good: {fault}" in faults_of_function(good, "good")


def test_what_is_no_parameter_is_found(monkeypatch):
    monkeypatch.setattr(good, "__doc__", good.__doc__.replace("mpp : float", "mmp : float"))
    assert faults_of_function(good, "good") == [
        "good: mpp is not told under Parameters",
        "good: mmp is told, and is no parameter",
    ]


SOURCES = {
    path: ast.parse(path.read_text(encoding="utf-8"))
    for package in ("embedder", "tissuumaps_sic")
    for path in sorted((ROOT / package).rglob("*.py"))
}
# What commands take is the same everywhere, and told once in the `__init__` of their folder; what endpoints
# take, in `viewer/endpoints.py`. Of the viewer's other functions none is held to it yet.
NOT_LOOKED_AT = ("embedder/commands/", "tissuumaps_sic/commands/", "tissuumaps_sic/viewer/")


def spoken(path):
    """Return the names that a module uses of anything."""
    fields = ("id", "attr", "name")
    return {
        getattr(node, field) for node in ast.walk(SOURCES[path]) for field in fields if hasattr(node, field)
    }


def shared_functions(folder):
    """Yield the file and the tree of each function, and method of a class, that another module uses."""
    words = {path: spoken(path) for path in SOURCES}
    for path, tree in SOURCES.items():
        place = path.relative_to(ROOT).as_posix()
        if not place.startswith(folder) or place.startswith(NOT_LOOKED_AT):
            continue
        for node in tree.body:
            inside = node.body if isinstance(node, ast.ClassDef) and node.name[0] != "_" else [node]
            for each in inside:
                if not isinstance(each, ast.FunctionDef) or each.name[0] == "_":
                    continue
                is_property = any("property" in ast.unparse(mark) for mark in each.decorator_list)
                if not is_property and any(each.name in words[other] for other in words if other != path):
                    yield place, each


def faults_of_tree(node):
    """Return what the docstring of a function lacks; one that says "See `X`" is told there."""
    docstring = ast.get_docstring(node) or ""
    if "See `" in docstring:
        return []
    sections = sections_of(docstring)
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    taken = {each.arg for each in (*arguments, node.args.vararg, node.args.kwarg) if each is not None}
    taken = {each for each in taken - {"self", "cls"} if each[0] != "_"}
    told = entries_of(sections.get("Parameters", ""))
    faults = sorted(f"parameter {each}" for each in taken ^ told)
    given = "None" if node.returns is None else ast.unparse(node.returns)
    if given not in ("None", "NoReturn", "Iterator[None]") and not {"Returns", "Yields"} & sections.keys():
        faults.append("what it returns")
    return faults


@pytest.mark.parametrize("folder", ["embedder", "tissuumaps_sic"])
def test_a_function_that_other_modules_use_tells_what_it_takes_and_gives(folder):
    found = list(shared_functions(folder))
    assert len(found) > 150
    wrong = [f"{path}: {node.name}: {fault}" for path, node in found for fault in faults_of_tree(node)]
    assert wrong == []
