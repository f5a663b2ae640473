"""Seeds from other programs: the right patches, and all that is left out is told.

The slide has 12 columns and 8 rows of patches of 256 px, 128 px apart: the patch of column i and row j covers
x from 128 i to 128 i + 256 and y likewise, and its cell is the middle 128 px.
"""

import json
import logging

import h5py
import numpy as np
import pytest
import tifffile
from making.drawings import box, feature, write_asap, write_geojson, write_imagescope, write_ndpa
from making.files import write_small_h5ad
from PIL import Image

from tissuumaps_sic.annotation.bringing import bring_seeds, read_renaming
from tissuumaps_sic.annotation.classes import DEFAULT_CLASSES, SeedClass
from tissuumaps_sic.annotation.history import list_steps, tell_undo
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.seed_files import open_seed_file
from tissuumaps_sic.annotation.seeds import find_seeds, is_session, read_seeds
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import load_session, save_session, session_path
from tissuumaps_sic.slides.slide import open_slide_file

SIZE = (1700, 1200)
# 500 nm a pixel; the corner lies 2 mm left of and 1.5 mm above the middle of the glass slide.
STAGE = (-2_000_000.0, -1_500_000.0, 500.0, 500.0)
# Whole in columns and rows 0 to 2, half in column 3 or row 3, a quarter in both.
BOX = box(0, 0, 512, 512)
IN_BOX = {(i, j) for i in range(4) for j in range(4)} - {(3, 3)}


def make_slide(folder, **slide):
    path = write_small_h5ad(folder / "small.h5ad")
    with h5py.File(path, "r+") as file:
        told = {"size": SIZE, "bounds": [0, 0, *SIZE], **slide}
        file["uns/embedder"] = json.dumps({"slide": told, "grid": {"patch_size0": 256}})
    return open_slide_file(path)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return make_slide(tmp_path_factory.mktemp("seeds"), stage=STAGE)


def bring(path, slide, *, known=(), renaming=None, inside=0.5, **options):
    return bring_seeds(open_seed_file(path, slide, **options), known, renaming=renaming, inside=inside)


def places(brought, slide, name):
    """Return columns and rows of the patches that have a class."""
    number = [each.name for each in brought.classes].index(name)
    corners = slide.centres[brought.labels == number] - 128
    return {(int(x) // 128, int(y) // 128) for x, y in corners}


# -------------------------------------------------------------------------------------- the right places

HOLE = box(128, 128, 384, 384)  # all of patch (1, 1), and a quarter or half of its neighbours


def _qupath(path):
    return write_geojson(path.with_suffix(".geojson"), feature("Polygon", [BOX, HOLE], "Tumor"))


def _multi(path):
    parts = [[box(0, 0, 256, 512), box(128, 128, 256, 384)], [box(256, 0, 512, 512), box(256, 128, 384, 384)]]
    return write_geojson(path.with_suffix(".geojson"), feature("MultiPolygon", parts, "Tumor"))


def _imagescope(path):
    return write_imagescope(path.with_suffix(".xml"), Tumor=[(BOX, False), (HOLE, True)])


def _asap_parts(path):
    parts = [box(0, 0, 512, 128), box(0, 384, 512, 512), box(0, 128, 128, 384), box(384, 128, 512, 384)]
    return write_asap(path.with_suffix(".xml"), Tumor=[("Polygon", part[:4]) for part in parts])


def _ndpa_parts(path):
    parts = [box(0, 0, 512, 128), box(0, 384, 512, 512), box(0, 128, 128, 384), box(384, 128, 512, 384)]
    return write_ndpa(path.with_suffix(".ndpa"), STAGE, Tumor=parts)


def _mask(path):
    scale = 4
    values = np.zeros((SIZE[1] // scale, SIZE[0] // scale), np.uint8)
    values[: 512 // scale, : 512 // scale] = 7
    values[128 // scale : 384 // scale, 128 // scale : 384 // scale] = 0
    Image.fromarray(values).save(path.with_suffix(".png"))
    return path.with_suffix(".png")


@pytest.mark.parametrize("make", [_qupath, _multi, _imagescope, _asap_parts, _ndpa_parts, _mask])
def test_every_program_s_drawing_gives_the_same_patches(tmp_path, slide, make):
    brought = bring(make(tmp_path / "drawn"), slide)
    name = "7" if make is _mask else "Tumor"
    # By hand: a patch is covered by what of it is in the box and not in the hole, of 256 x 256.
    expected = set()
    for i in range(12):
        for j in range(8):
            in_box = min(1, max(0, 512 - 128 * i) / 256) * min(1, max(0, 512 - 128 * j) / 256)
            across, down = (max(0, min(384, 128 * k + 256) - max(128, 128 * k)) / 256 for k in (i, j))
            if in_box - across * down >= 0.5:
                expected.add((i, j))
    assert (1, 1) not in expected
    assert (0, 0) in expected
    assert places(brought, slide, name) == expected
    assert [each.name for each in brought.classes] == [name]


def test_the_share_that_is_asked_for_decides_and_the_rest_is_told(tmp_path, slide):
    path = write_geojson(tmp_path / "a.geojson", feature("Polygon", [BOX], "Tumor"))
    half = bring(path, slide)
    assert places(half, slide, "Tumor") == IN_BOX
    assert half.told == ("left out 1 patch less than 50% inside a drawing",)
    whole = bring(path, slide, inside=1.0)
    assert places(whole, slide, "Tumor") == {(i, j) for i in range(3) for j in range(3)}
    assert whole.told == ("left out 7 patches less than 100% inside a drawing",)
    quarter = bring(path, slide, inside=0.25)
    assert places(quarter, slide, "Tumor") == IN_BOX | {(3, 3)}
    assert quarter.told == ()


def test_a_point_seeds_the_patch_whose_cell_holds_it(tmp_path, slide):
    # Cells reach 64 px around centres, which are at 128, 256, ...
    points = [[128, 128], [191, 128], [193, 128], [1000, 700], [20, 20], [5000, 5000]]
    path = write_geojson(tmp_path / "a.geojson", feature("MultiPoint", points[:4], "Tumor"))
    brought = bring(path, slide)
    assert places(brought, slide, "Tumor") == {(0, 0), (1, 0), (7, 4)}
    assert brought.told == ()
    path = write_geojson(
        tmp_path / "b.geojson", *(feature("Point", point, "Tumor") for point in (*points[:1], *points[4:]))
    )
    brought = bring(path, slide)
    assert places(brought, slide, "Tumor") == {(0, 0)}
    assert brought.told == ("1 drawing lies outside the slide", "2 drawings lie on no patch")


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_nested_keeps_its_own_class_whatever_the_order(tmp_path, slide, order):
    drawn = [feature("Polygon", [BOX], "Tissue"), feature("Polygon", [HOLE], "Tumor")][::order]
    brought = bring(write_geojson(tmp_path / "a.geojson", *drawn), slide)
    assert places(brought, slide, "Tumor") >= {(1, 1)}
    assert (0, 0) in places(brought, slide, "Tissue")
    assert not places(brought, slide, "Tumor") & places(brought, slide, "Tissue")
    assert any("in drawings of two classes, the smaller drawing counts" in each for each in brought.told)


@pytest.mark.parametrize(("of", "renaming"), [("Necrosis", {"necrosis": None}), ("Ignore*", None)])
def test_what_lies_in_a_drawing_that_is_left_out_is_no_seed(tmp_path, slide, of, renaming):
    drawn = [feature("Polygon", [HOLE], of), feature("Polygon", [BOX], "Tumor")]
    brought = bring(write_geojson(tmp_path / "a.geojson", *drawn), slide, renaming=renaming)
    # A half of each neighbour beside it is left out.
    assert places(brought, slide, "Tumor") == IN_BOX - {(1, 1), (0, 1), (1, 0), (1, 2), (2, 1)}
    assert "left out 1 patch in drawings that are left out" in brought.told
    assert not any("the smaller drawing counts" in told for told in brought.told)
    # A larger one around a class leaves it as it is, and a point is nearer than what is drawn.
    drawn = [feature("Polygon", [box(0, 0, 1000, 1000)], of), feature("Polygon", [BOX], "Tumor")]
    brought = bring(write_geojson(tmp_path / "b.geojson", *drawn), slide, renaming=renaming)
    assert {(i, j) for i in range(3) for j in range(3)} <= places(brought, slide, "Tumor") <= IN_BOX
    drawn = [feature("Polygon", [HOLE], of), feature("Point", [256, 256], "Tumor")]
    brought = bring(write_geojson(tmp_path / "c.geojson", *drawn), slide, renaming=renaming)
    assert places(brought, slide, "Tumor") == {(1, 1)}


@pytest.mark.parametrize("small", [feature("Polygon", [HOLE]), feature("Polygon", [HOLE], name="a note")])
def test_what_has_no_class_takes_nothing_from_a_class(tmp_path, slide, small):
    path = write_geojson(tmp_path / "a.geojson", small, feature("Polygon", [BOX], "Tumor"))
    assert places(bring(path, slide), slide, "Tumor") == IN_BOX


def test_points_of_two_classes_in_a_patch_are_no_seed_whatever_is_drawn_there(tmp_path, slide):
    drawn = [
        feature("Polygon", [BOX], "B"),
        feature("Point", [130, 130], "B"),
        feature("Point", [120, 120], "A"),
    ]
    brought = bring(write_geojson(tmp_path / "a.geojson", *drawn), slide)
    assert places(brought, slide, "B") == IN_BOX - {(0, 0)}
    assert "left out 1 patch that two classes cover alike" in brought.told


def test_a_hole_of_another_region_makes_none_smaller(tmp_path, slide):
    # An angle, and in the box around it another region, whose hole is larger than the angle.
    angle = [[0, 0], [1024, 0], [1024, 256], [256, 256], [256, 1024], [0, 1024]]
    regions = [(angle, False), (box(300, 300, 1024, 1024), False), (box(320, 320, 1010, 1010), True)]
    path = write_imagescope(tmp_path / "a.xml", Tumor=regions, Stroma=[(box(0, 256, 256, 1024), False)])
    brought = bring(path, slide)
    assert {(0, 2), (0, 3), (0, 4)} <= places(brought, slide, "Stroma")
    assert (0, 0) in places(brought, slide, "Tumor")


def test_halves_of_two_classes_are_no_seed_and_a_point_decides(tmp_path, slide):
    left, right = box(0, 0, 128, 256), box(128, 0, 256, 256)
    drawn = [feature("Polygon", [left], "A"), feature("Polygon", [right], "B")]
    brought = bring(write_geojson(tmp_path / "a.geojson", *drawn), slide)
    assert (0, 0) not in places(brought, slide, "A") | places(brought, slide, "B")
    assert "left out 1 patch that two classes cover alike" in brought.told
    point = feature("Point", [130, 130], "B")
    brought = bring(write_geojson(tmp_path / "b.geojson", *drawn, point), slide)
    assert (0, 0) in places(brought, slide, "B")
    both = [feature("Point", [130, 130], "B"), feature("Point", [120, 120], "A")]
    brought = bring(write_geojson(tmp_path / "c.geojson", *both), slide)
    assert brought.counts == [0, 0]
    assert "left out 1 patch that two classes cover alike" in brought.told


def test_qupath_counts_from_the_corner_of_what_was_scanned_by_choice(tmp_path):
    slide = make_slide(tmp_path, bounds=[128, 256, 1000, 800])
    path = write_geojson(tmp_path / "a.geojson", feature("Polygon", [BOX], "Tumor"))
    assert places(bring(path, slide), slide, "Tumor") == {
        (i, j) for i in range(12) for j in range(8) if covered(i, 128, 640) * covered(j, 256, 768) >= 0.5
    }
    assert places(bring(path, slide, from_bounds=False), slide, "Tumor") == IN_BOX
    xml = write_imagescope(tmp_path / "a.xml", Tumor=[(BOX, False)])
    assert places(bring(xml, slide), slide, "Tumor") == IN_BOX
    assert (1, 2) in places(bring(xml, slide, from_bounds=True), slide, "Tumor")


def covered(k, low, high):
    return max(0, min(high, 128 * k + 256) - max(low, 128 * k)) / 256


# --------------------------------------------------------------------------------- classes and the report


def test_classes_are_matched_by_name_and_new_ones_have_the_file_s_colour(tmp_path, slide):
    path = write_geojson(
        tmp_path / "a.geojson",
        feature("Point", [128, 128], " tumor"),
        feature("Point", [256, 128], "Stroma"),
        feature("Point", [384, 128], "Other"),
        feature("Point", [512, 128], "Immune: CD3"),
        feature("Point", [640, 128], "Ignore*"),
        feature("Point", [768, 128], None),
        feature("Point", [896, 128], None, name="a note"),
    )
    known = (
        *DEFAULT_CLASSES,
        SeedClass(name="Tumor", color="#112233"),
        SeedClass(name="Immune", color="#445566"),
    )
    brought = bring(path, slide, known=known)
    assert brought.classes == (*known, SeedClass(name="Stroma", color="#96c896"))
    assert brought.counts == [1, 0, 1, 1, 1]
    assert {each.of.name: (each.target, each.n_seeds) for each in brought.listed} == {
        "": (None, 0),
        "Ignore*": (None, 0),
        "Immune: CD3": ("Immune", 1),
        "Other": ("Other", 1),
        "Stroma": ("Stroma", 1),
        "a note": (None, 0),
        "tumor": ("Tumor", 1),
    }
    assert brought.told == (
        "left out 1 drawing without a class",
        "left out 1 drawing of class Ignore* (QuPath ignores names that end in *)",
        "left out 1 drawing of class a note (it is a name, not a class)",
    )


def test_a_table_corrects_the_classes(tmp_path, slide):
    path = write_geojson(
        tmp_path / "a.geojson",
        feature("Polygon", [box(0, 0, 128, 256)], "G3"),
        feature("Polygon", [box(128, 0, 256, 256)], "G4: cribriform"),
        feature("Point", [640, 128], None),
        feature("Point", [768, 128], "Artefact"),
    )
    table = tmp_path / "map.csv"
    table.write_text("from,to\ng3,Tumour\nG4,Tumour\n,Other\nartefact,\nGland,Other\n")
    brought = bring(path, slide, known=DEFAULT_CLASSES, renaming=read_renaming(table))
    # Two halves of one class are a whole.
    assert (0, 0) in places(brought, slide, "Tumour")
    assert places(brought, slide, "Other") == {(4, 0)}
    assert brought.classes == DEFAULT_CLASSES
    assert [(each.of.name, each.target) for each in brought.listed] == [
        ("", "Other"),
        ("Artefact", None),
        ("G3", "Tumour"),
        ("G4: cribriform", "Tumour"),
    ]
    assert "left out 1 drawing of class Artefact" in brought.told
    assert any(each.startswith("has no class gland to rename; its classes are") for each in brought.told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("from,into\na,b\n", "needs the columns from,to"),
        ("from,to\na,b\nA ,c\n", "line 3: A is in an earlier line already"),
        ("", "is empty"),
    ],
)
def test_a_table_of_classes_that_is_none_is_refused(tmp_path, text, told):
    path = tmp_path / "map.csv"
    path.write_text(text)
    with pytest.raises(SessionError, match=rf"^map\.csv.*{told}"):
        read_renaming(path)


def test_a_class_without_seeds_is_told(tmp_path, slide):
    path = write_geojson(
        tmp_path / "a.geojson",
        feature("Polygon", [BOX], "Tumor"),
        feature("Polygon", [box(600, 600, 620, 620)], "Tiny"),
        feature("Polygon", [box(1670, 1160, 1690, 1190)], "Beside"),
        feature("LineString", [[0, 0], [9, 9]], "Tumor"),
    )
    brought = bring(path, slide)
    assert brought.told[:3] == (
        "left out 1 line (feature 4)",
        "no seed from 1 drawing of class Beside",
        "no seed from 1 drawing of class Tiny",
    )
    assert "1 drawing lies on no patch" in brought.told


def test_a_csv_is_mapped_too(tmp_path, slide):
    path = tmp_path / "seeds.csv"
    path.write_text("x,y,class\n128,128,1\n256,128,0\n")
    brought = bring(path, slide, known=DEFAULT_CLASSES)
    assert brought.classes == DEFAULT_CLASSES
    assert (places(brought, slide, "Tumour"), places(brought, slide, "Other")) == ({(0, 0)}, {(1, 0)})
    brought = bring(path, slide, known=DEFAULT_CLASSES, renaming={"0": "Stroma", "1": None})
    assert brought.counts == [0, 0, 1]


def test_classes_of_a_table_that_become_one_are_counted_by_themselves(tmp_path, slide, caplog):
    path = tmp_path / "seeds.csv"
    rows = ["small_0_0,TumorA", "small_0_0,TumorB", "small_128_0,TumorA", "small_128_0,TumorA"]
    path.write_text("\n".join(["patch,class", *rows, "small_256_0,Stroma"]))
    brought = bring(path, slide, renaming={"tumora": "Tumor", "tumorb": "Tumor"})
    assert {each.of.name: each.n_seeds for each in brought.listed} == {"Stroma": 1, "TumorA": 2, "TumorB": 1}
    assert places(brought, slide, "Tumor") == {(0, 0), (1, 0)}
    assert caplog.messages == ["seeds.csv: 2 lines repeat the seed of an earlier line"]
    with pytest.raises(SessionError, match="gives patch small_0_0 the class TumorB, and line 2 TumorA"):
        bring(path, slide)


def test_a_mask_of_cells_by_number_is_refused(tmp_path, slide):
    values = np.arange(300, dtype=np.uint16).reshape(12, 25)[:, :17]
    Image.fromarray(values).save(tmp_path / "cells.png")
    with pytest.raises(SessionError, match=r"cells\.png: has 204 values.*not cells"):
        open_seed_file(tmp_path / "cells.png", slide)
    with pytest.raises(SessionError, match="more than the"):
        open_seed_file(tmp_path / "cells.png", slide, most_pixels=100)


# ------------------------------------------------------------------------------------------ for a command


def test_seeds_of_drawings_are_read_for_a_run(tmp_path, slide, caplog):
    caplog.set_level(logging.INFO)
    path = write_geojson(
        tmp_path / "a.geojson",
        feature("Polygon", [BOX], "Tumor"),
        feature("Point", [1000, 700], "Stroma"),
        feature("Point", [1300, 700], "Ignore*"),
    )
    seeds = read_seeds(path, slide, positive="tumor")
    assert [each.name for each in seeds.classes] == ["Stroma", "Tumor"]
    assert [each.color for each in seeds.classes] == ["#96c896", "#c80000"]
    assert sorted(seeds.patches.values()) == [0] + [1] * len(IN_BOX)
    assert seeds.patches["small_896_512"] == 0
    assert caplog.messages == [
        "a.geojson: seeds: 1 of Stroma, 15 of Tumor",
        "a.geojson: left out 1 drawing of class Ignore* (QuPath ignores names that end in *)",
        "a.geojson: left out 1 patch less than 50% inside a drawing",
    ]
    with pytest.raises(SessionError, match="say which of the classes Stroma and Tumor is the positive one"):
        read_seeds(path, slide)
    with pytest.raises(SessionError, match=r"has seeds of 1 class \("):
        read_seeds(path, slide, renaming={"stroma": None})
    assert [each.name for each in read_seeds(path, slide, renaming={"ignore*": "Fat"}).classes] == [
        "Fat",
        "Stroma",
        "Tumor",
    ]


def test_a_json_is_a_session_or_a_drawing_by_what_it_holds(tmp_path, slide):
    drawn = write_geojson(
        tmp_path / "small.json", feature("Polygon", [BOX], "A"), feature("Point", [1300, 700], "B")
    )
    assert not is_session(drawn)
    assert len(read_seeds(drawn, slide, positive="A").patches) == 16
    session = Session.new(slide).seed([slide.patch_names[0]], 1).note('{"type": "Feature"}')
    save_session(session_path(slide.path), session)
    assert is_session(session_path(slide.path))
    assert read_seeds(session_path(slide.path), slide).patches == {slide.patch_names[0]: 1}
    with pytest.raises(SessionError, match="whose classes are its own"):
        read_seeds(session_path(slide.path), slide, renaming={"a": "b"})


def test_a_folder_is_searched_by_the_slides_names(tmp_path):
    (tmp_path / "b.ndpi.ndpa").touch()
    (tmp_path / "a.csv").touch()
    (tmp_path / "a.geojson").touch()
    assert find_seeds(tmp_path, ["b"]).name == "b.ndpi.ndpa"
    assert find_seeds(tmp_path, ["x", "a"]).name == "a.geojson"
    assert find_seeds(tmp_path, ["c"]) is None


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.geojson", b"{", "is no GeoJSON"),
        ("a.xml", b'<!DOCTYPE a [<!ENTITY b "c">]><Annotations>&b;</Annotations>', "document type"),
        ("a.png", b"no picture", "cannot be read as a mask"),
        ("a.csv", b"\0", "is no text"),
        ("a.h5ad", b"", "is not a file of seeds; give drawings, a mask, a session"),
    ],
)
def test_what_is_none_is_one_line(tmp_path, slide, name, content, told):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SessionError, match=f"^{name}: .*{told}") as error:
        read_seeds(path, slide)
    assert "\n" not in str(error.value)


def test_all_outside_is_refused_with_what_is_wrong(tmp_path, slide):
    path = write_geojson(
        tmp_path / "a.geojson", feature("Point", [90000, 5], "A"), feature("Point", [90000, 9], "B")
    )
    with pytest.raises(SessionError, match="all 2 drawings lie outside the slide"):
        read_seeds(path, slide)


# -------------------------------------------------------------------------------------------- in a session


def take(session, brought, **options):
    return session.bring(brought.labels, brought.classes, **options)


def test_a_session_takes_them_as_one_step_that_can_be_undone(tmp_path, slide):
    path = write_geojson(
        tmp_path / "a.geojson", feature("Polygon", [BOX], "Tumor"), feature("Point", [1000, 700], "Stroma")
    )
    session = Session.new(slide)
    brought = bring(path, slide, known=session.classes)
    after = take(session, brought, source=path.name, user="me")
    # None of the two that it began with was used.
    assert [each.name for each in after.classes] == ["Stroma", "Tumor"]
    assert after.seed_counts == [1, 15]
    assert tell_undo(after).text == "16 seeds from a.geojson"
    back = after.undo()
    assert (back.classes, back.seed_counts) == (session.classes, [0, 0])
    assert back.redo().seeds == after.seeds
    assert list_steps(after)[0].user == "me"
    # Beside what is there, and over it.
    used = Session.new(slide).seed(["small_0_0", "small_1280_0"], 1)
    after = take(used, bring(path, slide, known=used.classes))
    assert [each.name for each in after.classes] == ["Other", "Tumour", "Stroma", "Tumor"]
    assert after.seed_counts == [0, 1, 1, 15]
    with pytest.raises(SessionError, match="no seed"):
        take(used, bring(path, slide, known=used.classes, renaming={"tumor": None, "stroma": None}))


@pytest.mark.parametrize("n_more", [0, 3000])
def test_a_session_with_brought_seeds_is_read_again(tmp_path, n_more):
    slide = make_slide(tmp_path)
    path = write_geojson(
        tmp_path / "a.geojson",
        feature("Polygon", [box(0, 0, 1664, 1152)], "Tumor"),
        feature("MultiPoint", [[1000, 700], [900, 600]], "Stroma"),
    )
    session = Session.new(slide)
    session = take(session, bring(path, slide, known=session.classes), source=path.name)
    names = [str(name) for name in slide.patch_names]
    for number in range(0, n_more, 90):
        session = session.seed(names[:90], number % 2)
    session = session.add_class(SeedClass(name="third", color="#123456")).undo()
    file = session_path(slide.path)
    save_session(file, session)
    assert ('"rows"' in file.read_text()) == (n_more > 0)
    assert '"tissuumaps-sic/session/5"' in file.read_text()
    read = load_session(file, slide)
    assert read == session
    assert read.seeds == session.seeds
    assert read.restore(1, branch=None).seed_counts == [2, 94]
    assert read.redo().classes[-1].name == "third"
    numbers = [each.number for each in read.actions[0].added]
    assert read.actions[-1].number not in [0, 1, *numbers]


def test_a_mask_of_our_own_tells_its_classes(tmp_path, slide):
    values = np.zeros((SIZE[1] // 4, SIZE[0] // 4), np.uint8)
    values[:128, :128], values[:128, 256:] = 1, 2
    described = {"values": {"0": "no patch", "1": "Tumor", "2": "Fat"}, "colors": {"1": "#c80000", "2": "x"}}
    path = tmp_path / "slide_mask.tif"
    tifffile.imwrite(path, values, description=json.dumps(described), metadata=None)
    brought = bring(path, slide)
    assert brought.counts == [15, 19]
    assert brought.classes[0] == SeedClass(name="Tumor", color="#c80000")
    assert [(each.of.name, each.target) for each in brought.listed] == [
        ("0", None),
        ("Tumor", "Tumor"),
        ("Fat", "Fat"),
    ]
    for odd in ("{", "[]", '{"values": {"1": "A", "2": "a "}, "colors": {}}', '{"values": 3, "colors": 4}'):
        tifffile.imwrite(path, values, description=odd, metadata=None)
        assert [each.of.name for each in bring(path, slide).listed] == ["0", "1", "2"]
