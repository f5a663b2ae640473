"""A short name of a slide's content, found without reading all of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tissuumaps_sic.slidefile.pixels.source import SlideError

_HASH_BYTES = 2**20
# Of a folder, the beginnings of so many of its largest files.
_HASHED_FILES, _HASHED_HEAD = 64, 2**16


def digest_of(path: Path) -> str:
    """Return "sha256-size-head-tail:<hex>" of a file, "sha256-listing:<hex>" of a folder.

    The former is of the file's size in bytes and of its first and its last MiB; the latter of the names and
    sizes of a folder's files, of its metadata, and of the first 64 KiB of the 64 largest.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str

    Raises
    ------
    SlideError
        It cannot be read.
    """
    try:
        if path.is_dir():
            return f"sha256-listing:{_of_folder(path)}"
        size = path.stat().st_size
        digest = hashlib.sha256(str(size).encode())
        with path.open("rb") as file:
            digest.update(file.read(_HASH_BYTES))
            file.seek(max(0, size - _HASH_BYTES))
            digest.update(file.read(_HASH_BYTES))
    except OSError as error:
        raise SlideError(f"{path.name!r} cannot be read: {error.strerror or error}") from error
    return f"sha256-size-head-tail:{digest.hexdigest()}"


def _of_folder(folder: Path) -> str:
    digest = hashlib.sha256()
    sizes = {each: each.stat().st_size for each in folder.rglob("*") if each.is_file()}
    named = sorted((each.relative_to(folder).as_posix(), each) for each in sizes)
    # The largest chunks hold most tissue; glass is the same in all slides.
    sampled = set(sorted(sizes, key=lambda each: (-sizes[each], str(each)))[:_HASHED_FILES])
    for name, path in named:
        digest.update(f"{name}\n{sizes[path]}\n".encode())
        if path.name in (".zattrs", ".zarray", "zarr.json"):
            digest.update(path.read_bytes())
        elif path in sampled:
            with path.open("rb") as file:
                digest.update(file.read(_HASHED_HEAD))
    return digest.hexdigest()
