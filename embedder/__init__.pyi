# What type checkers read in place of `__init__.py`, which imports these when they are asked for.
from embedder.embedding.options import EmbedOptions as EmbedOptions
from embedder.embedding.pipeline import embed_slides as embed_slides
from embedder.encoders.own import OwnEncoder as OwnEncoder
from embedder.files.combine import add_embedding as add_embedding
from embedder.files.convert import convert as convert
from embedder.files.share import share as share
from embedder.patches.grid import PatchGrid as PatchGrid
from embedder.pretraining.options import PretrainOptions as PretrainOptions
from embedder.pretraining.pipeline import pretrain as pretrain
from tissuumaps_sic.slidefile.contract import check as check
from tissuumaps_sic.slidefile.errors import SicError as SicError

__version__: str
