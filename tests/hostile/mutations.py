"""Damage, as files come by it: some by chance, most where the format's own structure is.

A mutation takes bytes and a `random.Random`, and gives other bytes and what it did, in words.
"""

import gzip
import json
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
from hostile.originals import SLIDE_KINDS, TIFF_KINDS, TILE, original

_NUMBERS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 32, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1)
_COMPRESSIONS = (
    0,
    1,
    2,
    5,
    6,
    7,
    8,
    9,
    32773,
    32946,
    33003,
    33005,
    34712,
    34887,
    34925,
    50000,
    50001,
    50002,
    9999,
)
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}


def mutate(kind, rng):
    """Damage a sound file of a kind; return the bytes and what was done."""
    content = original(kind)
    choices = [_flip, _cut, _shuffle]
    if kind in TIFF_KINDS:
        choices += [_mutate_tag] * 9 + [_mutate_block] * 4
    elif kind == "h5ad":
        choices += [_mutate_member] * 9
    elif kind == "geojson-gz":
        choices += [_mutate_packed] * 4
    elif kind in ("geojson", "session", "project"):
        choices = [*choices, *[_mutate_tree] * 6, *[_mutate_text] * 3]
    elif kind not in SLIDE_KINDS and kind != "mask":
        choices = [*choices, *[_mutate_text] * 8]
    return rng.choice(choices)(content, rng)


def _flip(content, rng):
    """Flip some bits; half of the time all of them near the beginning, where formats keep what matters."""
    found = bytearray(content)
    end = len(found) if rng.random() < 0.5 else min(len(found), 512)
    places = [rng.randrange(end) for _ in range(rng.choice((1, 2, 8, 64)))]
    for place in places:
        found[place] ^= 1 << rng.randrange(8)
    return bytes(found), f"bits flipped in {len(places)} of the first {end} bytes"


def _cut(content, rng):
    length = rng.choice((0, 1, 8, rng.randrange(len(content)), len(content) - 1, len(content) * 9 // 10))
    return content[:length], f"cut to {length} of {len(content)} bytes"


def _shuffle(content, rng):
    """Take a piece out, put it in twice, or overwrite it with something else."""
    start = rng.randrange(len(content))
    end = min(len(content), start + rng.choice((1, 4, 64, 4096)))
    way = rng.choice(("out", "twice", "zeros", "ones", "noise"))
    piece = {
        "out": b"",
        "twice": content[start:end] * 2,
        "zeros": bytes(end - start),
        "ones": b"\xff" * (end - start),
        "noise": rng.randbytes(end - start),
    }[way]
    return content[:start] + piece + content[end:], f"bytes {start} to {end}: {way}"


# ---------------------------------------------------------------------------------------------------- TIFF


@dataclass(frozen=True)
class _Entry:
    """A tag of a directory, by where its twelve (in a BigTIFF twenty) bytes lie."""

    place: int
    tag: int
    kind: int
    count: int
    # Where its values are: in the entry itself, or elsewhere.
    values: int


def _entries(content):
    """Return the entries of all pages, and where each page's link to the next lies."""
    order = "<" if content[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", content, 2)[0] == 43
    word, width, long_count = ("Q", 8, "Q") if big else ("I", 4, "H")
    link = 8 if big else 4
    entries, links = [], [link]
    seen = set()
    while (directory := struct.unpack_from(order + word, content, link)[0]) and directory not in seen:
        seen.add(directory)
        (n,) = struct.unpack_from(order + long_count, content, directory)
        place = directory + struct.calcsize(long_count)
        for _ in range(n):
            tag, kind = struct.unpack_from(order + "HH", content, place)
            (count,) = struct.unpack_from(order + word, content, place + 4)
            values = place + 4 + width
            if _SIZES.get(kind, 1) * count > width:
                (values,) = struct.unpack_from(order + word, content, values)
            entries.append(_Entry(place, tag, kind, count, values))
            place += 4 + 2 * width
        link = place
        links.append(link)
    return order, big, entries, links


def _put(found, order, kind, place, value):
    size = _SIZES.get(kind, 1)
    code = {1: "B", 2: "H", 4: "I", 8: "Q"}[size]
    if place + size <= len(found):
        struct.pack_into(order + code, found, place, value % 2 ** (8 * size))


def _mutate_tag(content, rng):
    found = bytearray(content)
    order, big, entries, links = _entries(content)
    width = 8 if big else 4
    entry = rng.choice(entries)
    way = rng.choice(
        ("value", "value", "value", "known", "known", "type", "count", "number", "gone", "place", "link")
    )
    what = f"tag {entry.tag}, {way}"
    if way == "value":
        index, value = rng.randrange(min(entry.count, 64)), rng.choice(_NUMBERS)
        _put(found, order, entry.kind, entry.values + index * _SIZES.get(entry.kind, 1), value)
        what += f" {index} = {value}"
    elif way == "known":
        # What says how the others are to be understood.
        known = {
            259: _COMPRESSIONS,
            274: range(10),
            262: (0, 1, 2, 3, 4, 5, 6, 8, 32844),
            277: range(6),
            284: (0, 1, 2, 3),
            258: (1, 2, 4, 8, 10, 12, 16, 32, 64),
            339: range(6),
            317: (1, 2, 3),
        }
        entry = rng.choice([each for each in entries if each.tag in known])
        value = rng.choice(list(known[entry.tag]))
        for index in range(entry.count):
            _put(found, order, entry.kind, entry.values + index * _SIZES[entry.kind], value)
        what = f"tag {entry.tag} = {value}"
    elif way == "type":
        struct.pack_into(
            order + "H", found, entry.place + 2, rng.choice((0, 1, 2, 3, 4, 5, 11, 12, 13, 16, 99))
        )
    elif way == "count":
        _put(found, order, 16 if big else 4, entry.place + 4, rng.choice((*_NUMBERS, 2**40)))
    elif way == "number":
        struct.pack_into(
            order + "H", found, entry.place, rng.choice([each.tag for each in entries] + [0, 338, 274])
        )
    elif way == "gone":
        struct.pack_into(order + "H", found, entry.place, 65000)
    elif way == "place":
        struct.pack_into(order + ("Q" if big else "I"), found, entry.place + 4 + width, rng.choice(_NUMBERS))
    else:
        link = rng.choice(links)
        target = rng.choice((0, 8, 4, rng.randrange(len(content)), 2**31, entries[0].place - 2))
        struct.pack_into(order + ("Q" if big else "I"), found, link, target)
        what = f"the directory after {link} is at {target}"
    return bytes(found), what


def _mutate_block(content, rng):
    """Damage what a tile or strip is: where it lies, how long it is, its bytes."""
    found = bytearray(content)
    order, _, entries, _ = _entries(content)
    places = [each for each in entries if each.tag in (273, 324)]
    lengths = [each for each in entries if each.tag in (279, 325)]
    page = rng.randrange(len(places))
    place, length = places[page], lengths[page]
    index = rng.randrange(place.count)

    def read(entry):
        code = {3: "H", 4: "I", 16: "Q"}[entry.kind]
        return struct.unpack_from(order + code, content, entry.values + index * _SIZES[entry.kind])[0]

    start, size = read(place), read(length)
    way = rng.choice(("left out", "elsewhere", "beyond the end", "short", "long", "noise", "zeros", "flip"))
    if way == "left out":
        _put(found, order, length.kind, length.values + index * _SIZES[length.kind], 0)
        _put(found, order, place.kind, place.values + index * _SIZES[place.kind], 0)
    elif way in ("elsewhere", "beyond the end"):
        value = (
            rng.randrange(len(content)) if way == "elsewhere" else len(content) + rng.choice((0, 1, 2**20))
        )
        _put(found, order, place.kind, place.values + index * _SIZES[place.kind], value)
    elif way in ("short", "long"):
        value = (
            rng.choice((1, size // 2, size - 1))
            if way == "short"
            else rng.choice((size * 2, 2**31 - 1, 2**32 - 1))
        )
        _put(found, order, length.kind, length.values + index * _SIZES[length.kind], value)
    else:
        if way == "zeros" and size >= 3 * TILE * TILE:
            way = "noise"  # nothing is wrong with zeros that are not compressed: they are black
        piece = {"noise": rng.randbytes(size), "zeros": bytes(size)}.get(way)
        if piece is None:
            flipped = bytearray(content[start : start + size])
            for _ in range(8):
                flipped[rng.randrange(size)] ^= 1 << rng.randrange(8)
            piece = bytes(flipped)
        found[start : start + size] = piece
    return bytes(found), f"page {page}, block {index}: {way}"


# ---------------------------------------------------------------------------------------------------- h5ad


def _mutate_member(content, rng):
    """Change a group, a data set or an attribute of an h5ad, by the library that others write them with."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "s.h5ad"
        path.write_bytes(content)
        with h5py.File(path, "r+") as file:
            names = []
            file.visit(names.append)
            name = rng.choice(sorted(names))
            what = _change(file, name, rng)
        return path.read_bytes(), what


def _change(file, name, rng):
    item = file[name]
    is_data = isinstance(item, h5py.Dataset)
    ways = ["gone", "group", "external link", "dangling link", "cycle", "attribute", "attributes gone"]
    if is_data:
        ways += ["shape", "kind", "empty", "huge", "values", "external", "virtual", "text", "longer"] * 2
    way = rng.choice(ways)
    what = f"{name}: {way}"
    attributes = dict(item.attrs)
    if way == "attribute":
        key = rng.choice(sorted(attributes) or ["encoding-type"])
        item.attrs[key] = rng.choice(
            ("", "categorical", "csr_matrix", 5, 1.5, "x" * 50_000, np.array([1, 2, 3]))
        )
        return f"{what} {key} = {str(item.attrs[key])[:40]}"
    if way == "attributes gone":
        for key in attributes:
            del item.attrs[key]
        return what
    if way == "values":
        return f"{what}: {_change_values(item, rng)}"
    values = item[()] if is_data else None
    del file[name]
    if way == "gone":
        return what
    if way == "group":
        file.create_group(name)
    elif way == "external link":
        file[name] = h5py.ExternalLink(rng.choice(("/etc/passwd", "elsewhere.h5ad", "s.h5ad")), "/X")
    elif way == "dangling link":
        file[name] = h5py.SoftLink("/no/such/thing")
    elif way == "cycle":
        file[name] = h5py.SoftLink(f"/{name}")
    else:
        _replace(file, name, values, way, rng)
        for key, value in attributes.items():
            file[name].attrs[key] = value
    return what


def _change_values(item, rng):
    if item.dtype.kind == "f" and item.size:
        value = rng.choice((math.nan, math.inf, -math.inf, 1e30, -1.0, 0.0))
        place = tuple(rng.randrange(side) for side in item.shape)
        item[place if rng.random() < 0.5 else Ellipsis] = value
        return f"{value} at {place}"
    if item.dtype.kind == "O" and item.size:
        value = rng.choice(
            ("", "a", "nan", "[" * 50_000, "{}", "null", '{"slide": 5}', "\ud7ff\U0001f600", "x" * 100_000)
        )
        item[() if item.shape == () else rng.randrange(item.shape[0])] = value
        return f"text {value[:20]!r}"
    return "left as they are"


def _replace(file, name, values, way, rng):
    array = np.asarray(values)
    if way == "shape":
        file[name] = np.zeros(rng.choice(((), (1,), (3, 2), (48,), (48, 3), (2, 48), (48, 2, 2))), np.float32)
    elif way == "kind":
        file[name] = np.zeros(
            array.shape, rng.choice(("i1", "u8", ">f4", "f2", "f8", "c8", "?", "S3", "i4,f4"))
        )
    elif way == "empty":
        file[name] = rng.choice((h5py.Empty("f4"), np.zeros((0, *array.shape[1:]), np.float32)))
    elif way == "huge":
        shape = rng.choice(((10**8, 16), (10**10, 2), (10**6, 10**6), (48, 10**9), (10**9,)))
        compression = rng.choice((None, "gzip"))
        file.create_dataset(
            name, shape, "f4", chunks=tuple(min(each, 1000) for each in shape), compression=compression
        )
    elif way == "external":
        file.create_dataset(name, (48, 16), "f4", external=[("/etc/passwd", 0, 3072)])
    elif way == "virtual":
        layout = h5py.VirtualLayout((48, 16), "f4")
        layout[:] = h5py.VirtualSource("elsewhere.h5ad", "X", (48, 16))
        file.create_virtual_dataset(name, layout)
    elif way == "text":
        file[name] = rng.choice(("", "text", "[" * 50_000))
    else:
        file[name] = np.zeros((array.shape[0] + 1 if array.shape else 2, *array.shape[1:]), np.float32)


# ------------------------------------------------------------------------------------------- text and JSON


def _mutate_packed(content, rng):
    found, what = rng.choice((_mutate_tree, _mutate_text))(gzip.decompress(content), rng)
    return gzip.compress(found, mtime=0), what


_VALUES = (
    10**400,
    None,
    True,
    -1,
    0,
    2**31,
    2**53,
    1e308,
    1e999,
    math.nan,
    "",
    "NaN",
    "x" * 10_000,
    "\u202e<b>",
    [],
    {},
    [[]],
)


def _mutate_tree(content, rng):
    """Change one value of a JSON document: another kind, gone, twice, nested in itself."""
    tree = json.loads(content)
    places = list(_walk(tree))
    holder, key = rng.choice(places)
    way = rng.choice(("value", "value", "value", "gone", "deep", "wrapped", "twice", "key"))
    what = f"{way} at {str(key)[:40]!r}"
    if way == "value":
        holder[key] = rng.choice(_VALUES)
        what += f" = {str(holder[key])[:30]!r}"
    elif way == "gone":
        del holder[key]
    elif way == "wrapped":
        holder[key] = [holder[key]]
    elif way == "twice" and isinstance(holder, list):
        holder.insert(key, holder[key])
    elif way == "key" and isinstance(holder, dict):
        holder[rng.choice(("", "type", "extra", "geometry", "__proto__"))] = holder.pop(key)
    else:
        deep = rng.choice((100, 2000, 100_000))
        text = json.dumps(tree).encode()
        marker = json.dumps(holder[key]).encode()
        return text.replace(marker, b"[" * deep + marker + b"]" * deep, 1), f"{deep} deep"
    return json.dumps(tree).encode(), what


def _walk(tree):
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(items):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _walk(value)


def _mutate_text(content, rng):
    """Change a text as editors, spreadsheets and other programs do."""
    text = content.decode("utf-8", "replace")
    ways = {
        "byte-order mark": lambda: b"\xef\xbb\xbf" + content,
        "UTF-16": lambda: text.encode("utf-16"),
        "Latin-1": lambda: text.replace("Tumour", "Tumör").encode("latin-1", "replace"),
        "line ends of Windows": lambda: text.replace("\n", "\r\n").encode(),
        "line ends of old Macs": lambda: text.replace("\n", "\r").encode(),
        "NUL": lambda: content.replace(b"o", b"\0", 1),
        "semicolons": lambda: text.replace(",", ";").encode(),
        "tabs": lambda: text.replace(",", "\t").encode(),
        "quotes": lambda: text.replace(",", '","', 1).encode(),
        "an open quote": lambda: text.replace(",", ',"', 1).encode(),
        "spaces": lambda: text.replace(",", " , ").encode(),
        "capitals": lambda: text.upper().encode(),
        "a line twice": lambda: (text + "\n".join(text.splitlines()[-2:]) + "\n").encode(),
        "a line less": lambda: "\n".join(text.splitlines()[1:]).encode(),
        "a field more": lambda: text.replace("\n", ",extra\n", 2).encode(),
        "empty lines": lambda: text.replace("\n", "\n\n\n").encode(),
        "a number": lambda: _number(text, rng).encode(),
        "a word": lambda: _word(text, rng).encode(),
        "a doctype": lambda: text.replace("?>", '?><!DOCTYPE a [<!ENTITY e "eeee">]>', 1).encode(),
        "a comma": lambda: re.sub(r"([}\]])\s*$", r",\1", text).encode(),
        "an angle": lambda: text.replace(">", "", 1).encode() if ">" in text else (text + "<").encode(),
    }
    way = rng.choice(sorted(ways))
    return ways[way](), way


def _number(text, rng):
    found = list(re.finditer(r"-?\d+(\.\d+)?", text))
    if not found:
        return text
    each = rng.choice(found)
    value = rng.choice(("nan", "inf", "-5", "1e400", "0", "9" * 30, "", "0x10", "1,5", "٣", " 7 "))
    return text[: each.start()] + value + text[each.end() :]


def _word(text, rng):
    found = list(re.finditer(r"[A-Za-z]{3,}", text))
    if not found:
        return text
    each = rng.choice(found)
    return (
        text[: each.start()] + rng.choice(("", "x", each[0] * 2, "é" * 9, "<b>", "\0")) + text[each.end() :]
    )
