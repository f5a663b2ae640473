"""TissUUmaps projects in files: read for the page, brought to its version, and saved."""

from __future__ import annotations

import errno
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tissuumaps_sic.slidefile.documents import parse_json
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.writing import replacing
from tissuumaps_sic.viewer.access import require_place
from tissuumaps_sic.viewer.cleaning import clean_project


class ProjectError(SicError):
    """A project cannot be saved; the message says why, `status` how the server answers it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def read_project(path: Path, root: Path, plugins: Collection[str]) -> tuple[dict[str, Any], str | None]:
    """Read a project for the page; nothing of it, and what is wrong, where it cannot be read.

    Parameters
    ----------
    path : Path
    root : Path
    plugins : collection of str

    Returns
    -------
    project : dict
        What `clean_project` leaves of it, in the version that the page reads.
    problem : str or None
    """
    try:
        project = parse_json(path.read_text(encoding="utf-8-sig"))
        if not isinstance(project, dict):
            return {}, f"{path.name}: is not a project of TissUUmaps (it is not an object)"
        return upgrade_project(clean_project(project, path.parent, root, plugins)), None
    except RecursionError:
        return {}, f"{path.name}: is not a project of TissUUmaps (it is nested too deeply)"
    except (OSError, ValueError) as error:
        return {}, f"{path.name}: is not a project of TissUUmaps ({error})"


def upgrade_project(project: dict[str, Any]) -> dict[str, Any]:
    """Return a project as the newest version has it, where it follows an older one to the letter.

    Parameters
    ----------
    project : dict of str to value

    Returns
    -------
    dict of str to value
    """
    from tissuumaps_schema import current
    from tissuumaps_schema.utils import MAJOR_SCHEMA_VERSION_MODULES, get_major_version, guess_schema_version

    try:
        module = MAJOR_SCHEMA_VERSION_MODULES[get_major_version(guess_schema_version(project))]
        model = current.Project.upgrade(module.Project.model_validate(project))
    except Exception:  # noqa: BLE001 -- what the page makes of others is up to it, as it is without a server
        return project
    found: dict[str, Any] = model.model_dump(mode="json", by_alias=True)
    return found


def save_project(target: Path, project: Any, root: Path, plugins: Collection[str]) -> dict[str, Any]:
    """Save a project that the page sends; return it as it was saved.

    Parameters
    ----------
    target : Path
    project : object
    root : Path
    plugins : collection of str

    Returns
    -------
    dict of str to value

    Raises
    ------
    ProjectError, AccessError
        When it is no project, its place is not one, or the disk does not take it; what was there is kept.
    """
    if not isinstance(project, dict) or not isinstance(project.get("layers", []), list):
        raise ProjectError(422, "what was sent is not a project of TissUUmaps; nothing was saved")
    if not (project.keys() & {"layers", "markerFiles", "schemaVersion", "filename"}):
        raise ProjectError(422, "what was sent is not a project of TissUUmaps; nothing was saved")
    try:
        require_place(target, root)
        saved = clean_project(project, target.parent, root, plugins)
        text = json.dumps(saved, indent=4, sort_keys=True)
        with replacing(target, follow_links=False) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except RecursionError as error:
        raise ProjectError(422, "the project is nested too deeply; nothing was saved") from error
    except OSError as error:
        reason = error.strerror or str(error)
        status = 507 if error.errno in (errno.ENOSPC, errno.EDQUOT) else 403
        raise ProjectError(
            status, f"{target.name}: could not be saved ({reason}); what was there is kept"
        ) from error
    return saved
