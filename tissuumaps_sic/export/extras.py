"""What only some formats need, beyond what the base installs."""

from __future__ import annotations

from importlib.util import find_spec

from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.slidefile.extras import tell_install

# The library that each extra of pyproject.toml brings to exports.
_LIBRARIES = {"dicom": "highdicom", "parquet": "pyarrow", "spatialdata": "spatialdata"}


def is_installed(extra: str) -> bool:
    """Whether what an extra brings is there; "" is none, which always is.

    Parameters
    ----------
    extra : str

    Returns
    -------
    bool
    """
    return not extra or find_spec(_LIBRARIES[extra]) is not None


def require_extra(extra: str, what: str) -> None:
    """See that what an extra brings is there.

    Parameters
    ----------
    extra : str
        "" is none.
    what : str
        What it is needed for, for the message.

    Raises
    ------
    ExportError
        When it is not.
    """
    if not is_installed(extra):
        raise ExportError(f"{what} needs {_LIBRARIES[extra]}; run {tell_install(extra)}")
