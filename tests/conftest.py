"""What every test shares: where the real slides are, the demo, and small embedded slides."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from making.files import write_small_h5ad

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real slides beside the project; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real slides are not here: {SHARED_DATA} does not exist")
    return SHARED_DATA


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory) -> Path:
    """What `tissuumaps-sic demo --no-serve` makes, once for all tests; not to be written to."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # of all workers
    folder = root / "the-demo"
    with FileLock(root / "the-demo.lock"):
        if not (folder / "demo.h5ad").exists():
            command = [sys.executable, "-m", "tissuumaps_sic", "demo", "-o", str(folder), "--no-serve"]
            subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="session")
def demo_h5ad(demo_folder) -> Path:
    """The demo slide's h5ad; not to be written to."""
    return demo_folder / "demo.h5ad"


@pytest.fixture
def small_h5ad(tmp_path) -> Path:
    """A slide of 12 x 8 patches whose right half is another tissue, as the file contract has it."""
    return write_small_h5ad(tmp_path / "small.h5ad")


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable():
    """Let reports tell of names that are not UTF-8, which pass from process to process by no other way."""
    return _readable((yield))


def _readable(told):
    if isinstance(told, str):
        return told.encode("utf-8", "backslashreplace").decode()
    if isinstance(told, dict):
        return {key: _readable(value) for key, value in told.items()}
    if isinstance(told, list | tuple):
        return type(told)(_readable(each) for each in told)
    return told
