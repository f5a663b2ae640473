"""Workers as SLURM jobs: what is asked for, and asked for anew when a job is gone."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tissuumaps_sic.slidefile.machines.errors import ClusterError, one_line
from tissuumaps_sic.slidefile.machines.security import TLS, share_security
from tissuumaps_sic.slidefile.machines.settings import CONFIG, NO_DASHBOARD, NO_LIMIT, QUIET

_SQUEUE_SECONDS = 60


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
            raise ClusterError(f"cores is {self.cores}; give 1 or more")
        if self.gpus not in (0, 1):
            raise ClusterError(f"gpus is {self.gpus}; a worker uses one GPU: give gpus=1 and more --workers")

    @classmethod
    def from_words(cls, words: Sequence[str]) -> SlurmOptions:
        """Read options from words such as ``queue=gpu``, ``gpus=1``, ``directives=--constraint=a100``.

        ``directives`` and ``prologue`` may come several times.

        Parameters
        ----------
        words : sequence of str
            Each NAME=VALUE.

        Returns
        -------
        SlurmOptions

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


@contextmanager
def start_slurm_cluster(options: SlurmOptions, folder: Path, *, name: str = "embedder") -> Iterator[Any]:
    """Yield a cluster of SLURM jobs, with no job yet.

    Parameters
    ----------
    options : SlurmOptions
    folder : Path
    name : str, default="embedder"

    Yields
    ------
    object

    Raises
    ------
    ClusterError
        SLURM is not here, or an option has a value that cannot be.
    """
    if shutil.which("sbatch") is None:
        raise ClusterError(
            "sbatch is not on this machine, so there is no SLURM to ask; run on a machine of the cluster, "
            "or give --workers or --scheduler"
        )
    with (
        share_security(folder) as security,
        make_slurm_cluster(options, folder, security, name=name) as cluster,
    ):
        yield cluster


def make_slurm_cluster(
    options: SlurmOptions, folder: Path, security: Any = None, *, name: str = "embedder"
) -> Any:
    """Make the `dask_jobqueue.SLURMCluster` of some options, with no job yet.

    Parameters
    ----------
    options : SlurmOptions
    folder : Path
        Where the slides' files go, absolute.
    security : distributed.security.Security, optional
        What scheduler and jobs know each other by.
    name : str, default="embedder"
        Of the jobs.

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
    extra = [f"--memory-limit {NO_LIMIT}", "--no-dashboard"]
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
        given |= {"security": security, "protocol": TLS}
    try:
        with dask.config.set(CONFIG):
            return SLURMCluster(
                cores=options.cores,
                processes=1,
                memory=options.memory,
                job_name=name,
                job_extra_directives=directives,
                # dask-jobqueue knows no "SLURM's default", and would ask for half an hour.
                job_directives_skip=[] if options.walltime else ["#SBATCH -t "],
                job_script_prologue=list(options.prologue),
                worker_extra_args=extra,
                log_directory=str(options.logs or folder / "slurm-logs"),
                scheduler_options=NO_DASHBOARD,
                silence_logs=QUIET,
                **{name: value for name, value in given.items() if value is not None},
            )
    except (ValueError, RuntimeError, OSError) as error:
        raise ClusterError(f"SLURM's jobs cannot be described: {one_line(error)}") from error


async def open_jobs(cluster: Any, jobs: int) -> None:
    """Ask SLURM for so many jobs.

    Raises
    ------
    ClusterError
        SLURM refuses.
    """
    while len(cluster.worker_spec) < jobs:
        cluster.worker_spec.update(cluster.new_worker_spec())
    await correct_jobs(cluster)


async def correct_jobs(cluster: Any) -> None:
    """Start what should run and does not; told by `await`, an error of sbatch reaches us.

    Raises
    ------
    ClusterError
        SLURM refuses.
    """
    try:
        await cluster
    except (RuntimeError, OSError, ValueError) as error:
        text = str(error)
        reason = text.rpartition("stderr:")[2] if "stderr:" in text else text
        # They count as started, else, and are not tried again.
        for name, job in list(cluster.workers.items()):
            if getattr(job, "job_id", name) is None:
                _forget(cluster, name)
        raise ClusterError(f"SLURM takes no job: {one_line(reason)}") from error


async def forget_jobs(cluster: Any, names: Collection[Any]) -> None:
    """Count jobs as gone, so that `correct_jobs` asks for others in their place."""
    for name in names:
        if name in cluster.workers:
            _forget(cluster, name)


def _forget(cluster: Any, name: Any) -> None:
    from distributed import Status

    cluster.workers.pop(name).status = Status.failed


def list_jobs() -> set[str] | None:
    """Return the numbers of this user's jobs that wait or are at work; None where SLURM does not say.

    Returns
    -------
    set of str or None
    """
    command = ["squeue", "--noheader", "--format=%A", f"--user={os.getuid()}"]
    try:
        asked = subprocess.run(  # noqa: S603 -- of ours alone
            command, check=True, capture_output=True, text=True, timeout=_SQUEUE_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return set(asked.stdout.split())
