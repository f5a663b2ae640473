"""A slide's colour profile: known whatever reads the slide, and applied as a second library applies it."""

import io

import numpy as np
import pytest
import pyvips
import tifffile
from making.damage import make_profile, tissue, write_pyramid
from making.tiff import UNDEFINED, page, write_tiff
from PIL import Image, ImageCms

from tissuumaps_sic.slidefile.pixels.colours import ColourProfile
from tissuumaps_sic.slidefile.pixels.slide import open_slide
from tissuumaps_sic.slidefile.pixels.source import SlideError

PROFILE = make_profile()
PIXELS = tissue(500, 400)
APERIO = "Aperio Image Library v11.2.1 \r\n500x400 [0,0 500x400] (128x128) Q=70|AppMag = 20|MPP = 0.5"
OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image>'
    '<Pixels SizeX="500" SizeY="400" SizeZ="1" SizeC="3" SizeT="1" Type="uint8" '
    'PhysicalSizeX="0.5" PhysicalSizeY="0.5"><Channel '
    'SamplesPerPixel="3"/></Pixels></Image></OME>'
)


def by_vips(pixels, profile=PROFILE):
    image = pyvips.Image.new_from_array(pixels).copy(interpretation="srgb")
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return image.icc_transform("srgb", embedded=True, intent="perceptual").numpy().astype(int)


def write_kind(kind, folder, profile=PROFILE):
    if kind == "png":
        Image.fromarray(PIXELS).save(folder / "a.png", icc_profile=profile)
        return folder / "a.png"
    tags = {} if profile is None else {34675: (UNDEFINED, profile)}
    described = {"svs": {270: APERIO}, "ome": {270: OME}}.get(kind, {})
    odd = page(PIXELS, tags=tags | described)
    if kind == "strips":
        odd = page(PIXELS, tile=None, tags=tags)
    return write_tiff(folder / f"a.{'svs' if kind == 'svs' else 'tif'}", odd)


@pytest.mark.parametrize("kind", ["plain", "svs", "ome", "strips", "png"])
def test_pixels_are_converted_as_libvips_does_it_and_only_when_asked(tmp_path, kind):
    path = write_kind(kind, tmp_path)
    with open_slide(path, mpp=0.5) as slide:
        assert (slide.profile.description, slide.is_converted) == ("made up scanner", False)
        assert slide.profile.content == PROFILE
        assert np.array_equal(slide.read(0, 0, 500, 400), PIXELS)
    with open_slide(path, mpp=0.5, icc=True) as slide:
        assert slide.is_converted
        found = slide.read(0, 0, 500, 400).astype(int)
        assert np.abs(found - by_vips(PIXELS)).max() <= 2
        assert np.abs(found - PIXELS).mean() > 5
        # Whatever is read of a slide goes the same way; what lies beside it stays white.
        assert np.abs(slide.thumbnail(500).astype(int) - by_vips(PIXELS)).max() <= 2
        assert (slide.read(490, 390, 30, 30)[10:, 10:] == 255).all()


def test_a_slide_without_a_profile_says_so_and_stays_as_it_is(tmp_path, caplog):
    path = write_kind("plain", tmp_path, profile=None)
    with open_slide(path, mpp=0.5, icc=True) as slide:
        assert (slide.profile, slide.is_converted) == (None, False)
        assert np.array_equal(slide.read(0, 0, 500, 400), PIXELS)
    assert "'a.tif' has no colour profile, so its pixels are taken as they are" in caplog.text


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        (b"no profile at all" * 20, "cannot open profile"),
        (make_profile(space=b"GRAY"), "of GRAY and not of RGB"),
    ],
)
def test_a_profile_that_cannot_convert_is_told_and_hinders_nobody_who_does_not_ask(tmp_path, profile, why):
    path = write_kind("plain", tmp_path, profile=profile)
    with open_slide(path, mpp=0.5) as slide:
        assert np.array_equal(slide.read(0, 0, 500, 400), PIXELS)
        assert len(slide.profile.sha256) == 64
    with pytest.raises(SlideError, match=rf"cannot convert its pixels \(.*{why}.*\); leave --icc out"):
        open_slide(path, mpp=0.5, icc=True)


def test_what_a_profile_says_of_itself_is_one_line():
    assert ColourProfile(make_profile(name="a\nb\x07 c  d" + "e" * 500)).description.startswith("a b c de")
    assert len(ColourProfile(make_profile(name="e" * 500)).description) <= 200
    assert ColourProfile(b"").description is None


def test_pillow_itself_agrees(tmp_path):
    path = write_pyramid(tmp_path / "a.tif", PIXELS, profile=PROFILE)
    with tifffile.TiffFile(path) as file:
        stored = file.pages[0].asarray()
    profile = ImageCms.getOpenProfile(io.BytesIO(PROFILE))
    expected = ImageCms.profileToProfile(Image.fromarray(stored), profile, ImageCms.createProfile("sRGB"))
    with open_slide(path, icc=True) as slide:
        assert np.array_equal(slide.read(0, 0, 500, 400), np.asarray(expected))
