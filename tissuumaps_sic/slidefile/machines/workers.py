"""Where the workers of a run come from: this machine, SLURM, or a Dask scheduler that is there already."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tissuumaps_sic.slidefile.machines import preload
from tissuumaps_sic.slidefile.machines.errors import ClusterError, one_line
from tissuumaps_sic.slidefile.machines.security import TLS, make_security
from tissuumaps_sic.slidefile.machines.settings import CONFIG, NO_DASHBOARD, NO_LIMIT, QUIET
from tissuumaps_sic.slidefile.machines.slurm import (
    SlurmOptions,
    correct_jobs,
    forget_jobs,
    list_jobs,
    open_jobs,
    start_slurm_cluster,
)

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 30


@dataclass
class Workers:
    """A connection to workers; made by `connect_workers`.

    Attributes
    ----------
    client : distributed.Client
    waiting : str
        What to say while no worker is there.
    logs : Path or None
        Where jobs print what they have to say.
    """

    client: Any
    waiting: str
    logs: Path | None = None
    _cluster: Any = None
    _jobs: bool = False
    _told: set[str] = field(default_factory=set)
    _missed: set[str] = field(default_factory=set)

    def restore(self) -> None:
        """Start workers anew that are gone for good, as far as that is ours to do."""
        if self._cluster is None:
            return
        try:
            self._cluster.sync(correct_jobs, self._cluster)
        except ClusterError as error:
            # With other workers at work a queue that is out of order for a while is no reason to end.
            if str(error) not in self._told:
                log.warning("no worker could be started in place of a lost one: %s", error)
            self._told.add(str(error))

    def forget_ended(self, joined: Collection[Any]) -> int:
        """Forget jobs that ended before their workers joined, which Dask never hears of; tell how many.

        Parameters
        ----------
        joined : collection
            Names of the workers that are here.

        Returns
        -------
        int
        """
        known = list_jobs() if self._jobs else None
        if known is None:
            return 0
        waited_for = {
            name: str(job.job_id)
            for name, job in list(self._cluster.workers.items())
            if name not in joined and getattr(job, "job_id", None) is not None
        }
        missing = {job for job in waited_for.values() if job not in known}
        # Missed twice: a worker may have joined since, and a job be listed a moment after it was taken.
        ended = [name for name, job in waited_for.items() if job in missing & self._missed]
        self._missed = missing
        self._cluster.sync(forget_jobs, self._cluster, ended)
        return len(ended)

    def release(self, name: Any) -> bool:
        """Give a job back whose worker has nothing left to do; tell whether it was one.

        Parameters
        ----------
        name : object
            Of the worker.

        Returns
        -------
        bool
        """
        if self._jobs:
            self._cluster.sync(self._cluster.scale_down, [name])
        return self._jobs


@contextmanager
def connect_workers(
    folder: Path,
    *,
    scheduler: str | None = None,
    slurm: SlurmOptions | None = None,
    workers: int | None = None,
    devices: Sequence[str] = (),
    name: str = "embedder",
) -> Iterator[Workers]:
    """Connect to a scheduler, or start one with its workers and end both afterwards.

    Parameters
    ----------
    folder : Path
        Where the slides' files go, absolute.
    scheduler : str, optional
        Address of a Dask scheduler, such as "tcp://login1:8786".
    slurm : SlurmOptions, optional
    workers : int, optional
        How many, in SLURM or on this machine.
    devices : sequence of str
        Of this machine, such as "cuda:0" and "cuda:1"; a worker each.
    name : str, default="embedder"
        Of the program, which the jobs in SLURM's queue bear.

    Yields
    ------
    Workers

    Raises
    ------
    ClusterError
        The scheduler cannot be reached, SLURM is not there or refuses, or the workers do not start.
    ValueError
        Not exactly one of the three kinds is asked for.
    ModuleNotFoundError
        The packages of the extra "cluster" are not installed.
    """
    here = slurm is None and (workers is not None or bool(devices))
    if (scheduler is not None) + (slurm is not None) + here != 1 or (scheduler is not None and workers):
        raise ValueError("give one of: scheduler; slurm, with workers; workers or devices of this machine")
    if workers is not None and workers < 1:
        raise ClusterError(f"workers is {workers}; give 1 or more")
    if scheduler is not None:
        if not scheduler.startswith(TLS):
            log.info(
                "%s asks for no certificate: who reaches its ports, or its workers', can run programs as "
                "you; start it with TLS where others are on the network",
                scheduler,
            )
        with _silence_dask(), _connect(scheduler) as client:
            yield Workers(
                client,
                f"no worker has joined {scheduler} yet; start some with "
                f"`dask worker {scheduler} --nworkers 1 --memory-limit 0` (and --resources GPU=1 on a GPU)",
            )
    elif slurm is not None:
        with (
            _silence_dask(),
            start_slurm_cluster(slurm, folder, name=name) as cluster,
            _connect(cluster) as client,
        ):
            cluster.sync(open_jobs, cluster, workers or 1)
            logs = slurm.logs or folder / "slurm-logs"
            yield Workers(
                client,
                f"SLURM has started no job yet, of {workers or 1} asked for; `squeue --me` tells why, and "
                f"jobs that failed tell so in {logs}",
                logs,
                cluster,
                _jobs=True,
            )
    else:
        with _silence_dask(), _start_local_cluster(workers, devices) as cluster, _connect(cluster) as client:
            yield Workers(client, "the workers of this machine are starting", _cluster=cluster)


@contextmanager
def _silence_dask() -> Iterator[None]:
    """Keep Dask's own logs from the terminal, unless debugging."""
    import distributed  # noqa: F401 -- sets its levels when it is imported

    if log.isEnabledFor(logging.DEBUG):
        yield
        return
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(QUIET)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _connect(to: Any) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(  # type: ignore[no-untyped-call]
            to, timeout=_CONNECT_SECONDS, set_as_default=False
        )
    except TypeError as error:
        raise ClusterError(
            f"{to} asks for a certificate, and Dask's configuration names none (distributed.comm.tls, "
            f"ca-file and client: {one_line(error)}); set them"
        ) from error
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"there is no Dask scheduler at {to} ({one_line(error)}); start one with `dask scheduler`, "
            "and give the address that it prints"
        ) from error
    try:
        yield client
    finally:
        client.close(timeout=5)  # type: ignore[no-untyped-call]


@contextmanager
def _start_local_cluster(workers: int | None, devices: Sequence[str]) -> Iterator[Any]:
    import dask
    from dask.system import CPU_COUNT
    from distributed import Nanny, Scheduler, SpecCluster

    count = workers or len(devices)
    if devices and count != len(devices):
        raise ClusterError(f"{count} workers for {len(devices)} devices; give one of the two alone")
    security = make_security()
    specs = {
        place: {
            "cls": Nanny,
            "options": {
                "security": security,
                "protocol": TLS,
                "nthreads": max(1, CPU_COUNT // count),
                "memory_limit": NO_LIMIT,
                "host": "127.0.0.1",
                "dashboard": False,
                "silence_logs": QUIET,
                "preload": [preload.__name__],
                **_device_options(devices[place] if devices else ""),
            },
        }
        for place in range(count)
    }
    scheduler = {
        "cls": Scheduler,
        "options": {
            "security": security, "protocol": TLS, "host": "127.0.0.1", "port": 0, **NO_DASHBOARD
        },
    }  # fmt: skip
    try:
        with dask.config.set(CONFIG):
            cluster = SpecCluster(  # type: ignore[no-untyped-call]
                workers=specs, scheduler=scheduler, security=security, silence_logs=QUIET
            )
    except (OSError, RuntimeError) as error:
        raise ClusterError(f"the workers of this machine do not start: {one_line(error)}") from error
    with cluster:
        yield cluster


def _device_options(device: str) -> dict[str, Any]:
    """Return how a worker is started that sees one GPU alone, and says that it has one."""
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    place = int(index) if index.isdecimal() else 0
    if visible is not None:
        seen = visible.split(",")
        if place >= len(seen) or not seen[place].strip():
            raise ClusterError(
                f"there is no {device}: CUDA_VISIBLE_DEVICES is {visible!r}; choose among those, from "
                "cuda:0 on"
            )
        chosen = seen[place].strip()
    else:
        chosen = str(place)
    return {"env": {"CUDA_VISIBLE_DEVICES": chosen}, "resources": {"GPU": 1}}
