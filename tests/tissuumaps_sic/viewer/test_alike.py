"""What is like a patch: on its slide, on the other slides of the folder, and as a picture."""

import io

import numpy as np
import pytest
from making.labels import plan, write_grid_h5ad
from making.many import PROVENANCE, write_mosaic
from making.server import ask
from PIL import Image

from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.viewer import alike
from tissuumaps_sic.viewer.endpoints import Server


def unit_rows(h5ad):
    slide = open_slide_file(h5ad)
    X = np.asarray(slide.X[np.arange(slide.n_patches)], np.float64)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


@pytest.fixture
def folder(tmp_path):
    """A slide, two that can be compared with it, and four that cannot be looked through."""
    for seed, name in enumerate(("one", "two", "three")):
        write_mosaic(tmp_path, name, seed=seed)
    write_mosaic(tmp_path, "other", known=PROVENANCE | {"encoder": {"name": "another"}})
    write_mosaic(tmp_path, "untold", known=None)
    (tmp_path / "broken.h5ad").write_bytes(b"no slide")
    (tmp_path / "locked").mkdir()
    write_mosaic(tmp_path / "locked", "secret", seed=1)
    (tmp_path / "locked" / "auth").write_text("ann;secret")
    return tmp_path


@pytest.fixture
def call(folder):
    server = Server()
    return lambda endpoint, h5ad="one.h5ad", **content: ask(
        server, endpoint, folder, {"h5ad": h5ad, **content}
    )


def test_likeness_is_the_cosine_with_every_patch_in_blocks(call, folder, monkeypatch):
    monkeypatch.setattr(alike, "_BLOCK_ROWS", 100)
    header, found = call("likeness", patch=7)
    unit = unit_rows(folder / "one.h5ad")
    assert header == {"n_patches": 384, "patch": 7}
    assert found.dtype == np.float32
    assert np.allclose(found, unit @ unit[7], atol=1e-6)
    assert found.argmax() == 7
    with pytest.raises(SicError, match="no patch 384"):
        call("likeness", patch=384)


def test_the_most_alike_of_the_folder_come_from_slides_that_can_be_compared(call, folder):
    found = call("elsewhere", patch=7, n=12)
    one = unit_rows(folder / "one.h5ad")[7]
    every = {name: unit_rows(folder / f"{name}.h5ad") @ one for name in ("two", "three")}
    best = sorted(
        ((float(value), name, row) for name, values in every.items() for row, value in enumerate(values)),
        reverse=True,
    )[:12]
    assert [(each["slide"], each["patch"]) for each in found["patches"]] == [each[1:] for each in best]
    assert np.allclose(
        [each["similarity"] for each in found["patches"]], [each[0] for each in best], atol=1e-5
    )
    assert {each["h5ad"] for each in found["patches"]} <= {"two.h5ad", "three.h5ad"}
    assert all(each["page"].startswith("/") for each in found["patches"])
    assert (found["slides"], found["other"]) == (2, 2)
    assert len(found["problems"]) == 1
    assert "broken.h5ad" in found["problems"][0]
    # Nothing that lies behind a password that was not given is looked into.
    assert "secret" not in str(found)


def test_a_slide_that_cannot_be_looked_through_is_told_and_the_rest_is_there(call, folder, monkeypatch):
    call("worklist")  # reads what its row tells, while it is sound
    choose = alike._best_of

    def fail(shared, reach, entry, *rest):
        if entry.name == "two":
            raise OSError("two.h5ad: the drive is gone")
        return choose(shared, reach, entry, *rest)

    monkeypatch.setattr(alike, "_best_of", fail)
    found = call("elsewhere", patch=7)
    assert {each["slide"] for each in found["patches"]} == {"three"}
    assert "two.h5ad: the drive is gone" in found["problems"]
    assert found["slides"] == 1


def test_a_folder_that_is_looked_through_leaves_the_slide_of_the_page_in_memory(folder):
    for seed in range(9):
        write_mosaic(folder, f"more_{seed}", seed=seed, columns=6, rows=4)
    server = Server()
    before = server._shared.opened.slide(folder / "one.h5ad")
    found = ask(server, "elsewhere", folder, {"h5ad": "one.h5ad", "patch": 7})
    assert found["slides"] == 11
    for each in found["patches"]:
        ask(server, "picture", folder, {"h5ad": each["h5ad"], "patch": each["patch"]})
    assert server._shared.opened.slide(folder / "one.h5ad") is before


def test_the_search_is_stopped_before_it_begins_and_tells_how_far_it_is(folder, monkeypatch):
    server, token = Server(), "a-token-of-a-page"
    told = []
    tell = alike._part_of

    def hear(progress, *rest):
        def both(stage, share):
            tell(lambda *words: told.append(words), *rest)(stage, share)
            progress(stage, share)

        return both

    monkeypatch.setattr(alike, "_part_of", hear)
    ask(server, "elsewhere", folder, {"h5ad": "one.h5ad", "patch": 7, "job": token})
    assert [words for words, _ in told] == [
        "Looking through three, 1 of 2",
        "Looking through two, 2 of 2",
    ]
    assert [share for _, share in told] == [0, 0.5]
    for endpoint in ("elsewhere", "likeness"):
        monkeypatch.undo()
        ask(server, "cancel", folder, {"h5ad": "one.h5ad", "job": token})
        with pytest.raises(SicError, match="stopped") as stopped:
            ask(server, endpoint, folder, {"h5ad": "one.h5ad", "patch": 7, "job": token})
        assert stopped.value.status == 499


def test_of_patches_that_lie_over_each_other_the_most_alike_is_taken():
    similarities = np.array([1.0, 0.99, 0.98, 0.97, 0.96, -0.5], np.float32)
    centres = np.array([[0, 0], [20, 0], [128, 0], [0, 50], [300, 0], [900, 0]], np.float64)
    chosen = alike._choose_apart(similarities, centres, np.array([256.0, 256.0]), 9)
    assert chosen == [0, 2, 4]  # by half over each other is not too much
    assert alike._choose_apart(similarities, centres, np.array([10.0, 10.0]), 2) == [0, 1]


def test_a_picture_is_what_the_network_saw_of_the_slide(tmp_path):
    grid = plan((1000, 800))
    pixels = np.random.default_rng(3).integers(0, 255, (800 // 50, 1000 // 50, 3), np.uint8)
    pixels = pixels.repeat(50, 0).repeat(50, 1)
    Image.fromarray(pixels).save(tmp_path / "slide.tif")
    write_grid_h5ad(tmp_path / "slide.h5ad", grid, image="slide.tif")
    write_grid_h5ad(tmp_path / "bare.h5ad", grid)
    server = Server()
    content = {"h5ad": "slide.h5ad", "patch": 5, "side": 128}
    header, packed = ask(server, "picture", tmp_path, content)
    assert header["length"] == len(packed) > 0
    with Image.open(io.BytesIO(packed.tobytes())) as picture:
        assert (picture.format, picture.size) == ("JPEG", (128, 128))
        seen = np.asarray(picture.convert("RGB"), np.float64)
    x, y, side = int(grid.x0[5]), int(grid.y0[5]), round(grid.patch_width0)
    cut = Image.fromarray(pixels[y : y + side, x : x + side]).resize((128, 128), Image.Resampling.BILINEAR)
    assert np.abs(seen - np.asarray(cut, np.float64)).mean() < 12
    assert ask(server, "picture", tmp_path, content | {"h5ad": "bare.h5ad"})[0] == {"length": 0}
    # One that is not the slide's own is not shown for it.
    Image.fromarray(pixels[:-50]).save(tmp_path / "slide.tif")
    assert ask(server, "picture", tmp_path, content)[0] == {"length": 0}
    (tmp_path / "slide.tif").write_bytes(b"no picture")
    with pytest.raises(SicError, match="the pixels of its image cannot be read"):
        ask(server, "picture", tmp_path, content)
