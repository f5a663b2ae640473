"""Arguments of `write_slide` for a slide of a dozen patches, and its TissUUmaps project."""

import numpy as np

from embedder.tmap import tmap_project


def slide_arguments(n=12):
    rng = np.random.default_rng(0)
    # Four columns and three rows, patches of 250 level-0 pixels every 125, so that x and y differ.
    x0 = np.array([0, 125, 250, 375] * 3, dtype=np.int64)[:n]
    y0 = np.repeat(np.array([0, 125, 250], dtype=np.int64), 4)[:n]
    centres = np.column_stack([x0, y0]) + 125.0
    provenance = {
        "slide": {"name": "A b", "size": [2000, 1000]},
        "grid": {"patch_size0": 250.0},
        **{key: {} for key in ("tissue", "encoder", "versions", "seconds")},
    }
    return {
        "X": rng.normal(size=(n, 5)).astype(np.float32),
        "x0": x0,
        "y0": y0,
        "centres": centres,
        "tissue": np.linspace(0, 1, n, dtype=np.float32),
        "umap2": rng.normal(size=(n, 2)).astype(np.float32),
        "umap3": rng.normal(size=(n, 3)).astype(np.float32),
        "colors": [f"#0000{i:02x}" for i in range(n)],
        "slide_name": "A b",
        "encoder_name": "net",
        "provenance": provenance,
        "tmap": project(centres),
    }


def project(centres, *, image="A b.svs", stride0=125.0, slide_size=(2000, 1000)):
    return tmap_project(
        h5ad_name="A b.h5ad",
        slide_name="A b",
        image=image,
        slide_size=slide_size,
        centres=centres,
        stride0=stride0,
        mpp=0.25,
    )
