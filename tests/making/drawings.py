"""Files of drawings as other programs write them, of boxes and points at known places."""

import json

COLORS = {"Tumor": [200, 0, 0], "Stroma": [150, 200, 150]}


def box(left, top, right, bottom):
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def feature(kind, coordinates, of=None, **properties):
    """Return a feature as QuPath exports an annotation."""
    classed = {} if of is None else {"classification": {"name": of, "color": COLORS.get(of, [9, 9, 9])}}
    return {
        "type": "Feature",
        "id": "0b6cd2b6-5a0f-4d2e-8a3f-0d8e2f9d3a11",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": {"objectType": "annotation", **classed, **properties},
    }


def write_geojson(path, *features):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}), encoding="utf-8")
    return path


def write_imagescope(path, **layers):
    """Write a layer of each name, of (points, whether it is a hole)."""
    told = []
    for number, (name, regions) in enumerate(layers.items(), 1):
        inner = "".join(
            f'<Region Id="{place}" Type="0" Zoom="0.5" Selected="0" ImageLocation="" ImageFocus="-1" '
            f'Length="1" Area="1" Text="" NegativeROA="{int(is_hole)}" InputRegionId="0" Analyze="1" '
            f'DisplayId="{place}">'
            f"<Attributes/><Vertices>{_vertices(points)}</Vertices></Region>"
            for place, (points, is_hole) in enumerate(regions, 1)
        )
        told.append(
            f'<Annotation Id="{number}" Name="{name}" ReadOnly="0" Incremental="0" Type="4" LineColor="255" '
            'Visible="1" Selected="1"><Attributes><Attribute Name="Description" Id="0" Value=""/>'
            "</Attributes>"
            f"<Regions><RegionAttributeHeaders/>{inner}</Regions><Plots/></Annotation>"
        )
    path.write_text(f'<Annotations MicronsPerPixel="0.5">{"".join(told)}</Annotations>', encoding="utf-8")
    return path


def _vertices(points):
    return "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in points)


def write_asap(path, **groups):
    """Write a group of each name, of (type, points)."""
    drawn = "".join(
        f'<Annotation Name="Annotation {place}" Type="{kind}" PartOfGroup="{name}" Color="#F4FA58">'
        "<Coordinates>"
        + "".join(f'<Coordinate Order="{order}" X="{x}" Y="{y}" />' for order, (x, y) in enumerate(points))
        + "</Coordinates></Annotation>"
        for name, shapes in groups.items()
        for place, (kind, points) in enumerate(shapes)
    )
    named = "".join(
        f'<Group Name="{name}" PartOfGroup="None" Color="#64FE2E"><Attributes /></Group>' for name in groups
    )
    path.write_text(
        f'<?xml version="1.0"?><ASAP_Annotations><Annotations>{drawn}</Annotations>'
        f"<AnnotationGroups>{named}</AnnotationGroups></ASAP_Annotations>",
        encoding="utf-8",
    )
    return path


def write_ndpa(path, stage, **titles):
    """Write outlines, each of points in pixels, and pins, of one; `stage` is as the provenance has it."""
    x0, y0, width, height = stage
    views = []
    for title, shapes in titles.items():
        for points in shapes:
            places = [(round(x0 + x * width), round(y0 + y * height)) for x, y in points]
            if len(places) == 1:
                ((x, y),) = places
                inner = (
                    f'<annotation type="pin" displayname="AnnotatePin" color="#0000ff"><x>{x}</x><y>{y}</y>'
                    "<icon>pinblue</icon></annotation>"
                )
            else:
                listed = "".join(f"<point><x>{x}</x><y>{y}</y></point>" for x, y in places)
                inner = (
                    '<annotation type="freehand" displayname="AnnotateFreehand" color="#00ff00">'
                    f"<measuretype>0</measuretype><closed>1</closed><pointlist>{listed}</pointlist></annotation>"
                )
            views.append(
                f'<ndpviewstate id="{len(views) + 1}"><title>{title}</title><details/><coordformat>nanometers'
                f"</coordformat><lens>20</lens><x>0</x><y>0</y><z>0</z>{inner}</ndpviewstate>"
            )
    path.write_text(
        f'<?xml version="1.0" encoding="utf-8" standalone="yes"?><annotations>{"".join(views)}</annotations>',
        encoding="utf-8",
    )
    return path
