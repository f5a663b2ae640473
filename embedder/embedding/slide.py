"""One slide: it is read once, its patches are embedded as they stream by, and one file is written.

A run that died goes on where it was: embeddings are kept on disk as they are made, and the result is the same
to the last bit.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedder.embedding import provenance, rehearsal, writing
from embedder.embedding.bar import Bar
from embedder.embedding.encoding import choose_batch_size, embed_patches, plan_cells
from embedder.embedding.image import link_image, plan_image
from embedder.embedding.mapped import select_rows
from embedder.embedding.options import EmbedOptions
from embedder.embedding.partial import Partial, remove_partial
from embedder.embedding.request import SlideInput
from embedder.embedding.results import SlideResult
from embedder.embedding.umap import fit_umap, srgb_hex
from embedder.encoders.fine import CellPlan
from embedder.encoders.network import Encoder
from embedder.encoders.spec import EncoderError
from embedder.isolation.program import Progress, tell_stage
from embedder.patches.damage import Tally
from embedder.patches.grid import PatchGrid, TilingError
from embedder.patches.selection import find_tissue, measure_cells, plan_grid
from embedder.patches.tissue import TissueMask
from tissuumaps_sic.slidefile import leases
from tissuumaps_sic.slidefile.arrays import Mask, Singles
from tissuumaps_sic.slidefile.contract import ContractError, foresee
from tissuumaps_sic.slidefile.failure import os_errno, os_reason
from tissuumaps_sic.slidefile.pixels.slide import Slide, open_slide, require_resolution
from tissuumaps_sic.slidefile.pixels.source import Pixels, SlideError
from tissuumaps_sic.slidefile.placing import Placement
from tissuumaps_sic.slidefile.project import tmap_project, write_tmap
from tissuumaps_sic.slidefile.provenance import Provenance
from tissuumaps_sic.slidefile.writing import remove_left_behind, replacing

log = logging.getLogger(__name__)

# Beside the embeddings, for each patch: corners, centre, names, colour, share, and two layouts.
_BYTES_BESIDE = 200


def embed_slide(
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

    Returns
    -------
    SlideResult

    Raises
    ------
    ModuleNotFoundError
        A package is missing, for all slides alike.
    RehearsalError
        What a slide needs at its end does not work here, for all alike.
    """
    path, h5ad = item.path, folder / f"{item.name}.h5ad"
    try:
        with leases.hold_lock(folder / leases.hidden_name(item.name, ".lock")) as lock:
            return _embed(item, h5ad, encoder, options, progress, lock)
    except leases.LostError as error:
        return SlideResult(str(path), "failed", f"{path}: {error}")
    except leases.LockedError as error:
        return SlideResult(str(path), "skipped", f"{path}: {error}")
    except (SlideError, TilingError, ContractError, EncoderError) as error:
        return SlideResult(str(path), "failed", _name_slide(path, str(error)))
    except OSError as error:
        return SlideResult(str(path), "failed", f"{path}: {_explain_os_error(error, h5ad)}")
    except (ModuleNotFoundError, rehearsal.RehearsalError):
        raise
    except MemoryError:
        return SlideResult(
            str(path),
            "failed",
            f"{path}: there is too little memory for it; end other programs, or use a machine with more",
        )
    except Exception as error:
        log.debug("%s failed", path, exc_info=True)
        message = f"{path}: {type(error).__name__}: {error} (unexpected; --verbose shows where)"
        return SlideResult(str(path), "failed", " ".join(message.split()))


def count_bytes(dimension: int, cells: CellPlan | None, options: EmbedOptions) -> int:
    """Return the bytes of a patch's embedding, and of those of its cells.

    Parameters
    ----------
    dimension : int
        Length of an embedding.
    cells : CellPlan or None
    options : EmbedOptions

    Returns
    -------
    int
    """
    fine = 0 if cells is None else cells.width * np.dtype(np.float16).itemsize
    return dimension * np.dtype(options.storage).itemsize + fine


def count_bytes_beside(cells: CellPlan | None) -> int:
    """Return the bytes, about, of what else a file holds for a patch.

    Parameters
    ----------
    cells : CellPlan or None

    Returns
    -------
    int
    """
    return _BYTES_BESIDE + (0 if cells is None else cells.side**2)


@dataclass(frozen=True, eq=False)
class _Layout:
    """What is known of a slide before its first patch is embedded."""

    mask: TissueMask
    thumbnail: Pixels | None
    grid: PatchGrid
    shares: Singles
    cells: CellPlan | None
    wanted: Provenance
    image: Placement
    project: dict[str, Any]


def _embed(
    item: SlideInput,
    h5ad: Path,
    encoder: Encoder,
    options: EmbedOptions,
    progress: Progress | None,
    lock: leases.Lock,
) -> SlideResult:
    """Embed one slide into an h5ad, and write the TissUUmaps project beside it."""
    clock = _Clock()
    remove_half_written(h5ad)
    tell_stage("the slide was opened")
    with open_slide(item.path, mpp=item.mpp or options.slide_mpp, icc=options.icc) as slide:
        require_resolution(slide)
        if h5ad.exists() and not options.overwrite:
            return _keep_file(slide, h5ad, encoder, options)
        layout = _lay_out(slide, h5ad, encoder, options, clock)
        tell_stage("its patches were read and embedded")
        partial = _open_partial(h5ad, layout, encoder, options, lock)
        tally = Tally(slide, layout.grid, options.damage_limit, partial.notes.get("damage"))
        with Bar(slide.name) as bar:
            choice = embed_patches(
                slide,
                layout.grid,
                encoder,
                partial,
                tally,
                cells=layout.cells,
                batch_size=choose_batch_size(encoder, options),
                progress=progress or bar,
            )
        clock.seconds["embed"] = partial.seconds
        layout, X, fine = _take_rows(partial, layout, tally.lost, h5ad.parent)
        tell_stage("UMAP laid its patches out", limited=False)
        with clock.stage("umap"):
            umaps = fit_umap(X) if options.umap else None
        tell_stage("its file was written", limited=False)
        with clock.stage("write"):
            lock.check()
            described = provenance.describe(
                slide,
                layout.grid,
                layout.mask,
                encoder,
                layout.cells,
                options,
                choice=choice,
                seconds=clock.seconds,
                tally=tally,
            )
            _write(h5ad, slide, layout, (X, fine), umaps, encoder.name, described, tally)
        del X, fine  # Windows removes no file that is still mapped
        partial.remove()
    n_patches = len(layout.grid)
    message = f"{item.path}: {n_patches} patches in {sum(clock.seconds.values()):.0f} s -> {h5ad}"
    message += tally.tell()
    return SlideResult(str(item.path), "done", message, str(h5ad), n_patches, clock.seconds)


def _open_partial(
    h5ad: Path, layout: _Layout, encoder: Encoder, options: EmbedOptions, lock: leases.Lock
) -> Partial:
    """Open what an earlier run of the same request has saved, or begin it."""
    return Partial.open(
        partial_folder(h5ad),
        request=_make_request(layout.wanted, layout.grid, encoder, options),
        shape=(len(layout.grid), encoder.dimension),
        dtype=options.storage,
        fine=0 if layout.cells is None else layout.cells.width,
        lock=lock,
    )


def _take_rows(
    partial: Partial, layout: _Layout, lost: Mask, folder: Path
) -> tuple[_Layout, npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Return what is left when lost patches are left out: layout, embeddings and, where there are, cells'."""
    X, fine = partial.array(), partial.fine()
    if not lost.any():
        return layout, X, fine
    X = select_rows(X, ~lost, folder)
    return _leave_out(layout, lost), X, None if fine is None else select_rows(fine, ~lost, folder)


def _lay_out(slide: Slide, h5ad: Path, encoder: Encoder, options: EmbedOptions, clock: _Clock) -> _Layout:
    """Find the patches of a slide, and make sure that nothing which can be known now will end it later."""
    tell_stage("its tissue was looked for")
    with clock.stage("tissue"):
        mask = find_tissue(slide, options)
    thumbnail = slide.thumbnail(1024) if options.thumbnail else None
    grid, shares = plan_grid(slide, mask, options)
    log.info("%s: %d patches of %g µm", slide.path.name, len(grid), options.patch_size * options.mpp)
    tell_stage("its last steps were tried", limited=False)
    rehearsal.try_last_steps(h5ad.parent, umap=options.umap)
    cells = plan_cells(encoder, options)
    rehearsal.require_room(
        h5ad.parent,
        begun=partial_folder(h5ad),
        embeddings=len(grid) * count_bytes(encoder.dimension, cells, options),
        beside=len(grid) * count_bytes_beside(cells),
    )
    wanted = provenance.describe_wanted(slide, mask, encoder, cells, options)
    image = plan_image(slide.path, h5ad.parent)
    project = _make_project(slide, h5ad, image, grid.centres, grid.stride * grid.scale)
    if problems := foresee(wanted, project):
        raise ContractError(f"{slide.path.name}: {problems[0].what}; {problems[0].fix}")
    return _Layout(mask, thumbnail, grid, shares, cells, wanted, image, project)


def _leave_out(layout: _Layout, lost: Mask) -> _Layout:
    """Return the layout without the patches of which a part cannot be read at any level."""
    return replace(layout, grid=layout.grid.select(~lost), shares=layout.shares[~lost])


def _write(
    h5ad: Path,
    slide: Slide,
    layout: _Layout,
    embeddings: tuple[npt.NDArray[Any], npt.NDArray[Any] | None],
    umaps: tuple[Singles, Singles] | None,
    encoder_name: str,
    described: Provenance,
    tally: Tally,
) -> None:
    """Write the file of a slide, its project, and the link to its image."""
    grid = layout.grid
    X, fine = embeddings
    umap2, umap3 = umaps or (None, None)
    # What points to the h5ad comes after it, but room for it is found before. Where a run ends in between,
    # the next one makes it.
    with replacing(h5ad.with_suffix(".tmap")) as temporary:
        write_tmap(temporary, layout.project)
        writing.write_slide(
            h5ad,
            X=X,
            x0=grid.x0,
            y0=grid.y0,
            centres=grid.centres,
            tissue=layout.shares,
            umap2=umap2,
            umap3=umap3,
            colors=["#808080"] * len(X) if umap3 is None else srgb_hex(umap3),
            slide_name=slide.name,
            encoder_name=encoder_name,
            provenance=described,
            tmap=layout.project,
            thumbnail=layout.thumbnail,
            fine=None
            if fine is None or layout.cells is None
            else (fine, measure_cells(grid, layout.mask, layout.cells.side)),
            damaged=tally.mended[~tally.lost] if tally.mended.any() else None,
        )
        link_image(layout.image)


def _keep_file(slide: Slide, h5ad: Path, encoder: Encoder, options: EmbedOptions) -> SlideResult:
    """Return what is to be said of a slide whose file is there, and make what should point to it."""
    # Finding the tissue anew would tell nothing that the slide's hash does not, and takes a second.
    mask = None if options.tissue is None else find_tissue(slide, options)
    wanted = provenance.describe_wanted(slide, mask, encoder, plan_cells(encoder, options), options)
    different = provenance.differences(h5ad, wanted, options)
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
    remove_partial(partial_folder(h5ad))
    message = f"{path}: {h5ad} is there already, made as asked"
    project = h5ad.with_suffix(".tmap")
    if not project.exists():
        image = plan_image(path, h5ad.parent)
        centres, stride0 = writing.read_places(h5ad)
        link_image(image)
        write_tmap(project, _make_project(slide, h5ad, image, centres, stride0))
        message += f"; {project.name}, which was not, is made anew"
    return SlideResult(str(path), "skipped", message, str(h5ad), writing.count_patches(h5ad))


def _make_project(
    slide: Slide, h5ad: Path, image: Placement, centres: npt.NDArray[np.float64], stride0: float
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


def partial_folder(h5ad: Path) -> Path:
    """Return where the embeddings of a slide lie while they are made.

    Parameters
    ----------
    h5ad : Path

    Returns
    -------
    Path
    """
    return h5ad.parent / leases.hidden_name(h5ad.stem, ".partial")


def remove_half_written(h5ad: Path) -> None:
    """Remove what killed runs left of files half written; the lock is held.

    Parameters
    ----------
    h5ad : Path
    """
    for path in (h5ad, h5ad.with_suffix(".tmap")):
        remove_left_behind(path)


def _make_request(
    wanted: Provenance, grid: PatchGrid, encoder: Encoder, options: EmbedOptions
) -> dict[str, Any]:
    """Return all that the embeddings depend on to the last bit, which a run must share to go on."""
    return wanted.document | {
        "patches": hashlib.sha256(grid.cells.tobytes()).hexdigest(),
        "batch_size": choose_batch_size(encoder, options),
        "precision": options.precision,
        "device": encoder.device.partition(":")[0],
        "versions": {name: version(name) for name in ("tissuumaps-sic", "torch")},
    }


def _name_slide(path: Path, message: str) -> str:
    """Put the slide's name before a message that lacks it."""
    return message if path.name in message else f"{path}: {message}"


def _explain_os_error(error: OSError, h5ad: Path) -> str:
    """Return a system's error with its place, and what to do where that is known."""
    reason, number = os_reason(error, h5ad), os_errno(error)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"{reason}; make room and run again: it goes on where it stopped"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{reason}; give a folder with -o that may be written"
    return reason


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
