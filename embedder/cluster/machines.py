"""Where the workers of a run come from: this machine, SLURM, or a Dask scheduler that is there already."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.leases import LockedError, hold_lock

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 30
# Dask would kill a worker whose memory grows, and counts as memory the pages of a mapped file, which the
# system takes back when it likes. What a job may use is SLURM's to say.
_NO_LIMIT = 0
# It asks for no password, and others on the machine take its usual port.
_NO_DASHBOARD = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
# Without it Dask still serves pages that tell whose workers are at what.
_NO_PAGES: dict[str, list[str]] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
_TLS = "tls://"
_KEYS = ".embedder-tls-"
# Dask tells of each connection, and at length of a worker that is lost, which a run does in its own words.
_QUIET = logging.CRITICAL


class ClusterError(SicError):
    """Slides cannot be embedded on these machines; the message says what to change."""


@dataclass(frozen=True)
class SlurmOptions:
    """What is asked of SLURM for each worker; a worker is a job, and embeds one slide at a time.

    Attributes
    ----------
    queue, account : str or None
        Partition and account; None for SLURM's defaults.
    walltime : str or None
        As SLURM has it, such as "08:00:00" or "1-00:00:00"; None for the partition's default. A slide that is
        cut off goes on in another job.
    memory : str
        Such as "16GB".
    cores : int
    gpus : int
        0 or 1: a worker uses one GPU.
    interface : str or None
        Network interface that the machines see each other on, such as "ib0".
    scratch : str or None
        A folder on each machine for Dask's own small files.
    directives : tuple of str
        Further arguments of sbatch, such as "--constraint=a100".
    prologue : tuple of str
        Shell commands that a job begins with, such as "module load cuda".
    logs : Path or None
        Folder for what the jobs print; None for ``slurm-logs`` in the folder of the output.
    """

    queue: str | None = None
    account: str | None = None
    walltime: str | None = None
    memory: str = "16GB"
    cores: int = 4
    gpus: int = 0
    interface: str | None = None
    scratch: str | None = None
    directives: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    logs: Path | None = None

    def __post_init__(self) -> None:
        if self.cores < 1:
            raise ClusterError(f"cores is {self.cores}; a worker needs at least 1")
        if self.gpus not in (0, 1):
            raise ClusterError(f"gpus is {self.gpus}; a worker uses one GPU: give gpus=1 and more --workers")

    @classmethod
    def from_words(cls, words: Sequence[str]) -> SlurmOptions:
        """Read options from words such as ``queue=gpu``, ``gpus=1``, ``directives=--constraint=a100``.

        ``directives`` and ``prologue`` may come several times.

        Raises
        ------
        ClusterError
            A word is no option, or its value is none.
        """
        kinds = {option.name: str(option.type) for option in fields(cls)}
        given: dict[str, Any] = {}
        for word in words:
            name, equals, text = word.partition("=")
            if not equals or name not in kinds:
                raise ClusterError(
                    f"there is no SLURM option {word!r}; give NAME=VALUE with one of {', '.join(kinds)}"
                )
            if kinds[name].startswith("tuple"):
                given[name] = (*given.get(name, ()), text)
            elif kinds[name] == "int":
                if not text.isdecimal():
                    raise ClusterError(f"SLURM option {name} is {text!r}; give a whole number")
                given[name] = int(text)
            else:
                given[name] = Path(text) if name == "logs" else text
        return cls(**given)


@dataclass
class Workers:
    """A connection to workers; made by `connect_workers`.

    Attributes
    ----------
    client : distributed.Client
    waiting : str
        What to say while no worker is there.
    """

    client: Any
    waiting: str
    _cluster: Any = None
    _jobs: bool = False
    _told: set[str] = field(default_factory=set)

    def restore(self) -> None:
        """Start workers anew that are gone for good, as far as that is ours to do."""
        if self._cluster is None:
            return
        try:
            self._cluster.sync(_correct, self._cluster)
        except ClusterError as error:
            # With other workers at work a queue that is out of order for a while is no reason to end.
            if str(error) not in self._told:
                log.warning("no worker could be started in place of a lost one: %s", error)
            self._told.add(str(error))

    def release(self, name: Any) -> bool:
        """Give a job back whose worker has nothing left to do; tell whether it was one."""
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
        raise ClusterError(f"workers is {workers}; at least 1 is needed")
    if scheduler is not None:
        if not scheduler.startswith(_TLS):
            log.info(
                "%s asks for no certificate: who reaches its ports, or its workers', can run programs as you",
                scheduler,
            )
        with _silence_dask(), _connect(scheduler) as client:
            yield Workers(
                client,
                f"no worker has joined {scheduler} yet; start some with "
                f"`dask worker {scheduler} --nworkers 1 --memory-limit 0` (and --resources GPU=1 on a GPU)",
            )
    elif slurm is not None:
        with _silence_dask(), _start_slurm_cluster(slurm, folder) as cluster, _connect(cluster) as client:
            cluster.sync(_open, cluster, workers or 1)
            logs = slurm.logs or folder / "slurm-logs"
            yield Workers(
                client,
                f"SLURM has started no job yet, of {workers or 1} asked for; `squeue --me` tells why, and "
                f"jobs that failed tell so in {logs}",
                cluster,
                _jobs=True,
            )
    else:
        with _silence_dask(), _start_local_cluster(workers, devices) as cluster, _connect(cluster) as client:
            yield Workers(client, "the workers of this machine are starting", cluster)


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
        logging.getLogger(name).setLevel(_QUIET)
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
            f"ca-file and client: {_one_line(error)})"
        ) from error
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"there is no Dask scheduler at {to} ({_one_line(error)}); start one with `dask scheduler`, "
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
    security = _make_security()
    specs = {
        place: {
            "cls": Nanny,
            "options": {
                "security": security,
                "protocol": _TLS,
                "nthreads": max(1, CPU_COUNT // count),
                "memory_limit": _NO_LIMIT,
                "host": "127.0.0.1",
                "dashboard": False,
                "silence_logs": _QUIET,
                "preload": ["embedder.cluster.worker"],
                **_device_options(devices[place] if devices else ""),
            },
        }
        for place in range(count)
    }
    scheduler = {
        "cls": Scheduler,
        "options": {
            "security": security, "protocol": _TLS, "host": "127.0.0.1", "port": 0, **_NO_DASHBOARD
        },
    }  # fmt: skip
    try:
        with dask.config.set(_NO_PAGES):
            cluster = SpecCluster(  # type: ignore[no-untyped-call]
                workers=specs, scheduler=scheduler, security=security, silence_logs=_QUIET
            )
    except (OSError, RuntimeError) as error:
        raise ClusterError(f"the workers of this machine do not start: {_one_line(error)}") from error
    with cluster:
        yield cluster


def _make_security() -> Any:
    """Return what lets nobody in who has not this run's certificate: it is made now, and kept in memory.

    Dask's ports ask for nothing else, and who reaches them runs programs as the one who started them.
    """
    import cryptography  # noqa: F401 -- else it is Dask's own words, which do not name the extra
    from distributed.security import Security

    return Security.temporary()  # type: ignore[no-untyped-call]


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
            raise ClusterError(f"there is no {device}: CUDA_VISIBLE_DEVICES is {visible!r}")
        chosen = seen[place].strip()
    else:
        chosen = str(place)
    return {"env": {"CUDA_VISIBLE_DEVICES": chosen}, "resources": {"GPU": 1}}


@contextmanager
def _start_slurm_cluster(options: SlurmOptions, folder: Path) -> Iterator[Any]:
    if shutil.which("sbatch") is None:
        raise ClusterError(
            "sbatch is not on this machine, so there is no SLURM to ask; run on a machine of the cluster, "
            "or give --workers or --scheduler"
        )
    with _share_security(folder) as security, make_slurm_cluster(options, folder, security) as cluster:
        yield cluster


@contextmanager
def _share_security(folder: Path) -> Iterator[Any]:
    """Yield security of our own for jobs, which read it from files that only their user may read."""
    from distributed.security import Security

    own = _make_security()
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


def make_slurm_cluster(options: SlurmOptions, folder: Path, security: Any = None) -> Any:
    """Make the `dask_jobqueue.SLURMCluster` of some options, with no job yet.

    Parameters
    ----------
    options : SlurmOptions
    folder : Path
        Where the slides' files go, absolute.
    security : distributed.security.Security, optional
        What scheduler and jobs know each other by.

    Raises
    ------
    ClusterError
        An option has a value that cannot be.
    """
    import dask
    from dask_jobqueue.slurm import SLURMCluster

    directives = list(options.directives)
    if options.gpus:
        directives.append(f"--gres=gpu:{options.gpus}")
    extra = [f"--memory-limit {_NO_LIMIT}", "--no-dashboard"]
    if options.gpus:
        extra.append("--resources GPU=1")
    given: dict[str, Any] = {
        "queue": options.queue,
        "account": options.account,
        "walltime": options.walltime,
        "interface": options.interface,
        "local_directory": options.scratch,
    }
    if security is not None:
        given |= {"security": security, "protocol": _TLS}
    try:
        with dask.config.set(_NO_PAGES):
            return SLURMCluster(
                cores=options.cores,
                processes=1,
                memory=options.memory,
                job_name="embedder",
                job_extra_directives=directives,
                # dask-jobqueue knows no "SLURM's default", and would ask for half an hour.
                job_directives_skip=[] if options.walltime else ["#SBATCH -t "],
                job_script_prologue=list(options.prologue),
                worker_extra_args=extra,
                log_directory=str(options.logs or folder / "slurm-logs"),
                scheduler_options=_NO_DASHBOARD,
                silence_logs=_QUIET,
                **{name: value for name, value in given.items() if value is not None},
            )
    except (ValueError, RuntimeError, OSError) as error:
        raise ClusterError(f"SLURM's jobs cannot be described: {_one_line(error)}") from error


async def _open(cluster: Any, jobs: int) -> None:
    while len(cluster.worker_spec) < jobs:
        cluster.worker_spec.update(cluster.new_worker_spec())
    await _correct(cluster)


async def _correct(cluster: Any) -> None:
    """Start what should run and does not; told by `await`, an error of sbatch reaches us."""
    from distributed import Status

    try:
        await cluster
    except (RuntimeError, OSError, ValueError) as error:
        text = str(error)
        reason = text.rpartition("stderr:")[2] if "stderr:" in text else text
        # They count as started, else, and are not tried again.
        for name, job in list(cluster.workers.items()):
            if getattr(job, "job_id", name) is None:
                del cluster.workers[name]
                job.status = Status.failed
        raise ClusterError(f"SLURM takes no job: {_one_line(reason)}") from error


def _one_line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__
