"""Slides with labels that a test chooses, in files that tell how their patches lie."""

import base64
import json
import zlib

import anndata
import numpy as np
import pandas as pd

from embedder.patches.grid import PatchGrid
from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.last_run import Run
from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import save_session, session_path
from tissuumaps_sic.slides.slide import open_slide_file

CLASSES = tuple(
    SeedClass(name=name, color=color)
    for name, color in (("Other", "#00a6fb"), ("Tumour", "#ffb000"), ("In situ: low", "#009e73"))
)


def plan(size=(2600, 1900), *, mpp=(0.5, 0.5), keep=None, **more):
    """The embedder's own grid over a slide of `size`."""
    grid = PatchGrid.plan(size, mpp_x=mpp[0], mpp_y=mpp[1], **more)
    return grid if keep is None else grid.select(keep(len(grid)))


def write_grid_h5ad(path, grid, *, told=True, image=None, fine=None):
    """Write an h5ad of a grid's patches, embeddings apart by column; `told`: with grid and tissue.

    `fine` are its cells: embeddings (n, side, side, channels) and percents of tissue (n, side, side).
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(len(grid), 8)).astype(np.float32)
    X[:, 0] += np.where(grid.column < grid.columns / 2, 8, -8)
    names = [f"{path.stem}_{x}_{y}" for x, y in zip(grid.x0, grid.y0, strict=True)]
    known = {
        "slide": {
            "size": list(grid.slide_size),
            "bounds": list(grid.bounds),
            "mpp_x": grid.mpp_x,
            "mpp_y": grid.mpp_y,
        },
        "grid": {
            "target_mpp": grid.target_mpp,
            "patch_size": grid.patch_size,
            "stride": grid.stride,
            "patch_size0": grid.patch_size0,
            "patch_width0": grid.patch_width0,
            "patch_height0": grid.patch_height0,
        },
    }
    adata = anndata.AnnData(
        X=X,
        obs=pd.DataFrame({"x0": grid.x0, "y0": grid.y0}, index=pd.Index(names, dtype=object)),
        obsm={"spatial": grid.centres},
    )
    if told:
        adata.obs["tissue"] = np.linspace(0, 1, len(grid), dtype=np.float32)
        adata.uns["embedder"] = json.dumps(known)
    if fine is not None:
        values, tissue = fine
        known["fine"] = {"side": values.shape[1], "channels": values.shape[3], "layer": "drawn"}
        adata.uns["embedder"] = json.dumps(known)
        adata.obsm["fine"] = values.reshape(len(grid), -1).astype(np.float16)
        adata.obsm["fine_tissue"] = tissue.reshape(len(grid), -1).astype(np.uint8)
    adata.write_h5ad(path)
    if image is not None:
        layers = [{"name": path.stem, "tileSource": f"{image}.dzi"}]
        path.with_suffix(".tmap").write_text(json.dumps({"layers": layers, "plugins": ["SIC"]}))
    return path


def cell_centres(grid, side):
    """Centres (x, y) of the cells of a grid's patches, level-0 pixels, (n, side, side, 2)."""
    steps = (np.arange(side) + 0.5) / side - 0.5
    width, height = grid.stride * grid.scale_x, grid.stride * grid.scale_y
    x = grid.centres[:, 0, None, None] + steps[None, None, :] * width
    y = grid.centres[:, 1, None, None] + steps[None, :, None] * height
    return np.stack(np.broadcast_arrays(x, y), axis=-1)


def labelled(h5ad, labels, *, classes=CLASSES, seeds=None, scores=None, save=False):
    """A slide whose last run gave `labels`, as `runs.replay` gives them."""
    slide = open_slide_file(h5ad)
    labels = np.asarray(labels, np.uint8)
    seeds = seeds or {str(slide.patch_names[0]): int(labels[0])}
    run = Run(
        time="2025-05-04T12:30:00+00:00",
        seeds=seeds,
        method="refine",
        parameters={},
        version="0.1.0",
        n_iter=3,
        counts=tuple(np.bincount(labels, minlength=len(classes)).tolist()),
        labels=base64.b64encode(zlib.compress(labels.tobytes())).decode(),
    )
    session = Session.new(slide).model_copy(update={"initial_classes": tuple(classes)})
    for name, label in seeds.items():
        session = session.seed([name], label, user="Ada")
    session = session.with_run(run)
    if scores is None:
        scores = np.random.default_rng(1).random(slide.n_patches)
    scores = np.asarray(scores, np.float32)
    if scores.ndim == 1:  # of each patch's own label
        rest = (1 - scores) / max(len(classes) - 1, 1)
        scores = np.where(labels[:, None] == np.arange(len(classes)), scores[:, None], rest[:, None])
    if save:
        save_session(session_path(h5ad), session)
    return Labelled.of(slide, session, scores)
