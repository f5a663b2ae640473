"""The TissUUmaps project beside a slide's file."""

import json
from importlib.metadata import version

import numpy as np
import pytest
from making_slides import project, slide_arguments

from embedder.tmap import write_tmap


def test_the_project_is_valid_for_tissuumaps_of_the_installed_version(tmp_path):
    from tissuumaps_schema import current

    made = project(slide_arguments()["centres"])
    current.Project.model_validate(made)
    assert made["schemaVersion"] == ".".join(version("tissuumaps-schema").split(".")[:2])
    write_tmap(tmp_path / "a.tmap", made)
    assert json.loads((tmp_path / "a.tmap").read_text()) == made


def test_a_project_without_an_image_has_no_layer_and_the_markers_size_of_the_empty_canvas():
    # The canvas is 6 % wider than the last centre; the squares must keep their share of it.
    centres = np.array([[100.0, 600.0], [1000.0, 700.0]])
    bare = project(centres, image=None)
    framed = project(centres, slide_size=(1060, 900))
    assert bare["layers"] == []
    assert bare["markerFiles"][0]["expectedHeader"] == framed["markerFiles"][0]["expectedHeader"]
    # Small coordinates are stretched to 5000 pixels, and the squares with them.
    small = project(centres / 10, image=None, stride0=12.5)
    stretched = project(centres, slide_size=(int(900 * 1.06), 900))
    factor = [each["markerFiles"][0]["expectedHeader"]["scale_factor"] for each in (small, stretched)]
    assert factor[0] == pytest.approx(factor[1], rel=0.01)
