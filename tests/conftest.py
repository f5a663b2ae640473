"""What every test shares: where the real slides are, the demo, and small embedded slides."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has a processor: libraries that start a thread for each there is would wait for one another.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VIPS_CONCURRENCY"):
        os.environ.setdefault(name, "1")

import pytest
from filelock import FileLock

TESTS = Path(__file__).parent
# What takes more than ten seconds, the longest first. These begin, so that no worker is left with one of them
# when the other is done, and `make quick` leaves them out. The second needs no demo, which the first makes.
SLOW = (
    "browser/test_annotating.py",
    "embedder/cluster/test_cluster.py",
    "test_guide.py",
    "browser/test_tools.py",
    "embedder/commands/test_cli.py",
    "embedder/encoders/test_encoders.py",
    "embedder/encoders/test_cards.py",
    "test_notebooks.py",
    "browser",
    "tissuumaps_sic/viewer/test_many_at_once.py",
    "tissuumaps_sic/viewer/test_odd_files.py",
    "tissuumaps_sic/labelling/test_real_slides.py",
    "embedder/embedding/test_pipeline.py",
    "embedder/pretraining/test_training.py",
    "embedder/encoders/test_checkpoints.py",
    "tissuumaps_sic/demo/test_synthetic.py",
    "test_docs.py",
    "embedder/encoders/test_fine.py",
    "embedder/encoders/test_foreign.py",
    "tissuumaps_sic/commands/test_many.py",
    "test_recipes.py",
    "embedder/encoders/test_published.py",
    "hostile/test_hunt.py",
    "tissuumaps_sic/viewer/test_embeddings.py",
    "tissuumaps_sic/slidefile/test_contract.py",
    "tissuumaps_sic/labelling/test_progress.py",
    "tissuumaps_sic/verification/test_estimation.py",
    "tissuumaps_sic/slidefile/test_heaps.py",
    "embedder/isolation/test_isolation.py",
    "tissuumaps_sic/viewer/test_command_line.py",
    "tissuumaps_sic/viewer/test_safety.py",
    "tissuumaps_sic/evaluation/test_evaluate.py",
    "embedder/patches/test_reading.py",
    "tissuumaps_sic/commands/test_cli.py",
    "tissuumaps_sic/export/test_neighbours.py",
    "tissuumaps_sic/export/test_formats.py",
    "tissuumaps_sic/export/test_training.py",
    "tissuumaps_sic/export/test_patch_images.py",
    "embedder/encoders/test_hub.py",
    "tissuumaps_sic/viewer/test_serve.py",
    "embedder/files/test_share.py",
    "embedder/embedding/test_umap.py",
    "embedder/patches/test_formats.py",
    "embedder/patches/test_drawn.py",
    "embedder/embedding/test_plan.py",
    "embedder/files/test_convert.py",
    "embedder/embedding/test_damage.py",
    "embedder/embedding/test_writing.py",
    "tissuumaps_sic/annotation/test_store.py",
    "embedder/files/test_combine.py",
    "tissuumaps_sic/export/test_mask.py",
    "tissuumaps_sic/slides/test_regions.py",
    "tissuumaps_sic/export/test_report.py",
)

# A page, or a worker of a cluster, is late now and then on a machine that others use as well. In .ci/run
# these tests, and no others, are tried again, which is told; what fails twice has failed.
TRIED_TWICE = ("browser", "embedder/cluster")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real slides beside the project; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real slides are not here: {SHARED_DATA} does not exist")
    return SHARED_DATA


@pytest.fixture(scope="session")
def demo_folder() -> Path:
    """What `tissuumaps-sic demo --no-serve` makes; not to be written to.

    It takes minutes of a processor, and is kept from one run of the tests to the next while what makes it is
    the same.
    """
    digest = hashlib.sha256()
    for place in (
        "embedder",
        "tissuumaps_sic/demo",
        "tissuumaps_sic/slidefile",
        "tissuumaps_sic/commands/demo.py",
    ):
        path = TESTS.parent / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    kept = Path.home() / ".cache" / "tissuumaps-sic-tests"
    kept.mkdir(parents=True, exist_ok=True)
    folder = kept / f"demo-{digest.hexdigest()[:16]}"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            # A folder of its own: what a killed run has started may still be writing into another.
            made = Path(tempfile.mkdtemp(prefix=f"{folder.name}-unfinished-", dir=kept), "demo")
            command = [sys.executable, "-m", "tissuumaps_sic", "demo", "-o", str(made), "--no-serve"]
            subprocess.run(command, check=True)
            made.rename(folder)
            for left in kept.glob(f"{folder.name}-unfinished-*"):
                shutil.rmtree(left, ignore_errors=True)
    return folder


@pytest.fixture(scope="session")
def demo_h5ad(demo_folder) -> Path:
    """The demo slide's h5ad; not to be written to."""
    return demo_folder / "demo.h5ad"


@pytest.fixture
def small_h5ad(tmp_path) -> Path:
    """A slide of 12 x 8 patches whose right half is another tissue, as the file contract has it."""
    # Not above: the process that hands out the tests would import AnnData before it starts a worker.
    from making.files import write_small_h5ad

    return write_small_h5ad(tmp_path / "small.h5ad")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: in a file that takes more than ten seconds")


def pytest_ignore_collect(collection_path, config):
    """Leave out what `make quick` would deselect, before it imports torch and a browser in each process."""
    if config.option.markexpr != "not slow":
        return None
    return True if collection_path.relative_to(TESTS).as_posix() in SLOW else None


def pytest_collection_modifyitems(items):
    """Mark the slow tests, and let them come first."""
    rank = {}
    for item in items:
        path = item.path.relative_to(TESTS)
        names = [each.as_posix() for each in (path, *path.parents)]
        places = [SLOW.index(name) for name in names if name in SLOW]
        if places:
            item.add_marker("slow")
        if os.environ.get("CI") and any(path.is_relative_to(each) for each in TRIED_TWICE):
            item.add_marker(pytest.mark.flaky(reruns=1))
        rank[item] = places[0] if places else len(SLOW)
    items.sort(key=rank.get)


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
