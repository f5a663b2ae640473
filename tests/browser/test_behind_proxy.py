"""The viewer below a path, behind a real proxy that ends TLS and takes the path off."""

import csv
import json
import shutil
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from making.many import write_mosaic
from making.proxy import proxied, write_certificate
from test_annotating import click_seeds, headless, some_seeds
from test_names import save_project
from viewer import ARTIFACTS, Viewer, looking, served

TOLD = {
    "Host": "backend.internal",  # as many a proxy does by default
    "X-Forwarded-Host": "localhost:{port}",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/lab/slides",
}
PROGRAM = (
    "-c",
    "import sys; from tissuumaps_sic.cli import main;"
    " sys.exit(main([*sys.argv[1:], '--behind-proxy', '127.0.0.1', '--public']))",
)


class Noting(Viewer):
    """A viewer on a page whose requests must all be answered."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.page.on("response", self._note_status)

    def _note_status(self, response):
        if response.status >= 400:
            self.complaints.append(f"{response.status}: {response.url}")

    def arrive(self, name):
        self.page.wait_for_url(f"**/{name}.tmap*")
        self.name = name
        self.wait()


@pytest.fixture
def below(browser, demo_folder, tmp_path):
    """Two slides behind the proxy, and a browser that takes its certificate."""
    folder = shutil.copytree(demo_folder, tmp_path / "slides")
    write_mosaic(folder, "mosaic_1")
    certificate = write_certificate(tmp_path / "proxy.pem")
    context = browser.new_context(ignore_https_errors=True, accept_downloads=True)
    with (
        served(folder, program=PROGRAM) as (_, address),
        proxied(
            urlsplit(address).netloc, "/lab/slides", strip=True, headers=TOLD, certificate=certificate
        ) as proxy,
    ):

        def new_page(viewport=None):
            page = context.new_page()
            page.set_viewport_size(viewport)
            return page

        yield SimpleNamespace(proxy=proxy, folder=folder, new_page=new_page)
        context.close()
        assert [path for path in proxy.outside if path != "/favicon.ico"] == []


def test_a_slide_is_annotated_and_exported_below_a_path(below, tmp_path):
    base = below.proxy.base
    start = below.new_page({"width": 1280, "height": 720})
    failed = []
    start.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
    start.goto(f"{base}/")
    start.wait_for_load_state("networkidle")
    assert start.locator("[data-slide='demo'] img.slide").evaluate("(image) => image.naturalWidth") > 0
    start.screenshot(path=ARTIFACTS / "start-below-a-path.png")
    start.click("nav >> text=Not begun")
    start.wait_for_url(f"{base}/?show=new")
    assert failed == []
    address = start.locator("[data-slide='demo'] h2 a").evaluate("(link) => link.href")
    assert address == f"{base}/demo.tmap"
    start.close()
    with looking(below, below.folder, address, kind=Noting) as viewer:
        seeds = some_seeds(viewer)
        click_seeds(viewer, seeds)
        viewer.run()
        assert viewer.evaluate("[...SIC.app.labels]") == headless(viewer, seeds).tolist()
        with viewer.page.expect_download() as download:
            viewer.choose_from("#sic-export", value="csv")
        download.value.save_as(tmp_path / "labels.csv")
        assert len(list(csv.DictReader((tmp_path / "labels.csv").open()))) == viewer.adata.n_obs
        viewer.keep_picture(ARTIFACTS, "below-a-path")
        with viewer.page.expect_response(lambda answer: answer.url.endswith("/mine.tmap?path=null")):
            save_project(viewer, "mine")
        assert "layers" in json.loads((below.folder / "mine.tmap").read_text())
        # To the next slide, and back by TissUUmaps' own dialog.
        viewer.page.click("#sic-next")
        viewer.arrive("mosaic_1")
        assert viewer.page.url == f"{base}/mosaic_1.tmap"
        open_by_tissuumaps(viewer, "mine.tmap")
        viewer.arrive("mine")
        viewer.page.click("#sic-start")
        viewer.page.wait_for_url(f"{base}/")
        # The last page has no plugin, of whose ids `looking` asks.
        viewer.page.go_back()
        viewer.wait()


def open_by_tissuumaps(viewer, name):
    viewer.page.locator("span", has_text="Open").first.evaluate("(item) => item.click()")
    viewer.page.frame_locator(".modal.show iframe").locator(f"a:has-text('{name}')").click()
