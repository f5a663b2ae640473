"""A folder that cannot be written: all works as usual, and the session comes away as a file."""

import json
import os
from urllib.parse import urlsplit

import pytest
from test_annotating import click_seeds, headless, some_seeds
from viewer import ARTIFACTS, looking, served

# The rights of the folder do not hold for root, as whom tests may run.
UNWRITABLE = """
import os, sys
access, folder = os.access, sys.argv[2]
os.access = lambda path, mode, **more: not (mode == os.W_OK and str(path).startswith(folder)) \\
    and access(path, mode, **more)
from tissuumaps_sic.cli import main
sys.exit(main())
"""


def serve_unwritable(folder, **options):
    return served(folder, program=("-c", UNWRITABLE), **options)


def files_in(folder):
    return {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def shut(folder):
    before = files_in(folder)
    yield folder
    assert files_in(folder) == before, "something was written"


def take(viewer, press):
    with viewer.page.expect_download() as download:
        press()
    return download.value.suggested_filename, download.value.path().read_text()


def save_session(viewer):
    return take(viewer, lambda: viewer.page.click("#sic-save-session"))


def test_a_whole_session_goes_on_as_usual_and_opens_later_beside_the_slide(browser, shut, server):
    with serve_unwritable(shut) as (_, address), looking(browser, shut, address) as viewer:
        told = viewer.page.inner_text("#sic-unwritable")
        assert "Nothing is kept on disk: the folder of demo.h5ad may not be written to" in told
        assert "All works as usual, until the server stops" in told
        assert viewer.page.inner_text("#sic-saved").endswith("Not on disk")
        assert viewer.page.is_disabled("#sic-save-session")
        seeds = some_seeds(viewer)
        click_seeds(viewer, seeds)
        viewer.run()
        assert viewer.error is None
        viewer.keep_picture(ARTIFACTS, "unwritable")
        labels = [viewer.evaluate("[...window.SIC.app.labels]")]
        assert labels[0] == headless(viewer, seeds).tolist()
        viewer.press("undo")
        assert len(viewer.seeds) == 5
        viewer.press("redo")
        assert viewer.seeds == seeds
        viewer.run()
        assert viewer.page.is_disabled("#sic-write")

        def export():
            viewer.choose_from("#sic-export", value="csv")

        name, text = take(viewer, export)
        assert name == "demo.labels.csv"
        assert text.count("\n") > len(labels[0])
        # What the server keeps is there when the page is opened again, and in sessions of other names.
        viewer.reload()
        assert viewer.seeds == seeds
        viewer.begin_session("Ben")
        viewer.click_patch(next(iter(seeds)))
        viewer.choose_from("#sic-session", value="")
        viewer.wait()
        assert viewer.seeds == seeds
        name, text = save_session(viewer)
    assert name == "demo.sic.json"
    # Where it can be written, the file is put beside the slide.
    writable = shut / "copy"
    writable.mkdir()
    for file in ("demo.h5ad", "demo.tif", "demo.tmap"):
        os.link(shut / file, writable / file)
    (writable / name).write_text(text)
    with looking(browser, writable, server.address(writable / "demo.tmap")) as viewer:
        assert viewer.seeds == seeds
        assert viewer.evaluate("[...window.SIC.app.labels]") == labels[0]
        assert viewer.page.query_selector("#sic-unwritable") is None


def test_a_server_that_stops_and_comes_back_loses_nothing(browser, shut):
    with serve_unwritable(shut) as (process, address), looking(browser, shut, address) as viewer:
        seeds = some_seeds(viewer)
        rows = list(seeds)
        click_seeds(viewer, seeds)
        viewer.run()
        viewer.page.wait_for_function("window.SIC.app.held?.revision === window.SIC.app.state.revision")
        process.terminate()
        process.wait()
        # The page gives what it holds, and keeps what cannot be sent.
        name, text = save_session(viewer)
        assert name == "demo.sic.json"
        assert len(json.loads(text)["actions"]) == len(seeds)
        viewer.click_patch(rows[0] + 1)
        assert "Clicks are kept in this page" in viewer.error
        with serve_unwritable(shut, port=urlsplit(address).port):
            viewer.page.click("#sic-send")
            viewer.page.wait_for_function("!window.SIC.app.busy && !window.SIC.app.unsent.length")
            assert set(viewer.seeds) == {*rows, rows[0] + 1}
            # Also of a page that is opened again only then.
            assert viewer.evaluate("window.SIC.app.labels !== null")
            viewer.reload()
            assert set(viewer.seeds) == {*rows, rows[0] + 1}
        with serve_unwritable(shut, port=urlsplit(address).port):
            viewer.reload()
            assert set(viewer.seeds) == {*rows, rows[0] + 1}


def test_what_a_server_has_lost_is_given_as_a_file_where_somebody_has_begun_anew(browser, shut):
    with serve_unwritable(shut) as (process, address), looking(browser, shut, address) as viewer:
        seeds = some_seeds(viewer)
        click_seeds(viewer, seeds)
        viewer.page.wait_for_function("window.SIC.app.held?.revision === window.SIC.app.state.revision")
        process.terminate()
        process.wait()
        with serve_unwritable(shut, port=urlsplit(address).port):
            row = next(iter(seeds))
            with looking(browser, shut, address) as other:
                other.click_patch(row)
                assert other.seeds == {row: 1}
            viewer.reload()
            assert viewer.seeds == {row: 1}
            name, text = take(viewer, lambda: viewer.page.click("#sic-save-lost"))
            assert name == "demo.sic.json"
            assert len(json.loads(text)["actions"]) == len(seeds)
