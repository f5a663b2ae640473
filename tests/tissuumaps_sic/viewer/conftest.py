"""A served folder with a slide or a project behind every route, and passwords to be put into it."""

import json
import os

import numpy as np
import pytest
from making.guarded import client_of
from making.many import write_mosaic


@pytest.fixture(scope="session")
def slides(tmp_path_factory):
    """What every folder is a copy of: a slide, a picture with a pyramid."""
    import pyvips

    folder = tmp_path_factory.mktemp("slides")
    write_mosaic(folder, "a", columns=6, rows=4)
    picture = pyvips.Image.new_from_array(np.full((600, 900, 3), 200, np.uint8))
    picture.tiffsave(str(folder / "img.tif"), tile=True, pyramid=True, compression="jpeg")
    return folder


@pytest.fixture
def folder(tmp_path, slides):
    folder = tmp_path / "served"
    for within, name in (("", "a"), ("sub", "b"), ("locked", "c"), ("locked/deep", "d")):
        at = folder / within
        at.mkdir(parents=True, exist_ok=True)
        os.link(slides / "a.h5ad", at / f"{name}.h5ad")
        os.link(slides / "img.tif", at / "img.tif")
        (at / f"{name}.tmap").write_text(json.dumps({"filename": name, "layers": []}))
        for each in ("x.csv", "y.csv", "x.geojson", "other.sic.json"):
            (at / each).write_text('{"secret": 1}')
    (folder / "web").mkdir()
    (folder / "web" / "page.html").write_text("<script>window.ran=1</script>")
    (folder / "img.tif_files/1").mkdir(parents=True)
    (folder / "img.tif_files/1/0_0.js").write_text("window.ran=1")
    for name, target in (
        ("link.csv", "x.csv"), ("link.tif", "img.tif"), ("link.h5ad", "c.h5ad"), ("into", "")
    ):  # fmt: skip
        (folder / name).symlink_to(folder / "locked" / target)
    (tmp_path / "secret.csv").write_text("secret")
    (tmp_path / "secret.tmap").write_text('{"secret": 1}')
    return folder


@pytest.fixture
def client(folder):
    return client_of(folder)
