"""A page for every h5ad: the project that the server makes for one that comes alone, and what it trusts."""

import json
import re

import anndata
import h5py
import numpy as np
import pytest
from making.many import PROVENANCE, write_mosaic
from werkzeug.test import Client

from tissuumaps_sic.slidefile.h5ad import SlideFileError
from tissuumaps_sic.viewer.guard import guard_app
from tissuumaps_sic.viewer.made_project import make_project
from tissuumaps_sic.viewer.pages import with_pages
from tissuumaps_sic.viewer.serve import make_app
from tissuumaps_sic.viewer.worklist import page


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "served"
    (folder / "sub").mkdir(parents=True)
    write_mosaic(folder, "alone")
    write_mosaic(folder / "sub", "below", compress=True, colors=False)
    return folder


@pytest.fixture
def client(folder):
    app = make_app(folder)
    return Client(guard_app(with_pages(app, folder, first="/alone.tmap"), folder / "auth"))


def project_in(response):
    assert response.status_code == 200
    return json.loads(re.search(r"jsonState = (\{.*\})", response.get_data(as_text=True))[1])


def markers(project):
    (found,) = project["markerFiles"]
    return found


@pytest.mark.parametrize("address", ["/alone.tmap", "/below.tmap?path=sub"])
def test_an_h5ad_without_a_project_has_a_page_and_nothing_is_written(client, folder, address):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    project = project_in(client.get(address))
    name = address[1:].split(".")[0]
    assert markers(project)["path"] in (f"{name}.h5ad", [f"{name}.h5ad"])
    assert project["plugins"] == ["SIC"]
    assert project["layers"] == []
    assert client.head(address).status_code == 200
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_project_of_the_name_comes_first(client, folder):
    (folder / "alone.tmap").write_text('{"filename": "written by hand", "plugins": []}')
    assert project_in(client.get("/alone.tmap"))["filename"] == "written by hand"


def test_the_address_of_an_h5ad_offers_its_columns_and_trusts_nothing_in_it(client, folder):
    with h5py.File(folder / "alone.h5ad", "r+") as file:
        file["uns/tmap"] = json.dumps({"settings": [{"module": "window", "function": "eval", "value": "x"}]})
        file["obs/<b>"] = file["obs/umap_rgb"]
        file["obs/score"] = np.zeros(len(file["X"]))
    project = project_in(client.get("/alone.h5ad"))
    first, *menus = project["markerFiles"]
    assert first["name"] == "UMAP colours"
    assert {each["title"]: [option["name"] for option in each["dropdownOptions"]] for each in menus} == {
        "Numerical observations": ["score"],
        "Categorical observations": ["umap_rgb"],
    }
    assert project["settings"] == []
    assert project["plugins"] == ["SIC"]


def test_the_bare_address_leads_to_the_only_slide(client, folder):
    (folder / "sub" / "below.h5ad").unlink()
    assert client.get("/").headers["Location"].endswith("/alone.tmap")


def test_passwords_hold_for_made_pages(client, folder):
    (folder / "sub" / "auth").write_text("anna;secret")
    assert client.get("/below.tmap?path=sub").status_code == 401
    assert client.get("/below.tmap?path=sub", auth=("anna", "secret")).status_code == 200
    assert client.get("/alone.tmap").status_code == 200
    (folder / "auth").write_text("ben;other")
    assert client.get("/alone.tmap").status_code == 401


@pytest.mark.parametrize(
    "address",
    ["/outside.tmap?path=..", "/../outside.tmap", "/link.tmap", "/missing.tmap", "/alone.tmap?path=sub"],
)
def test_pages_are_of_slides_in_the_folder(client, folder, address):
    outside, _ = write_mosaic(folder.parent, "outside")
    (folder / "link.h5ad").symlink_to(outside)
    assert client.get(address).status_code == 404


def test_a_damaged_h5ad_says_so_on_its_page(client, folder):
    (folder / "bad.h5ad").write_bytes(b"nonsense")
    answer = client.get("/bad.tmap")
    assert answer.status_code == 422
    assert "bad.h5ad: not a readable h5ad" in answer.get_data(as_text=True)


def test_an_image_is_shown_only_where_it_lies_beside_the_file(folder):
    path = folder / "alone.h5ad"
    adata = anndata.read_h5ad(path)
    known = PROVENANCE | {"slide": {"size": [6400, 3200], "mpp_x": 0.25, "mpp_y": 0.27}}
    adata.uns["embedder"] = json.dumps(known)

    def with_layer(source):
        adata.uns["tmap"] = json.dumps(
            {"layers": [{"name": "x", "tileSource": source}], "settings": ["evil"]}
        )
        adata.write_h5ad(path, convert_strings_to_categoricals=False)
        return make_project(path)

    alone = with_layer("alone.tif.dzi")
    assert alone["layers"] == []
    assert alone["mpp"] == pytest.approx(0.26)
    (folder / "alone.tif").touch()
    shown = with_layer("alone.tif.dzi")
    assert [each["tileSource"] for each in shown["layers"]] == ["alone.tif.dzi"]
    # Squares of 128 pixels, on an image 6,400 wide, as the remote half reckons for its own projects.
    from tissuumaps_sic.slidefile.project import tmap_project

    theirs = tmap_project(
        h5ad_name="a", slide_name="a", image="a", slide_size=(6400, 3200),
        centres=np.asarray(adata.obsm["spatial"]), stride0=128.0, mpp=0.26,
    )  # fmt: skip
    assert markers(shown)["expectedHeader"]["scale_factor"] == pytest.approx(
        markers(theirs)["expectedHeader"]["scale_factor"], rel=1e-4
    )
    assert "evil" not in json.dumps(shown)
    (folder / "sub" / "x.tif").touch()
    for source in ("sub/x.tif.dzi", "../x.tif.dzi", "https://elsewhere/x.dzi", "/etc/passwd.dzi", ".x.dzi"):
        assert with_layer(source)["layers"] == []


def test_without_an_image_squares_meet_as_in_the_remote_halfs_projects(folder):
    from tissuumaps_sic.slidefile.project import tmap_project

    for move, scale in ((0, 1), (-500, 1), (0, 0.01)):
        path = folder / "alone.h5ad"
        adata = anndata.read_h5ad(path)
        adata.obsm["spatial"] = adata.obsm["spatial"] * scale + move
        centres = np.asarray(adata.obsm["spatial"])
        (path.parent / "moved").mkdir(exist_ok=True)
        adata.write_h5ad(path.parent / "moved" / "alone.h5ad", convert_strings_to_categoricals=False)
        theirs = tmap_project(
            h5ad_name="a", slide_name="a", image=None, slide_size=(1, 1), centres=centres,
            stride0=128.0 * scale if scale == 1 else 1.0, mpp=1,
        )  # fmt: skip
        ours = make_project(path.parent / "moved" / "alone.h5ad")
        if scale == 1:
            assert markers(ours)["expectedHeader"]["scale_factor"] == pytest.approx(
                markers(theirs)["expectedHeader"]["scale_factor"], rel=1e-4
            )
        assert markers(ours)["expectedHeader"]["scale_factor"] > 0


def test_what_is_no_slide_has_no_project(folder):
    adata = anndata.AnnData(np.zeros((3, 4), np.float32))
    adata.write_h5ad(folder / "cells.h5ad")
    with pytest.raises(SlideFileError, match=r"has no obsm/spatial"):
        make_project(folder / "cells.h5ad")
    adata.obsm["spatial"] = np.full((3, 2), np.nan)
    adata.write_h5ad(folder / "cells.h5ad")
    with pytest.raises(SlideFileError, match="whose place is not a number"):
        make_project(folder / "cells.h5ad")


def test_addresses_of_pages(folder):
    assert page(folder, folder / "alone.tmap") == "/alone.tmap"
    assert page(folder, folder / "sub" / "a b.tmap") == "/a%20b.tmap?path=sub"
