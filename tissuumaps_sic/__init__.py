"""The local half: seeds to labels for a whole slide, and the TissUUmaps plugin that asks for them.

Examples
--------
>>> import numpy as np
>>> from tissuumaps_sic import SeededIterativeClustering
>>> X = np.repeat([[1.0, 0.0], [0.0, 1.0]], 3, axis=0)
>>> y = np.array([0, -1, -1, 1, -1, -1])
>>> SeededIterativeClustering().fit(X, y).labels_
array([0, 0, 0, 1, 1, 1])
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("tissuumaps-sic")

# Where each name lies: it is imported when it is first asked for, so that nothing heavy is for the others.
_HOMES = {
    "EmbeddedSlide": "tissuumaps_sic.slides.slide",
    "ExportOptions": "tissuumaps_sic.export.formats",
    "SeededIterativeClustering": "tissuumaps_sic.labelling.clustering",
    "Session": "tissuumaps_sic.annotation.session",
    "SicError": "tissuumaps_sic.slidefile.errors",
    "TruthClasses": "tissuumaps_sic.truth.classes",
    "begin_check": "tissuumaps_sic.verification.check",
    "check": "tissuumaps_sic.slidefile.contract",
    "evaluate": "tissuumaps_sic.evaluation.evaluate",
    "export_slide": "tissuumaps_sic.export.formats",
    "folder_table": "tissuumaps_sic.export.folder",
    "label": "tissuumaps_sic.annotation.runs",
    "list_questions": "tissuumaps_sic.verification.check",
    "load_session": "tissuumaps_sic.annotation.store",
    "open_slide_file": "tissuumaps_sic.slides.slide",
    "read_seeds": "tissuumaps_sic.annotation.seeds",
    "receive_sessions": "tissuumaps_sic.annotation.receiving",
    "regions_of_cells": "tissuumaps_sic.slides.outlines",
    "scale_of": "tissuumaps_sic.slides.regions",
    "sharpen_slide": "tissuumaps_sic.slides.cells",
    "suggest_next": "tissuumaps_sic.annotation.next_patches",
    "unpack_bundle": "tissuumaps_sic.export.bundle",
    "verify": "tissuumaps_sic.verification.check",
    "write_bundle": "tissuumaps_sic.export.bundle",
    "write_geojson": "tissuumaps_sic.export.geojson",
}
__all__ = [
    "EmbeddedSlide",
    "ExportOptions",
    "SeededIterativeClustering",
    "Session",
    "SicError",
    "TruthClasses",
    "begin_check",
    "check",
    "evaluate",
    "export_slide",
    "folder_table",
    "label",
    "list_questions",
    "load_session",
    "open_slide_file",
    "read_seeds",
    "receive_sessions",
    "regions_of_cells",
    "scale_of",
    "sharpen_slide",
    "suggest_next",
    "unpack_bundle",
    "verify",
    "write_bundle",
    "write_geojson",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
