"""Pictures as TissUUmaps serves them in our process: flat ones converted once, tiles of bounded cost.

TissUUmaps makes a pyramid of a flat picture in `.tissuumaps` beside it, under its final name: two first
viewers damage it, and so does a kill, for ever. It reads a tile of a picture without a pyramid by reading all
that the tile covers.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.locking import hold_lock
from tissuumaps_sic.slidefile.pixels.failure import Stamp
from tissuumaps_sic.slidefile.pixels.reduced import place_reduced, read_described
from tissuumaps_sic.slidefile.pixels.slide import Slide, open_pixels
from tissuumaps_sic.slidefile.pixels.source import SlideError, nearest_finer_level
from tissuumaps_sic.slidefile.writing import remove_left_behind, replacing
from tissuumaps_sic.viewer.access import find_picture

log = logging.getLogger(__name__)

# Pixels of a level that are read for one tile at once; and at most, in pieces that are made smaller at once:
# a slide without a pyramid is shown down to a sixty-fourth of its size, and a tile takes some seconds.
_MOST_AT_ONCE = 2**24
_MOST_PIXELS = 2**28
_PIECE_ROWS = 1024
# Of these at a time, since each keeps a core busy for seconds.
_LARGE = threading.BoundedSemaphore(2)
# So many may wait for one conversion; each waits in a thread that could serve tiles.
_MOST_WAITING = 12
_FOLDER = ".tissuumaps"


class TooLargeError(SicError, ValueError):
    """A tile covers more of a picture without a pyramid than is read for one; TissUUmaps answers 404."""


class LostError(SicError, ValueError):
    """The pixels of a tile of a damaged slide cannot be read; TissUUmaps answers 404."""


class TooManyError(SicError):
    """Others wait for the same picture already."""


class _Turns:
    """One conversion a picture at a time, and few who wait for it."""

    def __init__(self) -> None:
        self._locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
        self._waiting: defaultdict[Path, int] = defaultdict(int)
        self._own = threading.Lock()

    @contextmanager
    def of(self, path: Path) -> Iterator[None]:
        """Wait for one's turn, and keep it while the block runs."""
        with self._own:
            if self._waiting[path] > _MOST_WAITING:
                raise TooManyError
            self._waiting[path] += 1
            lock = self._locks[path]
        try:
            with lock:
                yield
        finally:
            with self._own:
                self._waiting[path] -= 1
                if not self._waiting[path]:
                    del self._waiting[path], self._locks[path]


_TURNS = _Turns()


def install(views: Any) -> None:
    """Let TissUUmaps' module of views open pictures by `open_picture`.

    Parameters
    ----------
    views : module
    """
    if getattr(views._get_slide, "is_ours", False):
        return

    def get_slide(path: str, originalPath: str | None = None) -> Any:  # noqa: ARG001 -- its own words
        return open_picture(views, path)

    get_slide.is_ours = True  # type: ignore[attr-defined]
    views._get_slide = get_slide


def open_picture(views: Any, relative: str) -> Any:
    """Return TissUUmaps' view of a picture below the served folder, with tiles of bounded cost.

    Parameters
    ----------
    views : module
    relative : str

    Returns
    -------
    object

    Raises
    ------
    werkzeug.exceptions.HTTPException
        404 where it is none, 503 where many wait for it.
    """
    from werkzeug.exceptions import NotFound, ServiceUnavailable

    app = views.app
    path = find_picture(Path(app.basedir), relative)
    if path is None:
        raise NotFound
    try:
        slide = app.cache.get(str(path), None)
    except Exception:  # noqa: BLE001 -- of any library
        try:
            slide = app.cache.get(str(_convert(views, path)), str(path))
            # Its properties are shown to whoever sees the slide; the machine's folders are nobody's business.
            slide.properties = {"File": path.name}
        except TooManyError as error:
            raise ServiceUnavailable("This picture is being prepared; try again.", retry_after=5) from error
        except Exception as error:
            log.warning("%s: cannot be shown (%s)", path.name, " ".join(str(error).split())[:200])
            raise NotFound from error
    if "get_tile" not in vars(slide):
        # Once: after an error OpenSlide tells nothing more of a slide.
        slide = _enlarge(app, path, slide)
        slide.get_tile = _mend_tiles(slide, path, _bound_tiles(slide))
    slide.filename = path.name
    return slide


def _convert(views: Any, picture: Path) -> Path:
    """Return a pyramid of a flat picture, made now where there is none, or an older or damaged one."""
    target = _place_pyramid(picture)
    if _is_good(target, picture):
        return target
    with _TURNS.of(target), hold_lock(target.with_name(f"{target.name}.lock")):
        if _is_good(target, picture):
            return target
        remove_left_behind(target, follow_links=False)
        _let_vips_forget()
        # One that was replaced while it was read is older than its picture, and made again.
        before = picture.stat()
        with replacing(target, follow_links=False) as temporary:
            # It makes no file that is there already and newer.
            temporary.unlink()
            views.ImageConverter(str(picture), str(temporary)).convert()
            if not _is_whole(temporary):
                raise OSError("it could not be converted")
            os.utime(temporary, ns=(before.st_atime_ns, before.st_mtime_ns))
        views.app.cache._cache.pop(str(target), None)
    return target


# Pyramids that were found whole, as they were then.
_WHOLE: dict[Path, tuple[int, int, int]] = {}


def _is_good(target: Path, picture: Path) -> bool:
    """Return whether a pyramid is whole, and that of a picture as it is now."""
    try:
        stat = target.stat()
    except OSError:
        return False
    if stat.st_mtime_ns != picture.stat().st_mtime_ns:
        return False
    stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    if _WHOLE.get(target) == stamp:
        return True
    if _is_whole(target):
        _WHOLE[target] = stamp
        return True
    return False


def _let_vips_forget() -> None:
    """Let libvips forget what it read, by name, of files that may be others now."""
    import pyvips

    most = pyvips.cache_get_max()
    pyvips.cache_set_max(0)
    pyvips.cache_set_max(most)


_ELSEWHERE: list[Path] = []


def _place_pyramid(picture: Path) -> Path:
    """Return where the pyramid of a picture goes: beside it, else to a temporary folder."""
    # Under the whole name, so that a.jpg and a.png are two; TissUUmaps' own, perhaps damaged, is left alone.
    name = f"{picture.name}.whole.tif"
    if len(os.fsencode(name)) > 200:
        name = f"{hashlib.sha256(os.fsencode(picture.name)).hexdigest()[:32]}.whole.tif"
    folder = picture.parent / _FOLDER
    with suppress(OSError):
        folder.mkdir(exist_ok=True)
        if folder.resolve().parent == picture.parent.resolve() and os.access(folder, os.W_OK):
            return folder / name
    if (folder / name).is_file():
        return folder / name
    if not _ELSEWHERE or not _ELSEWHERE[0].is_dir():
        _ELSEWHERE[:] = [Path(tempfile.mkdtemp(prefix="tissuumaps-sic-pictures-"))]
    return _ELSEWHERE[0] / f"{hashlib.sha256(os.fsencode(picture)).hexdigest()[:32]}.tif"


def remove_temporary() -> None:
    """Remove the pyramids that had to go to a temporary folder."""
    while _ELSEWHERE:
        shutil.rmtree(_ELSEWHERE.pop(), ignore_errors=True)


def _is_whole(path: Path) -> bool:
    """Return whether a pyramid can be opened; one that was being written when its process died cannot."""
    import openslide

    if not path.is_file():
        return False
    try:
        with openslide.OpenSlide(path) as slide:
            slide.read_region((0, 0), slide.level_count - 1, (1, 1))
    except openslide.OpenSlideError:
        return False
    return True


def _mend_tiles(slide: Any, path: Path, get_tile: Any) -> Any:
    """Return `get_tile` of a slide that may be damaged: tiles are then as the embedder reads the slide.

    What no level has is white: a tile of a coarse level covers much that is sound.

    After one error OpenSlide reads nothing more, so that all that come after it are read by us, too.
    """
    import openslide

    mended: list[Slide] = []
    # As the file was when it was refused: until it is another, it is not opened for each tile again.
    refused: set[Stamp | None] = set()
    # Asked for now: after an error OpenSlide tells nothing more, either.
    downs = slide.osr.level_downsamples

    def read(level: int, place: tuple[int, int]) -> Any:
        from PIL import Image

        try:
            return get_tile(level, place)
        except openslide.OpenSlideError as error:
            (x, y), of, (width, height) = slide.get_tile_coordinates(level, place)
            down = downs[of]
            stamp = Stamp.of(path)
            if stamp in refused:
                raise LostError from error
            try:
                if not mended:  # tiles of a slide are asked for one by one
                    mended.append(open_pixels(path))
                size = slide.get_tile_dimensions(level, place)
                return Image.fromarray(mended[0].picture(x, y, width * down, height * down, size, rest=True))
            except SlideError:
                if not mended:
                    refused.add(stamp)
                raise LostError from error

    return read


def _enlarge(app: Any, path: Path, slide: Any) -> Any:
    """Return the view of a picture that was made smaller as one of its whole slide; all others as they are.

    The page counts in the slide's pixels; the finest levels, which are not there, are made of the first.
    """
    osr = slide.osr
    size = read_described(osr.properties.get("tiff.ImageDescription"), osr.dimensions)
    if size is None:
        return slide
    from openslide.deepzoom import DeepZoomGenerator

    picture: Any = EnlargedPicture(osr, size)
    enlarged: Any = DeepZoomGenerator(picture, **app.cache.dz_opts)
    down = size[0] / osr.dimensions[0]
    for name, value in (
        ("osr", picture),
        ("associated_images", {}),
        ("properties", {"File": path.name}),
        ("mpp", slide.mpp / down),
        ("tileLock", slide.tileLock),
    ):
        setattr(enlarged, name, value)
    # Under the name by which it is asked for again; two who come at once make two that are alike.
    app.cache._cache[str(path)] = enlarged
    return enlarged


class EnlargedPicture:
    """What a `DeepZoomGenerator` asks of OpenSlide, of a picture that was made smaller.

    Parameters
    ----------
    picture : openslide.OpenSlide
    size : (width, height)
        Of the slide that it is of, level-0 pixels.
    """

    def __init__(self, picture: Any, size: tuple[int, int]) -> None:
        self._picture = picture
        self.dimensions = size
        self.level_dimensions = (size, *picture.level_dimensions)
        self._down = size[0] / picture.dimensions[0], size[1] / picture.dimensions[1]
        scale = sum(self._down) / 2
        self.level_downsamples = (1.0, *(scale * each for each in picture.level_downsamples))
        self.level_count = len(self.level_dimensions)
        # Its own resolution is not that of the slide's pixels.
        self.properties: dict[str, str] = {}
        self.associated_images: dict[str, Any] = {}

    def get_best_level_for_downsample(self, downsample: float) -> int:
        """Return the coarsest level that is fine enough."""
        return nearest_finer_level(self.level_downsamples, downsample)

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Any:
        """Return a rectangle of a level, RGBA, that begins at a place in level-0 pixels of the slide.

        Parameters
        ----------
        location : (int, int)
        level : int
        size : (int, int)

        Returns
        -------
        PIL.Image.Image
        """
        from PIL import Image

        if level > 0:
            at = (round(location[0] / self._down[0]), round(location[1] / self._down[1]))
            return self._picture.read_region(at, level - 1, size)
        first, box, span = place_reduced(location, size, self.dimensions, self._picture.dimensions)
        region = self._picture.read_region(first, 0, span)
        return region.resize(size, Image.Resampling.BILINEAR, box=box)


def _bound_tiles(slide: Any) -> Any:
    """Return `get_tile` of a DeepZoomGenerator, with a bound to what it reads."""
    whole = slide.get_tile

    def get_tile(level: int, place: tuple[int, int]) -> Any:
        start, of, (width, height) = slide.get_tile_coordinates(level, place)
        if width * height <= _MOST_AT_ONCE:
            return whole(level, place)
        if width * height > _MOST_PIXELS:
            raise TooLargeError
        with _LARGE:
            return _read_in_pieces(
                slide.osr, start, of, (width, height), slide.get_tile_dimensions(level, place)
            )

    return get_tile


def _read_in_pieces(
    osr: Any, start: tuple[int, int], level: int, size: tuple[int, int], wanted: tuple[int, int]
) -> Any:
    """Return a rectangle of a level made smaller, of which no more than some rows are held at a time."""
    from PIL import Image

    background = f"#{osr.properties.get('openslide.background-color', 'ffffff')}"
    down = osr.level_downsamples[level]
    tile = Image.new("RGB", wanted)
    step = size[1] / wanted[1]
    rows = max(1, int(_PIECE_ROWS // step))
    for first in range(0, wanted[1], rows):
        last = min(first + rows, wanted[1])
        top, bottom = round(first * step), round(last * step)
        region = osr.read_region((start[0], start[1] + round(top * down)), level, (size[0], bottom - top))
        piece = Image.new("RGB", region.size, background)
        piece.paste(region, mask=region.getchannel("A"))
        tile.paste(piece.resize((wanted[0], last - first), Image.Resampling.BOX), (0, first))
    return tile
