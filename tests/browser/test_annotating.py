"""Annotating the demo in a real TissUUmaps, as a person does, against the same done without a viewer."""

import json
import shutil
import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
from PIL import Image
from viewer import ARTIFACTS, inside, looking, served

import embedder.cli
from tissuumaps_sic.cli import main
from tissuumaps_sic.labelling.clustering import SeededIterativeClustering


def truth_of(viewer):
    """Which patches of the demo are tumour, from the mask that it was painted by; -1 where it is mixed."""
    mask = np.asarray(Image.open(viewer.folder / "demo_mask.png"))
    adata = viewer.adata
    truth = []
    for x, y in adata.obs[["x0", "y0"]].to_numpy():
        square = mask[y // 16 : y // 16 + 16, x // 16 : x // 16 + 16]
        tumour, tissue = (square == 2).mean(), (square > 0).mean()
        truth.append(1 if tumour > 0.95 else 0 if tumour == 0 and tissue > 0.95 else -1)
    return np.array(truth)


def some_seeds(viewer, per_class=3):
    truth = truth_of(viewer)
    rng = np.random.default_rng(1)
    return {
        int(row): label
        for label in (1, 0)
        for row in rng.choice(np.flatnonzero(truth == label), per_class, replace=False)
    }


def click_seeds(viewer, seeds):
    centres = viewer.adata.obsm["spatial"]
    for label in (1, 0):
        viewer.choose(label)
        for row in (row for row, each in seeds.items() if each == label):
            viewer.click_patch(row, centres=centres, off=(0.3, -0.35))


def headless(viewer, seeds, method="refine"):
    y = np.full(viewer.adata.n_obs, -1)
    for row, label in seeds.items():
        y[row] = label
    centres = viewer.adata.obsm["spatial"]
    return SeededIterativeClustering(method=method).fit(viewer.adata.X, y, centres).labels_


def named(viewer, seeds):
    return {viewer.adata.obs_names[row]: label for row, label in seeds.items()}


def test_the_project_opens_with_every_patch_drawn_in_its_colour_and_squares_that_meet(fresh):
    viewer = fresh
    adata = viewer.adata
    assert viewer.evaluate("glUtils._numPoints.patches") == adata.n_obs
    shown = viewer.evaluate("[...dataUtils.data.patches._processeddata['/obs/umap_rgb']]")
    assert shown == adata.obs["umap_rgb"].tolist()
    viewer.press("view-colors")
    assert viewer.colors_seen == shown
    viewer.page.fill("#sic-opacity", "0.5")
    # Between four patches of a block all drawn: with a gap nothing is drawn there, with an overlap more.
    centres = {tuple(each) for each in adata.obsm["spatial"]}
    block = next(c for c in sorted(centres) if all((c[0] + i * 128, c[1] + j * 128) in centres
                                                   for i in range(4) for j in range(4)))  # fmt: skip
    for zoom in (1, 3, 8):
        x, y = block[0] + 192, block[1] + 192
        viewer.evaluate(
            """([x, y, zoom]) => {
                const view = tmapp.ISS_viewer.viewport, image = tmapp.ISS_viewer.world.getItemAt(0);
                view.zoomTo(zoom * view.getHomeZoom(), null, true);
                view.panTo(image.imageToViewportCoordinates(x, y), true);
            }""",
            [x, y, zoom],
        )
        # Fainter as one comes nearer, down to two fifths where a patch is 256 pixels of the screen.
        side = np.subtract(viewer.screen(x + 128, y), viewer.screen(x, y))[0]
        faint = 0.5 * (1 - 0.6 * np.clip(np.log(side / 64) / np.log(256 / 64), 0, 1))
        viewer.page.wait_for_function(
            "(faint) => Math.abs(document.querySelector('#SIC_picture').style.opacity - faint) < 0.03",
            arg=float(faint),
        )
        alphas = viewer.canvas_alphas([(x + d, y) for d in np.linspace(-128, 128, 41)])
        assert np.mean([abs(alpha - faint) < 0.03 for alpha in alphas]) > 0.9
        assert min(alphas) > 0.1


def test_clicked_seeds_give_the_labels_that_they_give_without_a_viewer(viewer):
    seeds = some_seeds(viewer)
    viewer.keep_picture(ARTIFACTS, "panel-before")
    click_seeds(viewer, seeds)
    assert viewer.seeds == seeds
    assert viewer.saved_seeds == named(viewer, seeds)
    viewer.run()
    assert viewer.error is None
    viewer.keep_picture(ARTIFACTS, "panel-after")

    expected = headless(viewer, seeds)
    layer, centres = viewer.layer, viewer.adata.obsm["spatial"]
    assert layer["drawn"] == len(expected)
    assert np.array_equal(np.column_stack([layer["x"], layer["y"]]), centres)
    assert layer["names"] == [("Other", "Tumour")[label] for label in expected]
    counts = {"Other": int((expected == 0).sum()), "Tumour": int((expected == 1).sum())}
    assert viewer.legend == counts
    told = [cell.inner_text().split()[0] for cell in viewer.page.query_selector_all(".sic-count")]
    assert [int(each.replace(",", "")) for each in told if each[0].isdigit()] == [
        counts["Tumour"],
        counts["Other"],
    ]
    truth = truth_of(viewer)
    known = truth >= 0
    hits = (expected == 1) & (truth == 1)
    f1 = 2 * hits.sum() / ((expected[known] == 1).sum() + (truth == 1).sum())
    assert f1 > 0.8

    out = viewer.folder / "out.csv"
    assert main(["run", str(viewer.h5ad), "--seeds", str(viewer.session_path), "-o", str(out)]) == 0
    assert pd.read_csv(out)["label"].tolist() == layer["names"]


def test_the_published_method_is_one_choice_away_and_is_remembered(viewer):
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.run()
    refined = viewer.layer["names"]
    viewer.page.select_option("#sic-method", "sic")
    viewer.run()
    viewer.keep_picture(ARTIFACTS, "as-published")
    published = [("Other", "Tumour")[label] for label in headless(viewer, seeds, "sic")]
    assert viewer.layer["names"] == published
    assert published != refined
    viewer.reload()
    assert viewer.page.eval_on_selector("#sic-method", "each => each.value") == "sic"


def test_labels_can_be_hidden_by_class_and_patches_shown_again(viewer):
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.run()
    expected, centres = headless(viewer, seeds), viewer.adata.obsm["spatial"]
    tumour, other = (centres[np.flatnonzero(expected == label)[5]] for label in (1, 0))
    assert viewer.canvas_alpha(*tumour) > 0.5
    viewer.page.uncheck("tr[data-label='1'] input[type=checkbox]")
    assert viewer.canvas_alpha(*tumour) == 0
    assert viewer.canvas_alpha(*other) > 0.5
    viewer.press("view-colors")
    assert viewer.canvas_alpha(*tumour) > 0.5
    viewer.press("view-slide")
    assert viewer.canvas_alpha(*other) == 0


def test_running_again_replaces_the_layer(viewer):
    click_seeds(viewer, some_seeds(viewer))
    viewer.run()
    first = viewer.layer["names"]
    more = some_seeds(viewer, per_class=8)
    click_seeds(viewer, {row: label for row, label in more.items() if row not in viewer.seeds})
    assert "changed since the last run" in viewer.status
    viewer.run()
    assert "changed since the last run" not in viewer.status
    assert viewer.layer["names"] == [("Other", "Tumour")[each] for each in headless(viewer, viewer.seeds)]
    assert viewer.page.locator(".marker-tab-button", has_text="SIC labels").count() == 1
    assert len(first) == len(viewer.layer["names"])


def test_undo_redo_and_clear_by_button_and_key(viewer):
    (a, b, c) = list(some_seeds(viewer))[:3]
    viewer.choose(1)
    for row in (a, b, c):
        viewer.click_patch(row)
    viewer.press("undo")
    assert viewer.seeds == {a: 1, b: 1}
    viewer.page.keyboard.press("z")
    viewer.wait()
    assert viewer.seeds == {a: 1}
    viewer.page.keyboard.press("Shift+Z")
    viewer.wait()
    viewer.press("redo")
    assert viewer.seeds == {a: 1, b: 1, c: 1}
    viewer.press("clear")
    assert viewer.seeds == {}
    viewer.press("undo")
    assert viewer.seeds == {a: 1, b: 1, c: 1}
    assert viewer.saved_seeds == named(viewer, {a: 1, b: 1, c: 1})


def test_after_reloading_seeds_labels_and_undo_are_there_again(viewer):
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.run()
    before = viewer.layer
    viewer.reload()
    assert viewer.seeds == seeds
    assert viewer.layer["names"] == before["names"]
    viewer.press("undo")
    assert viewer.seeds == dict(list(seeds.items())[:-1])


def test_a_second_click_unseeds_and_another_class_takes_over(viewer):
    row = next(iter(some_seeds(viewer)))
    viewer.choose(1)
    viewer.click_patch(row)
    viewer.choose(0)
    viewer.click_patch(row)
    assert viewer.seeds == {row: 0}
    viewer.click_patch(row)
    assert viewer.seeds == {}


def test_a_trembling_or_slow_click_seeds_and_a_drag_pans(viewer):
    rows = list(some_seeds(viewer))
    centres = viewer.adata.obsm["spatial"]
    x, y = viewer.screen(*centres[rows[0]])
    viewer.drag([(x, y), (x + 3, y - 3)])
    assert viewer.seeds == {rows[0]: 1}
    x, y = viewer.screen(*centres[rows[1]])
    viewer.page.mouse.move(x, y)
    viewer.page.mouse.down()
    viewer.page.wait_for_timeout(700)
    viewer.page.mouse.up()
    viewer.wait()
    assert set(viewer.seeds) == set(rows[:2])
    viewer.evaluate(
        "void tmapp.ISS_viewer.viewport.zoomTo(3 * tmapp.ISS_viewer.viewport.getHomeZoom(), null, true)"
    )
    before = viewer.screen(0, 0)
    viewer.drag([(500, 400), (600, 460)])
    assert set(viewer.seeds) == set(rows[:2])
    assert np.hypot(*np.subtract(viewer.screen(0, 0), before)) > 50


def test_a_click_beside_the_tissue_seeds_nothing_and_says_so(viewer):
    viewer.page.mouse.click(*viewer.screen(60, 60))
    viewer.wait()
    assert viewer.seeds == {}
    assert "no patch here" in viewer.status


def test_with_seeding_off_clicks_only_look(viewer):
    row = next(iter(some_seeds(viewer)))
    viewer.page.uncheck("#sic-seeding")
    viewer.click_patch(row)
    assert viewer.seeds == {}


def test_a_lasso_seeds_the_patches_whose_centres_it_holds(viewer):
    centres = viewer.adata.obsm["spatial"]
    middle = np.median(centres, axis=0)
    outline = middle + np.array([(-500, -300), (450, -520), (300, 420), (-100, 80), (-420, 460)])
    viewer.drag([viewer.screen(*each) for each in [*outline, outline[0]]], shift=True, steps=30)
    expected = np.flatnonzero(inside(outline, centres))
    assert len(expected) > 10
    assert viewer.seeds == dict.fromkeys(expected.tolist(), 1)
    viewer.press("undo")
    assert viewer.seeds == {}


def test_running_without_seeds_is_told_in_the_panel(viewer):
    viewer.run()
    assert "Each class needs a seed: Tumour 0, Other 0" in viewer.error
    assert viewer.layer is None
    viewer.choose(0)
    viewer.click_patch(next(iter(some_seeds(viewer))))
    assert viewer.error is None
    viewer.run()
    assert "Each class needs a seed: Tumour 0, Other 1" in viewer.error


def test_a_server_that_is_gone_is_told_in_the_panel(browser, folder):
    with served(folder) as (process, address), looking(browser, folder, address) as viewer:
        row = next(iter(some_seeds(viewer)))
        process.terminate()
        process.wait()
        viewer.click_patch(row)
        assert "does not answer" in viewer.error
        assert viewer.seeds == {}


def test_a_second_window_never_overwrites_the_first_unseen(viewer, browser):
    rows = list(some_seeds(viewer))
    with looking(browser, viewer.folder, viewer.address) as other:
        viewer.click_patch(rows[0])
        # Neither click is lost, and nobody has to click again.
        other.click_patch(rows[1])
        assert other.error is None
        assert other.seeds == {rows[0]: 1, rows[1]: 1}
    assert viewer.saved_seeds == named(viewer, {rows[0]: 1, rows[1]: 1})


def test_classes_are_renamed_and_recoloured_and_the_layer_follows(viewer):
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.run()
    viewer.rename(1, "Gleason 4")
    viewer.page.locator("tr[data-label='1'] input[type=color]").fill("#112233")
    viewer.wait()
    assert set(viewer.legend) == {"Gleason 4", "Other"}
    session = json.loads(viewer.session_path.read_text())
    last = session["actions"][-1]
    assert (last["label"], last["name"], last["color"]) == (1, "Gleason 4", "#112233")
    assert viewer.layer["names"].count("Gleason 4") == viewer.legend["Gleason 4"] > 0
    viewer.rename(1, "Other")
    assert "another name" in viewer.error
    # What was typed is there to be mended, with the reason.
    assert viewer.page.input_value("#sic-class-naming") == "Other"
    assert "another name" in viewer.page.inner_text(".sic-naming-error")


def test_labels_are_written_into_the_h5ad_on_demand(viewer):
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.run()
    expected = headless(viewer, seeds)
    viewer.press("write")
    assert viewer.error is None
    adata = anndata.read_h5ad(viewer.h5ad)
    assert np.array_equal(adata.obs["sic_label"].cat.codes, expected)
    assert embedder.cli.main(["check", str(viewer.h5ad)]) == 0
    viewer.reload()
    assert viewer.seeds == seeds


def test_a_project_saved_from_the_viewer_asks_nothing_and_holds_no_label_layer(viewer):
    click_seeds(viewer, some_seeds(viewer))
    viewer.run()
    state = viewer.evaluate(
        "projectUtils.getActiveProject().then((state) => JSON.parse(JSON.stringify(state)))"
    )
    assert [each["uid"] for each in state["markerFiles"]] == ["patches"]


def test_opening_the_plugin_again_leaves_one_set_of_handlers(viewer):
    viewer.evaluate("() => { SIC.old = true; pluginUtils.startPlugin('SIC', [], true); }")
    viewer.page.wait_for_function("!SIC.old")
    viewer.wait()
    row = next(iter(some_seeds(viewer)))
    viewer.click_patch(row)
    assert viewer.seeds == {row: 1}


def test_patches_without_their_image_are_seeded_just_as_well(browser, server, demo_folder, place):
    """The case of shared embeddings: TissUUmaps draws on an empty canvas of its own."""
    shutil.copy(demo_folder / "demo.h5ad", place)
    project = json.loads((demo_folder / "demo.tmap").read_text())
    (place / "demo.tmap").write_text(json.dumps({**project, "layers": []}))
    with looking(browser, place, server.address(place / "demo.tmap")) as viewer:
        rows = [100, 400, 700]
        for row in rows:
            viewer.click_patch(row, off=(0.3, -0.3))
        viewer.keep_picture(ARTIFACTS, "without-image")
        assert viewer.saved_seeds == named(viewer, dict.fromkeys(rows, 1))


def test_a_slide_in_a_folder_below_keeps_its_session_beside_it(browser, demo_folder, tmp_path):
    below = tmp_path / "shared" / "case 7"
    below.mkdir(parents=True)
    for name in ("demo.h5ad", "demo.tmap", "demo.tif"):
        shutil.copy(demo_folder / name, below)
    with served(tmp_path / "shared") as (_, address):
        assert "path=case" in address
        with looking(browser, below, address) as viewer:
            viewer.click_patch(300)
            assert viewer.saved_seeds == named(viewer, {300: 1})


def test_a_real_slide_is_labelled_where_it_was_clicked(browser, server, shared_data, place):
    """CMU-1-Small-Region: three clicks on epidermis and three on dermis, in an image of 0.499 µm/px."""
    slide = shared_data / "slides" / "CMU-1-Small-Region.svs"
    options = ("-o", place, "--no-umap", "--precision", "float32")  # nobody looks at the map here
    subprocess.run([sys.executable, "-m", "embedder", "embed", slide, *options], check=True)
    with looking(browser, place, server.address(place / f"{slide.stem}.tmap")) as viewer:
        places = {1: [(1250, 900), (1170, 1700), (700, 2750)], 0: [(1000, 1300), (1000, 2600), (1700, 1900)]}
        for label, points in places.items():
            viewer.choose(label)
            for point in points:
                viewer.page.mouse.click(*viewer.screen(*point))
                viewer.wait()
        # Squares of 128.3 level-0 pixels: a seed's centre is within half of one of where it was clicked.
        centres = viewer.adata.obsm["spatial"]
        for label, points in places.items():
            found = [centres[row] for row, each in viewer.seeds.items() if each == label]
            for point in points:
                assert min(np.abs(np.subtract(point, each)).max() for each in found) <= 65
        viewer.run()
        viewer.keep_picture(ARTIFACTS, "CMU-1-Small-Region")
        expected = headless(viewer, viewer.seeds)
        assert viewer.layer["names"] == [("Other", "Tumour")[label] for label in expected]
        assert 0.1 < expected.mean() < 0.6
