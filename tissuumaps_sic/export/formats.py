"""The formats that labels are exported in: a row each, which the command line and the panel go by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tissuumaps_sic.annotation.runs import Labelled, replay
from tissuumaps_sic.annotation.store import SUFFIX, load_session, session_path
from tissuumaps_sic.export.annotations import write_regions
from tissuumaps_sic.export.csv_rows import write_csv
from tissuumaps_sic.export.h5ad import write_labels
from tissuumaps_sic.export.mask import write_mask
from tissuumaps_sic.export.project import write_project
from tissuumaps_sic.export.report_html import write_html
from tissuumaps_sic.export.report_pdf import write_pdf
from tissuumaps_sic.slides.slide import open_slide_file


@dataclass(frozen=True)
class ExportOptions:
    """What one may ask of an export; a format knows the few that mean something to it (`Format.options`).

    Attributes
    ----------
    simplify : float, default=0.0
        How far the borders of regions may move, µm (`annotations.write_regions`).
    blocks : bool, default=False
        Whether regions, masks and reports are of whole patches, and not of their cells (`cells`).
    mpp, downsample : float, optional
        Of a mask's pixels (`mask.write_mask`).
    image : Path, optional
        The slide's image, where it is not beside the h5ad (`report.make_report`).
    session_name : str
        What the report calls the session.
    link : bool, default=True
        Whether the image is linked into a project's folder (`project.write_project`).
    """

    simplify: float = 0.0
    blocks: bool = False
    mpp: float | None = None
    downsample: float | None = None
    image: Path | None = None
    session_name: str = ""
    link: bool = True


@dataclass(frozen=True)
class Format:
    """A format of exports.

    Attributes
    ----------
    name : str
        What ``--format`` and the panel call it.
    ending : str
        Of a file's name, after that of the slide.
    title, use : str
        What the panel says, and what the format is for.
    writer : callable
        Takes the labels, the file, and `options` by keyword.
    options : tuple of str
        Attributes of `ExportOptions` that it takes.
    """

    name: str
    ending: str
    title: str
    use: str
    writer: Callable[..., None]
    options: tuple[str, ...] = ()

    @property
    def suffix(self) -> str:
        """What tells the format of a file that a person has named: the ending without its first word."""
        return self.ending.partition(".")[2]

    def write(self, labelled: Labelled, target: Path, options: ExportOptions | None = None) -> None:
        """Write labels.

        Raises
        ------
        ExportError, SlideFileError, OSError
            When the format cannot hold them, or the file cannot be written.
        """
        given = options or ExportOptions()
        chosen: dict[str, Any] = {name: getattr(given, name) for name in self.options}
        self.writer(labelled, target, **chosen)


_OF_REGIONS = ("simplify", "blocks")
_REPORT = ("image", "session_name", "blocks")
_REGIONS = "The regions, as annotations"
_PAGE = "One page: picture, table and how the labels were made"
FORMATS = {
    each.name: each
    for each in (
        Format(
            "csv",
            "labels.csv",
            "CSV, a row a patch",
            "Name, place, label, score and seed of each patch",
            write_csv,
        ),
        Format("geojson", "labels.geojson", "GeoJSON for QuPath", _REGIONS, write_regions, _OF_REGIONS),
        Format(
            "geojson.gz",
            "labels.geojson.gz",
            "GeoJSON, compressed",
            f"{_REGIONS}; QuPath opens it as it is",
            write_regions,
            _OF_REGIONS,
        ),
        Format(
            "mask",
            "mask.tif",
            "Mask, pyramidal TIFF",
            "A number a pixel: 0 is no patch, then the classes as they are listed",
            write_mask,
            ("mpp", "downsample", "blocks"),
        ),
        Format(
            "tmap",
            "labels.tmap",
            "TissUUmaps project",
            "Shows the result without this plugin; unpack it beside the slide",
            write_project,
            (*_OF_REGIONS, "link"),
        ),
        Format("html", "report.html", "Report, HTML", _PAGE, write_html, _REPORT),
        Format("pdf", "report.pdf", "Report, PDF", _PAGE, write_pdf, _REPORT),
        Format(
            "h5ad",
            "labels.h5ad",
            "h5ad with the labels",
            "A copy of the file with sic_label, sic_score and sic_seed",
            write_labels,
        ),
    )
}


def export_slide(
    h5ad: Path,
    target: Path,
    *,
    format_: str,
    session: Path | None = None,
    options: ExportOptions | None = None,
) -> None:
    """Write the labels of one slide's session in one of `FORMATS`.

    Parameters
    ----------
    h5ad, target : Path
    format_ : str
        A key of `FORMATS`.
    session : Path, optional
        The one without a name, beside the h5ad, where none is given.
    options : ExportOptions, optional

    Raises
    ------
    ExportError, SessionError, SlideFileError, OSError
        When something cannot be read, replayed or written.
    """
    FORMATS[format_].write(open_labelled(h5ad, session), target, options)


def open_labelled(h5ad: Path, session: Path | None = None) -> Labelled:
    """Return the labels of a slide's session, replayed; parameters and errors are those of `export_slide`."""
    slide = open_slide_file(h5ad)
    return replay(slide, load_session(session or session_path(h5ad), slide))


def name_session(h5ad: Path, session: Path | None) -> str:
    """Return what a session is called by its file: "" for that without a name."""
    if session is None:
        return ""
    name = session.name.removesuffix(SUFFIX)
    return name.removeprefix(h5ad.stem).removeprefix(".") if name.startswith(h5ad.stem) else name
