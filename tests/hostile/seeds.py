"""Small whole files of every kind that people give to the project; the hunt makes damaged ones of them.

They are the same on every machine that has the same versions of what writes them.
"""

import gzip
import io
import json
import re
from pathlib import Path

import numpy as np
import pyvips
import tifffile
from making import write_small_h5ad
from PIL import Image

from tissuumaps_sic import cli

EDGE, TILE, MPP = 512, 128, 0.5
SLIDES = ("tif", "big.tif", "svs", "ome.tif", "png", "jpg")
NAME = "slide"


def tissue_pixels():
    """Return what every slide of the hunt shows, (rows, columns, 3): nowhere of one colour, nowhere black."""
    rng = np.random.default_rng(14)
    y, x = np.mgrid[0:EDGE, 0:EDGE]
    pixels = np.stack(
        [170 + 40 * np.sin(x / 17), 90 + 30 * np.cos(y / 23), 150 + 30 * np.sin((x + y) / 31)], axis=-1
    )
    return (pixels + rng.normal(0, 6, pixels.shape)).clip(1, 254).astype(np.uint8)


def write_seeds(folder: Path) -> None:
    """Write one whole file of each kind into a folder."""
    pixels = tissue_pixels()
    per_cm = 10_000 / MPP
    plain = {
        "tile": (TILE, TILE),
        "photometric": "rgb",
        "compression": "zlib",
        "metadata": None,
        "software": None,
    }
    for name in ("tif", "big.tif"):
        with tifffile.TiffWriter(folder / f"{NAME}.{name}", bigtiff=name == "big.tif") as writer:
            for level in (0, 1):
                writer.write(
                    np.ascontiguousarray(pixels[:: 2**level, :: 2**level]),
                    subfiletype=level,
                    resolution=(per_cm / 2**level, per_cm / 2**level),
                    resolutionunit="CENTIMETER",
                    **plain,
                )
    tifffile.imwrite(
        folder / f"{NAME}.ome.tif",
        pixels,
        ome=True,
        tile=(TILE, TILE),
        photometric="rgb",
        compression="zlib",
        metadata={"axes": "YXS", "PhysicalSizeX": MPP, "PhysicalSizeY": MPP},
        resolution=(per_cm, per_cm),
        resolutionunit="CENTIMETER",
    )
    # Each OME-TIFF is written with a number of its own, and a session with the time.
    _rewrite(folder / f"{NAME}.ome.tif", rb"urn:uuid:[0-9a-f-]{36}", b"urn:uuid:" + b"0" * 36)
    image = pyvips.Image.new_from_array(pixels).copy(interpretation="srgb", xres=1000 / MPP, yres=1000 / MPP)
    aperio = image.copy()
    described = (
        f"Aperio Image Library v12.0.15\r\n{EDGE}x{EDGE} (128x128) JPEG/RGB Q=90|AppMag = 20|MPP = {MPP}"
    )
    aperio.set_type(pyvips.GValue.gstr_type, "image-description", described)
    aperio.tiffsave(
        str(folder / f"{NAME}.svs"), tile=True, tile_width=TILE, tile_height=TILE, compression="jpeg", Q=90
    )
    for name, kind in (("png", "png"), ("jpg", "jpeg")):
        stored = io.BytesIO()
        Image.fromarray(pixels).save(stored, kind, dpi=(25_400 / MPP, 25_400 / MPP), quality=92)
        (folder / f"{NAME}.{name}").write_bytes(stored.getvalue())
    _write_annotations(folder)
    _write_embedded(folder)


def _write_annotations(folder):
    def feature(name, ring, *holes):
        classification = {"name": name, "color": [200, 0, 0]}
        return {
            "type": "Feature",
            "id": name,
            "geometry": {"type": "Polygon", "coordinates": [ring, *holes]},
            "properties": {"objectType": "annotation", "classification": classification},
        }

    def square(x, y, edge):
        return [[x, y], [x + edge, y], [x + edge, y + edge], [x, y + edge], [x, y]]

    features = [
        feature("Tumor", square(20, 20, 400), square(100, 100, 50)),
        feature("Stroma", square(200, 300, 200)),
    ]
    features[1]["geometry"] = {
        "type": "MultiPolygon",
        "coordinates": [features[1]["geometry"]["coordinates"]],
    }
    content = json.dumps({"type": "FeatureCollection", "features": features}).encode()
    (folder / f"{NAME}.geojson").write_bytes(content)
    (folder / f"{NAME}.geojson.gz").write_bytes(gzip.compress(content, mtime=0))
    corners = "".join(
        f'<Coordinate Order="{k}" X="{x}" Y="{y}"/>' for k, (x, y) in enumerate(square(20, 20, 400)[:4])
    )
    (folder / f"{NAME}.xml").write_text(
        '<?xml version="1.0"?><ASAP_Annotations><Annotations><Annotation Name="Annotation 0" Type="Polygon" '
        f'PartOfGroup="Tumor" Color="#F4FA58"><Coordinates>{corners}</Coordinates></Annotation></Annotations>'
        '<AnnotationGroups><Group Name="Tumor" PartOfGroup="None" Color="#64FE2E"/></AnnotationGroups>'
        "</ASAP_Annotations>"
    )


def _write_embedded(folder):
    h5ad = write_small_h5ad(folder / f"{NAME}.h5ad", columns=8, rows=4, stride=64)
    seeds = "x,y,class\n64,64,1\n64,128,1\n500,64,0\n500,128,0\n"
    (folder / "seeds.csv").write_text(seeds)
    (folder / "list.csv").write_text(f"slide,mpp\n{NAME}.tif,0.5\n{NAME}.svs,\n")
    assert cli.main(["run", str(h5ad), "--seeds", str(folder / "seeds.csv"), "--save"]) == 0
    _rewrite(folder / f"{NAME}.sic.json", rb'"time": *"[^"]*"', b'"time":"2026-01-01T00:00:00+00:00"')
    layers = [{"name": NAME, "tileSource": f"{NAME}.tif.dzi"}]
    markers = [{"path": f"{NAME}.h5ad", "title": "Patches", "uid": "patches", "expectedHeader": {"X": "x"}}]
    project = {"filename": NAME, "mpp": MPP, "layers": layers, "markerFiles": markers, "plugins": ["SIC"]}
    (folder / f"{NAME}.tmap").write_text(json.dumps(project, indent=1))


def _rewrite(path, pattern, new):
    content, n = re.subn(pattern, new, path.read_bytes())
    assert n, f"{path.name} has not what was to be replaced"
    path.write_bytes(content)
