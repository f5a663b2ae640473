"""The picture of a slide beside its h5ad: where it is looked for, and how it gets there."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import h5py

from tissuumaps_sic.slidefile.documents import parse_json
from tissuumaps_sic.slidefile.names import path_of

if TYPE_CHECKING:
    from tissuumaps_sic.slidefile.pixels.slide import Slide

# An address of another server, or of a file by its whole path.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/|[A-Za-z]:\\|\\\\|data:")
# Files of which a folder beside them, of the same name, holds the pixels.
_WITH_FOLDER = (".mrxs",)


def layers_of(h5ad: Path) -> list[dict[str, Any]]:
    """Return the image layers of the TissUUmaps project beside an h5ad, or else of the one in it.

    Those whose image lies in the h5ad's folder or below it are told, whether it is there or not; whoever may
    save a project must not make the server read what it does not serve.

    Parameters
    ----------
    h5ad : Path

    Returns
    -------
    list of dict
    """
    project = _project(h5ad)
    layers = project.get("layers")
    return [
        layer
        for layer in (layers if isinstance(layers, list) else ())
        if isinstance(layer, dict) and image_name(layer, h5ad.parent) is not None
    ]


def image_name(layer: dict[str, Any], folder: Path | None = None) -> str | None:
    """Return the path of a layer's image from its project's folder, with forward slashes; None if outside.

    Parameters
    ----------
    layer : dict
    folder : Path, optional
        The project's: images of older projects, whose addresses are plain paths, are known by what is there.

    Returns
    -------
    str or None
    """
    source = layer.get("tileSource")
    if not isinstance(source, str) or not source.endswith(".dzi") or source.startswith("/"):
        return None
    name = path_of(source.removesuffix(".dzi"), folder)
    path = PurePosixPath(name)
    # A colon or a backslash is a letter like others, but where they name drives and folders.
    foreign = os.name == "nt" and bool(set(name) & set(":\\"))
    if "\0" in name or foreign or _SCHEME.match(source):
        return None
    if "\\" in source and not (folder is not None and (folder / name).exists()):
        return None
    outside = path.is_absolute() or not path.parts or ".." in path.parts
    return None if outside else path.as_posix()


def find_image(h5ad: Path) -> Path | None:
    """Return a slide's image, by the project beside its h5ad or the one in it; None where it is not there.

    Parameters
    ----------
    h5ad : Path

    Returns
    -------
    Path or None
    """
    for layer in layers_of(h5ad):
        path = h5ad.parent / str(image_name(layer, h5ad.parent))
        if path.exists():
            return path
    return None


@dataclass(frozen=True)
class Placement:
    """How an image is reached from a folder that TissUUmaps serves; made by `plan_image`.

    Attributes
    ----------
    name : str or None
        The image's path from the folder, with forward slashes; None where it cannot be there.
    links : tuple of (Path, Path)
        What is linked for it, and where.
    """

    name: str | None
    links: tuple[tuple[Path, Path], ...] = ()

    def link(self) -> list[tuple[Path, Path]]:
        """Make the links; return those that could not be made.

        Returns
        -------
        list of (Path, Path)
        """
        return [pair for pair in self.links if not _link(*pair)]


def plan_image(image: Path, folder: Path) -> Placement:
    """Find how an image is reached from a folder that TissUUmaps serves; nothing stays there.

    TissUUmaps serves nothing outside of the folder, and copying gigabytes unasked is no answer: an image
    that lies elsewhere is linked into it, by a symbolic link or, where the system has none for its users, a
    hard one.

    Parameters
    ----------
    image : Path
    folder : Path

    Returns
    -------
    Placement
    """
    within = folder.resolve()
    # Where it is named, not where it leads: the image may be a link to where the scanner put it.
    named = image.parent.resolve() / image.name
    for each in (named, image.resolve()):
        if each.is_relative_to(within):
            return Placement(each.relative_to(within).as_posix())
    if image.suffix.lower() == ".dcm":
        # The slide is all files beside this one.
        source = image.resolve()
        name, links = f"{named.parent.name}/{source.name}", [(source.parent, within / named.parent.name)]
    else:
        parts = [named, named.with_suffix("")] if image.suffix.lower() in _WITH_FOLDER else [named]
        name, links = named.name, [(each.resolve(), within / each.name) for each in parts]
    return Placement(name, tuple(links)) if all(_can_link(*pair) for pair in links) else Placement(None)


def place_image(image: Path, folder: Path) -> str | None:
    """Make an image reachable from a folder as `plan_image` has it; return its path there, or None.

    Parameters
    ----------
    image : Path
    folder : Path

    Returns
    -------
    str or None
    """
    placement = plan_image(image, folder)
    return None if placement.link() else placement.name


def open_image(path: Path) -> Slide:
    """Open a slide's image as it was opened to be embedded: the same pixels lie at the same places.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Slide

    Raises
    ------
    SlideError
        When there is no such file, or no library reads it for certain.
    """
    from tissuumaps_sic.slidefile.pixels.slide import open_pixels
    from tissuumaps_sic.slidefile.pixels.source import SlideError

    if not path.exists():
        raise SlideError(f"{path}: no such file; name the slide's image with --image")
    try:
        return open_pixels(path)
    except SlideError as error:
        raise SlideError(f"{error}; or name another image of the slide with --image") from error


def _project(h5ad: Path) -> dict[str, Any]:
    """Return the project beside an h5ad, else the one in it; nothing where neither can be read."""
    try:
        project = parse_json(h5ad.with_suffix(".tmap").read_bytes())
    except (OSError, ValueError):
        try:
            with h5py.File(h5ad, "r", locking=False) as file:
                project = parse_json(file["uns/tmap"].asstr()[()])
        except (OSError, LookupError, RuntimeError, TypeError, ValueError, AttributeError):
            project = None
    return project if isinstance(project, dict) else {}


def _can_link(source: Path, target: Path) -> bool:
    try:
        if target.exists() and (target.samefile(source) or not target.is_symlink()):
            return target.samefile(source)  # else it is somebody else's file
    except OSError:
        return False
    trial = target.with_name(f".{secrets.token_hex(8)}.link")
    try:
        return _link(source, trial)
    finally:
        with suppress(OSError):
            trial.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> bool:
    """Link a file or folder; False where that cannot be done, or something else is there already."""
    try:
        if target.exists() and target.samefile(source):
            return True
        if target.exists() and not target.is_symlink():
            return False
        target.unlink(missing_ok=True)
        try:
            target.symlink_to(source, target_is_directory=source.is_dir())
        except OSError:
            target.hardlink_to(source)
    except OSError:
        return False
    return True
