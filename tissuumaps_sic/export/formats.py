"""The formats that labels are exported in: a row each, which the command line and the panel go by."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tissuumaps_sic.annotation.store import SUFFIX, load_session, session_path
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.extras import is_installed, require_extra
from tissuumaps_sic.slidefile.placing import find_image

if TYPE_CHECKING:
    from tissuumaps_sic.annotation.runs import Labelled


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
        The slide's image, where it is not beside the h5ad (`report.make_report`, `dicom.write_dicom`).
    session_name : str
        What the report calls the session.
    link : bool, default=True
        Whether the image is linked into a project's folder (`project.write_project`).
    codes : Path, optional
        What DICOM calls the classes (`dicom_codes.read_codes`).
    embeddings : bool, default=False
        Whether a store has the embeddings, too (`spatialdata.write_spatialdata`).
    replace : bool, default=False
        Whether a store, or elements in one, are replaced that were not exported from here.
    """

    simplify: float = 0.0
    blocks: bool = False
    mpp: float | None = None
    downsample: float | None = None
    image: Path | None = None
    session_name: str = ""
    link: bool = True
    codes: Path | None = None
    embeddings: bool = False
    replace: bool = False


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
    writer : str
        Module of this folder and function, which takes the labels, the file, and `options` by keyword. It is
        loaded when it is used: what all formats need together takes seconds to load.
    options : tuple of str
        Attributes of `ExportOptions` that it takes.
    extra : str, default=""
        The extra of this package that installs what it needs.
    is_folder : bool, default=False
        Whether what it writes is a folder.
    in_panel : bool, default=True
        Whether it can be a download; else it is for the command line alone.
    """

    name: str
    ending: str
    title: str
    use: str
    writer: str
    options: tuple[str, ...] = ()
    extra: str = ""
    is_folder: bool = False
    in_panel: bool = True

    @property
    def suffix(self) -> str:
        """What tells the format of a file that a person has named: the ending without its first word.

        "" where none does.
        """
        return self.ending.partition(".")[2]

    @property
    def module(self) -> str:
        """The module of its writer."""
        return f"tissuumaps_sic.export.{self.writer.partition('.')[0]}"

    @property
    def is_offered(self) -> bool:
        """Whether the panel offers it: it can be a download, and what it needs is installed."""
        return self.in_panel and is_installed(self.extra)

    def list_inputs(self, h5ad: Path) -> list[Path]:
        """Return what a file depends on beside the labels: the slide's image, where it shows that.

        Parameters
        ----------
        h5ad : Path

        Returns
        -------
        list of Path
        """
        if "image" not in self.options:
            return []
        image = find_image(h5ad)
        return [h5ad.with_suffix(".tmap"), *([] if image is None else [image])]

    def place_output(self, output: Path | None, stem: str, *, one: bool) -> Path:
        """Return where the labels of a slide go.

        Parameters
        ----------
        output : Path or None
            What a person named: a file, or of several slides a folder; None is the present folder.
        stem : str
            The slide's name.
        one : bool
            Whether it is of one slide.

        Returns
        -------
        Path
        """
        file = Path(f"{stem}.{self.ending}")
        if output is None:
            return file
        # A store is a folder that is there already, and is itself meant.
        is_itself = not output.is_dir() or (self.is_folder and output.suffix == file.suffix)
        return output if one and is_itself else output / file

    def write(self, labelled: Labelled, target: Path, options: ExportOptions | None = None) -> None:
        """Write labels.

        Parameters
        ----------
        labelled : Labelled
        target : Path
        options : ExportOptions, optional

        Raises
        ------
        ExportError, SlideFileError, OSError
            When the format cannot hold them, what it needs is not installed, or the file cannot be written.
        """
        require_extra(self.extra, f"--format {self.name}")
        given = options or ExportOptions()
        chosen: dict[str, Any] = {name: getattr(given, name) for name in self.options}
        getattr(import_module(self.module), self.writer.partition(".")[2])(labelled, target, **chosen)


_OF_REGIONS = ("simplify", "blocks")
_OF_STORES = (*_OF_REGIONS, "embeddings", "replace")
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
            "csv_rows.write_csv",
        ),
        Format(
            "parquet",
            "labels.parquet",
            "Parquet, a row a patch",
            "The same as the CSV, with types",
            "parquet.write_parquet",
            extra="parquet",
        ),
        Format(
            "geojson",
            "labels.geojson",
            "GeoJSON for QuPath",
            _REGIONS,
            "annotations.write_regions",
            _OF_REGIONS,
        ),
        Format(
            "geojson.gz",
            "labels.geojson.gz",
            "GeoJSON, compressed",
            f"{_REGIONS}; QuPath opens it as it is",
            "annotations.write_regions",
            _OF_REGIONS,
        ),
        Format(
            "geoparquet",
            "labels.geoparquet",
            "GeoParquet",
            f"{_REGIONS}; geopandas, QGIS and GDAL open it",
            "parquet.write_geoparquet",
            _OF_REGIONS,
            extra="parquet",
        ),
        Format(
            "asap",
            "labels.asap.xml",
            "ASAP, XML",
            f"{_REGIONS}; those with holes are cut into pieces without",
            "asap.write_asap",
            _OF_REGIONS,
        ),
        Format(
            "dsa",
            "labels.dsa.json",
            "Digital Slide Archive, JSON",
            f"{_REGIONS} of HistomicsUI",
            "digital_slide_archive.write_dsa",
            _OF_REGIONS,
        ),
        Format(
            "dicom",
            "labels.dcm",
            "DICOM annotations",
            "Regions and scored patches as Microscopy Bulk Simple Annotations",
            "dicom.write_dicom",
            (*_OF_REGIONS, "image", "codes"),
            extra="dicom",
        ),
        Format(
            "mask",
            "mask.tif",
            "Mask, pyramidal TIFF",
            "A number for each pixel: 0 where there is no patch, then the classes in their order",
            "mask.write_mask",
            ("mpp", "downsample", "blocks"),
        ),
        Format(
            "spatialdata",
            "labels.zarr",
            "SpatialData store",
            "Regions and patches as shapes, scores as a table; a folder, zipped",
            "spatialdata.write_spatialdata",
            _OF_STORES,
            extra="spatialdata",
            is_folder=True,
        ),
        Format(
            "lazyslide",
            "zarr",
            "Into LazySlide's store",
            "Regions and labels of its tiles, beside what is in the slide's store",
            "lazyslide.write_lazyslide",
            _OF_STORES,
            extra="spatialdata",
            is_folder=True,
            in_panel=False,
        ),
        Format(
            "tmap",
            "labels.tmap",
            "TissUUmaps project",
            "Shows the result without this plugin; unpack it beside the slide",
            "project.write_project",
            (*_OF_REGIONS, "link"),
        ),
        Format("html", "report.html", "Report, HTML", _PAGE, "report_html.write_html", _REPORT),
        Format("pdf", "report.pdf", "Report, PDF", _PAGE, "report_pdf.write_pdf", _REPORT),
        Format(
            "h5ad",
            "labels.h5ad",
            "h5ad with the labels",
            "A copy of the file with sic_label, sic_score and sic_seed",
            "h5ad.write_labels",
        ),
    )
}


def export_slide(
    h5ad: Path | str,
    target: Path | str,
    *,
    format_: str,
    session: Path | str | None = None,
    options: ExportOptions | None = None,
) -> None:
    """Write the labels of one slide's session in one of `FORMATS`.

    Parameters
    ----------
    h5ad : Path
        The embedded slide.
    target : Path
        The file to write, or the folder where the format is one.
    format_ : str
        A key of `FORMATS`.
    session : Path, optional
        The session's file; by default that without a name, beside the h5ad.
    options : ExportOptions, optional
        Those that the format does not know are passed over (`Format.options`).

    Raises
    ------
    ExportError
        When there is no such format, it cannot hold the labels, or what it needs is not installed.
    SessionError, SlideFileError, OSError
        When something cannot be read, replayed or written.
    """
    if format_ not in FORMATS:
        raise ExportError(f"{format_!r} is not a format of exports; give one of {', '.join(FORMATS)}")
    h5ad, target = Path(h5ad), Path(target)
    session = None if session is None else Path(session)
    FORMATS[format_].write(open_labelled(h5ad, session), target, options)


def open_labelled(h5ad: Path, session: Path | None = None) -> Labelled:
    """Return the labels of a slide's session, with scores from running it again on the same seeds.

    Parameters
    ----------
    h5ad : Path
    session : Path, optional
        The session's file; by default that without a name, beside the h5ad.

    Returns
    -------
    Labelled

    Raises
    ------
    SessionError, SlideFileError
        When something cannot be read or replayed (`runs.replay`).
    """
    from tissuumaps_sic.annotation.runs import replay
    from tissuumaps_sic.slides.slide import open_slide_file

    slide = open_slide_file(h5ad)
    return replay(slide, load_session(session or session_path(h5ad), slide))


def name_session(h5ad: Path, session: Path | None) -> str:
    """Return what a session is called by its file: "" for that without a name.

    Parameters
    ----------
    h5ad : Path
    session : Path or None

    Returns
    -------
    str
    """
    if session is None:
        return ""
    name = session.name.removesuffix(SUFFIX)
    return name.removeprefix(h5ad.stem).removeprefix(".") if name.startswith(h5ad.stem) else name
