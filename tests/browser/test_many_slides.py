"""A folder of slides in a real TissUUmaps: from one to the next, seeds that travel, and no network at all."""

import csv
import json
import shutil
from urllib.parse import urlsplit

import numpy as np
import pytest
from making.many import write_mosaic
from viewer import ARTIFACTS, Viewer, looking, served

from tissuumaps_sic.annotation.store import load_session, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.slides.slide import open_slide_file


class Isolated(Viewer):
    """A viewer on a page that reaches nothing but its own server, and every complaint of that page."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        page = self.page
        page.route("**/*", self._pass)
        page.on("console", self._hear)
        page.on("requestfailed", self._note_failure)
        page.on("response", self._note_status)

    def _pass(self, route):
        parts = urlsplit(route.request.url)
        if parts.scheme in ("data", "blob") or parts.netloc == self.host:
            route.continue_()
        else:
            route.abort()

    def _hear(self, message):
        # The software that draws tells how it could be faster, more so on a busy machine.
        of_driver = "GL Driver Message (OpenGL, Performance" in message.text
        if message.type in ("error", "warning", "assert") and not of_driver:
            self.complaints.append(f"{message.type}: {message.text}")

    def _note_failure(self, request):
        # A page that is left drops what it was still asking its own server.
        if request.failure == "net::ERR_ABORTED" and "/plugins/SIC/" in request.url:
            return
        self.complaints.append(f"failed: {request.url} ({request.failure})")

    def _note_status(self, response):
        if response.status >= 400:
            self.complaints.append(f"{response.status}: {response.url}")

    def arrive(self, name):
        """Wait until the page of another slide is there."""
        self.page.wait_for_url(f"**/{name}.*")
        self.name = name
        self.wait()
        self.show_all()

    def seed_halves(self):
        """Seed three patches of each class on their own sides."""
        for label, rows in ((1, (22, 70, 190)), (0, (1, 97, 240))):
            self.choose(label)
            for row in rows:
                self.click_patch(row)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One folder for all tests of several slides, emptied after each, and the address that serves it."""
    folder = tmp_path_factory.mktemp("cases")
    write_mosaic(folder, "mosaic_1")
    with served(folder) as (_, address):
        yield folder, address


@pytest.fixture
def truths(shared):
    """Three slides without image and project: what each patch is."""
    folder, _ = shared
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return {
        f"mosaic_{number}": write_mosaic(
            folder, f"mosaic_{number}", seed=number, strange=number == 2, compress=number == 3
        )[1]
        for number in (1, 2, 3)
    }


@pytest.fixture
def cases(browser, truths, shared, request):
    with looking(browser, *shared, kind=Isolated, height=950) as viewer:
        yield viewer
        if request.node.failed:
            viewer.keep_picture(ARTIFACTS, request.node.name)


def rows_of(viewer):
    """What the rows of the list that can be seen say, in words."""
    # Not the rows' inner text, which they have none of before they are first painted.
    rows = viewer.evaluate(
        """() => [...document.querySelectorAll(".sic-worklist-item")]
            .filter((row) => row.checkVisibility({ visibilityProperty: true }) && row.offsetHeight > 0)
            .map((row) => [row.dataset.h5ad,
                [...row.querySelectorAll(":scope > span")].map((each) => each.textContent).join(" ")])"""
    )
    return {name: told.split() for name, told in rows}


def test_an_h5ad_alone_is_annotated_with_nothing_but_its_own_server(cases, truths):
    assert cases.evaluate("glUtils._numPoints.patches") == 384
    cases.seed_halves()
    cases.run()
    assert cases.error is None
    labels = np.array([("Other", "Tumour").index(name) for name in cases.layer["names"]])
    assert (labels == truths["mosaic_1"]).mean() > 0.95
    # The file does not tell tissue: shares are of patches.
    cases.page.wait_for_function("SIC.app.looked !== null")
    for title in cases.evaluate("[...document.querySelectorAll('td.sic-count')].map((each) => each.title)"):
        assert title.endswith("of all patches")
    assert "of the patches" in cases.page.inner_text("#sic-looked")
    for view in ("slide", "colors", "confidence", "labels"):
        cases.press(f"view-{view}")
    cases.press("regions")
    assert cases.page.query_selector("#sic-areas tbody tr")
    cases.press("map-toggle")
    assert cases.page.query_selector("#sic-map-canvas")
    cases.press("suggest")
    cases.page.keyboard.press("Escape")  # the card lies over the slide
    cases.page.mouse.move(*cases.screen(700, 700))
    cases.page.wait_for_selector(".sic-why-seed")
    cases.keep_picture(ARTIFACTS, "alone")
    # Nothing lies in the folder but what is the person's own.
    assert {path.suffix for path in cases.folder.iterdir()} <= {".h5ad", ".json", ".lock"}


def test_squares_of_an_h5ad_alone_meet(cases):
    cases.page.fill("#sic-opacity", "0.5")
    x, y = 1280 + 64, 1024 + 64
    alphas = cases.canvas_alphas([(x + d, y) for d in np.linspace(-128, 128, 41)])
    assert np.mean([abs(alpha - 0.5) < 0.02 for alpha in alphas]) > 0.9
    assert min(alphas) > 0.1


def test_from_slide_to_slide_with_keys_buttons_and_the_list(cases):
    place = cases.page.locator("#sic-place")
    assert place.inner_text() == "1 of 3"
    assert cases.page.is_disabled("#sic-previous")
    cases.seed_halves()
    cases.page.keyboard.press("]")
    cases.arrive("mosaic_2")
    assert place.inner_text() == "2 of 3"
    cases.page.click("#sic-next")
    cases.arrive("mosaic_3")
    assert cases.page.is_disabled("#sic-next")
    cases.page.keyboard.press("]")
    cases.page.keyboard.press("[")
    cases.arrive("mosaic_2")
    cases.page.click("#sic-slides summary")
    cases.page.wait_for_selector(".sic-worklist-item")
    assert rows_of(cases) == {
        "mosaic_1.h5ad": ["◐", "mosaic_1", "6", "seeds", "seeded"],
        "mosaic_2.h5ad": ["○", "mosaic_2", "not", "begun"],
        "mosaic_3.h5ad": ["○", "mosaic_3", "not", "begun"],
    }
    # This slide's row follows each click; the others' are left as they are.
    cases.evaluate("document.querySelector('[data-h5ad=\"mosaic_1.h5ad\"]').marked = true")
    cases.click_patch(22)
    assert rows_of(cases)["mosaic_2.h5ad"] == ["◐", "mosaic_2", "1", "seed", "seeded"]
    assert cases.evaluate("document.querySelector('[data-h5ad=\"mosaic_1.h5ad\"]').marked")
    cases.page.fill("#sic-slides-filter", "not begun")
    assert list(rows_of(cases)) == ["mosaic_3.h5ad"]
    cases.page.fill("#sic-slides-filter", "MOSAIC_1")
    assert list(rows_of(cases)) == ["mosaic_1.h5ad"]
    cases.keep_picture(ARTIFACTS, "worklist")
    cases.page.click("[data-h5ad='mosaic_1.h5ad']")
    cases.arrive("mosaic_1")
    assert len(cases.seeds) == 6


def test_the_session_and_the_tools_go_along(cases):
    cases.begin_session("Anna")
    cases.press("tool-brush")
    cases.page.keyboard.press("]")
    cases.arrive("mosaic_2")
    assert cases.chosen("#sic-session") == "Anna"
    assert cases.page.get_attribute("#sic-tool-brush", "aria-pressed") == "true"
    cases.click_patch(5)
    assert (cases.folder / "mosaic_2.Anna.sic.json").exists()
    assert not (cases.folder / "mosaic_2.sic.json").exists()


def test_the_view_goes_along_to_the_next_slide_that_has_it(cases):
    """B9: a person who looked at outlines got labels on the next slide."""
    cases.page.keyboard.press("]")
    cases.arrive("mosaic_2")
    cases.seed_halves()
    cases.run()
    cases.page.keyboard.press("[")
    cases.arrive("mosaic_1")
    cases.seed_halves()
    cases.run()
    cases.press("view-outlines")
    cases.page.keyboard.press("]")
    cases.arrive("mosaic_2")
    assert cases.evaluate("SIC.app.view") == "outlines"
    assert cases.page.get_attribute("#sic-view-outlines", "aria-pressed") == "true"
    assert cases.page.query_selector("#SIC_outlines path[data-label]")
    # Where there are no labels there are no outlines, and the next one has them again.
    cases.page.keyboard.press("]")
    cases.arrive("mosaic_3")
    assert cases.evaluate("SIC.app.view") == "colors"
    cases.page.keyboard.press("[")
    cases.arrive("mosaic_2")
    assert cases.evaluate("SIC.app.view") == "outlines"


def test_seeds_of_one_slide_label_another_and_a_correction_counts(cases, truths, tmp_path):
    cases.seed_halves()
    cases.page.keyboard.press("]")
    cases.arrive("mosaic_2")
    cases.choose_from("#sic-borrow", value="mosaic_1.h5ad")
    cases.wait()
    assert "6 seeds of mosaic_1" in cases.page.inner_text("#sic-borrowed")
    assert [each.inner_text() for each in cases.page.query_selector_all(".sic-seeds")] == ["0 + 3", "0 + 3"]
    cases.run()
    assert cases.error is None
    labels = np.array([("Other", "Tumour").index(name) for name in cases.layer["names"]])
    known = truths["mosaic_2"] < 2
    assert (labels == truths["mosaic_2"])[known].mean() > 0.95
    cases.page.wait_for_selector("#sic-unlike:has-text('unlike any seed')")
    cases.press("view-unlike")
    shown = cases.colors_seen
    strange = np.array(shown) == shown[-1]
    assert strange[~known].mean() > 0.9
    # They come one by one on a card.
    cases.page.keyboard.press("u")
    cases.page.wait_for_selector("#sic-card")
    assert cases.page.inner_text("#sic-card-title").startswith("Unlike any seed 1 of")
    row = int(cases.page.get_attribute("#sic-card .sic-card-body", "data-patch"))
    assert strange[row]
    cases.page.keyboard.press("Escape")
    cases.show_all()
    cases.page.mouse.move(*cases.screen(1500, 900))
    cases.page.wait_for_selector(".sic-why-borrowed")
    assert "in mosaic_1" in cases.page.inner_text("#sic-why")
    cases.keep_picture(ARTIFACTS, "borrowed")
    # A seed here, of the tissue that nobody knew.
    cases.choose(1)
    cases.click_patch(383)
    cases.run()
    assert cases.layer["names"][383] == "Tumour"
    slide = open_slide_file(cases.h5ad)
    session = load_session(session_path(cases.h5ad), slide)
    assert main(["export", str(cases.h5ad), "-o", str(tmp_path / "out.csv")]) == 0
    with (tmp_path / "out.csv").open() as file:
        assert [row["label"] for row in csv.DictReader(file)] == cases.layer["names"]
    assert json.loads(session_path(cases.h5ad).read_text())["schema"].endswith("/3")
    assert session.run.loans[0].slide == "mosaic_1"
    # Dropped and back, as everything that is done.
    cases.page.click(".sic-drop")
    cases.wait()
    assert cases.page.query_selector("#sic-borrowed") is None
    assert "typical patches" in cases.page.get_attribute("#sic-suggest", "title")
    cases.press("undo")
    assert "6 seeds of mosaic_1" in cases.page.inner_text("#sic-borrowed")
    cases.reload()
    assert "6 seeds of mosaic_1" in cases.page.inner_text("#sic-borrowed")
    assert cases.page.query_selector(".sic-stale") is None


def test_an_h5ad_opened_by_itself_in_tissuumaps_is_annotated_too(cases):
    """Its columns are offered in menus, as TissUUmaps has them for any h5ad."""
    cases.page.goto(cases.address.replace(".tmap", ".h5ad"))
    cases.page.wait_for_selector("text=Categorical observations")
    cases.page.click("text=Select from list >> nth=0")
    cases.page.click(".select2-results__option:not(.select2-results__message) >> nth=0")
    cases.page.wait_for_function("Object.values(dataUtils.data).some((each) => each._filetype === 'h5')")
    cases.evaluate("pluginUtils.startPlugin('SIC', [], true)")
    cases.wait()
    cases.show_all()
    cases.click_patch(30)
    assert list(cases.saved_seeds.values()) == [1]


def test_beside_a_session_that_is_refused_another_opens_as_the_slide_would(browser, truths, shared):
    """Of an h5ad without an image nothing was drawn: only a slide that opened at once got its first view."""
    folder, address = shared
    (folder / "mosaic_1.sic.json").write_text("{")
    page = browser.new_page(viewport={"width": 1400, "height": 950})
    try:
        viewer = Viewer(page, folder, address)
        page.goto(address)
        page.wait_for_selector("#sic-other-session")
        page.fill("#sic-other-session", "Ben")
        page.keyboard.press("Enter")
        viewer.wait()
        assert viewer.evaluate("SIC.app.view") == "colors"
        assert all(viewer.colors_seen)
        # From one that is open to another the person's view stays.
        viewer.press("view-slide")
        viewer.begin_session("Anna")
        assert viewer.evaluate("SIC.app.view") == "slide"
    finally:
        page.close()


def test_a_single_slide_has_no_worklist(browser, tmp_path):
    write_mosaic(tmp_path, "only")
    with (
        served(tmp_path) as (_, address),
        looking(browser, tmp_path, address, kind=Isolated, height=950) as viewer,
    ):
        assert not viewer.page.is_visible(".sic-worklist")
        viewer.page.keyboard.press("]")
        viewer.click_patch(3)
        assert len(viewer.seeds) == 1


def test_a_thousand_slides_stay_usable(browser, tmp_path):
    path, _ = write_mosaic(tmp_path, "s0000")
    for number in range(1, 1000):
        (tmp_path / f"s{number:04d}.h5ad").hardlink_to(path)
    with (
        served(tmp_path) as (_, address),
        looking(browser, tmp_path, address, kind=Isolated, height=950) as viewer,
    ):
        page = viewer.page
        page.wait_for_selector("#sic-place:has-text('1 of 1,000')")
        page.click("#sic-slides summary")
        page.wait_for_function("document.querySelectorAll('.sic-worklist-item').length === 1000")
        page.fill("#sic-slides-filter", "s0777")
        assert list(rows_of(viewer)) == ["s0777.h5ad"]
        # A click changes this slide's row and no other.
        viewer.evaluate(
            """() => {
                window.touched = 0;
                new MutationObserver((changes) => { window.touched += changes.length; })
                    .observe(document.querySelector(".sic-worklist-list"), {childList: true, subtree: true});
            }"""
        )
        viewer.click_patch(3)
        assert viewer.evaluate("window.touched") == 1
        viewer.keep_picture(ARTIFACTS, "a-thousand")
