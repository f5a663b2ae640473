"""How long a person waits for new labels: from the click of a seed to the slide redrawn, in Chromium.

Patches are of a made-up slide without an image, so that nothing but seeding, clustering, bytes and drawing is
measured; the first run, which prepares the slide, is told apart. Rendering is in software, on this machine's
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
    const look = () => {
        if (clicked !== null && SIC.app.labels !== before && !SIC.app.busy) {
            // Waits until what was asked of the renderer is done.
            const gl = document.getElementById("gl_canvas").getContext("webgl2", glUtils._options);
            gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
            resolve([performance.now() - clicked, 1000 * SIC.app.state.seconds]);
        } else requestAnimationFrame(look);
    };
    window.redrawn = null;
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
        obsm={"spatial": np.column_stack([x, y]).astype(np.float64) + 128},
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


def measure(viewer: Viewer, clicks: int) -> tuple[list[float], list[float]]:
    """Return milliseconds from click to redrawn, and those of them that the clustering took."""
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
    waited, clustered = [], []
    for click in range(clicks):
        label = click % 2
        viewer.choose(label)
        row = int(rng.choice((left, right)[label]))
        ready = viewer.page.evaluate_handle(f"() => {{ window.redrawn = ({REDRAWN})(); }}")
        ready.dispose()
        viewer.page.mouse.click(*viewer.screen(*centres[row]))
        total, inside = viewer.evaluate("() => window.redrawn")
        viewer.wait()
        waited.append(total)
        clustered.append(inside)
    assert viewer.evaluate("SIC.app.labels.length") == n
    return waited, clustered


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
                waited, clustered = measure(viewer, options.clicks)
                viewer.page.close()
            print(
                f"  click to redrawn: median {statistics.median(waited):.0f} ms, most {max(waited):.0f} ms; "
                f"of which clustering {statistics.median(clustered):.0f} ms"
            )
        browser.close()


if __name__ == "__main__":
    main()
