"""The notebooks in examples/ run from top to bottom on the demo, and come to what they say.

What a notebook itself asserts is run with it. What is asked here is asked of the files and names it leaves.
"""

import ast
import json
import re
import shutil
from pathlib import Path

import anndata
import numpy as np
import pytest
from making.notebooks import read_cells, run_notebook
from PIL import Image

from tissuumaps_sic.annotation.store import load_session
from tissuumaps_sic.slides.slide import open_slide_file

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
README = (EXAMPLES / "README.md").read_text()


@pytest.fixture
def run(demo_folder, tmp_path, monkeypatch):
    """Run a notebook by the beginning of its name, in a folder that holds the demo and nothing else."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(demo_folder, tmp_path / "demo")

    def run_one(name):
        (path,) = EXAMPLES.glob(f"{name}*.ipynb")
        return run_notebook(path)

    return run_one


def tumour_of(h5ad):
    """Which patches the mask that the demo was painted by calls tumour: at least half of their pixels."""
    mask = np.asarray(Image.open("demo/demo_mask.png")) == 2
    corners = anndata.read_h5ad(h5ad).obs[["x0", "y0"]].to_numpy() // 16
    return np.array([mask[y : y + 16, x : x + 16].mean() >= 0.5 for x, y in corners])


def f1(truth, labels):
    return 2 * (truth & labels).sum() / (truth.sum() + labels.sum())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_kept_without_outputs_and_ends_with_a_check(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    identities = [cell["id"] for cell in notebook["cells"]]
    assert len(set(identities)) == len(identities)
    codes = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in codes)
    assert read_cells(path, "markdown")[0].startswith("# ")
    last = ast.parse(read_cells(path)[-1])
    assert any(isinstance(node, ast.Assert) for node in ast.walk(last))


def test_the_readme_lists_every_example():
    kinds = (".ipynb", ".md", ".py", ".sh")
    named = {name for name in re.findall(r"`([\w.]+)`", README) if name.endswith(kinds)}
    assert named == {path.name for path in EXAMPLES.iterdir() if path.suffix in kinds} - {"README.md"}


def test_embed_and_look(run):
    left = run("01")
    assert left["result"].status == "skipped"  # made as asked, by the fixture that all tests share
    assert left["adata"].n_obs == left["result"].n_patches == 878
    (figure,) = left["figures"]
    dots = figure.axes[1].collections[0]
    assert len(dots.get_offsets()) == 878
    assert len(np.unique(dots.get_facecolors(), axis=0)) > 100


def test_labels_from_python(run):
    left = run("02")
    truth = tumour_of("demo/demo.h5ad")
    assert np.array_equal(left["truth"].labels == 1, truth)
    for name in ("sic", "refine"):
        assert left["f1"][name] == pytest.approx(f1(truth, left["fitted"][name].labels_ == 1))
    session = load_session(Path("demo/demo.sic.json"), open_slide_file(Path("demo/demo.h5ad")))
    assert session.seed_counts == [3, 3]
    assert f1(truth, session.run.unpack() == 1) > 0.9
    # What was painted is 1.01 mm² of tumour.
    painted = (np.asarray(Image.open("demo/demo_mask.png")) == 2).sum() * (16 * 0.0005) ** 2
    assert left["areas"]["Tumour"] == pytest.approx(painted, rel=0.1)


def test_encoders_compared(run):
    left = run("03")
    files = {each.name: each for each in open_slide_file(Path("compared/demo.h5ad")).embeddings}
    assert files.keys() == {"X", "efficientnet-lite0_2mpp", "colour"}
    assert files["efficientnet-lite0_2mpp"].mpp == 2
    adata = anndata.read_h5ad("compared/demo.h5ad")
    coarse = anndata.read_h5ad("coarse/demo.h5ad")
    assert np.array_equal(adata.obsm["X_efficientnet-lite0_2mpp"], coarse.X)
    # The table is the best of the five draws, of the published algorithm.
    runs = left["evaluation"].runs
    assert set(runs["method"]) == {"sic"}
    for (encoder, number), rows in runs.groupby(["encoder", "n_seeds"]):
        assert left["table"].loc[encoder, number] == rows["f1"].max()
        assert len(rows) == 5
    # What looks at texture separates this tissue better than colour alone does.
    assert left["table"].loc["efficientnet-lite0"].min() > left["table"].loc["colour"].max()
    assert len(left["figures"]) == 2


def test_share_without_the_image(run):
    left = run("04")
    (copy,) = Path("shared").glob("*.h5ad")
    shared = anndata.read_h5ad(copy)
    truth = tumour_of("demo/demo.h5ad")
    assert f1(truth, (shared.obs["sic_label"] == "Tumour").to_numpy()) > 0.9
    assert "fine" not in shared.obsm
    assert re.fullmatch(r"[0-9a-f]{16}", copy.stem)
    assert all(name.startswith(copy.stem) for name in shared.obs_names)
    assert left["again"].labels_.sum() == (shared.obs["sic_label"] == "Tumour").sum()


def test_scanpy_squidpy_spatialdata(run):
    left = run("05")
    labels = left["adata"].obs["sic_label"]
    assert left["table"].obs["sic_label"].tolist() == labels.tolist()
    # Pairs of neighbours within a class, counted again on the grid; each pair counts twice.
    places = (left["adata"].obsm["spatial"] // 128).astype(int)
    by_place = dict(zip(map(tuple, places), labels, strict=True))
    steps = ((1, 0), (-1, 0), (0, 1), (0, -1))
    beside = [((x, y), (x + dx, y + dy)) for x, y in by_place for dx, dy in steps]
    pairs = [(by_place[a], by_place[b]) for a, b in beside if b in by_place]
    for row, first in enumerate(left["classes"]):
        for column, second in enumerate(left["classes"]):
            assert left["touching"][row, column] == pairs.count((first, second))
    tumour = left["regions"].set_index("class").geometry["Tumour"]
    assert tumour.area * 0.0005**2 == pytest.approx(1.02, rel=0.05)
    assert 100 < left["on_border"].sum() < 300


def test_qupath_and_lazyslide(run):
    left = run("06")
    truth = tumour_of("demo/demo.h5ad")
    assert f1(truth, left["labelled"].labels == 1) > 0.9
    features = json.loads(Path("to_qupath.geojson").read_text())["features"]
    assert {each["properties"]["classification"]["name"] for each in features} == {"Other", "Tumour"}
    # Half of a patch in the box of 500 px has the patch's middle inside; beside these there is the point's.
    seeds = left["labelled"].session.seeds
    slide = open_slide_file(Path("demo/demo.h5ad"))
    tumour = [slide.centres[slide.index[name]] for name, label in seeds.items() if label == 1]
    in_box = [(1200 <= x <= 1700 and 1400 <= y <= 1900) for x, y in tumour]
    assert sum(not inside for inside in in_box) == 1  # the point
    assert {each["tile_id"] for _, each in left["table"].obs.iterrows()} == set(range(878))
    assert set(left["again"].tables) == {"lite0_tiles", "sic_tiles"}
