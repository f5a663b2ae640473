"""The pipeline: a slide is read once, its patches embedded as they stream by, and one file written.

Whatever goes wrong with a slide is told in one line, and the next slide is taken.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedder import anndata_io, colors, tissue, tmap
from embedder.contract import ContractError
from embedder.encoders import load_encoder
from embedder.network import Encoder
from embedder.patches import iter_patches
from embedder.slide import Slide, SlideError, open_slide, require_resolution
from embedder.tiling import PatchGrid, TilingError

log = logging.getLogger(__name__)

# A slide whose format keeps its pixels in a folder of the same name beside the file.
_WITH_FOLDER = (".mrxs",)


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
        µm per level-0 pixel, in place of what the slide says.
    patch_size : int
        Edge of a patch in its own pixels.
    overlap : float
        Share of a patch that its neighbour covers too.
    min_tissue : float
        The least share of a patch that is tissue, for it to be embedded.
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps".
    precision : str
        "float32" or "bfloat16".
    batch_size : int
        Patches in one pass of the encoder.
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
    min_tissue: float = 0.25
    device: str = "auto"
    precision: str = "float32"
    batch_size: int = 32
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
        Time that each stage took.
    """

    slide: str
    status: Literal["done", "skipped", "failed"]
    message: str
    h5ad: str | None = None
    n_patches: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


def embed_slides(
    slides: Sequence[Path], folder: Path, options: EmbedOptions | None = None
) -> list[SlideResult]:
    """Embed slides one after the other; a slide that fails never ends the run.

    Parameters
    ----------
    slides : sequence of Path
    folder : Path
        Where ``<slide>.h5ad`` and ``<slide>.tmap`` go; made if it is not there.
    options : EmbedOptions, optional

    Returns
    -------
    list of SlideResult
        In the order of the slides.

    Raises
    ------
    EncoderError
        When the encoder cannot be loaded, before any slide is touched.
    OSError
        When the folder cannot be made.
    """
    options = options or EmbedOptions()
    folder.mkdir(parents=True, exist_ok=True)
    encoder = load_encoder(
        options.encoder,
        weights=options.weights,
        device=_device(options.device),
        precision=options.precision,
    )
    results = []
    taken: dict[str, Path] = {}
    for path in slides:
        result = _embed_or_tell(path, folder, encoder, options, taken)
        log.log(logging.ERROR if result.status == "failed" else logging.INFO, "%s", result.message)
        results.append(result)
    return results


def _embed_or_tell(
    path: Path, folder: Path, encoder: Encoder, options: EmbedOptions, taken: dict[str, Path]
) -> SlideResult:
    """Embed a slide, with every failure made a result."""
    h5ad = folder / f"{path.stem}.h5ad"
    if path.stem in taken:
        message = f"{path}: {taken[path.stem]} has the same name and was embedded as {h5ad.name}; rename one"
        return SlideResult(str(path), "failed", message)
    if h5ad.exists() and not options.overwrite:
        message = f"{path}: {h5ad} is there already; --overwrite embeds the slide anew"
        return SlideResult(str(path), "skipped", message, str(h5ad))
    try:
        result = embed_slide(path, h5ad, encoder=encoder, options=options)
    except (SlideError, TilingError, ContractError) as error:
        return SlideResult(str(path), "failed", _named(path, str(error)))
    except OSError as error:
        return SlideResult(
            str(path), "failed", f"{path}: {error.strerror or error} ({error.filename or h5ad})"
        )
    except ModuleNotFoundError:
        raise  # a package is missing for all slides alike
    except Exception as error:
        log.debug("%s failed", path, exc_info=True)
        message = f"{path}: {type(error).__name__}: {error} (unexpected; --verbose shows where)"
        return SlideResult(str(path), "failed", " ".join(message.split()))
    taken[path.stem] = path
    return result


def embed_slide(path: Path, h5ad: Path, *, encoder: Encoder, options: EmbedOptions) -> SlideResult:
    """Embed one slide into an h5ad, and write the TissUUmaps project beside it.

    Raises
    ------
    SlideError
        When the slide cannot be read, has no resolution, or holds no tissue.
    TilingError
        When no patch fits.
    OSError
        When the files cannot be written.
    """
    clock = _Clock()
    with open_slide(path, mpp=options.slide_mpp) as slide:
        with clock.stage("tissue"):
            grid, shares, mask = _plan(slide, options)
        log.info("%s: %d patches of %g µm", path.name, len(grid), options.patch_size * options.mpp)
        with _scratch(h5ad.parent, (len(grid), encoder.dimension)) as X:
            with clock.stage("embed"):
                _embed_patches(slide, grid, encoder, X, batch_size=options.batch_size)
            with clock.stage("umap"):
                umap2, umap3, rgb = _colors(X, options.umap)
            with clock.stage("write"):
                layer = place_image(slide.path, h5ad.parent)
                project = tmap.tmap_project(
                    h5ad_name=h5ad.name,
                    slide_name=slide.name,
                    image=layer,
                    slide_size=slide.size,
                    centres=grid.centres,
                    stride0=grid.stride * grid.scale,
                    mpp=require_resolution(slide).mpp,
                )
                anndata_io.write_slide(
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
                    provenance=_provenance(slide, grid, mask, encoder, options, clock.seconds),
                    tmap=project,
                    thumbnail=slide.thumbnail(1024) if options.thumbnail else None,
                )
                tmap.write_tmap(h5ad.with_suffix(".tmap"), project)
    message = f"{path}: {len(grid)} patches in {sum(clock.seconds.values()):.0f} s -> {h5ad}"
    return SlideResult(str(path), "done", message, str(h5ad), len(grid), clock.seconds)


def _plan(
    slide: Slide, options: EmbedOptions
) -> tuple[PatchGrid, npt.NDArray[np.float32], tissue.TissueMask]:
    """Return the patches that hold tissue, and the share of each that does."""
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
    mask = tissue.tissue_mask(slide)
    shares = mask.share(grid.x0, grid.y0, grid.patch_size0)
    keep = shares >= options.min_tissue
    if not keep.any():
        raise SlideError(
            f"{slide.path.name}: no patch is at least {options.min_tissue:.0%} tissue; "
            "lower --min-tissue (0 embeds everything) if there is tissue on this slide"
        )
    return grid.select(keep), shares[keep], mask


def _embed_patches(
    slide: Slide, grid: PatchGrid, encoder: Encoder, X: npt.NDArray[np.float32], *, batch_size: int
) -> None:
    from tqdm import tqdm

    with tqdm(total=len(grid), desc=slide.name, unit=" patches", dynamic_ncols=True) as progress:
        for indices, patches in iter_patches(slide, grid, batch_size=batch_size):
            X[indices] = encoder.encode(patches)
            progress.update(len(indices))


def _colors(
    X: npt.NDArray[np.float32], umap: bool
) -> tuple[npt.NDArray[np.float32] | None, npt.NDArray[np.float32] | None, list[str]]:
    if not umap:
        return None, None, ["#808080"] * len(X)
    umap2, umap3 = colors.project(X)
    return umap2, umap3, colors.srgb_hex(umap3)


def place_image(slide: Path, folder: Path) -> str | None:
    """Make the slide reachable from the served folder; return its name there, or None.

    TissUUmaps serves nothing outside of the folder, and copying gigabytes unasked is no answer: a slide
    from elsewhere is linked, by a symbolic link or, where the system has none for its users, a hard one.
    """
    folder = folder.resolve()
    if slide.resolve().is_relative_to(folder):
        return slide.resolve().relative_to(folder).as_posix()
    sources = [slide]
    if slide.suffix.lower() in _WITH_FOLDER:
        sources.append(slide.with_suffix(""))
    for source in sources:
        if not _link(source.resolve(), folder / source.name):
            log.warning(
                "%s: could not be linked into %s, so the viewer shows its patches without the image; "
                "copy the slide there and embed it from there",
                slide,
                folder,
            )
            return None
    return slide.name


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


@contextmanager
def _scratch(folder: Path, shape: tuple[int, int]) -> Iterator[npt.NDArray[np.float32]]:
    """Yield a float32 array that lies in a file, so that a large slide needs no large memory."""
    descriptor, name = tempfile.mkstemp(prefix=".embedding-", dir=folder)
    os.close(descriptor)
    try:
        X = np.memmap(name, dtype=np.float32, mode="w+", shape=shape)
        yield X
        del X  # Windows removes no file that is still mapped
    finally:
        Path(name).unlink()


def _provenance(
    slide: Slide,
    grid: PatchGrid,
    mask: tissue.TissueMask,
    encoder: Encoder,
    options: EmbedOptions,
    seconds: dict[str, float],
) -> dict[str, Any]:
    resolution = require_resolution(slide)
    return {
        "slide": {
            "name": slide.name,
            "size": list(slide.size),
            "bounds": list(slide.bounds),
            "hash": slide.fast_hash(),
            "mpp_x": resolution.mpp_x,
            "mpp_y": resolution.mpp_y,
            "mpp_source": resolution.source,
        },
        "grid": {
            "target_mpp": options.mpp,
            "patch_size": options.patch_size,
            "stride": grid.stride,
            "patch_size0": grid.patch_size0,
            "scale": grid.scale,
            "level": grid.level,
            "level_downsample": grid.level_downsample,
        },
        "tissue": {
            "method": mask.method,
            "parameters": dict(mask.parameters),
            "min_tissue": options.min_tissue,
        },
        "encoder": {
            "name": encoder.name,
            "architecture": encoder.spec.name,
            "dimension": encoder.dimension,
            "weights_sha256": encoder.weights_sha256,
            "transform": encoder.transform,
            "precision": encoder.precision,
        },
        "umap": options.umap,
        "versions": {
            name: version(name)
            for name in ("tissuumaps-sic", "torch", "umap-learn", "openslide-python", "anndata")
        },
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
    }


def _device(name: str) -> str:
    import torch

    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _named(path: Path, message: str) -> str:
    """Put the slide's name before a message that lacks it."""
    return message if path.name in message else f"{path}: {message}"


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
