"""A real TissUUmaps server on copies of the demo, and a real Chromium that looks at them."""

import os
import shutil

import pytest
from playwright.sync_api import sync_playwright
from viewer import ARTIFACTS, looking, shared_server

# Software rendering, so that markers are drawn on machines without a GPU, but of WebGL alone: to put the page
# together, too, the simulated GPU takes twice the time. And no calls home.
CHROMIUM_FLAGS = (
    *("--headless=new", "--no-sandbox", "--no-first-run"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"),
    "--disable-gpu-compositing",
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


class Chromium:
    """A Chromium whose pages use what it compiled for earlier ones, and find nothing else that these left.

    A page that is opened beside another is somebody else's, who shares nothing with it.
    """

    def __init__(self, kept):
        self._kept = kept
        self._blank = kept.new_cdp_session(kept.pages[0])
        self.new_context = kept.browser.new_context

    def new_page(self, *, viewport=None):
        if len(self._kept.pages) > 1:
            return self._kept.browser.new_page(viewport=viewport)
        self._blank.send("Storage.clearDataForOrigin", {"origin": "*", "storageTypes": "all"})
        page = self._kept.new_page()
        if viewport is not None:
            page.set_viewport_size(viewport)
        return page


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Let fixtures know whether their test has failed."""
    report = yield
    item.failed = report.failed
    return report


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    # The shell has no windows of its own to draw: a third of a page's opening, and what Playwright takes too.
    names = "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium on this machine; .ci/run should have installed it")
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    options = {"executable_path": chromium, "args": CHROMIUM_FLAGS, "no_viewport": True}
    # With a folder Chromium keeps what it compiled: a page costs a sixth less, of a renderer a third.
    profile = tmp_path_factory.mktemp("profile")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch_persistent_context(profile, **options) as kept,
    ):
        yield Chromium(kept)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One server for all tests that do not end it."""
    with shared_server(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture
def place(server):
    """A folder of the test's own, which is served."""
    with server.place() as folder:
        yield folder


@pytest.fixture
def folder(demo_folder, place):
    """A copy of the demo, to be written to."""
    return shutil.copytree(demo_folder, place, dirs_exist_ok=True)


@pytest.fixture
def fresh(browser, server, folder, request):
    """The demo, opened in a page of the test's own; of a test that fails a picture is kept."""
    with looking(browser, folder, server.address(folder / "demo.tmap")) as viewer:
        yield viewer
        if request.node.failed:
            viewer.keep_picture(ARTIFACTS, request.node.name)


@pytest.fixture(scope="module")
def opened(browser, server, demo_folder):
    """The demo, opened once for a file of tests; `viewer` is what they take."""
    with server.place() as folder:
        shutil.copytree(demo_folder, folder, dirs_exist_ok=True)
        with looking(browser, folder, server.address(folder / "demo.tmap")) as viewer:
            viewer.is_new = True
            yield viewer


@pytest.fixture
def viewer(opened, demo_folder, request):
    """As `fresh`, in the page of the file's other tests, which find nothing that one has left."""
    if not opened.is_new:
        opened.begin_anew(demo_folder)
    opened.is_new = False
    assert opened.page.query_selector("#sic-tour") is None
    yield opened
    repeated = opened.repeated_ids
    if request.node.failed:
        opened.keep_picture(ARTIFACTS, request.node.name)
        opened.leave()
    complaints, opened.complaints[:] = list(opened.complaints), []
    assert not repeated
    assert not complaints, complaints
