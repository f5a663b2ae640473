"""Open any slide: its pixels at any level, its size, and its resolution with where that came from.

Which library reads the pixels is the business of `slidefile.pixels`, and no library's exceptions leave this
module: whatever is wrong with a file becomes one `SlideError` of one line.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image

from tissuumaps_sic.slidefile.pixels.colours import ColourProfile, ProfileError, ToSrgb
from tissuumaps_sic.slidefile.pixels.digest import digest_of
from tissuumaps_sic.slidefile.pixels.failure import Stamp, explain
from tissuumaps_sic.slidefile.pixels.mending import DamagedTiles, MendedSource
from tissuumaps_sic.slidefile.pixels.opening import open_source
from tissuumaps_sic.slidefile.pixels.openslide import dicom_file
from tissuumaps_sic.slidefile.pixels.probing import backend_errors
from tissuumaps_sic.slidefile.pixels.reduced import find_size
from tissuumaps_sic.slidefile.pixels.resampling import find_span, resample
from tissuumaps_sic.slidefile.pixels.resolution import Resolution, check_resolution, find_resolution
from tissuumaps_sic.slidefile.pixels.source import Pixels, Size, SlideError, Source, nearest_finer_level

log = logging.getLogger(__name__)

# TissUUmaps decodes the smallest level as a whole for an overview, and takes this much memory for each pixel:
# 20,000 x 20,000 px took 3.4 GB and 8 s.
_OVERVIEW_BYTES = 8
_SLOW_OVERVIEW = 50_000_000
# Pixels that are decoded without a word, and that are not decoded at all, to find the tissue: 0.1 Gpx take a
# second or so.
_WORTH_A_WORD, _MOST_PIXELS = 5_000_000_000, 100_000_000_000
# After so many seconds of decoding it is known how long the rest takes.
_SECONDS_TO_JUDGE = 2.0
# Thumbnails are made from squares of about this edge, so that a slide never lies in memory.
_BLOCK_PIXELS = 2048
# Beyond so many pixels of a level, a picture is made of such squares.
_MOST_AT_ONCE = 2**24

# How a `MendedSource` is read.
_Way = Callable[[MendedSource], Callable[[int, int, int, int, int], Pixels]]
_READ: _Way = attrgetter("read")
_READ_REST: _Way = attrgetter("read_rest")


class Slide:
    """An open slide; made by `open_slide`, closed by `close` or by leaving its `with` block.

    `read`, `picture` and `thumbnail` may be called from several threads at once.

    Attributes
    ----------
    path : Path
        What the pixels are opened by: of a folder of DICOM files, one of them.
    name : str
        The file's name without its last suffix, or that of the folder that is the slide.
    size : (width, height)
        In level-0 pixels.
    bounds : (x, y, width, height)
        The part of level 0 that was scanned; the whole of it where the file does not say.
    stage : (x, y, width, height) or None
        Nanometres from the middle of the glass slide to level 0's corner, and of its pixel, as Hamamatsu's
        scanners tell them.
    resolution : Resolution or None
        As the file or the user says, not checked; see `require_resolution`.
    objective_power : float or None
        As the file says, such as 20.
    level_sizes : tuple of (width, height)
        Level 0, the largest, first.
    level_downsamples : tuple of float
        Level-0 pixels per pixel of each level.
    tile_sizes : tuple of ((width, height) or None)
        Of each level's tiles in the file; None where the file is not tiled.
    overview_pixels : int or None
        Pixels of the smallest level from which TissUUmaps makes an overview; see `Source`.
    profile : ColourProfile or None
        Of its colours, as the file has it.
    """

    def __init__(
        self, path: Path, source: Source, *, resolution: Resolution | None, name: str | None = None
    ) -> None:
        self.path = path
        self.name = path.stem if name is None else name
        self.resolution = resolution
        self.objective_power = source.objective_power
        self.level_sizes = source.level_sizes
        self.level_downsamples = source.level_downsamples
        self.tile_sizes = source.tile_sizes
        self.overview_pixels = source.overview_pixels
        self.profile = None if source.profile is None else ColourProfile(source.profile)
        self._to_srgb: ToSrgb | None = None
        self.size = source.level_sizes[0]
        self.bounds = _clip_bounds(source.bounds, self.size)
        self.stage: tuple[float, float, float, float] | None = getattr(source, "stage", None)
        self._quick_hash = source.quick_hash
        self._source: MendedSource | None = MendedSource(path, source)
        self._stamp = Stamp.of(path)
        self._is_warned = False
        self._reads = 0
        self._change = threading.Condition()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Slide {self.path.name!r}, {self.size[0]} x {self.size[1]}>"

    def close(self) -> None:
        """Close the file, once reads that are under way are done; closing twice does no harm."""
        with self._change:
            source, self._source = self._source, None
            # Closing under a reading thread would crash the process, not raise.
            self._change.wait_for(lambda: self._reads == 0)
        if source is not None:
            source.close()

    @property
    def is_converted(self) -> bool:
        """Whether all that is read is converted to sRGB by the slide's profile; see `convert_colours`."""
        return self._to_srgb is not None

    def convert_colours(self) -> None:
        """Convert all that is read from now on to sRGB, by the slide's profile; say so where it has none.

        Raises
        ------
        SlideError
            The profile cannot convert.
        """
        if self.profile is None:
            log.warning("%r has no colour profile, so its pixels are taken as they are", self.path.name)
            return
        try:
            self._to_srgb = self.profile.to_srgb()
        except ProfileError as error:
            raise SlideError(
                f"{self.path.name!r} has a colour profile that cannot convert its pixels ({error}); leave "
                "--icc out for this slide, or export it with its right profile"
            ) from error

    def read(self, x: int, y: int, width: int, height: int, *, level: int = 0) -> Pixels:
        """Read a rectangle of one level.

        Parameters
        ----------
        x, y : int
            Its top-left, in pixels of `level`; may lie outside the slide.
        width, height : int
            Its size, in pixels of `level`.
        level : int, default=0

        Returns
        -------
        uint8 array of shape (height, width, 3)
            RGB; what lies outside the slide, or is transparent, is white. Copy it before writing to
            it: it may be read-only.

        Raises
        ------
        SlideError
            The file's pixels cannot be read, at this level or at another, or the slide is closed.
        ValueError
            No such level, or an empty rectangle.

        Notes
        -----
        Where the file is damaged, pixels are those of the next finer level, else of the next coarser one.

        OpenSlide takes positions in whole level-0 pixels. Where a level's downsample is no whole
        number it therefore reads up to half a level-0 pixel beside the place, interpolating;
        elsewhere the pixels are the file's own.
        """
        return self._read(x, y, width, height, level, _READ)

    def read_rest(self, x: int, y: int, width: int, height: int, *, level: int = 0) -> Pixels:
        """Read a rectangle as `read` does, but where it is damaged at all levels it is white.

        Afterwards `tell_damage` tells where that is.

        Parameters
        ----------
        x, y, width, height : int
            Pixels of `level`; may lie outside the slide.
        level : int, default=0

        Returns
        -------
        uint8 array of shape (height, width, 3)
            RGB.

        Raises
        ------
        SlideError
            The pixels cannot be read, for another reason than damage.
        """
        return self._read(x, y, width, height, level, _READ_REST)

    def tell_damage(self, level: int) -> DamagedTiles:
        """Return which tiles of a level are damaged, as far as they were read.

        Parameters
        ----------
        level : int

        Returns
        -------
        DamagedTiles
        """
        with self._using() as source:
            return source.tell_damage(level)

    def _read(self, x: int, y: int, width: int, height: int, level: int, way: _Way) -> Pixels:
        if not 0 <= level < len(self.level_sizes):
            raise ValueError(f"level {level} is not in {self.path.name!r}, which has {len(self.level_sizes)}")
        if width < 1 or height < 1:
            raise ValueError(f"a region must have pixels, not {width} x {height}")
        level_width, level_height = self.level_sizes[level]
        left, right = max(x, 0), min(x + width, level_width)
        top, bottom = max(y, 0), min(y + height, level_height)
        if (right - left, bottom - top) == (width, height):
            return self._read_inside(x, y, width, height, level, way)
        region = np.full((height, width, 3), 255, np.uint8)
        if left < right and top < bottom:
            region[top - y : bottom - y, left - x : right - x] = self._read_inside(
                left, top, right - left, bottom - top, level, way
            )
        return region

    def thumbnail(self, max_side: int) -> Pixels:
        """Give the whole slide, small.

        Parameters
        ----------
        max_side : int
            Longest side of the result; a slide that is smaller already is not enlarged.

        Returns
        -------
        uint8 array of shape (rows, columns, 3)
            Pixel (row, column) covers the level-0 square from (column x s, row x s) to one s
            further, where s = max(size) / max(rows, columns). The last row or column may reach
            beyond the slide and is white there.

        Raises
        ------
        ValueError
            `max_side` is below 1.
        SlideError
            Pixels cannot be read.
        """
        if max_side < 1:
            raise ValueError(f"a thumbnail must have pixels; max_side is {max_side}")
        width, height = self.size
        scale = max(1.0, max(width, height) / max_side)
        # A hair below the whole number counts as the whole number: 1000 / (1000 / 300) is
        # 300.00000000000006.
        columns, rows = (max(1, math.ceil(side / scale - 1e-6)) for side in self.size)
        level = nearest_finer_level(self.level_downsamples, scale)
        to_level = scale / self.level_downsamples[level]
        factor = max(1, math.floor(to_level + 1e-6))
        coarse = self._reduce_level(level, factor)
        # Pillow wants the box inside the image; what is added is white, as everything outside a
        # slide.
        span = to_level / factor
        box = (0.0, 0.0, columns * span, rows * span)
        missing = (
            max(0, math.ceil(box[3]) - coarse.shape[0]),
            max(0, math.ceil(box[2]) - coarse.shape[1]),
        )
        if any(missing):
            coarse = np.pad(coarse, ((0, missing[0]), (0, missing[1]), (0, 0)), constant_values=255)
        small = Image.fromarray(coarse).resize((columns, rows), Image.Resampling.BILINEAR, box=box)
        return np.asarray(small)

    def picture(
        self, x: float, y: float, width: float, height: float, size: tuple[int, int], *, rest: bool = False
    ) -> Pixels:
        """Give a rectangle of the slide with as many pixels as asked for.

        The level is the coarsest that is fine enough. Where a pixel is a level's pixel, those are copied,
        from the nearest whole place; else they are resampled by a triangle filter that widens as it shrinks.

        Parameters
        ----------
        x, y, width, height : float
            Level-0 pixels; may reach beyond the slide, where it is white.
        size : (columns, rows)
        rest : bool, default=False
            Whether what is damaged at all levels is white, as `read_rest` has it, and no error.

        Returns
        -------
        uint8 array of shape (rows, columns, 3)
            RGB.

        Raises
        ------
        SlideError
            The file's pixels cannot be read.
        """
        read = self.read_rest if rest else self.read
        level = nearest_finer_level(self.level_downsamples, min(width / size[0], height / size[1]))
        down = self.level_downsamples[level]
        # Of each direction: where it begins, and level pixels per pixel of the result.
        begins = [x / down, y / down]
        steps = [width / down / size[0], height / down / size[1]]
        if all(abs(step - 1) <= 1e-6 for step in steps):
            return read(round(begins[0]), round(begins[1]), *size, level=level)
        first, spans = find_span(begins, steps, size, self.level_sizes[level])
        factor = max(1, math.floor(min(steps))) if spans[0] * spans[1] > _MOST_AT_ONCE else 1
        region = (
            read(first[0], first[1], spans[0], spans[1], level=level)
            if factor == 1
            else self._reduce(read, (*first, *spans), level, factor)
        )
        corner = [(begin - start) / factor for begin, start in zip(begins, first, strict=True)]
        return resample(region, corner, [step / factor for step in steps], size)

    def fast_hash(self) -> str:
        """Give a short name of the file's content, without reading all of it.

        Returns
        -------
        str
            "openslide-quickhash-1:<hex>", or, where OpenSlide gives none, as `digest_of` has it.
        """
        return f"openslide-quickhash-1:{self._quick_hash}" if self._quick_hash else digest_of(self.path)

    def _read_inside(self, x: int, y: int, width: int, height: int, level: int, way: _Way) -> Pixels:
        with self._using() as source:
            try:
                pixels = way(source)(x, y, width, height, level)
            except backend_errors() as error:
                raise SlideError(
                    f"{self.path.name!r} opens, but its pixels at ({x}, {y}) of level {level} cannot be "
                    f"read {explain(self.path, error, stamp=self._stamp)}"
                ) from error
            self._warn_of_damage(source, level)
        return pixels if self._to_srgb is None else self._to_srgb(pixels)

    @contextmanager
    def _using(self) -> Iterator[MendedSource]:
        """Give what reads the file, which is not closed meanwhile."""
        with self._change:
            source = self._source
            if source is None:
                raise SlideError(f"{self.path.name!r} is closed; open it again to read from it")
            self._reads += 1
        try:
            yield source
        finally:
            with self._change:
                self._reads -= 1
                self._change.notify_all()

    def _warn_of_damage(self, source: MendedSource, level: int) -> None:
        if source.is_mended and not self._is_warned:
            self._is_warned = True
            log.warning(
                "%r is damaged: some of its tiles cannot be decoded, at level %d first; their pixels are "
                "those of another level, where one has them. If there is a whole copy of it, use that",
                self.path.name,
                level,
            )

    def _reduce_level(self, level: int, factor: int) -> Pixels:
        """Give a level made smaller by a whole factor (box means)."""
        width, height = self.level_sizes[level]
        if width * height > _MOST_PIXELS:
            raise SlideError(
                f"{self.path.name!r} has no level small enough to find its tissue in: {width} x {height} px, "
                f"{width * height / 1e9:.4g} billion pixels, would have to be decoded; export it as a tiled "
                "pyramidal TIFF"
            )
        advance = self._warn_if_long(width * height) if width * height >= _WORTH_A_WORD else None
        small = self._reduce(self.read_rest, (0, 0, width, height), level, factor, advance)
        return self._fill_lost(small, level, factor)

    def _fill_lost(self, small: Pixels, level: int, factor: int) -> Pixels:
        """Give a level made smaller with the nearest pixels where no level has any.

        What lies there is a guess, but white would be glass: that patches are missing would not be told.
        """
        damage = self.tell_damage(level)
        if damage.tile is None or not damage.lost:
            return small
        from scipy.ndimage import distance_transform_edt

        lost = np.zeros(small.shape[:2], np.bool_)
        for column, row in damage.lost:
            left, top = column * damage.tile[0], row * damage.tile[1]
            right, bottom = left + damage.tile[0], top + damage.tile[1]
            lost[top // factor : -(-bottom // factor), left // factor : -(-right // factor)] = True
        if lost.all():
            raise SlideError(
                f"{self.path.name!r} opens, but no pixels of it can be read: all of its tiles are damaged; "
                "copy it again, or export it from its source again"
            )
        rows, columns = distance_transform_edt(lost, return_distances=False, return_indices=True)
        filled: Pixels = small[rows, columns]
        return filled

    def _reduce(
        self,
        read: Callable[..., Pixels],
        rectangle: tuple[int, int, int, int],
        level: int,
        factor: int,
        advance: Callable[[int], None] | None = None,
    ) -> Pixels:
        """Give a rectangle of a level made smaller by a whole factor (box means), read square by square."""
        x, y, width, height = rectangle
        edge = max(1, _BLOCK_PIXELS // factor) * factor
        small = np.empty((math.ceil(height / factor), math.ceil(width / factor), 3), np.uint8)
        for top in range(0, height, edge):
            for left in range(0, width, edge):
                columns, rows = min(edge, width - left), min(edge, height - top)
                region = read(x + left, y + top, columns, rows, level=level)
                means = np.asarray(Image.fromarray(region).reduce(factor))
                row, column = top // factor, left // factor
                small[row : row + means.shape[0], column : column + means.shape[1]] = means
                if advance is not None:
                    advance(rows * columns)
        return small

    def _warn_if_long(self, whole: int) -> Callable[[int], None]:
        """Give what is called with each number of pixels that was decoded, and warns once it is known."""
        begin, done, is_said = time.monotonic(), 0, False

        def advance(pixels: int) -> None:
            nonlocal done, is_said
            done += pixels
            seconds = time.monotonic() - begin
            if not is_said and seconds > _SECONDS_TO_JUDGE:
                is_said = True
                log.warning(
                    "%r has no small level: %.1f billion pixels are decoded to find its tissue, which "
                    "takes about %.0f min; a tiled pyramidal TIFF would take none of it",
                    self.path.name,
                    whole / 1e9,
                    max(1.0, seconds / 60 * (whole / done - 1)),
                )

        return advance


def open_slide(path: Path | str, *, mpp: float | None = None, icc: bool = False) -> Slide:
    """Open a slide and try one pixel of it.

    Parameters
    ----------
    path : path
        A file that OpenSlide reads (SVS, NDPI, MRXS, SCN, BIF, tiled TIFF, ...); an OME-TIFF; a folder that
        is an OME-Zarr (`.zarr`) or holds a slide's DICOM files; or a flat JPEG, PNG or TIFF.
    mpp : float, optional
        µm per level-0 pixel, instead of what the file says (the command line's `--slide-mpp`).
    icc : bool, default=False
        Whether all pixels are converted to sRGB by the slide's colour profile, where it has one (the command
        line's `--icc`).

    Returns
    -------
    Slide
        To be closed; use it in a `with` statement.

    Raises
    ------
    SlideError
        There is no such file, it is no slide or one's smaller picture, its pixels cannot be read, or its
        profile cannot convert them.
    ValueError
        `mpp` is not a positive number.

    Notes
    -----
    Pixels are taken as they are stored: an EXIF orientation is not applied, so that coordinates agree
    with what a tile viewer shows, nor is a colour profile, unless `icc` says so. A JPEG, a PNG or a TIFF
    without tiles is decoded once, when it is opened: into memory, or beyond 100 MB (libvips'
    `VIPS_DISC_THRESHOLD`) into a temporary file that is mapped.
    """
    if mpp is not None and not (math.isfinite(mpp) and mpp > 0):
        raise ValueError(f"the slide's µm per pixel must be a positive number, not {mpp:g}")
    if find_size(Path(path)) is not None:
        raise SlideError(
            f"{Path(path).name!r} is the picture of a slide that was made smaller for a bundle, and cannot "
            "be embedded; name the slide itself"
        )
    slide = open_pixels(Path(path))
    if icc:
        try:
            slide.convert_colours()
        except SlideError:
            slide.close()
            raise
    if mpp is not None:
        slide.resolution = Resolution(mpp, mpp, "user")
    elif slide.resolution is not None and slide.resolution.source == "objective power":
        log.warning(
            "%r says only its objective power, %gx: its resolution is taken to be %.4g µm/px, "
            "an estimate; give the true value with --slide-mpp",
            slide.path.name,
            slide.objective_power,
            slide.resolution.mpp,
        )
    if slide.overview_pixels is not None and slide.overview_pixels > _SLOW_OVERVIEW:
        log.warning(
            "%r has no pyramid of levels: TissUUmaps will need %.1f GB of memory, and long, for one overview "
            "of it; export it as a tiled pyramidal TIFF to annotate it with ease",
            slide.path.name,
            slide.overview_pixels * _OVERVIEW_BYTES / 1e9,
        )
    return slide


def open_pixels(path: Path) -> Slide:
    """Open a slide as `open_slide` does, without a word about its resolution or what it costs a viewer.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Slide

    Raises
    ------
    SlideError
        As `open_slide`.
    """
    try:
        if path.is_dir():
            if not is_slide(path):
                raise SlideError(f"{path.name!r} is a folder; name the slide's file")
            name = path.name.removesuffix(".zarr")
            path = path if path.suffix.lower() == ".zarr" else dicom_file(path)
        else:
            name = path.stem
            # Opened here only because the system's own reason ("Permission denied") is better than
            # either library's. A named pipe would be waited for for ever.
            if path.exists() and not path.is_file():
                raise SlideError(f"{path.name!r} is no file but a {_kind(path)}; name the slide's file")
            path.open("rb").close()
    except PermissionError as error:
        raise SlideError(
            f"{path.name!r} cannot be opened: {error.strerror or error}; ask its owner for the right to read "
            "it"
        ) from error
    except OSError as error:
        raise SlideError(f"{path.name!r} cannot be opened: {error.strerror or error}") from error
    source = open_source(path)
    slide = Slide(path, source, name=name, resolution=find_resolution(source))
    try:
        _try_pixels(slide)
    except SlideError:
        slide.close()
        raise
    return slide


def _try_pixels(slide: Slide) -> None:
    """Read a pixel of the middle and, where that is damaged, of some places around it; one will do."""
    width, height = slide.size
    failure: SlideError | None = None
    for x, y in ((2, 2), (1, 1), (3, 1), (1, 3), (3, 3)):
        try:
            slide.read(width * x // 4, height * y // 4, 1, 1)
        except SlideError as error:
            failure = failure or error
            if not slide.tell_damage(0).lost:
                break
        else:
            return
    assert failure is not None
    raise failure


def require_resolution(slide: Slide) -> Resolution:
    """Give the slide's resolution, or refuse.

    Parameters
    ----------
    slide : Slide

    Returns
    -------
    Resolution

    Raises
    ------
    SlideError
        The file says nothing of its resolution, or what it says is outside 0.05 to 10 µm/px or more than
        four times off its objective's. What the user gave is never refused.
    """
    if slide.resolution is None:
        raise SlideError(
            f"{slide.path.name!r} does not say its resolution; give its µm per pixel with "
            "--slide-mpp (about 0.25 for a scan at 40x, 0.5 at 20x)"
        )
    check_resolution(slide.path.name, slide.resolution, slide.objective_power)
    return slide.resolution


def _kind(path: Path) -> str:
    """Name what a path is that is neither a file nor a folder."""
    kinds = {"named pipe": path.is_fifo(), "socket": path.is_socket()}
    return next((name for name, holds in kinds.items() if holds), "device")


def _clip_bounds(bounds: tuple[int, int, int, int] | None, size: Size) -> tuple[int, int, int, int]:
    """Give the part of the bounds that lies on the slide; the whole slide where there is none."""
    if bounds is not None:
        x, y, width, height = bounds
        left, right = max(x, 0), min(x + width, size[0])
        top, bottom = max(y, 0), min(y + height, size[1])
        if left < right and top < bottom:
            return left, top, right - left, bottom - top
    return 0, 0, size[0], size[1]


# What a folder's listing takes for slides.
_SUFFIXES = frozenset(
    {".svs", ".svslide", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".czi", ".tif", ".tiff", ".btf"}
    | {".jpg", ".jpeg", ".png", ".dcm"}
)


def is_slide(path: Path) -> bool:
    """Tell by its name whether a path is taken for a slide in a folder of them; nothing is opened.

    A folder is one where it is an OME-Zarr, or where DICOM files are all the slides that it holds.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool
    """
    if not path.is_dir():
        return path.suffix.lower() in _SUFFIXES
    if path.suffix.lower() == ".zarr":
        return True
    try:
        inside = {each.suffix.lower() for each in path.iterdir() if not each.name.startswith(".")}
    except PermissionError:  # a folder that is somebody else's ends no listing
        return False
    return inside & _SUFFIXES == {".dcm"}
