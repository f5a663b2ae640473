"""The picture over the slide and TissUUmaps around it: other slides, its colouring, turning, closing."""

import json
import shutil

import numpy as np
import pytest
from test_annotating import click_seeds, some_seeds
from test_fine_map import labelled, labels_seen, seen_on_screen  # noqa: F401 -- a fixture
from viewer import ARTIFACTS, looking

OPACITIES = "['patches', 'SICLABELS'].map((layer) => glUtils._markerOpacity[layer])"


@pytest.fixture
def two_slides(browser, server, folder):
    """A project of two h5ads, of which one has labels."""
    shutil.copy(folder / "demo.h5ad", folder / "second.h5ad")
    project = json.loads((folder / "demo.tmap").read_text())
    (first,) = project["markerFiles"]
    again = first | {"uid": "second", "name": "Second", "path": first["path"].replace("demo", "second")}
    (folder / "demo.tmap").write_text(json.dumps(project | {"markerFiles": [first, again]}))
    with looking(browser, folder, server.address(folder / "demo.tmap")) as viewer:
        viewer.page.wait_for_function("SIC.app.layers.length === 2")
        click_seeds(viewer, some_seeds(viewer))
        viewer.run()
        yield viewer


@pytest.mark.parametrize("view", ["labels", "outlines"])
def test_nothing_of_a_slide_is_shown_while_another_one_is_opened(two_slides, view):
    viewer = two_slides
    viewer.wait_for_cells()
    viewer.press(f"view-{view}")
    # Whichever was there first is the one that has labels.
    here = viewer.evaluate("SIC.app.layer.uid")
    there = viewer.evaluate("SIC.app.layers.find(({ uid }) => uid !== SIC.app.layer.uid).uid")
    held = viewer.hold("open")
    viewer.choose_from("#sic-layer", value=there)
    held.wait()
    assert viewer.evaluate("[SIC.app.labels, SIC.app.cells, SIC.app.isSharpening]") == [None, None, False]
    shown = "['picture', 'outlines', 'seeds'].filter((name) => document.getElementById(`SIC_${name}`))"
    assert viewer.evaluate(shown) == []
    assert viewer.evaluate("Object.keys(dataUtils.data).includes('SICLABELS')") is False
    held.let_go()
    viewer.wait()
    assert viewer.error is None
    assert viewer.seeds == {}
    viewer.choose_from("#sic-layer", value=here)
    viewer.wait()
    viewer.wait_for_cells()
    assert len(viewer.seeds) == 6


def test_cells_of_a_slide_that_was_left_are_stopped(two_slides):
    viewer = two_slides
    viewer.wait_for_cells()
    cancelled = []
    viewer.page.on("request", lambda request: cancelled.append(request.url.endswith("/cancel")))
    held = viewer.hold("cells")
    viewer.reload()
    held.wait()
    viewer.begin_session("Ben")
    assert viewer.evaluate("SIC.app.isSharpening") is False
    assert any(cancelled)
    held.let_go()


def test_markers_are_seen_again_when_the_plugin_is_closed(labelled):  # noqa: F811
    viewer = labelled
    centres = viewer.adata.obsm["spatial"]
    for view in ("labels", "slide", "confidence", "colors"):
        viewer.press(f"view-{view}")
        viewer.evaluate("SIC.close()")
        assert viewer.page.query_selector("#SIC_picture") is None
        expected = [0.65, 0] if view == "colors" else [0, 0.65]
        viewer.page.wait_for_function(f"({OPACITIES}).join() === '{','.join(map(str, expected))}'")
        viewer.wait_for_frame()
        assert np.allclose(viewer.canvas_alphas(centres[::50]), 0.65, atol=0.02)
        viewer.keep_picture(ARTIFACTS, f"closed_{view}")
        viewer.evaluate("() => { SIC.old = true; pluginUtils.startPlugin('SIC', [], true); }")
        viewer.page.wait_for_function("!SIC.old && SIC.app?.layer")
        viewer.wait()
        viewer.wait_for_cells()
        assert viewer.evaluate(OPACITIES) == [0, 0]


def test_what_comes_after_the_plugin_was_closed_draws_nothing_over_the_slide(labelled):  # noqa: F811
    viewer = labelled
    viewer.press("regions")
    before = viewer.layer["names"]
    held = viewer.hold("run")
    viewer.choose(1)
    patches = viewer.evaluate("[...SIC.app.labels]")
    viewer.click_patch(next(row for row, label in enumerate(patches) if label == 0))
    viewer.page.click("#sic-run")
    held.wait()
    viewer.evaluate("void (window.left = SIC.app, SIC.close())")
    held.let_go()
    viewer.page.wait_for_function("!window.left.busy")
    shown = "[...document.querySelectorAll('[id^=SIC_], [id^=sic-], .sic')].map((each) => each.id)"
    assert viewer.evaluate(shown) == []
    assert viewer.evaluate("Object.keys(regionUtils._regions).length") == 0
    assert viewer.evaluate(OPACITIES) == [0, 0.65]
    assert viewer.layer["names"] != before  # the labels of the run that was asked for


@pytest.mark.parametrize("what", ["viewport", "image"])
def test_the_picture_turns_with_the_slide(labelled, what):  # noqa: F811
    viewer = labelled
    viewer.press("fine")
    places = viewer.adata.obsm["spatial"][::7]
    before = labels_seen(viewer, places)
    assert set(before) == {0, 1}
    for degrees in (90, 200):
        if what == "viewport":
            viewer.evaluate("(degrees) => tmapp.ISS_viewer.viewport.setRotation(degrees, true)", degrees)
        else:
            viewer.evaluate(
                """(degrees) => {
                    tmapp.layers[0].rotation = degrees;
                    overlayUtils.updateTransform(0);
                }""",
                degrees,
            )
            viewer.page.wait_for_function(
                "(turned) => Math.abs(tmapp.ISS_viewer.world.getItemAt(0).getRotation(true) - turned) < 1e-6",
                arg=degrees,
            )
        viewer.wait_for_frame()
        inside = seen_on_screen(viewer, places)
        assert inside.sum() > 50
        assert (labels_seen(viewer, places)[inside] == before[inside]).mean() > 0.99
        viewer.keep_picture(ARTIFACTS, f"turned_{what}_{degrees}")
    viewer.leave()


def test_the_colours_of_patches_are_those_that_tissuumaps_shows(labelled):  # noqa: F811
    viewer = labelled
    viewer.press("view-colors")
    colors = viewer.adata.obs["umap_rgb"].tolist()
    assert viewer.colors_seen == colors
    assert viewer.evaluate(OPACITIES)[0] == 0

    # Hidden by the box of TissUUmaps' own legend.
    boxes = viewer.page.locator("#patches_menu-UI tbody input[id$=_check]")
    assert boxes.count() == 1
    boxes.evaluate("(box) => box.click()")
    viewer.page.wait_for_function("document.getElementById('SIC_picture') === null")
    viewer.wait_for_frame()
    assert max(viewer.canvas_alphas(viewer.adata.obsm["spatial"][::50])) == 0
    boxes.evaluate("(box) => box.click()")
    viewer.page.wait_for_function("document.getElementById('SIC_picture') !== null")
    assert viewer.colors_seen == colors

    # Coloured by something else.
    viewer.evaluate(
        """async () => {
            const { cb_col: column, cb_cmap: map } = interfaceUtils._mGenUIFuncs.getTabDropDowns("patches");
            column.value = "/obs/tissue";
            map.value = "interpolateViridis";
            await dataUtils.updateViewOptions("patches");
        }"""
    )
    viewer.page.wait_for_function("document.getElementById('SIC_picture') === null")
    assert viewer.evaluate(OPACITIES)[0] == 0.65
    viewer.keep_picture(ARTIFACTS, "colored_by_tissue")
    viewer.press("view-labels")
    assert viewer.evaluate(OPACITIES)[0] == 0
    viewer.press("view-colors")
    assert viewer.page.query_selector("#SIC_picture") is None
    viewer.evaluate(
        """async () => {
            const { cb_col: column, cb_cmap: map } = interfaceUtils._mGenUIFuncs.getTabDropDowns("patches");
            column.value = "/obs/umap_rgb";
            map.value = "";
            await dataUtils.updateViewOptions("patches");
        }"""
    )
    viewer.page.wait_for_function("document.getElementById('SIC_picture') !== null")
    assert viewer.colors_seen == colors


def test_patches_of_which_some_have_no_colour_are_left_to_tissuumaps(browser, server, folder):
    import anndata

    adata = anndata.read_h5ad(folder / "demo.h5ad")
    colors = adata.obs["umap_rgb"].astype(str).to_numpy(object)
    colors[len(colors) // 2] = "nan"
    adata.obs["umap_rgb"] = colors
    adata.write_h5ad(folder / "demo.h5ad")
    with looking(browser, folder, server.address(folder / "demo.tmap")) as viewer:
        viewer.press("view-colors")
        assert viewer.page.query_selector("#SIC_picture") is None
        assert viewer.evaluate(OPACITIES)[0] == 0.65
