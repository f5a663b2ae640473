"""The sound files that the hunt damages: small, drawn here, and each with what must be read from it."""

import gzip
import io
import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import anndata
import numpy as np
import pandas as pd
import tifffile
from PIL import Image

WIDTH, HEIGHT = 640, 512
TILE = 128
MPP = 0.5
N_PATCHES, N_FEATURES = 48, 16
_RESOLUTION = {"resolution": (1e4 / MPP, 1e4 / MPP), "resolutionunit": "CENTIMETER"}


@cache
def picture():
    """Stained tissue with a dark part and a rim of glass, (HEIGHT, WIDTH, 3) uint8."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    pixels = np.full((HEIGHT, WIDTH, 3), 243.0)
    tissue = ((x - WIDTH / 2) / (WIDTH * 0.46)) ** 2 + ((y - HEIGHT / 2) / (HEIGHT * 0.46)) ** 2 < 1
    dark = ((x - WIDTH * 0.4) / (WIDTH * 0.2)) ** 2 + ((y - HEIGHT * 0.4) / (HEIGHT * 0.2)) ** 2 < 1
    pixels[tissue] = (214, 150, 190)
    pixels[tissue & dark] = (120, 70, 150)
    noise = rng.normal(0, 10, (HEIGHT // 4, WIDTH // 4, 1)).repeat(4, axis=0).repeat(4, axis=1)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def _tiff(**options):
    stream = io.BytesIO()
    with tifffile.TiffWriter(
        stream, bigtiff=options.pop("bigtiff", False), ome=options.pop("ome", False)
    ) as file:
        factors = options.pop("factors", (1, 4))
        for factor in factors:
            scaled = {key: value for key, value in options.items() if factor == 1 or key != "description"}
            file.write(
                picture()[::factor, ::factor].copy(),
                photometric="rgb",
                subfiletype=0 if factor == 1 else 1,
                **({"metadata": None} if "metadata" not in options else {}),
                **scaled,
                **({} if "description" in options else _RESOLUTION),
            )
    return stream.getvalue()


def _flat(kind, **options):
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, kind, **options)
    return stream.getvalue()


def _svs():
    description = (
        f"Aperio Image Library v11.2.1 \r\n{WIDTH}x{HEIGHT} [0,0 {WIDTH}x{HEIGHT}] ({TILE}x{TILE}) JPEG/RGB "
        f"Q=70|AppMag = 20|MPP = {MPP}"
    )
    return _tiff(tile=(TILE, TILE), compression="jpeg", description=description)


def _ome():
    sizes = {"PhysicalSizeX": MPP, "PhysicalSizeY": MPP, "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    return _tiff(
        tile=(TILE, TILE), compression="deflate", factors=(1,), ome=True, metadata={"axes": "YXS", **sizes}
    )


def centres():
    """Where the patches of the h5ad lie, (N_PATCHES, 2) float64."""
    return np.array([[32.0 + 64 * (k % 8), 32.0 + 64 * (k // 8)] for k in range(N_PATCHES)])


def patch_names():
    return [f"s_{int(x) - 32}_{int(y) - 32}" for x, y in centres()]


def embeddings():
    """Two groups that any method tells apart, left and right, (N_PATCHES, N_FEATURES) float32."""
    right = centres()[:, :1] > WIDTH / 2
    return (np.random.default_rng(0).normal(size=(N_PATCHES, N_FEATURES)) + 3 * right).astype(np.float32)


def _h5ad():
    adata = anndata.AnnData(
        embeddings(),
        obs=pd.DataFrame(
            {"tissue": np.ones(N_PATCHES, np.float32), "umap_rgb": ["#336699"] * N_PATCHES},
            index=pd.Index(patch_names(), dtype=object),
        ),
    )
    adata.obsm["spatial"] = centres()
    adata.obsm["X_umap"] = centres().astype(np.float32)
    adata.uns["embedder"] = json.dumps(
        {
            "slide": {"name": "s", "size": [WIDTH, HEIGHT], "mpp": [MPP, MPP]},
            "grid": {"target_mpp": MPP, "patch_size": 64, "overlap": 0.0, "patch_size0": 64.0, "stride": 64},
            "encoder": {"name": "means"},
        }
    )
    adata.uns["tmap"] = json.dumps(
        {"layers": [{"name": "s", "tileSource": "s.tif.dzi"}], "markerFiles": [{}]}
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "s.h5ad"
        adata.write_h5ad(path)
        return path.read_bytes()


def _ring(x0, y0, x1, y1):
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]


def _geojson():
    features = [
        {
            "type": "Feature",
            "geometry": geometry,
            "properties": {"objectType": "annotation", "classification": {"name": name, "color": [1, 2, 3]}},
        }
        for name, geometry in (
            ("Tumour", {"type": "Polygon", "coordinates": [_ring(0, 0, 300, 400), _ring(50, 50, 90, 90)]}),
            (
                "Other",
                {
                    "type": "MultiPolygon",
                    "coordinates": [[_ring(320, 0, 600, 380)], [_ring(0, 420, 90, 500)]],
                },
            ),
        )
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def _asap():
    def annotation(name, group, ring):
        corners = "".join(f'<Coordinate Order="{k}" X="{x}" Y="{y}"/>' for k, (x, y) in enumerate(ring[:-1]))
        return (
            f'<Annotation Name="{name}" Type="Polygon" PartOfGroup="{group}" Color="#F4FA58">'
            f"<Coordinates>{corners}</Coordinates></Annotation>"
        )

    inside = annotation("a", "Tumour", _ring(0, 0, 300, 400)) + annotation(
        "b", "Other", _ring(320, 0, 600, 380)
    )
    return (
        f'<?xml version="1.0"?><ASAP_Annotations><Annotations>{inside}</Annotations><AnnotationGroups>'
        '<Group Name="Tumour" PartOfGroup="None" Color="#64FE2E"/><Group Name="Other" PartOfGroup="None"/>'
        "</AnnotationGroups></ASAP_Annotations>"
    ).encode()


def _mask():
    mask = np.zeros((HEIGHT // 4, WIDTH // 4), np.uint8)
    mask[:100, :75], mask[:95, 80:150] = 1, 2
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "png")
    return stream.getvalue()


def _seeds():
    names = patch_names()
    rows = [f"{names[k]},Tumour" for k in (0, 9, 17)] + [f"{names[k]},Other" for k in (7, 15, 23)]
    return "\n".join(["patch,class", *rows, ""]).encode()


def _seeds_by_place():
    rows = ["32,32,0", "96.5,96,0", "480,32,1", "480,160,1"]
    return "\n".join(["x,y,class", *rows, ""]).encode()


def _slides():
    return b"slide,mpp\na.tif,0.25\nb.tif,\nsub/c.svs,0.5\n"


def _session():
    """A session of two classes with seeds, a correction and an undo, as the project itself writes it."""
    from tissuumaps_sic.annotation.session import Session
    from tissuumaps_sic.annotation.store import save_session
    from tissuumaps_sic.slides.slide import open_slide_file

    with TemporaryDirectory() as folder:
        (Path(folder) / "s.h5ad").write_bytes(original("h5ad"))
        slide = open_slide_file(Path(folder) / "s.h5ad")
        names = patch_names()
        session = Session(slide=slide.name, fingerprint=slide.fingerprint)
        for label, rows in ((1, (0, 1, 8)), (0, (7, 15)), (None, (1,)), (1, (9,))):
            session = session.seed([names[row] for row in rows], label)
        save_session(Path(folder) / "s.sic.json", session.undo())
        return (Path(folder) / "s.sic.json").read_bytes()


def _project():
    return json.dumps(
        {
            "schemaVersion": "1.3",
            "filename": "s",
            "layers": [{"name": "s", "tileSource": "s.tif.dzi"}],
            "markerFiles": [{"path": "s.h5ad", "name": "Patches", "uid": "patches"}],
            "plugins": ["SIC"],
            "settings": [{"module": "pluginUtils", "function": "startPlugin", "value": ["SIC", [], True]}],
        }
    ).encode()


_MAKERS = {
    "tiff": (".tif", lambda: _tiff(tile=(TILE, TILE), compression="deflate")),
    "tiff-jpeg": (".tif", lambda: _tiff(tile=(TILE, TILE), compression="jpeg")),
    "tiff-raw": (".tif", lambda: _tiff(tile=(TILE, TILE))),
    "bigtiff": (".tif", lambda: _tiff(tile=(TILE, TILE), compression="deflate", bigtiff=True)),
    "strips": (".tif", lambda: _tiff(rowsperstrip=16, compression="lzw", factors=(1,))),
    "svs": (".svs", _svs),
    "ome": (".ome.tif", _ome),
    "png": (".png", lambda: _flat("png")),
    "jpeg": (".jpg", lambda: _flat("jpeg", quality=90)),
    "h5ad": (".h5ad", _h5ad),
    "geojson": (".geojson", _geojson),
    "geojson-gz": (".geojson.gz", lambda: gzip.compress(_geojson(), mtime=0)),
    "asap": (".xml", _asap),
    "mask": (".png", _mask),
    "session": (".sic.json", _session),
    "project": (".tmap", _project),
    "seeds": (".csv", _seeds),
    "seeds-by-place": (".csv", _seeds_by_place),
    "slides": (".csv", _slides),
}
KINDS = tuple(_MAKERS)
SLIDE_KINDS = ("tiff", "tiff-jpeg", "tiff-raw", "bigtiff", "strips", "svs", "ome", "png", "jpeg")
TIFF_KINDS = SLIDE_KINDS[:7]


def suffix(kind):
    return _MAKERS[kind][0]


@cache
def original(kind):
    """Return the bytes of a sound file of a kind."""
    return _MAKERS[kind][1]()
