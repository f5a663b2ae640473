"""A folder as a table and as a sheet, against figures found by hand."""

import base64
import csv
import io
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from making.embeddings import write_ramp
from making.labels import CLASSES, labelled, plan, write_grid_h5ad
from making.many import seeds_of, write_mosaic
from PIL import Image

from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.lending import lend
from tissuumaps_sic.annotation.runs import label
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import save_session, session_path
from tissuumaps_sic.export.contact_sheet import write_sheet
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.folder import folder_table, read_folder, write_table
from tissuumaps_sic.export.report import make_report
from tissuumaps_sic.slidefile.extras import tell_install
from tissuumaps_sic.slidefile.tables import read_table
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.verification.check import begin_check, list_questions, require_question, verify

# Four patches in a row with 0, 1/3, 2/3 and 1 of tissue, each the owner of 64 µm x 64 µm.
ROW = (640, 256)
SQUARE = 0.064**2


def write_row(folder, name, labels, **more):
    h5ad = write_grid_h5ad(folder / f"{name}.h5ad", plan(ROW))
    return labelled(h5ad, labels, save=True, **more)


def find_all(folder):
    return sorted(folder.glob("*.h5ad"))


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_areas_and_shares_are_those_of_tissue_counted_by_hand(tmp_path):
    write_row(tmp_path, "a", [0, 0, 1, 1])
    (row,) = read_folder(find_all(tmp_path))
    tumour, other, low = row.classes
    assert (row.slide, row.session, row.state, row.problem, row.warnings) == ("a", "", "labelled", "", ())
    assert (row.patches, row.seeds, row.clicks, row.readers) == (4, 1, 1, ("Ada",))
    assert (row.method, row.version, row.labelled[:10]) == ("refine", "0.1.0", "2025-05-04")
    assert row.area == pytest.approx(2 * SQUARE)
    assert [each.name for each in row.classes] == ["Tumour", "Other", "In situ: low"]
    assert (tumour.patches, other.patches, low.patches) == (2, 2, 0)
    assert (tumour.share, other.share, low.share) == (pytest.approx(5 / 6), pytest.approx(1 / 6), 0)
    assert tumour.area == pytest.approx(5 / 3 * SQUARE)
    assert other.area == pytest.approx(1 / 3 * SQUARE)
    assert (tumour.seeds, other.seeds) == (0, 1)


def test_figures_are_those_of_the_report_by_whole_patches(tmp_path):
    found = write_row(tmp_path, "a", [0, 2, 1, 1])
    report = {each.name: each for each in make_report(found, blocks=True).rows}
    (row,) = read_folder(find_all(tmp_path))
    for each in row.classes:
        told = report[each.name]
        assert (each.patches, each.place) == (told.patches, told.place)
        assert (each.share, each.area) == (pytest.approx(told.share), pytest.approx(told.tissue))


def test_columns_are_the_same_whatever_classes_a_slide_has(tmp_path):
    write_row(tmp_path, "b", [1, 1, 1, 1], classes=CLASSES[:2])
    write_row(tmp_path, "A", [0, 1, 2, 2])
    write_grid_h5ad(tmp_path / "c.h5ad", plan(ROW))
    rows = read_folder(find_all(tmp_path))
    write_table(rows, tmp_path / "t.csv")
    first, second, third = read_csv(tmp_path / "t.csv")
    assert [each["slide"] for each in (first, second, third)] == ["A", "b", "c"]
    # What was looked for and not found is 0, what a slide does not know is empty.
    assert float(first["share In situ: low"]) == pytest.approx(5 / 6, rel=1e-5)
    assert (second["share In situ: low"], second["share Other"], second["share Tumour"]) == ("", "0", "1")
    assert (third["state"], third["share Tumour"], third["patches"]) == ("new", "", "4")
    assert float(third["mm2"]) == pytest.approx(2 * SQUARE, rel=1e-5)
    fixed = [name for name in first if " " not in name]
    assert len(first) == len(fixed) + 3 * 10
    assert third["seeds"] == "0"


def test_one_bad_slide_and_one_bad_session_are_a_line_each(tmp_path):
    write_row(tmp_path, "good", [0, 1, 1, 1])
    write_row(tmp_path, "twice", [0, 1, 1, 1])
    session_path(tmp_path / "twice.h5ad", "Ben").write_text("{}")
    (tmp_path / "broken.h5ad").write_bytes(b"no h5ad")
    rows = read_folder([*find_all(tmp_path), tmp_path / "gone" / "gone.h5ad"])
    told = [(row.slide, row.session, row.state) for row in rows]
    assert told == [
        ("broken", "", ""), ("gone", "", ""), ("good", "", "labelled"), ("twice", "", "labelled"),
        ("twice", "Ben", ""),
    ]  # fmt: skip
    problems = [row.problem for row in rows]
    assert problems[0].startswith("broken.h5ad: not a readable h5ad")
    assert "gone.h5ad: no such file" in problems[1]
    assert problems[2] == problems[3] == ""
    assert problems[4].startswith("twice.Ben.sic.json: not a session")
    write_table(rows, tmp_path / "t.csv")
    assert read_csv(tmp_path / "t.csv")[0]["seeds"] == ""


def test_sessions_are_chosen_by_name(tmp_path):
    found = write_row(tmp_path, "a", [0, 1, 1, 1])
    save_session(session_path(tmp_path / "a.h5ad", "Ben"), found.session)
    files = [tmp_path / "a.h5ad"]
    assert [row.session for row in read_folder(files)] == ["", "Ben"]
    assert [row.session for row in read_folder(files, session="Ben")] == ["Ben"]
    assert [row.session for row in read_folder(files, session="")] == [""]
    assert [row.state for row in read_folder(files, session="Cleo")] == ["new"]


def test_nothing_that_people_name_is_a_formula_or_markup(tmp_path):
    classes = (CLASSES[0], SeedClass(name='=1+1 <b>"low', color="#ff0000"))
    write_row(tmp_path, "=cmd #1 <i>", [0, 1, 1, 1], classes=classes)
    rows = read_folder(find_all(tmp_path))
    write_table(rows, tmp_path / "t.csv")
    (line,) = read_csv(tmp_path / "t.csv")
    assert line["slide"] == "'=cmd #1 <i>"
    assert float(line['share =1+1 <b>"low']) == 1
    assert read_table(tmp_path / "t.csv", ("slide",)).rows[0]["slide"] == "=cmd #1 <i>"
    write_sheet(rows, tmp_path / "s.html")
    page = Page((tmp_path / "s.html").read_text(encoding="utf-8"))
    assert not {"i", "b"} & {tag for tag, _ in page.tags}
    assert "=cmd #1 <i>" in page.text
    assert '=1+1 <b>"low' in page.text
    assert "http://127.0.0.1:5100/%3Dcmd%20%231%20%3Ci%3E.tmap" in page.links


def test_warnings_tell_what_figures_cannot(tmp_path):
    found = write_row(tmp_path, "stale", [0, 1, 1, 1])
    names = open_slide_file(tmp_path / "stale.h5ad").patch_names
    changed = found.session.check(user="Ada").seed([str(names[2])], 1, user="Ben")
    save_session(session_path(tmp_path / "stale.h5ad"), changed)
    h5ad = write_grid_h5ad(tmp_path / "seeded.h5ad", plan(ROW), image="lost.tif", told=False)
    slide = open_slide_file(h5ad)
    save_session(session_path(h5ad), Session.new(slide).seed([str(slide.patch_names[0])], 1))
    seeded, stale = read_folder(find_all(tmp_path))
    assert (seeded.state, stale.state) == ("seeded", "changed")
    assert stale.warnings == (
        "seeds or classes have changed since the labels were made; run the clustering again",
        "it has changed since Ada reviewed it",
    )
    assert [each.partition(",")[0] for each in seeded.warnings] == [
        "the file does not say its µm per pixel",
        "the file does not say what is glass",
        "the slide's image lost.tif is missing",
        "it has seeds and no labels; run the clustering",
    ]
    assert (seeded.area, stale.area) == (None, pytest.approx(2 * SQUARE))


def test_the_checks_figures_are_those_of_verify(tmp_path):
    h5ad = write_grid_h5ad(tmp_path / "slide.h5ad", plan((2600, 1900)))
    rng = np.random.default_rng(2)
    truth = np.arange(len(plan((2600, 1900)))) % 4 == 0
    labels = np.where(rng.random(len(truth)) < 0.1, ~truth, truth)
    found = labelled(h5ad, labels, classes=CLASSES[:2])
    session = begin_check(found.session, found.scores, randomness=7)
    for _ in range(5):
        session = _answer(found.slide, session, truth)
    save_session(session_path(h5ad), session)
    (few,) = read_folder([h5ad])
    assert (few.check, few.answers, few.accuracy) == ("few", 5, None)
    assert few.warnings[0].startswith("the check is not finished: 5 patches answered")
    for _ in range(25):
        session = _answer(found.slide, session, truth)
    save_session(session_path(h5ad), session)
    told, (row,) = verify(found.slide, session), read_folder([h5ad])
    assert (row.check, row.answers, row.accuracy, row.warnings) == ("ready", 30, told.accuracy, ())
    for each in row.classes:
        quality = next(quality for quality in told.classes if quality.name == each.name)
        assert (each.checked_area, each.checked_share) == (quality.area, quality.share)
        assert each.area == pytest.approx(quality.labelled_area)
    write_table([row], tmp_path / "t.csv")
    (line,) = read_csv(tmp_path / "t.csv")
    ends = [float(line[f"checked_share{end} Tumour"]) for end in ("_low", "", "_high")]
    assert ends == sorted(ends)
    assert ends[1] == pytest.approx(row.classes[0].checked_share.value, rel=1e-5)
    write_sheet([row], tmp_path / "s.html")
    assert "by 30 answers" in (tmp_path / "s.html").read_text(encoding="utf-8")


def _answer(slide, session, truth):
    row = list_questions(slide, session)[0]
    return session.answer(require_question(slide, session, row), int(truth[row]), user="Ada")


def test_what_is_unlike_any_borrowed_seed_is_found_and_a_lender_that_is_gone_is_told(tmp_path):
    lender, truth = write_mosaic(tmp_path, "lender")
    strange, _ = write_mosaic(tmp_path, "strange", seed=1, strange=True)
    slide = open_slide_file(strange)
    loan = lend(open_slide_file(lender), seeds_of(lender, truth), slide)
    found = label(slide, Session.new(slide).borrow(loan, CLASSES[:2]))
    save_session(session_path(strange), found.session)
    (row,) = read_folder([strange])
    assert (row.seeds, row.borrowed, row.unlike) == (0, 8, pytest.approx(found.unlike.mean()))
    assert 0.1 < row.unlike < 0.5
    lender.unlink()
    (row,) = read_folder([strange])
    assert row.unlike is None
    assert (row.problem, row.state) == ("", "labelled")
    assert "lender.h5ad: is not there" in row.warnings[-1]


def test_parquet_and_pandas_have_the_same_cells_with_their_types(tmp_path):
    write_row(tmp_path, "a", [0, 0, 1, 1])
    write_row(tmp_path, "=b", [1, 1, 1, 1], classes=CLASSES[:2])
    (tmp_path / "c.h5ad").write_bytes(b"no h5ad")
    files = find_all(tmp_path)
    rows = read_folder(files)
    write_table(rows, tmp_path / "t.parquet")
    write_table(rows, tmp_path / "t.csv")
    parquet, table, made = (
        pd.read_parquet(tmp_path / "t.parquet"), pd.read_csv(tmp_path / "t.csv"), folder_table(files)
    )  # fmt: skip
    assert list(parquet) == list(table) == list(made)
    assert list(parquet["slide"]) == list(made["slide"]) == ["=b", "a", "c"]
    for each in (parquet, table, made):
        assert each["share Tumour"].tolist()[:2] == [pytest.approx(1), pytest.approx(5 / 6, rel=1e-5)]
        assert each["patches In situ: low"].isna().tolist() == [True, False, True]
    assert str(parquet["accuracy"].dtype) == "float64"


def test_without_pyarrow_it_is_told_what_to_install_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExportError, match=re.escape(f"run {tell_install('parquet')}, or")):
        write_table([], tmp_path / "t.parquet")
    with pytest.raises(ExportError, match=r"written as \.csv or \.parquet"):
        write_table([], tmp_path / "t.xlsx")
    assert not list(tmp_path.iterdir())


def test_two_processes_give_what_one_gives(tmp_path):
    for name in "abc":
        write_row(tmp_path, name, [0, 0, 1, 1])
    done = []
    one = read_folder(find_all(tmp_path), pictures=True)
    two = read_folder(find_all(tmp_path), pictures=True, workers=2, advance=done.append)
    assert one == two
    assert done == [1, 2, 3]


class Page(HTMLParser):
    """What a page has: its tags with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    @property
    def links(self):
        return [told["href"] for tag, told in self.tags if tag == "a"]

    @property
    def pictures(self):
        return [read_picture(told["src"]) for tag, told in self.tags if tag == "img"]

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def read_picture(source):
    kind, content = re.fullmatch(r"data:image/(png|jpeg);base64,(.*)", source).groups()
    return kind, np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


def test_a_sheet_is_one_file_with_pictures_flags_and_links(tmp_path):
    folder = tmp_path / "slides"
    folder.mkdir()
    write_ramp(folder / "ramp.tif")
    grid = plan((1400, 1100))
    ramp = write_grid_h5ad(folder / "ramp.h5ad", grid, image="ramp.tif")
    labelled(ramp, (grid.column > 4).astype(int), save=True)
    write_row(folder, "bare", [0, 0, 1, 1])
    write_grid_h5ad(folder / "new.h5ad", plan(ROW))
    (folder / "broken.h5ad").write_bytes(b"no h5ad")
    rows = read_folder(find_all(folder), pictures=True)
    write_sheet(rows, tmp_path / "s.html", title="slides", server="https://lab.example/sic/", root=tmp_path)
    text = (tmp_path / "s.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "4 slides, 2 labelled" in page.text
    assert "1 to look at:" in page.text
    assert "broken.h5ad: not a readable h5ad" in page.text
    assert "https://lab.example/sic/ramp.tmap?path=slides" in page.links
    # Nothing is fetched: no script, no style sheet, no picture of another place.
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert "url(" not in text
    (bare_kind, bare), (new_kind, new), (ramp_kind, over) = page.pictures
    assert (bare_kind, new_kind, ramp_kind) == ("png", "png", "jpeg")
    # Without an image patches' places are drawn: halves in the classes' colours; grey where nothing is known.
    assert {tuple(each) for each in bare[bare.shape[0] // 2, 20::40].tolist()} >= {
        (0, 166, 251),
        (255, 176, 0),
    }
    assert (new[new.shape[0] // 2, new.shape[1] // 2] == 128).all()
    # Over the image blue is left, amber right.
    left, right = over[:, : over.shape[1] // 3].mean((0, 1)), over[:, -over.shape[1] // 3 :].mean((0, 1))
    assert left[2] > left[0]
    assert right[0] > right[2]
