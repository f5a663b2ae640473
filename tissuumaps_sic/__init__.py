"""The local half: seeds to labels for a whole slide, and the TissUUmaps plugin that asks for them."""

from importlib.metadata import version

__version__ = version("tissuumaps-sic")
