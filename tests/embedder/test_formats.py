"""Slides of other formats than vendors': OME-TIFF, OME-Zarr, DICOM; and which library reads them."""

import json
from pathlib import Path
from typing import ClassVar

import anndata
import numpy as np
import openslide
import pytest
import pyvips
import tifffile
import zarr
from making_embeddings import MeanEncoder, write_ramp
from PIL import Image

import embedder.embed
from embedder import ome, sources
from embedder.contract import check
from embedder.embed import EmbedOptions, embed_slides
from embedder.inputs import SlideInput, gather
from embedder.slide import Slide, SlideError, is_slide, open_slide, require_resolution


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
def test_colours_that_are_planes_are_put_together(tmp_path, names):
    path = write_ome_tiff(tmp_path / "a.ome.tif", picture(), names=names, planar=True)
    with open_slide(path) as slide:
        assert slide.level_sizes == ((700, 520), (350, 260))
        assert np.array_equal(slide.read(100, 50, 300, 200), picture()[50:250, 100:400])
        assert np.array_equal(slide.read(0, 0, 350, 260, level=1), picture()[::2, ::2])


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


def test_an_ome_zarr_is_embedded_like_the_tiff_of_the_same_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(embedder.embed, "load_encoder", lambda *args, **kwargs: MeanEncoder())
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


class Dicom:
    """Stands in for OpenSlide on DICOM files, none of which can be made here: `series` by file name."""

    series: ClassVar[dict[str, str | None]] = {}

    def __init__(self, path):
        self.uid = self.series[Path(path).name]
        if self.uid is None:
            raise openslide.OpenSlideError("Couldn't get image flavor")
        self.properties = {"openslide.vendor": "dicom", "dicom.SeriesInstanceUID": self.uid}
        self.properties |= {"openslide.mpp-x": "0.5", "openslide.mpp-y": "0.5"}
        self.level_dimensions, self.level_downsamples, self.level_count = ((600, 400),), (1.0,), 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def close(self):
        pass

    def set_cache(self, _):
        pass

    def read_region(self, place, level, size):
        return Image.new("RGBA", size, (9, 8, 7, 255))


@pytest.fixture
def dicom(tmp_path, monkeypatch):
    monkeypatch.setattr(sources.openslide, "OpenSlide", Dicom)

    def write(**series):
        folder = tmp_path / "case.1"
        folder.mkdir()
        Dicom.series = {f"{name}.dcm": uid for name, uid in series.items()}
        for name in Dicom.series:
            (folder / name).write_bytes(b"x")
        return folder

    return write


def test_a_folder_of_dicom_files_is_one_slide(dicom, tmp_path):
    folder = dicom(a_label=None, b_level="1.2.3", c_level="1.2.3")
    assert is_slide(folder)
    assert [each.name for each in gather([tmp_path])] == ["case.1"]
    assert SlideInput(folder).name == "case.1"
    with open_slide(folder) as slide:
        assert (slide.name, slide.path.name, slide.size) == ("case.1", "b_level.dcm", (600, 400))
        assert slide.read(0, 0, 2, 2)[0, 0].tolist() == [9, 8, 7]


def test_the_viewer_gets_all_files_of_a_dicom_slide(dicom, tmp_path):
    folder = dicom(a="1.2.3", b="1.2.3")
    (tmp_path / "out").mkdir()
    assert embedder.embed.place_image(folder / "a.dcm", tmp_path / "out") == "case.1/a.dcm"
    assert (tmp_path / "out" / "case.1" / "b.dcm").exists()


def test_a_folder_of_two_dicom_slides_or_none_is_told(dicom):
    with pytest.raises(SlideError, match=r"holds 2 slides.*a\.dcm, c\.dcm"):
        open_slide(dicom(a="1.2.3", b="1.2.3", c="4.5.6"))


def test_dicom_files_that_are_no_slide_are_told(dicom):
    with pytest.raises(SlideError, match=r"no slide that OpenSlide reads .*image flavor"):
        open_slide(dicom(a=None))


def test_a_folder_of_mixed_slides_is_a_folder(tmp_path):
    for name in ("a.dcm", "b.svs"):
        (tmp_path / name).write_bytes(b"x")
    assert not is_slide(tmp_path)
    assert [each.path.name for each in gather([tmp_path])] == ["a.dcm", "b.svs"]


def backend(slide: Slide) -> str:
    return type(slide._source).__name__


@pytest.mark.parametrize(
    "name", ["slides/CMU-1-Small-Region.svs", "mosaics/mosaic_3.tif", "slides/osp_boxes.tiff"]
)
def test_the_faster_library_gives_the_pixels_of_openslide(shared_data, name):
    path = shared_data / name
    with open_slide(path, mpp=0.5) as slide, openslide.OpenSlide(path) as reference:
        assert slide.level_sizes == reference.level_dimensions
        assert slide.level_downsamples == reference.level_downsamples
        for level, (width, height) in enumerate(slide.level_sizes):
            expected = np.asarray(sources.OpenSlideSource(reference).read(0, 0, width, height, level))
            assert np.array_equal(slide.read(0, 0, width, height, level=level), expected)
    if name.endswith("tif"):
        with open_slide(path) as slide:
            assert backend(slide) == "VipsSource"
            assert slide.fast_hash().startswith("openslide-quickhash-1:")


def test_where_the_libraries_differ_openslide_is_used(tmp_path, monkeypatch):
    path = write_ramp(tmp_path / "ramp.tif")
    with open_slide(path) as slide:
        assert backend(slide) == "VipsSource"
    read = sources.VipsSource.read
    monkeypatch.setattr(sources.VipsSource, "read", lambda *args: read(*args) ^ 1)
    with open_slide(path) as slide:
        assert backend(slide) == "OpenSlideSource"


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
    assert ome.parse_xml(text) is None


def test_a_size_of_nothing_or_in_unknown_units_is_none():
    assert ome.micrometres("0", "µm") is None
    assert ome.micrometres("nan", "µm") is None
    assert ome.micrometres("1", "pixel") is None
    assert ome.micrometres("half", None) is None
    assert ome.micrometres("0.5", None) == 0.5
