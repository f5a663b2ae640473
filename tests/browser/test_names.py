"""Every name of a slide is shown and annotated; none runs as script, and nothing leaves for other hosts."""

import json
import shutil

import numpy as np
import pytest
from making.many import COLUMNS, ROWS, STRIDE, write_mosaic
from viewer import Viewer, served

from tissuumaps_sic.slidefile.project import tmap_project, write_tmap

# What is a letter of a name to a file system, and something else in an address or on a page; two at the top,
# two in a folder of such a name. Each name alone is asked for in `test_routes.py`.
NAMES = ["S21 #2 A1 p%41b", "https-q?x:y\\z", "~50% a;b&c=d+e", '日本語 ü it\'s "quoted" <b>bold']
RUNS = "<img src=x onerror=window.ran=1>"


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A flat picture of the mosaic's size that the server reads without conversion."""
    import pyvips

    path = tmp_path_factory.mktemp("image") / "image.tif"
    pixels = np.full(((ROWS + 1) * STRIDE, (COLUMNS + 1) * STRIDE, 3), (200, 80, 160), np.uint8)
    picture = pyvips.Image.new_from_array(pixels)
    picture.tiffsave(str(path), tile=True, pyramid=True, compression="jpeg")
    return path


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory):
    return write_mosaic(tmp_path_factory.mktemp("mosaic"), "mosaic", columns=12, rows=8)[0]


def put(folder, name, mosaic, image):
    """A slide as the embedder leaves it: h5ad, project and image, all by its name."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(mosaic, folder / f"{name}.h5ad")
    shutil.copy(image, folder / f"{name}.tif")
    project = tmap_project(
        h5ad_name=f"{name}.h5ad",
        slide_name=name,
        image=f"{name}.tif",
        slide_size=((COLUMNS + 1) * STRIDE, (ROWS + 1) * STRIDE),
        centres=np.zeros((1, 2)),
        stride0=STRIDE,
        mpp=0.5,
    )
    write_tmap(folder / f"{name}.tmap", project)


class Page:
    """A page, and what its console says."""

    def __init__(self, browser):
        self.page = browser.new_page(viewport={"width": 1400, "height": 900})
        self.complaints, self.failed = [], []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)
        self.page.on(
            "response", lambda answer: self.failed.append(answer.url) if answer.status >= 400 else None
        )

    def _hear(self, message):
        # Of software rendering, and of tiles that came when the picture was opened again.
        usual = "GPU stall", "Ignoring tile"
        if message.type in ("error", "warning") and not any(each in message.text for each in usual):
            self.complaints.append(message.text)

    def _see(self, answer):
        if answer.status >= 400:
            self.failed.append(answer.url)

    def open(self, address, folder):
        viewer = Viewer(self.page, folder, address)
        viewer.page.goto(address)
        return viewer


@pytest.fixture
def page(browser):
    page = Page(browser)
    yield page
    page.page.close()


def test_every_name_is_shown_and_annotated(page, tmp_path, mosaic, image):
    places = []
    for number, name in enumerate(NAMES):
        within = tmp_path / ("S #1 50%" if number % 2 else "")
        put(within, name, mosaic, image)
        places.append(within / name)
    # One whose project is made by the server.
    shutil.copy(mosaic, tmp_path / "made #1.h5ad")
    with served(tmp_path) as (process, first):
        addresses = [first, *(process.stdout.readline().strip() for _ in places)]
        assert len(set(addresses)) == len(places) + 1
        for address in addresses:
            viewer = page.open(address, tmp_path)
            viewer.wait()
            state = viewer.evaluate("({h5ad: SIC.app.layer.h5ad, images: tmapp.layers.length})")
            found = tmp_path / state["h5ad"]
            assert found.is_file(), address
            if "made" not in address:
                assert found.with_suffix("") in places
                assert state["images"] == 1
                viewer.page.wait_for_function("tmapp.ISS_viewer.world.getItemAt(0)?.lastDrawn?.length > 0")
            viewer.evaluate("SIC.app.worklist")
            seeded = viewer.evaluate(
                """async (h5ad) => (await fetch("/plugins/SIC/change", {method: "POST",
                    headers: {"Content-Type": "application/json"}, body: JSON.stringify({h5ad, revision: 0,
                    change: {kind: "seed", label: 1, patches: [3]}})})).status""",
                state["h5ad"],
            )
            assert seeded == 200
            assert found.with_suffix(".sic.json").is_file()
    assert page.failed == []
    assert page.complaints == []


HOSTILE = {
    "schemaVersion": "1.3",
    "filename": f"t {RUNS}",
    "description": f"d {RUNS}<script>window.ran=1</script>",
    "link": "javascript:window.ran=1",
    "layers": [{"name": f"l {RUNS}", "tileSource": "image.tif.dzi"}],
    "markerFiles": [
        {
            "path": "evil.h5ad", "title": f"m {RUNS}", "name": RUNS, "comment": RUNS, "uid": f"u{RUNS}",
            "autoLoad": True,
            "expectedHeader": {"X": "/obsm/spatial;0", "Y": "/obsm/spatial;1", "tooltip_fmt": RUNS},
            "expectedRadios": {},
            "settings": [{"module": "window", "function": "eval", "value": "window.ran=1"}],
        }
    ],
    "regions": {
        RUNS: {
            "id": RUNS, "regionName": RUNS, "regionClass": RUNS, "polycolor": "red", "len": 1,
            "globalPoints": [[[{"x": 1, "y": 1}, {"x": 9, "y": 1}, {"x": 9, "y": 9}]]],
        }
    },
    "plugins": ["../../evil", "__init__"],
    "menuButtons": [{"text": RUNS, "url": "javascript:window.ran=1"}],
    "settings": [
        {"module": "window", "function": "eval", "value": "window.ran=1"},
        {"module": "window", "function": "eval", "value": ["window.ran=1"]},
        {"module": "projectUtils", "function": "addLegend", "value": [RUNS]},
        {"module": "interfaceUtils", "function": "alert", "value": [RUNS]},
        {"module": "pluginUtils", "function": "startPlugin", "value": ["../evil", [], True]},
    ],
}  # fmt: skip


def test_no_name_and_no_project_runs_script(page, browser, tmp_path, mosaic, image):
    name = RUNS.replace("/", "")
    for each in ("evil", name):
        shutil.copy(mosaic, tmp_path / f"{each}.h5ad")
    shutil.copy(image, tmp_path / "image.tif")
    shutil.copy(image, tmp_path / f"{name}.tif")
    (tmp_path / "evil.tmap").write_text(json.dumps(HOSTILE))
    for number, text in enumerate((f'{{"a": {RUNS}', f'["{RUNS}"]', f'{{"schemaVersion": "{RUNS}"}}')):
        (tmp_path / f"bad{number}.tmap").write_text(text)
    with served(tmp_path) as (_, first):
        base = first.rpartition("/")[0]
        encoded = "%3Cimg%20src=x%20onerror=window.ran=1%3E"
        pages = ["evil.tmap", "evil.h5ad", "bad0.tmap", "bad1.tmap", "bad2.tmap", "missing" + encoded]
        pages += [f"{encoded}.{each}" for each in ("tmap", "h5ad", "tif")]
        for each in pages:
            page.page.goto(f"{base}/{each}")
            page.page.wait_for_load_state("networkidle")
            assert page.page.evaluate("window.ran") is None, each
            assert not page.page.query_selector("img[src=x]"), each
        # The second wall, where the first has a gap: what runs in spite of all reaches no other host.
        page.page.goto(f"{base}/evil.tmap")
        page.page.wait_for_function("window.tmapp?.ISS_viewer")
        told = page.page.evaluate(
            """async (html) => {
                html += "<a id=go href='javascript:window.ran=1'>";
                document.body.insertAdjacentHTML("beforeend", html);
                document.getElementById("go").click();
                const script = document.createElement("script");
                script.textContent = "window.ran = 1";
                document.head.append(script);
                // Later, since what the test itself runs may do more than the page.
                setTimeout(() => { try { eval("window.ran = 1"); } catch {} }, 50);
                await new Promise((done) => setTimeout(done, 500));
                const away = await fetch("http://192.0.2.1/", {mode: "no-cors"})
                    .then(() => "sent", () => "blocked");
                return [window.ran ?? null, away];
            }""",
            RUNS,
        )
        assert told == [None, "blocked"]
        framed = browser.new_page()
        framed.set_content(f"<iframe src='{base}/evil.tmap'></iframe>")
        framed.wait_for_load_state("networkidle")
        assert not [frame for frame in framed.frames if "ISS_viewer" in frame.content()]
        framed.close()


def test_windows_and_dialogs_of_tissuumaps_go_on_working(page, tmp_path, mosaic, image):
    put(tmp_path / "S #1", "slide", mosaic, image)
    with served(tmp_path) as (_, address):
        viewer = page.open(address, tmp_path)
        viewer.wait()
        viewer.evaluate("interfaceUtils.alert('hello')")
        # While it fades in, Bootstrap does not hear that it is to be closed.
        viewer.page.wait_for_function(
            """() => {
                const box = document.getElementById("messagebox_modal");
                return box?.matches(".show") && !box.getAnimations({ subtree: true }).length;
            }"""
        )
        viewer.page.click("#messagebox_closeButton")
        viewer.page.wait_for_selector("#messagebox_modal", state="hidden")
        viewer.evaluate(
            "document.getElementById('ISS_globalmarkersize_text')?.dispatchEvent(new Event('input'))"
        )
        saved = viewer.evaluate(
            """async () => {
                const state = await projectUtils.getActiveProject();
                const answer = await fetch("/again.tmap?path=" + dataUtils.getPath(), {method: "POST",
                    headers: {"Content-Type": "application/json"}, body: JSON.stringify(state)});
                return answer.status;
            }"""
        )
        assert saved == 200
        again = page.open(address.replace("slide.tmap", "again.tmap"), tmp_path)
        again.wait()
        assert again.evaluate("SIC.app.layer.h5ad") == "S #1/slide.h5ad"
        viewer.page.goto(f"{address.rpartition('/')[0]}/filetree")
        viewer.page.wait_for_selector("text=S #1")
        info = "/S%20%231/slide.tif.dzi/info"
        viewer.page.goto(address)
        viewer.wait()
        viewer.evaluate(f"interfaceUtils.alert(`<iframe id=info src='{info}'></iframe>`)")
        viewer.page.frame_locator("#info").locator("text=Properties").wait_for()
    assert (tmp_path / "S #1" / "again.tmap").is_file()
    assert page.failed == []
    assert page.complaints == []


def save_project(viewer, name):
    """Use TissUUmaps' own menu, with a name for its question."""
    viewer.evaluate("(name) => { interfaceUtils.prompt = () => Promise.resolve(name); }", name)
    viewer.page.locator("span", has_text="Save project").evaluate("(item) => item.click()")


def test_projects_are_saved_under_any_name_and_a_refusal_is_told(page, tmp_path, mosaic, image):
    put(tmp_path / "S #1 50%", "slide", mosaic, image)
    with served(tmp_path) as (_, address):
        viewer = page.open(address, tmp_path)
        viewer.wait()
        save_project(viewer, "mine #2 50%")
        saved = tmp_path / "S #1 50%" / "mine #2 50%.tmap"
        for _ in range(100):
            if saved.is_file():
                break
            viewer.page.wait_for_timeout(50)
        assert json.loads(saved.read_text())["markerFiles"]
        save_project(viewer, ".hidden")
        viewer.page.wait_for_selector("text=The project was not saved")
