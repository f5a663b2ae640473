"""Who may speak to the workers of a run: those who have its certificate."""

from __future__ import annotations

import logging
import shlex
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tissuumaps_sic.slidefile.leases import LockedError, hold_lock

log = logging.getLogger(__name__)

TLS = "tls://"
_KEYS = ".embedder-tls-"


def make_security() -> Any:
    """Return what lets nobody in who has not this run's certificate: it is made now, and kept in memory.

    Dask's ports ask for nothing else, and who reaches them runs programs as the one who started them.

    Returns
    -------
    object
    """
    import cryptography  # noqa: F401 -- else it is Dask's own words, which do not name the extra
    from distributed.security import Security

    return Security.temporary()  # type: ignore[no-untyped-call]


@contextmanager
def share_security(folder: Path) -> Iterator[Any]:
    """Yield security of our own for jobs, which read it from files that only their user may read.

    Parameters
    ----------
    folder : Path

    Yields
    ------
    object
    """
    from distributed.security import Security

    own = make_security()
    known = own.get_tls_config_for_role("worker")
    for old in folder.glob(f"{_KEYS}*/lock"):  # of runs that were killed
        with suppress(LockedError, OSError), hold_lock(old):
            shutil.rmtree(old.parent, ignore_errors=True)
    held = Path(tempfile.mkdtemp(prefix=_KEYS, dir=folder))
    paths = {key: held / f"{key}.pem" for key in ("ca_file", "cert", "key")}

    class Shared(Security):
        """Has the files' names for a job's line of shell, and what is in them for the scheduler and us."""

        def get_tls_config_for_role(self, role: str) -> Any:
            if role == "worker":
                return {key: shlex.quote(str(path)) for key, path in paths.items()}
            return own.get_tls_config_for_role(role)

    try:
        for key, path in paths.items():
            path.touch(mode=0o600)
            path.write_text(known[key], encoding="ascii")
        if stat.S_IMODE(paths["key"].stat().st_mode) & 0o077:
            log.warning(
                "%s: this file system lets others read the key of this run's workers, by which they could "
                "run programs as you; give an output folder on another one",
                held,
            )
        with hold_lock(held / "lock"):
            yield Shared(require_encryption=True)  # type: ignore[no-untyped-call]
    finally:
        shutil.rmtree(held, ignore_errors=True)
