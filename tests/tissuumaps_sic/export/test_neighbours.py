"""Labels in the formats of other programs, opened again by those programs' own libraries."""

import csv
import json
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace

import anndata
import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from making.embeddings import write_ramp
from making.labels import CLASSES, labelled, plan, write_grid_h5ad
from PIL import Image

from tissuumaps_sic.annotation.runs import label
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import save_session, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.export.annotations import find_regions
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.formats import FORMATS, ExportOptions
from tissuumaps_sic.export.pieces import pieces_of
from tissuumaps_sic.slidefile.areas.files import read_areas
from tissuumaps_sic.slides.regions import Region


def ring_labels(grid):
    """A square of tumour with a hole of another class in it, and two pieces of a third."""
    column, row = grid.column - grid.column.min(), grid.row - grid.row.min()
    labels = np.zeros(len(grid), int)
    labels[(column >= 1) & (column <= 5) & (row >= 1) & (row <= 5)] = 1
    labels[(column == 2) & (row == 2)] = 0
    labels[(column == 4) & (row == 3)] = 2
    labels[(column == 8) & (row == 8)] = 2
    return labels


@pytest.fixture
def ring(tmp_path):
    grid = plan((2600, 1900), bounds=(13, 21, 2500, 1850))
    h5ad = write_grid_h5ad(tmp_path / "ring.h5ad", grid)
    return labelled(h5ad, ring_labels(grid), scores=np.full(len(grid), 0.95), save=True)


def write(made, target, **options):
    suffixes = {each.suffix: name for name, each in FORMATS.items() if each.suffix}
    name = next(name for suffix, name in suffixes.items() if target.name.endswith(f".{suffix}"))
    FORMATS[name].write(made, target, ExportOptions(**options))
    return target


def shapes_of(made, **options):
    """The region of each class by its name, as every format is to give it."""
    regions, classes = find_regions(made, **options)
    return {classes[region.label].name: region.shape for region in regions}


def same(shape, other):
    return shapely.symmetric_difference(shape, other).area <= 1e-6 * other.area


def test_polygons_are_cut_into_pieces_that_cover_what_they_covered():
    holes = [shapely.box(x, y, x + 3, y + 2) for x in range(5, 90, 11) for y in range(5, 90, 7)]
    shape = shapely.difference(shapely.box(0, 0, 100, 100), shapely.union_all(holes))
    # A triangle in a hole of a slanted polygon as well, whose cut runs through no corner.
    slanted = shapely.Polygon([(200, 0), (300, 10), (280, 90)], [[(260, 20), (280, 21), (272, 40)]])
    region = Region(0, shapely.MultiPolygon([shape, slanted]), None, 1.0)
    pieces = pieces_of(region)
    assert all(piece.is_valid and not piece.interiors and piece.area > 0 for piece in pieces)
    assert sum(piece.area for piece in pieces) == pytest.approx(region.shape.area, rel=1e-12)
    assert same(shapely.union_all(pieces), region.shape)
    assert len(pieces) < 4 * len(holes)


def test_asap_reads_the_regions_without_their_holes(ring, tmp_path):
    target = write(ring, tmp_path / "ring.asap.xml")
    areas = read_areas(target)
    assert not areas.from_bounds
    shapes = shapes_of(ring)
    for name, shape in shapes.items():
        polygons = [
            shapely.Polygon(outline)
            for area in areas.of([name])
            for outline, *holes in area.polygons
            if not holes
        ]
        assert len(polygons) == sum(len(area.polygons) for area in areas.of([name]))
        assert same(shapely.union_all(polygons), shape)
    root = ET.parse(target).getroot()
    groups = {each.get("Name"): each.get("Color") for each in root.iter("Group")}
    assert groups == {each.name: each.color.upper() for each in ring.classes}
    assert {each.get("Type") for each in root.iter("Annotation")} == {"Polygon"}
    for annotation in root.iter("Annotation"):
        order = [int(each.get("Order")) for each in annotation.iter("Coordinate")]
        assert order == list(range(len(order)))


# What large_image's annotation schema says of a polyline, and of the whole (girder_large_image_annotation).
POLYLINE = {
    "type",
    "points",
    "closed",
    "holes",
    "fillColor",
    "lineColor",
    "lineWidth",
    "label",
    "group",
    "user",
    "id",
}
ANNOTATION = {"name", "description", "display", "attributes", "elements"}
COLOR = r"^(#[0-9a-fA-F]{3,6}|rgb\(\d+,\s*\d+,\s*\d+\)|rgba\(\d+,\s*\d+,\s*\d+,\s*(\d?\.|)\d+\))$"


def test_the_digital_slide_archives_annotation_has_the_regions_with_holes(ring, tmp_path):
    made = json.loads(write(ring, tmp_path / "ring.dsa.json").read_text())
    assert set(made) <= ANNOTATION
    assert made["name"]
    found = {}
    for element in made["elements"]:
        assert set(element) <= POLYLINE
        assert element["type"] == "polyline"
        assert element["closed"] is True
        assert set(element["label"]) == {"value"}
        for key in ("fillColor", "lineColor"):
            assert pd.Series([element[key]]).str.fullmatch(COLOR[1:-1]).all()
        rings = [element["points"], *element.get("holes", [])]
        assert all(
            len(ring) >= 3 and all(len(point) == 3 and point[2] == 0 for point in ring) for ring in rings
        )
        outline, *holes = (np.array(ring)[:, :2] for ring in rings)
        found.setdefault(element["group"], []).append(shapely.Polygon(outline, holes))
    shapes = shapes_of(ring)
    assert found.keys() == shapes.keys()
    assert any(shape.interiors for shape in found["Tumour"])
    for name, polygons in found.items():
        assert same(shapely.union_all(polygons), shapes[name])


def test_geopandas_and_gdal_read_the_regions(ring, tmp_path):
    shapes = shapes_of(ring, simplify=0.0)
    frame = geopandas.read_parquet(write(ring, tmp_path / "ring.geoparquet"))
    assert frame.crs is None
    assert frame["class"].tolist() == list(shapes)
    regions, _ = find_regions(ring)
    assert np.allclose(frame["area_mm2"], [each.area for each in regions])
    assert np.allclose(frame["share"], [each.share for each in regions])
    for row in frame.itertuples():
        assert shapely.equals(row.geometry, shapes[frame["class"][row.Index]])
    # GDAL, which reads GeoJSON and the mask's georeference by drivers of its own.
    by_gdal = geopandas.read_file(write(ring, tmp_path / "ring.geojson"), engine="pyogrio")
    origin = np.array([13, 21])
    for name, shape in zip(by_gdal["name"], by_gdal.geometry, strict=True):
        moved = shapely.transform(shape, lambda points: points + origin)
        assert same(moved, shapes[name])


def test_parquet_has_the_rows_of_the_csv_with_types(ring, tmp_path):
    unlike = np.arange(ring.slide.n_patches) % 4 == 0
    made = replace(ring, unlike=unlike)
    frame = pd.read_parquet(write(made, tmp_path / "ring.labels.parquet"))
    with write(made, tmp_path / "ring.labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert frame.columns.tolist() == list(rows[0])
    assert frame["patch"].tolist() == [row["patch"] for row in rows]
    assert frame["label"].tolist() == [row["label"] for row in rows]
    assert frame["seed"].fillna("").tolist() == [row["seed"] for row in rows]
    assert np.allclose(frame["x"], [float(row["x"]) for row in rows])
    assert np.allclose(frame["score"], [float(row["score"]) for row in rows], atol=1e-6)
    assert frame["unlike"].tolist() == unlike.tolist()
    assert frame.dtypes[["x", "score", "unlike"]].tolist() == ["float64", "float32", "bool"]


def test_what_is_not_installed_is_told_by_its_extra_and_not_offered(ring, tmp_path, monkeypatch):
    from tissuumaps_sic.export import extras
    from tissuumaps_sic.viewer.tables import page_tables

    offered = [each["name"] for each in page_tables()["exports"]]
    assert {"dicom", "parquet", "spatialdata"} <= set(offered)
    assert "lazyslide" not in offered
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    for name, extra in (("dicom", "dicom"), ("geoparquet", "parquet"), ("lazyslide", "spatialdata")):
        with pytest.raises(ExportError, match=rf"--format {name} needs \w+; run pip install .*\[{extra}\]"):
            FORMATS[name].write(ring, tmp_path / "out")
    left = [each["name"] for each in page_tables()["exports"]]
    assert left == [name for name in offered if not FORMATS[name].extra]
    assert not list(tmp_path.glob("out*"))


@pytest.fixture
def spatialdata():
    import spatialdata

    return spatialdata


def test_spatialdata_opens_the_store(ring, tmp_path, spatialdata):
    from spatialdata.transformations import get_transformation

    store = write(ring, tmp_path / "ring.labels.zarr", embeddings=True)
    read = spatialdata.read_zarr(store)
    assert set(read.shapes) == {"regions", "patches"}
    shapes = shapes_of(ring)
    regions = read.shapes["regions"]
    assert regions["class"].tolist() == list(shapes)
    assert regions["color"].tolist() == [each.color for each in ring.classes]
    assert all(shapely.equals(*pair) for pair in zip(regions.geometry, shapes.values(), strict=True))
    patches, table = spatialdata.match_element_to_table(read, "patches", "labels")
    patches = patches["patches"]
    assert patches["patch"].tolist() == table.obs_names.tolist() == ring.slide.patch_names.tolist()
    assert np.allclose(patches.geometry.area, 256 * 256)
    centres = shapely.get_coordinates(patches.centroid)
    assert np.allclose(centres, ring.slide.centres)
    names = np.array([each.name for each in ring.classes])
    assert table.obs["sic_label"].tolist() == names[ring.labels].tolist()
    assert np.allclose(table.X, ring.every)
    assert table.var_names.tolist() == names.tolist()
    assert np.allclose(table.obsm["X_embedding"], np.asarray(ring.slide.X))
    assert np.allclose(table.obsm["spatial"], ring.slide.centres)
    for element in (regions, patches):
        known = get_transformation(element, get_all=True)
        assert set(known) == {"global", "micrometres"}
        assert np.allclose(
            np.diag(known["micrometres"].to_affine_matrix(("x", "y"), ("x", "y"))), [0.5, 0.5, 1]
        )
    by_table = spatialdata.get_values("Tumour", sdata=read, element_name="patches", table_name="labels")
    assert np.allclose(by_table["Tumour"], ring.every[:, 1])


def test_a_store_that_others_wrote_into_is_not_replaced_unasked(ring, tmp_path, spatialdata):
    store = write(ring, tmp_path / "ring.labels.zarr")
    first = (store / "zarr.json").stat().st_ino
    write(ring, store)
    assert (store / "zarr.json").stat().st_ino != first
    read = spatialdata.read_zarr(store)
    read["mine"] = read["regions"]
    read.write_element("mine")
    with pytest.raises(ExportError, match="shapes/mine, which this program did not write"):
        write(ring, store)
    assert "mine" in spatialdata.read_zarr(store)
    write(ring, store, replace=True)
    assert "mine" not in spatialdata.read_zarr(store)
    other = tmp_path / "other.zarr"
    other.mkdir()
    (other / "precious").write_text("mine")
    for replaced in (False, True):
        with pytest.raises(ExportError, match="is not a SpatialData store"):
            write(ring, other, replace=replaced)
    assert (other / "precious").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {
        "ring.h5ad", "ring.sic.json", "ring.labels.zarr", "other.zarr"
    }  # fmt: skip


def test_a_store_with_other_files_and_attributes_is_not_replaced_unasked(ring, tmp_path):
    import zarr

    store = write(ring, tmp_path / "ring.labels.zarr")
    (store / "notes.txt").write_text("mine")
    (store / "qc").mkdir()
    zarr.open_group(store, mode="r+", use_consolidated=False).attrs["stain"] = "H&E"
    before = content_of(store)
    with pytest.raises(
        ExportError, match=r"with notes\.txt, qc, attribute stain, which this program did not write"
    ):
        write(ring, store)
    assert content_of(store) == before
    write(ring, store, replace=True)
    assert not (store / "notes.txt").exists()


def test_a_failure_leaves_the_store_as_it_was(ring, tmp_path, monkeypatch, spatialdata):
    store = write(ring, tmp_path / "ring.labels.zarr")
    before = {path: path.stat().st_ino for path in store.rglob("*")}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zarr.consolidate_metadata", full)
    with pytest.raises(OSError, match="No space"):
        write(ring, store)
    assert {path: path.stat().st_ino for path in store.rglob("*")} == before
    assert not list(tmp_path.glob(".*"))


def write_store(path, made, *, order=None, extra=0, tiles="tiles", zarr_format=3, shift=0.0):
    """A store as LazySlide 0.13 lays it out: tiles in another order, `extra` of them that no patch is of."""
    import spatialdata
    from spatialdata._io.format import SpatialDataContainerFormatV01, SpatialDataContainerFormatV02
    from spatialdata.models import ShapesModel, TableModel

    corners = np.rint(made.slide.centres - 128) + shift
    corners = np.vstack([corners, corners.max() + 256 * (1 + np.arange(extra))[:, None] + [[0, 0]]])
    order = np.random.default_rng(3).permutation(len(corners)) if order is None else order
    corners = corners[order]
    frame = geopandas.GeoDataFrame(
        {"tile_id": np.arange(len(corners)), "x": corners[:, 0], "y": corners[:, 1], "tissue_id": 0},
        geometry=shapely.box(*corners.T, *(corners + 256).T),
    )
    tissue = geopandas.GeoDataFrame({"tissue_id": [0]}, geometry=[shapely.box(0, 0, 2600, 1900)])
    obs = pd.DataFrame(
        {"tile_id": np.arange(len(corners)), "library_id": pd.Categorical([tiles] * len(corners))},
        index=[str(each) for each in range(len(corners))],
    )
    features = anndata.AnnData(
        X=np.random.default_rng(0).random((len(corners), 4)).astype(np.float32), obs=obs
    )
    store = spatialdata.SpatialData(
        shapes={"tissues": ShapesModel.parse(tissue), tiles: ShapesModel.parse(frame)},
        tables={
            f"resnet_{tiles}": TableModel.parse(
                features, region=tiles, region_key="library_id", instance_key="tile_id"
            )
        },
    )
    store.attrs["slide_properties"] = {"shape": [1900, 2600], "mpp": 0.5, "bounds": [0, 0, 2600, 1900]}
    store.attrs["tile_spec"] = {tiles: {"height": 256, "width": 256, "mpp": 0.5}}
    version = SpatialDataContainerFormatV01 if zarr_format == 2 else SpatialDataContainerFormatV02
    store.write(path, sdata_formats=version())
    return path, order


def content_of(store, *, without=()):
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and not any(each in path.as_posix() for each in without)
    }


@pytest.mark.parametrize(("zarr_format", "extra"), [(2, 3), (3, 0), (3, 3)])
def test_labels_go_back_into_a_store_of_lazyslide(ring, tmp_path, spatialdata, zarr_format, extra):
    store, order = write_store(tmp_path / "ring.zarr", ring, extra=extra, zarr_format=zarr_format)
    # Of the store itself only the summary of all that is in it may change.
    summary = ("/zarr.json",) if zarr_format == 3 else ("/.zmetadata", "/zmetadata")
    before = content_of(store)
    write = FORMATS["lazyslide"].write
    for _ in range(2):  # what an earlier export put there is replaced
        write(ring, store)
    after = content_of(store)
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed <= {each.removeprefix("/") for each in summary}
    assert not list(tmp_path.glob(".*"))
    read = spatialdata.read_zarr(store)
    assert set(read.shapes) == {"tissues", "tiles", "sic_regions"}
    assert set(read.tables) == {"resnet_tiles", "sic_tiles"}
    assert read.attrs["slide_properties"]["shape"] == [1900, 2600]
    table = read.tables["sic_tiles"]
    # As wsidata finds the rows of tiles.
    rows = pd.Index(table.obs["tile_id"]).get_indexer(read.shapes["tiles"]["tile_id"])
    assert (rows >= 0).all()
    names = np.array([each.name for each in ring.classes])
    found = table.obs["sic_label"].to_numpy()[rows]
    known = order < ring.slide.n_patches
    assert found[known].tolist() == names[ring.labels[order[known]]].tolist()
    assert pd.isna(found[~known]).all()
    assert np.allclose(table.X[rows][known], ring.every[order[known]])
    assert np.isnan(table.X[rows][~known]).all()
    assert len(table) == len(order)
    shapes = shapes_of(ring)
    regions = read.shapes["sic_regions"]
    assert all(shapely.equals(a, b) for a, b in zip(regions.geometry, shapes.values(), strict=True))
    assert set(read.filter_by_coordinate_system("micrometres").shapes) == {"sic_regions"}


def test_a_store_with_empty_shapes_takes_labels(ring):
    from tissuumaps_sic.export.elements import patch_corners
    from tissuumaps_sic.export.lazyslide import _match

    bounds = patch_corners(ring)
    assert _match(bounds, bounds).tolist() == list(range(len(bounds)))
    assert _match(bounds, np.vstack([bounds, shapely.bounds(shapely.Polygon())])) is None


def test_wsidata_reads_the_labels_in_a_store_that_it_wrote(ring, tmp_path):
    """LazySlide's own library, whose store the labels go into beside features that it can still fetch."""
    from wsidata import TileSpec, open_wsi
    from wsidata.io import add_features, add_tiles, add_tissues

    write_ramp(tmp_path / "ring.tif", width=2600, height=1900)
    wsi = open_wsi(tmp_path / "ring.tif")
    order = np.random.default_rng(5).permutation(ring.slide.n_patches)
    corners = np.rint(ring.slide.centres - 128).astype(int)[order]
    add_tissues(wsi, "tissues", [shapely.box(0, 0, 2600, 1900)])
    spec = TileSpec.from_wsidata(wsi, 256, stride_px=128, mpp=0.5, slide_mpp=0.5)
    add_tiles(wsi, "tiles", corners, spec, np.zeros(len(corners), int))
    features = np.random.default_rng(0).random((len(corners), 3)).astype(np.float32)
    add_features(wsi, "toy_tiles", "tiles", features)
    wsi.write()
    FORMATS["lazyslide"].write(ring, tmp_path / "ring.zarr")
    again = open_wsi(tmp_path / "ring.tif")
    labels = again.fetch.features_anndata("sic")
    assert np.allclose(labels.X, ring.every[order])
    assert labels.var_names.tolist() == [each.name for each in ring.classes]
    assert np.allclose(labels.obsm["spatial"], corners)
    assert np.allclose(again.fetch.features_anndata("toy").X, features)
    assert again["sic_regions"]["class"].tolist() == list(shapes_of(ring))
    assert again.tile_spec("tiles") == spec
    # And it can be written on by them.
    add_features(again, "more_tiles", "tiles", features)
    again.write()
    assert {"sic_tiles", "toy_tiles", "more_tiles"} == set(open_wsi(tmp_path / "ring.tif").tables)


def test_patches_that_are_no_tiles_of_the_store_are_added(ring, tmp_path, spatialdata):
    store, _ = write_store(tmp_path / "ring.zarr", ring, shift=40)
    FORMATS["lazyslide"].write(ring, store, ExportOptions(embeddings=True))
    read = spatialdata.read_zarr(store)
    assert set(read.shapes) == {"tissues", "tiles", "sic_regions", "sic_patches"}
    table = read.tables["sic_sic_patches"]
    assert np.allclose(table.obsm["X_embedding"], np.asarray(ring.slide.X))
    assert read.shapes["sic_patches"]["tile_id"].tolist() == table.obs["tile_id"].tolist()


def test_what_others_put_into_the_store_stays(ring, tmp_path, spatialdata):
    store, _ = write_store(tmp_path / "ring.zarr", ring)
    read = spatialdata.read_zarr(store)
    read["sic_regions"] = read["tissues"]
    read.write_element("sic_regions")
    before = content_of(store)
    with pytest.raises(ExportError, match="has sic_regions already, which this program did not write"):
        FORMATS["lazyslide"].write(ring, store)
    assert content_of(store) == before
    FORMATS["lazyslide"].write(ring, store, ExportOptions(replace=True))
    assert spatialdata.read_zarr(store)["sic_regions"]["class"].tolist() == list(shapes_of(ring))


def test_a_store_of_another_slide_and_what_is_none_are_refused(ring, tmp_path):
    with pytest.raises(ExportError, match="is not a LazySlide store"):
        FORMATS["lazyslide"].write(ring, tmp_path / "none.zarr")
    store, _ = write_store(tmp_path / "ring.zarr", ring)
    import zarr

    root = zarr.open_group(store, mode="r+")
    root.attrs["slide_properties"] = {"shape": [999, 2600]}
    before = content_of(store)
    with pytest.raises(ExportError, match="of a slide of 2600 x 999 pixels"):
        FORMATS["lazyslide"].write(ring, store)
    assert content_of(store) == before


def test_a_killed_move_leaves_the_store_readable(ring, tmp_path, monkeypatch, spatialdata):
    store, _ = write_store(tmp_path / "ring.zarr", ring)
    FORMATS["lazyslide"].write(ring, store)
    from tissuumaps_sic.export import lazyslide

    exchange, done = lazyslide._exchange, []

    def stop(new, place, old):
        if done:
            raise KeyboardInterrupt
        done.append(exchange(new, place, old))

    monkeypatch.setattr(lazyslide, "_exchange", stop)
    with pytest.raises(KeyboardInterrupt):
        FORMATS["lazyslide"].write(ring, store)
    assert set(spatialdata.read_zarr(store).tables) == {"resnet_tiles", "sic_tiles"}
    assert not list(tmp_path.glob(".*"))


def test_what_was_there_is_kept_where_a_new_element_cannot_take_its_place(tmp_path, caplog):
    from tissuumaps_sic.export.lazyslide import _exchange, _find_free, _put_back

    store, new = tmp_path / "a.zarr", tmp_path / "new"
    place = store / "shapes" / "sic-regions"
    place.mkdir(parents=True)
    (place / "theirs").touch()
    theirs = {"a.zarr/shapes/sic-regions/theirs"}
    with pytest.raises(FileNotFoundError):
        _exchange(new, place, _find_free(store, "shapes", "sic-regions"))
    assert content_of(tmp_path).keys() == theirs
    # Killed between two names: the next one begins by putting it back, and into no other store.
    place.rename(_find_free(store, "shapes", "sic-regions"))
    (tmp_path / "a.sdata" / "shapes").mkdir(parents=True)
    _put_back(tmp_path / "a.sdata")
    assert not content_of(tmp_path / "a.sdata")
    _put_back(store)
    assert content_of(tmp_path).keys() == theirs
    # Another has been written in its place since: both stay, and that is told.
    shutil.copytree(place, old := _find_free(store, "shapes", "sic-regions"))
    _put_back(store)
    assert content_of(old)
    assert "put it back if something is missing there, else remove it" in caplog.text
    new.mkdir()
    (new / "ours").touch()
    _exchange(new, place, _find_free(store, "shapes", "sic-regions"))
    assert {path.name for path in place.iterdir()} == {"ours"}
    assert content_of(old)


def test_stores_go_where_the_command_line_says(ring, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_store(tmp_path / "ring.zarr", ring)
    # The labels of the fixture are not those that its seeds give.
    names = ring.slide.patch_names
    session = Session.new(ring.slide).seed([str(names[0])], 0).seed([str(names[-1])], 1)
    save_session(session_path(ring.slide.path), label(ring.slide, session).session)
    command = ["export", "ring.h5ad", "--format"]
    assert main([*command, "lazyslide"]) == 0
    assert main([*command, "lazyslide", "-o", "ring.zarr"]) == 0
    assert main(["export", ".", "--format", "lazyslide", "-o", "."]) == 0
    assert capsys.readouterr().out.split() == ["ring.zarr"] * 3
    assert main([*command, "spatialdata"]) == 0
    assert main([*command, "spatialdata", "-o", "ring.labels.zarr"]) == 0
    assert capsys.readouterr().out.split() == ["ring.labels.zarr"] * 2
    assert main([*command, "spatialdata", "-o", "ring.zarr"]) == 1
    (tmp_path / "out").mkdir()
    assert main([*command, "spatialdata", "-o", "out"]) == 0
    assert (tmp_path / "out" / "ring.labels.zarr" / "zarr.json").exists()


def read_dicom(path):
    import highdicom
    import pydicom

    return highdicom.ann.annread(path), pydicom.dcmread(path)


def test_highdicom_reads_the_regions_and_the_scores(ring, tmp_path, caplog):
    read, plain = read_dicom(write(ring, tmp_path / "ring.dcm"))
    assert "the slide is not a DICOM file" in caplog.text
    assert plain.Modality == "ANN"
    assert (plain.AnnotationCoordinateType, plain.PixelOriginInterpretation) == ("2D", "VOLUME")
    groups = {group.label: group for group in read.get_annotation_groups()}
    assert list(groups) == [*(each.name for each in CLASSES), *(f"{each.name}, patches" for each in CLASSES)]
    shapes = shapes_of(ring)
    for number, each in enumerate(CLASSES):
        polygons = [shapely.Polygon(points) for points in groups[each.name].get_graphic_data("2D")]
        assert all(polygon.is_valid for polygon in polygons)
        # Corners are kept to a hundredth of a pixel.
        assert shapely.symmetric_difference(shapely.union_all(polygons), shapes[each.name]).area < 10
        points = groups[f"{each.name}, patches"]
        rows = np.flatnonzero(ring.labels == number)
        assert np.allclose(np.vstack(points.get_graphic_data("2D")), ring.slide.centres[rows])
        names, values, units = points.get_measurements()
        assert np.allclose(values[:, 0], ring.scores[rows])
        assert names[0].value == "SCORE"
        assert units[0].value == "1"
    tumour, low = groups["Tumour"], groups["In situ: low"]
    assert tumour.annotated_property_type.value == "108369006"
    assert tumour.annotated_property_category.scheme_designator == "SCT"
    assert low.annotated_property_type.scheme_designator == "99SIC"
    assert low.annotated_property_type.meaning == "In situ: low"
    assert tumour.algorithm_type.value == "SEMIAUTOMATIC"


def test_slivers_that_rounding_closes_are_left_out_of_dicom(ring, tmp_path, monkeypatch):
    from tissuumaps_sic.export import dicom

    slivers = [
        shapely.Polygon([(200000, 100), (200000.001, 100), (200000, 100.000001)]),
        shapely.Polygon([(200000, 100), (200009, 100), (200009, 109), (200000, 100.000001)]),
    ]
    monkeypatch.setattr(dicom, "pieces_of", lambda region: slivers[: 1 + region.label])
    read, _ = read_dicom(write(ring, tmp_path / "ring.dcm"))
    polygons = {
        group.label: group.get_graphic_data("2D")
        for group in read.get_annotation_groups()
        if group.graphic_type.value == "POLYGON"
    }
    assert polygons.keys() == {"Tumour", "In situ: low"}
    for shapes in polygons.values():
        (shape,) = shapes
        assert sorted(shape.tolist()) == [[200000, 100], [200009, 100], [200009, 109]]


def test_annotations_of_a_slide_have_one_reference_in_every_export(ring, tmp_path):
    first, second = (read_dicom(write(ring, tmp_path / f"{name}.dcm"))[1] for name in ("first", "second"))
    for key in ("StudyInstanceUID",):
        assert first[key] == second[key]
    assert first.ReferencedImageSequence == second.ReferencedImageSequence
    assert first.SOPInstanceUID != second.SOPInstanceUID


@pytest.fixture
def dicom_slide(ring, tmp_path):
    """The slide as DICOM: two levels and a label, with a patient."""
    import pydicom
    from making.slides import write_dicom

    folder = tmp_path / "case.1"
    folder.mkdir()
    for number, (name, size, flavour) in enumerate(
        (("half", (1300, 950), "VOLUME"), ("full", (2600, 1900), "VOLUME"), ("label", (100, 90), "LABEL")), 1
    ):
        image = np.full((size[1], size[0], 3), 200, np.uint8)
        write_dicom(
            folder / f"{name}.dcm", image, series="1.2.3", instance=f"1.2.3.{number}", flavour=flavour
        )
        header = pydicom.dcmread(folder / f"{name}.dcm")
        header.PatientID, header.PatientName, header.StudyInstanceUID = "P7", "Müller^Ana", "1.2"
        header.SpecificCharacterSet = "ISO_IR 100"
        header.save_as(folder / f"{name}.dcm")
    return folder


def test_a_dicom_slide_is_referred_to_by_its_finest_level(ring, dicom_slide, tmp_path):
    for image in (dicom_slide, dicom_slide / "half.dcm"):
        _, plain = read_dicom(write(ring, tmp_path / "ring.dcm", image=image))
        assert plain.ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.2"
        assert plain.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3"
        assert (plain.StudyInstanceUID, plain.PatientID, str(plain.PatientName)) == (
            "1.2",
            "P7",
            "Müller^Ana",
        )


def test_the_wrong_dicom_slide_is_refused(ring, dicom_slide, tmp_path):
    (dicom_slide / "full.dcm").unlink()
    with pytest.raises(ExportError, match=r"has no level of 2600 x 1900 pixels.* but 1300 x 950"):
        write(ring, tmp_path / "ring.dcm", image=dicom_slide)
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    with pytest.raises(ExportError, match="is not a DICOM file"):
        write(ring, tmp_path / "ring.dcm", image=tmp_path / "a.png")
    assert not (tmp_path / "ring.dcm").exists()


def test_codes_of_ones_own_go_before_those_of_the_table(ring, tmp_path):
    head = "class,category_scheme,category_value,category_meaning,type_scheme,type_value,type_meaning"
    codes = tmp_path / "codes.csv"
    codes.write_text(
        f"{head}\nin situ: LOW,SCT,49755003,Morphologically Abnormal Structure,99LAB,DCIS1,Low grade DCIS\n"
        "Tumour,SCT,49755003,Morphologically Abnormal Structure,SCT,68453008,Carcinoma\n"
    )
    read, _ = read_dicom(write(ring, tmp_path / "ring.dcm", codes=codes))
    found = {group.label: group.annotated_property_type for group in read.get_annotation_groups()}
    assert (found["In situ: low"].scheme_designator, found["In situ: low"].value) == ("99LAB", "DCIS1")
    assert found["Tumour"].value == "68453008"
    codes.write_text(f"{head}\nTumour,SCT,1,x,SCT,12345678901234567,y\n")
    with pytest.raises(ExportError, match="line 2: type_value is '12345678901234567'"):
        write(ring, tmp_path / "ring.dcm", codes=codes)
    codes.write_text("class,type_value\nTumour,1\n")
    with pytest.raises(ExportError, match="has no column category_scheme"):
        write(ring, tmp_path / "ring.dcm", codes=codes)


def test_the_codes_of_the_table_are_those_of_snomed():
    from pydicom.sr.codedict import codes

    from tissuumaps_sic.export.dicom_codes import read_codes

    # Two that pydicom does not list; highdicom's own examples and those of others have them.
    known = {"56972008", "31610004"} | {getattr(codes.SCT, name).value for name in codes.SCT.dir()}
    for row in read_codes().values():
        assert row.category.meaning in {getattr(codes.cid7150, name).meaning for name in codes.cid7150.dir()}
        assert row.type.value in known, row


def test_a_class_may_have_any_name_in_every_neighbour(tmp_path):
    grid = plan((1400, 1100))
    names = ("a\\b", 'in "situ" <low> & é', "None", "肿瘤", "x" * 60)
    classes = tuple(replace_name(CLASSES[0], name, number) for number, name in enumerate(names))
    made = labelled(
        write_grid_h5ad(tmp_path / "a.h5ad", grid), np.arange(len(grid)) % len(names), classes=classes
    )
    assert set(read_areas(write(made, tmp_path / "a.asap.xml")).classes) == set(names)
    read, _ = read_dicom(write(made, tmp_path / "a.dcm"))
    labels = [group.label for group in read.get_annotation_groups()][: len(names)]
    assert labels == [name.replace("\\", "/") for name in names]
    assert geopandas.read_parquet(write(made, tmp_path / "a.geoparquet"))["class"].tolist() == list(names)
    elements = json.loads(write(made, tmp_path / "a.dsa.json").read_text())["elements"]
    assert {each["label"]["value"] for each in elements} == set(names)
    import spatialdata

    store = spatialdata.read_zarr(write(made, tmp_path / "a.zarr"))
    assert store["labels"].var_names.tolist() == list(names)
    assert shutil.rmtree(tmp_path / "a.zarr") is None


def replace_name(seed_class, name, number):
    return seed_class.model_copy(update={"name": name, "color": f"#0000{number:02x}"})
