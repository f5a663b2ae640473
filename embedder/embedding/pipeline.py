"""The run: slides embedded one after the other, here or in a child process.

Whatever goes wrong with a slide is told in one line, and the next slide is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from embedder.embedding.children import embed_in, prepare
from embedder.embedding.encoding import log_encoder, make_encoder
from embedder.embedding.options import EmbedOptions
from embedder.embedding.request import SlideInput, as_inputs
from embedder.embedding.results import SlideResult, log_result, refuse_names
from embedder.embedding.slide import embed_slide
from embedder.isolation.child import Child, Limits


def embed_slides(
    slides: Sequence[SlideInput | Path],
    folder: Path | str,
    options: EmbedOptions | None = None,
    *,
    limits: Limits | None = None,
) -> list[SlideResult]:
    """Embed slides one after the other; a slide that fails never ends the run.

    Parameters
    ----------
    slides : sequence of SlideInput or Path
        See `request.gather` for folders, patterns and tables.
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
    folder = Path(folder)
    options = options or EmbedOptions()
    items = as_inputs(slides)
    folder.mkdir(parents=True, exist_ok=True)
    refused = refuse_names(items)
    results = []
    with _open_embedding(folder, options, limits) as embed_one:
        for place, item in enumerate(items):
            result = refused.get(place) or embed_one(item)
            log_result(result)
            results.append(result)
    return results


@contextmanager
def _open_embedding(
    folder: Path, options: EmbedOptions, limits: Limits | None
) -> Iterator[Callable[[SlideInput], SlideResult]]:
    """Yield what embeds a slide, with its encoder loaded: here, or in a child process."""
    if limits is None:
        encoder = make_encoder(options)
        log_encoder(encoder, options)
        yield lambda item: embed_slide(item, folder, encoder, options)
        return
    with Child(limits) as child:
        prepare(child, options)
        yield lambda item: embed_in(child, item, folder, options)
