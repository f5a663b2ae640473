"""Slides that are damaged in places that are known, and colour profiles that change what is seen."""

import struct

import numpy as np
import pyvips
from making.tiff import LONG, page, write_tiff

from tissuumaps_sic.slidefile.pixels.tiff import read_tiff

TILE = 128


def tissue(width=1200, height=1000, seed=0):
    """Stained tissue all over, with structure that smaller levels show, too; (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    pixels = np.empty((height, width, 3))
    pixels[:] = (200, 130, 180)
    for size, strength in ((64, 30), (16, 14), (4, 8)):
        coarse = rng.normal(0, strength, (-(-height // size), -(-width // size), 3))
        pixels += coarse.repeat(size, axis=0).repeat(size, axis=1)[:height, :width]
    return np.clip(pixels, 0, 245).astype(np.uint8)


def write_pyramid(path, pixels, *, mpp=0.5, profile=None, compression="jpeg", pyramid=True):
    """Write a tiled TIFF with levels, each half as large as the one before."""
    image = pyvips.Image.new_from_array(pixels).copy(interpretation="srgb", xres=1000 / mpp, yres=1000 / mpp)
    if profile is not None:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    image.tiffsave(
        str(path),
        tile=True,
        tile_width=TILE,
        tile_height=TILE,
        pyramid=pyramid,
        resunit="cm",
        compression=compression,
        Q=90,
    )
    return path


def write_front(path, pixels, *, levels=3, mpp=0.5):
    """Write a pyramid that tells where all lies before it, with level 0 last, as cloud-ready ones do."""
    per_cm = 10_000 / mpp
    pages = []
    for level in range(levels):
        step = 2**level
        rows, columns = (side // step * step for side in pixels.shape[:2])
        small = (
            pixels[:rows, :columns].reshape(rows // step, step, columns // step, step, 3).mean(axis=(1, 3))
        )
        tags = {254: int(level > 0), 282: per_cm / step, 283: per_cm / step, 296: 3}
        pages.append(page(small.astype(np.uint8), tile=(TILE, TILE), compression=7, tags=tags))
    blocks = [each.blocks for each in pages]
    for each in pages:
        each.tags |= {324: (LONG, [8] * len(each.blocks)), 325: (LONG, [len(block) for block in each.blocks])}
        each.blocks = []
    content = write_tiff(path, pages).read_bytes()
    end, data = len(content), b""
    for each, own in reversed(list(zip(pages, blocks, strict=True))):
        places = end + len(data) + np.cumsum([0, *(len(block) for block in own[:-1])])
        each.tags[324] = (LONG, places.tolist())
        data += b"".join(own)
    assert len(write_tiff(path, pages).read_bytes()) == end
    with path.open("ab") as file:
        file.write(data)
    return path


def spoil(path, *tiles, half=False):
    """Overwrite tiles (level, column, row) with zeros, or their later half; None stands for all of them."""
    tiff = read_tiff(path)
    with path.open("r+b") as file:
        for level, column, row in tiles:
            found = tiff.images[level]
            across = -(-found.size[0] // TILE)
            places, counts = tiff.numbers(found.places), tiff.numbers(found.counts)
            for index in range(len(places)) if column is None else [row * across + column]:
                skipped = int(counts[index]) // 2 if half else 0
                file.seek(int(places[index]) + skipped)
                file.write(bytes(int(counts[index]) - skipped))
    return path


def cut(path, share):
    """Cut a file short."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def make_profile(*, gamma=1.8, space=b"RGB ", name="made up scanner"):
    """Return an ICC profile, version 2, of primaries and a gamma that are not those of sRGB."""
    white = np.array([0.9642, 1.0, 0.8249])
    primaries = np.array([[x / y, 1, (1 - x - y) / y] for x, y in ((0.6, 0.33), (0.2, 0.7), (0.17, 0.05))]).T
    red, green, blue = (primaries * np.linalg.solve(primaries, white)).T

    def fixed(values):
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    text = name.encode() + b"\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": b"XYZ \0\0\0\0" + fixed(white),
    }
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        for key, values in ((b"rXYZ", red), (b"gXYZ", green), (b"bXYZ", blue)):
            tags[key] = b"XYZ \0\0\0\0" + fixed(values)
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body, begin = b"", b"", 132 + 12 * len(tags)
    for key, value in tags.items():
        value += bytes(-len(value) % 4)
        table += key + struct.pack(">II", begin + len(body), len(value))
        body += value
    head = struct.pack(">I4sI4s4s4s", begin + len(body), b"none", 0x02400000, b"scnr", space, b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed(white)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
