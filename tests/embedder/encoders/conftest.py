"""What the tests of encoders share."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def patches():
    # Left and right, top and bottom, red and blue all differ, so that no exchange goes unseen.
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:256, 0:256]
    wave = np.stack([x / 2 + 60 * np.sin(y / 9), y / 2 + 60 * np.sin(x / 17), (x + y) / 6 + 0 * x], axis=-1)
    noise = rng.normal(0, 12, size=(3, 256, 256, 3))
    return np.clip(wave + 40 + noise, 0, 255).astype(np.uint8)
