"""What a file is that is not what it should be: people give pointers, web pages and archives for data."""

from __future__ import annotations

from pathlib import Path

_HEAD_BYTES = 1024
_SIGNATURES = (
    (b"\x89HDF\r\n\x1a\n", "HDF5 that is damaged or cut short; copy or download it again"),
    (b"PK\x03\x04", "a zip archive; unpack it and give the file that is in it"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "compressed by gzip; unpack it (gunzip)"),
    (b"BZh", "compressed by bzip2; unpack it (bunzip2)"),
    (b"\xfd7zXZ\0", "compressed by xz; unpack it (unxz)"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd; unpack it (unzstd)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it and give the file that is in it"),
    (b"Rar!", "a RAR archive; unpack it and give the file that is in it"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"II*\0", "a TIFF image"),
    (b"II+\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"MM\0+", "a TIFF image"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x80", "a Python pickle, which is not read since it could execute anything"),
)


def tell_kind(path: Path) -> str | None:
    """Say what a file is that could not be read as HDF5, and what to do; None where that is not known.

    The answer continues "it is". What cannot be opened at all is not known.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str or None
    """
    try:
        if path.is_dir():
            return "a folder"
        if not path.is_file():
            return "no file, but a pipe or a device; copy what it gives into a file"
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            file.seek(257)
            is_tar = file.read(5) == b"ustar"
    except OSError:
        return None
    if not head:
        return "empty; copy or download it again"
    if not head.strip(b"\0"):
        return "nothing but zeros at its beginning; copy or download it again"
    kind = next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), None)
    if kind is not None:
        return kind
    if is_tar:
        return "a tar archive; unpack it and give the file that is in it"
    return _tell_text(head)


def _tell_text(head: bytes) -> str | None:
    """Say what kind of text begins so; None where it is none."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS and not the file itself; fetch that with `git lfs pull`"
    if text.startswith(b"../") and b"\n" not in text.strip() and b"annex" in text:
        return "a pointer of git-annex and not the file itself; fetch that with `git annex get`"
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page, such as one that asks for a password or tells an error; download the file again"
    if text.startswith(b"<"):
        return "an XML text, such as a server's error; download the file again"
    if text.startswith((b"{", b"[")):
        return "a JSON text"
    if not set(head) & (set(range(32)) - set(b"\t\n\r\f")):
        beginning = " ".join(head.decode("utf-8", "backslashreplace").split())
        return f"a text that begins {beginning[:40]!r}"
    return None
