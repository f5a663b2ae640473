"""How Dask is set up, whatever starts its workers."""

from __future__ import annotations

import logging

# Dask would kill a worker whose memory grows, and counts as memory the pages of a mapped file, which the
# system takes back when it likes. What a job may use is SLURM's to say.
NO_LIMIT = 0
# It asks for no password, and others on the machine take its usual port.
NO_DASHBOARD = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
# Without it Dask still serves pages that tell whose workers are at what.
NO_PAGES: dict[str, list[str]] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
# Dask tells of each connection, and at length of a worker that is lost, which a run does in its own words.
QUIET = logging.CRITICAL
