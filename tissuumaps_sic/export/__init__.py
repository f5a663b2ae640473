"""Labels out of a session, in many formats: a file for each, and the table of them."""

from tissuumaps_sic.export.annotations import regions_in, write_regions
from tissuumaps_sic.export.csv_rows import write_csv
from tissuumaps_sic.export.formats import (
    FORMATS,
    ExportOptions,
    Format,
    export_slide,
    labelled_slide,
    session_name_of,
)
from tissuumaps_sic.export.h5ad import write_labels
from tissuumaps_sic.export.labels import ExportError, columns_of, distinct, in_order, replay
from tissuumaps_sic.export.mask import write_mask
from tissuumaps_sic.export.patch_images import write_patches
from tissuumaps_sic.export.project import write_project
from tissuumaps_sic.export.report_html import write_html
from tissuumaps_sic.export.report_pdf import write_pdf

__all__ = [
    "FORMATS",
    "ExportError",
    "ExportOptions",
    "Format",
    "columns_of",
    "distinct",
    "export_slide",
    "in_order",
    "labelled_slide",
    "regions_in",
    "replay",
    "session_name_of",
    "write_csv",
    "write_html",
    "write_labels",
    "write_mask",
    "write_patches",
    "write_pdf",
    "write_project",
    "write_regions",
]
