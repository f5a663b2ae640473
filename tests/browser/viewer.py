"""What a person does in the viewer, for tests: open, click a patch, drag, press a button, read the panel."""

import filecmp
import json
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import anndata
import numpy as np
import pytest
from playwright.sync_api import Page

ARTIFACTS = Path(__file__).resolve().parents[2] / "test-artifacts"


def wait_for_function(page, script, *, arg=None, timeout=30_000):
    """Wait until a script returns something true.

    Playwright's own asks again from within the page, by `eval`, which the page's policy forbids; and that
    policy is to hold in the tests as it does for people.
    """
    until = time.monotonic() + timeout / 1000
    while not page.evaluate(script, arg):
        if time.monotonic() > until:
            pytest.fail(f"still not true: {script}")
        page.wait_for_timeout(50)


Page.wait_for_function = wait_for_function


@contextmanager
def served(folder: Path, *, program=("-m", "tissuumaps_sic"), port=0):
    """Run `tissuumaps-sic serve`, on a free port; yield its process and the address of the first slide.

    `program` is what Python is given in its place.
    """
    command = [sys.executable, *program, "serve", str(folder), "--port", str(port), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        for line in process.stdout:
            if line.strip().startswith("http://"):
                yield process, line.strip()
                break
        else:
            pytest.fail("the server ended without an address")
    finally:
        process.terminate()
        process.wait()


@contextmanager
def shared_server(root: Path, **options):
    """Serve a folder into which tests put folders of their own: its `root`, and the `address` of a project.

    A server of its own costs each test five seconds of a processor.
    """
    (root / "start.tmap").write_text("{}")  # an empty folder is not served
    numbers = iter(range(1000))
    with served(root, **options) as (_, first):
        base = first.rpartition("/")[0]

        shown = []

        @contextmanager
        def place():
            """A folder for one test; alone meanwhile, since its list of slides is of all that is served."""
            folder = root / f"test{next(numbers)}"
            others, shown[:] = shown[:], [folder]
            for each in others:
                _hide(each)
            folder.mkdir()
            try:
                yield folder
            finally:
                _hide(folder)
                for each in others:
                    each.with_name(f".{each.name}").rename(each)
                shown[:] = others

        def address(project):
            return f"{base}/{project.name}?path={project.parent.relative_to(root)}"

        yield SimpleNamespace(root=root, place=place, address=address)


def _hide(folder):
    folder.rename(folder.with_name(f".{folder.name}"))


@contextmanager
def looking(browser, folder: Path, address: str, *, server=None, kind=None, height=900):
    """Look at a slide's page; whatever goes wrong there fails the test."""
    page = browser.new_page(viewport={"width": 1400, "height": height})
    try:
        viewer = (kind or Viewer)(page, folder, address, server)
        viewer.open()
        yield viewer
        repeated = viewer.repeated_ids
    finally:
        page.close()
    assert not repeated
    assert not viewer.complaints, viewer.complaints


class Held:
    """The next request of an endpoint, held in the browser; those after it pass."""

    def __init__(self, page, endpoint, *, answered):
        self.page = page
        self.endpoint = endpoint
        self.answered = answered
        self.routes = []
        page.route(f"**/plugins/SIC/{endpoint}", self._take)

    def _take(self, route):
        if self.routes:
            route.continue_()
        else:
            self.routes.append(route)
            self.answer = route.fetch() if self.answered else None

    def wait(self):
        """Wait until there was one, and where its answer is held, until that is there."""
        while not hasattr(self, "answer"):
            self.page.wait_for_timeout(20)

    def let_go(self):
        with self.page.expect_event("requestfinished", lambda each: each.url.endswith(f"/{self.endpoint}")):
            if self.answered:
                self.routes[0].fulfill(response=self.answer)
            else:
                self.routes[0].continue_()


class Viewer:
    # Whether the tour begins on the demo, as it does for who has never closed it.
    has_tour = False

    def __init__(self, page, folder: Path, address: str, server=None):
        self.page = page
        self.folder = folder
        self.address = address
        self.size = page.viewport_size
        self.server = server
        self.host = urlsplit(address).netloc
        self.name = Path(urlsplit(address).path).stem
        self.session = ""
        self._read = None, None
        self._spellings = count(1)
        self._under_way = set()
        self.complaints = []
        if not self.has_tour:
            # A page that is blank, or shut in, has nowhere to keep it.
            page.add_init_script("try { localStorage.setItem('SIC.tour', 'closed') } catch {}")
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._note)
        page.on("requestfinished", self._note_end)
        page.on("requestfailed", self._note_end)

    def _note(self, request):
        asked = urlsplit(request.url)
        if asked.scheme in ("http", "https", "ws") and asked.netloc != self.host:
            self.complaints.append(f"asked for {request.url}")
        if request.method == "POST":
            self._under_way.add(request)

    def _note_end(self, request):
        self._under_way.discard(request)

    @property
    def h5ad(self) -> Path:
        return self.folder / f"{self.name}.h5ad"

    @property
    def session_path(self) -> Path:
        return self.folder / f"{'.'.join(filter(None, (self.name, self.session)))}.sic.json"

    @property
    def adata(self):
        """The slide's file as it is now; not to be written to."""
        now = self.h5ad.stat()
        if self._read[0] != (self.h5ad, now.st_mtime_ns, now.st_size):
            self._read = (self.h5ad, now.st_mtime_ns, now.st_size), anndata.read_h5ad(self.h5ad)
        return self._read[1]

    def open(self):
        self.page.goto(self.address)
        self._under_way.clear()
        self.wait()
        self.show_all()

    def reload(self):
        self.page.reload()
        self._under_way.clear()
        self.wait()
        self.show_all()

    def begin_anew(self, kept: Path):
        """Be as a page just opened; to open one takes a processor some five seconds.

        The files are as those of a folder, what pages store is forgotten, and the plugin is opened again.
        """
        self.page.unroute_all()
        self.page.set_viewport_size(self.size)
        self.session = ""
        if self.page.url != self.address or not self.evaluate("Boolean(window.SIC?.app?.state)"):
            self._put_back(kept)
            self.open()
            return
        self.evaluate("SIC.close()")
        # From near, a part of the slide would be noted as looked at.
        self.show_all()
        while self._under_way:  # what is sent at the end, and written
            self.page.wait_for_timeout(20)
        self._put_back(kept)
        # A browser keeps what modules remember by their address, so that they come by another spelling of it.
        number = next(self._spellings)
        letters = enumerate("plugins")
        spelt = "".join(f"%{ord(each):x}" if number >> place & 1 else each for place, each in letters)
        self.evaluate(
            """([spelt, hasTour]) => {
                localStorage.clear();
                if (!hasTour) localStorage.setItem("SIC.tour", "closed");
                sessionStorage.clear();
                document.documentElement.style.fontSize = "";
                regionUtils.deleteAllRegions();
                SIC = undefined;
                const script = document.createElement("script");
                script.src = `/${spelt}/SIC.js`;
                script.onload = () => SIC.init(interfaceUtils.addPluginAccordion("SIC", SIC.name, true));
                document.head.append(script);
            }""",
            [spelt, self.has_tour],
        )
        self.page.mouse.move(0, 0)
        self.wait()
        self.show_all()

    def leave(self):
        """Leave the page: something of it was changed that opening the plugin again does not mend."""
        self.page.goto("about:blank")

    def _put_back(self, kept):
        """Make the folder's files those of another one, and leave those as they are that nobody changed."""
        for path in self.folder.iterdir():
            if not (kept / path.name).exists():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in kept.iterdir():
            mine = self.folder / path.name
            if not mine.exists() or not filecmp.cmp(path, mine):
                shutil.copy2(path, mine)

    @property
    def repeated_ids(self):
        """Ids of the plugin that several elements have: one part would change another one."""
        return self.evaluate(
            """() => {
                const ids = [...document.querySelectorAll("[id^=sic-]")].map((each) => each.id);
                return ids.filter((id, i) => ids.indexOf(id) !== i);
            }"""
        )

    def wait(self):
        """Wait until the patches are drawn, the session is there, nothing is under way, and events are heard.

        A browser tells of some things, as that a `details` opened, after what a key does is done.
        """
        self.page.wait_for_function("window.SIC?.app?.state && !window.SIC.app.busy", timeout=60_000)
        self.evaluate("new Promise((heard) => setTimeout(() => setTimeout(heard)))")

    def wait_for_cells(self):
        """Wait until the labels of cells, which follow those of patches, are there."""
        self.page.wait_for_function("SIC.app.labels !== null && SIC.app.cells?.of === SIC.app.labels")

    def hold(self, endpoint, *, answered=False):
        """Hold the next request of an endpoint, or the server's answer to it."""
        return Held(self.page, endpoint, answered=answered)

    def wait_for_why(self, row):
        """Wait until the panel says why a patch is what it is, which is asked where the pointer rests."""
        self.page.wait_for_selector(f"#sic-why[data-patch='{row}']")

    def show_all(self):
        """Zoom out, so that every patch is on the screen."""
        # Of no value: what goHome returns holds all that is on the screen, and took seconds to be sent here.
        self.evaluate("void tmapp.ISS_viewer.viewport.goHome(true)")

    def evaluate(self, script, argument=None):
        return self.page.evaluate(script, argument)

    def screen(self, x, y):
        """Where a point of the slide (level-0 pixels) is on the screen, from the image that is shown."""
        return self.evaluate(
            """([x, y]) => {
                const osd = tmapp.ISS_viewer, box = osd.canvas.getBoundingClientRect();
                const point = osd.world.getItemAt(0).imageToViewportCoordinates(x, y);
                const pixel = osd.viewport.pixelFromPoint(point, true);
                return [pixel.x + box.left, pixel.y + box.top];
            }""",
            [float(x), float(y)],
        )

    def wait_to_see(self, x, y):
        """Wait until a point of the slide is in the view."""
        self.page.wait_for_function(
            """([x, y]) => {
                const osd = tmapp.ISS_viewer;
                const point = osd.world.getItemAt(0).imageToViewportCoordinates(x, y);
                return osd.viewport.getBounds(true).containsPoint(point);
            }""",
            arg=[float(x), float(y)],
        )

    def wait_for_thumbnails(self, selector):
        """Wait until the pictures of patches within an element are drawn all over."""
        self.page.wait_for_function(
            """(selector) => [...document.querySelectorAll(`${selector} canvas`)].every((canvas) => {
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                return data.every((value, i) => i % 4 < 3 || value === 255);
            })""",
            arg=selector,
        )

    def click_patch(self, row, *, centres=None, off=(0.0, 0.0)):
        """Click a patch at its centre, or off it by a share of the spacing."""
        x, y = (self.adata.obsm["spatial"] if centres is None else centres)[row]
        self.page.mouse.click(*self.screen(x + off[0] * 128, y + off[1] * 128))
        self.wait()

    def drag(self, points, *, shift=False, steps=8):
        if shift:
            self.page.keyboard.down("Shift")
        self.page.mouse.move(*points[0])
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*point, steps=steps)
        self.page.mouse.up()
        if shift:
            self.page.keyboard.up("Shift")
        self.wait()

    def choose(self, label):
        self.page.check(f"#sic-class-{label}")

    def press(self, name):
        self.page.click(f"#sic-{name}")
        self.wait()

    def choose_from(self, menu, *, text=None, value=None):
        """Open a menu by its button and choose one of what it offers."""
        self.page.click(menu)
        items = self.page.locator(f"{menu} + [role=menu] .sic-menu-item")
        if value is not None:
            items = self.page.locator(f"{menu} + [role=menu] [data-value='{value}']")
        items.filter(has_text=text or "").click()

    def chosen(self, choice):
        """What a choice of one of several is at."""
        return self.page.get_attribute(choice, "data-value")

    def run(self):
        self.press("run")

    def rename(self, label, name):
        """Give a class another name, as a person does: a double click, the name, Enter."""
        self.page.dblclick(f"tr[data-label='{label}'] .sic-class-name")
        self.page.fill("#sic-class-naming", name)
        self.page.keyboard.press("Enter")
        self.wait()

    def begin_session(self, name):
        """Begin a session of a name that is typed into its field."""
        self.press("new-session")
        self.page.fill("#sic-session-name", name)
        self.press("session-make")

    @property
    def error(self):
        alert = self.page.query_selector("#sic-error")
        return alert.inner_text() if alert else None

    @property
    def status(self):
        return self.page.inner_text("#sic-status")

    @property
    def seeds(self):
        """Seeds that the page shows on the slide: class of each row."""
        marks = self.evaluate(
            """() => [...document.querySelectorAll("#SIC_seeds rect[data-patch]")].map((mark) =>
                [Number(mark.dataset.patch), Number(mark.dataset.label)])"""
        )
        return dict(marks)

    @property
    def saved_seeds(self):
        """Seeds in the session file, by the names of the patches."""
        session = json.loads(self.session_path.read_text())
        seeds = {}
        for action in session["actions"][: session["position"]]:
            if action["kind"] == "clear":
                seeds.clear()
            for patch in action.get("patches", []):
                seeds.pop(patch, None)
                if action["label"] is not None:
                    seeds[patch] = action["label"]
        return seeds

    @property
    def layer(self):
        """The marker layer of labels as TissUUmaps has it: x, y and class name of each marker."""
        return self.evaluate(
            """() => {
                const layer = dataUtils.data.SICLABELS;
                if (!layer) return null;
                const data = layer._processeddata;
                const drawn = glUtils._numPoints.SICLABELS;
                return {x: [...data.x], y: [...data.y], names: data.class, drawn};
            }"""
        )

    @property
    def legend(self):
        """Counts of each class in TissUUmaps' own legend of the layer."""
        rows = self.evaluate(
            """() => [...document.querySelectorAll("#SICLABELS_menu-UI tbody tr")].map((row) =>
                [row.dataset.key, row.querySelectorAll("td")[2].textContent])"""
        )
        return {key: int(number) for key, number in rows}

    def canvas_alphas(self, places):
        """Opacity, 0..1, of what is drawn over each of some points of the slide."""
        markers, picture = self._marker_alphas(places), self.picture_pixels(places)
        return [1 - (1 - one) * (1 - other[3] / 255) for one, other in zip(markers, picture, strict=True)]

    def _marker_alphas(self, places):
        return self.evaluate(
            """(places) => {
                glUtils.draw();
                const canvas = document.getElementById("gl_canvas"), osd = tmapp.ISS_viewer;
                const gl = canvas.getContext("webgl2", glUtils._options), out = new Uint8Array(4);
                const scale = canvas.width / osd.canvas.clientWidth;
                return places.map(([x, y]) => {
                    const point = osd.world.getItemAt(0).imageToViewportCoordinates(x, y);
                    const pixel = osd.viewport.pixelFromPoint(point, true);
                    gl.readPixels(pixel.x * scale, canvas.height - 1 - pixel.y * scale, 1, 1,
                        gl.RGBA, gl.UNSIGNED_BYTE, out);
                    return out[3] / 255;
                });
            }""",
            [[float(x), float(y)] for x, y in places],
        )

    def picture_pixels(self, places):
        """Red, green, blue and opacity (0..255) of the labels' picture at points of the slide."""
        return self.evaluate(
            """(places) => {
                const canvas = document.getElementById("SIC_picture"), osd = tmapp.ISS_viewer;
                if (!canvas) return places.map(() => [0, 0, 0, 0]);
                const { width, height } = canvas;
                const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
                return places.map(([x, y]) => {
                    const point = osd.world.getItemAt(0).imageToViewportCoordinates(x, y);
                    const pixel = osd.viewport.pixelFromPoint(point, true);
                    const column = Math.floor(pixel.x * width / canvas.clientWidth);
                    const row = Math.floor(pixel.y * height / canvas.clientHeight);
                    if (column < 0 || row < 0 || column >= width || row >= height) return [0, 0, 0, 0];
                    const at = 4 * (row * width + column), [red, green, blue, alpha] = data.slice(at, at + 4);
                    return [red, green, blue, alpha * Number(canvas.style.opacity)];
                });
            }""",
            [[float(x), float(y)] for x, y in places],
        )

    def wait_for_frame(self):
        """Wait until what was asked to be drawn is drawn."""
        self.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")

    @property
    def colors_seen(self):
        """The colour of the labels' picture at each patch's centre, #rrggbb; "" where there is none."""
        self.show_all()
        self.wait_for_frame()
        pixels = self.picture_pixels(self.adata.obsm["spatial"])
        return ["#{:02x}{:02x}{:02x}".format(*each[:3]) if each[3] else "" for each in pixels]

    def tissue_of(self, name):
        """A patch that is wholly tissue and is labelled with a class."""
        tissue = self.adata.obs["tissue"].to_numpy()
        names = self.layer["names"]
        return next(row for row, each in enumerate(names) if each == name and tissue[row] == 1)

    def canvas_alpha(self, x, y):
        """Opacity, 0..1, of what is drawn over a point of the slide."""
        return self.canvas_alphas([(x, y)])[0]

    def keep_picture(self, folder: Path, name: str):
        folder.mkdir(exist_ok=True)
        self.page.screenshot(path=folder / f"{name}.png")


def inside(polygon, points):
    """Which points lie inside a polygon; by winding, where the plugin counts crossings."""
    polygon, points = np.asarray(polygon, float), np.asarray(points, float)
    edges = [polygon - point for point in points]
    angles = [np.unwrap(np.arctan2(*np.append(e, e[:1], axis=0).T[::-1])) for e in edges]
    return np.array([abs(a[-1] - a[0]) > np.pi for a in angles])
