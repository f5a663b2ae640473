"""Draw docs/demo.gif and docs/demo.png: the demo as a person uses it, in a headless Chromium.

`python docs/make_animation.py DEMO`, where DEMO is what `tissuumaps-sic demo --no-serve` made. It works on a
copy, with what the browser tests use.
"""

import shutil
import sys
import tempfile
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS.parent / "tests" / "browser")]

from conftest import CHROMIUM_FLAGS  # noqa: E402
from viewer import Viewer, served  # noqa: E402

WINDOW = {"width": 1280, "height": 720}
SIZE = (960, 540)  # of what is seen of it
WORDS_HEIGHT = 36  # of the line of words below it
COLORS = 96
FONT = ImageFont.truetype(str(Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), 18)
POINTER = [(0, 0), (0, 19), (4, 15), (8, 23), (11, 22), (7, 14), (13, 14)]


class Film:
    """Pictures of a page, each with a line of words, the pointer, and how long it is shown."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.frames: list[Image.Image] = []
        self.lengths: list[int] = []
        self.pointer = (640, 400)

    def shoot(self, words: str, milliseconds: int) -> None:
        """Add what the page shows now."""
        self.viewer.wait_for_frame()
        page = Image.open(BytesIO(self.viewer.page.screenshot())).convert("RGB")
        scale = SIZE[0] / WINDOW["width"]
        frame = Image.new("RGB", (SIZE[0], SIZE[1] + WORDS_HEIGHT), "#24292f")
        frame.paste(page.resize(SIZE, Image.Resampling.LANCZOS))
        draw = ImageDraw.Draw(frame)
        x, y = (place * scale for place in self.pointer)
        draw.polygon([(x + dx, y + dy) for dx, dy in POINTER], fill="white", outline="black")
        draw.text((14, SIZE[1] + WORDS_HEIGHT / 2), words, "white", FONT, anchor="lm")
        self.frames.append(frame)
        self.lengths.append(milliseconds)

    def point(self, x: float, y: float) -> None:
        """Move the pointer to a place of the window."""
        self.pointer = (x, y)
        self.viewer.page.mouse.move(x, y)

    def click(self, selector: str) -> None:
        """Point at something of the panel, and click it."""
        box = self.viewer.page.locator(selector).bounding_box()
        self.point(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        self.viewer.page.mouse.click(*self.pointer)
        self.viewer.wait()

    def save(self, path: Path) -> None:
        """Write all as one GIF, of the colours that most of it has."""
        step = max(1, len(self.frames) // 6)
        chosen = self.frames[::step]
        strip = Image.new("RGB", (SIZE[0], SIZE[1] * len(chosen)))
        for number, frame in enumerate(chosen):
            strip.paste(frame, (0, number * SIZE[1]))
        palette = strip.quantize(COLORS, method=Image.Quantize.MEDIANCUT)
        drawn = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in self.frames]
        drawn[0].save(path, save_all=True, append_images=drawn[1:], duration=self.lengths, loop=0)


def tissue_rows(viewer: Viewer, label: int, number: int) -> list[int]:
    """Return patches that are wholly of a class, by the mask that the demo was painted by."""
    mask = np.asarray(Image.open(viewer.folder / "demo_mask.png"))
    corners = viewer.adata.obs[["x0", "y0"]].to_numpy() // 16
    squares = [mask[y : y + 16, x : x + 16] for x, y in corners]
    rows = [row for row, square in enumerate(squares) if (square == label).all()]
    return [int(row) for row in np.random.default_rng(4).choice(rows, number, replace=False)]


def act(film: Film, centres: np.ndarray) -> None:
    """Do what a newcomer does on the first slide."""
    film.shoot("A slide, cut into 878 patches and embedded once", 1800)
    film.click("button:text-is('UMAP')")
    film.shoot("UMAP colours: what looks alike to the network", 1800)
    film.click("button:text-is('Slide')")
    for name, label, value in (("Tumour", 1, 2), ("Other", 0, 1)):
        film.click(f"#sic-class-{label}")
        film.shoot(f"Choose a class: {name}", 700)
        for row in tissue_rows(film.viewer, value, 3):
            film.point(*film.viewer.screen(*centres[row]))
            film.shoot(f"Click a patch: a seed of {name}", 350)
            film.viewer.page.mouse.click(*film.pointer)
            film.viewer.wait()
            film.shoot(f"Click a patch: a seed of {name}", 350)
    run(film, "Run: every patch is labelled, and the six seeds are kept")
    still = Image.open(BytesIO(film.viewer.page.screenshot())).convert("RGB")
    still.quantize(256, dither=Image.Dither.NONE).save(DOCS / "demo.png", optimize=True)
    look_nearer(film, centres)
    answer_suggestions(film)
    film.viewer.show_all()
    film.click("button:text-is('Labels')")
    run(film, "Run again: labels, areas and exports are ready")


def run(film: Film, words: str) -> None:
    """Press Run, and show the labels."""
    film.click("button:has-text('Run')")
    film.viewer.wait_for_cells()
    film.shoot(words, 2500)


def look_nearer(film: Film, centres: np.ndarray) -> None:
    """Show outlines, and come nearer by the wheel."""
    words = "Borders follow the tissue, finer than a patch"
    film.click("button:text-is('Outlines')")
    film.shoot(words, 1300)
    film.point(*film.viewer.screen(*centres[tissue_rows(film.viewer, 2, 1)[0]]))
    for _ in range(4):
        film.viewer.page.mouse.wheel(0, -600)
        film.viewer.page.wait_for_timeout(900)  # what moves comes to rest
        film.shoot(words, 500)
    film.viewer.show_all()


def answer_suggestions(film: Film) -> None:
    """Answer two of the patches that N asks about, which are of no tumour."""
    keyboard = film.viewer.page.keyboard
    keyboard.press("n")
    film.viewer.page.wait_for_selector("#sic-card")
    film.viewer.wait()
    film.viewer.page.wait_for_timeout(1500)
    film.shoot("Suggest (N): where one more seed tells most", 2000)
    for _ in range(2):
        keyboard.press("2")
        film.viewer.wait()
        film.viewer.page.wait_for_timeout(1200)
        film.shoot("One key answers, and the next one comes", 900)
    keyboard.press("Escape")


def main(demo: Path) -> None:
    """Film a copy of the demo."""
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        folder = shutil.copytree(demo, Path(place, "demo"))
        chromium = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium"))))
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        with served(folder) as (_, address):
            viewer = Viewer(browser.new_page(viewport=WINDOW), folder, address)
            viewer.open()
            film = Film(viewer)
            act(film, viewer.adata.obsm["spatial"])
            if viewer.complaints:
                raise SystemExit(f"the page complained: {viewer.complaints}")
        browser.close()
    film.save(DOCS / "demo.gif")
    size = (DOCS / "demo.gif").stat().st_size
    print(f"{len(film.frames)} pictures, {sum(film.lengths) / 1000:.0f} s, {size / 1e6:.2f} MB")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
