"""Slides embedded in a child process, which is kept from slide to slide with its encoder."""

from __future__ import annotations

import functools
import logging
from pathlib import Path

from embedder.embedding.bar import Bar
from embedder.embedding.encoding import log_encoder, make_encoder
from embedder.embedding.options import EmbedOptions
from embedder.embedding.partial import holds_nothing, remove_partial
from embedder.embedding.request import SlideInput
from embedder.embedding.results import SlideResult
from embedder.embedding.slide import embed_slide, partial_folder, remove_half_written
from embedder.encoders.network import Encoder
from embedder.encoders.spec import EncoderError
from embedder.isolation.child import Child, LostError, StalledError
from embedder.isolation.program import tell_progress, tell_stage
from tissuumaps_sic.slidefile import leases

log = logging.getLogger(__name__)


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


def embed_in(child: Child, item: SlideInput, folder: Path, options: EmbedOptions) -> SlideResult:
    """Embed a slide in a child process; whatever becomes of that is a result.

    Parameters
    ----------
    child : Child
    item : SlideInput
    folder : Path
        Where the slide's files go.
    options : EmbedOptions

    Returns
    -------
    SlideResult

    Raises
    ------
    ChildError
        No process can be started.
    """
    again = False
    while True:
        try:
            if child.runs == 0:
                prepare(child, options, advised=True)
            others = child.runs > 1
            with Bar(item.name) as progress:
                result: SlideResult = child.run(_embed_here, item, folder, options, progress=progress)
        except EncoderError as error:
            return SlideResult(str(item.path), "failed", f"{item.path}: {error}")
        except LostError as error:
            _clear_up(item, folder)
            # An earlier slide may have damaged the memory of the process, or left it too little.
            if others and not again and not isinstance(error, StalledError):
                log.info("%s: its process died; the slide is tried once more, in a new one", item.path)
                again = True
                continue
            return SlideResult(str(item.path), "failed", f"{item.path}: {error}")
        except KeyboardInterrupt:
            _clear_up(item, folder)
            raise
        return result


def _load_kept(options: EmbedOptions, advised: bool) -> None:
    encoder = get_encoder(options)
    if not advised:
        log_encoder(encoder, options)


# Loaded once in a process.
_keep_encoder = functools.lru_cache(maxsize=1)(make_encoder)


def _embed_here(item: SlideInput, folder: Path, options: EmbedOptions) -> SlideResult:
    """Embed a slide in this process, which is somebody's child."""
    return embed_slide(item, folder, get_encoder(options), options, progress=tell_progress)


def get_encoder(options: EmbedOptions) -> Encoder:
    """Return the encoder that the options name; it is loaded once in a process.

    Parameters
    ----------
    options : EmbedOptions

    Returns
    -------
    Encoder

    Raises
    ------
    EncoderError
        It cannot be loaded.
    """
    tell_stage("the encoder was loaded", limited=False)
    encoder = _keep_encoder(options)
    tell_stage("the slide was opened")
    return encoder


def _clear_up(item: SlideInput, folder: Path) -> None:
    """Remove what a process that died at a slide left, but the embeddings that it had saved."""
    h5ad = folder / f"{item.name}.h5ad"
    level = leases.log.level
    # That it was left is told with the slide.
    leases.log.setLevel(logging.ERROR)
    try:
        with leases.hold_lock(folder / leases.hidden_name(item.name, ".lock")):
            remove_half_written(h5ad)
            partial = partial_folder(h5ad)
            if holds_nothing(partial):
                remove_partial(partial)
    except (OSError, leases.LockedError) as error:
        log.debug("%s: nothing was cleared up (%s)", item.path, error)
    finally:
        leases.log.setLevel(level)
