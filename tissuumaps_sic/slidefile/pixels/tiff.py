"""A TIFF's own tags: what its pages are, how their pixels are stored, and where.

Libraries that decode a TIFF leave out what they do not understand, each something else, often without a word.
What the file itself says is the measure for what they give. Nothing is decoded here.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.slidefile.pixels.source import Size, SlideError

COMPRESSIONS = {
    1: "no compression",
    2: "CCITT modified Huffman",
    3: "CCITT fax 3",
    4: "CCITT fax 4",
    5: "LZW",
    6: "old-style JPEG",
    7: "JPEG",
    8: "deflate",
    9: "JBIG",
    10: "JBIG",
    22610: "JPEG XR",
    32766: "NeXT RLE",
    32771: "CCITT RLE",
    32773: "PackBits",
    32809: "ThunderScan",
    32946: "deflate",
    32947: "Kodak DCS",
    33003: "JPEG 2000, YCbCr",
    33004: "JPEG 2000, lossy",
    33005: "JPEG 2000, RGB",
    33007: "lossy JPEG",
    34661: "JBIG",
    34676: "SGI Log",
    34677: "SGI Log, 24 bits",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    34925: "LZMA",
    34926: "Zstandard",
    34927: "WebP",
    34933: "PNG",
    34934: "JPEG XR",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    50003: "PixarFilm",
    52546: "JPEG XL",
}
NO_COMPRESSION, JPEG, DEFLATE, PACKBITS = 1, 7, (8, 32946), 32773
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
_PHOTOMETRICS = {
    4: "a transparency mask",
    5: "CMYK",
    8: "CIE L*a*b*",
    9: "ICC L*a*b*",
    10: "ITU L*a*b*",
    32803: "a colour filter array",
    32844: "CIE Log2(L)",
    32845: "CIE Log2(L) (u',v')",
    34892: "linear raw",
}
# What tag 338 says of a sample beyond the colours.
_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA = 1, 2
_UPRIGHT = 1

# A tag of NDPI files, which beyond 4 GB are no TIFFs to the letter.
_HAMAMATSU = 65420

# numpy's types of the tags' types that are numbers; a rational is two of them.
_KINDS = {1: "u1", 3: "u2", 4: "u4", 5: "u4", 6: "i1", 8: "i2", 9: "i4", 11: "f4", 12: "f8", 13: "u4"}
_KINDS |= {16: "u8", 17: "i8", 18: "u8"}
_SIZES = {2: 1, 5: 8, 7: 1, 10: 8} | {kind: int(name[1]) for kind, name in _KINDS.items() if kind != 5}
# A slide has some twenty pages, an OME-TIFF of stains a few thousand; a directory has some thirty tags.
_MOST_PAGES, _MOST_TAGS = 4096, 4096
# Of a tag's values so many are read where one, or one for each sample, is expected.
_FEW = 64


@dataclass(frozen=True)
class Page:
    """An image of a TIFF.

    Attributes
    ----------
    number : str
        As people count: "2" is the second page, "1.3" the third sub-image of the first.
    size : (width, height)
    tile : (width, height) or None
        None where it is stored in strips.
    strip_rows : int
    compression, photometric, samples, orientation : int
    bits, formats, extra : tuple of int
        Of each sample; of each sample beyond the colours.
    subsampling : tuple of int
        How much smaller the two colours of YCbCr are stored; empty where the file does not say.
    is_planar : bool
        Whether each sample is stored apart.
    counts, places : Entry or None
        Bytes of each tile or strip, and where in the file it begins; see `Tiff.numbers`.
    sub : tuple of Page
    """

    number: str
    size: Size
    tile: Size | None
    strip_rows: int
    compression: int
    photometric: int
    samples: int
    orientation: int
    bits: tuple[int, ...]
    formats: tuple[int, ...]
    extra: tuple[int, ...]
    subsampling: tuple[int, ...]
    is_planar: bool
    counts: Entry | None
    places: Entry | None
    sub: tuple[Page, ...] = ()

    @property
    def pixels(self) -> int:
        """How many pixels it has."""
        return self.size[0] * self.size[1]

    @property
    def codec(self) -> str:
        """Its compression by name and number."""
        return (
            f"{COMPRESSIONS.get(self.compression, 'an unknown codec')} (TIFF compression {self.compression})"
        )

    @property
    def has_alpha(self) -> bool:
        """Whether its last sample is a transparency."""
        return bool(self.extra) and self.extra[0] in (_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA)

    @property
    def block(self) -> Size:
        """Size of what is compressed in one piece: a tile, or a strip."""
        return self.tile or (self.size[0], min(self.strip_rows, self.size[1]))

    def refusal(self) -> str | None:
        """Tell why its pixels are no colours that can be read with certainty; None where they are.

        Returns
        -------
        str or None
        """
        bits, formats = set(self.bits), set(self.formats)
        if not bits <= {1, 2, 4, 8, 16} or len(bits) > 1 or (bits < {1, 2, 4} and self.samples > 1):
            told = ", ".join(map(str, self.bits))
            return (
                f"has {told} bits a sample, which cannot be read for certain; export it with 8 bits a sample"
            )
        if not formats <= {1, 4}:
            kind = "floating-point" if 3 in formats else "signed"
            return f"holds {kind} numbers and not colours; export it with 8 bits a sample"
        if self.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR):
            told = _PHOTOMETRICS.get(self.photometric, "unknown")
            return f"has colours that are {told} (TIFF tag 262 is {self.photometric}); export it as RGB"
        wanted = 3 if self.photometric in (RGB, YCBCR) else 1
        if self.samples == wanted or (self.samples == wanted + 1 and self.has_alpha):
            return None
        if self.samples == wanted + 1:
            says = f"is {self.extra[0]}" if self.extra else "is missing"
            return (
                f"has a sample beside its colours, which no tag calls a transparency (TIFF tag 338 {says}); "
                "export it without that sample"
            )
        return (
            f"has {self.samples} channels (where TIFF tag 262, {self.photometric}, tells {wanted}); export "
            "it as an RGB image (bright field), or one channel of it"
        )


@dataclass(frozen=True)
class Entry:
    """Where a tag's values lie: their type, how many they are, and the place in the file of the first."""

    kind: int
    count: int
    place: int


@dataclass(frozen=True)
class Tiff:
    """A TIFF's pages.

    Attributes
    ----------
    path : Path
    pages : tuple of Page
        In the file's order; sub-images are within theirs.
    bytes : int
        How long the file is.
    """

    path: Path
    order: str
    pages: tuple[Page, ...]
    bytes: int

    @property
    def images(self) -> tuple[Page, ...]:
        """All pages and sub-images."""
        return tuple(image for page in self.pages for image in (page, *page.sub))

    def check_counts(self) -> None:
        """Refuse a file of which a tile would be longer than all of it, before a library makes room for it.

        Raises
        ------
        SlideError
            OpenSlide ends the process where that room is not there.
        """
        for page in self.images:
            counts = self.numbers(page.counts)
            if len(counts) and (counts.min() < 0 or counts.max() > self.bytes):
                wrong = int(counts.min() if counts.min() < 0 else counts.max())
                raise SlideError(
                    f"{self.path.name!r} is damaged: its page {page.number} tells of a tile or strip of "
                    f"{wrong} bytes, and the file has {self.bytes}; copy it again, or export it from its "
                    "source again"
                )

    def numbers(self, entry: Entry | None) -> npt.NDArray[np.int64]:
        """Give all values of a tag.

        Parameters
        ----------
        entry : Entry or None

        Returns
        -------
        int64 array of shape (n,)
            Empty where there are none.
        """
        if entry is None or entry.kind not in _KINDS or entry.place >= self.bytes:
            return np.empty(0, np.int64)
        kind = np.dtype(self.order + _KINDS[entry.kind])
        with self.path.open("rb") as file:
            file.seek(entry.place)
            # The tag may tell of more than there is.
            most = max(0, min(entry.count, (self.bytes - entry.place) // kind.itemsize))
            return np.fromfile(file, kind, most).astype(np.int64)


def read_tiff(path: Path) -> Tiff | None:
    """Read a TIFF's tags; None where the file is none, or Hamamatsu's.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Tiff or None

    Raises
    ------
    SlideError
        Its list of pages leads nowhere: it is cut short, or damaged.
    OSError
        The file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(16)
        if head[:2] not in (b"II", b"MM"):
            return None
        order = "<" if head[:2] == b"II" else ">"
        (version,) = struct.unpack(order + "H", head[2:4]) if len(head) >= 4 else (0,)
        if version not in (42, 43) or len(head) < (16 if version == 43 else 8):
            return None
        big = version == 43
        size = os.fstat(file.fileno()).st_size
        (place,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
        pages: list[Page] = []
        seen: set[int] = set()
        while place and place not in seen and len(seen) < _MOST_PAGES:
            seen.add(place)
            if place >= size:
                where = f"its page {len(seen)} would begin at byte {place}, but it has {size}"
                raise SlideError(
                    f"{path.name!r} is cut short: {where}; copy it again, or export it from its source again"
                )
            page, place = _read_page(file, place, order, big, str(len(seen)), size)
            if page is not None:
                pages.append(page)
    return Tiff(path, order, tuple(pages), size) if pages else None


def _read_page(
    file: BinaryIO, place: int, order: str, big: bool, number: str, size: int, *, below: bool = True
) -> tuple[Page | None, int]:
    """Read a directory; return its page, None where it describes no image, and where the next one lies."""
    entries, following = _read_entries(file, place, order, big)
    if entries is None or _HAMAMATSU in entries:
        return None, 0

    def few(tag: int, default: tuple[int, ...]) -> tuple[int, ...]:
        entry = entries.get(tag)
        if entry is None or entry.kind not in _KINDS or not entry.count or entry.place >= size:
            return default
        kind = np.dtype(order + _KINDS[entry.kind])
        file.seek(entry.place)
        data = file.read(kind.itemsize * min(entry.count, _FEW))
        found = np.frombuffer(data[: len(data) // kind.itemsize * kind.itemsize], kind)
        return tuple(int(value) for value in found if np.isfinite(value)) or default

    width, height = few(256, (0,))[0], few(257, (0,))[0]
    if width < 1 or height < 1:
        return None, following
    samples = few(277, (1,))[0]
    tile = (few(322, (0,))[0], few(323, (0,))[0])
    tiled = min(tile) > 0
    sub = []
    for k, child in enumerate(few(330, ()) if below else ()):
        if 0 < child < size:
            image, _ = _read_page(file, child, order, big, f"{number}.{k + 1}", size, below=False)
            if image is not None:
                sub.append(image)
    return (
        Page(
            number=number,
            size=(width, height),
            tile=tile if tiled else None,
            strip_rows=max(1, few(278, (height,))[0]),
            compression=few(259, (1,))[0],
            photometric=few(262, (RGB if samples >= 3 else BLACK_IS_ZERO,))[0],
            samples=samples,
            orientation=few(274, (_UPRIGHT,))[0],
            bits=few(258, (1,)),
            formats=few(339, (1,)),
            extra=few(338, ()),
            subsampling=few(530, ()),
            is_planar=few(284, (1,))[0] == 2 and samples > 1,
            counts=entries.get(325 if tiled else 279) or entries.get(279 if tiled else 325),
            places=entries.get(324 if tiled else 273) or entries.get(273 if tiled else 324),
            sub=tuple(sub),
        ),
        following,
    )


def _read_entries(file: BinaryIO, place: int, order: str, big: bool) -> tuple[dict[int, Entry] | None, int]:
    """Read a directory's entries, None where it has none that can be, and where the next one lies."""
    word, entry_bytes = ("Q", 20) if big else ("I", 12)
    file.seek(place)
    head = file.read(8 if big else 2)
    if len(head) < (8 if big else 2):
        return None, 0
    (count,) = struct.unpack(order + ("Q" if big else "H"), head)
    if count > _MOST_TAGS:
        return None, 0
    listing = file.read(count * entry_bytes + struct.calcsize(word))
    if len(listing) < count * entry_bytes:
        return None, 0
    rest = listing[count * entry_bytes :]
    following = struct.unpack(order + word, rest)[0] if len(rest) == struct.calcsize(word) else 0
    entries: dict[int, Entry] = {}
    for k in range(count):
        tag, kind, values = struct.unpack_from(f"{order}HH{word}", listing, k * entry_bytes)
        inline = place + len(head) + (k + 1) * entry_bytes - struct.calcsize(word)
        if _SIZES.get(kind, 0) * values > struct.calcsize(word):
            (inline,) = struct.unpack_from(
                order + word, listing, (k + 1) * entry_bytes - struct.calcsize(word)
            )
        entries.setdefault(tag, Entry(kind, values, inline))
    return entries, following
