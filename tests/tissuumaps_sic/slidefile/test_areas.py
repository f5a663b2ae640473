"""Polygons from files: what is empty is left out and told, what is malformed is refused by its number."""

import gzip
import json

import numpy as np
import pytest

from tissuumaps_sic.slidefile.areas.area import AreaError
from tissuumaps_sic.slidefile.areas.files import read_areas
from tissuumaps_sic.slidefile.areas.fill import Shape

BOX = [[0, 0], [8, 0], [8, 6], [0, 6], [0, 0]]
HOLE = [[2, 2], [4, 2], [4, 4], [2, 4]]
FAR = [[20, 20], [24, 20], [24, 24]]


def polygon(*rings):
    return {"type": "Polygon", "coordinates": list(rings)}


def multi(*polygons):
    return {"type": "MultiPolygon", "coordinates": list(polygons)}


def feature(geometry, properties=None):
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def collection(*features):
    return {"type": "FeatureCollection", "features": list(features)}


def read(folder, document, name="a.geojson"):
    path = folder / name
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    path.write_bytes(content)
    return read_areas(path)


def outlines(areas):
    return [polygon[0].tolist() for area in areas.areas for polygon in area.polygons]


# ------------------------------------------------------------------------------------------------- forms

GOOD = feature(polygon(BOX, HOLE))


@pytest.mark.parametrize(
    "document",
    [
        collection(GOOD),
        [GOOD],
        GOOD,
        GOOD["geometry"],
        [GOOD["geometry"]],
        [collection(GOOD)],
        collection(collection(GOOD)),
        feature(multi([BOX, HOLE])),
        feature({"type": "GeometryCollection", "geometries": [polygon(BOX, HOLE)]}),
        feature({"type": "GeometryCollection", "geometries": [feature(polygon(BOX, HOLE))["geometry"]]}),
        feature(polygon(BOX[:4], HOLE)),  # not closed
        feature(polygon([BOX[0], BOX[0], *BOX[1:], BOX[0]], HOLE)),  # a point twice
        feature(polygon([[*point, 7.5] for point in BOX], HOLE)),  # with a height
        feature(polygon([[*BOX[0], 1], *BOX[1:]], HOLE)),  # one point with a height
        feature(polygon([[float(x), y] for x, y in BOX], HOLE)),
        {"geometry": GOOD["geometry"]},
    ],
)
def test_every_form_holds_the_same_polygon(tmp_path, document, caplog):
    areas = read(tmp_path, document)
    shape = Shape.of(areas.areas[0].polygons[0])
    assert shape.fill(np.array([0, 0]), np.array([8, 6])).sum() == 8 * 6 - 2 * 2
    assert areas.from_bounds
    assert not caplog.records


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(json.dumps(GOOD).encode(), mtime=0),
        json.dumps(GOOD).encode("utf-8-sig"),
        json.dumps(GOOD).encode("utf-16"),
        b"\n " + json.dumps(GOOD, indent=1).encode() + b"\n",
    ],
)
@pytest.mark.parametrize("name", ["a.geojson", "a.geojson.gz", "a.JSON"])
def test_a_text_is_read_by_what_it_is_whatever_its_name_tells(tmp_path, content, name):
    assert outlines(read(tmp_path, content, name)) == [BOX[:4]]


# ------------------------------------------------------------------------------------------------- empty


@pytest.mark.parametrize(
    "geometry",
    [
        None,
        polygon(),
        polygon([]),
        polygon(None),
        {"type": "Polygon", "coordinates": None},
        polygon([[1, 1]]),
        polygon([[1, 1], [2, 2]]),
        polygon([[1, 1], [2, 2], [1, 1]]),
        polygon([[1, 1], [2, 2], [3, 3], [1, 1]]),  # on one line
        polygon([[5, 5]] * 6),
        polygon([], HOLE),
        multi(),
        multi([]),
        multi([[]]),
        {"type": "GeometryCollection", "geometries": [polygon()]},
    ],
)
def test_what_encloses_nothing_is_left_out_and_told_by_its_number(tmp_path, geometry, caplog):
    areas = read(tmp_path, [GOOD, feature(geometry)])
    assert outlines(areas) == [BOX[:4]]
    assert caplog.messages == ["a.geojson: left out 1 empty polygon (feature 2)"]
    with pytest.raises(AreaError, match=r"a\.geojson: holds no polygon, but 1 empty polygon \(feature 1\)"):
        read(tmp_path, geometry if geometry is not None else feature(None))


def test_empty_parts_points_and_lines_are_told_with_how_many(tmp_path, caplog):
    point, line = {"type": "Point", "coordinates": [1, 2]}, {"type": "LineString", "coordinates": BOX}
    areas = read(
        tmp_path,
        collection(feature(multi([BOX], [], [FAR, [], HOLE])), feature(point), feature(line), feature(None)),
    )
    assert outlines(areas) == [BOX[:4], FAR]
    assert caplog.messages == [
        "a.geojson: left out 2 empty polygons (features 1, 4) and 2 points or lines (features 2, 3) and 1 "
        "empty hole (feature 1)"
    ]
    with pytest.raises(AreaError, match="its 2 annotations are points or lines"):
        read(tmp_path, [feature(point), feature(line)])


@pytest.mark.parametrize("document", [[], collection(), {"type": "GeometryCollection", "geometries": []}])
def test_a_file_without_any_polygon_is_refused(tmp_path, document):
    with pytest.raises(AreaError, match="holds no polygon"):
        read(tmp_path, document)


def test_an_eight_whose_halves_cancel_out_is_kept(tmp_path):
    eight = [[0, 0], [4, 4], [4, 0], [0, 4]]
    shape = Shape.of(read(tmp_path, polygon(eight)).areas[0].polygons[0])
    assert shape.fill(np.array([0, 0]), np.array([4, 4])).sum() > 4


# --------------------------------------------------------------------------------------------- malformed

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (feature(polygon([BOX])), "wrongly nested"),
        (feature(polygon(*BOX)), "wrongly nested"),
        (feature(polygon(1, 2)), "a ring that is no list"),
        (feature(multi(BOX)), "wrongly nested"),
        (feature(multi([[BOX]])), "wrongly nested"),
        (feature({"type": "Polygon", "coordinates": "0,0 1,1"}), "no list"),
        (feature({"type": "Polygon"}), "Polygon without coordinates"),
        (feature({"type": "GeometryCollection"}), "without geometries"),
        (feature({"type": "GeometryCollection", "geometries": [3]}), "which GeoJSON does not know"),
        (feature({"type": "Blob", "coordinates": []}), "a geometry 'Blob'"),
        (feature({"coordinates": [BOX]}), "which GeoJSON does not know"),
        (feature(3), "which GeoJSON does not know"),
        (feature(polygon([*BOX, ["1", "2"]])), "no number"),
        (feature(polygon([*BOX, [None, 2]])), "no number"),
        (feature(polygon([*BOX, {"x": 1, "y": 2}])), "wrongly nested"),
        (feature(polygon([*BOX, [1]])), "a point of 1 numbers"),
        (feature(polygon([*BOX, []])), "a point of 0 numbers"),
        (feature(polygon([*BOX, [NAN, 2]])), "not finite"),
        (feature(polygon([*BOX, [INFINITE, 2]])), "not finite"),
        (feature(polygon(BOX, [*HOLE, [NAN, 2]])), "not finite"),
        (feature(polygon([*BOX, [1e300, 2]])), "which no slide has"),
        (feature(polygon([*BOX, [10**400, 2]])), "too large"),
        (feature(polygon(BOX), properties=3), "properties that are no object"),
        (feature(polygon(BOX), properties={"classification": [1]}), "classification that is no name"),
        (feature(polygon(BOX), properties={"classification": {"names": [1]}}), "no name"),
        ({"type": "Feature", "properties": {}}, "has no geometry, not even null"),
        ({"kind": "Feature"}, "is no feature"),
        (3, "is no feature"),
        (None, "is no feature"),
    ],
)
def test_what_is_malformed_is_refused_by_its_number(tmp_path, wrong, told):
    with pytest.raises(AreaError, match=f"feature 3 .*({told})") as error:
        read(tmp_path, collection(GOOD, feature(None), wrong), name="truth.geojson")
    assert str(error.value).startswith("truth.geojson: feature 3 ")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is no GeoJSON"),
        (b"{", "is no GeoJSON"),
        (b"\xff\xfe\xff", "is no GeoJSON"),
        (b"[" * 200_000, "is no GeoJSON"),
        (b'{"type": "FeatureCollection"}', "holds no list of features"),
        (b'{"type": "FeatureCollection", "features": null}', "holds no list of features"),
        (b'"text"', "is no GeoJSON of polygons"),
        (b'{"a": 1}', "is no GeoJSON of polygons"),
        (gzip.compress(b"[]" * 5000, mtime=0)[:-12], "cut short"),
        (b"\x1f\x8b\x08nothing", "cannot be unpacked|cut short"),
    ],
)
def test_what_is_no_geojson_is_one_line(tmp_path, content, told):
    with pytest.raises(AreaError, match=rf"^a\.geojson: .*({told})") as error:
        read(tmp_path, content)
    assert "\n" not in str(error.value)


def test_what_is_packed_in_parts_is_read_as_a_whole(tmp_path):
    text = json.dumps(GOOD).encode()
    parts = b"".join(map(gzip.compress, [text[:40], text[40:], b""]))
    assert outlines(read(tmp_path, parts)) == [BOX[:-1]]


def test_what_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tissuumaps_sic.slidefile.areas.files._MOST_BYTES", 1000)
    with pytest.raises(AreaError, match="is larger than"):
        read(tmp_path, gzip.compress(b" " * 100_000))


def test_what_is_no_file_is_told(tmp_path):
    for path in (tmp_path / "gone.geojson", tmp_path):
        with pytest.raises(AreaError, match="no such file"):
            read_areas(path)


# ---------------------------------------------------------------------------------------------- classes


@pytest.mark.parametrize(
    ("properties", "values", "classed"),
    [
        (None, (), False),
        ({}, (), False),
        ({"classification": None}, (), False),
        ({"classification": ""}, (), False),
        ({"classification": {}}, (), False),
        ({"classification": {"name": None}, "name": "mine"}, ("mine",), False),
        ({"name": "mine "}, ("mine",), False),
        ({"name": ["x"]}, (), False),
        ({"classification": "Tumor "}, ("Tumor",), True),
        ({"classification": 3}, ("3",), True),
        ({"classification": 3.0}, ("3",), True),
        ({"classification": {"name": "\u00a0Tumor", "color": [1, 2, 3]}}, ("Tumor",), True),
        ({"classification": {"names": ["Tumor", "Positive "]}}, ("Tumor: Positive", "Tumor"), True),
        ({"classification": {"name": "a: b: c"}}, ("a: b: c", "a: b", "a"), True),
    ],
)
def test_a_class_is_named_in_every_way(tmp_path, properties, values, classed):
    (area,) = read(tmp_path, feature(polygon(BOX), properties)).areas
    assert (area.values, area.classed) == (values, classed)


def named(name, ring=BOX):
    return feature(polygon(ring), {"classification": name})


@pytest.mark.parametrize("wanted", ["Tumor", " tumor\u00a0", "TUMOR", "\uff34umor"])
def test_a_class_is_found_however_it_is_spelt(tmp_path, wanted):
    areas = read(tmp_path, [named("Tumor "), named("Stroma", FAR), named("tumor")])
    assert len(areas.of([wanted])) == 2
    assert areas.classes == ("Stroma", "Tumor")


def test_a_class_that_is_not_there_is_told_with_those_that_are(tmp_path, caplog):
    areas = read(tmp_path, [named("Tumor"), named("Stroma", FAR)])
    with pytest.raises(
        AreaError, match=r"a\.geojson: has no polygon of class Tumour; its classes are Stroma, Tumor"
    ):
        areas.of(["Tumour"])
    assert len(areas.of(["Tumour", "Stroma"])) == 1
    assert caplog.messages == ["a.geojson: has no polygon of class Tumour; its classes are Stroma, Tumor"]


def test_polygons_of_another_scale_are_refused_and_some_outside_told(tmp_path, caplog):
    areas = read(tmp_path, [feature(polygon(BOX)), feature(polygon(FAR))])
    areas.check_place((100, 100), (0, 0))
    assert not caplog.records
    areas.check_place((10, 10), (0, 0))
    assert (
        "1 of 2 polygons lie outside the slide, 10 x 10 px (they reach from x 0, y 0 to x 24, y 24)"
        in caplog.text
    )
    with pytest.raises(AreaError, match="all 2 polygons lie outside the slide, 10 x 10 px"):
        areas.check_place((10, 10), (50, 0))
    with pytest.raises(AreaError, match="all 2 polygons"):
        areas.check_place((10, 10), (-30, 0))


# -------------------------------------------------------------------------------------------------- ASAP


def asap(*annotations, groups=""):
    return (
        f"<ASAP_Annotations><Annotations>{''.join(annotations)}</Annotations>"
        f"<AnnotationGroups>{groups}</AnnotationGroups></ASAP_Annotations>"
    )


def annotation(points, kind="Polygon", group="Tumor"):
    listed = "".join(f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(points))
    return (
        f'<Annotation Name="one" Type="{kind}" PartOfGroup="{group}"><Coordinates>{listed}</Coordinates>'
        "</Annotation>"
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_asap_is_read_with_groups_in_groups_and_what_is_empty_told(tmp_path, encoding, caplog):
    text = asap(
        annotation(BOX, group=" Inner "),
        annotation([], group="Tumor"),
        annotation(BOX[:2]),
        annotation([(1, 1)], kind="Dot"),
        groups='<Group Name="Inner" PartOfGroup="Tumor"/><Group Name="Tumor" PartOfGroup="Inner"/>',
    )
    areas = read(tmp_path, text.encode(encoding), "a.xml")
    assert outlines(areas) == [BOX[:4]]
    assert areas.areas[0].values == ("Inner", "Tumor")
    assert not areas.from_bounds
    assert caplog.messages == [
        "a.xml: left out 2 empty polygons (annotations 2, 3) and 1 point or line (annotation 4)"
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (asap(annotation(BOX), annotation([*BOX, ("nan", 1)])), "annotation 2 .*X is 'nan'"),
        (asap(annotation(BOX), annotation([*BOX, (1, "inf")])), "annotation 2 .*Y is 'inf'"),
        (asap(annotation(BOX), annotation([*BOX, ("1,5", 1)])), "annotation 2 .*X is '1,5'"),
        (asap(annotation(BOX), annotation([*BOX, ("1_5", 1)])), "annotation 2 .*X is '1_5'"),
        (asap(annotation(BOX), annotation([*BOX, ("1e999", 1)])), "annotation 2 .*not finite"),
        (asap(annotation(BOX), annotation(BOX).replace('X="8"', "")), "annotation 2 .*without X"),
        (
            asap(annotation(BOX), annotation(BOX, kind="Blob")),
            "annotation 2 .*'Blob', which ASAP does not know",
        ),
        ("<Blob/>", "begins with <Blob>"),
        ("<ASAP_Annotations>", "cannot be read"),
        ('<!DOCTYPE x [<!ENTITY a "aa">]><ASAP_Annotations>&a;</ASAP_Annotations>', "document type"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><ASAP_Annotations/>', "document type"),
        ("<ASAP_Annotations>&a;</ASAP_Annotations>", "cannot be read"),
        ("", "cannot be read"),
        (asap(), "holds no polygon"),
    ],
)
def test_asaps_xml_that_is_not_as_it_should_be_is_refused(tmp_path, text, told):
    with pytest.raises(AreaError, match=rf"^a\.xml: .*{told}") as error:
        read(tmp_path, text.encode(), "a.xml")
    assert "\n" not in str(error.value)


# -------------------------------------------------------------------------------------------------- fill


def filled(*rings, size=(12, 10)):
    shape = Shape.of(tuple(np.array(ring, float) for ring in rings))
    return shape.fill(np.array([0, 0]), np.array(size))


def brute(*rings, size=(12, 10)):
    """Every pixel's centre against every edge, one by one."""

    def inside(ring, x, y):
        crossings = 0
        for (x1, y1), (x2, y2) in zip(ring, [*ring[1:], ring[0]], strict=True):
            if (y1 <= y) != (y2 <= y) and x1 + (y - y1) * (x2 - x1) / (y2 - y1) <= x:
                crossings += 1
        return crossings % 2 == 1

    return np.array(
        [
            [
                inside(rings[0], x + 0.5, y + 0.5)
                and not any(inside(ring, x + 0.5, y + 0.5) for ring in rings[1:])
                for x in range(size[0])
            ]
            for y in range(size[1])
        ]
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_fill_agrees_with_brute_force(seed):
    rng = np.random.default_rng(seed)
    # Crossing itself, beyond the raster on every side, with holes that overlap.
    rings = [rng.uniform(-4, 15, (rng.integers(3, 9), 2)).round(3).tolist() for _ in range(3)]
    assert np.array_equal(filled(*rings), brute(*rings))


def test_holes_that_lie_there_twice_or_overlap_remain_holes():
    assert filled(BOX, HOLE, HOLE).sum() == 44
    assert filled(BOX, HOLE, [[3, 3], [5, 3], [5, 5], [3, 5]]).sum() == 48 - 7
    assert filled(BOX, FAR).sum() == 48


def test_parts_of_a_raster_are_those_of_the_whole():
    rng = np.random.default_rng(3)
    shape = Shape.of((rng.uniform(0, 12, (6, 2)), rng.uniform(0, 12, (4, 2))))
    whole = shape.fill(np.array([0, 0]), np.array([12, 10]))
    for left, top in [(0, 0), (5, 0), (0, 4), (5, 4)]:
        part = shape.fill(np.array([left, top]), np.array([left + 5, top + 4]))
        assert np.array_equal(part, whole[top : top + 4, left : left + 5])
