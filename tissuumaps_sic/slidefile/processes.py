"""What tells a process, its machine and its container from all others, and how it ends with its parent."""

from __future__ import annotations

import math
import os
import signal
import sys
import uuid
from contextlib import suppress
from pathlib import Path


def identify_machine() -> tuple[str, str]:
    """Return what tells this machine, and this container on it, from others; "" for what cannot be known.

    Returns
    -------
    machine, container : str
    """
    if not sys.platform.startswith("linux"):
        # A card's address; a random number, unlike every other, where there is none.
        return f"{uuid.getnode():012x}", sys.platform
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # In a container that has the machine's /proc, processes would be looked up by the wrong numbers.
        if os.readlink("/proc/self") != str(os.getpid()):  # noqa: PTH115
            return boot, ""
        # Of time, too: it shifts the ticks at which processes began.
        names = [path for path in map(Path, ("/proc/self/ns/pid", "/proc/self/ns/time")) if path.is_symlink()]
        return boot, " ".join(os.readlink(name) for name in names)  # noqa: PTH115
    except OSError:
        return "", ""


def look_up_process(pid: int) -> tuple[float, bool]:
    """Return when a process began (see `leases.Holder`; NaN where unknown), and whether it is gone.

    Parameters
    ----------
    pid : int

    Returns
    -------
    began : float
    is_gone : bool
    """
    if not sys.platform.startswith("linux"):
        import psutil

        try:
            process = psutil.Process(pid)
            return process.create_time(), process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return math.nan, True
        except psutil.AccessDenied:
            return math.nan, False
    try:
        # Before /proc is asked, which may hide the processes of other people.
        os.kill(pid, 0)
    except ProcessLookupError:
        return math.nan, True
    except OSError:
        pass
    try:
        facts = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        # A zombie does nothing more; in containers nobody may ever clear it away.
        return int(facts[19]), facts[0] in (b"Z", b"X")
    except (OSError, ValueError, IndexError):
        return math.nan, False


def end_with(parent: int, by: str) -> None:
    """Have this process sent a signal when its parent ends, by ``kill -9`` too; where the system can (Linux).

    Parameters
    ----------
    parent : int
        The parent's number; where it is gone already this process ends at once.
    by : str
        Name of the signal that it is sent; other systems do not have all of them.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.Signals[by])  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(0)
