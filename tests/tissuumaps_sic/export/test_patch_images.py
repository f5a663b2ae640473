"""Pictures of patches against the pixels that were embedded, and against a slide that is known by heart."""

import csv
import json
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
from making.damage import make_profile, tissue, write_pyramid
from making.embeddings import write_ramp
from making.labels import CLASSES, labelled, plan, write_grid_h5ad
from PIL import Image

from embedder.patches.reading import iter_patches
from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.cli import main
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.names import safe_names
from tissuumaps_sic.export.patch_images import write_patches
from tissuumaps_sic.slidefile.pixels.slide import Slide, open_slide
from tissuumaps_sic.slidefile.pixels.source import SlideError


@pytest.fixture
def ramp(tmp_path):
    """A slide of 1400 x 1100 pixels at 0.5 µm/px beside its h5ad; every third patch is of a class."""
    write_ramp(tmp_path / "ramp.tif")
    grid = plan((1400, 1100))
    h5ad = write_grid_h5ad(tmp_path / "ramp.h5ad", grid, image="ramp.tif")
    return labelled(h5ad, np.arange(len(grid)) % 3, save=True)


def manifest(folder):
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def pixels_of(path):
    return np.asarray(Image.open(path))


def test_each_patch_of_the_classes_is_written_with_its_own_pixels(ramp, tmp_path):
    folder = write_patches(ramp, tmp_path / "out", ["Tumour", "Other"])
    assert folder == tmp_path / "out" / "ramp"
    y, x = np.mgrid[0:1100, 0:1400]
    known = np.stack([x * 250 / 1400, y * 250 / 1100, np.full_like(x, 20)], axis=-1).astype(np.uint8)
    rows = manifest(folder)
    assert [row["patch"] for row in rows] == [
        str(name) for label in (0, 1) for name in ramp.slide.patch_names[ramp.labels == label]
    ]
    for row in rows:
        x0, y0 = int(row["x0"]), int(row["y0"])
        place = ramp.slide.index[row["patch"]]
        assert row["patch"] == f"ramp_{x0}_{y0}"
        assert np.array_equal(pixels_of(folder / row["file"]), known[y0 : y0 + 256, x0 : x0 + 256])
        assert row["file"] == f"{row['class']}/{row['patch']}.png"
        assert row["class"] == CLASSES[ramp.labels[place]].name
        assert float(row["score"]) == pytest.approx(ramp.scores[place], abs=1e-6)
    assert [row["seed"] for row in rows if row["seed"]] == ["Other"]
    written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    assert written == sorted(row["file"] for row in rows)


@pytest.mark.parametrize(
    ("mpp", "target", "size"),
    [((0.5, 0.5), 1.0, 128), ((0.5, 0.5), 0.7, 224), ((0.5, 0.5), 2.0, 96), ((0.4, 0.6), 0.9, 128)],
)
def test_patches_of_another_scale_are_those_that_were_embedded(tmp_path, mpp, target, size):
    write_ramp(tmp_path / "ramp.tif", mpp=mpp[0])
    with open_slide(tmp_path / "ramp.tif") as slide:
        grid = plan(
            (1400, 1100),
            mpp=mpp,
            target_mpp=target,
            patch_size=size,
            bounds=(13, 21, 1300, 1050),
            level_downsamples=slide.level_downsamples,
        )
        embedded = np.concatenate([patches for _, patches in iter_patches(slide, grid, batch_size=64)])
    made = labelled(
        write_grid_h5ad(tmp_path / "ramp.h5ad", grid, image="ramp.tif"), np.zeros(len(grid)), scores=None
    )
    folder = write_patches(made, tmp_path / "out", ["Other"])
    rows = manifest(folder)
    assert len(rows) == len(grid)
    for row in rows:
        mine = pixels_of(folder / row["file"]).astype(int)
        assert mine.shape == (size, size, 3)
        # A grey value of rounding, where positions are rounded in another order.
        assert np.abs(mine - embedded[made.slide.index[row["patch"]]]).max() <= 1


def test_colours_are_converted_where_they_were_to_embed_it(tmp_path):
    write_pyramid(tmp_path / "a.tif", tissue(600, 500), profile=make_profile())
    grid = plan((600, 500))
    made = labelled(write_grid_h5ad(tmp_path / "a.h5ad", grid, image="a.tif"), np.zeros(len(grid)))
    for icc in (False, True):
        with h5py.File(made.slide.path, "r+") as file:
            known = json.loads(file["uns/embedder"].asstr()[()]) | {"encoder": {"icc": icc}}
            file["uns/embedder"][()] = json.dumps(known)
        folder = write_patches(made, tmp_path / str(icc), ["Other"])
        with open_slide(tmp_path / "a.tif", icc=icc) as slide:
            for row in manifest(folder):
                expected = slide.read(int(row["x0"]), int(row["y0"]), 256, 256)
                assert np.array_equal(pixels_of(folder / row["file"]), expected)


def test_a_real_slide_gives_the_patches_that_were_embedded(shared_data, tmp_path):
    source = shared_data / "slides" / "CMU-1-Small-Region.svs"
    with open_slide(source) as slide:
        resolution = slide.resolution
        grid = plan(slide.size, mpp=(resolution.mpp_x, resolution.mpp_y), target_mpp=1.0, overlap=0)
        embedded = np.concatenate([patches for _, patches in iter_patches(slide, grid, batch_size=64)])
    made = labelled(
        write_grid_h5ad(tmp_path / "cmu.h5ad", grid), np.arange(len(grid)) % 2, classes=CLASSES[:2]
    )
    folder = write_patches(made, tmp_path / "out", ["Tumour"], image=source)
    rows = manifest(folder)
    assert len(rows) == (made.labels == 1).sum()
    for row in rows:
        mine = pixels_of(folder / row["file"]).astype(int)
        assert np.abs(mine - embedded[made.slide.index[row["patch"]]]).max() <= 1


def test_what_openslide_refuses_is_read_by_libvips(ramp, tmp_path):
    shutil.move(tmp_path / "ramp.tif", tmp_path / "elsewhere.tif")
    y, x = np.mgrid[0:1100, 0:1400]
    known = np.stack([x * 250 / 1400, y * 250 / 1100, np.full_like(x, 20)], axis=-1).astype(np.uint8)
    Image.fromarray(known).save(tmp_path / "flat.png")
    folder = write_patches(ramp, tmp_path / "out", ["Tumour"], image=tmp_path / "flat.png")
    for row in manifest(folder):
        x0, y0 = int(row["x0"]), int(row["y0"])
        assert np.array_equal(pixels_of(folder / row["file"]), known[y0 : y0 + 256, x0 : x0 + 256])


def test_the_most_and_the_least_score_choose_the_same_patches_every_time(ramp, tmp_path):
    mine = np.flatnonzero(ramp.labels == 1)
    best = mine[np.argsort(-ramp.scores[mine], kind="stable")]
    for number in range(2):
        out = tmp_path / str(number)
        folder = write_patches(ramp, out, ["Tumour"], most=5)
        assert [row["patch"] for row in manifest(folder)] == list(ramp.slide.patch_names[np.sort(best[:5])])
    # The least counts too.
    least = float(ramp.scores[best[2]])
    folder = write_patches(ramp, tmp_path / "least", ["Tumour"], min_score=least, most=9)
    assert [row["patch"] for row in manifest(folder)] == list(ramp.slide.patch_names[np.sort(best[:3])])


def test_equal_scores_are_taken_in_the_order_of_the_file(ramp, tmp_path):
    even = replace(ramp, every=np.full_like(ramp.every, 0.5))
    folder = write_patches(even, tmp_path / "o", ["Tumour"], most=4)
    first = ramp.slide.patch_names[ramp.labels == 1][:4]
    assert [row["patch"] for row in manifest(folder)] == list(first)


def test_class_names_become_folders_that_every_system_takes(ramp, tmp_path):
    folder = write_patches(ramp, tmp_path / "out", ["In situ: low"])
    assert {path.name for path in folder.iterdir()} == {"manifest.csv", "In situ_ low"}
    assert {row["class"] for row in manifest(folder)} == {"In situ: low"}
    for name in ("..", "/etc", "a/../../b", "CON", "nul.png", "x" * 300, " . ", "a\\b", "a:b"):
        (safe,) = safe_names([name])
        assert (tmp_path / safe).resolve().parent == tmp_path.resolve()
        assert not set(safe) & set('/\\:*?"<>|\0')
        assert safe.split(".")[0].upper() not in ("CON", "NUL")
        assert len(safe) <= 81
    assert safe_names(["Tumour", "tumour", "TUMOUR", "a/b", "a:b"]) == [
        "Tumour",
        "tumour-2",
        "TUMOUR-3",
        "a_b",
        "a_b-2",
    ]


def test_jpeg_is_smaller_and_looks_the_same(ramp, tmp_path):
    folder = write_patches(ramp, tmp_path / "out", ["Tumour"], most=1, format_="jpg")
    png = write_patches(ramp, tmp_path / "png", ["Tumour"], most=1)
    (row,), (other,) = manifest(folder), manifest(png)
    assert row["file"].endswith(".jpg")
    mine, exact = pixels_of(folder / row["file"]), pixels_of(png / other["file"])
    assert np.abs(mine.astype(int) - exact).mean() < 2


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"classes": ["Stroma"]}, r"has no class 'Stroma'; give one of Other, Tumour, In situ: low"),
        ({"min_score": 2}, "--min-score: 2 is not a score"),
        ({"most": 0}, "--most: 0 is not a number"),
    ],
)
def test_what_makes_no_sense_is_refused(ramp, tmp_path, how, message):
    how = {"classes": ["Tumour"], **how}
    classes = how.pop("classes")
    with pytest.raises(ExportError, match=message):
        write_patches(ramp, tmp_path / "out", classes, **how)
    assert not (tmp_path / "out").exists()


def test_without_the_right_image_nothing_is_written(ramp, tmp_path):
    write_ramp(tmp_path / "other.tif", width=1401)
    (tmp_path / "text.svs").write_text("no image")
    (tmp_path / "ramp.tif").unlink()
    for image, message in (
        (None, "its image is not beside it; name it with --image"),
        (tmp_path / "other.tif", r"1401 x 1100 pixels, and ramp.h5ad is of a slide of 1400 x 1100"),
        (tmp_path / "nowhere.svs", "no such file"),
        (tmp_path / "text.svs", "is no slide"),
    ):
        with pytest.raises(ExportError, match=message):
            write_patches(ramp, tmp_path / "out", ["Tumour"], image=image)
        assert not list((tmp_path / "out").glob("*"))


def test_an_image_that_breaks_off_leaves_no_half_folder(ramp, tmp_path, monkeypatch):
    picture, read = Slide.picture, []

    def break_off(self, *where):
        read.append(where)
        if len(read) > 3:
            raise SlideError("ramp.tif: is cut short")
        return picture(self, *where)

    monkeypatch.setattr(Slide, "picture", break_off)
    with pytest.raises(ExportError, match="cut short"):
        write_patches(ramp, tmp_path / "out", ["Tumour"])
    assert not list((tmp_path / "out").glob("*"))


def test_patches_of_two_runs_do_not_mix(ramp, tmp_path):
    write_patches(ramp, tmp_path / "out", ["Tumour"], most=1)
    with pytest.raises(ExportError, match="is there already"):
        write_patches(ramp, tmp_path / "out", ["Tumour"])
    assert len(manifest(tmp_path / "out" / "ramp")) == 1


def test_a_file_that_does_not_tell_its_patches_size_is_refused(tmp_path):
    grid = plan()
    made = labelled(write_grid_h5ad(tmp_path / "a.h5ad", grid, told=False), np.zeros(len(grid)))
    with pytest.raises(ExportError, match="does not say how large its patches are"):
        write_patches(made, tmp_path / "out", ["Other"])


def test_two_classes_of_one_safe_name_have_folders_of_their_own(tmp_path):
    write_ramp(tmp_path / "ramp.tif")
    grid = plan((1400, 1100))
    classes = tuple(SeedClass(name=name, color="#123456") for name in ("a: b", "a/ b"))
    made = labelled(
        write_grid_h5ad(tmp_path / "ramp.h5ad", grid, image="ramp.tif"),
        np.arange(len(grid)) % 2,
        classes=classes,
    )
    folder = write_patches(made, tmp_path / "o", ["a: b", "a/ b"], most=2)
    assert {row["class"]: row["file"].split("/")[0] for row in manifest(folder)} == {
        "a: b": "a_ b",
        "a/ b": "a_ b-2",
    }


def test_the_command_line_goes_over_a_folder(ramp, tmp_path, monkeypatch, caplog, capsys):
    monkeypatch.setattr("tissuumaps_sic.annotation.runs.replay", lambda slide, session: ramp)
    (tmp_path / "b.h5ad").write_bytes(b"no h5ad")
    (tmp_path / "b.sic.json").write_text("{}")
    command = ["export", str(tmp_path), "--patches", "Tumour", "--most", "2", "-o", str(tmp_path / "o")]
    assert main(command) == 1
    assert "b.h5ad: not a readable h5ad" in caplog.text
    assert capsys.readouterr().out.split() == [str(tmp_path / "o" / "ramp")]
    assert len(manifest(tmp_path / "o" / "ramp")) == 2
    for command, message in (
        (["--patches", "Tumour", "--format", "csv"], "stands in place of --format"),
        (["--patches", "Tumour", "--mpp", "8"], "--mpp: has no effect with --patches"),
        (["--format", "csv", "--min-score", "0.5"], "--min-score: has no effect with --format csv"),
        (["--format", "html", "--downsample", "8"], "--downsample: has no effect with --format html"),
    ):
        assert main(["export", str(ramp.slide.path), *command]) == 2
        assert message in caplog.text
