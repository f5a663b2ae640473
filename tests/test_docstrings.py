"""Whoever calls us from a notebook reads in each docstring what goes in, what comes out and what goes wrong."""

import ast
import importlib
import re
from pathlib import Path

import pytest
from making.docstrings import entries_of, faults_of, faults_of_function, sections_of

ROOT = Path(__file__).resolve().parents[1]
PUBLIC = [(package, name) for package in ("embedder",) for name in importlib.import_module(package).__all__]


@pytest.mark.parametrize(("package", "name"), PUBLIC)
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


def functions_of(folder):
    """Yield the file, the name and the tree of each public function of a module, and method of a public class."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            inside = node.body if isinstance(node, ast.ClassDef) and node.name[0] != "_" else [node]
            for each in inside:
                if isinstance(each, ast.FunctionDef) and each.name[0] != "_":
                    yield path.relative_to(ROOT).as_posix(), each


@pytest.mark.parametrize("folder", ["embedder", "tissuumaps_sic/slidefile"])
def test_sections_of_all_functions_are_of_their_own_parameters(folder):
    """Where a function tells of parameters, it tells of all, and of none that it has not."""
    wrong, n_told = [], 0
    for path, node in functions_of(folder):
        sections = sections_of(ast.get_docstring(node))
        if "Parameters" not in sections:
            continue
        n_told += 1
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        taken = {each.arg for each in (*arguments, node.args.vararg, node.args.kwarg) if each is not None}
        taken = {each for each in taken - {"self", "cls"} if each[0] != "_"}
        told = entries_of(sections["Parameters"])
        wrong += [f"{path}: {node.name}: {name}" for name in sorted(taken ^ told)]
    assert n_told > 80
    assert wrong == []
