"""What a page is told once of a slide's file."""

import os

import pytest
from making.many import write_mosaic

from tissuumaps_sic.slidefile.provenance import Provenance
from tissuumaps_sic.viewer.facts import find_field
from tissuumaps_sic.viewer.requests import RequestError, naming
from tissuumaps_sic.viewer.serve import make_app


@pytest.fixture
def app(tmp_path):
    write_mosaic(tmp_path, "a", columns=6, rows=4)
    app = make_app(tmp_path)
    yield app
    app.config["READ_ONLY"] = False


def facts_of(app):
    response = app.test_client().post("/plugins/SIC/open", json={"h5ad": "a.h5ad"})
    assert response.status_code == 200, response.json
    return response.json["facts"]


def test_why_nothing_can_be_saved_is_told_when_a_slide_is_opened(app, tmp_path, monkeypatch):
    assert facts_of(app)["unwritable"] == ""
    app.config["READ_ONLY"] = True
    assert facts_of(app)["unwritable"] == "this server is read-only"
    app.config["READ_ONLY"] = False
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode, **more: mode != os.W_OK and access(path, mode, **more)
    )
    assert facts_of(app)["unwritable"] == "the folder of a.h5ad may not be written to"


def test_what_a_network_saw_is_told_for_each_embedding():
    grid = {"patch_size": 256, "stride": 128, "target_mpp": 0.5, "patch_width0": 512, "patch_height0": 500}
    beside = {"key": "obsm/X_low", "name": "low", "target_mpp": 2.0, "patch_size": 224}
    slide = {"mpp_x": 0.25, "mpp_y": 0.5}
    known = Provenance.of({"slide": slide, "grid": grid, "encoder": {"name": "x"}, "encoders": [beside]})
    assert find_field(known, "X") == [512, 500]
    assert find_field(known, "low") == [224 * 2 / 0.25, 224 * 2 / 0.5]
    assert find_field(known, "other") is None
    assert find_field(Provenance.of({}), "X") is None


def test_a_folder_without_rights_is_not_told_to_be_full(tmp_path):
    with (
        pytest.raises(RequestError, match="may not be written to") as caught,
        naming(tmp_path / "a.sic.json"),
    ):
        raise PermissionError(13, "Permission denied")
    assert "space" not in str(caught.value)
    assert caught.value.status == 507
