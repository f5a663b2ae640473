"""What a docstring of numpy's form lacks of what its function takes, gives and raises."""

import ast
import inspect
import re
import textwrap

_SECTION = re.compile(r"^([A-Z][\w ]*)\n-{3,}$", re.MULTILINE)
# What a value is said to be: "name : type", "one, other : type", or the names alone where a class has them.
_ENTRY = re.compile(r"^([*\w]+(?:, [*\w]+)*)(?: : .*)?$", re.MULTILINE)


def sections_of(docstring):
    """Return the text of each section of a docstring by its heading; "" is what stands before them."""
    parts = _SECTION.split(inspect.cleandoc(docstring or ""))
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def entries_of(text):
    """Return the names that a section speaks of."""
    names = (name for entry in _ENTRY.findall(text) for name in entry.split(", "))
    return {name.lstrip("*") for name in names}


def faults_of_function(function, where):
    """Return what the docstring of a function lacks, each fault as a line that begins with `where`."""
    sections = sections_of(function.__doc__)
    if not sections[""].strip():
        return [f"{where}: says nothing"]
    faults = []
    signature = inspect.signature(function)
    told = entries_of(sections.get("Parameters", ""))
    taken = {
        name for name in signature.parameters if name not in ("self", "cls") and not name.startswith("_")
    }
    faults += [f"{where}: {name} is not told under Parameters" for name in sorted(taken - told)]
    faults += [f"{where}: {name} is told, and is no parameter" for name in sorted(told - taken)]
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    if _gives_something(signature, tree) and not {"Returns", "Yields"} & sections.keys():
        faults.append(f"{where}: does not tell what it returns")
    if _raises_itself(tree) and "Raises" not in sections:
        faults.append(f"{where}: does not tell what it raises")
    return faults


def faults_of_class(kind, where):
    """Return what the docstrings of a class and of its public methods lack.

    A dataclass tells its fields under Attributes, and they are what it takes; another class tells under
    Parameters what `__init__` takes.
    """
    sections = sections_of(kind.__doc__)
    if not sections[""].strip():
        return [f"{where}: says nothing"]
    told = entries_of(sections.get("Attributes", "")) | entries_of(sections.get("Parameters", ""))
    taken = set()
    if not issubclass(kind, BaseException):
        inherited = {name for base in kind.__mro__[1:] for name in getattr(base, "__dataclass_fields__", ())}
        taken = set(inspect.signature(kind).parameters) - inherited
    faults = [
        f"{where}: {name} is not told under Attributes" for name in sorted(taken - told) if name[0] != "_"
    ]
    for name, member in vars(kind).items():
        if name.startswith("_"):
            continue
        if isinstance(member, classmethod | staticmethod):
            member = member.__func__
        if inspect.isfunction(member):
            faults += faults_of_function(member, f"{where}.{name}")
        elif isinstance(member, property) and not (member.__doc__ or "").strip():
            faults.append(f"{where}.{name}: says nothing")
    return faults


def faults_of(subject, where):
    """Return what the docstrings of a public name lack."""
    return (faults_of_class if inspect.isclass(subject) else faults_of_function)(subject, where)


def _gives_something(signature, tree):
    if signature.return_annotation in (inspect.Signature.empty, None, "None", "NoReturn"):
        return False
    return any(isinstance(node, ast.Return | ast.Yield | ast.YieldFrom) for node in _inside(tree))


def _raises_itself(tree):
    """Whether a function has a `raise` of its own; of what it only passes on it may tell as well."""
    return any(isinstance(node, ast.Raise) and node.exc is not None for node in _inside(tree))


def _inside(tree):
    """Yield the nodes of a function, those of functions inside it left out."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
