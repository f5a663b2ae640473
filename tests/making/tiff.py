"""TIFFs to the letter: any tag, any bytes, several pages, sub-images, classic and BigTIFF, whole or wrong.

A `Page` is its tags and its blocks (tiles or strips) as they will lie in the file; both may be changed before
`write_tiff` writes them, so that a test says what is odd about its file and nothing else::

    odd = page(pixels, tile=(128, 128), compression=8)
    odd.tags[274] = 4                  # another orientation
    odd.blocks[3] = b""                # a tile that was left out
    write_tiff(tmp_path / "odd.tif", [odd])
"""

import io
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

# Types of tags: number, and how one value is packed. A text is given as bytes.
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, FLOAT, DOUBLE, LONG8 = 1, 2, 3, 4, 5, 7, 11, 12, 16
_PACKED = {17: "q", SHORT: "H", LONG: "I", RATIONAL: "I", FLOAT: "f", DOUBLE: "d", LONG8: "Q"}
_SHORTS = (254, 258, 259, 262, 274, 277, 284, 296, 317, 320, 338, 339, 530)


@dataclass
class Page:
    """An image of a TIFF, as it will lie in the file.

    Attributes
    ----------
    tags : dict
        Number: an int, a float (a rational), a str, a sequence of ints, or (type, values) to the letter.
        Where the blocks lie and how long they are (324, 325 or 273, 279) is added, unless it is given.
    blocks : list of bytes
        Tiles or strips; an empty one is a tile that was left out.
    sub : list of Page
        Its sub-images (tag 330).
    tiled : bool
    """

    tags: dict = field(default_factory=dict)
    blocks: list = field(default_factory=list)
    sub: list = field(default_factory=list)
    tiled: bool = True


def page(pixels, *, tile=(128, 128), compression=8, photometric=None, planar=False, tags=(), sub=()):
    """Make a page of pixels (rows, columns) or (rows, columns, samples); `tile` None makes it one strip.

    Blocks are encoded as compression 1, 8 or 7 says (JPEG has whole streams of its own); under another number
    lie the bytes that deflate makes.
    """
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    rows, columns, samples = pixels.shape
    photometric = (2 if samples >= 3 else 1) if photometric is None else photometric
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    found = Page(tiled=tile is not None)
    found.tags = {
        256: columns,
        257: rows,
        258: (SHORT, [pixels.dtype.itemsize * 8] * samples),
        259: compression,
        262: photometric,
        277: samples,
        284: 2 if planar else 1,
        339: (SHORT, [kind] * samples),
    }
    if tile is None:
        found.tags[278] = rows
        width, height = columns, rows
    else:
        width, height = tile
        found.tags |= {322: width, 323: height}
    planes = [pixels[..., k : k + 1] for k in range(samples)] if planar else [pixels]
    for plane in planes:
        for top in range(0, rows, height):
            for left in range(0, columns, width):
                block = plane[top : top + height, left : left + width]
                missing = [(0, height - block.shape[0]), (0, width - block.shape[1]), (0, 0)]
                found.blocks.append(encode(np.pad(block, missing, mode="edge"), compression, photometric))
    found.sub = list(sub)
    found.tags |= dict(tags)
    return found


def encode(block, compression=8, photometric=2):
    """Encode a block of pixels; under a number that is not known here lie the bytes that deflate makes."""
    if compression == 1:
        return block.tobytes()
    if compression == 7:
        stream = io.BytesIO()
        image = Image.fromarray(block[..., 0] if block.shape[2] == 1 else block)
        keep = {"keep_rgb": True} if photometric == 2 and block.shape[2] == 3 else {}
        image.save(stream, "jpeg", quality=90, subsampling=0, **keep)
        return stream.getvalue()
    return zlib.compress(block.tobytes(), 1)


def write_tiff(path, pages, *, big=False, order="<"):
    """Write pages, one after another; returns the path."""
    pages = [pages] if isinstance(pages, Page) else list(pages)
    word = "Q" if big else "I"
    start = b"II" if order == "<" else b"MM"
    head = struct.pack(f"{order}HHHQ", 43, 8, 0, 0) if big else struct.pack(f"{order}HI", 42, 0)
    out = bytearray(start + head)
    link = len(out) - (8 if big else 4)
    for each in pages:
        place, next_link = _append(out, each, big, order)
        struct.pack_into(order + word, out, link, place)
        link = next_link
    path = Path(path)
    path.write_bytes(out)
    return path


def _append(out, found, big, order):
    """Append a page; return where its directory begins, and where the place of the next one is written."""
    word, size = ("Q", 8) if big else ("I", 4)
    places = []
    for block in found.blocks:
        places.append(len(out) if block else 0)
        out += block + b"\0" * (len(block) % 2)
    children = [_append(out, each, big, order)[0] for each in found.sub]
    wide = LONG8 if big else LONG
    where, lengths = (324, 325) if found.tiled else (273, 279)
    tags = {where: (wide, places), lengths: (wide, [len(block) for block in found.blocks])}
    if children:
        tags[330] = (wide, children)
    entries = []
    for number, value in sorted((tags | found.tags).items()):
        if value is None:
            continue
        kind, count, data = _packed(number, value, order)
        if len(data) > size:
            out += b"\0" * (len(out) % 2)
            data, place = struct.pack(order + word, len(out)), data
            out += place
        entries.append(struct.pack(f"{order}HH{word}", number, kind, count) + data.ljust(size, b"\0"))
    out += b"\0" * (len(out) % 2)
    begin = len(out)
    out += struct.pack(order + ("Q" if big else "H"), len(entries)) + b"".join(entries)
    out += struct.pack(order + word, 0)
    return begin, len(out) - size


def _packed(number, value, order):
    """Return a tag's type, its count and its bytes."""
    if isinstance(value, str):
        value = (ASCII, value.encode() + b"\0")
    elif isinstance(value, float):
        value = (RATIONAL, [round(value * 1000), 1000])
    elif isinstance(value, int):
        value = (SHORT if number in _SHORTS else LONG, [value])
    elif not isinstance(value[0], int) or isinstance(value, list):
        value = (SHORT if number in _SHORTS else LONG, list(value))
    kind, values = value
    if isinstance(values, bytes):
        return kind, len(values), values
    if kind in (BYTE, UNDEFINED):
        return kind, len(values), bytes(values)
    data = struct.pack(f"{order}{len(values)}{_PACKED[kind]}", *values)
    return kind, len(values) // (2 if kind == RATIONAL else 1), data
