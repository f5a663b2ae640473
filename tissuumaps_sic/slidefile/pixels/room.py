"""What it takes to decode an image that is stored in one piece, and whether that room is there."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tissuumaps_sic.slidefile.pixels.source import SlideError
from tissuumaps_sic.slidefile.pixels.tiff import Page

log = logging.getLogger(__name__)

# libvips decodes into memory up to so many bytes, else into a temporary file that it maps.
_DISC_THRESHOLD = 100 * 2**20
_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}
# What takes less is not worth a word.
_WORTH_A_WORD = 2 * 2**30
# Memory for the program itself and the next patches.
_BESIDE = 256 * 2**20


@dataclass(frozen=True)
class Cost:
    """What decoding an image takes.

    Attributes
    ----------
    memory, disk : int
        Bytes; of the disk, in `temporary_folder`.
    """

    memory: int
    disk: int


def cost_of(width: int, height: int, bytes_a_pixel: int, page: Page | None = None) -> Cost:
    """Return what decoding an image without tiles takes; `page` is its page where it is a TIFF's.

    Parameters
    ----------
    width, height : int
        Pixels.
    bytes_a_pixel : int
    page : Page, optional

    Returns
    -------
    Cost
    """
    raw = width * height * bytes_a_pixel
    into_memory = raw <= _threshold()
    # A strip is decoded as a whole before its rows are taken.
    strip = page.block[1] * width * bytes_a_pixel if page is not None else 0
    return Cost(memory=strip + (raw if into_memory else 0), disk=0 if into_memory else raw)


def cost_of_tile(page: Page) -> Cost:
    """Return what decoding a tile takes: as it is stored, and as it is given.

    Parameters
    ----------
    page : Page

    Returns
    -------
    Cost
    """
    width, height = page.block
    return Cost(memory=width * height * (page.samples * max(page.bits, default=8) // 8 + 4), disk=0)


def check_room(path: Path, cost: Cost) -> None:
    """Refuse an image that there is no room to decode; tell of one that takes much.

    Parameters
    ----------
    path : Path
        For the message.
    cost : Cost

    Raises
    ------
    SlideError
        Memory or temporary disk does not do, or there is no temporary folder.
    """
    if cost.disk:
        folder = temporary_folder()
        free = free_disk(folder)
        where = f"TMPDIR, {folder}" if os.environ.get("TMPDIR") else str(folder)
        if free is None:
            raise SlideError(
                f"{path.name!r} is stored in one piece, which takes {amount(cost.disk)} of temporary disk to "
                f"decode, but the temporary folder ({where}) cannot be written to; set TMPDIR to a folder "
                "with room, or export it as a tiled pyramidal TIFF"
            )
        if free < cost.disk:
            raise SlideError(
                f"{path.name!r} is stored in one piece, which takes {amount(cost.disk)} of temporary disk to "
                f"decode, but {amount(free)} are free in the temporary folder ({where}); set TMPDIR to a "
                "folder with room, or export it as a tiled pyramidal TIFF"
            )
    free = free_memory()
    if free is not None and cost.memory > _BESIDE and free < cost.memory + _BESIDE:
        raise SlideError(
            f"{path.name!r} is stored in pieces so large that decoding one takes {amount(cost.memory)} of "
            f"memory, but {amount(free)} are free; use a machine with more memory, or export it as a tiled "
            "pyramidal TIFF"
        )
    if max(cost.memory, cost.disk) > _WORTH_A_WORD:
        parts = ((cost.memory, "memory"), (cost.disk, "temporary disk"))
        takes = " and ".join(f"{amount(each)} of {name}" for each, name in parts if each)
        log.warning(
            "%r is stored in one piece, so opening it takes %s; a tiled pyramidal TIFF takes next to none",
            path.name,
            takes,
        )


def temporary_folder() -> Path:
    """Return where libvips puts temporary files.

    Returns
    -------
    Path
    """
    return Path(tempfile.gettempdir() if sys.platform == "win32" else os.environ.get("TMPDIR") or "/tmp")  # noqa: S108


def free_disk(folder: Path) -> int | None:
    """Return the bytes that a folder has room for; None where nothing can be written there.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    int or None
        Bytes.
    """
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def free_memory() -> int | None:
    """Return the bytes of memory that this process may still take; None where the system does not say.

    Returns
    -------
    int or None
        Bytes.
    """
    found = [_available(), _group_rest(), _limit_rest()]
    known = [each for each in found if each is not None]
    return max(0, min(known)) if known else None


def amount(count: int) -> str:
    """Give bytes as people read them.

    Parameters
    ----------
    count : int
        Bytes.

    Returns
    -------
    str
    """
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1000:.3g} kB"


def _threshold() -> int:
    """Return what libvips decodes into memory: its own setting, such as 500m, or its default."""
    text = os.environ.get("VIPS_DISC_THRESHOLD", "").strip().lower()
    try:
        return (
            int(float(text.rstrip("kmgb")) * _UNITS.get(text.rstrip("b")[-1:], 1))
            if text
            else _DISC_THRESHOLD
        )
    except ValueError:
        return _DISC_THRESHOLD


def _available() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text()
        return next(
            int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("MemAvailable:")
        )
    except (OSError, StopIteration, ValueError):
        return None


def _group_rest() -> int | None:
    """Return what the control group of a job or a container leaves."""
    for root, most, used in (
        ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            limit = int((Path(root) / most).read_text())  # "max" is no number
            taken = int((Path(root) / used).read_text())
            cached = _count_cached(Path(root) / "memory.stat")
        except (OSError, ValueError):
            continue
        return limit - taken + cached
    return None


def _count_cached(stat: Path) -> int:
    """Return what of a group's memory are copies of files, which make room when it is needed."""
    values = dict(line.split(maxsplit=1) for line in stat.read_text().splitlines() if " " in line)
    return int(values.get("inactive_file", values.get("total_inactive_file", 0)))


def _limit_rest() -> int | None:
    """Return what the limit of this process (`ulimit -v`) leaves."""
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit == resource.RLIM_INFINITY:
            return None
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        return limit - pages * resource.getpagesize()
    except (ImportError, OSError, ValueError, IndexError):
        return None
