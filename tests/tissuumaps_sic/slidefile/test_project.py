"""The TissUUmaps project beside a slide's file."""

import importlib.util
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from making.slides import project, slide_arguments

from tissuumaps_sic.slidefile.project import marker_scale, write_tmap


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


def square_on_screen(scale_factor, *, width, canvas_height, viewport_height):
    """Edge of a square marker and of an image pixel, screen pixels, computed as TissUUmaps does.

    Its shader draws a quad of `point` pixels, which shows 0.8 of a cell of its sheet of shapes; the square
    ends where the sheet's red, a signed distance, crosses one half.
    """
    from PIL import Image

    static = Path(importlib.util.find_spec("tissuumaps").origin).parent / "static"
    shader = (static / "js" / "utils" / "glUtils.js").read_text()
    for fact in ("#define UV_SCALE 0.8", "SCALE_FIX (UV_SCALE / 0.7)", "globalMarkerSize / 25.0",
                 "(gl.canvas.height / 900.0)", "markerScaleAdjusted /= tmapp"):  # fmt: skip
        assert fact in shader
    point = scale_factor * 100 / 25 * canvas_height / 900 / viewport_height * 0.8 / 0.7
    red = np.asarray(Image.open(static / "misc" / "markershapes.png"))[..., 0] / 255
    cell = red.shape[0] // 4
    across = red[cell // 2, 2 * cell : 3 * cell] - 0.5  # the square is the third of the first row
    first, last = np.flatnonzero(across > 0)[[0, -1]]
    begin = first - across[first] / (across[first] - across[first - 1])
    end = last + across[last] / (across[last] - across[last + 1])
    return point * (end - begin) / cell / 0.8, canvas_height / viewport_height / width


@pytest.mark.parametrize("width", [2220, 100_000])
@pytest.mark.parametrize("canvas_height", [600, 2160])
@pytest.mark.parametrize("viewport_height", [1.3, 0.01])
def test_squares_meet_at_every_zoom_and_size_of_slide_and_window(width, canvas_height, viewport_height):
    square, pixel = square_on_screen(
        marker_scale(128, width=width),
        width=width,
        canvas_height=canvas_height,
        viewport_height=viewport_height,
    )
    assert square == pytest.approx(128 * pixel, rel=0.01)
