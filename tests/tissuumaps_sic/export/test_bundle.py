"""Bundles: what goes out tells no more than it must, opens elsewhere, and stays in its folder."""

import hashlib
import json
import shutil
import zipfile

import anndata
import numpy as np
import pytest
import pyvips
from making.labels import labelled, plan, write_grid_h5ad

from tissuumaps_sic import receive_sessions, unpack_bundle, write_bundle
from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.scheme import read_scheme, write_scheme
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import load_session, save_session, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.export.bundle import BundleError, is_bundle, name_folder
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.patch_images import write_patches
from tissuumaps_sic.slidefile.pixels.slide import open_pixels
from tissuumaps_sic.slidefile.pixels.source import SlideError
from tissuumaps_sic.slidefile.placing import find_image, layers_of, open_image
from tissuumaps_sic.slides.slide import open_slide_file

SIZE = (2600, 1900)
NAME = "S 21 #2"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A slide with its image, which says more of itself than anybody should know."""
    folder = tmp_path_factory.mktemp("Ann Smith")
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    pixels = np.stack([x % 251, y % 241, (x + y) % 239], axis=-1).astype(np.uint8)
    image = pyvips.Image.new_from_array(pixels, interpretation="srgb").copy(xres=2000, yres=2000)
    image.set_type(pyvips.GValue.gstr_type, "image-description", "Ann Smith, scanned at /scans/ann")
    image.tiffsave(str(folder / "scan.tif"), tile=True, pyramid=True, compression="jpeg", resunit="cm")
    write_grid_h5ad(folder / f"{NAME}.h5ad", plan(SIZE), image="scan.tif")
    return folder


@pytest.fixture
def h5ad(made, tmp_path):
    shutil.copytree(made, tmp_path / "home")
    return tmp_path / "home" / f"{NAME}.h5ad"


def seeded(slide, **classes):
    """A session with seeds of classes by their names, rows of the file."""
    names = [each.name for each in Session.new(slide).classes]
    session = Session.new(slide)
    for name, rows in classes.items():
        session = session.seed([str(slide.patch_names[row]) for row in rows], names.index(name), user="Ben")
    return session


def test_it_holds_the_file_as_it_is_a_small_picture_and_nothing_of_its_owner(h5ad, tmp_path):
    slide = open_slide_file(h5ad)
    save_session(session_path(h5ad), seeded(slide, Tumour=[1], Other=[2]))
    save_session(session_path(h5ad, "Ben"), seeded(slide, Tumour=[1]))
    write_scheme(
        h5ad.parent / "classes.json",
        (SeedClass(name="Rest", color="#111111"), SeedClass(name="Ca", color="#eeeeee")),
    )
    target = tmp_path / "out.bundle.zip"
    manifest = write_bundle(h5ad, target)
    assert is_bundle(target)
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {
            f"{NAME}.h5ad", f"{NAME}.tif", f"{NAME}.tmap", "classes.json", "manifest.json"
        }  # fmt: skip
        told = json.loads(archive.read("manifest.json"))
        assert archive.read(f"{NAME}.h5ad") == h5ad.read_bytes()
        assert {each.date_time for each in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        for name, known in told.pop("files").items():
            content = archive.read(name)
            assert known == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            assert b"Ann" not in content
            assert b"/scans" not in content
            assert str(tmp_path).encode() not in content
    assert manifest.fingerprint == told.pop("fingerprint") == slide.fingerprint
    software = told.pop("software")
    assert software.startswith("tissuumaps-sic ")
    assert told == {
        "schema": "tissuumaps-sic/bundle/1", "slide": NAME, "slide_size": [*SIZE], "image_mpp": 1.0
    }  # fmt: skip
    again = tmp_path / "again.bundle.zip"
    write_bundle(h5ad, again)
    assert again.read_bytes() == target.read_bytes()


@pytest.mark.parametrize("mpp", [0.5, 1.0, 1.7])
def test_unpacked_elsewhere_patches_lie_on_the_same_tissue(h5ad, tmp_path, mpp):
    write_bundle(h5ad, tmp_path / "x.zip", mpp=mpp)
    away = unpack_bundle(tmp_path / "x.zip", tmp_path / "away").folder / f"{NAME}.h5ad"
    assert find_image(away).name == f"{NAME}.tif"
    (layer,) = layers_of(away)
    assert layer["tileSource"] == "S%2021%20%232.tif.dzi"
    project = json.loads(away.with_suffix(".tmap").read_text())
    assert project["mpp"] == 0.5
    home, there = open_slide_file(h5ad), open_slide_file(away)
    assert there.fingerprint == home.fingerprint
    with open_image(find_image(h5ad)) as one, open_image(find_image(away)) as other:
        assert one.size == other.size == SIZE
        for x, y in home.centres[:: len(home.centres) // 7]:
            # As large as the small picture has them; they differ by what is lost in JPEG.
            seen = [each.picture(x - 128, y - 128, 256, 256, (60, 60)).astype(int) for each in (one, other)]
            moved = one.picture(x - 112, y - 128, 256, 256, (60, 60)).astype(int)
            assert abs(seen[0] - seen[1]).mean() < 0.7 * abs(moved - seen[1]).mean()


def test_patches_to_train_on_are_not_made_of_a_picture_that_has_fewer_pixels(h5ad, tmp_path):
    for mpp in (0.5, 1.0):
        write_bundle(h5ad, tmp_path / "x.zip", mpp=mpp)
        away = unpack_bundle(tmp_path / "x.zip", tmp_path / f"at {mpp}").folder / f"{NAME}.h5ad"
        labels = np.ones(open_slide_file(away).n_patches, int)
        labels[:3] = 0
        asked = labelled(away, labels)
        if mpp == 0.5:
            write_patches(asked, tmp_path / "patches", ["Other"])
        else:
            with pytest.raises(ExportError, match="made smaller for a bundle"):
                write_patches(asked, tmp_path / "none", ["Other"])
    assert not (tmp_path / "none").exists()


def test_patches_alone_and_classes_of_a_session_where_the_folder_has_no_list(h5ad, tmp_path):
    slide = open_slide_file(h5ad)
    session = Session.new(slide).add_class(SeedClass(name="Necrosis", color="#123456"))
    save_session(session_path(h5ad), session)
    manifest = write_bundle(h5ad, tmp_path / "x.zip", with_image=False)
    assert manifest.image_mpp is None
    folder = unpack_bundle(tmp_path / "x.zip", tmp_path / "away").folder
    assert {each.name for each in folder.iterdir()} == {f"{NAME}.h5ad", f"{NAME}.tmap", "classes.json"}
    assert [each.name for each in read_scheme(folder / "classes.json").classes] == [
        "Other",
        "Tumour",
        "Necrosis",
    ]
    assert json.loads((folder / f"{NAME}.tmap").read_text())["layers"] == []


def test_a_session_goes_along_where_it_is_asked_for_and_comes_home(h5ad, tmp_path):
    home = open_slide_file(h5ad)
    save_session(session_path(h5ad, "Ben"), seeded(home, Tumour=[1, 5]))
    write_bundle(h5ad, tmp_path / "x.zip", session="Ben", with_image=False)
    folder = unpack_bundle(tmp_path / "x.zip", tmp_path / "away").folder
    away = open_slide_file(folder / f"{NAME}.h5ad")
    path = session_path(away.path, "Ben")
    assert load_session(path, away).seeds == load_session(session_path(h5ad, "Ben"), home).seeds
    more = load_session(path, away).seed([str(away.patch_names[9])], 0, user="Ben")
    save_session(path, more)
    # Opened again, the reader's own stays.
    again = unpack_bundle(tmp_path / "x.zip", folder)
    assert again.kept == (path.name,)
    assert load_session(path, away).seeds == more.seeds
    (received,) = receive_sessions(home, folder)
    assert (received.how, received.n_seeds) == ("went on", 1)


def test_what_a_reader_changed_does_not_keep_it_from_being_opened_again(h5ad, tmp_path):
    write_bundle(h5ad, tmp_path / "x.zip")
    folder = unpack_bundle(tmp_path / "x.zip", tmp_path / "away").folder
    adata = anndata.read_h5ad(folder / f"{NAME}.h5ad")
    adata.obs["sic_score"] = 0.5
    adata.write_h5ad(folder / f"{NAME}.h5ad")
    (folder / f"{NAME}.tmap").write_text("{}")
    write_scheme(folder / "classes.json", Session.new(open_slide_file(h5ad)).classes)
    more = SeedClass(name="Ca", color="#eeeeee")
    write_scheme(h5ad.parent / "classes.json", (*Session.new(open_slide_file(h5ad)).classes, more))
    write_bundle(h5ad, tmp_path / "x.zip")
    before = {each: each.read_bytes() for each in folder.iterdir()}
    kept = unpack_bundle(tmp_path / "x.zip", folder).kept
    assert kept == (f"{NAME}.h5ad", f"{NAME}.tmap", "classes.json")
    assert {each: each.read_bytes() for each in folder.iterdir()} == before


def test_other_embeddings_of_the_same_patches_are_not_passed_over(h5ad, tmp_path):
    write_bundle(h5ad, tmp_path / "x.zip", with_image=False)
    folder = unpack_bundle(tmp_path / "x.zip", tmp_path / "away").folder
    adata = anndata.read_h5ad(h5ad)
    adata.X = adata.X + 1
    adata.write_h5ad(h5ad)
    write_bundle(h5ad, tmp_path / "x.zip", with_image=False)
    before = {each: each.read_bytes() for each in folder.iterdir()}
    with pytest.raises(BundleError, match="the same patches with other embeddings"):
        unpack_bundle(tmp_path / "x.zip", folder)
    assert {each: each.read_bytes() for each in folder.iterdir()} == before


def test_a_folder_with_another_slide_of_this_name_is_left_alone(h5ad, tmp_path):
    write_bundle(h5ad, tmp_path / "x.zip")
    (tmp_path / "away").mkdir()
    write_grid_h5ad(tmp_path / "away" / f"{NAME}.h5ad", plan((1500, 1500)))
    before = {each: each.read_bytes() for each in (tmp_path / "away").iterdir()}
    with pytest.raises(BundleError, match="another file"):
        unpack_bundle(tmp_path / "x.zip", tmp_path / "away")
    assert {each: each.read_bytes() for each in (tmp_path / "away").iterdir()} == before


def test_an_image_that_is_missing_or_anothers_is_told(h5ad, tmp_path):
    other = tmp_path / "other.tif"
    pyvips.Image.black(800, 600, bands=3).tiffsave(str(other), tile=True)
    with pytest.raises(
        SlideError, match=r"800 x 600 pixels, and .* is of a slide of .* give that slide's image"
    ):
        write_bundle(h5ad, tmp_path / "x.zip", image=other)
    (h5ad.parent / "scan.tif").unlink()
    with pytest.raises(BundleError, match="--no-image"):
        write_bundle(h5ad, tmp_path / "x.zip")
    with pytest.raises(SlideError, match="no such file"):
        write_bundle(h5ad, tmp_path / "x.zip", image=tmp_path / "nothing.tif")
    assert not list(tmp_path.glob("*.zip"))
    assert not list(tmp_path.glob(".bundle-*"))


@pytest.fixture
def bundle(h5ad, tmp_path):
    write_bundle(h5ad, tmp_path / "x.zip", with_image=False)
    return tmp_path / "x.zip"


def rewrite(bundle, *, files=None, manifest=None, declared=()):
    """Write a bundle anew with other files, or another manifest."""
    with zipfile.ZipFile(bundle) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    known = json.loads(content.pop("manifest.json"))
    content |= files or {}
    for name in declared:
        known["files"][name] = {
            "bytes": len(content[name]), "sha256": hashlib.sha256(content[name]).hexdigest()
        }  # fmt: skip
    known |= manifest or {}
    with zipfile.ZipFile(bundle, "w") as archive:
        for name, each in content.items():
            archive.writestr(name, each)
        archive.writestr("manifest.json", json.dumps(known))
    return bundle


HOSTILE = [
    "../evil.h5ad", "/tmp/evil.h5ad", f"../{NAME}.sic.json", f"sub/{NAME}.sic.json",
    f"{NAME}.h5ad/../../x.sic.json",
    "auth", ".hidden", f"{NAME}.../x.sic.json", f"{NAME}.tif_files/1/0_0.js", "C:\\evil.h5ad", "index.html",
    f"{NAME}.py", f"{NAME}.a.b.sic.json", f"{NAME}./x.sic.json",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_unpacked_beside_what_a_slide_has(bundle, tmp_path, name):
    # Not named by the manifest it is left in the archive; named by it the archive is refused.
    rewrite(bundle, files={name: b"evil"})
    unpack_bundle(bundle, tmp_path / "away")
    assert {each.name for each in (tmp_path / "away").rglob("*")} == {f"{NAME}.h5ad", f"{NAME}.tmap"}
    before = sorted(tmp_path.rglob("*"))
    rewrite(bundle, files={name: b"evil"}, declared=[name])
    with pytest.raises(BundleError, match="not a whole bundle"):
        unpack_bundle(bundle, tmp_path / "elsewhere")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("slide", ["..", "../x", ".x", "a/b", "x" * 300, "a\n", "", "other"])
def test_a_slide_of_a_name_that_no_file_has_is_refused(bundle, tmp_path, slide):
    rewrite(bundle, manifest={"slide": slide})
    with pytest.raises(BundleError, match="not a whole bundle"):
        unpack_bundle(bundle, tmp_path / "away")
    assert not (tmp_path / "away").exists()


def test_a_link_in_an_archive_becomes_a_file_and_one_in_the_folder_is_not_followed(bundle, tmp_path):
    (tmp_path / "secret.json").write_text("{}")
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / f"{NAME}.tmap").symlink_to(tmp_path / "secret.json")
    unpack_bundle(bundle, tmp_path / "away")
    assert (tmp_path / "secret.json").read_text() == "{}"


def test_bombs_and_lies_about_sizes_are_refused(bundle, tmp_path):
    zeros = bytes(200 * 2**20)
    with zipfile.ZipFile(bundle) as archive:
        known = json.loads(archive.read("manifest.json"))
    known["files"][f"{NAME}.h5ad"] = {"bytes": len(zeros), "sha256": "0" * 64}
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps(known))
        archive.writestr(f"{NAME}.tmap", "{}")
        archive.writestr(f"{NAME}.h5ad", zeros)
    assert bundle.stat().st_size < 2**20
    with pytest.raises(BundleError, match="not as large as the bundle says"):
        unpack_bundle(bundle, tmp_path / "away")
    assert not (tmp_path / "away").exists()


def test_damage_is_told_and_leaves_nothing(bundle, tmp_path):
    content = bytearray(bundle.read_bytes())
    for place in (len(content) // 3, len(content) // 2):
        damaged = tmp_path / "damaged.zip"
        content[place] ^= 255
        damaged.write_bytes(content)
        with pytest.raises(BundleError, match="sent again"):
            unpack_bundle(damaged, tmp_path / "away")
        content[place] ^= 255
    assert not (tmp_path / "away" / f"{NAME}.h5ad").exists()
    damaged.write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match="sent again"):
        unpack_bundle(damaged, tmp_path / "away")
    with zipfile.ZipFile(damaged, "w") as archive:
        archive.writestr("x.txt", "hello")
    with pytest.raises(BundleError, match=r"no manifest\.json"):
        unpack_bundle(damaged, tmp_path / "away")
    rewrite(bundle, manifest={"schema": "tissuumaps-sic/bundle/7"})
    with pytest.raises(BundleError, match="newer version"):
        unpack_bundle(bundle, tmp_path / "away")


@pytest.mark.parametrize("size", [-1, 2**80, "9", None, 5])
def test_a_manifest_that_lies_is_refused(bundle, tmp_path, size):
    rewrite(bundle, manifest={"files": {f"{NAME}.h5ad": {"bytes": size, "sha256": "0" * 64}}})
    with pytest.raises(BundleError, match="not a whole bundle"):
        unpack_bundle(bundle, tmp_path / "away")


def test_the_folder_of_a_bundle_is_named_after_it(tmp_path):
    assert name_folder(tmp_path / "a.b.bundle.zip") == tmp_path / "a.b"
    assert name_folder(tmp_path / "a.ZIP") == tmp_path / "a"
    assert name_folder(tmp_path / ".bundle.zip") == tmp_path / "bundle"


def test_the_command_says_how_it_is_opened(h5ad, tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.chdir(tmp_path)
    assert main(["bundle", str(h5ad), "--mpp", "2"]) == 0
    told = capsys.readouterr().out
    assert f"tissuumaps-sic open '{NAME}.bundle.zip'\n" in told
    assert "2 µm/px" in told
    with open_pixels(
        unpack_bundle(tmp_path / f"{NAME}.bundle.zip", tmp_path / "x").folder / f"{NAME}.tif"
    ) as image:
        assert image.size == SIZE
    assert main(["bundle", str(h5ad), "--no-image", "--json", "-o", "y.zip"]) == 0
    assert json.loads(capsys.readouterr().out)["slide"] == NAME
    assert main(["bundle", str(h5ad), "--no-image", "--mpp", "2"]) == 2
    assert main(["bundle", str(h5ad), "--session", "nobody"]) == 2
    assert main(["bundle", str(h5ad), "--session", "no/body"]) == 2
    adata = anndata.read_h5ad(h5ad)
    adata.obs["sic_label"] = "Tumour"
    adata.write_h5ad(h5ad)
    caplog.clear()
    assert main(["bundle", str(h5ad), "--no-image", "-o", "z.zip"]) == 0
    assert "has labels written into it" in caplog.text
    assert main(["open", "y.zip", "z.zip"]) == 2
    assert main(["open", "y.zip", "--slide-mpp", "0.5"]) == 2
