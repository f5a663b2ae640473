"""Labels in many formats: a file for each, and the table of them."""

from tissuumaps_sic.export.annotations import find_regions, regions_in, write_regions
from tissuumaps_sic.export.asap import write_asap
from tissuumaps_sic.export.contact_sheet import write_sheet
from tissuumaps_sic.export.csv_rows import write_csv
from tissuumaps_sic.export.dicom import write_dicom
from tissuumaps_sic.export.digital_slide_archive import write_dsa
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.folder import folder_table, read_folder, write_table
from tissuumaps_sic.export.formats import (
    FORMATS,
    ExportOptions,
    Format,
    export_slide,
    name_session,
    open_labelled,
)
from tissuumaps_sic.export.h5ad import write_labels
from tissuumaps_sic.export.lazyslide import write_lazyslide
from tissuumaps_sic.export.mask import write_mask
from tissuumaps_sic.export.parquet import write_geoparquet, write_parquet
from tissuumaps_sic.export.patch_images import write_patches
from tissuumaps_sic.export.project import write_project
from tissuumaps_sic.export.report_html import write_html
from tissuumaps_sic.export.report_pdf import write_pdf
from tissuumaps_sic.export.spatialdata import write_spatialdata
from tissuumaps_sic.export.training import TrainingSet, add_slide, finish_set, open_set

__all__ = [
    "FORMATS",
    "ExportError",
    "ExportOptions",
    "Format",
    "TrainingSet",
    "add_slide",
    "export_slide",
    "find_regions",
    "finish_set",
    "folder_table",
    "name_session",
    "open_labelled",
    "open_set",
    "read_folder",
    "regions_in",
    "write_asap",
    "write_csv",
    "write_dicom",
    "write_dsa",
    "write_geoparquet",
    "write_html",
    "write_labels",
    "write_lazyslide",
    "write_mask",
    "write_parquet",
    "write_patches",
    "write_pdf",
    "write_project",
    "write_regions",
    "write_sheet",
    "write_spatialdata",
    "write_table",
]
