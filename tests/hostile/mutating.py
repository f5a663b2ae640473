"""Damage of many kinds, each drawn from a `random.Random`: the same seed gives the same file."""

import gzip
import json
import shutil
import struct
from contextlib import suppress

import h5py
import numpy as np

# What stands where something else is expected.
ODD = [
    *(None, True, -1, 0, 2**31, 2**63, 10**400, -0.5, 1e308, float("nan"), float("inf"), "", "x", "0"),
    *("../../etc/passwd", "/etc/passwd", "a\0b", "\udce9", "“”", "=1+1", [], {}, [[]], [None], {"": None}),
    *([1, 2, 3], "9" * 5000, "2020-01-01T00:00:00Z"),
]
_INTEGERS = [0, 1, 2, 3, 7, 8, 16, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1]
# Compression, photometric interpretation, samples, bits, planes, orientation, predictor, size and tiles.
_TAGS = (256, 257, 258, 259, 262, 274, 277, 284, 317, 322, 323, 324, 325, 339, 530, 282, 283, 296, 270, 347)
_WIDTHS = {
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


# --------------------------------------------------------------------------------------------------- bytes


def damaged_bytes(content, random):
    """Return bytes with some of them changed, gone, doubled or moved, and what was done."""
    data = bytearray(content)
    if not data:
        return b"", "nothing to damage"
    kind = random.choice(["flips", "flips", "cut", "zeros", "noise", "doubled", "gone", "head"])
    start = random.randrange(len(data))
    length = min(random.choice([1, 4, 16, 64, 512, 4096]), len(data) - start)
    if kind == "flips":
        for _ in range(random.choice([1, 1, 2, 8, 64])):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    elif kind == "cut":
        del data[start:]
    elif kind == "zeros":
        data[start : start + length] = bytes(length)
    elif kind == "noise":
        data[start : start + length] = random.randbytes(length)
    elif kind == "doubled":
        data[start:start] = data[start : start + length]
    elif kind == "gone":
        del data[start : start + length]
    else:
        for _ in range(random.choice([1, 2, 4])):
            data[random.randrange(min(64, len(data)))] = random.randrange(256)
    return bytes(data), kind


# ---------------------------------------------------------------------------------------------------- TIFF


class Tiff:
    """Where the entries of a TIFF lie, as far as it can be read; little-endian, as the seeds are."""

    def __init__(self, content):
        self.big = content[2:3] == b"\x2b"
        self.offset, self.count, self.step, self.inline = (8, "<Q", 20, 8) if self.big else (4, "<H", 12, 4)
        self.word = "<Q" if self.big else "<I"
        self.directories = []  # (place of its offset, its place, number of entries)
        place = self.offset
        for _ in range(8):
            at = self.read(content, self.word, place)
            n = self.read(content, self.count, at) if at else None
            if not at or n is None or n > 100:
                break
            self.directories.append((place, at, n))
            place = at + struct.calcsize(self.count) + n * self.step

    @staticmethod
    def read(content, form, place):
        if place is None or place < 0 or place + struct.calcsize(form) > len(content):
            return None
        return struct.unpack_from(form, content, place)[0]

    def entries(self, directory):
        """Give the place of each entry of a directory."""
        _, at, n = self.directories[directory]
        first = at + struct.calcsize(self.count)
        return [first + k * self.step for k in range(n)]

    def values(self, content, tag):
        """Return the numbers of a tag of the first directory, at most 10,000; none where it has none."""
        for place in self.entries(0) if self.directories else []:
            if self.read(content, "<H", place) != tag:
                continue
            kind, n = self.read(content, "<H", place + 2), self.read(content, self.word, place + 4)
            form = {3: "<H", 4: "<I", 16: "<Q"}.get(kind)
            if form is None or n is None or n > 10_000:
                return []
            width = struct.calcsize(form)
            at = place + 4 + self.inline
            if n * width > self.inline:
                at = self.read(content, self.word, at)
            return [self.read(content, form, at + k * width) if at is not None else None for k in range(n)]
        return []


def damaged_tiff(content, random):
    """Return a TIFF with one or two of its entries changed."""
    tiff, data, done = Tiff(content), bytearray(content), []
    if not tiff.directories:
        return damaged_bytes(content, random)
    for _ in range(random.choice([1, 1, 1, 2])):
        directory = random.randrange(len(tiff.directories))
        if random.random() < 0.7:
            directory = 0
        link, at, n = tiff.directories[directory]
        entries = tiff.entries(directory)
        known = [each for each in entries if Tiff.read(content, "<H", each) in _TAGS]
        place = random.choice(known or entries)
        tag, kind = Tiff.read(data, "<H", place), Tiff.read(data, "<H", place + 2)
        value = place + 4 + tiff.inline
        change = random.choice(
            ["value", "value", "value", "count", "type", "tag", "gone", "loop", "number", "array", "pointer"]
        )
        if change == "value":
            struct.pack_into("<I", data, value, random.choice([*_INTEGERS, random.randrange(2**32)]))
        elif change == "count":
            struct.pack_into("<I", data, place + 4, random.choice(_INTEGERS))
        elif change == "type":
            struct.pack_into("<H", data, place + 2, random.choice([0, 1, 2, 3, 4, 5, 6, 11, 12, 13, 16, 99]))
        elif change == "tag":
            struct.pack_into("<H", data, place, random.choice([*_TAGS, 33003, 65535]))
        elif change == "gone":
            # With the offset of the next directory, which stands behind the last entry.
            end = entries[-1] + tiff.step + struct.calcsize(tiff.word)
            data[place:end] = data[place + tiff.step : end] + bytes(tiff.step)
            struct.pack_into(tiff.count, data, at, n - 1)
        elif change == "loop":
            end = at + struct.calcsize(tiff.count) + n * tiff.step
            struct.pack_into(
                tiff.word,
                data,
                random.choice([end, link]),
                random.choice([at, end, 0, 1, len(data), len(data) - 1]),
            )
        elif change == "number":
            struct.pack_into("<H", data, at, random.choice([0, 1, n - 1, n + 1, 255, 65535]))
        else:
            # One of the tiles: its offset or its number of bytes.
            tag = random.choice([324, 325])
            place = next((each for each in entries if Tiff.read(data, "<H", each) == tag), place)
            kind, total = Tiff.read(data, "<H", place + 2), Tiff.read(data, tiff.word, place + 4)
            form = {3: "<H", 4: "<I", 16: "<Q"}.get(kind, "<H")
            array = Tiff.read(data, tiff.word, place + 4 + tiff.inline)
            if change == "pointer" or not array or not total or total > 10_000:
                struct.pack_into(
                    "<I",
                    data,
                    place + 4 + tiff.inline,
                    random.choice([0, 8, len(data), len(data) - 2, 2**32 - 1]),
                )
            else:
                each = array + random.randrange(total) * struct.calcsize(form)
                if each + struct.calcsize(form) <= len(data):
                    most = 2 ** (8 * struct.calcsize(form)) - 1
                    struct.pack_into(
                        form, data, each, min(most, random.choice([0, 1, 2, 100, len(data), 2**31, most]))
                    )
        done.append(f"{change} of tag {tag} in directory {directory}")
    return bytes(data), ", ".join(done)


# ---------------------------------------------------------------------------------------------------- text


def damaged_json(content, random):
    """Return JSON with values, keys, depth or encoding changed."""
    if random.random() < 0.25:
        return damaged_text(content, random)
    tree = json.loads(content)
    done = []
    for _ in range(random.choice([1, 1, 2, 3])):
        parents = list(_parents(tree))
        if not parents:
            break
        parent, key = random.choice(parents)
        change = random.choice(["odd", "odd", "odd", "gone", "doubled", "deep", "many", "swapped"])
        if change == "odd":
            parent[key] = random.choice(ODD)
        elif change == "gone":
            del parent[key]
        elif change == "doubled" and isinstance(parent, list):
            parent.insert(key, parent[key])
        elif change == "deep":
            value = parent[key]
            for _ in range(random.choice([2, 50, 900])):
                value = [value]
            parent[key] = value
        elif change == "many":
            parent[key] = [parent[key]] * random.choice([2, 1000])
        else:
            other, place = random.choice(parents)
            if not _holds(parent[key], other) and not _holds(other[place], parent):
                parent[key], other[place] = other[place], parent[key]
        done.append(f"{change} at {key}")
    text = json.dumps(tree, ensure_ascii=random.random() < 0.5)
    if random.random() < 0.1:
        # Once more, with another value: JSON allows it.
        text = text.replace("{", '{"type": "x", "name": null, ', random.choice([1, 2]))
        done.append("keys twice")
    if random.random() < 0.05:
        text = "[" * 100_000 + text + "]" * 100_000
        done.append("100,000 deep")
    return text.encode("utf-8", "surrogatepass"), ", ".join(done)


def _parents(value):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in list(items):
        yield value, key
        yield from _parents(each)


def _holds(value, other):
    return value is other or any(each[0] is other for each in _parents(value))


def damaged_text(content, random):
    """Return a text with another encoding, end, quote or separator."""
    text = content.decode("utf-8", "replace")
    lines = text.splitlines() or [""]
    row = random.randrange(len(lines))
    changes = {
        "UTF-16": lambda: text.encode("utf-16"),
        "byte-order mark": lambda: b"\xef\xbb\xbf" + content,
        "Latin-1": lambda: text.replace("T", "Ü").encode("latin-1", "replace"),
        "NUL": lambda: content[: len(content) // 2] + b"\0" + content[len(content) // 2 :],
        "trailing comma": lambda: text.replace("}", ",}").encode(),
        "semicolons": lambda: text.replace(",", ";").encode(),
        "tabs": lambda: text.replace(",", "\t").encode(),
        "quote": lambda: text.replace(",", ',"', 1).encode(),
        "no quotes": lambda: text.replace('"', "", 1).encode(),
        "empty": lambda: b"",
        "blank": lambda: b" \n\n",
        "line gone": lambda: "\n".join(lines[:row] + lines[row + 1 :]).encode(),
        "line twice": lambda: "\n".join([*lines[: row + 1], *lines[row:]]).encode(),
        "more fields": lambda: "\n".join([*lines[:row], lines[row] + ",1,2,3", *lines[row + 1 :]]).encode(),
        "not a number": lambda: _one_number(text, random, "nan"),
        "huge number": lambda: _one_number(text, random, "9" * 400),
        "long field": lambda: text.replace(",", "," + "x" * 200_000, 1).encode(),
        "old lines": lambda: text.replace("\n", "\r").encode(),
        "bytes": lambda: damaged_bytes(content, random)[0],
    }
    kind = random.choice(list(changes))
    return changes[kind](), kind


def _one_number(text, random, new):
    places = [k for k, sign in enumerate(text) if sign.isdigit()]
    if not places:
        return text.encode()
    start = end = random.choice(places)
    while end < len(text) and (text[end].isdigit() or text[end] == "."):
        end += 1
    return (text[:start] + new + text[end:]).encode()


def damaged_xml(content, random):
    """Return XML with an entity, a depth, an element or an attribute that it had not."""
    text = content.decode()
    bomb = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    start = text.index("?>") + 2
    changes = {
        "bomb": lambda: f"{text[:start]}{bomb}]>{text[start:].replace('Tumor', '&i;', 1)}",
        "outside": lambda: (
            f'{text[:start]}<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
            f"{text[start:].replace('Tumor', '&x;', 1)}"
        ),
        "deep": lambda: text[:start] + "<a>" * 200_000 + text[start:] + "</a>" * 200_000,
        "no coordinates": lambda: text.replace("<Coordinate ", "<Other "),
        "no group": lambda: text.replace('PartOfGroup="Tumor"', ""),
        "another kind": lambda: text.replace(
            "Polygon", random.choice(["Spline", "Dot", "Rectangle", "", "x"])
        ),
        "encoding": lambda: text.replace('version="1.0"', 'version="1.0" encoding="utf-7"'),
        "attribute twice": lambda: text.replace("X=", 'X="1" X=', 1),
        "odd value": lambda: text.replace(
            'X="20"', f'X="{random.choice(["", "nan", "inf", "1e999", "x", "-5"])}"'
        ),
    }
    kind = random.choice([*changes, "text", "text", "bytes"])
    if kind == "text":
        return damaged_text(content, random)
    if kind == "bytes":
        return damaged_bytes(content, random)
    return changes[kind]().encode(), kind


def damaged_gzip(content, random):
    """Return gzip whose inside, or whose outside, is damaged."""
    if random.random() < 0.6:
        inner, told = damaged_json(gzip.decompress(content), random)
        return gzip.compress(inner, mtime=0), f"inside: {told}"
    return damaged_bytes(content, random)


# ---------------------------------------------------------------------------------------------------- HDF5


def damaged_h5ad(seed, path, random):
    """Write an h5ad with an object, an attribute, a shape, a link or bytes changed; return what was done."""
    if random.random() < 0.3:
        data, told = damaged_bytes(seed.read_bytes(), random)
        path.write_bytes(data)
        return told
    shutil.copy(seed, path)
    done = []
    with h5py.File(path, "r+") as file:
        for _ in range(random.choice([1, 1, 2])):
            names = []
            file.visit(names.append)
            place = random.choice(sorted(names))
            item = file[place]
            attributes = dict(item.attrs) if hasattr(item, "attrs") else {}
            change = random.choice(
                ["gone", "odd", "shape", "dtype", "attribute", "link", "filter", "huge", "values", "moved"]
            )
            if change == "attribute" and attributes:
                key = random.choice(sorted(attributes))
                if random.random() < 0.3:
                    del item.attrs[key]
                else:
                    item.attrs[key] = random.choice(
                        ["", "x", "csr_matrix", "nullable-integer", 7, [1, 2], "a\nb"]
                    )
                done.append(f"attribute {key} of {place}")
                continue
            values = item[()] if isinstance(item, h5py.Dataset) else None
            if change in ("shape", "dtype", "filter", "values", "huge") and (
                values is None or np.ndim(values) == 0
            ):
                change = "odd"
            if change == "moved":
                file.move(place, f"{place} old")
            else:
                del file[place]
            if change == "odd":
                file[place] = random.choice(
                    [
                        3,
                        "x",
                        "{}",
                        h5py.Empty("f4"),
                        np.zeros((2, 2, 2)),
                        np.array([b"\xff\xfe"] * 32),
                        np.zeros(32, [("a", "i4")]),
                        np.full(32, np.nan),
                    ]
                )
            elif change == "shape":
                shape = random.choice(
                    [
                        values[:-1],
                        values[:0],
                        values.reshape(-1),
                        values[..., None],
                        np.concatenate([values, values]),
                    ]
                )
                file.create_dataset(place, data=shape, dtype=item.dtype if values.dtype == object else None)
            elif change == "dtype" and values.dtype != object:
                file[place] = values.astype(random.choice([">f8", "f2", "i1", "u8", "S4", "c8", "?"]))
            elif change == "filter" and values.dtype != object:
                options = random.choice(
                    [
                        {"compression": "lzf"},
                        {"compression": "gzip"},
                        {"scaleoffset": 2},
                        {"fletcher32": True},
                    ]
                )
                if not (
                    values.dtype.kind == "b" or ("scaleoffset" in options and values.dtype.kind not in "iuf")
                ):
                    file.create_dataset(
                        place, data=values, chunks=tuple(max(1, n // 2) for n in values.shape), **options
                    )
            elif change == "huge":
                shape = tuple(
                    random.choice([10**6, 10**9, 10**12]) if k == 0 else n for k, n in enumerate(values.shape)
                )
                kind = item.dtype if values.dtype == object else values.dtype
                file.create_dataset(
                    place, shape, kind, chunks=tuple(min(64, n) for n in shape), compression="gzip"
                )
            elif change == "values" and values.dtype.kind == "f":
                values = values.copy()
                values.reshape(-1)[random.randrange(values.size)] = random.choice(
                    [np.nan, np.inf, -np.inf, 1e30, -1e30]
                )
                file[place] = values
            elif change == "link":
                outside = h5py.ExternalLink("/nowhere/outside.h5", "/X")
                file[place] = random.choice(
                    [h5py.SoftLink("/nowhere"), h5py.SoftLink(f"/{place}"), outside, h5py.SoftLink("/")]
                )
            with suppress(KeyError, OSError, RuntimeError, AttributeError):
                file[place].attrs.update(attributes)
            done.append(f"{change} of {place}")
    return ", ".join(done)
