"""How much memory this machine, or the container that this process is in, has left."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_NONE = 2**60  # what version 1 has for no limit is near 2**63
# Less than this share of all is too little to go on with.
_LEAST_LEFT = 0.04
# Who holds less than this share is not the one to blame.
_LEAST_TAKEN = 0.25


def describe_excess(pid: int, limit: int | None = None) -> str | None:
    """Say by how much a process takes too much memory; None where it does not.

    Parameters
    ----------
    pid : int
    limit : int, optional
        Bytes; by default what the machine, or the container, can give.

    Returns
    -------
    str or None
    """
    if limit is not None:
        taken = count_own_bytes(pid)
        return None if taken <= limit else f"it took {_gb(taken)} of memory, and --memory allows {_gb(limit)}"
    total, left = measure_room()
    if left > _LEAST_LEFT * total:
        return None
    taken = count_own_bytes(pid)
    if taken < _LEAST_TAKEN * total:
        return None
    return f"it took {_gb(taken)} of memory, and of the {_gb(total)} of this machine {_gb(left)} were left"


def measure_room() -> tuple[int, int]:
    """Return how many bytes there are for this process and its like, and how many of them are left."""
    import psutil

    whole = psutil.virtual_memory()
    total, left = int(whole.total), int(whole.available)
    for limit, used in _limits():
        total, left = min(total, limit), min(left, max(0, limit - used))
    return total, left


def count_own_bytes(pid: int) -> int:
    """Return what a process holds for itself; 0 where it is gone. Mapped files can be dropped at any time."""
    import psutil

    try:
        facts = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return int(facts.rss) - int(getattr(facts, "shared", 0))


def volunteer() -> None:
    """Be the one that the system ends first when there is no memory left, where it asks (Linux)."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:,.1f} GB"


def _limits() -> Iterator[tuple[int, int]]:
    """Yield the limit of each control group around this process, and what is used of it without the cache."""
    if not sys.platform.startswith("linux"):
        return
    for folder, limit, used, cache in _groups():
        with suppress(OSError, ValueError):
            most = int((folder / limit).read_text(encoding="ascii"))
            if most < _NONE:
                taken = int((folder / used).read_text(encoding="ascii"))
                lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
                facts = dict(line.split(maxsplit=1) for line in lines)
                # Pages of files are dropped when there is need of them.
                yield (
                    most,
                    taken - sum(int(facts.get(f"{cache}{kind}_file", 0)) for kind in ("active", "inactive")),
                )


def _groups() -> Iterator[tuple[Path, str, str, str]]:
    """Yield the folders of the control groups around this process, and the names of their files."""
    for line in _lines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names = _GROUPS, ("memory.max", "memory.current", "")
        elif "memory" in controllers.split(","):
            root = _GROUPS / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
        else:
            continue
        # In a container the path may be the machine's, and the container's own group lies at the root.
        folder = root / path.lstrip("/")
        for group in (folder, *folder.parents):
            yield group, *names
            if group == root:
                break


def _lines() -> list[str]:
    try:
        return Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
