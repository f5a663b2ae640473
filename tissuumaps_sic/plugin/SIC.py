"""TissUUmaps loads this file by its name, anew at every request; everything else is in the package."""

from tissuumaps_sic.plugin import Plugin

__all__ = ["Plugin"]
