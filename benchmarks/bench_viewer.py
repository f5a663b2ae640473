"""How long a person waits for new labels: from the click of a seed to the slide redrawn, in Chromium.

Patches are of a made-up slide without an image, so that nothing but seeding, clustering, bytes and drawing is
measured; the first run, which prepares the slide, is told apart. Labels by cell, 16 a patch of 40 channels,
follow those of patches, and how long after them is told as well. Rendering is in software, on this machine's
processor, which the server shares.

    .venv/bin/python benchmarks/bench_viewer.py [--patches 20000 100000] [--clicks 10]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from playwright.sync_api import sync_playwright

from tissuumaps_sic.slidefile.project import tmap_project

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))
from conftest import CHROMIUM_FLAGS  # noqa: E402
from viewer import Viewer, served  # noqa: E402

N_FEATURES = 1280  # of EfficientNet-Lite0, the default encoder

# Resolves once labels are newer than they were, nothing is under way, and what is drawn has been drawn.
REDRAWN = """() => new Promise((resolve) => {
    const before = SIC.app.labels;
    let clicked = null;
    const options = { capture: true, once: true };
    window.addEventListener("pointerdown", () => { clicked = performance.now(); }, options);
    // Waits until what was asked of the renderers is done.
    const finish = () => {
        const gl = document.getElementById("gl_canvas").getContext("webgl2", glUtils._options);
        gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
        document.getElementById("SIC_picture")?.getContext("2d").getImageData(0, 0, 1, 1);
        return performance.now();
    };
    let redrawn = null;
    const look = () => {
        const isDue = redrawn === null && clicked !== null && SIC.app.labels !== before && !SIC.app.busy;
        if (isDue) redrawn = finish();
        // A version that draws no cells is done with the patches.
        if (redrawn !== null && (SIC.app.cells === undefined || SIC.app.cells?.of === SIC.app.labels)) {
            resolve([redrawn - clicked, 1000 * SIC.app.state.seconds, finish() - redrawn]);
        } else requestAnimationFrame(look);
    };
    look();
})"""


def make(folder: Path, n_patches: int) -> None:
    """Write an h5ad of patches on a grid, in four kinds that lie apart, and its project without an image."""
    rng = np.random.default_rng(0)
    columns = int(np.ceil(np.sqrt(n_patches)))
    place = np.arange(n_patches)
    x, y = place % columns * 256, place // columns * 256
    kind = (x > x.max() / 2) * 2 + (y > y.max() / 2)
    X = rng.normal(size=(n_patches, N_FEATURES)).astype(np.float32)
    X += 0.3 * rng.normal(size=(4, N_FEATURES)).astype(np.float32)[kind]
    adata = anndata.AnnData(
        X,
        obs=pd.DataFrame(
            {
                "x0": x,
                "y0": y,
                "umap_rgb": np.array(["#c03030", "#30c030", "#3030c0", "#a0a030"])[kind],
                "library_id": pd.Categorical(["demo"] * n_patches),
            },
            index=[f"demo_{a}_{b}" for a, b in zip(x, y, strict=True)],
        ),
        obsm={
            "spatial": np.column_stack([x, y]).astype(np.float64) + 128,
            "fine": (rng.normal(size=(n_patches, 16, 40)) + 0.5 * rng.normal(size=(4, 1, 40))[kind])
            .reshape(n_patches, -1)
            .astype(np.float16),
            "fine_tissue": np.full((n_patches, 16), 100, np.uint8),
        },
        uns={
            "embedder": json.dumps(
                {
                    "slide": {"size": [columns * 256] * 2, "mpp_x": 0.5, "mpp_y": 0.5},
                    "grid": {
                        "target_mpp": 0.5,
                        "patch_size": 256,
                        "stride": 256,
                        "patch_size0": 256.0,
                        "patch_width0": 256.0,
                        "patch_height0": 256.0,
                    },
                    "fine": {"side": 4, "channels": 40, "layer": "made up"},
                }
            )
        },
    )
    adata.write_h5ad(folder / "demo.h5ad")
    project = tmap_project(
        h5ad_name="demo.h5ad",
        slide_name="demo",
        image=None,
        slide_size=(columns * 256, columns * 256),
        centres=np.asarray(adata.obsm["spatial"]),
        stride0=256.0,
        mpp=0.5,
    )
    (folder / "demo.tmap").write_text(json.dumps(project))


def measure(viewer: Viewer, clicks: int) -> list[tuple[float, float, float]]:
    """Return milliseconds from each click to redrawn, those of the clustering, and until cells followed."""
    n = viewer.evaluate("SIC.app.state.n_patches")
    rng = np.random.default_rng(1)
    centres = viewer.adata.obsm["spatial"]
    half = centres[:, 0].max() / 2
    left, right = np.flatnonzero(centres[:, 0] < half), np.flatnonzero(centres[:, 0] >= half)
    for label, rows in enumerate((left, right)):
        viewer.choose(label)
        viewer.click_patch(int(rng.choice(rows)), centres=centres)
    viewer.run()
    print(f"  first run: {viewer.status}")
    viewer.page.check("#sic-live")
    viewer.wait()
    measured = []
    for click in range(clicks):
        label = click % 2
        viewer.choose(label)
        row = int(rng.choice((left, right)[label]))
        ready = viewer.page.evaluate_handle(f"() => {{ window.redrawn = ({REDRAWN})(); }}")
        ready.dispose()
        viewer.page.mouse.click(*viewer.screen(*centres[row]))
        measured.append(tuple(viewer.evaluate("() => window.redrawn")))
        viewer.wait()
    assert viewer.evaluate("SIC.app.labels.length") == n
    return measured


def main() -> None:
    """Measure each number of patches."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patches", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--clicks", type=int, default=10)
    options = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        for n_patches in options.patches:
            folder = Path(name) / str(n_patches)
            folder.mkdir()
            make(folder, n_patches)
            print(f"{n_patches} patches of {N_FEATURES} features")
            with served(folder) as (process, address):
                viewer = Viewer(
                    browser.new_page(viewport={"width": 1400, "height": 900}), folder, address, process
                )
                viewer.open()
                waited, clustered, followed = zip(*measure(viewer, options.clicks), strict=True)
                viewer.page.close()
            print(
                f"  click to redrawn: median {statistics.median(waited):.0f} ms, most {max(waited):.0f} ms; "
                f"of which clustering {statistics.median(clustered):.0f} ms; "
                f"cells {statistics.median(followed):.0f} ms later, most {max(followed):.0f} ms"
            )
        browser.close()


if __name__ == "__main__":
    main()
