"""What the scripts in examples/ come to on the demo; that they run is asked in `test_docs`."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, *arguments):
    command = [sys.executable, EXAMPLES / name, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_regions_leave_the_glass_of_the_demo_out(demo_folder, tmp_path):
    target = tmp_path / "demo.geojson"
    told = run("regions_from_h5ad.py", demo_folder / "demo.h5ad", target)
    features = json.loads(target.read_text())["features"]
    shapes = {
        each["properties"]["classification"]["name"]: shapely.from_geojson(json.dumps(each["geometry"]))
        for each in features
    }
    assert set(shapes) == {"Other", "Tumour"}
    for name in shapes:
        assert f"{name}: " in told
    # The mask that the demo was painted by: 0 is glass, 2 tumour; a pixel of it is 16 of level 0.
    mask = np.asarray(Image.open(demo_folder / "demo_mask.png"))
    area = sum(shape.area for shape in shapes.values()) / 16**2
    assert area == pytest.approx((mask > 0).sum(), rel=0.03)
    assert shapes["Tumour"].area / 16**2 == pytest.approx((mask == 2).sum(), rel=0.1)
    y, x = np.indices(mask.shape) * 16 + 8
    inside = shapely.contains_xy(shapes["Tumour"], x.ravel(), y.ravel()).reshape(mask.shape)
    assert 2 * (inside & (mask == 2)).sum() / (inside.sum() + (mask == 2).sum()) > 0.95
