"""How Dask is set up, whatever starts its workers."""

from __future__ import annotations

import logging

# Dask would kill a worker whose memory grows, and counts as memory the pages of a mapped file, which the
# system takes back when it likes. What a job may use is SLURM's to say.
NO_LIMIT = 0
# It asks for no password, and others on the machine take its usual port.
NO_DASHBOARD = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
# What its configuration is set to while a cluster is made, whose workers take it over.
CONFIG: dict[str, list[str] | str] = {
    # Without a dashboard Dask still serves pages that tell whose workers are at what.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # By default half a minute, in which an overloaded machine lost all of its workers.
    "distributed.comm.timeouts.connect": "120s",
    "distributed.comm.timeouts.tcp": "120s",
}
# Dask tells of each connection, and at length of a worker that is lost, which a run does in its own words.
QUIET = logging.CRITICAL
