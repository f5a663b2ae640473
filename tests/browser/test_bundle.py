"""A reader elsewhere: the demo as a bundle, opened in an empty folder, seeded, and brought home."""

import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from test_annotating import click_seeds, some_seeds
from viewer import ARTIFACTS, looking

from tissuumaps_sic.annotation.store import load_session, session_names, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.slidefile.placing import open_image
from tissuumaps_sic.slides.slide import open_slide_file


@contextmanager
def opened_by_one_command(bundle):
    """Run `tissuumaps-sic open BUNDLE` where it lies; yield the address of its slide."""
    command = [sys.executable, "-m", "tissuumaps_sic", "open", bundle.name, "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=bundle.parent)
    try:
        lines = (line.strip() for line in process.stdout)
        yield next(line for line in lines if line.startswith("http://"))
    finally:
        process.terminate()
        process.wait()


def pixels_at(viewer, places):
    """Mean colours of the slide's picture as it is on the screen, around points of the slide."""
    return np.array(
        viewer.evaluate(
            """(places) => {
                const osd = tmapp.ISS_viewer, canvas = osd.drawer.canvas, context = canvas.getContext("2d");
                const ratio = canvas.width / osd.canvas.clientWidth;
                return places.map(([x, y]) => {
                    const point = osd.world.getItemAt(0).imageToViewportCoordinates(x, y);
                    const pixel = osd.viewport.pixelFromPoint(point, true);
                    const { data } = context.getImageData(pixel.x * ratio - 4, pixel.y * ratio - 4, 8, 8);
                    const sums = [0, 0, 0];
                    data.forEach((value, i) => { if (i % 4 < 3) sums[i % 4] += value / 64; });
                    return sums;
                });
            }""",
            [[float(x), float(y)] for x, y in places],
        )
    )


def look_at(viewer, x, y, zoom):
    viewer.evaluate(
        """([x, y, zoom]) => {
            const view = tmapp.ISS_viewer.viewport, image = tmapp.ISS_viewer.world.getItemAt(0);
            view.zoomTo(view.imageToViewportZoom(zoom), null, true);
            view.panTo(image.imageToViewportCoordinates(x, y), true);
        }""",
        [float(x), float(y), zoom],
    )
    viewer.page.wait_for_function("tmapp.ISS_viewer.world.getItemAt(0).getFullyLoaded()")
    viewer.wait_for_frame()


@pytest.mark.parametrize("mpp", ["1", "1.7"])
def test_a_bundle_is_read_elsewhere_and_comes_home(browser, demo_folder, tmp_path, mpp, capsys):
    home = demo_folder / "demo.h5ad"
    (tmp_path / "elsewhere").mkdir()
    bundle = tmp_path / "elsewhere" / "for Ben.bundle.zip"
    assert main(["bundle", str(home), "--mpp", mpp, "-o", str(bundle)]) == 0
    folder = bundle.parent / "for Ben"
    with opened_by_one_command(bundle) as address, looking(browser, folder, address) as viewer:
        assert {path.name for path in folder.iterdir() if path.suffix} >= {
            "demo.h5ad",
            "demo.tif",
            "demo.tmap",
        }
        centres = viewer.adata.obsm["spatial"]
        tissue = viewer.adata.obs["tissue"].to_numpy()
        rows = np.flatnonzero(tissue == 1)[:: len(tissue) // 8]
        with open_image(demo_folder / "demo.tif") as image:
            # Far away, and nearer than the picture has pixels for.
            for zoom in (0.2, 1.0):
                for row in rows:
                    x, y = centres[row]
                    look_at(viewer, x, y, zoom)
                    around = [(x + dx / zoom, y + dy / zoom) for dx in (-90, 0, 90) for dy in (-60, 0, 60)]
                    side = 8 / zoom
                    wanted = [
                        image.picture(a - side / 2, b - side / 2, side, side, (8, 8)).mean((0, 1))
                        for a, b in around
                    ]
                    assert abs(pixels_at(viewer, around) - wanted).mean() < 9, (zoom, row)
        viewer.keep_picture(ARTIFACTS, f"bundle-near-{mpp}")
        viewer.show_all()
        viewer.begin_session("Ben")
        viewer.session = "Ben"
        seeds = some_seeds_of_demo(viewer, demo_folder)
        click_seeds(viewer, seeds)
        viewer.run()
        assert viewer.error is None
        viewer.page.keyboard.press("n")
        viewer.page.wait_for_selector("#sic-card")
        viewer.wait_for_thumbnails("#sic-card .sic-card-picture")
        viewer.keep_picture(ARTIFACTS, f"bundle-{mpp}")
        viewer.page.keyboard.press("Escape")
        assert viewer.seeds == seeds
        shown = viewer.layer["names"]
    kept = tmp_path / "home"
    kept.mkdir()
    (kept / "demo.h5ad").symlink_to(home)
    capsys.readouterr()
    assert main(["receive", str(kept / "demo.h5ad"), str(folder)]) == 0
    assert ": new, with 6 seeds" in capsys.readouterr().out
    slide = open_slide_file(kept / "demo.h5ad")
    assert session_names(slide.path) == ["Ben"]
    session = load_session(session_path(slide.path, "Ben"), slide)
    assert {int(slide.index[patch]): label for patch, label in session.seeds.items()} == seeds
    assert [session.run_classes[label].name for label in session.run.unpack()] == shown


def some_seeds_of_demo(viewer, demo_folder):
    """The mask of the demo is at home."""
    viewer.folder, away = demo_folder, viewer.folder
    try:
        return some_seeds(viewer)
    finally:
        viewer.folder = away
