"""Labels in many formats: a file for each, and the table of them."""

from tissuumaps_sic.export.annotations import find_regions, regions_in, write_regions
from tissuumaps_sic.export.contact_sheet import write_sheet
from tissuumaps_sic.export.csv_rows import write_csv
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
    "export_slide",
    "find_regions",
    "folder_table",
    "name_session",
    "open_labelled",
    "read_folder",
    "regions_in",
    "write_csv",
    "write_html",
    "write_labels",
    "write_mask",
    "write_patches",
    "write_pdf",
    "write_project",
    "write_regions",
    "write_sheet",
    "write_table",
]
