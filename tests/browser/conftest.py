"""A real TissUUmaps server on a copy of the demo, and a real Chromium that looks at it."""

import os
import shutil
import time

import pytest
from playwright.sync_api import sync_playwright
from viewer import ARTIFACTS, Viewer, served

# Software rendering, so that markers are drawn on machines without a GPU; and no calls home.
CHROMIUM_FLAGS = (
    *("--headless=new", "--no-sandbox", "--no-first-run"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="session")
def browser():
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium on this machine; .ci/run should have installed it")
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def folder(demo_folder, tmp_path):
    """A copy of the demo, to be written to."""
    copy = tmp_path / "slides"
    shutil.copytree(demo_folder, copy)
    return copy


@pytest.fixture
def viewer(browser, folder, request):
    """The demo, opened; what goes wrong on the page fails the test, and a picture is kept of its end."""
    with served(folder) as (process, address):
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        viewer = Viewer(page, folder, address, process)
        viewer.open()
        yield viewer
        viewer.keep_picture(ARTIFACTS, request.node.name)
        repeated = viewer.repeated_ids
        page.close()
        time.sleep(0.1)
    assert not repeated
    assert not viewer.page_errors
    assert not viewer.foreign_requests
