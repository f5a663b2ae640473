"""Exports as a person gets them from the panel, and the exported project as TissUUmaps shows it by itself."""

import csv
import io
import json
import shutil
import zipfile
from contextlib import contextmanager
from urllib.parse import urlsplit

import anndata
import numpy as np
import pytest
import shapely
import tifffile
from making.embeddings import write_ramp
from making.labels import plan, write_grid_h5ad
from test_annotating import click_seeds, headless, some_seeds
from viewer import ARTIFACTS, served

from tissuumaps_sic.annotation.runs import cluster
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import save_session, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.export.formats import FORMATS
from tissuumaps_sic.slides.slide import open_slide_file

OFFERED = [name for name, each in FORMATS.items() if each.is_offered]
COLORS = {"Other": (0x00, 0xA6, 0xFB), "Tumour": (0xFF, 0xB0, 0x00)}


def named(labels):
    return [("Other", "Tumour")[label] for label in labels]


def test_every_format_comes_as_a_download_from_the_panel(viewer, tmp_path, browser):
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.run()
    labels = np.array(headless(viewer, seeds))
    centres = viewer.adata.obsm["spatial"]
    there = {path.name for path in viewer.folder.iterdir()}
    files = {}
    viewer.page.click("#sic-export")
    items = viewer.page.query_selector_all("#sic-export + [role=menu] [role=menuitem]")
    assert [each.get_attribute("data-value") for each in items] == OFFERED
    assert all(each.get_attribute("title") for each in items)
    viewer.page.keyboard.press("Escape")
    for format_ in OFFERED:
        with viewer.page.expect_download() as download:
            viewer.choose_from("#sic-export", value=format_)
        viewer.wait()
        name = download.value.suggested_filename
        files[format_] = tmp_path / name
        download.value.save_as(files[format_])
        assert viewer.error is None
        assert viewer.status.startswith(f"{name} is in your downloads")
    viewer.keep_picture(ARTIFACTS, "exported")
    assert {path.name for path in viewer.folder.iterdir()} == there
    with files["csv"].open(encoding="utf-8") as file:
        assert [row["label"] for row in csv.DictReader(file)] == named(labels)
    assert anndata.read_h5ad(files["h5ad"]).obs["sic_label"].tolist() == named(labels)
    mask = tifffile.imread(files["mask"])
    assert mask.shape == (4608 // 16, 6144 // 16)
    place = (centres // 16).astype(int)
    # Cells are finer than patches, and what is glass has no class.
    found = mask[place[:, 1], place[:, 0]]
    assert (found == 2 - labels)[found > 0].mean() > 0.9
    regions = json.loads(files["geojson"].read_text())["features"]
    y, x = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]] * 16.0 + 8
    for label, feature in enumerate(regions):
        inside = shapely.contains_xy(shapely.geometry.shape(feature["geometry"]), x, y)
        assert (inside == (mask == 2 - label)).mean() > 0.999
    with zipfile.ZipFile(files["tmap"]) as packed:
        rows = csv.DictReader(io.StringIO(packed.read("demo.labels.tmap.csv").decode()))
        assert [row["label"] for row in rows] == named(labels)
        assert json.loads(packed.read("demo.labels.tmap"))["layers"][0]["tileSource"] == "demo.tif.dzi"
    assert files["pdf"].read_bytes().startswith(b"%PDF")
    report = browser.new_page(viewport={"width": 1000, "height": 1100})
    asked = []
    report.on("request", lambda request: asked.append(request.url))
    report.goto(files["html"].as_uri())
    assert all(each.startswith(("file:", "data:")) for each in asked)
    counts = {
        row.query_selector("td").inner_text().strip(): row.query_selector_all("td")[1].inner_text()
        for row in report.query_selector_all("tbody tr")
    }
    assert counts == {name: str(named(labels).count(name)) for name in ("Tumour", "Other")}
    assert report.evaluate("[...document.images].every((each) => each.naturalWidth > 300)")
    report.screenshot(path=ARTIFACTS / "report.png", full_page=True)
    report.close()


@pytest.fixture
def result(tmp_path):
    """A slide whose left is another tissue than its right, labelled without a page; the labels by row."""
    folder = tmp_path / "slides"
    folder.mkdir()
    write_ramp(folder / "ramp.tif", width=6144, height=4608)
    grid = plan((6144, 4608))
    grid = grid.select(np.hypot(grid.column - 23, grid.row - 17) < 16)
    h5ad = write_grid_h5ad(folder / "ramp.h5ad", grid, image="ramp.tif")
    slide = open_slide_file(h5ad)
    left, right = np.argmin(slide.centres[:, 0]), np.argmax(slide.centres[:, 0])
    session = Session.new(slide).seed([str(slide.patch_names[left])], 0)
    session = session.seed([str(slide.patch_names[right])], 1)
    run, _ = cluster(slide, session.classes, session.seeds)
    save_session(session_path(h5ad), session.with_run(run))
    return h5ad, slide.centres, run.unpack()


@contextmanager
def shown(browser, folder, name, picture):
    """What TissUUmaps shows of a project: markers, regions, and colours at places of the slide."""
    errors, foreign = [], []
    with served(folder) as (_, address):
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        host = urlsplit(address).netloc
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "request",
            lambda each: foreign.append(each.url) if urlsplit(each.url).netloc not in (host, "") else None,
        )
        page.goto(f"http://{host}/{name}")
        page.wait_for_function("window.glUtils?._numPoints?.labels > 0", timeout=60_000)
        page.wait_for_load_state("networkidle")
        ARTIFACTS.mkdir(exist_ok=True)
        page.screenshot(path=ARTIFACTS / picture)
        yield page
        page.close()
    assert not errors
    assert not foreign


# A square at the middle of each marker and just inside of its corners, in the colour that is drawn there.
DRAWN = """([places]) => {
    glUtils._markerOpacity.labels = 1;
    glUtils.draw();
    const canvas = document.getElementById("gl_canvas"), osd = tmapp.ISS_viewer;
    const gl = canvas.getContext("webgl2", glUtils._options), scale = canvas.width / osd.canvas.clientWidth;
    const out = new Uint8Array(4);
    return places.map(([x, y]) => {
        const point = osd.world.getItemAt(0).imageToViewportCoordinates(x, y);
        const pixel = osd.viewport.pixelFromPoint(point, true);
        gl.readPixels(Math.round(pixel.x * scale), Math.round(canvas.height - 1 - pixel.y * scale), 1, 1,
            gl.RGBA, gl.UNSIGNED_BYTE, out);
        return [...out];
    });
}"""


@pytest.mark.parametrize("image", [True, False])
def test_the_project_shows_the_result_without_the_plugin(browser, result, tmp_path, image):
    h5ad, centres, labels = result
    out = tmp_path / "results"
    if not image:
        (h5ad.parent / "ramp.tif").unlink()
    assert main(["export", str(h5ad), "--format", "tmap", "-o", str(out / "ramp.labels.tmap")]) == 0
    assert (out / "ramp.tif").exists() == image
    if not image:
        # The exported folder alone shows it.
        shutil.rmtree(h5ad.parent)
    picture = f"project-{'with' if image else 'without'}-image.png"
    with shown(browser, out, "ramp.labels.tmap", picture) as page:
        assert page.evaluate("typeof window.SIC") == "undefined"
        assert page.evaluate("glUtils._numPoints.labels") == len(labels)
        assert page.evaluate("dataUtils.data.labels._processeddata.label") == named(labels)
        layers = page.evaluate("tmapp.layers?.length ?? 0")
        assert layers == (1 if image else 0)
        # The middle of every patch, and near the corners of its cell.
        for off in ((0, 0), (45, 45), (-45, 45), (45, -45), (-45, -45)):
            drawn = page.evaluate(DRAWN, [(centres + off).tolist()])
            right = [
                each[3] > 200 and np.abs(np.array(each[:3]) - COLORS[name]).max() <= 6
                for each, name in zip(drawn, named(labels), strict=True)
            ]
            assert np.mean(right) > 0.99, off
        # Squares meet: no gap is drawn between a patch and the next.
        there = set(map(tuple, centres.tolist()))
        for step in ((128, 0), (0, 128)):
            inner = [(x, y) for x, y in there if (x + step[0], y + step[1]) in there]
            drawn = page.evaluate(DRAWN, [[(x + step[0] / 2, y + step[1] / 2) for x, y in inner]])
            assert min(each[3] for each in drawn) > 150, step
        # And beyond the outermost squares nothing is drawn.
        lone = centres[np.argmin(centres[:, 0])]
        assert page.evaluate(DRAWN, [[[float(lone[0]) - 80, float(lone[1])]]])[0][3] == 0
        regions = page.evaluate(
            """() => Object.values(regionUtils._regions).map(({ regionClass, polycolor, globalPoints }) =>
                ({ name: regionClass, color: polycolor,
                   polygons: globalPoints.map((rings) =>
                       rings.map((ring) => ring.map(({ x, y }) => [x, y]))) }))"""
        )
        assert {each["name"]: each["color"] for each in regions} == {"Other": "#00a6fb", "Tumour": "#ffb000"}
        points = shapely.points(centres)
        for each in regions:
            shape = shapely.MultiPolygon([shapely.Polygon(rings[0], rings[1:]) for rings in each["polygons"]])
            assert np.array_equal(
                shapely.contains(shape, points), labels == ("Other", "Tumour").index(each["name"])
            )
        page.locator("text=Regions").locator("visible=true").first.click()
        page.wait_for_selector("#markers-regions-panel input[type=text]", state="visible")
        listed = page.eval_on_selector_all(
            "#markers-regions-panel tr input[type=text]", "inputs => inputs.map((each) => each.value)"
        )
        assert {"Other", "Tumour"} <= set(listed)
        page.screenshot(path=ARTIFACTS / "project-regions.png")
