# What type checkers read in place of `__init__.py`, which imports these when they are asked for.
from tissuumaps_sic.annotation.next_patches import suggest_next as suggest_next
from tissuumaps_sic.annotation.receiving import receive_sessions as receive_sessions
from tissuumaps_sic.annotation.runs import label as label
from tissuumaps_sic.annotation.seeds import read_seeds as read_seeds
from tissuumaps_sic.annotation.session import Session as Session
from tissuumaps_sic.annotation.store import load_session as load_session
from tissuumaps_sic.evaluation.evaluate import evaluate as evaluate
from tissuumaps_sic.export.bundle import unpack_bundle as unpack_bundle
from tissuumaps_sic.export.bundle import write_bundle as write_bundle
from tissuumaps_sic.export.folder import folder_table as folder_table
from tissuumaps_sic.export.formats import ExportOptions as ExportOptions
from tissuumaps_sic.export.formats import export_slide as export_slide
from tissuumaps_sic.export.geojson import write_geojson as write_geojson
from tissuumaps_sic.labelling.clustering import SeededIterativeClustering as SeededIterativeClustering
from tissuumaps_sic.slidefile.contract import check as check
from tissuumaps_sic.slidefile.errors import SicError as SicError
from tissuumaps_sic.slides.cells import sharpen_slide as sharpen_slide
from tissuumaps_sic.slides.outlines import regions_of_cells as regions_of_cells
from tissuumaps_sic.slides.regions import scale_of as scale_of
from tissuumaps_sic.slides.slide import EmbeddedSlide as EmbeddedSlide
from tissuumaps_sic.slides.slide import open_slide_file as open_slide_file
from tissuumaps_sic.truth.classes import TruthClasses as TruthClasses
from tissuumaps_sic.verification.check import begin_check as begin_check
from tissuumaps_sic.verification.check import list_questions as list_questions
from tissuumaps_sic.verification.check import verify as verify

__version__: str
