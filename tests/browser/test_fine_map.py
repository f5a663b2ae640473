"""Labels drawn by cell: where they lie, what the page changes of them by itself, and what follows a click."""

import json

import h5py
import numpy as np
import pytest
from test_annotating import click_seeds, headless, some_seeds
from test_tools import add_class
from viewer import ARTIFACTS, looking

from tissuumaps_sic.slides.cells import open_cells
from tissuumaps_sic.slides.slide import open_slide_file, spacing_of

COLORS = np.array([[0x00, 0xA6, 0xFB], [0xFF, 0xB0, 0x00]])


@pytest.fixture
def labelled(viewer):
    click_seeds(viewer, some_seeds(viewer))
    viewer.run()
    viewer.wait_for_cells()
    return viewer


def cells_of(viewer):
    """The slide's cells, and the middle (x, y) of each, (n_patches, side * side, 2), level-0 pixels."""
    cells = open_cells(open_slide_file(viewer.h5ad))
    steps = np.arange(cells.side) + 0.5
    x = cells.place[:, 0, None, None] * cells.side + steps[None, None, :]
    y = cells.place[:, 1, None, None] * cells.side + steps[None, :, None]
    middles = np.stack(np.broadcast_arrays(x, y), axis=-1) * cells.size + cells.corner
    return cells, middles.reshape(len(cells.place), -1, 2)


def labels_of_cells(viewer, n_patches):
    return np.array(viewer.evaluate("[...SIC.app.cells.labels]")).reshape(n_patches, -1)


def labels_seen(viewer, places):
    """The label whose colour is drawn at each place; -1 where none is."""
    pixels = np.array(viewer.picture_pixels(places))
    nearest = np.abs(pixels[:, None, :3] - COLORS).sum(axis=2)
    assert (nearest.min(axis=1)[pixels[:, 3] > 0] <= 3).all()
    return np.where(pixels[:, 3] > 0, nearest.argmin(axis=1), -1)


def look_at(viewer, place, zoom):
    viewer.evaluate(
        """([x, y, zoom]) => {
            const osd = tmapp.ISS_viewer, point = osd.world.getItemAt(0).imageToViewportCoordinates(x, y);
            osd.viewport.panTo(point, true);
            osd.viewport.zoomTo(osd.viewport.getHomeZoom() * zoom, point, true);
        }""",
        [*map(float, place), zoom],
    )
    viewer.page.wait_for_function(
        """(zoom) => {
            const osd = tmapp.ISS_viewer, at = osd.viewport.getZoom(true) / osd.viewport.getHomeZoom();
            return Math.abs(at / zoom - 1) < 1e-6;
        }""",
        arg=zoom,
    )
    viewer.wait_for_frame()


def seen_on_screen(viewer, places):
    """Which places are well within the part of the window where the slide is."""
    box = viewer.page.locator("#ISS_viewer").bounding_box()
    screen = np.array([viewer.screen(*place) for place in places])
    inner = (screen - [box["x"], box["y"]]) / [box["width"], box["height"]]
    return ((inner > 0.02) & (inner < 0.98)).all(axis=1)


def test_every_cell_has_its_colour_at_its_place_at_every_zoom_and_glass_has_none(labelled):
    viewer = labelled
    cells, middles = cells_of(viewer)
    labels = labels_of_cells(viewer, len(middles))
    shown = np.where(cells.is_glass.reshape(labels.shape), -1, labels)
    # A border within patches, that is finer than they are.
    mixed = np.flatnonzero((labels.min(axis=1) != labels.max(axis=1)) & (shown >= 0).all(axis=1))
    assert len(mixed) > 10
    rng = np.random.default_rng(0)
    some = rng.permutation(middles.reshape(-1, 2).shape[0])[:400]
    flat, expected = middles.reshape(-1, 2)[some], shown.ravel()[some]
    assert set(expected) == {-1, 0, 1}
    assert (labels_seen(viewer, flat) == expected).mean() > 0.97  # cells of three pixels of the screen
    here = int(mixed[len(mixed) // 2])
    for zoom in (4, 12, 36):
        look_at(viewer, middles[here].mean(axis=0), zoom)
        viewer.keep_picture(ARTIFACTS, f"fine_{zoom}")
        # Near the cells' corners, since they are squares without a soft edge.
        near = middles[here][:, None, :] + 0.4 * np.array(cells.size) * [[-1, -1], [1, -1], [-1, 1], [1, 1]]
        places, wanted = near.reshape(-1, 2), np.repeat(shown[here], 4)
        on_screen = seen_on_screen(viewer, places)
        assert on_screen.any()
        assert np.array_equal(labels_seen(viewer, places[on_screen]), wanted[on_screen])
    # And by whole patches, at the choice of who looks.
    viewer.press("fine")
    assert viewer.page.get_attribute("#sic-fine", "aria-pressed") == "false"
    viewer.show_all()
    patches = np.array(headless(viewer, viewer.seeds))
    places = viewer.adata.obsm["spatial"][::7]
    viewer.wait_for_frame()
    assert np.array_equal(labels_seen(viewer, places), patches[::7])
    viewer.keep_picture(ARTIFACTS, "fine_off")


def test_the_border_is_moved_by_the_page_and_is_the_one_that_a_run_gives(labelled):
    viewer = labelled
    viewer.press("view-confidence")  # scores are there once they were asked for
    viewer.press("view-labels")
    viewer.page.wait_for_function("SIC.app.doubts")  # asked for once nothing else is to be done
    asked = []
    viewer.page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    places = cells_of(viewer)[1].reshape(-1, 2)[::5]
    before = labels_seen(viewer, places)
    viewer.evaluate(
        """() => {
            const slider = document.querySelector("#sic-border");
            slider.value = "0.15";
            slider.dispatchEvent(new Event("input", { bubbles: true }));
        }"""
    )
    viewer.wait()
    assert asked == []
    seen = labels_seen(viewer, places)
    assert (seen == 1).sum() > (before == 1).sum()
    viewer.evaluate(
        "document.querySelector('#sic-border').dispatchEvent(new Event('change', { bubbles: true }))"
    )
    viewer.wait()
    viewer.wait_for_cells()
    assert viewer.evaluate("SIC.app.state.run.border") == 0.15
    assert np.array_equal(labels_seen(viewer, places), seen)


def test_what_a_click_changes_is_drawn_at_once_and_the_rest_stays_until_cells_come(labelled):
    viewer = labelled
    n = len(viewer.adata)
    before, patches = labels_of_cells(viewer, n), np.array(viewer.evaluate("[...SIC.app.labels]"))
    held = []
    viewer.page.route("**/plugins/SIC/cells", lambda route: held.append(route))
    viewer.choose(1)
    viewer.click_patch(int(np.flatnonzero(patches == 0)[0]))
    viewer.run()
    now = np.array(viewer.evaluate("[...SIC.app.labels]"))
    changed = now != patches
    assert 0 < changed.sum() < n
    drawn = labels_of_cells(viewer, n)
    assert (drawn[changed] == now[changed, None]).all()
    assert np.array_equal(drawn[~changed], before[~changed])
    assert viewer.page.get_attribute("#sic-fine", "aria-busy") == "true"
    assert len(held) == 1
    held[0].continue_()
    viewer.wait_for_cells()
    assert viewer.page.get_attribute("#sic-fine", "aria-busy") == "false"
    assert not np.array_equal(labels_of_cells(viewer, n), drawn)
    assert viewer.error is None


def test_the_legend_of_tissuumaps_hides_and_colours_what_is_drawn(labelled):
    viewer = labelled
    places = viewer.adata.obsm["spatial"][[row for row, label in viewer.seeds.items() if label == 1]]
    assert (labels_seen(viewer, places) == 1).all()
    viewer.page.locator("#SICLABELS_Tumour_check").evaluate("(box) => box.click()")
    viewer.page.wait_for_function("SIC.app.hidden.includes('Tumour')")
    assert (np.array(viewer.picture_pixels(places))[:, 3] == 0).all()
    assert not viewer.page.is_checked("#sic-shown-1")
    viewer.page.check("#sic-shown-1")
    assert viewer.page.is_checked("#SICLABELS_Tumour_check")
    assert (np.array(viewer.picture_pixels(places))[:, 3] > 0).all()
    viewer.page.locator("#SICLABELS_Tumour_color").evaluate(
        """(input) => {
            input.value = "#cc0000";
            input.dispatchEvent(new Event("change", { bubbles: true }));
        }"""
    )
    viewer.page.wait_for_function("SIC.app.state.classes[1].color === '#cc0000' && !SIC.app.busy")
    assert (np.array(viewer.picture_pixels(places))[:, :3] == [0xCC, 0, 0]).all()


def test_a_file_without_embeddings_of_cells_says_what_would_make_its_borders_finer(
    browser, server, place, demo_folder
):
    import anndata

    for suffix in (".tif", ".tmap"):
        (place / f"demo{suffix}").write_bytes((demo_folder / f"demo{suffix}").read_bytes())
    adata = anndata.read_h5ad(demo_folder / "demo.h5ad")
    told = json.loads(adata.uns["embedder"])
    told.pop("fine", None)
    adata.uns["embedder"] = json.dumps(told)
    for key in ("fine", "fine_tissue"):
        adata.obsm.pop(key, None)
    adata.write_h5ad(place / "demo.h5ad")
    with looking(browser, place, server.address(place / "demo.tmap")) as viewer:
        centres = viewer.adata.obsm["spatial"]
        for label, row in ((1, 10), (0, len(centres) // 2)):
            viewer.choose(label)
            viewer.click_patch(row)
        viewer.run()
        viewer.wait_for_cells()
        assert "embed the slide again" in viewer.page.get_attribute("#sic-fine", "title")
        cells = labels_of_cells(viewer, len(centres))
        # Between the centres of two classes: cells of both in one patch.
        assert (cells.min(axis=1) != cells.max(axis=1)).any()


def test_the_colours_of_patches_stay_in_a_session_without_labels(labelled):
    viewer = labelled
    viewer.press("view-colors")
    colors = viewer.adata.obs["umap_rgb"].tolist()
    assert viewer.colors_seen == colors
    viewer.begin_session("Ben")
    assert viewer.evaluate("SIC.app.view") == "colors"
    assert viewer.colors_seen == colors
    viewer.press("view-slide")
    assert set(viewer.colors_seen) == {""}


def test_pieces_of_tissue_with_grids_of_their_own_are_drawn_where_they_lie(browser, server, folder):
    """As markers: in one picture the second piece would lie 0.4 strides beside its tissue."""
    with h5py.File(folder / "demo.h5ad", "r+") as file:
        centres = file["obsm/spatial"][()]
        stride = spacing_of(centres)
        second = centres[:, 0] > np.median(centres[:, 0]) + stride / 2
        centres[second, 1] += round(0.4 * stride)
        file["obsm/spatial"][...] = centres
    with looking(browser, folder, server.address(folder / "demo.tmap")) as viewer:
        assert viewer.evaluate("SIC.app.lattice") is None
        for row, label in some_seeds(viewer).items():
            viewer.choose(label)
            viewer.click_patch(row, centres=centres)
        viewer.run()
        assert viewer.error is None
        assert viewer.page.locator("#SIC_picture").count() == 0
        layer = viewer.layer
        assert layer["drawn"] == len(centres)
        assert np.array_equal(np.column_stack([layer["x"], layer["y"]]), centres)
        shown = centres[np.flatnonzero(second)[::40]]
        assert min(viewer.canvas_alphas(shown)) > 0.1


def test_cells_that_were_refused_for_seeds_of_before_are_asked_for_again(viewer):
    click_seeds(viewer, some_seeds(viewer))
    cells = viewer.hold("cells")
    viewer.run()
    cells.wait()
    viewer.choose(1)
    viewer.click_patch(int(np.flatnonzero(np.array(viewer.evaluate("[...SIC.app.labels]")) == 0)[0]))
    # They come to the server after the seed: of labels that are still the ones of the run.
    cells.let_go()
    viewer.wait_for_cells()
    assert viewer.error is None
    assert len(viewer.seeds) == 7


def test_cells_of_a_session_that_another_window_changed_come_with_what_it_changed(viewer, browser):
    click_seeds(viewer, some_seeds(viewer))
    cells = viewer.hold("cells")
    viewer.run()
    cells.wait()
    with looking(browser, viewer.folder, viewer.address) as other:
        other.click_patch(next(row for row in range(len(other.adata)) if row not in other.seeds))
        assert len(other.seeds) == 7
    cells.let_go()
    viewer.page.wait_for_function("document.querySelectorAll('#SIC_seeds [data-patch]').length === 7")
    viewer.wait()
    viewer.wait_for_cells()
    assert "changed in another window" in viewer.error


def test_cells_that_a_server_did_not_give_are_told_and_asked_for_with_the_next_change(viewer):
    click_seeds(viewer, some_seeds(viewer))
    viewer.page.route("**/plugins/SIC/cells", lambda route: route.abort())
    viewer.run()
    viewer.page.wait_for_function(
        "document.querySelector('#sic-status').textContent.includes('The server does not answer')"
    )
    assert viewer.page.get_attribute("#sic-fine", "aria-busy") == "false"
    assert "Finer borders did not come" in viewer.status
    viewer.page.unroute("**/plugins/SIC/cells")
    viewer.choose(1)
    viewer.click_patch(int(np.flatnonzero(np.array(viewer.evaluate("[...SIC.app.labels]")) == 0)[0]))
    viewer.wait_for_cells()
    assert "The server does not answer" not in viewer.status


@pytest.fixture
def three_classes(viewer):
    """Labels of three classes, the last merged into the first, on a page that was loaded since."""
    add_class(viewer, "Stroma")
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.choose(2)
    for row in [row for row in range(viewer.adata.n_obs) if row not in seeds][::200][:3]:
        viewer.click_patch(row)
    viewer.run()
    viewer.wait_for_cells()
    assert 2 in labels_of_cells(viewer, len(viewer.adata))
    viewer.choose_from("#sic-removal-2", text="Merge into Other")
    viewer.wait()
    viewer.reload()
    viewer.page.wait_for_function("SIC.app.labels?.includes(2)")
    return viewer


def test_undoing_a_merge_on_a_page_that_knew_the_classes_as_one_brings_their_cells_back(three_classes):
    viewer = three_classes
    n = len(viewer.adata)
    viewer.wait_for_cells()
    assert 2 not in labels_of_cells(viewer, n)
    viewer.press("undo")
    viewer.wait_for_cells()
    cells = labels_of_cells(viewer, n)
    patches = np.array(viewer.evaluate("[...SIC.app.labels]"))
    assert (cells[patches == 2] == 2).mean() > 0.5
    viewer.press("redo")
    viewer.wait_for_cells()
    assert 2 not in labels_of_cells(viewer, n)


def test_cells_of_a_merge_that_come_after_it_was_undone_are_not_taken(three_classes):
    viewer = three_classes
    n = len(viewer.adata)
    viewer.wait_for_cells()
    viewer.press("regions")
    viewer.press("undo")
    viewer.wait_for_cells()
    assert 2 in labels_of_cells(viewer, n)
    # Of three classes, on their way while these become two; what else follows labels takes its time.
    cells = viewer.hold("cells", answered=True)
    viewer.press("redo")
    cells.wait()
    regions = viewer.hold("regions")
    viewer.page.click("#sic-undo")
    regions.wait()
    cells.let_go()
    regions.let_go()
    viewer.wait()
    viewer.wait_for_cells()
    assert 2 in labels_of_cells(viewer, n)


def test_a_box_of_the_legend_brings_no_old_colour_to_a_class_of_the_same_name(viewer):
    click_seeds(viewer, some_seeds(viewer))
    viewer.run()
    add_class(viewer, "Stroma")
    viewer.choose_from("#sic-removal-1", text="Remove with its seeds")
    viewer.wait()
    add_class(viewer, "Tumour")
    was = viewer.evaluate("SIC.app.state.run.classes.find(({ name }) => name === 'Tumour').color")
    now = "#00aa00" if was != "#00aa00" else "#aa00aa"
    label = viewer.evaluate("SIC.app.state.classes.findIndex(({ name }) => name === 'Tumour')")
    viewer.page.locator(f"tr[data-label='{label}'] input[type=color]").fill(now)
    viewer.wait()
    color = "SIC.app.state.classes.find(({ name }) => name === 'Tumour').color"
    assert viewer.evaluate(color) == now
    revision = viewer.evaluate("SIC.app.state.revision")
    viewer.page.locator("#SICLABELS_Other_check").evaluate("(box) => box.click()")
    viewer.page.wait_for_function("SIC.app.hidden.includes('Other')")
    viewer.wait()
    assert viewer.evaluate(color) == now
    assert viewer.evaluate("SIC.app.state.revision") == revision
