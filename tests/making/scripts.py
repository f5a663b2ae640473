"""Scripts of `.ci` as modules."""

import importlib.util
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".ci"


def load_script(name):
    spec = importlib.util.spec_from_file_location(f"ci_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
