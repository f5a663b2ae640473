"""Tissue that somebody drew: masks of any kind, and polygons with holes."""

import gzip
import json
import logging

import numpy as np
import pytest
from making.embeddings import MeanEncoder, write_ramp
from PIL import Image

import embedder.embedding.encoding
from embedder.embedding.options import EmbedOptions
from embedder.embedding.pipeline import embed_slides
from embedder.patches.drawn import read_tissue
from tissuumaps_sic.slidefile.pixels.slide import open_slide
from tissuumaps_sic.slidefile.pixels.source import SlideError


@pytest.fixture
def slide(tmp_path):
    with open_slide(write_ramp(tmp_path / "ramp.tif", width=1600, height=1200)) as slide:
        yield slide


def ellipse(width, height):
    """Inside an ellipse off the middle: x and y cannot be exchanged, nor the picture be turned."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    return ((x - 0.3 * width) / (0.2 * width)) ** 2 + ((y - 0.6 * height) / (0.3 * height)) ** 2 < 1


def shares(mask, full):
    """Shares of some squares by a mask, and by the full-size truth."""
    corners = np.array([(x, y) for y in range(0, 1100, 90) for x in range(0, 1500, 90)])
    found = mask.share(corners[:, 0], corners[:, 1], 100)
    expected = [full[y : y + 100, x : x + 100].mean() for x, y in corners]
    return found, np.array(expected)


SAVED = {
    "L": lambda inside: Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)),
    "ones": lambda inside: Image.fromarray(inside.astype(np.uint8)),
    "1": lambda inside: Image.fromarray(inside),
    "I;16": lambda inside: Image.fromarray(np.where(inside, 1000, 0).astype(np.uint16)),
    "RGB": lambda inside: Image.fromarray(np.stack([np.where(inside, 200, 0)] * 3, -1).astype(np.uint8)),
    "colour": lambda inside: Image.fromarray(np.where(inside[..., None], [9, 0, 90], 0).astype(np.uint8)),
    "RGBA": lambda inside: Image.fromarray(
        np.dstack([np.full((*inside.shape, 3), 90), np.where(inside, 255, 0)]).astype(np.uint8)
    ),
}


@pytest.mark.parametrize("kind", SAVED)
@pytest.mark.parametrize("scale", [1, 4])
def test_a_mask_of_any_kind_and_scale_gives_the_shares(slide, tmp_path, kind, scale):
    path = tmp_path / "mask.png"
    SAVED[kind](ellipse(1600 // scale, 1200 // scale)).save(path)
    mask = read_tissue(slide, path)
    found, expected = shares(mask, ellipse(1600, 1200))
    assert np.abs(found - expected).max() < (0.001 if scale == 1 else 0.02)
    assert mask.method == "mask"


def test_a_palette_is_read_by_its_values(slide, tmp_path):
    image = Image.fromarray(ellipse(800, 600).astype(np.uint8)).convert("P")
    image.putpalette([200, 200, 200, 10, 10, 10])  # the ground is the brighter one
    image.save(tmp_path / "mask.png")
    found, expected = shares(read_tissue(slide, tmp_path / "mask.png"), ellipse(1600, 1200))
    assert np.abs(found - expected).max() < 0.01


def test_values_choose(slide, tmp_path):
    values = np.zeros((1200, 1600), np.uint8)
    values[:, 400:800], values[:, 800:1200], values[:, 1200:] = 1, 2, 3
    Image.fromarray(values).save(tmp_path / "mask.tif")
    mask = read_tissue(slide, tmp_path / "mask.tif", classes=("2", "3"))
    assert mask.share(np.array([300, 750, 1000]), np.array([0, 0, 0]), 100).tolist() == [0, 0.5, 1]
    with pytest.raises(SlideError, match=r"nothing of 7"):
        read_tissue(slide, tmp_path / "mask.tif", classes=("7",))
    with pytest.raises(SlideError, match="must be a value"):
        read_tissue(slide, tmp_path / "mask.tif", classes=("tumour",))


def test_a_mask_finer_than_is_kept_gives_the_same_shares(slide, tmp_path, monkeypatch):
    monkeypatch.setattr("embedder.patches.drawn._MASK_SIDE", 500)
    Image.fromarray(ellipse(1600, 1200)).save(tmp_path / "mask.png")
    mask = read_tissue(slide, tmp_path / "mask.png")
    assert max(mask.mask.shape) <= 500
    found, expected = shares(mask, ellipse(1600, 1200))
    assert np.abs(found - expected).max() < 0.01


@pytest.mark.parametrize("size", [(1200, 1600), (400, 310), (160, 114)])
def test_a_mask_of_another_shape_is_refused(slide, tmp_path, size):
    Image.fromarray(np.ones(size[::-1], bool)).save(tmp_path / "mask.png")
    with pytest.raises(
        SlideError,
        match=rf"{size[0]} x {size[1]} pixels, and that is not the shape of the slide, 1600 x 1200",
    ):
        read_tissue(slide, tmp_path / "mask.png")


@pytest.mark.parametrize("size", [(100, 75), (101, 75), (97, 73), (1601, 1200)])
def test_a_mask_whose_sides_were_rounded_fits(slide, tmp_path, size):
    Image.fromarray(np.ones(size[::-1], bool)).save(tmp_path / "mask.png")
    assert read_tissue(slide, tmp_path / "mask.png").share(np.array([700]), np.array([500]), 100) == 1


SQUARE = [[100.5, 200], [700.5, 200], [700.5, 900], [100.5, 900], [100.5, 200]]
HOLE = [[300, 400], [500, 400], [500, 600], [300, 600], [300, 400]]
OTHER = [[350, 450], [450, 450], [450, 550], [350, 550]]  # lies in the hole, and is not closed


def truth():
    full = np.zeros((1200, 1600))
    full[200:900, 100:700] = 1
    full[200:900, 100] = full[200:900, 700] = 0.5
    full[400:600, 300:500] = 0
    full[450:550, 350:450] = 1
    return full


def feature(geometry, name=None, *, qupath=True):
    named = {"name": name, "color": [200, 0, 0]} if qupath else name
    return {
        "type": "Feature",
        "geometry": geometry,
        "properties": {"objectType": "annotation"} | ({"classification": named} if name else {}),
    }


HOLED = {"type": "Polygon", "coordinates": [SQUARE, HOLE]}
INNER = {"type": "Polygon", "coordinates": [OTHER]}
BOTH = {"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE], [OTHER]]}
FORMS = {
    "collection": {"type": "FeatureCollection", "features": [feature(INNER), feature(HOLED)]},
    "list": [feature(HOLED), feature(INNER)],
    "feature": feature(BOTH),
    "geometry": BOTH,
    "geometries": {"type": "GeometryCollection", "geometries": [HOLED, INNER]},
    "points too": [feature({"type": "Point", "coordinates": [1, 2]}), feature(BOTH), feature(None)],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".geojson", ".json", ".geojson.gz"])
def test_polygons_of_any_form_keep_their_holes(slide, tmp_path, form, suffix):
    path = tmp_path / f"regions{suffix}"
    content = json.dumps(FORMS[form]).encode()
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    mask = read_tissue(slide, path)
    found, expected = shares(mask, truth())
    assert np.abs(found - expected).max() < 0.011
    assert mask.method == "polygons"
    assert len(mask.parameters["sha256"]) == 64
    assert str(tmp_path) not in str(mask.parameters)


def test_polygons_on_a_large_slide_are_right_to_a_hundredth(slide, tmp_path, monkeypatch):
    """At a quarter of the size, as on a slide of 32,768 pixels; patches there have some 500."""
    monkeypatch.setattr("embedder.patches.drawn._DRAWN_SIDE", 400)
    (tmp_path / "a.geojson").write_text(json.dumps(BOTH))
    mask = read_tissue(slide, tmp_path / "a.geojson")
    corners = np.array([(0, 0), (100, 200), (300, 100), (420, 510), (500, 600)])
    found = mask.share(corners[:, 0], corners[:, 1], 500)
    expected = [truth()[y : y + 500, x : x + 500].mean() for x, y in corners]
    assert np.abs(found - expected).max() < 0.01


@pytest.mark.parametrize("qupath", [True, False])
def test_classes_choose(slide, tmp_path, qupath):
    features = [feature(HOLED, "Tumour", qupath=qupath), feature(INNER, "Stroma", qupath=qupath)]
    (tmp_path / "a.geojson").write_text(json.dumps(features))
    mask = read_tissue(slide, tmp_path / "a.geojson", classes=("Stroma",))
    assert mask.share(np.array([360, 150]), np.array([460, 250]), 80).tolist() == [1, 0]
    with pytest.raises(SlideError, match="no polygon of class Necrosis; its classes are Stroma, Tumour"):
        read_tissue(slide, tmp_path / "a.geojson", classes=("Necrosis",))


def test_polygons_from_the_bounds_are_moved_and_the_others_warned_of(slide, tmp_path, caplog):
    slide.bounds = (200, 100, 1400, 1100)
    (tmp_path / "a.geojson").write_text(json.dumps(INNER))
    with caplog.at_level(logging.WARNING):
        still = read_tissue(slide, tmp_path / "a.geojson")
    assert "--tissue-from-bounds" in caplog.text
    moved = read_tissue(slide, tmp_path / "a.geojson", from_bounds=True)
    where = np.array([360, 560]), np.array([460, 560])
    assert still.share(*where, 80).tolist() == [1, 0]
    assert moved.share(*where, 80).tolist() == [0, 1]
    assert still.parameters != moved.parameters


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"nothing", "is no GeoJSON"),
        (b"{}", "is no GeoJSON of polygons"),
        (b'{"type": "Blob"}', "feature 1 has a geometry 'Blob'"),
        (b'{"type": "Polygon", "coordinates": [[[1, 2]]]}', "holds no polygon, but 1 empty polygon"),
        (b"3", "is no GeoJSON of polygons"),
        (b"null", "is no GeoJSON of polygons"),
    ],
)
def test_what_is_no_geojson_is_one_line(slide, tmp_path, content, told):
    (tmp_path / "a.geojson").write_bytes(content)
    with pytest.raises(SlideError, match=f"a.geojson: {told}") as error:
        read_tissue(slide, tmp_path / "a.geojson")
    assert "\n" not in str(error.value)


def test_what_is_no_image_or_not_there_is_one_line(slide, tmp_path):
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(SlideError, match="cannot be read as a mask"):
        read_tissue(slide, tmp_path / "a.png")
    with pytest.raises(SlideError, match="No such file"):
        read_tissue(slide, tmp_path / "b.png")


def test_empty_polygons_are_left_out_and_malformed_ones_refused_with_the_files_name(slide, tmp_path, caplog):
    """As `evaluate` has it, since one reader serves both."""
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([feature(INNER), feature({"type": "Polygon", "coordinates": []})]))
    mask = read_tissue(slide, path)
    assert mask.share(np.array([360]), np.array([460]), 80).tolist() == [1]
    assert caplog.messages == ["a.geojson: left out 1 empty polygon (feature 2)"]
    path.write_text(json.dumps([feature(INNER), feature({"type": "Polygon", "coordinates": [[OTHER]]})]))
    with pytest.raises(SlideError, match=r"a\.geojson: feature 2 is wrongly nested"):
        read_tissue(slide, path)


def test_asaps_xml_is_read_too(slide, tmp_path):
    points = "".join(f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(OTHER))
    (tmp_path / "a.xml").write_text(
        '<ASAP_Annotations><Annotation Name="a" Type="Polygon" PartOfGroup="Tumour"><Coordinates>'
        f"{points}</Coordinates></Annotation></ASAP_Annotations>"
    )
    mask = read_tissue(slide, tmp_path / "a.xml", classes=("tumour",))
    assert mask.share(np.array([360, 150]), np.array([460, 250]), 80).tolist() == [1, 0]


def test_a_class_that_lies_over_the_wanted_one_takes_nothing_from_it(slide, tmp_path):
    features = [feature({"type": "Polygon", "coordinates": [SQUARE]}, "Tissue "), feature(INNER, "Artefact")]
    (tmp_path / "a.geojson").write_text(json.dumps(features))
    mask = read_tissue(slide, tmp_path / "a.geojson", classes=("tissue",))
    assert mask.share(np.array([360]), np.array([460]), 80).tolist() == [1]


def test_a_mask_larger_than_pillow_allows_is_read(slide, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.fromarray(ellipse(800, 600)).save(tmp_path / "mask.png")
    found, expected = shares(read_tissue(slide, tmp_path / "mask.png"), ellipse(1600, 1200))
    assert np.abs(found - expected).max() < 0.01


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.random.default_rng(0).integers(0, 255, (300, 400, 3)), "more than 256 colours, as a picture has"),
        (np.full((300, 400, 3), (250, 240, 251)), "a coloured picture without black"),
    ],
)
def test_a_picture_is_no_mask(slide, tmp_path, values, told):
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(SlideError, match=told):
        read_tissue(slide, tmp_path / "mask.png")
    with pytest.raises(SlideError, match="is a coloured picture"):
        read_tissue(slide, tmp_path / "mask.png", classes=("1",))


def test_masks_are_read_in_strips(slide, tmp_path, monkeypatch):
    monkeypatch.setattr("tissuumaps_sic.slidefile.areas.masks._STRIP_PIXELS", 10_000)
    monkeypatch.setattr("embedder.patches.drawn._MASK_SIDE", 500)
    Image.fromarray(ellipse(1600, 1200)).save(tmp_path / "mask.png")
    found, expected = shares(read_tissue(slide, tmp_path / "mask.png"), ellipse(1600, 1200))
    assert np.abs(found - expected).max() < 0.01


def test_polygons_beside_the_slide_are_no_tissue(slide, tmp_path):
    far = [[[x + 5000, y] for x, y in OTHER]]
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": far}))
    with pytest.raises(SlideError, match=r"all 1 polygons lie outside the slide, 1600 x 1200 px"):
        read_tissue(slide, tmp_path / "a.geojson")


def test_a_folder_has_a_file_for_each_slide(slide, tmp_path):
    folder = tmp_path / "tissue"
    folder.mkdir()
    with pytest.raises(SlideError, match=r"no tissue for ramp; it would be ramp\.geojson"):
        read_tissue(slide, folder)
    Image.fromarray(ellipse(1600, 1200)).save(folder / "ramp_mask.png")
    assert read_tissue(slide, folder).method == "mask"
    (folder / "ramp.geojson").write_text(json.dumps(BOTH))
    with pytest.raises(SlideError, match=r"ramp\.geojson and ramp_mask\.png"):
        read_tissue(slide, folder)


def test_only_what_was_drawn_is_embedded_and_another_drawing_is_another_file(tmp_path, monkeypatch):
    monkeypatch.setattr(embedder.embedding.encoding, "load_encoder", lambda *args, **kwargs: MeanEncoder())
    path = write_ramp(tmp_path / "ramp.tif", width=1600, height=1200)
    drawn = tmp_path / "a.geojson"
    drawn.write_text(json.dumps({"type": "Polygon", "coordinates": [SQUARE]}))
    options = EmbedOptions(tissue=drawn, umap=False, min_tissue=0.99)
    (result,) = embed_slides([path], tmp_path / "out", options)
    # Corners at whole strides of 128 px, from 101 to 444 across and from 200 to 644 down.
    assert result.n_patches == len([128, 256, 384]) * len([256, 384, 512, 640])
    assert embed_slides([path], tmp_path / "out", options)[0].status == "skipped"
    drawn.write_text(json.dumps({"type": "Polygon", "coordinates": [SQUARE, HOLE]}))
    again = embed_slides([path], tmp_path / "out", options)[0]
    assert again.status == "failed"
    assert "tissue parameters" in again.message
