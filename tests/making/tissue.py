"""Small slides with tissue of a seed's own making, for training on."""

import numpy as np
import pyvips


def write_tissue(path, *, side=512, seed=0, mpp=0.5):
    """A lossless slide of pink stroma on the left and of dense blue nuclei on the right."""
    random = np.random.default_rng(seed)
    pixels = np.empty((side, side, 3))
    pixels[:] = (215, 150, 190)
    y, x = np.mgrid[0:side, 0:side]
    for _ in range(side * side // 120):
        # Many nuclei on the right, few on the left.
        cx, cy = side * random.random() ** 0.4, side * random.random()
        left, top = max(0, int(cx) - 5), max(0, int(cy) - 5)
        inside = slice(top, top + 11), slice(left, left + 11)
        round_ = (x[inside] - cx) ** 2 + (y[inside] - cy) ** 2 < random.uniform(6, 20)
        pixels[inside][round_] = (90, 60, 150)
    pixels += random.normal(0, 6, pixels.shape)
    image = pyvips.Image.new_from_array(pixels.clip(0, 255).astype(np.uint8))
    image = image.copy(interpretation="srgb", xres=1000 / mpp, yres=1000 / mpp)
    image.tiffsave(str(path), tile=True, tile_width=256, tile_height=256, resunit="cm")
    return path
