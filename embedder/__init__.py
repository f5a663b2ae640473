"""The remote half: cut slides into patches, embed and colour them, and write one AnnData file a slide."""

from importlib.metadata import version

__version__ = version("tissuumaps-sic")
