"""Slides of other formats than vendors': OME-TIFF, OME-Zarr, DICOM; and which library reads them."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anndata
import numpy as np
import openslide
import pytest
import pyvips
import tifffile
import zarr
from making.embeddings import MeanEncoder, write_ramp
from making.slides import write_dicom, write_scn

import embedder.embedding.encoding
import embedder.embedding.image
from embedder.embedding.options import EmbedOptions
from embedder.embedding.pipeline import embed_slides
from embedder.embedding.request import SlideInput, gather
from embedder.patches.grid import PatchGrid
from embedder.patches.reading import iter_patches
from tissuumaps_sic.slidefile.contract import check
from tissuumaps_sic.slidefile.pixels import ome_xml, opening
from tissuumaps_sic.slidefile.pixels import openslide as by_openslide
from tissuumaps_sic.slidefile.pixels.openslide import OpenSlideSource
from tissuumaps_sic.slidefile.pixels.slide import Slide, is_slide, open_slide, require_resolution
from tissuumaps_sic.slidefile.pixels.source import SlideError
from tissuumaps_sic.slidefile.pixels.vips import VipsSource


def picture(width=700, height=520):
    """Red grows with x and green with y, so that nothing can be exchanged unseen; (rows, columns, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 250 // width, y * 250 // height, (x + y) % 200], axis=-1).astype(np.uint8)


def write_ome_tiff(path, image, *, mpp=0.25, unit="µm", levels=2, names=None, planar=False, **metadata):
    size = {"PhysicalSizeX": mpp, "PhysicalSizeXUnit": unit, "PhysicalSizeY": mpp, "PhysicalSizeYUnit": unit}
    if names:
        size["Channel"] = {"Name": names}
    size |= {"axes": "CYX" if planar else "YXS"}
    options = {"tile": (128, 128), "photometric": "minisblack" if planar else "rgb", "compression": "deflate"}
    with tifffile.TiffWriter(path, ome=True) as writer:
        data = image.transpose(2, 0, 1) if planar else image
        writer.write(data, subifds=levels - 1, metadata=size | metadata, **options)
        for level in range(1, levels):
            step = 2**level
            small = data[:, ::step, ::step] if planar else data[::step, ::step]
            writer.write(small, subfiletype=1, **options)
    return path


@pytest.mark.parametrize(("mpp", "unit"), [(0.25, "µm"), (250.0, "nm"), (0.00025, "mm")])
def test_an_ome_tiff_has_its_resolution_from_its_xml(tmp_path, mpp, unit):
    path = write_ome_tiff(tmp_path / "a.ome.tif", picture(), mpp=mpp, unit=unit)
    with open_slide(path) as slide:
        found = require_resolution(slide)
        assert (found.mpp_x, found.mpp_y) == pytest.approx((0.25, 0.25))
        assert found.source == "tag"
        assert slide.level_sizes == ((700, 520), (350, 260))
        assert np.array_equal(slide.read(100, 50, 300, 200), picture()[50:250, 100:400])
        assert np.array_equal(slide.read(10, 20, 50, 60, level=1), picture()[::2, ::2][20:80, 10:60])


@pytest.mark.parametrize("names", [None, ["R", "G", "B"], ["red", "green", "blue"]])
@pytest.mark.parametrize("levels", [1, 2])
def test_colours_that_are_planes_are_put_together(tmp_path, names, levels):
    path = write_ome_tiff(tmp_path / "a.ome.tif", picture(), names=names, planar=True, levels=levels)
    with open_slide(path) as slide:
        assert slide.level_sizes == ((700, 520), (350, 260))[:levels]
        assert np.array_equal(slide.read(100, 50, 300, 200), picture()[50:250, 100:400])
        if levels > 1:
            assert np.array_equal(slide.read(0, 0, 350, 260, level=1), picture()[::2, ::2])


@pytest.mark.parametrize("tile", [(128, 128), None])
def test_colours_that_are_planes_of_one_page_are_put_together(tmp_path, tile):
    path = tmp_path / "a.tif"
    planes = picture().transpose(2, 0, 1)
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", tile=tile, metadata=None)
    with open_slide(path) as slide:
        assert np.array_equal(slide.read(100, 50, 300, 200), picture()[50:250, 100:400])


def test_levels_that_are_pages_without_a_mark_are_found(tmp_path):
    """OpenSlide takes only pages that are marked as reduced."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for step in (1, 2, 4):
            writer.write(picture()[::step, ::step], tile=(128, 128), photometric="rgb", metadata=None)
    with open_slide(path) as slide:
        assert slide.level_sizes == ((700, 520), (350, 260), (175, 130))
        assert np.array_equal(slide.read(10, 20, 50, 60, level=2), picture()[::4, ::4][20:80, 10:60])


def test_a_stack_is_refused_with_its_planes(tmp_path):
    path = tmp_path / "a.ome.tif"
    stack = np.stack([picture(), picture()[::-1]])
    tifffile.imwrite(path, stack, photometric="rgb", tile=(128, 128), metadata={"axes": "ZYXS"})
    with pytest.raises(SlideError, match=r"'a\.ome\.tif' is a stack of 2 planes"):
        open_slide(path)


@pytest.mark.parametrize("tile", [(128, 128), None])
@pytest.mark.parametrize(("unit", "per_unit"), [("INCH", 101_600), ("CENTIMETER", 40_000), ("NONE", 40_000)])
def test_the_resolution_of_a_plain_tiff_is_in_its_unit(tmp_path, tile, unit, per_unit):
    path = tmp_path / "a.tif"
    options = {"photometric": "rgb", "tile": tile, "metadata": None, "compression": "deflate"}
    tifffile.imwrite(path, picture(), resolution=(per_unit, per_unit / 2), resolutionunit=unit, **options)
    with open_slide(path) as slide:
        if unit == "NONE":
            assert slide.resolution is None
        else:
            found = require_resolution(slide)
            assert (found.mpp_x, found.mpp_y, found.source) == (
                pytest.approx(0.25),
                pytest.approx(0.5),
                "tag",
            )


def test_the_scanned_part_of_a_slide_lies_at_its_place(tmp_path):
    """A Leica slide is scanned in part; colours say where each patch of the grid lies in level 0."""
    path = write_scn(tmp_path / "a.scn", picture(), collection=(2000, 1500), place=(710, 330))
    with open_slide(path) as slide:
        assert slide.size == (2000, 1500)
        assert slide.bounds == (710, 330, 700, 520)
        assert require_resolution(slide).mpp == pytest.approx(0.5)
        assert np.array_equal(slide.read(710, 330, 700, 520), picture())
        assert (slide.read(0, 0, 710, 1500) == 255).all()
        assert (slide.read(0, 0, 2000, 330) == 255).all()
        grid = PatchGrid.plan(slide.size, mpp_x=0.5, mpp_y=0.5, patch_size=64, bounds=slide.bounds)
        x, y = (grid.centres - (710, 330)).T
        assert (x.min(), y.min()) == (32, 32)
        for indices, patches in iter_patches(slide, grid, batch_size=50):
            red, green = patches[..., 0].mean((1, 2)), patches[..., 1].mean((1, 2))
            np.testing.assert_allclose(red, (x[indices] - 0.5) * 250 / 700 - 0.5, atol=0.5)
            np.testing.assert_allclose(green, (y[indices] - 0.5) * 250 / 520 - 0.5, atol=0.5)


@pytest.mark.parametrize("names", [["DAPI", "FITC", "Cy3"], ["a", "b", "c", "d"]])
def test_fluorescence_is_refused_with_its_channels(tmp_path, names):
    image = np.dstack([picture(), picture()[..., 0]])[..., : len(names)]
    path = write_ome_tiff(tmp_path / "a.ome.tif", image, names=names, planar=True)
    with pytest.raises(SlideError, match=rf"{len(names)} channels \({names[0]}, {names[1]}"):
        open_slide(path)


def write_zarr(path, image, *, version=2, order="cyx", levels=2, mpp=0.25, unit="micrometer", labels=None):
    """Write an OME-Zarr by hand, as the specification lays it out (NGFF 0.4 on version 2, 0.5 on 3)."""
    group = zarr.open_group(path, mode="w", zarr_format=version)
    kinds = {"x": "space", "y": "space", "z": "space", "c": "channel", "t": "time"}
    axes = [
        {"name": axis, "type": kinds[axis]} | ({"unit": unit} if axis in "xyz" and unit else {})
        for axis in order
    ]
    datasets = []
    for level in range(levels):
        step = 2**level
        small = image[::step, ::step]
        shape = {"y": small.shape[0], "x": small.shape[1], "c": 3}
        data = small.transpose([("yxc").index(axis) for axis in order if axis in "yxc"])
        data = data.reshape([shape.get(axis, 1) for axis in order])
        chunks = [
            min(128, size) if axis in "xy" else size for axis, size in zip(order, data.shape, strict=True)
        ]
        array = group.create_array(str(level), shape=data.shape, chunks=chunks, dtype=data.dtype)
        array[...] = data
        scale = [mpp * step if axis in "xy" else 1.0 for axis in order]
        datasets.append(
            {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        )
    found = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets}]}
    if labels:
        found["omero"] = {"channels": [{"label": each} for each in labels]}
    group.attrs.update(found if version == 2 else {"ome": found | {"version": "0.5"}})
    return path


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("order", ["cyx", "yxc", "tczyx"])
def test_an_ome_zarr_of_any_order_is_read_at_its_place(tmp_path, version, order):
    path = write_zarr(tmp_path / "case.zarr", picture(), version=version, order=order)
    with open_slide(path) as slide:
        assert slide.name == "case"
        assert slide.level_sizes == ((700, 520), (350, 260))
        assert slide.level_downsamples == (1, 2)
        assert slide.tile_sizes[0] == (128, 128)
        assert require_resolution(slide).mpp == pytest.approx(0.25)
        assert np.array_equal(slide.read(100, 50, 300, 200), picture()[50:250, 100:400])
        assert np.array_equal(slide.read(10, 20, 50, 60, level=1), picture()[::2, ::2][20:80, 10:60])
        assert (slide.read(690, 500, 40, 40)[30:, 20:] == 255).all()


@pytest.mark.parametrize(("unit", "mpp", "expected"), [("nanometer", 500, 0.5), ("millimeter", 0.001, 1.0)])
def test_the_unit_of_an_ome_zarr_counts(tmp_path, unit, mpp, expected):
    with open_slide(write_zarr(tmp_path / "a.zarr", picture(), unit=unit, mpp=mpp)) as slide:
        assert require_resolution(slide).mpp == pytest.approx(expected)


def test_an_ome_zarr_without_a_unit_says_no_resolution(tmp_path):
    """A scale of 1 without a unit is what writers put where they know nothing."""
    with (
        open_slide(write_zarr(tmp_path / "a.zarr", picture(), unit=None, mpp=1)) as slide,
        pytest.raises(SlideError, match="--slide-mpp"),
    ):
        require_resolution(slide)


def test_what_is_no_rgb_ome_zarr_is_refused(tmp_path):
    with pytest.raises(SlideError, match=r"3 channels \(DAPI, FITC, Cy3\)"):
        open_slide(write_zarr(tmp_path / "a.zarr", picture(), labels=["DAPI", "FITC", "Cy3"]))
    with pytest.raises(SlideError, match="uint16"):
        open_slide(write_zarr(tmp_path / "b.zarr", picture().astype(np.uint16)))
    zarr.open_group(tmp_path / "c.zarr", mode="w")
    with pytest.raises(SlideError, match="no OME-Zarr"):
        open_slide(tmp_path / "c.zarr")
    (tmp_path / "d.zarr").mkdir()
    with pytest.raises(SlideError, match="cannot be read as OME-Zarr"):
        open_slide(tmp_path / "d.zarr")


def test_the_hash_of_a_folder_tells_another_slide(tmp_path):
    one = write_zarr(tmp_path / "a" / "x.zarr", picture())
    same = write_zarr(tmp_path / "b" / "x.zarr", picture())
    other = write_zarr(tmp_path / "c" / "x.zarr", picture(width=690))
    hashes = []
    for path in (one, same, other):
        with open_slide(path) as slide:
            hashes.append(slide.fast_hash())
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_hash_of_a_folder_sees_pixels_that_change_no_size(tmp_path):
    hashes = set()
    for name in "ab":
        array = zarr.open_group(tmp_path / f"{name}.zarr", mode="w", zarr_format=2).create_array(
            "0", shape=(3, 64, 64), chunks=(3, 64, 64), dtype="u1", compressors=None
        )
        array[...] = picture(64, 64).transpose(2, 0, 1) if name == "a" else 9
        path = tmp_path / f"{name}.zarr"
        axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
        scale = [{"type": "scale", "scale": [1, 0.5, 0.5]}]
        zarr.open_group(path, mode="r+").attrs["multiscales"] = [
            {
                "axes": [{"name": "c", "type": "channel"}, *axes],
                "datasets": [{"path": "0", "coordinateTransformations": scale}],
            }
        ]
        with open_slide(path) as slide:
            hashes.add(slide.fast_hash())
    assert len(hashes) == 2


def test_an_ome_zarr_is_embedded_like_the_tiff_of_the_same_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(embedder.embedding.encoding, "load_encoder", lambda *args, **kwargs: MeanEncoder())
    tiff = write_ramp(tmp_path / "ramp.tif", width=900, height=700)
    pixels = np.asarray(pyvips.Image.new_from_file(str(tiff)))
    folder = write_zarr(tmp_path / "other.zarr", pixels, mpp=0.5)
    options = EmbedOptions(umap=False, min_tissue=0)
    results = embed_slides(gather([tiff, folder]), tmp_path / "out", options)
    assert [each.status for each in results] == ["done", "done"]
    a, b = (anndata.read_h5ad(each.h5ad) for each in results)
    assert np.array_equal(a.X, b.X)
    assert np.array_equal(a.obsm["spatial"], b.obsm["spatial"])
    assert check(Path(results[1].h5ad)) == []
    assert json.loads((tmp_path / "out" / "other.tmap").read_text())["layers"] == []


@pytest.fixture
def dicom(tmp_path):
    """Write a folder of DICOM files; each is given as its kind and its series."""

    def write(**files):
        folder = tmp_path / "case.1"
        folder.mkdir()
        for number, (name, (flavour, series)) in enumerate(files.items()):
            step = 2 if name.startswith("half") else 1
            write_dicom(
                folder / f"{name}.dcm",
                picture()[::step, ::step],
                series=series,
                instance=f"1.2.3.4.{number}",
                mpp=0.5 * step,
                flavour=flavour,
            )
        return folder

    return write


def test_a_folder_of_dicom_files_is_one_slide(dicom, tmp_path):
    folder = dicom(a_label=("LABEL", "1.2.3"), full=("VOLUME", "1.2.3"), half=("VOLUME", "1.2.3"))
    assert is_slide(folder)
    assert [each.name for each in gather([tmp_path])] == ["case.1"]
    assert SlideInput(folder).name == "case.1"
    with open_slide(folder) as slide, open_slide(folder / "half.dcm") as by_file:
        assert (slide.name, slide.path.parent) == ("case.1", folder)
        assert slide.level_sizes == by_file.level_sizes == ((700, 520), (350, 260))
        assert slide.fast_hash() == by_file.fast_hash()
        assert require_resolution(slide).mpp == pytest.approx(0.5)
        found = slide.read(100, 50, 300, 200).astype(int)
        assert np.abs(found - picture()[50:250, 100:400]).mean() < 2
        half = slide.read(10, 20, 50, 60, level=1).astype(int)
        assert np.abs(half - picture()[::2, ::2][20:80, 10:60]).mean() < 2


def test_the_viewer_gets_all_files_of_a_dicom_slide(dicom, tmp_path):
    folder = dicom(full=("VOLUME", "1.2.3"), half=("VOLUME", "1.2.3"))
    (tmp_path / "out").mkdir()
    placement = embedder.embedding.image.plan_image(folder / "full.dcm", tmp_path / "out")
    embedder.embedding.image.link_image(placement)
    assert placement.name == "case.1/full.dcm"
    assert (tmp_path / "out" / "case.1" / "half.dcm").exists()


def test_a_folder_of_two_dicom_slides_or_none_is_told(dicom):
    with pytest.raises(SlideError, match=r"holds 2 slides.*full\.dcm, other\.dcm"):
        open_slide(dicom(full=("VOLUME", "1.2.3"), half=("VOLUME", "1.2.3"), other=("VOLUME", "4.5.6")))


def test_dicom_files_that_are_no_slide_are_told(dicom):
    with pytest.raises(
        SlideError, match=r"'case\.1' holds DICOM files, but no slide that OpenSlide reads"
    ) as told:
        open_slide(dicom(label=("LABEL", "1.2.3")))
    assert "\n" not in str(told.value)


def test_a_folder_of_mixed_slides_is_a_folder(tmp_path):
    for name in ("a.dcm", "b.svs"):
        (tmp_path / name).write_bytes(b"x")
    assert not is_slide(tmp_path)
    assert [each.path.name for each in gather([tmp_path])] == ["a.dcm", "b.svs"]


def backend(slide: Slide) -> str:
    return type(slide._source.source).__name__


@pytest.mark.parametrize(
    "name", ["slides/CMU-1-Small-Region.svs", "mosaics/mosaic_3.tif", "slides/osp_boxes.tiff"]
)
def test_the_faster_library_gives_the_pixels_of_openslide(shared_data, name):
    path = shared_data / name
    with open_slide(path, mpp=0.5) as slide, openslide.OpenSlide(path) as reference:
        assert slide.level_sizes == reference.level_dimensions
        assert slide.level_downsamples == reference.level_downsamples
        for level, (width, height) in enumerate(slide.level_sizes):
            expected = np.asarray(OpenSlideSource(reference).read(0, 0, width, height, level))
            assert np.array_equal(slide.read(0, 0, width, height, level=level), expected)
    if name.endswith("tif"):
        with open_slide(path) as slide:
            assert backend(slide) == "VipsSource"
            assert slide.fast_hash().startswith("openslide-quickhash-1:")


def test_where_the_libraries_differ_openslide_is_used(tmp_path, monkeypatch):
    path = write_ramp(tmp_path / "ramp.tif")
    with open_slide(path) as slide:
        assert backend(slide) == "VipsSource"
    read = VipsSource.read
    monkeypatch.setattr(VipsSource, "read", lambda *args: read(*args) ^ 1)
    with open_slide(path) as slide:
        assert backend(slide) == "OpenSlideSource"


def write_tiles(path, *, compression="jpeg"):
    pyvips.Image.new_from_array(picture()).tiffsave(
        str(path), tile=True, tile_width=128, tile_height=128, compression=compression, Q=90
    )
    return path


def test_a_tile_that_was_left_out_is_white_and_the_others_stay(tmp_path):
    path = write_tiles(tmp_path / "a.tif")
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].tags["TileByteCounts"].valueoffset
        expected = file.pages[0].asarray()
    with path.open("r+b") as file:
        file.seek(place)
        file.write(bytes(2))
    with open_slide(path) as slide:
        assert backend(slide) == "VipsSource"
        for _ in range(2):  # asked again, libvips gives black
            assert (slide.read(0, 0, 128, 128) == 255).all()
            found = slide.read(200, 300, 100, 50).astype(int)
            assert np.abs(found - expected[300:350, 200:300]).max() <= 2


def test_a_damaged_tile_is_an_error_each_time_and_never_black(tmp_path):
    path = write_tiles(tmp_path / "a.tif")
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].dataoffsets[-1]
    with path.open("r+b") as file:
        file.seek(place + 20)
        file.write(bytes(2000))
    with open_slide(path) as slide:
        assert slide.read(0, 0, 128, 128)[..., 0].max() < 100
        for _ in range(3):
            with pytest.raises(SlideError, match=r"'a\.tif' opens, but its pixels at \(650, 515\)"):
                slide.read(650, 515, 20, 5)


def test_slides_too_wide_for_libvips_are_read_by_openslide(tmp_path, monkeypatch):
    path = write_tiles(tmp_path / "a.tif")
    monkeypatch.setattr(opening, "_MOST_HELD", 2 * (700 + 128) * 128 * 3 - 1)
    with open_slide(path) as slide:
        assert backend(slide) == "OpenSlideSource"
    monkeypatch.setattr(opening, "_MOST_HELD", 2 * (700 + 128) * 128 * 3)
    with open_slide(path) as slide:
        assert backend(slide) == "VipsSource"


def test_openslides_bare_buffer_and_its_image_give_the_same_pixels(tmp_path, monkeypatch):
    path = write_scn(tmp_path / "a.scn", picture(), collection=(1000, 900), place=(120, 150))
    regions = []
    for bare in (True, False):
        if not bare:
            monkeypatch.setattr(by_openslide, "_read_into", None)
        with open_slide(path) as slide:
            assert backend(slide) == "OpenSlideSource"
            regions.append(slide.read(0, 0, 1000, 900))
    assert np.array_equal(*regions)
    assert np.array_equal(regions[0][150:670, 120:820], picture())


def test_premultiplied_pixels_lie_on_white():
    argb = np.array([[0xFF102030, 0x00000000, 0x80400010]], np.uint32)
    expected = [[0x10, 0x20, 0x30], [255, 255, 255], [0x40 + 127, 127, 0x10 + 127]]
    assert by_openslide._on_white(argb)[0].tolist() == expected


def test_threads_that_read_at_once_get_their_own_pixels(tmp_path):
    path = write_tiles(tmp_path / "a.tif", compression="deflate")
    places = [(x, y) for y in range(0, 440, 40) for x in range(0, 600, 60)] * 3
    with open_slide(path) as slide, ThreadPoolExecutor(4) as pool:
        assert backend(slide) == "VipsSource"
        for (x, y), region in zip(places, pool.map(lambda p: slide.read(*p, 90, 70), places), strict=True):
            assert np.array_equal(region, picture()[y : y + 70, x : x + 90])


def test_a_tag_ten_times_off_its_objective_is_refused_and_twice_is_doubted(tmp_path, monkeypatch, caplog):
    path = write_ramp(tmp_path / "ramp.tif", mpp=0.25)
    powers = {20: "doubt", 40: None, 4: "refused", 400: "refused"}
    for power, expected in powers.items():
        with open_slide(path) as slide:
            slide.objective_power = power
            caplog.clear()
            if expected == "refused":
                with pytest.raises(
                    SlideError, match=rf"0\.25 µm/px and {power}x, which contradict.*--slide-mpp"
                ):
                    require_resolution(slide)
            else:
                require_resolution(slide)
            assert ("is usual" in caplog.text) == (expected == "doubt")
    with open_slide(path, mpp=0.25) as slide:
        slide.objective_power = 4
        require_resolution(slide)  # what the user gave is never refused


@pytest.mark.parametrize("text", [None, "", "Aperio Image", "<OME", "<OME></OME>", "<a>OME</a>"])
def test_a_description_that_is_no_ome_xml_says_nothing(text):
    assert ome_xml.read_ome_xml(text, (1, 1)) is None


def test_a_size_of_nothing_or_in_unknown_units_is_none():
    assert ome_xml.micrometres("0", "µm") is None
    assert ome_xml.micrometres("nan", "µm") is None
    assert ome_xml.micrometres("1", "pixel") is None
    assert ome_xml.micrometres("half", None) is None
    assert ome_xml.micrometres("0.5", None) == 0.5
