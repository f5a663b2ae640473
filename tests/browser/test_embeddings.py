"""Choosing among the embeddings of a file in the viewer, all of them in half precision."""

import json
import shutil

import h5py
import numpy as np
import pytest
from viewer import ARTIFACTS

from tissuumaps_sic.labelling.clustering import SeededIterativeClustering


@pytest.fixture
def folder(demo_folder, place):
    """The demo with float16 embeddings, and a second one of its first features, as of another scale."""
    copy = shutil.copytree(demo_folder, place, dirs_exist_ok=True)
    with h5py.File(copy / "demo.h5ad", "r+") as file:
        X = file["X"][()]
        del file["X"]
        for key, matrix in (("X", X), ("obsm/X_efficientnet-lite0_1mpp", X[:, :8])):
            dataset = file.create_dataset(key, data=matrix.astype(np.float16))
            dataset.attrs["encoding-type"], dataset.attrs["encoding-version"] = "array", "0.2.0"
        known = json.loads(file["uns/embedder"].asstr()[()])
        known["encoders"] = [
            {"key": "X", "name": "efficientnet-lite0", "target_mpp": 0.5},
            {"key": "obsm/X_efficientnet-lite0_1mpp", "name": "efficientnet-lite0", "target_mpp": 1.0},
        ]
        file["uns/embedder"][()] = json.dumps(known)
    return copy


def names_by(viewer, seeds, X):
    y = np.full(len(X), -1)
    for row, label in seeds.items():
        y[row] = label
    estimator = SeededIterativeClustering(method="refine")
    labels = estimator.fit(X, y, viewer.adata.obsm["spatial"]).labels_
    return [("Other", "Tumour")[label] for label in labels]


def chosen(viewer):
    return viewer.page.eval_on_selector("#sic-embedding", "each => each.selectedOptions[0].text")


def test_an_embedding_is_chosen_beside_run_and_is_remembered(fresh):
    viewer = fresh
    adata = viewer.adata
    main, wide = adata.X, adata.obsm["X_efficientnet-lite0_1mpp"]
    assert main.dtype == wide.dtype == np.float16
    options = viewer.page.eval_on_selector("#sic-embedding", "each => [...each.options].map((o) => o.text)")
    assert options == ["efficientnet-lite0, 0.5 µm/px", "efficientnet-lite0, 1 µm/px"]
    assert chosen(viewer) == options[0]
    rows = np.linspace(40, adata.n_obs - 40, 6).astype(int).tolist()
    seeds = {row: number % 2 for number, row in enumerate(rows)}
    for row, label in seeds.items():
        viewer.choose(label)
        viewer.click_patch(row, centres=adata.obsm["spatial"])
    viewer.run()
    by_main = names_by(viewer, seeds, main)
    assert viewer.error is None
    assert viewer.layer["names"] == by_main

    viewer.page.select_option("#sic-embedding", "efficientnet-lite0_1mpp")
    viewer.run()
    viewer.keep_picture(ARTIFACTS, "embeddings")
    by_wide = names_by(viewer, seeds, wide)
    assert viewer.layer["names"] == by_wide != by_main
    assert "changed since the last run" not in viewer.status

    viewer.reload()
    assert chosen(viewer) == options[1]
    assert viewer.layer["names"] == by_wide
    viewer.press("write")
    assert viewer.error is None
    labels = [("Other", "Tumour")[code] for code in viewer.adata.obs["sic_label"].cat.codes]
    assert labels == by_wide

    # The panel keeps to its width, and what belongs together stays on its line.
    boxes = {
        name: viewer.page.locator(f"#sic-{name}").bounding_box() for name in ("embedding", "run", "opacity")
    }
    panel = viewer.page.locator(".sic.px-1").bounding_box()
    for box in boxes.values():
        assert panel["x"] <= box["x"]
        assert box["x"] + box["width"] <= panel["x"] + panel["width"]
    assert boxes["run"]["y"] < boxes["opacity"]["y"] < boxes["embedding"]["y"]


def test_an_embedding_that_is_gone_is_not_offered_and_the_last_labels_stay(fresh):
    viewer = fresh
    for row, label in ((60, 0), (700, 1)):
        viewer.choose(label)
        viewer.click_patch(row)
    viewer.page.select_option("#sic-embedding", "efficientnet-lite0_1mpp")
    viewer.run()
    names = viewer.layer["names"]
    with h5py.File(viewer.h5ad, "r+") as file:
        del file["obsm/X_efficientnet-lite0_1mpp"]
    viewer.reload()
    assert viewer.layer["names"] == names
    assert viewer.page.locator("#sic-embedding").count() == 0
    viewer.press("write")
    assert "has no embedding 'efficientnet-lite0_1mpp'" in viewer.error
    viewer.run()
    assert viewer.error is None
