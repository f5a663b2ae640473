"""Regions against the labels that they were made of, cell by cell, and against areas counted by hand."""

import gzip
import json
from contextlib import contextmanager

import numpy as np
import pytest
import shapely
import shapely.geometry
from PIL import Image

from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.export import geojson
from tissuumaps_sic.export.geojson import write_geojson
from tissuumaps_sic.slides.regions import Scale, cells_of, regions_of, scale_of
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.slides.umap import read_tissue

CLASSES = tuple(
    SeedClass(name=name, color=color)
    for name, color in (("Other", "#00a6fb"), ("Tumour", "#ffb000"), ("In situ", "#009e73"))
)


def lattice(columns, rows, stride=(100.0, 100.0), corner=(50.0, 50.0), keep=None):
    """Centres of a lattice, row by row."""
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    centres = np.column_stack([x.ravel(), y.ravel()]) * stride + corner
    return centres if keep is None else centres[keep]


@pytest.mark.parametrize("seed", range(20))
def test_every_patch_lies_in_the_region_of_its_label_and_in_no_other(seed):
    random = np.random.default_rng(seed)
    stride = (random.uniform(50, 200), random.uniform(50, 200))
    # Holes, diagonal touches and missing cells, all of them by chance; and a lattice that is not of pixels.
    keep = random.random(300) < 0.85
    centres = np.rint(lattice(20, 15, stride, keep=keep))
    labels = random.integers(0, 3, len(centres))
    regions = regions_of(centres, labels, Scale(stride, (0.5, 0.25)))
    assert [region.label for region in regions] == [0, 1, 2]
    points = shapely.points(centres)
    for region in regions:
        assert region.shape.is_valid
        assert np.array_equal(shapely.contains(region.shape, points), labels == region.label)
        n = (labels == region.label).sum()
        assert region.share == pytest.approx(n / len(labels))
        assert region.area == pytest.approx(n * stride[0] * stride[1] * 0.125e-6)


def test_glass_is_told_from_tissue():
    centres, labels = lattice(4, 2), np.array([0, 0, 1, 1, 0, 0, 1, 1])
    tissue = np.array([1, 0.5, 0, 0.25, 1, 0.5, 0, 0.25], np.float32)
    one, two = regions_of(centres, labels, Scale((100, 100), (1, 1)), tissue=tissue)
    assert (one.area, two.area) == pytest.approx((0.04, 0.04))
    assert (one.tissue, two.tissue) == pytest.approx((0.03, 0.005))
    assert (one.share, two.share) == pytest.approx((6 / 7, 1 / 7))
    # Where no patch has any, or its size is not known, there is nothing to tell.
    assert regions_of(centres, labels, Scale((100, 100), (1, 1)), tissue=0 * tissue)[0].tissue is None
    bare = regions_of(centres, labels, Scale((100, 100)), tissue=tissue)[0]
    assert (bare.tissue, bare.share) == (None, pytest.approx(6 / 7))


def test_the_tissue_of_the_demo_is_that_of_the_mask_it_was_painted_by(demo_folder):
    slide = open_slide_file(demo_folder / "demo.h5ad")
    (region,) = regions_of(
        slide.centres, np.zeros(slide.n_patches, int), scale_of(slide), tissue=read_tissue(slide.path)
    )
    mask = np.asarray(Image.open(demo_folder / "demo_mask.png"))
    painted = (mask > 0).sum() * (16 * 0.5e-3) ** 2
    assert region.area > 1.1 * painted
    assert region.tissue == pytest.approx(painted, rel=0.05)


def test_a_ring_has_a_hole_and_a_straight_border_two_corners():
    labels = np.zeros((5, 5), int)
    labels[1:4, 1:4] = 1
    labels[2, 2] = 0
    outer, ring = regions_of(lattice(5, 5), labels.ravel(), Scale((100, 100)))
    (polygon,) = ring.shape.geoms
    assert len(polygon.interiors) == 1
    assert polygon.equals(shapely.box(100, 100, 400, 400) - shapely.box(200, 200, 300, 300))
    # Four corners of each ring, and the first again.
    assert shapely.get_num_coordinates(polygon) == 10
    assert len(outer.shape.geoms) == 2
    assert ring.area is None


def test_simplified_neighbours_still_share_their_borders():
    random = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(40), np.arange(40))
    labels = (np.hypot(x - 20, y - 20) + random.normal(0, 1, x.shape) < 12).astype(int).ravel()
    centres = lattice(40, 40)
    plain = regions_of(centres, labels, Scale((100, 100)))
    simple = regions_of(centres, labels, Scale((100, 100)), simplify=250)
    corners = [sum(shapely.get_num_coordinates(each.shape) for each in found) for found in (plain, simple)]
    assert corners[1] < 0.7 * corners[0]
    assert simple[0].shape.intersection(simple[1].shape).area == pytest.approx(0)
    assert sum(each.shape.area for each in simple) == pytest.approx(4000 * 4000, rel=0.01)
    assert simple[1].share == pytest.approx(plain[1].share, rel=0.1)


def test_a_single_patch_is_a_square_around_its_centre():
    (region,) = regions_of(np.array([[1000.0, 500.0]]), np.array([2]), Scale((128, 64)))
    assert region.label == 2
    assert region.share == 1
    assert region.shape.equals(shapely.box(936, 468, 1064, 532))


def test_what_cannot_be_is_told():
    with pytest.raises(ValueError, match="closer than their stride of 300 x 300"):
        cells_of(lattice(3, 3), (300, 300))
    with pytest.raises(ValueError, match="simplify is -1"):
        regions_of(lattice(2, 1), np.array([0, 1]), Scale((100, 100)), simplify=-1)


def test_the_scale_is_the_files_or_the_centres(small_h5ad, demo_folder):
    bare = open_slide_file(small_h5ad)
    assert scale_of(bare) == Scale((128.0, 128.0))
    demo = open_slide_file(demo_folder / "demo.h5ad")
    assert scale_of(demo) == Scale((128.0, 128.0), (0.5, 0.5), (0.0, 0.0))


@pytest.mark.parametrize("name", ["a.geojson", "a.geojson.gz"])
def test_qupath_finds_annotations_with_class_colour_and_area_from_the_bounds_corner(tmp_path, name):
    centres = lattice(4, 4, corner=(1050.0, 2050.0))
    labels = np.arange(16) % 3
    scale = Scale((100, 100), (0.5, 0.5), (1000.0, 2000.0))
    regions = regions_of(centres, labels, scale)
    write_geojson(regions, CLASSES, scale, tmp_path / name)
    raw = (tmp_path / name).read_bytes()
    text = gzip.decompress(raw) if name.endswith(".gz") else raw
    data = json.loads(text)
    assert data["type"] == "FeatureCollection"
    for feature, region in zip(data["features"], regions, strict=True):
        properties = feature["properties"]
        assert properties["objectType"] == "annotation"
        assert properties["classification"]["name"] == CLASSES[region.label].name
        red, green, blue = properties["classification"]["color"]
        assert f"#{red:02x}{green:02x}{blue:02x}" == CLASSES[region.label].color
        shape = shapely.geometry.shape(feature["geometry"])
        mine = shapely.points(centres - (1000, 2000))
        assert np.array_equal(shapely.contains(shape, mine), labels == region.label)
        assert properties["measurements"]["Area mm^2"] == pytest.approx(
            (labels == region.label).sum() * 0.0025
        )
    # Another reader, which streams nothing and knows nothing of ours.
    collection = shapely.from_geojson(text)
    assert len(collection.geoms) == 3
    assert collection.bounds == (0, 0, 400, 400)


def test_the_same_regions_are_the_same_bytes_packed_too(tmp_path):
    scale = Scale((100, 100), (0.5, 0.5), (0.0, 0.0))
    regions = regions_of(lattice(4, 4), np.arange(16) % 3, scale)
    for name in ("a.geojson.gz", "b.geojson.gz"):
        write_geojson(regions, CLASSES, scale, tmp_path / name)
    packed = (tmp_path / "a.geojson.gz").read_bytes()
    assert packed == (tmp_path / "b.geojson.gz").read_bytes()
    assert packed[3:8] == bytes(5)  # neither a name nor a time


@pytest.mark.parametrize("name", ["a.geojson", "a.geojson.gz"])
def test_gdal_opens_the_annotations_as_a_second_reader(tmp_path, name):
    geopandas = pytest.importorskip("geopandas")
    rng = np.random.default_rng(0)
    keep = rng.random(300) < 0.85
    centres = lattice(20, 15, (100, 75), corner=(1050.0, 2037.5), keep=keep)
    labels = rng.integers(0, 3, len(centres))
    scale = Scale((100, 75), (0.5, 0.25), (1000.0, 2000.0))
    regions = regions_of(centres, labels, scale)
    write_geojson(regions, CLASSES, scale, tmp_path / name)
    # GDAL's own way into a compressed file.
    path = f"/vsigzip/{tmp_path / name}" if name.endswith(".gz") else tmp_path / name
    frame = geopandas.read_file(path, engine="pyogrio")
    assert frame["name"].tolist() == [each.name for each in CLASSES]
    assert frame["objectType"].tolist() == ["annotation"] * 3
    points = shapely.points(centres - scale.origin)
    for place, region in enumerate(regions):
        shape = frame.geometry.iloc[place]
        assert shape.is_valid
        assert np.array_equal(shapely.contains(shape, points), labels == place)
        assert shape.area == pytest.approx(region.shape.area)
        classification, measured = frame["classification"].iloc[place], frame["measurements"].iloc[place]
        classification, measured = (
            json.loads(each) if isinstance(each, str) else each for each in (classification, measured)
        )
        assert classification["name"] == CLASSES[place].name
        assert measured["Area mm^2"] == pytest.approx((labels == place).sum() * 100 * 75 * 0.125e-6)
        assert measured["Share %"] == pytest.approx(100 * (labels == place).mean())


def test_regions_of_many_pieces_are_written_in_small_ones(tmp_path, monkeypatch):
    # A chequerboard: every cell of a class is a polygon of its own.
    x, y = np.meshgrid(np.arange(160), np.arange(160))
    scale = Scale((100, 100))
    regions = regions_of(lattice(160, 160), ((x + y) % 2).ravel(), scale)
    assert sum(len(each.shape.geoms) for each in regions) > 12_000
    pieces = []

    class Noted:
        def __init__(self, file):
            self.file = file

        def write(self, text):
            pieces.append(len(text))
            return self.file.write(text)

        def writelines(self, lines):
            for line in lines:
                self.write(line)

    opened = geojson._open

    @contextmanager
    def noting(path, *, compressed):
        with opened(path, compressed=compressed) as file:
            yield Noted(file)

    monkeypatch.setattr(geojson, "_open", noting)
    write_geojson(regions, CLASSES, scale, tmp_path / "a.geojson")
    assert sum(pieces) == (tmp_path / "a.geojson").stat().st_size > 2_000_000
    assert max(pieces) < 20_000
    collection = shapely.from_geojson((tmp_path / "a.geojson").read_text())
    assert sum(each.area for each in collection.geoms) == 160 * 160 * 100 * 100
