"""Seeds from a file that a page hands over: what it would give, and taking them.

The file is unpacked within bounds into a temporary folder, and removed with it.
"""

from __future__ import annotations

import base64
import binascii
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tissuumaps_sic.annotation.bringing import Brought, bring_seeds
from tissuumaps_sic.annotation.seed_files import SEED_FILES, open_seed_file
from tissuumaps_sic.annotation.seeds import is_session
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.slidefile.packed import GZIP, unpack
from tissuumaps_sic.slidefile.spelling import fold
from tissuumaps_sic.slides.slide import EmbeddedSlide
from tissuumaps_sic.viewer.access import Reach
from tissuumaps_sic.viewer.answers import Header
from tissuumaps_sic.viewer.opened import Shared
from tissuumaps_sic.viewer.requests import ChangeRequest, PreviewRequest, RequestError, SeedFile

# Unpacked: drawings of hundreds of thousands of outlines; as Python's objects they take ten times that.
_MOST_BYTES = 64 * 2**20
# Of a mask, which is read as a whole.
_MOST_PIXELS = 2**28
# What may not be in the name of a file, for the sake of any system's files.
_NOT_IN_NAMES = re.compile(r"[^\w .()+-]")


def preview_seeds(shared: Shared, reach: Reach, request: PreviewRequest) -> Header:
    """Return what a file of seeds would give: each class of it, what its seeds become, what is left out."""
    slide = shared.opened.slide(reach.h5ad)
    session = shared.opened.seen_session(slide, request)
    # As heavy as a run may be, and so with its turns.
    with shared.turns.job(reach.h5ad, None) as progress, shared.turns.clustering(reach.h5ad, progress):
        brought, from_bounds = _read(slide, session, request.file)
    now = session.seeds.vector(slide.n_patches)
    both = (now >= 0) & (brought.labels >= 0)
    return {
        "classes": [
            {
                "name": each.of.name,
                "color": each.of.color,
                "count": each.of.count,
                "left_out": each.of.left_out,
                "target": each.target,
                "seeds": each.n_seeds,
            }
            for each in brought.listed
        ],
        "seeds": [
            {"name": each.name, "color": each.color, "n": n, "is_new": place >= len(session.classes)}
            for place, (each, n) in enumerate(zip(brought.classes, brought.counts, strict=True))
            if n
        ],
        "replaced": int(np.count_nonzero(both & (now != brought.labels))),
        "told": list(brought.told),
        "from_bounds": from_bounds,
    }


def take_seeds(shared: Shared, reach: Reach, request: ChangeRequest, file: SeedFile) -> Header:
    """Take the seeds of a file into a session, save it, and return its new state.

    Raises
    ------
    SessionError, RequestError
        When it cannot be read, or gives the slide no seed.
    """
    h5ad, opened, turns = reach.h5ad, shared.opened, shared.turns
    with turns.job(h5ad, None) as progress:
        slide = opened.slide(h5ad)
        seen = opened.seen_session(slide, request)
        # Other pages go on seeding meanwhile, in sessions of their own.
        with turns.clustering(h5ad, progress):
            brought, _ = _read(slide, seen, file)
        with turns.writing(h5ad, progress, has_place=True):
            slide = opened.slide(h5ad)
            session = opened.seen_session(slide, request)
            if session.fingerprint != seen.fingerprint:
                raise RequestError(409, "this slide was embedded anew meanwhile; add the file again")
            source = _plain_name(file.name)
            session = session.bring(brought.labels, brought.classes, source=source, user=request.user)
            opened.save(h5ad, session, request.session)
        return opened.state(slide, session, request)


def _read(slide: EmbeddedSlide, session: Session, file: SeedFile) -> tuple[Brought, bool | None]:
    """Return what a file gives a slide, and whether it counts from the scanned part, where that matters."""
    with _as_file(file) as path:
        if is_session(path):
            raise RequestError(422, f"{path.name} is a session; put it beside the slide to open it")
        opened = open_seed_file(path, slide, from_bounds=file.from_bounds, most_pixels=_MOST_PIXELS)
        renaming = {fold(each.name): each.target for each in file.targets}
        brought = bring_seeds(opened, session.classes, renaming=renaming, inside=file.inside)
        return brought, opened.from_bounds


@contextmanager
def _as_file(file: SeedFile) -> Iterator[Path]:
    name = _plain_name(file.name)
    if name.lower().endswith(".gz"):
        # It is unpacked below.
        name = name[:-3]
    if not name.lower().endswith(SEED_FILES):
        raise RequestError(
            422,
            f"{name} is not a file of seeds; give GeoJSON (QuPath), XML (ASAP, ImageScope), NDPA, a mask "
            "(PNG, TIFF) or a CSV",
        )
    try:
        content = base64.b64decode(file.content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(422, f"{name} did not arrive whole; try again") from error
    content = _unpack(name, content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        yield path


def _plain_name(name: str) -> str:
    """Return the name of a file without folders and odd characters."""
    plain = _NOT_IN_NAMES.sub("_", re.split(r"[/\\]", name)[-1]).strip(" .")
    stem, dot, ending = plain.partition(".")
    return f"{stem[:80] or 'seeds'}{dot}{ending[-40:]}"


def _unpack(name: str, content: bytes) -> bytes:
    """Return a file's content, which the page has packed, and its program may have before."""
    for _ in range(2):
        if len(content) > _MOST_BYTES or not content.startswith(GZIP):
            break
        try:
            content = unpack(content, _MOST_BYTES)
        except ValueError as error:
            raise RequestError(422, f"{name} {error}; export it again") from error
    if len(content) > _MOST_BYTES or content.startswith(GZIP):
        raise RequestError(
            413,
            f"{name} has more than {_MOST_BYTES // 2**20} MB; give it to the command instead: "
            "tissuumaps-sic run --seeds",
        )
    return content
