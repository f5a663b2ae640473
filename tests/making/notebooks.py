"""Notebooks run as they stand, without Jupyter: their code, cell after cell, in this process."""

import json
from pathlib import Path
from typing import Any


def read_cells(path: Path, kind: str = "code") -> list[str]:
    """Return the source of a notebook's cells of one kind."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def run_notebook(path: Path) -> dict[str, Any]:
    """Run a notebook in the present folder, and return the names that it leaves.

    What libraries load is loaded once for all notebooks of a test run; a kernel for each would take a minute
    of a processor more.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names: dict[str, Any] = {"__name__": "__main__"}
    try:
        for number, source in enumerate(read_cells(path)):
            exec(compile(source, f"{path.name}, code cell {number}", "exec"), names)
        names["figures"] = [plt.figure(number) for number in plt.get_fignums()]
    finally:
        plt.close("all")
    return names
