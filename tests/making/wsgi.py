"""WSGI servers with our application, and what a page asks of them."""

import json
import os
import socket
import subprocess
import time
from contextlib import contextmanager
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen


@contextmanager
def running(command, folder, **settings):
    """Run a WSGI server on a free port, once it answers; gives its address and process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"TISSUUMAPS_SIC_FOLDER": str(folder), "TISSUUMAPS_SIC_PUBLIC": "1"} | settings
    command = [each.format(port=port) for each in command]
    with subprocess.Popen(command, env=environment) as process:
        try:
            base = f"http://127.0.0.1:{port}"
            while True:
                assert process.poll() is None, "the server ended"
                try:
                    with urlopen(f"{base}/ping"):
                        break
                except HTTPError:
                    break
                except URLError:
                    time.sleep(0.05)
            yield base, process
        finally:
            process.terminate()


def post(base, endpoint, **content):
    body = json.dumps({"h5ad": "small.h5ad", "session": "", **content}).encode()
    with urlopen(
        Request(f"{base}/plugins/SIC/{endpoint}", body, {"Content-Type": "application/json"})
    ) as answer:
        return answer.read()


def annotate(base):
    """Seed both classes and run; return the labels as the server packs them."""
    for revision, (label, patch) in enumerate(((1, 3), (0, 90))):
        change = {"kind": "seed", "label": label, "patches": [patch]}
        post(base, "change", revision=revision, change=change)
    return post(base, "run", revision=2)
