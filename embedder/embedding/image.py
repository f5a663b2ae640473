"""How TissUUmaps gets at the image of a slide that is embedded."""

from __future__ import annotations

import logging
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

# A slide whose format keeps its pixels in a folder of the same name beside the file.
_WITH_FOLDER = (".mrxs",)


@dataclass(frozen=True)
class Image:
    """How TissUUmaps gets at a slide; made by `plan_image`.

    Attributes
    ----------
    name : str or None
        The slide's path from the served folder, with forward slashes; None where it cannot be there.
    links : tuple of (Path, Path)
        What is linked for it, and where.
    """

    name: str | None
    links: tuple[tuple[Path, Path], ...] = ()

    def place(self) -> None:
        """Make the links."""
        for source, target in self.links:
            if not _link(source, target):
                log.warning("%s: could not be linked to %s", target.name, source)


def plan_image(slide: Path, folder: Path) -> Image:
    """Find how a slide is reached from the served folder; nothing stays there before `Image.place`.

    TissUUmaps serves nothing outside of the folder, and copying gigabytes unasked is no answer: a slide
    from elsewhere is linked, by a symbolic link or, where the system has none for its users, a hard one.
    """
    folder = folder.resolve()
    if slide.resolve().is_relative_to(folder):
        return Image(slide.resolve().relative_to(folder).as_posix())
    if slide.is_dir():
        log.info(
            "%s: TissUUmaps shows no OME-Zarr, so the viewer has its patches without the image", slide.name
        )
        return Image(None)
    if slide.suffix.lower() == ".dcm":
        # The slide is all files beside this one.
        name, sources = f"{slide.parent.name}/{slide.name}", [slide.resolve().parent]
        links = tuple((source, folder / slide.parent.name) for source in sources)
    else:
        name, sources = slide.name, [slide]
        if slide.suffix.lower() in _WITH_FOLDER:
            sources.append(slide.with_suffix(""))
        links = tuple((source.resolve(), folder / source.name) for source in sources)
    if all(_can_link(source, target) for source, target in links):
        return Image(name, links)
    log.warning(
        "%s: could not be linked into %s, so the viewer shows its patches without the image; "
        "copy the slide there and embed it from there",
        slide,
        folder,
    )
    return Image(None)


def place_image(slide: Path, folder: Path) -> str | None:
    """Make the slide reachable from the served folder; return its name there, or None. See `plan_image`."""
    image = plan_image(slide, folder)
    image.place()
    return image.name


def _can_link(source: Path, target: Path) -> bool:
    if target.exists() and (target.samefile(source) or not target.is_symlink()):
        return target.samefile(source)  # else it is somebody else's file
    trial = target.with_name(f".{secrets.token_hex(8)}.link")
    try:
        return _link(source, trial)
    finally:
        with suppress(OSError):
            trial.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> bool:
    if target.exists() and target.samefile(source):
        return True
    if target.exists() and not target.is_symlink():
        return False  # somebody else's file
    try:
        target.unlink(missing_ok=True)
        try:
            target.symlink_to(source, target_is_directory=source.is_dir())
        except OSError:
            target.hardlink_to(source)
    except OSError:
        return False
    return True
