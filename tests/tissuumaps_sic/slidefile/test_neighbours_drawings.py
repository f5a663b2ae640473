"""Drawings as other programs write them: QuPath's GeoJSON, ASAP, ImageScope and NDP.view."""

import json

import numpy as np
import pytest

from tissuumaps_sic.slidefile.areas.area import AreaError, Stage
from tissuumaps_sic.slidefile.areas.files import read_areas, read_drawings
from tissuumaps_sic.slidefile.areas.fill import Shape

# A slide of 2000 x 1000 pixels of 500 nm, whose middle lies 3 mm right of and 1 mm above the glass slide's.
STAGE = Stage((3e6 - 1000 * 500.0, -1e6 - 500 * 500.0), (500.0, 500.0))


def write(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def area_of(area, size=(2000, 1000)):
    return sum(
        int(Shape.of(polygon).fill(np.array([0, 0]), np.array(size)).sum()) for polygon in area.polygons
    )


# ----------------------------------------------------------------------------------------------- QuPath

QUPATH = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "id": "35a4fa4f-2b0b-4b3e-8d2a-3c8d0c5a7f10",
            "geometry": {
                "type": "Polygon",
                "coordinates": [
                    [[100, 100], [500, 100], [500, 400], [100, 400], [100, 100]],
                    [[200, 200], [300, 200], [300, 300], [200, 300], [200, 200]],
                ],
            },
            "properties": {
                "objectType": "annotation",
                "classification": {"name": "Tumor", "color": [200, 0, 0]},
                "isLocked": True,
            },
        },
        {
            "type": "Feature",
            "id": "PathAnnotationObject",
            "geometry": {"type": "MultiPoint", "coordinates": [[610.5, 20], [700, 30.25]]},
            "properties": {"classification": {"name": "Stroma", "colorRGB": -6895466}, "isLocked": False},
        },
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [5, 6]},
            "properties": {"objectType": "annotation", "name": "mine", "color": [1, 2, 255]},
        },
        {
            "type": "Feature",
            "geometry": {"type": "LineString", "coordinates": [[0, 0], [5, 5]]},
            "properties": {"objectType": "annotation"},
        },
        {
            "type": "Feature",
            "geometry": {
                "type": "MultiPolygon",
                "coordinates": [
                    [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]],
                    [[[20, 0], [30, 0], [30, 10], [20, 10], [20, 0]]],
                ],
            },
            "nucleusGeometry": {"type": "Polygon", "coordinates": [[[2, 2], [4, 2], [4, 4], [2, 2]]]},
            "properties": {"objectType": "cell", "classification": {"names": ["Immune", "CD3"]}},
        },
    ],
}


def test_qupaths_points_holes_and_colours_are_read(tmp_path, caplog):
    path = write(tmp_path, "slide.geojson", json.dumps(QUPATH))
    drawn = read_drawings(path)
    tumor, stroma, mine, immune = drawn.areas
    assert (tumor.values, tumor.color, area_of(tumor)) == (("Tumor",), "#c80000", 400 * 300 - 100 * 100)
    assert (stroma.values, stroma.color, stroma.polygons) == (("Stroma",), "#96c896", ())
    assert stroma.points.tolist() == [[610.5, 20], [700, 30.25]]
    assert (mine.values, mine.classed, mine.color) == (("mine",), False, "#0102ff")
    assert (immune.values, immune.color, area_of(immune)) == (("Immune: CD3", "Immune"), None, 200)
    assert drawn.left_out == "1 line (feature 4)"
    assert drawn.from_bounds
    assert not caplog.records


def test_who_wants_areas_gets_no_points_and_is_told(tmp_path, caplog):
    drawn = read_areas(write(tmp_path, "slide.geojson", json.dumps(QUPATH)))
    assert [area.values[0] for area in drawn.areas] == ["Tumor", "Immune: CD3"]
    assert all(len(area.points) == 0 for area in drawn.areas)
    assert caplog.messages == ["slide.geojson: left out 3 points or lines (features 2, 3, 4)"]


@pytest.mark.parametrize(
    ("color", "told"),
    [
        ([255, 0], None),
        ([256, 0, 0], None),
        ([1.5, 0, 0], None),
        ("red", None),
        (True, None),
        ([True, 0, 0], None),
        (-16711936, "#00ff00"),
        (16776960, "#ffff00"),
    ],
)
def test_a_colour_that_is_none_is_no_reason_to_refuse(tmp_path, color, told):
    feature = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [1, 2]},
        "properties": {"classification": {"name": "A", "color": color}},
    }
    (area,) = read_drawings(write(tmp_path, "a.geojson", json.dumps(feature))).areas
    assert area.color == told


@pytest.mark.parametrize("coordinates", [["1", "2"], [1], [[1, 2]], [float("nan"), 1], [1e300, 1]])
def test_a_point_that_is_none_is_refused_by_its_number(tmp_path, coordinates):
    text = json.dumps({"type": "Point", "coordinates": coordinates})
    with pytest.raises(AreaError, match=r"a\.geojson: feature 1 "):
        read_drawings(write(tmp_path, "a.geojson", text))


# ------------------------------------------------------------------------------------------------- ASAP

ASAP = """<?xml version="1.0"?>
<ASAP_Annotations>
 <Annotations>
  <Annotation Name="Annotation 0" Type="Dot" PartOfGroup="mitosis" Color="#F4FA58"><Coordinates>
   <Coordinate Order="0" X="12.5" Y="7" /></Coordinates></Annotation>
  <Annotation Name="Annotation 1" Type="PointSet" PartOfGroup="None" Color="#F4FA58"><Coordinates>
   <Coordinate Order="1" X="3" Y="4" /><Coordinate Order="0" X="1" Y="2" /></Coordinates></Annotation>
  <Annotation Name="Annotation 2" Type="Polygon" PartOfGroup="mitosis" Color="#F4FA58"><Coordinates>
   <Coordinate Order="0" X="0" Y="0" /><Coordinate Order="1" X="10" Y="0" />
   <Coordinate Order="2" X="10" Y="10" /></Coordinates></Annotation>
 </Annotations>
 <AnnotationGroups>
  <Group Name="mitosis" PartOfGroup="None" Color="#64FE2E"><Attributes /></Group>
 </AnnotationGroups>
</ASAP_Annotations>
"""


def test_asaps_dots_and_colours_are_read(tmp_path):
    dot, points, polygon = read_drawings(write(tmp_path, "slide.xml", ASAP)).areas
    assert (dot.values, dot.points.tolist(), dot.color) == (("mitosis",), [[12.5, 7]], "#64fe2e")
    assert (points.values, points.classed, points.color) == (("Annotation 1",), False, "#f4fa58")
    assert points.points.tolist() == [[1, 2], [3, 4]]
    assert (len(polygon.polygons), len(polygon.points), polygon.color) == (1, 0, "#64fe2e")


# ------------------------------------------------------------------------------------------- ImageScope


def region(points, number=1, **attributes):
    given = {
        "Id": number,
        "Type": 0,
        "Zoom": "0.5",
        "Selected": 0,
        "ImageLocation": "",
        "ImageFocus": -1,
        "Length": "1.0",
        "Area": "1.0",
        "Text": "",
        "NegativeROA": 0,
        "InputRegionId": 0,
        "Analyze": 1,
        "DisplayId": number,
    } | attributes
    told = " ".join(f'{key}="{value}"' for key, value in given.items())
    vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in points)
    return f"<Region {told}><Attributes/><Vertices>{vertices}</Vertices></Region>"


def layer(*regions, number=1, name="", color=65280, description=""):
    return (
        f'<Annotation Id="{number}" Name="{name}" ReadOnly="0" NameReadOnly="0" LineColorReadOnly="0" '
        f'Incremental="0" Type="4" LineColor="{color}" Visible="1" Selected="1" MarkupImagePath="" '
        'MacroName="">'
        f'<Attributes><Attribute Name="Description" Id="0" Value="{description}"/></Attributes>'
        '<Regions><RegionAttributeHeaders><AttributeHeader Id="9999" Name="Region" ColumnWidth="-1"/>'
        f"</RegionAttributeHeaders>{''.join(regions)}</Regions><Plots/></Annotation>"
    )


def imagescope(*layers):
    return f'<?xml version="1.0"?><Annotations MicronsPerPixel="0.252100">{"".join(layers)}</Annotations>'


SQUARE = [(0, 0), (40, 0), (40, 40), (0, 40), (0, 0)]
HOLE = [(10, 10), (20, 10), (20, 20), (10, 20)]


def test_imagescopes_regions_holes_shapes_and_colours_are_read(tmp_path, caplog):
    text = imagescope(
        layer(
            region(SQUARE),
            region(HOLE, 2, NegativeROA=1),
            region([(100, 100), (140, 120)], 3, Type=1),
            region([(100, 200), (140, 220)], 4, Type=2),
            region([(0, 0), (9, 9)], 5, Type=3),
            region([(0, 0), (9, 9)], 6, Type=4),
            region([(900, 900), (910, 900), (910, 910)], 7, NegativeROA=1),
            name="Tumor",
            color=16711680,
        ),
        layer(region(SQUARE), number=2, color=255, description="Necrosis"),
        layer(region(SQUARE, Text="in situ"), region(SQUARE, 2), number=3, color="x"),
    )
    drawn = read_drawings(write(tmp_path, "slide.xml", text))
    found = [(area.values, area.classed, area.color, area_of(area)) for area in drawn.areas]
    assert found[:2] == [(("Tumor",), True, "#0000ff", 1500), (("Tumor",), True, "#0000ff", 800)]
    assert found[2][3] == pytest.approx(np.pi * 20 * 10, rel=0.01)
    assert found[3:] == [
        (("Necrosis",), True, "#ff0000", 1600),
        (("in situ",), True, None, 1600),
        (("Layer 3",), False, None, 1600),
    ]
    assert drawn.left_out == "2 lines (regions 5, 6) and 1 hole outside of every polygon (region 7)"
    assert not drawn.from_bounds
    assert not caplog.records


def test_the_layers_of_programs_that_write_for_imagescope_are_named(tmp_path):
    bare = (
        '<Annotation Id="1"><Regions><Region Id="1"><Vertices>{}</Vertices></Region></Regions></Annotation>'
    )
    vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in SQUARE)
    named = bare.replace(
        "<Regions>", '<Attributes><Attribute Name="Glomerulus" Value=""/></Attributes><Regions>'
    )
    text = (
        f'<Annotations MicronsPerPixel="0.25">{bare.format(vertices)}{named.format(vertices)}</Annotations>'
    )
    drawn = read_drawings(write(tmp_path, "a.xml", text))
    assert [(area.values, area.classed) for area in drawn.areas] == [
        (("Layer 1",), False),
        (("Glomerulus",), True),
    ]


# ------------------------------------------------------------------------------------------------- NDPA


def view(annotation, title="Tumor", unit="nanometers"):
    return (
        f'<ndpviewstate id="1"><title>{title}</title><details/><coordformat>{unit}</coordformat>'
        "<lens>4.63</lens><x>1</x><y>2</y><z>0</z><showtitle>0</showtitle><showhistogram>0</showhistogram>"
        f"<showlineprofile>0</showlineprofile>{annotation}</ndpviewstate>"
    )


def freehand(points, *, closed=1, shown="AnnotateFreehand", special=""):
    listed = "".join(f"<point><x>{x}</x><y>{y}</y></point>" for x, y in points)
    return (
        f'<annotation type="freehand" displayname="{shown}" color="#ff0000"><measuretype>0</measuretype>'
        f"<closed>{closed}</closed><pointlist>{listed}</pointlist>{special}</annotation>"
    )


def ndpa(*views):
    return (
        f'<?xml version="1.0" encoding="utf-8" standalone="yes"?><annotations>{"".join(views)}</annotations>'
    )


# Pixels (1000, 500), the middle, (1200, 500) and (1200, 700), in nanometres from the middle of the glass.
TRIANGLE = [(3_000_000, -1_000_000), (3_100_000, -1_000_000), (3_100_000, -900_000)]


def test_ndpas_annotations_lie_where_they_were_drawn_on_the_glass(tmp_path, caplog):
    text = ndpa(
        view(freehand(TRIANGLE)),
        view(freehand(TRIANGLE, closed=0, shown="AnnotateFreehandLine"), "Line"),
        view(
            '<annotation type="circle" displayname="AnnotateCircle" color="#00FF00"><x>3000000</x>'
            "<y>-1000000</y><radius>50000</radius><measuretype>0</measuretype></annotation>",
            "Gland",
        ),
        view(
            '<annotation type="pin" displayname="AnnotatePin" color="#0000ff"><x>2750000</x><y>-1200000</y>'
            "<icon>pinblue</icon></annotation>",
            "",
        ),
        view(
            '<annotation type="linearmeasure" displayname="AnnotateRuler" color="#ff0000"><x1>1</x1>'
            "<y1>1</y1><x2>2</x2><y2>2</y2></annotation>"
        ),
        view(freehand([(x / 1000, y / 1000) for x, y in TRIANGLE]), unit="micrometers"),
    )
    drawn = read_drawings(write(tmp_path, "slide.ndpi.ndpa", text), stage=STAGE)
    tumor, gland, pin, again = drawn.areas
    assert tumor.polygons[0][0].tolist() == [[1000, 500], [1200, 500], [1200, 700]]
    assert np.allclose(again.polygons[0][0], tumor.polygons[0][0])
    assert (tumor.values, tumor.classed, tumor.color) == (("Tumor",), True, "#ff0000")
    outline = gland.polygons[0][0]
    assert np.allclose(np.hypot(*(outline - [1000, 500]).T), 100)
    assert (pin.values, pin.classed, pin.points.tolist()) == ((), False, [[500, 100]])
    assert drawn.left_out == "2 lines (annotations 2, 5)"
    assert not drawn.from_bounds
    assert not caplog.records


def test_ndpa_without_the_place_of_the_scan_says_what_is_needed(tmp_path):
    path = write(tmp_path, "slide.ndpa", ndpa(view(freehand(TRIANGLE))))
    with pytest.raises(AreaError, match=r"slide\.ndpa: counts from the middle of the glass .*keep .*\.ndpi"):
        read_areas(path)
    # By what it is: some call it .xml.
    with pytest.raises(AreaError, match="the middle of the glass"):
        read_areas(write(tmp_path, "slide.xml", path.read_text()))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (ndpa(view(freehand([*TRIANGLE, ("nan", 1)]))), "annotation 1 .*x is 'nan'"),
        (ndpa(view(freehand(TRIANGLE), unit="pixels")), "annotation 1 .*counts in 'pixels'"),
        (ndpa(view('<annotation type="pin"><x>1</x></annotation>')), "without y"),
        (ndpa(view('<annotation type="circle"><x>1</x><y>1</y></annotation>')), "without radius"),
        (ndpa(view('<annotation type="pin"><x>1e400</x><y>1</y></annotation>')), "not finite"),
        (ndpa(view(freehand([(1e30, 0), (0, 1e30), (5, 5)]))), "which no slide has"),
        (imagescope(layer(region([*SQUARE, ("1,5", 2)]))), "region 1 .*X is '1,5'"),
        (imagescope(layer(region(SQUARE).replace('X="40"', ""))), "region 1 .*without X"),
        (imagescope(layer(region([(0, 0), (1e300, 9)], Type=2))), "which no slide has"),
        (imagescope(), "holds no polygon and no point"),
        (ndpa(), "holds no polygon and no point"),
        (imagescope(layer(region([(0, 0), (1, 1)]))), "but 1 empty polygon"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>', "document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><Annotations/>', "document type"),
        ("<annotations>", "cannot be read"),
        ("{}", "cannot be read"),
        ("<svg/>", "begins with <svg>"),
    ],
)
def test_xml_that_is_not_as_it_should_be_is_one_line(tmp_path, text, told):
    with pytest.raises(AreaError, match=rf"^a\.xml: .*{told}") as error:
        read_drawings(write(tmp_path, "a.xml", text), stage=STAGE)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


def test_what_is_outside_of_the_slide_is_counted(tmp_path, caplog):
    drawn = read_drawings(write(tmp_path, "slide.geojson", json.dumps(QUPATH)))
    assert drawn.check_place((2000, 1000), (0, 0)) == 0
    assert drawn.check_place((600, 500), (0, 0)) == 1
    assert "1 of 5 drawings lie outside" in caplog.text
