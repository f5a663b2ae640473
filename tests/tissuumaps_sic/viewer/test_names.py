"""Names of slides, as addresses of pages, of files and of tiles."""

import json

import numpy as np
import pytest
from making.guarded import client_of, state_of

from tissuumaps_sic.slidefile.names import address

NAMES = [
    "S21 #2 A1", "p%41b", "q?x", "colon:x", "back\\slash", "~tilde", "-rf", "https-slide", "50%", "a;b&c=d+e",
    "日本語 ü", "it's \"quoted\"", "<b>bold", "a.b.c", "(1) [2] {3}", " space ", "%2e%2e", "C:\\x", "null",
    "a|b^c`",
    "con", "x" * 200,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("within", ["", "S #1 50%"])
def test_every_name_has_an_address(tmp_path, slides, name, within):
    from tissuumaps_sic.slidefile.names import refusal
    from tissuumaps_sic.slidefile.placing import find_image
    from tissuumaps_sic.slidefile.project import tmap_project, write_tmap
    from tissuumaps_sic.viewer.made_project import make_project
    from tissuumaps_sic.viewer.worklist import page

    assert refusal(f"{name}.tif") is None
    folder = tmp_path / within
    folder.mkdir(exist_ok=True)
    h5ad = folder / f"{name}.h5ad"
    h5ad.write_bytes((slides / "a.h5ad").read_bytes())
    image = folder / f"{name}.tif"
    image.write_bytes((slides / "img.tif").read_bytes())
    client = client_of(tmp_path)
    made = state_of(client.get(page(tmp_path, h5ad.with_suffix(".tmap"))))
    project = tmap_project(
        h5ad_name=h5ad.name, slide_name=name, image=image.name, slide_size=(900, 600), centres=np.zeros((1,
        2)),
        stride0=128.0, mpp=0.5,
    )  # fmt: skip
    write_tmap(h5ad.with_suffix(".tmap"), project)
    assert find_image(h5ad) == image
    shown = state_of(client.get(page(tmp_path, h5ad.with_suffix(".tmap"))))
    assert shown["layers"][0]["tileSource"] == project["layers"][0]["tileSource"]
    for state in (made, shown, make_project(h5ad)):
        assert not set(state["filename"]) & set("<>&\"'")
        (markers,) = state["markerFiles"]
        named = markers["path"] if isinstance(markers["path"], str) else markers["path"][0]
        at = f"{address(within)}/{named}" if within else named
        got = client.get(f"/{at}", headers={"Range": "bytes=0-7"})
        assert got.data == b"\x89HDF\r\n\x1a\n"
    tiles = project["layers"][0]["tileSource"].removesuffix(".dzi")
    at = f"{address(within)}/{tiles}" if within else tiles
    assert client.get(f"/{at}.dzi").status_code == 200
    assert client.get(f"/{at}_files/8/0_0.jpeg").mimetype == "image/jpeg"


def test_projects_of_before_with_plain_names_open(tmp_path, slides):
    from tissuumaps_sic.slidefile.placing import find_image

    for name in ("S21 #2 A1", "p%41b", "q?x", "50%"):
        (tmp_path / f"{name}.tif").write_bytes((slides / "img.tif").read_bytes())
        project = {"layers": [{"name": name, "tileSource": f"{name}.tif.dzi"}], "markerFiles": []}
        (tmp_path / f"{name}.tmap").write_text(json.dumps(project))
        shown = state_of(client_of(tmp_path).get(f"/{address(name)}.tmap"))
        assert shown["layers"][0]["tileSource"] == f"{address(name)}.tif.dzi"
        assert find_image(tmp_path / f"{name}.h5ad") == tmp_path / f"{name}.tif"
