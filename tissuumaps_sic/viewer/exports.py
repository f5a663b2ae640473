"""Endpoints that hand out the labels: as regions, as a file, and into the h5ad itself."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
from shapely.geometry import mapping

from tissuumaps_sic.annotation.classes import order_classes
from tissuumaps_sic.export.annotations import find_regions, regions_in
from tissuumaps_sic.export.formats import FORMATS, ExportOptions
from tissuumaps_sic.export.h5ad import write_labels
from tissuumaps_sic.slides.slide import EmbeddedSlide
from tissuumaps_sic.viewer.access import Reach
from tissuumaps_sic.viewer.answers import Answer, Header
from tissuumaps_sic.viewer.command_line import join_export
from tissuumaps_sic.viewer.opened import Shared
from tissuumaps_sic.viewer.places import is_writable
from tissuumaps_sic.viewer.requests import ExportRequest, RequestError, SeenRequest, naming
from tissuumaps_sic.viewer.runs import require_run

# Of an export: it lies in memory here, and in the browser.
_MOST_SENT = 256 * 2**20


def send_regions(shared: Shared, reach: Reach, request: SeenRequest) -> Header:
    """Return the labels as regions, in the order in which classes are listed, by cell where that can be.

    Polygons with holes in level-0 pixels, areas and the tissue in them in mm², shares of all regions' tissue.
    """
    slide = shared.opened.slide(reach.h5ad)
    session = shared.opened.seen_session(slide, request)
    if require_run(session).can_replay:
        with shared.turns.job(reach.h5ad, None) as progress, shared.turns.clustering(reach.h5ad, progress):
            regions, classes = find_regions(shared.label(slide, session, request))
    else:
        regions, classes = regions_in(slide, session)
    order = order_classes(len(classes))
    regions.sort(key=lambda region: order.index(region.label))
    return {
        "regions": [
            {
                "name": classes[region.label].name,
                "color": classes[region.label].color,
                "area": region.area,
                "tissue": region.tissue,
                "share": region.share,
                "coordinates": mapping(region.shape)["coordinates"],
            }
            for region in regions
        ]
    }


def export_labels(shared: Shared, reach: Reach, request: ExportRequest) -> Answer:
    """Return the labels as a file of the asked format, and its name; of several files as a zip.

    Nothing is written into the served folder.
    """
    h5ad = reach.h5ad
    slide = shared.opened.slide(h5ad)
    session = shared.opened.seen_session(slide, request)
    format_ = FORMATS[request.format]
    needed = 0
    if request.format == "h5ad":
        # What is larger need not be copied to know it.
        needed = h5ad.stat().st_size
        _require_sendable(slide, request, needed)
    suffix = f".{request.session}" if request.session else ""
    with _temporary_folder(needed) as folder:
        target = folder / f"{slide.name}{suffix}.{format_.ending}"
        options = ExportOptions(session_name=request.session, link=False)
        with shared.turns.job(h5ad, None), shared.turns.clustering(h5ad):
            format_.write(shared.label(slide, session, request), target, options)
        sent = _pack_files(target)
        _require_sendable(slide, request, sent.stat().st_size)
        content = np.fromfile(sent, np.uint8)
        return {"name": sent.name, "length": len(content)}, content


def write_into_h5ad(shared: Shared, reach: Reach, request: SeenRequest) -> Header:
    """Write the labels of the last run into the h5ad itself."""
    h5ad, opened = reach.h5ad, shared.opened
    if not is_writable(h5ad):
        raise RequestError(507, f"the folder of {h5ad.name} may not be written to; export an h5ad instead")
    with shared.turns.writing(h5ad):
        slide = opened.slide(h5ad)
        session = opened.seen_session(slide, request)
        labelled = shared.label(slide, session, request)
        opened.let_go(h5ad)
        with naming(h5ad):
            write_labels(labelled, h5ad)
    return {"written": h5ad.name}


def _pack_files(target: Path) -> Path:
    """Return the file that an export is: a zip where it is a folder, or there are several files."""
    files = sorted(each for each in target.parent.rglob("*") if each.is_file())
    if files == [target]:
        return target
    packed = target.with_name(f"{target.name}.zip")
    with ZipFile(packed, "w", ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.relative_to(target.parent))
    return packed


def _require_sendable(slide: EmbeddedSlide, request: ExportRequest, n_bytes: int) -> None:
    if n_bytes > _MOST_SENT:
        line = join_export(slide.path, slide.path.parent, request.session, request.format)
        raise RequestError(
            422,
            f"the file would have {n_bytes / 2**20:.0f} MB, and {_MOST_SENT // 2**20} MB are the most that "
            f"go through the browser; run this in the slide's folder instead: {line}",
        )


@contextmanager
def _temporary_folder(needed: int) -> Iterator[Path]:
    """Yield a folder for a file of so many bytes, 0 where that is not known, and tell what it lacks."""
    try:
        if needed > shutil.disk_usage(tempfile.gettempdir()).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 -- told as one that fills
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    except OSError as error:
        raise RequestError(507, _describe_temporary(needed, error)) from error


def _describe_temporary(needed: int, error: OSError) -> str:
    """Return what is wrong with the temporary folder, and what to do."""
    reason, place = error.strerror or error, tempfile.tempdir or "TMPDIR"
    do = "free some space there, or start the server with TMPDIR set to a folder that can be written"
    try:
        free = shutil.disk_usage(place).free
    except OSError:
        free = None
    if free is None or error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return f"exports need a temporary folder, and {place} cannot be used ({reason}); {do}"
    room = f"about {needed / 2**20:.1f} MB are needed" if needed else "more is needed"
    return (
        f"the export does not fit into the temporary folder {place} ({reason}): {room} and "
        f"{free / 2**20:.1f} MB are free; {do}"
    )
