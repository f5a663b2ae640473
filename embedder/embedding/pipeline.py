"""The pipeline: a slide is read once, its patches embedded as they stream by, and one file written.

Whatever goes wrong with a slide is told in one line, and the next slide is taken. A run that died goes on
where it was: embeddings are kept on disk as they are made, and the result is the same to the last bit.
"""

from __future__ import annotations

import errno
import functools
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from embedder.embedding import provenance, rehearsal, writing
from embedder.embedding.partial import Partial, holds_nothing
from embedder.embedding.partial import remove_left_behind as remove_partial
from embedder.embedding.request import SlideInput, clashes
from embedder.embedding.umap import fit_umap, srgb_hex
from embedder.encoders.network import Choice, Encoder
from embedder.encoders.table import EncoderError, load_encoder
from embedder.isolation.child import Child, Limits, LostError, StalledError, tell_progress, tell_stage
from embedder.patches import drawn, tissue
from embedder.patches.grid import PatchGrid, TilingError
from embedder.patches.reading import iter_patches
from tissuumaps_sic.slidefile import leases
from tissuumaps_sic.slidefile.contract import ContractError, foresee
from tissuumaps_sic.slidefile.failure import os_errno, os_reason
from tissuumaps_sic.slidefile.names import refusal
from tissuumaps_sic.slidefile.pixels.slide import Slide, SlideError, open_slide, require_resolution
from tissuumaps_sic.slidefile.project import tmap_project, write_tmap
from tissuumaps_sic.slidefile.provenance import Provenance
from tissuumaps_sic.slidefile.writing import remove_left_behind, replacing

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

# A slide whose format keeps its pixels in a folder of the same name beside the file.
_WITH_FOLDER = (".mrxs",)
STORAGES = ("float32", "float16")
# Beside the embeddings, for each patch: corners, centre, names, colour, share, and two layouts.
BYTES_BESIDE = 200


@dataclass(frozen=True)
class EmbedOptions:
    """How slides are embedded.

    Attributes
    ----------
    encoder : str
        A name of `encoders.ENCODERS`, or the path of a checkpoint.
    weights : Path or None
        Weights for a named encoder, in place of its own.
    mpp : float
        µm per pixel of a patch.
    slide_mpp : float or None
        µm per level-0 pixel, in place of what the slides say.
    patch_size : int
        Edge of a patch in its own pixels.
    overlap : float
        Share of a patch that its neighbour covers too.
    tissue : Path or None
        A mask image or GeoJSON polygons, or a folder of them, in place of finding the tissue.
    tissue_classes : tuple of str
        Which polygons, by the name of their class, or which values of the mask; empty for all (but 0).
    tissue_from_bounds : bool
        Whether polygons count from the corner of the slide's scanned part, as QuPath's do.
    min_tissue : float
        The least share of a patch that is tissue, for it to be embedded.
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps".
    precision : str
        "auto" (what a short measurement finds worth it), "float32" or "bfloat16".
    batch_size : int
        Patches in one pass of the encoder.
    storage : str
        "float32" or "float16", of the embeddings in the file.
    umap : bool
        Whether to make 2-D and 3-D UMAP and the colours; without them colours are grey.
    thumbnail : bool
        Whether to keep a small picture of the slide in the file, as scanpy does.
    overwrite : bool
        Whether to embed a slide anew whose file is there.
    """

    encoder: str = "efficientnet-lite0"
    weights: Path | None = None
    mpp: float = 0.5
    slide_mpp: float | None = None
    patch_size: int = 256
    overlap: float = 0.5
    tissue: Path | None = None
    tissue_classes: tuple[str, ...] = ()
    tissue_from_bounds: bool = False
    min_tissue: float = 0.25
    device: str = "auto"
    precision: str = "auto"
    batch_size: int = 32
    storage: str = "float32"
    umap: bool = True
    thumbnail: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class SlideResult:
    """What became of one slide.

    Attributes
    ----------
    slide : str
        The path as it was given.
    status : "done", "skipped" or "failed"
    message : str
        What happened, on one line.
    h5ad : str or None
        The file, where there is one.
    n_patches : int
    seconds : dict of str to float
        Time that each stage took; "embed" includes what earlier, interrupted runs took.
    """

    slide: str
    status: Literal["done", "skipped", "failed"]
    message: str
    h5ad: str | None = None
    n_patches: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


def embed_slides(
    slides: Sequence[SlideInput | Path],
    folder: Path,
    options: EmbedOptions | None = None,
    *,
    limits: Limits | None = None,
) -> list[SlideResult]:
    """Embed slides one after the other; a slide that fails never ends the run.

    Parameters
    ----------
    slides : sequence of SlideInput or Path
        See `inputs.gather` for folders, patterns and tables.
    folder : Path
        Where ``<slide>.h5ad`` and ``<slide>.tmap`` go; made if it is not there.
    options : EmbedOptions, optional
    limits : Limits, optional
        Embed in a child process that is kept from slide to slide: one that kills its decoder, hangs or takes
        more than this is a failure like others. Without limits all is done in this process.

    Returns
    -------
    list of SlideResult
        In the order of the slides.

    Raises
    ------
    EncoderError
        When the encoder cannot be loaded, before any slide is touched.
    RehearsalError
        What every slide needs at its end does not work here; told before the first patch is embedded.
    ChildError
        No child process can be started.
    OSError
        When the folder cannot be made.
    """
    options = options or EmbedOptions()
    items = [each if isinstance(each, SlideInput) else SlideInput(each) for each in slides]
    folder.mkdir(parents=True, exist_ok=True)
    clashing = clash_results(items)
    results = []
    with _embedding(folder, options, limits) as embed_one:
        for place, item in enumerate(items):
            result = clashing.get(place) or embed_one(item)
            tell(result)
            results.append(result)
    return results


@contextmanager
def _embedding(
    folder: Path, options: EmbedOptions, limits: Limits | None
) -> Iterator[Callable[[SlideInput], SlideResult]]:
    """Yield what embeds a slide, with its encoder loaded: here, or in a child process."""
    if limits is None:
        encoder = make_encoder(options)
        yield lambda item: embed_or_tell(item, folder, encoder, options)
        return
    with Child(limits) as child:
        prepare(child, options)
        yield lambda item: _embed_in(child, item, folder, options)


def prepare(child: Child, options: EmbedOptions, *, advised: bool = False) -> None:
    """Load the encoder in a child process.

    Parameters
    ----------
    child : Child
    options : EmbedOptions
    advised : bool, default=False
        Whether what the encoder is meant for was said before.

    Raises
    ------
    EncoderError
        When it cannot be loaded.
    ChildError
        No process can be started.
    """
    try:
        child.run(_load_kept, options, advised)
    except LostError as error:
        raise EncoderError(f"encoder {options.encoder} cannot be loaded: {error}") from error


def _embed_in(child: Child, item: SlideInput, folder: Path, options: EmbedOptions) -> SlideResult:
    """Embed a slide in a child process; whatever becomes of that is a result."""
    again = False
    while True:
        try:
            if child.runs == 0:
                prepare(child, options, advised=True)
            others = child.runs > 1
            with _Bar(item.name) as progress:
                result: SlideResult = child.run(_embed_here, item, folder, options, progress=progress)
        except EncoderError as error:
            return SlideResult(str(item.path), "failed", f"{item.path}: {error}")
        except LostError as error:
            clear_up(item, folder)
            # An earlier slide may have damaged the memory of the process, or left it too little.
            if others and not again and not isinstance(error, StalledError):
                log.info("%s: its process is gone; it is tried once more, in a new one", item.path)
                again = True
                continue
            return SlideResult(str(item.path), "failed", f"{item.path}: {error}")
        except KeyboardInterrupt:
            clear_up(item, folder)
            raise
        return result


def _load_kept(options: EmbedOptions, advised: bool) -> None:
    encoder = kept_encoder(options)
    if not advised:
        _log_advice(encoder, options)


@functools.lru_cache(maxsize=1)
def _kept_encoder(options: EmbedOptions) -> Encoder:
    return _load_encoder(options)


def _embed_here(item: SlideInput, folder: Path, options: EmbedOptions) -> SlideResult:
    """Embed a slide in this process, which is somebody's child."""
    return embed_or_tell(item, folder, kept_encoder(options), options, progress=tell_progress)


def kept_encoder(options: EmbedOptions) -> Encoder:
    """Return the encoder that the options name; it is loaded once in a process."""
    tell_stage("the encoder was loaded", limited=False)
    encoder = _kept_encoder(options)
    tell_stage("the slide was opened")
    return encoder


def clear_up(item: SlideInput, folder: Path) -> None:
    """Remove what a process that died at a slide left, but the embeddings that it had saved."""
    level = leases.log.level
    # That it was left is told with the slide.
    leases.log.setLevel(logging.ERROR)
    try:
        with leases.locked(folder / leases.hidden_name(item.name, ".lock")):
            _remove_left_behind(folder / f"{item.name}.h5ad")
            partial = folder / leases.hidden_name(item.name, ".partial")
            if holds_nothing(partial):
                remove_partial(partial)
    except (OSError, leases.LockedError) as error:
        log.debug("%s: nothing was cleared up (%s)", item.path, error)
    finally:
        leases.log.setLevel(level)


def make_encoder(options: EmbedOptions) -> Encoder:
    """Load the encoder that the options name, on their device.

    Raises
    ------
    EncoderError
        When it cannot be loaded.
    """
    encoder = _load_encoder(options)
    _log_advice(encoder, options)
    return encoder


def _load_encoder(options: EmbedOptions) -> Encoder:
    return load_encoder(
        options.encoder,
        weights=options.weights,
        device=_device(options.device),
        precision=options.precision,
    )


def _log_advice(encoder: Encoder, options: EmbedOptions) -> None:
    advice = encoder.spec.advice(options.patch_size, options.mpp)
    if advice:
        log.info("%s", advice)


def clash_results(items: Sequence[SlideInput]) -> dict[int, SlideResult]:
    """Return the failure of each slide, by its place, whose name cannot be, or is that of one before it."""
    refused = {
        place: SlideResult(str(item.path), "failed", f"{item.path}: {why}")
        for place, item in enumerate(items)
        if (why := refusal(item.path.name)) is not None
    }
    return refused | {
        place: SlideResult(
            str(items[place].path),
            "failed",
            f"{items[place].path}: {other} has the same name and is embedded as {items[place].name}.h5ad; "
            "rename one, or give another -o",
        )
        for place, other in clashes(items).items()
    }


def tell(result: SlideResult) -> None:
    """Log a result's message."""
    log.log(logging.ERROR if result.status == "failed" else logging.INFO, "%s", result.message)


def embed_or_tell(
    item: SlideInput,
    folder: Path,
    encoder: Encoder,
    options: EmbedOptions,
    *,
    progress: Progress | None = None,
) -> SlideResult:
    """Embed a slide that no other run is at, unless its file is there; every failure is a result.

    Parameters
    ----------
    item : SlideInput
    folder : Path
    encoder : Encoder
    options : EmbedOptions
    progress : callable, optional
        Told (patches done, patches in all) after each batch; without it a bar is drawn on stderr.

    Raises
    ------
    ModuleNotFoundError
        A package is missing, for all slides alike.
    RehearsalError
        What a slide needs at its end does not work here, for all alike.
    """
    path, h5ad = item.path, folder / f"{item.name}.h5ad"
    try:
        with leases.locked(folder / leases.hidden_name(item.name, ".lock")) as lock:
            return _embed(item, h5ad, encoder, options, progress, lock)
    except leases.LostError as error:
        return SlideResult(str(path), "failed", f"{path}: {error}")
    except leases.LockedError as error:
        return SlideResult(str(path), "skipped", f"{path}: {error}")
    except (SlideError, TilingError, ContractError) as error:
        return SlideResult(str(path), "failed", _named(path, str(error)))
    except OSError as error:
        return SlideResult(str(path), "failed", f"{path}: {_os_error(error, h5ad)}")
    except (ModuleNotFoundError, rehearsal.RehearsalError):
        raise
    except MemoryError:
        return SlideResult(str(path), "failed", f"{path}: there is too little memory for it (unexpected)")
    except Exception as error:
        log.debug("%s failed", path, exc_info=True)
        message = f"{path}: {type(error).__name__}: {error} (unexpected; --verbose shows where)"
        return SlideResult(str(path), "failed", " ".join(message.split()))


def _embed(
    item: SlideInput,
    h5ad: Path,
    encoder: Encoder,
    options: EmbedOptions,
    progress: Progress | None,
    lock: leases.Lock,
) -> SlideResult:
    """Embed one slide into an h5ad, and write the TissUUmaps project beside it."""
    path = item.path
    clock = _Clock()
    _remove_left_behind(h5ad)
    tell_stage("the slide was opened")
    with open_slide(path, mpp=item.mpp or options.slide_mpp) as slide:
        require_resolution(slide)
        if h5ad.exists() and not options.overwrite:
            # Finding the tissue anew would tell nothing that the slide's hash does not, and takes a second.
            given = None if options.tissue is None else find_tissue(slide, options)
            wanted = provenance.asked(slide, given, encoder, options)
            return _there(slide, h5ad, provenance.differences(h5ad, wanted, options))
        tell_stage("its tissue was looked for")
        with clock.stage("tissue"):
            mask = find_tissue(slide, options)
        thumbnail = slide.thumbnail(1024) if options.thumbnail else None
        grid, shares = plan_grid(slide, mask, options)
        log.info("%s: %d patches of %g µm", path.name, len(grid), options.patch_size * options.mpp)
        tell_stage("its last steps were tried", limited=False)
        rehearsal.try_last_steps(h5ad.parent, umap=options.umap)
        rehearsal.require_room(
            h5ad.parent,
            begun=h5ad.parent / leases.hidden_name(item.name, ".partial"),
            embeddings=len(grid) * encoder.dimension * np.dtype(options.storage).itemsize,
            beside=len(grid) * BYTES_BESIDE,
        )
        asked = provenance.asked(slide, mask, encoder, options)
        image = plan_image(slide.path, h5ad.parent)
        project = _project(slide, h5ad, image, grid.centres, grid.stride * grid.scale)
        if problems := foresee(asked, project):
            raise ContractError(f"{path.name}: {problems[0].what}; {problems[0].fix}")
        tell_stage("its patches were read and embedded")
        partial = Partial.open(
            h5ad.parent / leases.hidden_name(item.name, ".partial"),
            request=_request(asked, grid, encoder, options),
            shape=(len(grid), encoder.dimension),
            dtype=options.storage,
            lock=lock,
        )
        with _progress(progress, slide.name, len(grid), partial.done) as advance:
            choice = _embed_patches(
                slide, grid, encoder, partial, batch_size=options.batch_size, advance=advance
            )
        clock.seconds["embed"] = partial.seconds
        X = partial.array()
        tell_stage("UMAP laid its patches out", limited=False)
        with clock.stage("umap"):
            umap2, umap3, rgb = _colors(X, options.umap)
        tell_stage("its file was written", limited=False)
        with clock.stage("write"):
            lock.check()
            # What points to the h5ad comes after it, but room for it is found before. Where a run ends in
            # between, the next one makes it.
            with replacing(h5ad.with_suffix(".tmap")) as temporary:
                write_tmap(temporary, project)
                writing.write_slide(
                    h5ad,
                    X=X,
                    x0=grid.x0,
                    y0=grid.y0,
                    centres=grid.centres,
                    tissue=shares,
                    umap2=umap2,
                    umap3=umap3,
                    colors=rgb,
                    slide_name=slide.name,
                    encoder_name=encoder.name,
                    provenance=provenance.describe(
                        slide, grid, mask, encoder, options, choice=choice, seconds=clock.seconds
                    ),
                    tmap=project,
                    thumbnail=thumbnail,
                )
                image.place()
        del X  # Windows removes no file that is still mapped
        partial.remove()
    message = f"{path}: {len(grid)} patches in {sum(clock.seconds.values()):.0f} s -> {h5ad}"
    return SlideResult(str(path), "done", message, str(h5ad), len(grid), clock.seconds)


def _there(slide: Slide, h5ad: Path, different: list[str]) -> SlideResult:
    """Return what is to be said of a slide whose file is there, and make what should point to it."""
    path = slide.path
    if different:
        return SlideResult(
            str(path),
            "failed",
            f"{path}: {h5ad} is there already, made otherwise ({'; '.join(different[:3])}); "
            "--overwrite embeds the slide anew, or choose another -o",
            str(h5ad),
        )
    # A run may have ended between the file and this.
    remove_partial(h5ad.parent / leases.hidden_name(h5ad.stem, ".partial"))
    message = f"{path}: {h5ad} is there already, made as asked"
    project = h5ad.with_suffix(".tmap")
    if not project.exists():
        image = plan_image(path, h5ad.parent)
        centres, stride0 = writing.read_places(h5ad)
        image.place()
        write_tmap(project, _project(slide, h5ad, image, centres, stride0))
        message += f"; {project.name}, which was not, is made anew"
    return SlideResult(str(path), "skipped", message, str(h5ad), writing.count_patches(h5ad))


def _project(
    slide: Slide, h5ad: Path, image: Image, centres: npt.NDArray[np.float64], stride0: float
) -> dict[str, Any]:
    return tmap_project(
        h5ad_name=h5ad.name,
        slide_name=slide.name,
        image=image.name,
        slide_size=slide.size,
        centres=centres,
        stride0=stride0,
        mpp=require_resolution(slide).mpp,
    )


def _remove_left_behind(h5ad: Path) -> None:
    """Remove what killed runs left of files half written; the lock is held."""
    for each in (h5ad, h5ad.with_suffix(".tmap")):
        remove_left_behind(each)


def find_tissue(slide: Slide, options: EmbedOptions) -> tissue.TissueMask:
    """Return where the tissue is, by the slide's colours or by the file that the options name."""
    if options.tissue is None:
        return tissue.tissue_mask(slide)
    return drawn.read_tissue(
        slide, options.tissue, classes=options.tissue_classes, from_bounds=options.tissue_from_bounds
    )


def plan_grid(
    slide: Slide, mask: tissue.TissueMask, options: EmbedOptions
) -> tuple[PatchGrid, npt.NDArray[np.float32]]:
    """Return the patches that hold tissue, and the share of each that does, (n_patches,).

    Raises
    ------
    SlideError
        When there is no such patch, or the slide has no resolution.
    TilingError
        When no patch fits.
    """
    resolution = require_resolution(slide)
    grid = PatchGrid.plan(
        slide.size,
        mpp_x=resolution.mpp_x,
        mpp_y=resolution.mpp_y,
        target_mpp=options.mpp,
        patch_size=options.patch_size,
        overlap=options.overlap,
        bounds=slide.bounds,
        level_downsamples=slide.level_downsamples,
    )
    shares = mask.share(grid.x0, grid.y0, (grid.patch_width0, grid.patch_height0))
    keep = shares >= options.min_tissue
    if not keep.any():
        raise SlideError(
            f"{slide.path.name}: no patch is at least {options.min_tissue:.0%} tissue; "
            "lower --min-tissue (0 embeds everything) if there is tissue on this slide"
        )
    return grid.select(keep), shares[keep]


def _request(wanted: Provenance, grid: PatchGrid, encoder: Encoder, options: EmbedOptions) -> dict[str, Any]:
    """Return all that the embeddings depend on to the last bit, which a run must share to go on."""
    import hashlib
    from importlib.metadata import version

    return wanted.document | {
        "patches": hashlib.sha256(grid.cells.tobytes()).hexdigest(),
        "batch_size": options.batch_size,
        "precision": options.precision,
        "device": encoder.device.partition(":")[0],
        "versions": {name: version(name) for name in ("tissuumaps-sic", "torch")},
    }


def _embed_patches(
    slide: Slide,
    grid: PatchGrid,
    encoder: Encoder,
    partial: Partial,
    *,
    batch_size: int,
    advance: Callable[[int], None],
) -> Choice:
    """Embed the patches that are not done; return the precision that all of them have."""
    choice = None
    if "choice" in partial.notes:
        # Measuring anew might choose otherwise. This slide's choice binds no later one of the run.
        choice = Choice(**partial.notes["choice"])
    if partial.done:
        log.info("%s: going on after %d patches of an earlier run", slide.name, partial.done)
    batches = iter_patches(slide, grid, batch_size=batch_size, start=partial.done)
    waiting: tuple[npt.NDArray[np.int64], Any] | None = None
    try:
        for indices, patches in batches:
            if choice is None:
                choice = encoder.settle(patches)
                partial.note(choice=asdict(choice))
            started = encoder.start(patches, precision=choice.precision)
            # A GPU works on this batch while the one before it is written.
            if waiting is not None:
                _finish(waiting, encoder, partial, advance)
            waiting = (indices, started)
        if waiting is not None:
            _finish(waiting, encoder, partial, advance)
    except BaseException:
        # What was done before a failure, or Ctrl-C, need not be done again.
        with suppress(OSError, leases.LostError):
            partial.finish()
        if partial.done == 0:
            partial.remove()
        raise
    with suppress(OSError):
        partial.finish()
    assert choice is not None  # a grid has patches
    return choice


def _finish(
    waiting: tuple[npt.NDArray[np.int64], Any],
    encoder: Encoder,
    partial: Partial,
    advance: Callable[[int], None],
) -> None:
    indices, started = waiting
    partial.write(indices, encoder.fetch(started))
    advance(len(indices))


@contextmanager
def _progress(told: Progress | None, name: str, total: int, done: int) -> Iterator[Callable[[int], None]]:
    """Yield what is called with the number of patches that were embedded since."""
    with _Bar(name) as bar:
        tell_of = told or bar
        tell_of(done, total)

        def advance(more: int) -> None:
            nonlocal done
            done += more
            tell_of(done, total)

        yield advance


class _Bar:
    """A bar on stderr, from the first time that it is told of progress until all is done."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, done: int, total: int) -> None:
        """Show that so many patches are done, of all."""
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, desc=self._name, unit=" patches", dynamic_ncols=True)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self._bar.close()


def _colors(
    X: npt.NDArray[Any], umap: bool
) -> tuple[npt.NDArray[np.float32] | None, npt.NDArray[np.float32] | None, list[str]]:
    if not umap:
        return None, None, ["#808080"] * len(X)
    umap2, umap3 = fit_umap(X)
    return umap2, umap3, srgb_hex(umap3)


@dataclass(frozen=True)
class Image:
    """How TissUUmaps gets at a slide; made by `plan_image`.

    Attributes
    ----------
    name : str or None
        The slide's path from the served folder, with forward slashes; None where it cannot be there.
    links : tuple of (Path, Path)
        What is linked for it, and where.
    """

    name: str | None
    links: tuple[tuple[Path, Path], ...] = ()

    def place(self) -> None:
        """Make the links."""
        for source, target in self.links:
            if not _link(source, target):
                log.warning("%s: could not be linked to %s", target.name, source)


def plan_image(slide: Path, folder: Path) -> Image:
    """Find how a slide is reached from the served folder; nothing stays there before `Image.place`.

    TissUUmaps serves nothing outside of the folder, and copying gigabytes unasked is no answer: a slide
    from elsewhere is linked, by a symbolic link or, where the system has none for its users, a hard one.
    """
    folder = folder.resolve()
    if slide.resolve().is_relative_to(folder):
        return Image(slide.resolve().relative_to(folder).as_posix())
    if slide.is_dir():
        log.info(
            "%s: TissUUmaps shows no OME-Zarr, so the viewer has its patches without the image", slide.name
        )
        return Image(None)
    if slide.suffix.lower() == ".dcm":
        # The slide is all files beside this one.
        name, sources = f"{slide.parent.name}/{slide.name}", [slide.resolve().parent]
        links = tuple((each, folder / slide.parent.name) for each in sources)
    else:
        name, sources = slide.name, [slide]
        if slide.suffix.lower() in _WITH_FOLDER:
            sources.append(slide.with_suffix(""))
        links = tuple((each.resolve(), folder / each.name) for each in sources)
    if all(_can_link(source, target) for source, target in links):
        return Image(name, links)
    log.warning(
        "%s: could not be linked into %s, so the viewer shows its patches without the image; "
        "copy the slide there and embed it from there",
        slide,
        folder,
    )
    return Image(None)


def place_image(slide: Path, folder: Path) -> str | None:
    """Make the slide reachable from the served folder; return its name there, or None. See `plan_image`."""
    image = plan_image(slide, folder)
    image.place()
    return image.name


def _can_link(source: Path, target: Path) -> bool:
    if target.exists() and (target.samefile(source) or not target.is_symlink()):
        return target.samefile(source)  # else it is somebody else's file
    trial = target.with_name(f".{secrets.token_hex(8)}.link")
    try:
        return _link(source, trial)
    finally:
        with suppress(OSError):
            trial.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> bool:
    if target.exists() and target.samefile(source):
        return True
    if target.exists() and not target.is_symlink():
        return False  # somebody else's file
    try:
        target.unlink(missing_ok=True)
        try:
            target.symlink_to(source, target_is_directory=source.is_dir())
        except OSError:
            target.hardlink_to(source)
    except OSError:
        return False
    return True


def _device(name: str) -> str:
    if name != "auto":
        return name
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _named(path: Path, message: str) -> str:
    """Put the slide's name before a message that lacks it."""
    return message if path.name in message else f"{path}: {message}"


def _os_error(error: OSError, h5ad: Path) -> str:
    """Return a system's error with its place, and what to do where that is known."""
    told, number = os_reason(error, h5ad), os_errno(error)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"{told}; make room and run again: it goes on where it stopped"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{told}; give a folder with -o that may be written"
    return told


class _Clock:
    """How long each stage took, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - started
