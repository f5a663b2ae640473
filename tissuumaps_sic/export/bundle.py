"""A slide for a reader elsewhere: one zip of its h5ad, a smaller picture, and its classes.

It holds ``manifest.json``, ``<slide>.h5ad`` as it is, ``<slide>.tif`` (`export.reduced_image`),
``<slide>.tmap``, ``classes.json``, and a session only where one was asked for: a second reader is to see
nothing of what the first one said, and begins with the classes alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Literal
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tissuumaps_sic import __version__
from tissuumaps_sic.annotation.scheme import FILE as CLASSES
from tissuumaps_sic.annotation.scheme import find_scheme, read_scheme, write_scheme
from tissuumaps_sic.annotation.store import SUFFIX, load_session, session_path
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.reduced_image import reduced_size, write_reduced
from tissuumaps_sic.labelling.progress import Progress, Stretch
from tissuumaps_sic.slidefile.h5ad import SlideFileError, open_h5ad
from tissuumaps_sic.slidefile.names import refusal
from tissuumaps_sic.slidefile.pixels.slide import Slide
from tissuumaps_sic.slidefile.project import tmap_project, write_tmap
from tissuumaps_sic.slidefile.writing import replacing
from tissuumaps_sic.slidefile.zips import ZIP_ERRORS
from tissuumaps_sic.slides.image import open_own_image
from tissuumaps_sic.slides.regions import scale_of, slide_size_of
from tissuumaps_sic.slides.slide import EmbeddedSlide, open_slide_file

SCHEMA: Literal["tissuumaps-sic/bundle/1"] = "tissuumaps-sic/bundle/1"
ENDING = ".bundle.zip"
DEFAULT_MPP = 1.0
_MANIFEST = "manifest.json"
_MOST_MANIFEST, _MOST_FILES = 2**20, 16
# By so much may a file grow when it is unpacked: an h5ad of zeros does by more, and is no slide.
_MOST_GROWN, _SMALL = 50, 2**24
_BLOCK = 2**20
# No time of this machine is in it, and the same files give the same bundle.
_TIME = (1980, 1, 1, 0, 0, 0)


class BundleError(ExportError):
    """A bundle cannot be made, or is none; the message says why, and what to do."""


class BundledFile(BaseModel):
    """What a bundle says of one of its files.

    Attributes
    ----------
    bytes : int
        How large it is.
    sha256 : str
        Its digest, 64 hexadecimal digits.
    """

    model_config = ConfigDict(frozen=True)

    bytes: int = Field(ge=0)
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """What a bundle says of itself.

    Attributes
    ----------
    schema_ : str
        "tissuumaps-sic/bundle/1"; ``schema`` in the file.
    software : str
        The program and its version.
    slide : str
        The slide's name.
    fingerprint : str
        Of its patches, `EmbeddedSlide.fingerprint`: by it a session that comes home is known to be of it.
    slide_size : (width, height), optional
        Level-0 pixels.
    image_mpp : float, optional
        µm per pixel of the picture; None where there is no picture.
    files : mapping of str to BundledFile
        By name.
    """

    model_config = ConfigDict(frozen=True)

    schema_: Literal["tissuumaps-sic/bundle/1"] = Field(default=SCHEMA, alias="schema")
    software: str = ""
    slide: str
    fingerprint: str
    slide_size: tuple[int, int] | None = None
    image_mpp: float | None = None
    files: Mapping[str, BundledFile] = Field(max_length=_MOST_FILES)


@dataclass(frozen=True)
class Unpacked:
    """What came of a bundle.

    Attributes
    ----------
    folder : Path
    slide : str
        The slide's name.
    kept : tuple of str
        Names of files that were there and are as they were, although the bundle has others.
    """

    folder: Path
    slide: str
    kept: tuple[str, ...] = ()


def write_bundle(
    h5ad: Path | str,
    target: Path | str,
    *,
    mpp: float = DEFAULT_MPP,
    image: Path | str | None = None,
    with_image: bool = True,
    session: str | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Write a slide as one file for a reader elsewhere.

    Parameters
    ----------
    h5ad : Path
    target : Path
        The zip to write.
    mpp : float, default=1.0
        µm per pixel of the picture; that of the slide where this is finer.
    image : Path, optional
        The slide's image; by default that of the project beside the h5ad.
    with_image : bool, default=True
        Whether the bundle has a picture of the slide.
    session : str, optional
        Name of the session that goes along, "" the shared one; by default none does, so that the reader is
        not led by another's seeds and labels.
    progress : callable, optional
        As in `SeededIterativeClustering.fit`.

    Returns
    -------
    Manifest
        What the bundle says of itself: its files, and µm per pixel of the picture.

    Raises
    ------
    BundleError, SessionError, SlideError, SlideFileError, OSError
        When something cannot be read or written, there is no image, or it is of another slide.
    """
    h5ad, target = Path(h5ad), Path(target)
    image = None if image is None else Path(image)
    slide = open_slide_file(h5ad)
    stretch = Stretch.whole(progress)
    # Beside the target, which has the room.
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=target.absolute().parent) as made:
        folder = Path(made)
        files = {f"{slide.name}.h5ad": h5ad}
        size, image_mpp, name = slide_size_of(slide), None, None
        if with_image:
            with _open_picture(slide, image) as picture:
                size = picture.size
                name = f"{slide.name}.tif"
                files[name] = folder / "image.tif"
                image_mpp = _write_picture(slide, picture, files[name], mpp, stretch.part(0.0, 0.8, "Image"))
        files |= _write_project(slide, folder, name, size)
        files |= _find_classes(slide, folder)
        if session is not None:
            path = session_path(h5ad, session)
            load_session(path, slide)
            files[path.name] = path
        return _pack(
            slide, files, target, size=size, image_mpp=image_mpp, stretch=stretch.part(0.8, 1.0, "Packing")
        )


def holds_labels(h5ad: Path) -> bool:
    """Return whether labels were written into an h5ad itself, where every reader sees them.

    Parameters
    ----------
    h5ad : Path

    Returns
    -------
    bool
    """
    with open_h5ad(h5ad) as file:
        return "sic_label" in file["obs"] or "sic" in file.get("uns", {})


def is_bundle(path: Path) -> bool:
    """Return whether a file is to be opened as a bundle, by its name and its beginning.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool
    """
    try:
        with path.open("rb") as file:
            return path.suffix.lower() == ".zip" and file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


def name_folder(bundle: Path) -> Path:
    """Return the folder that a bundle is unpacked into where none is named: beside it, of its name.

    Parameters
    ----------
    bundle : Path

    Returns
    -------
    Path
    """
    name = bundle.name
    for ending in (ENDING, ".zip"):
        if name.lower().endswith(ending):
            return bundle.with_name(name[: -len(ending)] or "bundle")
    return bundle.with_name(f"{name}.slides")


def unpack_bundle(bundle: Path | str, folder: Path | str, *, progress: Progress | None = None) -> Unpacked:
    """Unpack a bundle; what is there already is left alone where it is the same, and so is every session.

    Parameters
    ----------
    bundle : Path
    folder : Path
        Made where it is not there.
    progress : callable, optional
        As in `SeededIterativeClustering.fit`.

    Returns
    -------
    Unpacked
        The folder, the slide's name, and which files were there and are kept.

    Raises
    ------
    BundleError
        When it is not a bundle, is damaged, or the folder holds other files of these names.
    OSError
        When something cannot be read or written.
    """
    bundle, folder = Path(bundle), Path(folder)
    stretch = Stretch.whole(progress).part(0.0, 1.0, "Unpacking")
    try:
        with ZipFile(bundle) as archive:
            manifest = _read_manifest(bundle, archive)
            members = _require_sound(bundle, archive, manifest)
            folder.mkdir(parents=True, exist_ok=True)
            _require_room(bundle, folder, manifest)
            kept, done, whole = [], 0, sum(each.bytes for each in manifest.files.values())
            for name, member in members.items():
                known, place = manifest.files[name], folder / name
                if not os.path.lexists(place):
                    _unpack(bundle, archive, member, place, known)
                elif not _is_there(place, known):
                    _require_own(bundle, place, manifest)
                    if place.suffix == ".h5ad":
                        _require_same_embeddings(bundle, archive, member, place, known)
                    kept.append(name)
                done += known.bytes
                stretch.tell(done / max(whole, 1))
    except ZIP_ERRORS as error:
        raise _damaged(bundle, str(error)) from error
    return Unpacked(folder, manifest.slide, tuple(kept))


def _damaged(bundle: Path, why: str) -> BundleError:
    return BundleError(f"{bundle.name}: is not a whole bundle ({why}); have it sent again")


def _open_picture(slide: EmbeddedSlide, image: Path | None) -> Slide:
    picture = open_own_image(slide, image)
    if picture is None:
        raise BundleError(
            f"{slide.path.name}: its image is not beside it; name it with --image, or give --no-image for a "
            "bundle of the patches alone"
        )
    return picture


def _write_picture(slide: EmbeddedSlide, picture: Slide, target: Path, mpp: float, stretch: Stretch) -> float:
    """Write the slide's picture; return its µm per pixel."""
    told = scale_of(slide).mpp
    if told is None and picture.resolution is not None:
        told = (picture.resolution.mpp_x, picture.resolution.mpp_y)
    if told is None:
        raise BundleError(
            f"{slide.path.name}: does not say its µm per pixel, which a picture needs; embed the slide again "
            "with --slide-mpp, or give --no-image"
        )
    size = reduced_size(picture.size, told, mpp)
    write_reduced(picture, target, size, mpp=told, stretch=stretch)
    return round(told[0] * picture.size[0] / size[0], 6)


def _write_project(
    slide: EmbeddedSlide, folder: Path, image: str | None, size: tuple[int, int] | None
) -> dict[str, Path]:
    scale = scale_of(slide)
    project = tmap_project(
        h5ad_name=f"{slide.name}.h5ad",
        slide_name=slide.name,
        image=image,
        slide_size=size or (1, 1),
        centres=slide.centres,
        stride0=scale.stride[0],
        mpp=sum(scale.mpp) / 2 if scale.mpp else 0.0,
    )
    if not scale.mpp:
        del project["mpp"]
    target = folder / "project.tmap"
    write_tmap(target, project)
    return {f"{slide.name}.tmap": target}


def _find_classes(slide: EmbeddedSlide, folder: Path) -> dict[str, Path]:
    """Return the class list: that of the slide's folder, else the classes of its shared session."""
    target = folder / CLASSES
    known = find_scheme(slide.path.absolute().parent, lambda _: True)
    if known is not None:
        write_scheme(target, read_scheme(known).classes)
        return {CLASSES: target}
    shared = session_path(slide.path)
    if not shared.exists():
        return {}
    write_scheme(target, load_session(shared, slide).classes)
    return {CLASSES: target}


def _pack(
    slide: EmbeddedSlide,
    files: Mapping[str, Path],
    target: Path,
    *,
    size: tuple[int, int] | None,
    image_mpp: float | None,
    stretch: Stretch,
) -> Manifest:
    whole = sum(path.stat().st_size for path in files.values())
    done, told = 0, {}
    with replacing(target) as temporary, ZipFile(temporary, "w") as archive:
        for name, path in files.items():
            # Embeddings and JPEGs gain nothing by it, and would take minutes.
            member = _describe_member(name, ZIP_STORED if path.suffix in (".h5ad", ".tif") else ZIP_DEFLATED)
            digest, n_bytes = hashlib.sha256(), 0
            with path.open("rb") as file, archive.open(member, "w", force_zip64=True) as packed:
                while block := file.read(_BLOCK):
                    packed.write(block)
                    digest.update(block)
                    n_bytes += len(block)
                    stretch.tell(min((done + n_bytes) / max(whole, 1), 1.0))
            done += n_bytes
            told[name] = BundledFile(bytes=n_bytes, sha256=digest.hexdigest())
        manifest = Manifest(
            software=f"tissuumaps-sic {__version__}",
            slide=slide.name,
            fingerprint=slide.fingerprint,
            slide_size=size,
            image_mpp=image_mpp,
            files=told,
        )
        text = json.dumps(manifest.model_dump(by_alias=True), ensure_ascii=False, indent=1)
        archive.writestr(_describe_member(_MANIFEST, ZIP_DEFLATED), text)
    return manifest


def _describe_member(name: str, compression: int) -> ZipInfo:
    """Return a member that tells nothing of this machine: no time, and the rights of any file."""
    member = ZipInfo(name, _TIME)
    member.compress_type = compression
    member.external_attr = 0o100644 << 16
    return member


def _read_manifest(bundle: Path, archive: ZipFile) -> Manifest:
    try:
        member = archive.getinfo(_MANIFEST)
    except KeyError:
        raise BundleError(
            f"{bundle.name}: is not a bundle of a slide (it has no {_MANIFEST}); make one with "
            "tissuumaps-sic bundle"
        ) from None
    if member.file_size > _MOST_MANIFEST:
        raise _damaged(bundle, f"its {_MANIFEST} is too large")
    try:
        with archive.open(member) as file:
            content = json.loads(file.read(_MOST_MANIFEST))
        schema = str(content.get("schema")) if isinstance(content, dict) else ""
        if re.fullmatch(r"tissuumaps-sic/bundle/[2-9]\d{0,3}", schema):
            raise BundleError(f"{bundle.name}: was made by a newer version; update tissuumaps-sic")
        return Manifest.model_validate(content)
    except (ValueError, RecursionError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise _damaged(bundle, f"its {_MANIFEST}: {why[:200]}") from error


def _require_sound(bundle: Path, archive: ZipFile, manifest: Manifest) -> dict[str, ZipInfo]:
    """Return the members of the files that a manifest names, by name; nothing else is ever unpacked.

    Each lies in the folder itself, is what a slide has beside it, and as large as is told.
    """
    slide = manifest.slide
    # What names drives and folders, and letters that no name has there.
    foreign = set('\\/:*?"<>|' if os.name == "nt" else "/")
    if refusal(f"{slide}.h5ad") or set(slide) & foreign or f"{slide}.h5ad" not in manifest.files:
        raise _damaged(bundle, f"it names a slide {slide[:60]!r} that is not in it, or that no file can be")
    own = re.compile(rf"{re.escape(slide)}(\.h5ad|\.tif|\.tmap|(\.[^\W][\w -]{{0,39}})?{re.escape(SUFFIX)})")
    members = {}
    for name, known in manifest.files.items():
        if name != CLASSES and not own.fullmatch(name):
            raise _damaged(bundle, f"a bundle of {slide} cannot hold a file {name[:60]!r}")
        try:
            member = archive.getinfo(name)
        except KeyError:
            raise _damaged(bundle, f"{name} is missing") from None
        grown = member.file_size > _SMALL + _MOST_GROWN * member.compress_size
        if member.file_size != known.bytes or grown or member.compress_size > bundle.stat().st_size:
            raise _damaged(bundle, f"{name} is not as large as the bundle says")
        members[name] = member
    return members


def _require_room(bundle: Path, folder: Path, manifest: Manifest) -> None:
    needed = sum(known.bytes for name, known in manifest.files.items() if not (folder / name).exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise BundleError(
            f"{bundle.name}: needs {needed / 2**20:.0f} MB in {folder}, and {free / 2**20:.0f} MB are free; "
            "free some space, or unpack it elsewhere (-o DIR)"
        )


def _is_there(place: Path, known: BundledFile) -> bool:
    """Return whether a file is there as the bundle has it."""
    if place.is_symlink() or not place.is_file() or place.stat().st_size != known.bytes:
        return False
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == known.sha256


def _require_own(bundle: Path, place: Path, manifest: Manifest) -> None:
    """Refuse a file that is there and is another slide's; what a reader changed of this one's stays.

    Labels may have been written into the h5ad, the project been saved, and sessions are the reader's own.
    """
    if place.suffix == ".h5ad":
        with suppress(SlideFileError):
            if open_slide_file(place).fingerprint == manifest.fingerprint:
                return
    elif place.suffix != ".tif":
        return
    raise BundleError(
        f"{place}: another file of this name is there already; unpack {bundle.name} into another folder (-o "
        "DIR)"
    )


def _require_same_embeddings(
    bundle: Path, archive: ZipFile, member: ZipInfo, place: Path, known: BundledFile
) -> None:
    """Refuse an h5ad that is there where the bundle's has other embeddings of the same patches."""
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=place.parent) as made:
        sent = Path(made) / place.name
        _unpack(bundle, archive, member, sent, known)
        with suppress(SlideFileError):
            if _sample(sent) == _sample(place):
                return
    raise BundleError(
        f"{place}: is there already, of the same patches with other embeddings; unpack {bundle.name} into "
        "another folder (-o DIR), and copy the sessions there that you want to go on with"
    )


def _sample(h5ad: Path) -> dict[str, str]:
    """Return what tells the embeddings of a file from others, by their names."""
    slide = open_slide_file(h5ad)
    return {each.name: slide.with_embedding(each.name).sample for each in slide.embeddings}


def _unpack(bundle: Path, archive: ZipFile, member: ZipInfo, place: Path, known: BundledFile) -> None:
    with replacing(place, follow_links=False) as temporary:
        with archive.open(member) as packed, temporary.open("wb") as file:
            digest = _copy(packed, file, known.bytes)
        if digest != known.sha256:
            raise _damaged(bundle, f"{place.name} is not what was packed")


def _copy(packed: IO[bytes], file: IO[bytes], n_bytes: int) -> str:
    """Copy so many bytes at most; return their digest."""
    digest, left = hashlib.sha256(), n_bytes
    while left and (block := packed.read(min(_BLOCK, left))):
        file.write(block)
        digest.update(block)
        left -= len(block)
    return "" if left else digest.hexdigest()
