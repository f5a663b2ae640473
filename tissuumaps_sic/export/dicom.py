"""Labels as DICOM's Microscopy Bulk Simple Annotations: regions, and patches with their scores."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from tissuumaps_sic import __version__
from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.colors import rgb_of
from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.export.annotations import find_regions
from tissuumaps_sic.export.dicom_codes import ClassCodes, DicomCode, codes_of, plain, read_codes
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.pieces import pieces_of
from tissuumaps_sic.slidefile.placing import find_image
from tissuumaps_sic.slidefile.provenance import read_provenance
from tissuumaps_sic.slidefile.writing import replacing
from tissuumaps_sic.slides.regions import Region, slide_size_of
from tissuumaps_sic.slides.slide import EmbeddedSlide

log = logging.getLogger(__name__)

_MAKER = "tissuumaps-sic"
# VL Whole Slide Microscopy Image Storage.
_SLIDE_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.6"
# What an annotation must say of the patient and the study, empty where the image does not.
_OF_STUDY = (
    "AccessionNumber",
    "PatientBirthDate",
    "PatientID",
    "PatientName",
    "PatientSex",
    "ReferringPhysicianName",
    "StudyDate",
    "StudyID",
    "StudyTime",
)
# Half the size, and exact to a hundredth of a pixel.
_PLACE = np.float32
_FEWEST_CORNERS = 3
_SCORE = DicomCode("99SIC", "SCORE", "Score of the patch's own class, 0 to 1")


def write_dicom(
    labelled: Labelled,
    target: Path,
    *,
    simplify: float = 0.0,
    blocks: bool = False,
    image: Path | None = None,
    codes: Path | None = None,
) -> None:
    """Write two groups for each class: its region as polygons, and the centres of its patches with scores.

    DICOM's polygons have no holes: one that has some is cut into pieces that have none (`pieces_of`).
    Coordinates are pixels of the whole slide's total pixel matrix. Where the slide is DICOM, the file refers
    to its finest level and is of its patient and study. Where it is not, it refers to an image by
    identifiers that are made of the slide's hash, the same in every export.

    Parameters
    ----------
    labelled, target, simplify, blocks
        As for `write_regions`.
    image : Path, optional
        A DICOM file of the slide, or their folder, where none is beside the h5ad.
    codes : Path, optional
        A table of codes for classes (`read_codes`).

    Raises
    ------
    ExportError, SlideFileError, OSError
        When the patches do not lie on a grid, an image that was named is not the slide's, or a file cannot be
        read or written.
    """
    import highdicom
    from pydicom.sr.codedict import codes as known_codes

    regions, classes = find_regions(labelled, simplify=simplify, blocks=blocks)
    known = read_codes(codes)
    source = _open_source(labelled.slide, image)
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=f"{_MAKER} {labelled.run.method}",
        family=known_codes.cid7162.ClusterAnalysis,
        version=labelled.run.version,
    )
    groups: list[Any] = []
    for region in regions:
        each = classes[region.label]
        outlines = _outlines(region)
        if outlines:
            groups.append(_group(len(groups) + 1, each, known, algorithm, "POLYGON", outlines))
    for label, each in enumerate(labelled.classes):
        rows = np.flatnonzero(labelled.labels == label)
        if len(rows):
            scores = highdicom.ann.Measurements(
                name=_code(_SCORE), values=labelled.scores[rows], unit=known_codes.UCUM.NoUnits
            )
            points = list(labelled.slide.centres[rows][:, None].astype(_PLACE))
            groups.append(_group(len(groups) + 1, each, known, algorithm, "POINT", points, scores))
    made = highdicom.ann.MicroscopyBulkSimpleAnnotations(
        source_images=[source],
        annotation_coordinate_type="2D",
        annotation_groups=groups,
        series_instance_uid=highdicom.UID(),
        series_number=1,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer=_MAKER,
        manufacturer_model_name=_MAKER,
        software_versions=__version__,
        device_serial_number=__version__,
        content_label="SIC_LABELS",
        content_description=plain(f"Labels of {labelled.slide.name}"),
        # Class names are of any script.
        specific_character_set="ISO_IR 192",
    )
    with replacing(target) as temporary:
        made.save_as(temporary)


def _outlines(region: Region) -> list[npt.NDArray[np.float32]]:
    """Return the polygons that a region is cut into, (n, 2) each, but for slivers that rounding closes."""
    outlines = []
    for piece in pieces_of(region):
        points = shapely.get_coordinates(piece.exterior).astype(_PLACE)
        # The last one is the first again.
        points = points[:-1][(points[:-1] != points[1:]).any(axis=1)]
        if len(points) >= _FEWEST_CORNERS:
            outlines.append(points)
    return outlines


def _group(
    number: int,
    seed_class: SeedClass,
    known: dict[str, ClassCodes],
    algorithm: Any,
    kind: str,
    shapes: list[npt.NDArray[np.float32]],
    *measurements: Any,
) -> Any:
    """Return a group of annotations; `shapes` are (n, 2) of (x, y) each."""
    import highdicom

    codes = codes_of(seed_class.name, known)
    label = plain(seed_class.name)
    return highdicom.ann.AnnotationGroup(
        number=number,
        uid=highdicom.UID(),
        label=label if kind == "POLYGON" else plain(f"{label[:55]}, patches"),
        annotated_property_category=_code(codes.category),
        annotated_property_type=_code(codes.type),
        graphic_type=kind,
        graphic_data=shapes,
        algorithm_type="SEMIAUTOMATIC",
        algorithm_identification=algorithm,
        measurements=measurements or None,
        display_color=highdicom.color.CIELabColor.from_rgb(*rgb_of(seed_class.color)),
    )


def _code(code: DicomCode) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)


def _open_source(slide: EmbeddedSlide, image: Path | None) -> Any:
    """Return the header of the slide's finest level, or one that stands in for it."""
    found = image or find_image(slide.path)
    if found is not None and (found.is_dir() or found.suffix.lower() == ".dcm"):
        return _finest_level(slide, found)
    if image is not None:
        raise ExportError(
            f"{image}: is not a DICOM file; name a DICOM file of the slide, or leave --image out"
        )
    log.warning(
        "%s: the slide is not a DICOM file, so the annotations refer to an image by identifiers made of "
        "its hash; if there are DICOM files of it, name one with --image",
        slide.path.name,
    )
    return _made_up(slide)


def _finest_level(slide: EmbeddedSlide, path: Path) -> Any:
    """Return the header of the file that has the slide's level 0: of the series of a file, or in a folder."""
    levels = _read_levels(path if path.is_dir() else path.parent)
    if path in levels:
        levels = {each: one for each, one in levels.items() if _is_beside(one, levels[path])}
    size = slide_size_of(slide)
    fitting = [header for header in levels.values() if size in (None, _size_of(header))]
    if not fitting:
        told = ", ".join("{} x {}".format(*_size_of(each)) for each in levels.values()) or "none"
        asked = (
            ""
            if size is None
            else f" of {size[0]} x {size[1]} pixels, the size of the slide of {slide.path.name},"
        )
        raise ExportError(
            f"{path}: has no level{asked} but {told}; name a DICOM file of that slide with --image"
        )
    if not all(_is_beside(each, fitting[0]) for each in fitting):
        raise ExportError(
            f"{path}: holds several slides of that size; name a file of the right one with --image"
        )
    source = max(fitting, key=_size_of)
    return _fill_in(source, str(source.SOPInstanceUID))


def _read_levels(folder: Path) -> dict[Path, Any]:
    """Return the headers of the DICOM files in a folder that are levels of a slide."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    levels = {}
    for path in sorted(each for each in folder.iterdir() if each.suffix.lower() == ".dcm" and each.is_file()):
        try:
            header = dcmread(path, stop_before_pixels=True)
        except InvalidDicomError:
            log.warning("%s: is not a DICOM file; left out", path)
            continue
        if str(header.get("SOPClassUID")) == _SLIDE_CLASS and "VOLUME" in header.get("ImageType", ()):
            levels[path] = header
    return levels


def _is_beside(header: Any, other: Any) -> bool:
    return bool(header.get("SeriesInstanceUID") == other.get("SeriesInstanceUID"))


def _size_of(header: Any) -> tuple[int, int]:
    return int(header.get("TotalPixelMatrixColumns", 0)), int(header.get("TotalPixelMatrixRows", 0))


def _made_up(slide: EmbeddedSlide) -> Any:
    """Return a header for a slide that has none: each identifier is made of its hash, or else its name."""
    from pydicom.dataset import Dataset

    known = read_provenance(slide.path).slide
    source = Dataset()
    source.SOPClassUID = _SLIDE_CLASS
    source.Modality = "SM"
    return _fill_in(source, known.hash or known.name or slide.name)


def _fill_in(source: Any, key: str) -> Any:
    """Return a header with what an annotation takes of it, where that is missing."""
    for name in _OF_STUDY:
        if name not in source:
            setattr(source, name, None)
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        if name not in source:
            setattr(source, name, f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{_MAKER} {name} {key}').int}")
    return source
