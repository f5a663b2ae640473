"""Reports against labels counted by hand, as a page without scripts or other hosts, and as pictures."""

import base64
import dataclasses
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import h5py
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from making.damage import spoil, tissue, write_pyramid
from making.embeddings import write_ramp
from making.labels import CLASSES, labelled, plan, write_grid_h5ad
from PIL import Image

from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.effort import measure_effort, tell_effort
from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.picture import draw, scale_bar
from tissuumaps_sic.export.report import ClassRow, make_report
from tissuumaps_sic.export.report_html import to_html, write_html
from tissuumaps_sic.export.report_pdf import _Page, to_pdf, write_pdf
from tissuumaps_sic.slides.regions import regions_of, scale_of
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.slides.umap import read_tissue
from tissuumaps_sic.verification.check import begin_check, list_questions


@pytest.fixture
def ramp(tmp_path):
    write_ramp(tmp_path / "ramp.tif")
    grid = plan((1400, 1100))
    h5ad = write_grid_h5ad(tmp_path / "ramp.h5ad", grid, image="ramp.tif")
    names = [f"ramp_{x}_{y}" for x, y in zip(grid.x0, grid.y0, strict=True)]
    labels = np.minimum(grid.column // 3, 2)
    return labelled(h5ad, labels, seeds={names[0]: 0, names[3]: 1, names[4]: 1, names[8]: 2})


class Page(HTMLParser):
    """What a page has: tags with their attributes, cells of tables, and facts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.facts, self._at, self._told = [], [], {}, None, ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th", "dt", "dd"):
            self._at, self._told = tag, ""

    def handle_data(self, data):
        self._told += data

    def handle_endtag(self, tag):
        told = " ".join(self._told.split())
        if tag in ("td", "th") and self._at == tag:
            self.rows[-1].append(told)
        if tag == "dt":
            self._name = told
        if tag == "dd":
            self.facts[self._name] = told


def test_the_table_counts_patches_areas_shares_scores_and_seeds(ramp, tmp_path):
    write_html(ramp, tmp_path / "out.html", blocks=True)
    page = Page((tmp_path / "out.html").read_text())
    tissue = read_tissue(ramp.slide.path)
    regions = {
        region.label: region
        for region in regions_of(ramp.slide.centres, ramp.labels, scale_of(ramp.slide), tissue=tissue)
    }
    head, *rows, total = page.rows
    assert head[0] == "Class"
    # As the viewer lists them.
    for row, label in zip(rows, (1, 0, 2), strict=True):
        mine = ramp.labels == label
        name, patches, area, of_tissue, share, _, score, seeds = row
        assert name == CLASSES[label].name
        assert int(patches) == mine.sum()
        assert float(area) == pytest.approx(regions[label].area, abs=6e-4)
        assert float(of_tissue) == pytest.approx(regions[label].tissue, abs=6e-4)
        expected = 100 * tissue[mine].sum() / tissue.sum()
        assert float(share.removesuffix(" %")) == pytest.approx(expected, abs=0.06)
        assert float(score) == pytest.approx(ramp.scores[mine].mean(), abs=0.006)
        assert int(seeds) == {0: 1, 1: 2, 2: 1}[label]
    assert [total[1], total[7]] == [str(len(ramp.labels)), "4"]
    assert float(total[2]) == pytest.approx(sum(region.area for region in regions.values()), abs=6e-4)
    assert float(total[3]) == pytest.approx(sum(region.tissue for region in regions.values()), abs=6e-4)
    # The file's patches are from 0 to 100 % tissue, evenly: half of all is glass.
    assert float(total[3]) == pytest.approx(float(total[2]) / 2, abs=2e-3)


def test_without_the_share_of_tissue_shares_are_of_the_patches(ramp, tmp_path):
    with h5py.File(ramp.slide.path, "r+") as file:
        del file["obs/tissue"]
        file["obs"].attrs["column-order"] = [
            name for name in file["obs"].attrs["column-order"] if name != "tissue"
        ]
    report = make_report(ramp, blocks=True)
    assert report.tissue is None
    assert [row.tissue for row in report.rows] == [None] * 3
    assert [row.share for row in report.rows] == [
        pytest.approx((ramp.labels == label).mean()) for label in (1, 0, 2)
    ]
    assert "share is that of the patches" in report.measured


def test_it_tells_where_the_labels_come_from(ramp, tmp_path):
    write_html(ramp, tmp_path / "out.html", session_name="second reader", blocks=True)
    facts = Page((tmp_path / "out.html").read_text()).facts
    assert facts == {
        "Session": "second reader",
        "Annotated by": "Ada",
        "Labelled": "2025-05-04 12:30 UTC",
        "Method": "Refined",
        "Embedding": "X, 0.5 µm/px",
        "Border": "auto (the highest score)",
        "Seeds": "4",
        "Patches": f"{len(ramp.labels)} of 256 px at 0.5 µm/px, every 64 µm",
        "Slide": "1,400 x 1,100 px, 0.5 µm/px",
        "Work": tell_effort(measure_effort(ramp.session)),
        "Version": "tissuumaps-sic 0.1.0",
        "Fingerprint": ramp.slide.fingerprint,
    }


def test_the_page_is_whole_without_scripts_or_another_host(ramp, tmp_path):
    session = ramp.session.seed(["ramp_0_0"], 1, user="<script>alert(1)</script>&")
    write_html(replace(ramp, session=session), tmp_path / "out.html", session_name="{{ 7 * 7 }}", blocks=True)
    text = (tmp_path / "out.html").read_text()
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "form", "a"}
    assert not re.search(r"https?:|url\(|@import|javascript:| on\w+=", text)
    sources = [value for _, named in page.tags for key, value in named.items() if key in ("src", "href")]
    assert len(sources) == 2
    assert all(each.startswith("data:image/jpeg;base64,") for each in sources)
    assert page.facts["Annotated by"] == "Ada, <script>alert(1)</script>&"
    assert page.facts["Session"] == "{{ 7 * 7 }}"
    # The seeds of the session have changed: that is told.
    assert "The seeds have changed since this run" in text


def pictures_of(path):
    sources = [named["src"] for tag, named in Page(path.read_text()).tags if tag == "img"]
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(each.partition(",")[2]))).convert("RGB"))
        for each in sources
    ]


def test_labels_are_drawn_over_the_slide_where_they_are(ramp, tmp_path):
    write_html(ramp, tmp_path / "out.html", blocks=True)
    labels, plain = pictures_of(tmp_path / "out.html")
    assert labels.shape == plain.shape
    columns = plain.shape[1]
    # The patches' cells begin and end 64 px within their grid, and the picture a fiftieth beyond them.
    left, top = ramp.slide.centres.min(axis=0) - 64
    right, bottom = ramp.slide.centres.max(axis=0) + 64
    margin = 0.02 * max(right - left, bottom - top)
    zoom = columns / (right - left + 2 * margin)
    for x, y in ((300, 300), (700, 500), (1100, 800)):
        row, column = int((y - top + margin) * zoom), int((x - left + margin) * zoom)
        assert plain[row, column] == pytest.approx([x * 250 / 1400, y * 250 / 1100, 20], abs=6)
        cell = np.abs(ramp.slide.centres - (x, y)).max(axis=1).argmin()
        color = CLASSES[ramp.labels[cell]].color
        rgb = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)])
        assert labels[row, column] == pytest.approx(0.58 * plain[row, column] + 0.42 * rgb, abs=12)


def test_without_the_image_the_patches_have_the_colours_of_their_labels(ramp, tmp_path):
    (tmp_path / "ramp.tif").unlink()
    write_html(ramp, tmp_path / "out.html", blocks=True)
    (labels,) = pictures_of(tmp_path / "out.html")
    colors, counts = np.unique(labels.reshape(-1, 3), axis=0, return_counts=True)
    pure = {tuple(color): n for color, n in zip(colors.tolist(), counts, strict=True)}
    for label, each in enumerate(CLASSES):
        rgb = tuple(int(each.color[at : at + 2], 16) for at in (1, 3, 5))
        share = pure[rgb] / sum(n for color, n in pure.items() if color != (255, 255, 255))
        assert share == pytest.approx((ramp.labels == label).mean(), abs=0.02)


def test_another_image_is_refused_when_asked_for_and_left_out_when_found(ramp, tmp_path, caplog):
    write_ramp(tmp_path / "other.tif", width=900)
    with pytest.raises(ExportError, match=r"pixels, and .* is of a slide of .*; give that slide's image"):
        write_html(ramp, tmp_path / "a.html", image=tmp_path / "other.tif", blocks=True)
    (tmp_path / "other.tif").replace(tmp_path / "ramp.tif")
    write_html(ramp, tmp_path / "a.html", blocks=True)
    assert len(pictures_of(tmp_path / "a.html")) == 1
    assert "the labels are drawn without the slide" in caplog.text


def test_pixels_that_are_not_square_are_drawn_as_they_are_on_the_glass(tmp_path):
    grid = plan((2000, 1000), mpp=(0.25, 0.5))
    made = labelled(write_grid_h5ad(tmp_path / "a.h5ad", grid), np.arange(len(grid)) % 2)
    report = make_report(made, blocks=True)
    rows, columns, _ = report.picture.labels.shape
    # 2000 x 0.25 µm by 1000 x 0.5 µm is a square.
    assert rows == pytest.approx(columns, rel=0.05)


def test_a_file_without_resolution_has_no_areas_and_says_so(tmp_path):
    grid = plan()
    made = labelled(write_grid_h5ad(tmp_path / "a.h5ad", grid, told=False), np.arange(len(grid)) % 2)
    report = make_report(made, blocks=True)
    assert report.area is None
    assert report.picture.width_um is None
    assert any("areas are not known" in note for note in report.notes)
    for render in (to_html, to_pdf):
        assert len(render(report)) > 5000


def test_the_pdf_is_one_page_of_a4_however_many_classes(ramp, tmp_path):
    write_pdf(ramp, tmp_path / "out.pdf", blocks=True)
    content = (tmp_path / "out.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    width, height = map(float, re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", content).groups())
    assert (width, height) == pytest.approx((210 / 25.4 * 72, 297 / 25.4 * 72), abs=0.1)
    report = make_report(ramp, blocks=True)
    # A name that TeX would take for a formula, and letters that few fonts have.
    many = tuple(ClassRow(rf"$\frac{k}$ 肿瘤", "#123456", 10, 1, 0.1, 0.05, 1 / 64, 0.5) for k in range(64))
    content = to_pdf(dataclasses.replace(report, rows=many, slide="s" * 300))
    assert len(re.findall(rb"/Type /Page\b", content)) == 1


def checked(made, n=40):
    """Labels with a check whose reader says class 1 wherever a patch's row is even, else what it is."""
    session = begin_check(made.session, made.scores, randomness=3)
    for _ in range(n):
        row = list_questions(made.slide, session)[0]
        label = 1 if row % 2 == 0 else int(made.labels[row])
        session = session.answer(str(made.slide.patch_names[row]), label, user="Ada")
    return dataclasses.replace(made, session=session)


def test_a_report_tells_how_good_the_labels_are_where_they_were_checked(ramp):
    assert make_report(ramp, blocks=True).quality is None
    assert make_report(checked(ramp, 9), blocks=True).quality is None
    report = make_report(checked(ramp), blocks=True)
    text = to_html(report).decode()
    assert "How good is it" in text
    assert "40 patches chosen at random and judged without seeing the labels" in text
    row = next(each for each in Page(text).rows if each[0] == "Tumour" and len(each) == 5)
    figures = report.quality.classes[0]
    assert row[1] == f"{100 * figures.precision.value:.0f} % (" + row[1].partition("(")[2]
    assert row[3] == f"{figures.f1.value:.2f} ({figures.f1.low:.2f} to {figures.f1.high:.2f})"
    assert row[4].startswith(f"{figures.area.value:.3f} (")
    assert "How good is it" not in to_html(make_report(ramp, blocks=True)).decode()


def test_the_pdf_stays_one_page_with_a_check_and_many_classes(ramp):
    report = make_report(checked(ramp), blocks=True)
    plain = len(to_pdf(dataclasses.replace(report, quality=None)))
    assert len(to_pdf(report)) > plain
    many = tuple(dataclasses.replace(report.quality.classes[0], name=f"Class {k}") for k in range(30))
    rows = tuple(ClassRow(f"Class {k}", "#123456", 10, 1, 0.1, 0.05, 1 / 64, 0.5) for k in range(64))
    quality = dataclasses.replace(report.quality, classes=many)
    content = to_pdf(dataclasses.replace(report, rows=rows, quality=quality))
    assert len(re.findall(rb"/Type /Page\b", content)) == 1


@pytest.fixture
def fonts(monkeypatch):
    """What is found as the fonts of this computer."""
    found = []
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: found)
    return found


def write_font(path, letters):
    """Write a font that has some letters, each a square."""
    names = [".notdef", *(f"u{ord(each):04X}" for each in letters)]
    pen = TTGlyphPen(None)
    for step, corner in enumerate([(0, 0), (0, 700), (700, 700), (700, 0)]):
        (pen.lineTo if step else pen.moveTo)(corner)
    pen.closePath()
    font = FontBuilder(1000)
    font.setupGlyphOrder(names)
    font.setupCharacterMap(dict(zip(map(ord, letters), names[1:], strict=True)))
    font.setupGlyf(dict.fromkeys(names, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": path.stem, "styleName": "Regular", "psName": path.stem})
    font.setupOS2()
    font.setupPost()
    font.save(path)
    return str(path)


def letters_of(pdf):
    """The letters that a PDF's fonts have been given, as its tables of them tell."""
    return {chr(int(each, 16)) for each in re.findall(rb"<[0-9A-F]{4}> <([0-9A-F]{4})>\n", pdf)} - {"\0"}


def told_by_us(caplog):
    """What this package logs; libraries of fonts tell more where another test has let them."""
    return [record for record in caplog.records if record.name.startswith("tissuumaps_sic")]


def test_letters_that_our_font_lacks_are_printed_in_a_font_of_this_computer(ramp, tmp_path, fonts, caplog):
    fonts += [str(tmp_path / "none.ttf"), write_font(tmp_path / "made.ttf", "肿瘤")]
    report = dataclasses.replace(make_report(ramp, blocks=True), slide="Ada 肿瘤")
    pdf = to_pdf(report)
    assert set("Ad肿瘤") < letters_of(pdf)
    assert b"+made" in pdf
    assert not told_by_us(caplog)


def test_letters_that_no_font_has_are_told_in_words(ramp, fonts, caplog):
    report = make_report(ramp, blocks=True)
    plain = to_pdf(report)
    assert not told_by_us(caplog)
    pdf = to_pdf(dataclasses.replace(report, slide="肿瘤 종양"))
    assert letters_of(pdf) - letters_of(plain) <= set("?CJKHANGUL(), whtforsinde;pTML.cm")
    assert "?" in letters_of(pdf)
    (record,) = told_by_us(caplog)
    assert "No font on this computer has the letters (CJK, HANGUL) that ? stands for" in record.getMessage()


def test_arabic_is_joined_and_hebrew_written_from_right_to_left(fonts):
    page = _Page("names").pdf
    page.set_font("plain", size=20)
    assert page.get_string_width("بب") < 0.9 * 2 * page.get_string_width("ب")
    # What reads from right to left is laid out so by fpdf2, once shaping is on.
    assert page.text_shaping


def test_the_scale_bar_is_a_round_length_of_at_most_a_quarter():
    for width in (10, 37, 400, 999, 1000, 7777, 123456):
        length, told = scale_bar(width)
        assert 0.09 * width < length <= 0.25 * width
        assert str(length / 10 ** np.floor(np.log10(length)))[0] in "125"
        number, unit = told.split()
        assert float(number) * {"µm": 1, "mm": 1000}[unit] == length


def test_classes_that_were_merged_are_one_row(ramp):
    merged = ramp.session.remove_class(2, into=0)
    report = make_report(Labelled.of(ramp.slide, merged, ramp.every), blocks=True)
    assert [(row.name, row.patches, row.seeds) for row in report.rows] == [
        ("Tumour", (ramp.labels == 1).sum(), 2),
        ("Other", (ramp.labels != 1).sum(), 2),
    ]


def test_a_class_without_patches_has_no_score(ramp, tmp_path):
    session = ramp.session.model_copy(
        update={
            "run": ramp.session.run.model_copy(
                update={"classes": (*CLASSES, SeedClass(name="None", color="#000000")),
                        "class_numbers": (0, 1, 2, 3)}
            )
        }
    )  # fmt: skip
    every = np.pad(ramp.every, ((0, 0), (0, 1)))
    report = make_report(Labelled.of(ramp.slide, session, every), blocks=True)
    assert report.rows[3] == ClassRow("None", "#000000", 0, 0, 0.0, 0.0, 0.0, None, 3)
    assert b"None" in to_html(report)
    assert to_pdf(report)


MANY = tuple(
    SeedClass(name=f"Class {number}", color=color)
    for number, color in enumerate(
        ("#00a6fb", "#ffb000", "#aa3377", "#228833", "#ccbb44", "#bbbbbb", "#ee6677", "#66ccee", "#661100")
    )
)


@pytest.fixture
def many(tmp_path):
    """A slide with nine classes, a column of patches each, and no image."""
    grid = plan((1800, 900), mpp=(0.5, 0.5))
    path = write_grid_h5ad(tmp_path / "many.h5ad", grid)
    x = open_slide_file(path).centres[:, 0]
    labels = np.unique(x, return_inverse=True)[1] * len(MANY) // len(np.unique(x))
    return labelled(path, labels, classes=MANY)


def test_classes_that_colours_do_not_tell_have_lines_and_a_letter(many, monkeypatch):
    report = make_report(many, blocks=True)
    assert [row.sign for row in report.rows] == [""] * 7 + ["A", "B"]
    picture, x = report.picture.labels, many.slide.centres[:, 0]
    for row, label in zip(report.rows, (1, 0, *range(2, 9)), strict=True):
        inside = x[many.labels == label]
        span = np.interp([inside.min(), inside.max()], [x.min(), x.max()], [0.06, 0.94]) * picture.shape[1]
        part = picture[100:-100, int(span[0]) : int(span[1]) + 1].reshape(-1, 3)
        colors = {tuple(each) for each in np.unique(part, axis=0).tolist()}
        assert ((255, 255, 255) in colors) == bool(row.sign), row.name
        assert ((17, 17, 17) in colors) == bool(row.sign), row.name
    page = to_html(report).decode()
    assert page.count("repeating-linear-gradient") == 2
    assert '<b class="sign">A</b>' in page
    assert '<b class="sign">C</b>' not in page
    told = []
    write = _Page.text
    monkeypatch.setattr(
        _Page, "text", lambda page, x, y, text, **how: told.append(text) or write(page, x, y, text, **how)
    )
    to_pdf(report)
    assert [each for each in told if "Class " in each][-3:] == ["Class 6", "A Class 7", "B Class 8"]


def test_a_slide_of_which_a_tile_is_lost_is_shown_all_the_same(ramp, tmp_path):
    (tmp_path / "ramp.tif").unlink()
    spoil(write_pyramid(tmp_path / "ramp.tif", tissue(1400, 1100), pyramid=False), (0, 3, 2))
    picture = draw(ramp, most_pixels=300)
    assert picture.lack == ""
    assert picture.slide.mean() < 200
