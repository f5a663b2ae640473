"""Where a slide's image is looked for, and its pixels at other scales."""

import json

import h5py
import numpy as np
import pytest
from PIL import Image

from tissuumaps_sic.slidefile.pixels.source import SlideError
from tissuumaps_sic.slidefile.placing import find_image, layers_of, open_image, place_image


def project(path, *sources):
    path.write_text(json.dumps({"layers": [{"name": "a", "tileSource": each} for each in sources]}))


def test_the_image_is_that_of_the_project_beside_the_h5ad_or_of_the_one_in_it(tmp_path):
    h5ad = tmp_path / "a.h5ad"
    with h5py.File(h5ad, "w") as file:
        file["uns/tmap"] = json.dumps({"layers": [{"name": "a", "tileSource": "in.svs.dzi"}]})
    assert find_image(h5ad) is None
    (tmp_path / "in.svs").touch()
    assert find_image(h5ad) == tmp_path / "in.svs"
    project(tmp_path / "a.tmap", "beside.svs.dzi", "sub/deep.svs.dzi")
    assert find_image(h5ad) is None
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "deep.svs").touch()
    assert find_image(h5ad) == tmp_path / "sub" / "deep.svs"
    (tmp_path / "a.tmap").write_text("no json")
    assert find_image(h5ad) == tmp_path / "in.svs"


@pytest.mark.parametrize(
    "source",
    ["../out.svs.dzi", "/etc/passwd.dzi", "a/../../out.svs.dzi", "c:/x.svs.dzi", "a\\b.dzi", 7, ".dzi", "x"],
)
def test_a_project_leads_nobody_out_of_its_folder(tmp_path, source):
    (tmp_path / "in").mkdir()
    (tmp_path / "out.svs").touch()
    project(tmp_path / "in" / "a.tmap", source)
    assert layers_of(tmp_path / "in" / "a.h5ad") == []
    assert find_image(tmp_path / "in" / "a.h5ad") is None


@pytest.mark.parametrize("text", ["[]", "{}", '{"layers": 7}', '{"layers": [7, {}]}', '"a"'])
def test_odd_projects_have_no_image(tmp_path, text):
    (tmp_path / "a.tmap").write_text(text)
    assert find_image(tmp_path / "a.h5ad") is None


def test_an_image_is_linked_into_another_folder_but_never_over_anothers_file(tmp_path):
    image, other = tmp_path / "a" / "s.svs", tmp_path / "b"
    image.parent.mkdir()
    other.mkdir()
    image.write_text("pixels")
    assert place_image(image, image.parent) == "s.svs"
    assert place_image(image, tmp_path) == "a/s.svs"
    assert place_image(image, other) == "s.svs"
    assert (other / "s.svs").read_text() == "pixels"
    assert (other / "s.svs").is_symlink()
    assert place_image(image, other) == "s.svs"
    # A link in the folder is an image of the folder, wherever it leads.
    assert place_image(other / "s.svs", other) == "s.svs"
    (other / "s.svs").unlink()
    (other / "s.svs").write_text("another")
    assert place_image(image, other) is None
    assert (other / "s.svs").read_text() == "another"


def test_where_there_are_no_symbolic_links_a_hard_one_is_made(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("not permitted")

    (tmp_path / "b").mkdir()
    (tmp_path / "s.svs").write_text("pixels")
    monkeypatch.setattr("pathlib.Path.symlink_to", refuse)
    assert place_image(tmp_path / "s.svs", tmp_path / "b") == "s.svs"
    assert (tmp_path / "b" / "s.svs").samefile(tmp_path / "s.svs")
    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    (tmp_path / "c").mkdir()
    assert place_image(tmp_path / "s.svs", tmp_path / "c") is None


def test_a_mirax_slide_brings_its_folder_along_and_a_dicom_file_its_neighbours(tmp_path):
    (tmp_path / "a" / "m").mkdir(parents=True)
    (tmp_path / "a" / "m.mrxs").touch()
    (tmp_path / "a" / "m" / "Data0000.dat").touch()
    (tmp_path / "d" / "series").mkdir(parents=True)
    (tmp_path / "d" / "series" / "1.dcm").touch()
    (tmp_path / "b").mkdir()
    assert place_image(tmp_path / "a" / "m.mrxs", tmp_path / "b") == "m.mrxs"
    assert (tmp_path / "b" / "m" / "Data0000.dat").exists()
    assert place_image(tmp_path / "d" / "series" / "1.dcm", tmp_path / "b") == "series/1.dcm"
    assert (tmp_path / "b" / "series" / "1.dcm").exists()


def test_pictures_of_any_scale_are_means_of_the_pixels_below(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (600, 900, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    with open_image(tmp_path / "noise.png") as image:
        assert image.size == (900, 600)
        assert np.array_equal(image.picture(100, 50, 300, 200, (300, 200)), pixels[50:250, 100:400])
        whole = image.picture(0, 0, 900, 600, (90, 60)).astype(int)
        # In pieces, each made smaller at once, as a slide that does not fit the memory.
        monkeypatch.setattr("tissuumaps_sic.slidefile.pixels.slide._MOST_AT_ONCE", 1000)
        monkeypatch.setattr("tissuumaps_sic.slidefile.pixels.slide._BLOCK_PIXELS", 128)
        pieces = image.picture(0, 0, 900, 600, (90, 60)).astype(int)
        means = pixels.reshape(60, 10, 90, 10, 3).mean(axis=(1, 3))
        assert np.abs(pieces - means).max() <= 1
        assert np.abs(whole - means).mean() < 6
        # What is outside of the slide is white.
        beyond = image.picture(-100, -100, 1100, 800, (1100, 800))
        assert (beyond[:100] == 255).all()
        assert (beyond[:, :100] == 255).all()
        assert np.array_equal(beyond[100:700, 100:1000], pixels)
        assert (image.picture(5000, 5000, 64, 64, (32, 32)) == 255).all()


def test_grey_and_transparent_pictures_are_rgb_on_white(tmp_path):
    Image.new("L", (40, 30), 77).save(tmp_path / "grey.png")
    Image.new("RGBA", (40, 30), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    for name, color in (("grey.png", 77), ("clear.png", 255)):
        with open_image(tmp_path / name) as image:
            assert (image.picture(0, 0, 40, 30, (40, 30)) == color).all()


def test_what_is_no_image_is_told(tmp_path):
    (tmp_path / "a.svs").write_text("x" * 1000)
    with pytest.raises(SlideError, match=r"'a\.svs' is no slide.*--image"):
        open_image(tmp_path / "a.svs")
    with pytest.raises(SlideError, match="no such file"):
        open_image(tmp_path / "b.svs")
