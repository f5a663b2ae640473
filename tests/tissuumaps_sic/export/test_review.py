"""Notes, checks and what was looked at, in the files that others get."""

import csv
import json

import anndata
import numpy as np
import pytest
from making.many import seeds_of, write_mosaic
from shapely import Polygon, contains_xy

from tissuumaps_sic.annotation.runs import label
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.export.formats import FORMATS
from tissuumaps_sic.slides.slide import open_slide_file


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    path, truth = write_mosaic(tmp_path_factory.mktemp("review"), "one")
    slide = open_slide_file(path)
    session = Session.new(slide)
    for patch, each in seeds_of(path, truth, per_class=4).items():
        session = session.seed([patch], each)
    patch = str(slide.patch_names[5])
    x, y = slide.centres[:30].min(axis=0)
    box = (float(x) - 1, float(y) - 1, float(x) + 200, float(y) + 1)
    session = session.note("=blurred", user="Anna").note("odd,\nvery", patch=patch, user="Ben")
    session = session.note("fold", patch=patch, box=box).with_seen(np.arange(slide.n_patches) % 2 == 0)
    made = label(slide, session)
    return type(made).of(slide, made.session.check(user="Carla"), made.every)


def test_the_csv_has_notes_by_patch(labelled, tmp_path):
    FORMATS["csv"].write(labelled, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    left, top, right, bottom = labelled.session.notes[2].box
    for number, row in enumerate(rows):
        within = left <= float(row["x"]) <= right and top <= float(row["y"]) <= bottom
        expected = [*(["odd, very"] if number == 5 else []), *(["fold"] if within else [])]
        assert row["note"] == "; ".join(expected)


def test_the_geojson_has_notes_by_place_and_those_of_the_slide(labelled, tmp_path):
    FORMATS["geojson"].write(labelled, tmp_path / "out.geojson")
    found = json.loads((tmp_path / "out.geojson").read_text())
    by_name = {each["properties"]["name"]: each for each in found["features"]}
    assert by_name["odd,\nvery"]["geometry"] == {
        "type": "Point",
        "coordinates": labelled.slide.centres[5].tolist(),
    }
    assert by_name["odd,\nvery"]["properties"]["description"].startswith("Ben, 20")
    (ring,) = by_name["fold"]["geometry"]["coordinates"]
    assert len(ring) == 5
    assert ring[0] == ring[-1]
    assert found["notes"] == ["=blurred"]


def test_what_was_drawn_for_a_note_goes_into_every_file_as_it_was_drawn(labelled, tmp_path):
    left, top = labelled.slide.centres.min(axis=0)
    # A notch, in whose box more patches lie.
    outline = tuple((left + x, top + y) for x, y in ((-1, -1), (700, -1), (300, 300), (-1, 700)))
    box = (left - 1, top - 1, left + 700, top + 700)
    session = labelled.session.note(
        "drawn", patch=str(labelled.slide.patch_names[0]), box=box, outline=outline
    )
    drawn = type(labelled).of(labelled.slide, session, labelled.every)
    FORMATS["geojson"].write(drawn, tmp_path / "out.geojson")
    found = json.loads((tmp_path / "out.geojson").read_text())
    (mark,) = [each for each in found["features"] if each["properties"]["name"] == "drawn"]
    assert mark["geometry"]["coordinates"] == [[list(each) for each in (*outline, outline[0])]]
    FORMATS["csv"].write(drawn, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        noted = [number for number, row in enumerate(csv.DictReader(file)) if "drawn" in row["note"]]
    inside = contains_xy(Polygon(outline), *labelled.slide.centres.T)
    assert noted == np.flatnonzero(inside).tolist()
    in_box = ((labelled.slide.centres >= box[:2]) & (labelled.slide.centres <= box[2:])).all(axis=1)
    assert 0 < inside.sum() < in_box.sum()
    FORMATS["html"].write(drawn, tmp_path / "out.html")
    assert "to " in (tmp_path / "out.html").read_text().split("drawn")[0].rpartition("<dd")[2]


def test_the_report_tells_who_reviewed_it_what_was_looked_at_and_the_notes(labelled, tmp_path):
    FORMATS["html"].write(labelled, tmp_path / "out.html")
    text = (tmp_path / "out.html").read_text()
    assert "<dt>Reviewed</dt><dd>Carla, 20" in text
    assert "50 % of the patches at 10x or nearer" in text  # the file does not tell tissue
    assert "<dt>Note</dt><dd>the slide: =blurred (Anna, 20" in text
    FORMATS["pdf"].write(labelled, tmp_path / "out.pdf")
    assert (tmp_path / "out.pdf").read_bytes().startswith(b"%PDF")


def test_what_was_looked_at_is_a_share_of_the_tissue_where_the_file_tells_it(tmp_path):
    path, truth = write_mosaic(tmp_path, "told")
    adata = anndata.read_h5ad(path)
    adata.obs["tissue"] = np.where(np.arange(adata.n_obs) % 4 == 0, 1.0, 0.5)
    adata.write_h5ad(path)
    slide = open_slide_file(path)
    session = Session.new(slide).with_seen(np.arange(slide.n_patches) % 4 == 0)
    for patch, each in seeds_of(path, truth, per_class=4).items():
        session = session.seed([patch], each)
    FORMATS["html"].write(label(slide, session), tmp_path / "out.html")
    assert "40 % of the tissue at 10x or nearer" in (tmp_path / "out.html").read_text()


def test_without_any_of_it_files_are_as_ever(labelled, tmp_path):
    bare = labelled.session
    for _ in range(4):
        bare = bare.undo()
    plain = type(labelled).of(labelled.slide, bare.model_copy(update={"seen": ""}), labelled.every)
    FORMATS["csv"].write(plain, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines()[0] == "patch,x,y,label,score,seed"
    FORMATS["geojson"].write(plain, tmp_path / "out.geojson")
    assert json.loads((tmp_path / "out.geojson").read_text()).keys() == {"type", "features"}
