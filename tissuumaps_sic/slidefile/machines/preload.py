"""What a worker of this machine does first; Dask imports this file into it."""

from __future__ import annotations

import signal


def dask_setup(_: object) -> None:
    """Leave Ctrl-C to the client, which then has its machine's workers save their work; Dask calls this."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
