"""Shares against areas known by construction, and against brute force over every pixel."""

import gzip
import json

import anndata
import h5py
import numpy as np
import pytest
import pyvips
from making.files import write_small_h5ad
from PIL import Image

from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.truth.classes import TruthClasses, TruthError
from tissuumaps_sic.truth.squares import PatchSquares, patch_squares
from tissuumaps_sic.truth.truth import find_truth, read_truth

ONE = TruthClasses.binary("1")
TUMOUR = TruthClasses.binary("Tumour")


def squares(*corners, size0=64.0, slide_size=(256, 256), bounds=None):
    """Patches by their top-left corners."""
    return PatchSquares(np.array(corners, float) + size0 / 2, size0, slide_size, bounds)


def grid(slide_size, size0, stride):
    """Every patch of a slide."""
    columns, rows = (int((side - size0) // stride + 1) for side in slide_size)
    y, x = (each.ravel() * stride for each in np.mgrid[0:rows, 0:columns])
    return PatchSquares(np.column_stack([x, y]) + size0 / 2, size0, slide_size, None)


def save(path, values, **options):
    Image.fromarray(np.asarray(values)).save(path, **options)
    return path


def polygon(*rings, name="Tumour"):
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[list(p) for p in ring] for ring in rings]},
        "properties": {"objectType": "annotation", "classification": {"name": name, "color": [200, 0, 0]}},
    }


def box(x0, y0, x1, y1):
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]


def geojson(path, *features):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return path


def asap(path, *annotations, groups=""):
    """ASAP's XML from (group, type, points), the points in disorder as their Order allows."""
    parts = []
    for position, (group, kind, points) in enumerate(annotations):
        listed = [f'<Coordinate Order="{i}" X="{x}" Y="{y}" />' for i, (x, y) in enumerate(points)]
        parts.append(
            f'<Annotation Name="Annotation {position}" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58">'
            f"<Coordinates>{''.join(reversed(listed))}</Coordinates></Annotation>"
        )
    path.write_text(
        '<?xml version="1.0"?>\n<ASAP_Annotations><Annotations>'
        + "".join(parts)
        + f"</Annotations><AnnotationGroups>{groups}</AnnotationGroups></ASAP_Annotations>"
    )
    return path


# ----------------------------------------------------------------------------------------------- masks


def test_a_mask_at_full_size_gives_exact_shares_at_fractional_edges(tmp_path):
    mask = np.zeros((256, 256), np.uint8)
    mask[:, 100:] = 1
    path = save(tmp_path / "mask.png", mask)
    truth = read_truth(path, squares((0, 0), (68, 0), (67.75, 0.5), (68.25, 3), (150, 7)), ONE)
    assert truth.shares[:, 1] == pytest.approx([0, 0.5, 31.75 / 64, 32.25 / 64, 1], abs=1e-6)
    assert truth.shares.sum(axis=1) == pytest.approx(1)
    assert truth.shares.dtype == np.float32
    # At least one half is positive.
    assert truth.labels.tolist() == [0, 1, 0, 1, 1]
    assert truth.labels.dtype == np.int64
    assert truth.names == ("Other", "Positive")
    assert truth.found == ("0", "1")


def test_a_mask_at_a_sixteenth_is_laid_over_the_whole_slide(tmp_path):
    mask = np.zeros((8, 16), np.uint8)  # of a slide of 256 x 128
    mask[2, 5] = 1  # x 80 to 96, y 32 to 48
    path = save(tmp_path / "mask.png", mask)
    truth = read_truth(path, squares((80, 32), (72, 36), (0, 0), size0=16.0, slide_size=(256, 128)), ONE)
    assert truth.shares[:, 1] == pytest.approx([1, 0.5 * 0.75, 0])


def test_a_mask_whose_sides_were_rounded_still_ends_where_the_slide_ends(tmp_path):
    mask = np.zeros((6, 16), np.uint8)  # of a slide of 250 x 100, at 1/16: 15.6 x 6.25
    mask[3:] = 1
    places = squares((0, 40), (0, 50), (230, 80), size0=20.0, slide_size=(250, 100))
    truth = read_truth(save(tmp_path / "mask.png", mask), places, ONE)
    assert truth.shares[:, 1] == pytest.approx([0.5, 1, 1])


@pytest.mark.parametrize("scale", [1, 3, 16])
def test_masks_agree_with_brute_force_at_any_scale(tmp_path, monkeypatch, scale):
    # Blocks so small that patches of several lie over each other's edges.
    monkeypatch.setattr("tissuumaps_sic.truth.rasters._BLOCK", 40)
    rng = np.random.default_rng(scale)
    mask = rng.integers(0, 4, size=(288 // scale, 384 // scale), dtype=np.uint8)
    path = save(tmp_path / "mask.png", mask)
    places = grid((384, 288), 50.0, 17)
    truth = read_truth(path, places, TruthClasses.parse(["A=1", "B=2,3", "Rest=*"]))
    full = mask.repeat(scale, axis=0).repeat(scale, axis=1)
    for (x, y), shares in zip(places.centres.astype(int) - 25, truth.shares, strict=True):
        patch = full[y : y + 50, x : x + 50]
        assert shares == pytest.approx([(patch == 1).mean(), (patch >= 2).mean(), (patch == 0).mean()])


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "LA", "I;16", "1", "bits2"])
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_a_masks_values_are_the_same_in_every_kind_of_pixel(tmp_path, mode, ending):
    values = np.zeros((256, 256), np.uint8)
    values[:, 128:] = 1
    path = tmp_path / f"mask{ending}"
    image = Image.fromarray(values)
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 0, 0])
    elif mode == "1":
        image = Image.fromarray(values.astype(bool))
    elif mode == "I;16":
        image = Image.fromarray(values.astype(np.uint16))
    elif mode == "bits2":
        pyvips.Image.new_from_array((values * 85).astype(np.uint8)).write_to_file(str(path), bitdepth=2)
    else:
        image = image.convert(mode)
    if mode != "bits2":
        image.save(path)
    truth = read_truth(path, squares((0, 0), (64, 0), (112, 0), (128, 0)), ONE)
    assert truth.shares[:, 1] == pytest.approx([0, 0, 0.75, 1])
    assert truth.found == ("0", "1")


def test_a_tiled_pyramid_is_read_at_its_finest_level_and_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("tissuumaps_sic.truth.rasters._BLOCK", 300)
    rng = np.random.default_rng(0)
    values = (rng.random((900, 1100)) < 0.3).astype(np.uint8) * 200
    path = tmp_path / "mask.tif"
    pyvips.Image.new_from_array(values).tiffsave(
        str(path), tile=True, tile_width=128, tile_height=128, pyramid=True, compression="deflate"
    )
    places = grid((1100, 900), 90.0, 45)
    truth = read_truth(path, places, TruthClasses.binary("200"))
    expected = [(values[y : y + 90, x : x + 90] > 0).mean() for x, y in (places.centres - 45).astype(int)]
    assert truth.shares[:, 1] == pytest.approx(expected)


def test_unnamed_values_are_not_counted_and_of_two_classes_the_rest_is_negative(tmp_path):
    mask = np.full((64, 256), 9, np.uint8)
    mask[:26, :64] = 1  # patch 0: 26 rows positive, 38 not named
    mask[:26, 64:128], mask[26:, 64:128] = 1, 4  # patch 1: 26 positive, 38 negative
    mask[:30, 128:192], mask[30:40, 128:192] = 1, 4  # patch 2: 30 positive, 10 negative, 24 not named
    path = save(tmp_path / "mask.png", mask)
    places = squares((0, 0), (64, 0), (128, 0), (192, 0), slide_size=(256, 64))
    truth = read_truth(path, places, TruthClasses.parse(["Stroma=4", "Gland=1"]))
    assert truth.labels.tolist() == [-1, 0, 0, -1]
    assert truth.shares[2] == pytest.approx([10 / 64, 30 / 64])
    assert truth.found == ("1", "4", "9")


def test_of_three_classes_a_patch_has_the_one_that_covers_half_or_none(tmp_path):
    mask = np.zeros((64, 256), np.uint8)
    mask[:32, :64], mask[32:, :64] = 2, 1
    mask[:30, 64:128], mask[30:50, 64:128], mask[50:, 64:128] = 2, 1, 0
    mask[:, 128:192] = 1
    path = save(tmp_path / "mask.png", mask)
    places = squares((0, 0), (64, 0), (128, 0), (192, 0), slide_size=(256, 64))
    truth = read_truth(path, places, TruthClasses.parse(["Zero=0", "One=1", "Two=2"]))
    assert truth.labels.tolist() == [1, -1, 1, 0]


def test_a_mask_of_the_bounds_alone_lies_on_them(tmp_path):
    path = save(tmp_path / "mask.png", np.ones((10, 40), np.uint8))
    places = squares((100, 50), (100, 40), (0, 0), size0=20.0, bounds=(100, 50, 80, 20))
    assert read_truth(path, places, ONE).shares[:, 1] == pytest.approx([1, 0.5, 0])


def test_the_mosaics_masks_have_their_known_share_of_tumour(shared_data):
    classes = TruthClasses.parse(["Healthy=1", "Tumour=2"])
    for number in (1, 3):
        path = find_truth(shared_data / "mosaics", [f"mosaic_{number}"])
        mask = np.asarray(Image.open(path))
        places = grid((5376, 5376), 256.0, 128)
        truth = read_truth(path, places, classes)
        full = mask.repeat(16, axis=0).repeat(16, axis=1)
        for (x, y), shares in list(zip((places.centres - 128).astype(int), truth.shares, strict=True))[::37]:
            patch = full[y : y + 256, x : x + 256]
            assert shares == pytest.approx([(patch == 1).mean(), (patch == 2).mean()])
        assert truth.found == ("0", "1", "2")
        assert set(truth.labels) == {-1, 0, 1}


# -------------------------------------------------------------------------------------------- polygons


def test_polygons_give_the_shares_of_their_areas_and_holes_are_empty(tmp_path):
    path = geojson(
        tmp_path / "slide.geojson",
        polygon(box(0, 0, 128, 128), box(16, 16, 48, 48)),
        polygon(box(160, 0, 176.5, 64)),
    )
    truth = read_truth(path, squares((0, 0), (64, 64), (96, 96), (128, 0), (192, 192)), TUMOUR)
    # At 64 pixels a patch, 16.5 pixels are 17 by their centres.
    assert truth.shares[:, 1] == pytest.approx([1 - 0.25, 1, 0.25, 16.5 / 64, 0], abs=0.5 / 64)
    assert truth.shares[:3, 1] == pytest.approx([0.75, 1, 0.25])
    assert truth.labels.tolist() == [1, 1, 0, 0, 0]
    assert truth.found == ("Tumour",)


def test_round_outlines_agree_with_geometry(tmp_path):
    angle = np.linspace(0, 2 * np.pi, 2001)
    centre, radius = (3000.0, 2500.0), 1300.0
    ring = np.column_stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)])
    path = geojson(tmp_path / "slide.geojson", polygon(ring.tolist()))
    places = grid((6000, 5000), 301.7, 151.3)
    truth = read_truth(path, places, TUMOUR)
    # Brute force, ten times as fine as the drawing.
    steps = (np.arange(640) + 0.5) / 640 * 301.7
    for (x, y), share in zip(places.centres - 301.7 / 2, truth.shares[:, 1], strict=True):
        inside = (x + steps - centre[0])[None, :] ** 2 + (y + steps - centre[1])[:, None] ** 2 <= radius**2
        assert share == pytest.approx(inside.mean(), abs=0.003)


def test_drawing_in_small_blocks_changes_nothing(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    features = [polygon(rng.uniform(0, 2000, size=(7, 2)).tolist(), name=name) for name in ["A", "B"] * 10]
    path = geojson(tmp_path / "slide.geojson", *features)
    places = grid((2000, 1500), 100.0, 50)
    classes = TruthClasses.parse(["Rest=*", "A=a", "B=b"])
    whole = read_truth(path, places, classes)
    monkeypatch.setattr("tissuumaps_sic.truth.rasters._BLOCK", 100)
    assert np.allclose(read_truth(path, places, classes).shares, whole.shares, atol=1e-6)
    assert (whole.shares > 0.1).any(axis=0).all()


def test_unnamed_classes_lie_below_named_ones_and_unclassed_or_starred_ones_nowhere(tmp_path):
    unclassed = polygon(box(0, 0, 256, 256))
    del unclassed["properties"]["classification"]
    unclassed["properties"]["name"] = "outline"
    path = geojson(
        tmp_path / "slide.geojson",
        polygon(box(0, 0, 128, 128)),
        polygon(box(0, 0, 64, 64), name="Necrosis"),
        unclassed,
        polygon(box(0, 0, 256, 256), name="Region*"),
    )
    places = squares((0, 0), (64, 0))
    assert read_truth(path, places, TUMOUR).labels.tolist() == [1, 1]
    # Of named ones the later lies over the earlier.
    two = TruthClasses.parse(["Necrosis=Necrosis", "Tumour=Tumour"])
    assert read_truth(path, places, two).labels.tolist() == [0, 1]
    other = TruthClasses.parse(["Other=Necrosis,*", "Tumour=Tumour"])
    assert read_truth(path, places, other).labels.tolist() == [0, 1]
    # What is named counts, a bare name as well.
    named = TruthClasses.parse(["Rest=*", "Outline=Outline"])
    assert read_truth(path, places, named).labels.tolist() == [1, 1]


TISSUE, TUMOR_BOX = box(0, 0, 200, 200), box(64, 64, 192, 192)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("form", ["geojson", "asap"])
def test_what_covers_what_does_not_hang_on_the_order_of_drawing(tmp_path, caplog, order, form):
    """Tissue around a tumour, or half over it, drawn before or after: the tumour is what is named."""
    for covering, told in [(TISSUE, "100%"), (box(0, 0, 128, 256), "50%"), (box(0, 0, 60, 256), None)]:
        drawn = [("Tissue", covering), ("Tumour", TUMOR_BOX)]
        if form == "geojson":
            path = geojson(tmp_path / "a.geojson", *(polygon(drawn[n][1], name=drawn[n][0]) for n in order))
        else:
            path = asap(tmp_path / "a.xml", *((drawn[n][0], "Polygon", drawn[n][1][:4]) for n in order))
        caplog.clear()
        truth = read_truth(path, squares((64, 64), (128, 128), (0, 0)), TUMOUR)
        assert truth.shares[:, 1].tolist() == [1, 1, 0]
        expected = (
            f"{path.name}: {told} of Positive is drawn as Tissue too, which no option names; it counts as "
            "Positive"
        )
        assert caplog.messages == ([expected] if told else [])


def test_of_named_classes_that_overlap_the_later_wins_and_the_share_is_told(tmp_path, caplog):
    features = [polygon(box(0, 0, 128, 128)), polygon(box(0, 0, 128, 32), name="Necrosis")]
    classes = TruthClasses.parse(["Dead=necrosis", "Alive=tumour"])
    for order, wins, label in [(features, 0, 0), (features[::-1], 1, 1)]:
        caplog.clear()
        truth = read_truth(geojson(tmp_path / "a.geojson", *order), squares((0, 0), size0=32.0), classes)
        assert truth.labels.tolist() == [label]
        assert caplog.messages == [
            "a.geojson: 100% of Dead is drawn as Alive too; what is drawn later counts: Alive in "
            f"{wins:.0%} of that"
        ]


def test_neighbours_that_overlap_by_a_sliver_are_not_told(tmp_path, caplog):
    path = geojson(
        tmp_path / "a.geojson", polygon(box(0, 0, 64.2, 64)), polygon(box(64, 0, 128, 64), name="Stroma")
    )
    classes = TruthClasses.parse(["Stroma=stroma", "Tumour=tumour"])
    assert read_truth(path, squares((0, 0), (64, 0)), classes).labels.tolist() == [1, 0]
    assert not caplog.records


def test_a_named_class_that_is_not_drawn_is_an_error_that_lists_what_is(tmp_path, caplog):
    unnamed = polygon(box(0, 0, 9, 9)) | {"properties": {}}
    path = geojson(
        tmp_path / "a.geojson",
        polygon(box(0, 0, 64, 64), name="Stroma"),
        polygon(box(64, 0, 128, 64)),
        unnamed,
    )
    told = (
        r"a\.geojson: nothing in it is of class Positive \(tumor\); its classes are Stroma, Tumour; 1 annota"
    )
    with pytest.raises(TruthError, match=told):
        read_truth(path, squares((0, 0)), TruthClasses.binary("Tumor"))
    with pytest.raises(TruthError, match=r"nothing in it is of class Dead \(necrosis\)"):
        read_truth(path, squares((0, 0)), TruthClasses.parse(["Dead=Necrosis", "Alive=Tumour"]))
    assert not caplog.records
    # One of several values that is not there is told; a class that all others have too need not be drawn.
    classes = TruthClasses.parse(["Other=Necrosis,*", "Tumour=Tumour, carcinoma"])
    assert read_truth(path, squares((0, 0), (64, 0)), classes).labels.tolist() == [0, 1]
    assert "a.geojson: nothing in it is necrosis or carcinoma; its classes are" in caplog.text


def test_annotations_without_a_class_are_left_out_and_told(tmp_path, caplog):
    unnamed = polygon(box(0, 0, 64, 64)) | {"properties": None}
    path = geojson(tmp_path / "a.geojson", polygon(box(64, 0, 128, 64)), unnamed, unnamed)
    assert read_truth(path, squares((0, 0), (64, 0)), TUMOUR).labels.tolist() == [0, 1]
    assert caplog.messages == ["a.geojson: left out 2 annotations without a class"]


@pytest.mark.parametrize("value", ["Tumour ", "TUMOUR", " tumour\u00a0"])
def test_classes_are_matched_however_they_are_spelt(tmp_path, value):
    path = geojson(tmp_path / "a.geojson", polygon(box(0, 0, 64, 64), name="\u00a0Tumour "))
    assert read_truth(path, squares((0, 0)), TruthClasses.binary(value)).labels.tolist() == [1]


def test_polygons_partly_outside_the_slide_are_told(tmp_path, caplog):
    path = geojson(tmp_path / "a.geojson", polygon(box(0, 0, 64, 64)), polygon(box(300, 0, 364, 64)))
    assert read_truth(path, squares((0, 0)), TUMOUR).labels.tolist() == [1]
    assert "1 of 2 polygons lie outside the slide, 256 x 256 px" in caplog.text


def test_polygons_on_the_slide_but_on_no_patch_are_refused(tmp_path):
    path = geojson(tmp_path / "a.geojson", polygon(box(200, 200, 220, 220)))
    with pytest.raises(TruthError, match="none of its 1 polygons lies on a patch"):
        read_truth(path, squares((0, 0)), TUMOUR)


@pytest.mark.parametrize(
    "properties",
    [
        {"classification": {"name": "tumour", "colorRGB": -3670016}},
        {"classification": "Tumour"},
        {"name": "Tumour"},
        {"classification": {"names": ["Tumour", "Positive"]}},
        {"classification": {"name": "Tumour: Positive"}},
    ],
)
def test_every_way_of_naming_a_class_is_understood(tmp_path, properties):
    feature = polygon(box(0, 0, 64, 64)) | {"properties": properties}
    assert read_truth(geojson(tmp_path / "a.geojson", feature), squares((0, 0)), TUMOUR).labels == [1]


def test_multipolygons_collections_lists_single_features_and_gzip_are_the_same(tmp_path):
    hole = [box(0, 0, 64, 64), box(0, 0, 64, 16)]
    other = [box(128, 128, 192, 192)]
    multi = polygon() | {"geometry": {"type": "MultiPolygon", "coordinates": [hole, other]}}
    collection = polygon() | {
        "geometry": {
            "type": "GeometryCollection",
            "geometries": [multi["geometry"], {"type": "Point", "coordinates": [1, 1]}],
        }
    }
    texts = {
        "single.geojson": multi,
        "list.json": [polygon(*hole), polygon(*other)],
        "collection.geojson": {"type": "FeatureCollection", "features": [collection]},
    }
    places = squares((0, 0), (128, 128), (64, 64))
    for name, document in texts.items():
        (tmp_path / name).write_text(json.dumps(document))
        assert read_truth(tmp_path / name, places, TUMOUR).shares[:, 1] == pytest.approx([0.75, 1, 0])
    packed = tmp_path / "slide.1.geojson.gz"
    packed.write_bytes(gzip.compress(json.dumps(multi).encode()))
    assert read_truth(packed, places, TUMOUR).shares[:, 1] == pytest.approx([0.75, 1, 0])


def test_geojson_counts_from_the_bounds_and_asap_from_the_slide(tmp_path):
    places = squares((100, 40), (0, 0), bounds=(100, 40, 156, 216))
    drawn = geojson(tmp_path / "a.geojson", polygon(box(0, 0, 64, 64)))
    assert read_truth(drawn, places, TUMOUR).labels.tolist() == [1, 0]
    assert read_truth(drawn, places, TUMOUR, offset=(0, 0)).labels.tolist() == [0, 1]
    xml = asap(tmp_path / "a.xml", ("Tumour", "Polygon", box(0, 0, 64, 64)))
    assert read_truth(xml, places, TUMOUR).labels.tolist() == [0, 1]


def test_asaps_groups_and_types_are_understood(tmp_path):
    path = asap(
        tmp_path / "slide.xml",
        ("inner", "Polygon", box(0, 0, 64, 64)[:4]),
        ("_2", "Polygon", box(0, 0, 64, 16)[:4]),
        ("Tumour", "Rectangle", box(64, 0, 128, 64)[:4]),
        ("Tumour", "Spline", [(128, 0), (192, 0), (128, 64)]),
        ("Tumour", "Dot", [(200, 200)]),
        ("None", "Polygon", box(0, 0, 256, 256)[:4]),
        groups='<Group Name="Tumour" PartOfGroup="None"/><Group Name="inner" PartOfGroup="Tumour"/>'
        '<Group Name="_2" PartOfGroup="None"/>',
    )
    truth = read_truth(path, squares((0, 0), (64, 0), (128, 0), (192, 0)), TUMOUR)
    assert truth.shares[:, 1] == pytest.approx([1, 1, 0.5, 0], abs=0.01)


# ---------------------------------------------------------------------------------------- wrong inputs


def _mask(values, name="m.png"):
    return lambda folder: save(folder / name, values)


def _text(name, text):
    def write(folder):
        (folder / name).write_text(text)
        return folder / name

    return write


def _cut(folder):
    rng = np.random.default_rng(0)
    path = save(folder / "m.png", rng.integers(0, 255, (256, 256)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:9000])
    return path


def _far(folder):
    return geojson(folder / "m.geojson", polygon(box(9000, 9000, 9100, 9100)))


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><ASAP_Annotations>&b;</ASAP_Annotations>'


@pytest.mark.parametrize(
    ("make", "classes", "message"),
    [
        (lambda folder: folder / "m.png", ONE, "no such file"),
        (_text("m.csv", "x"), ONE, r"ends in .*\.geojson"),
        (_text("m.png", "not an image"), ONE, "cannot be read"),
        (_text("m.tif", "not an image"), ONE, "cannot be read"),
        (_cut, ONE, "cannot be read"),
        (_mask(np.zeros((100, 256), np.uint8)), ONE, "256 x 100 pixels.*256 x 256"),
        (
            _mask(np.eye(256)[:, :, None].repeat(3, 2).astype(np.uint8) * np.uint8([1, 2, 3])),
            ONE,
            "coloured picture",
        ),
        (_mask(np.zeros((256, 256), np.float32), "m.tif"), ONE, "kind float.*8 or 16 bits"),
        (_mask(np.zeros((256, 256), np.uint8)), TUMOUR, "'tumour'.*--positive 1"),
        (_text("m.geojson", "{"), TUMOUR, "is no GeoJSON"),
        (_text("m.geojson", '"text"'), TUMOUR, "is no GeoJSON of polygons, but 'text'"),
        (_text("m.geojson", "[1]"), TUMOUR, "feature 1 is no feature, but 1"),
        (_text("m.geojson", "[" * 100_000), TUMOUR, "is no GeoJSON"),
        (_text("m.json.gz", "{}"), TUMOUR, "is no GeoJSON"),
        (
            lambda folder: geojson(folder / "m.json", polygon([(1, "x")])),
            TUMOUR,
            "feature 1 has a coordinate",
        ),
        (
            lambda folder: geojson(folder / "m.json", polygon([(0, float("nan"))])),
            TUMOUR,
            "feature 1 .* not finite",
        ),
        (lambda folder: geojson(folder / "m.json", polygon([])), TUMOUR, "no polygon, but 1 empty"),
        (
            lambda folder: geojson(folder / "m.json", polygon([(0, 0), (9, 0), (9, 9)], name=None)),
            TUMOUR,
            "1 annotation has no class; give its annotations classes$",
        ),
        (_far, TUMOUR, "all 1 polygons lie outside the slide, 256 x 256"),
        (lambda folder: asap(folder / "m.xml", ("Tumour", "Dot", [(1, 1)])), TUMOUR, "points or lines"),
        (lambda folder: asap(folder / "m.xml", ("Tumour", "Polygon", [("a", 1)])), TUMOUR, "annotation 1 "),
        (_text("m.xml", BOMB), TUMOUR, "document type"),
        (_text("m.xml", "<Annotations/>"), TUMOUR, "holds no polygon"),
        (_text("m.xml", "<ASAP_Annotations>"), TUMOUR, "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(tmp_path, make, classes, message):
    path = make(tmp_path)
    with pytest.raises(TruthError, match=message) as caught:
        read_truth(path, squares((0, 0), (192, 192)), classes)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["Tumour"], "must be NAME=VALUE"),
        (["Tumour="], "must be NAME=VALUE"),
        (["Tumour=1,,2"], "must be NAME=VALUE"),
        (["Tumour=1"], "at least two"),
        ([], "at least two"),
        (["A=1", "A=2"], "a class A already"),
        (["A=1", "B=2,1"], "1 is in a class already"),
        (["A=*", "B=*"], r"\* is in a class already"),
    ],
)
def test_classes_that_are_not_clear_are_refused(texts, message):
    with pytest.raises(TruthError, match=message):
        TruthClasses.parse(texts)


def test_classes_keep_their_order_and_the_rest_has_a_class_only_when_asked_for():
    classes = TruthClasses.parse(["Other = *", "Tumour = Tumor, Carcinoma = x"])
    assert classes.names == ("Other", "Tumour")
    assert classes.values == {"tumor": 1, "carcinoma = x": 1}
    assert classes.others == 0
    assert TruthClasses.parse(["A=1", "B=2"]).others == -1
    assert TruthClasses.binary("2,3") == TruthClasses(("Other", "Positive"), {"2": 1, "3": 1}, 0)
    with pytest.raises(TruthError, match="--class"):
        TruthClasses.binary("*")


# -------------------------------------------------------------------------------------------- the slide


def test_squares_come_from_the_provenance_and_else_from_the_corners(small_h5ad):
    slide = open_slide_file(small_h5ad)
    assert patch_squares(slide).size0 == 256
    assert patch_squares(slide).slide_size is None
    known = {
        "slide": {"size": [2000, 1500], "bounds": [10, 20, 1900, 1400]},
        "grid": {"patch_size0": 255.5},
    }
    with h5py.File(small_h5ad, "r+") as file:
        file["uns/embedder"] = json.dumps(known)
    places = patch_squares(slide)
    assert (places.size0, places.slide_size, places.bounds) == (255.5, (2000, 1500), (10, 20, 1900, 1400))
    assert patch_squares(slide, slide_size=(4000, 3000)).slide_size == (4000, 3000)
    with pytest.raises(TruthError, match="x 1536, y 1024, outside a slide of 100 x 100"):
        patch_squares(slide, slide_size=(100, 100))


def test_a_mask_needs_the_slides_size_and_a_patch_its_edge(small_h5ad, tmp_path):
    path = save(tmp_path / "mask.png", np.zeros((10, 10), np.uint8))
    with pytest.raises(TruthError, match="--slide-size"):
        read_truth(path, patch_squares(open_slide_file(small_h5ad)), ONE)
    adata = anndata.read_h5ad(small_h5ad)
    del adata.obs["x0"]
    adata.write_h5ad(tmp_path / "bare.h5ad")
    with pytest.raises(TruthError, match="does not say how large its patches are"):
        patch_squares(open_slide_file(tmp_path / "bare.h5ad"))


def test_a_folders_truths_are_found_by_name_and_a_mask_goes_before_the_slide_itself(tmp_path):
    for name in ("a.tif", "a.geojson", "b.xml", "b.1_mask.png", "c_mask.tif", "c.png"):
        (tmp_path / name).touch()
    assert find_truth(tmp_path, ["a"]).name == "a.geojson"
    assert find_truth(tmp_path, ["b"]).name == "b.xml"
    assert find_truth(tmp_path, ["b.1"]).name == "b.1_mask.png"
    assert find_truth(tmp_path, ["c"]).name == "c_mask.tif"
    assert find_truth(tmp_path, ["other", "c"]).name == "c_mask.tif"
    with pytest.raises(TruthError, match=r"no truth of d; call it d_mask\.png"):
        find_truth(tmp_path, ["d"])


def test_left_and_upper_lie_where_the_file_has_them(tmp_path):
    """An embedded slide and its truth, end to end: x is columns, y is rows."""
    slide = open_slide_file(write_small_h5ad(tmp_path / "s.h5ad", columns=5, rows=3))
    mask = np.zeros((512, 768), np.uint8)
    mask[:, 384:] = 1
    truth = read_truth(save(tmp_path / "s.png", mask), patch_squares(slide, slide_size=(768, 512)), ONE)
    assert truth.labels.reshape(3, 5).tolist() == [[0, 0, 1, 1, 1]] * 3
