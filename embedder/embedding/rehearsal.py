"""What a run needs at its last step, tried before its first: no work is lost for what could be known."""

from __future__ import annotations

import errno
import functools
import logging
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np

from embedder.embedding.umap import rehearse
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.writing import replacing

log = logging.getLogger(__name__)

# Of an h5ad, whatever its patches.
_LEAST_BYTES = 100_000


class RehearsalError(SicError):
    """A last step cannot be done here, for no slide; the message says which, why, and what to change."""


@functools.lru_cache(maxsize=8)
def try_last_steps(folder: Path, *, umap: bool) -> None:
    """Write a small file as an h5ad is written, look for the temporary folder, and lay a few points out.

    What went well is not tried again in this process.

    Parameters
    ----------
    folder : Path
        Where the files go.
    umap : bool
        Whether UMAP will be needed.

    Raises
    ------
    RehearsalError
        UMAP does not run here.
    OSError
        The folder cannot be written.
    """
    trial = folder / f".rehearsal-{os.getpid()}.h5ad"
    try:
        with replacing(trial) as temporary, h5py.File(temporary, "w", locking=False) as file:
            file["X"] = np.zeros(1)
    finally:
        with suppress(OSError):
            trial.unlink(missing_ok=True)
    _try_temporary_folder()
    if umap:
        try:
            rehearse()
        except ModuleNotFoundError:
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise RehearsalError(
                f"UMAP does not run on this machine ({reason}); nothing was embedded: mend that, or embed "
                "with --no-umap"
            ) from error


def _try_temporary_folder() -> None:
    """Warn where the temporary folder cannot be used: only some slides need it."""
    asked = os.environ.get("TMPDIR")
    if not asked:
        return
    try:
        with tempfile.TemporaryFile(dir=asked) as file:
            file.write(b"x")
    except OSError as error:
        log.warning(
            "TMPDIR is %s, where nothing can be written (%s); slides that are unpacked before they are read "
            "will fail: set TMPDIR to a folder with room",
            asked,
            error.strerror,
        )


def require_room(folder: Path, *, begun: Path, embeddings: int, beside: int) -> None:
    """Make sure that the embeddings, and the h5ad with them, have room.

    Parameters
    ----------
    folder : Path
    begun : Path
        Where an earlier run may have reserved room for the embeddings.
    embeddings, beside : int
        Bytes of the embeddings, and of what else is in the file.

    Raises
    ------
    OSError
        ENOSPC; the text says how much is needed where, and how much is free.
    """
    needed = 2 * embeddings + beside + _LEAST_BYTES
    with suppress(OSError):
        needed -= min(embeddings, _bytes_on_disk(begun / "X"))
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"about {_mb(needed)} are needed, for the embeddings while they are made and for the file, and "
            f"{_mb(free)} are free",
            str(folder),
        )


def _bytes_on_disk(path: Path) -> int:
    facts = path.stat()
    return 512 * facts.st_blocks if hasattr(facts, "st_blocks") else facts.st_size


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"
