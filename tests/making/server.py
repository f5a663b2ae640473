"""Real `tissuumaps-sic serve` processes, and clients that speak to them."""

import json
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection
from urllib.parse import urlsplit

import numpy as np

from tissuumaps_sic.viewer.access import reach_of


@contextmanager
def serving(folder, *options):
    """Serve a folder in a process of its own; gives the process, with its `address` and `netloc`."""
    if not any(folder.glob("*.tmap")):
        (folder / "any.tmap").write_text("{}")
    command = [sys.executable, "-m", "tissuumaps_sic", "serve", str(folder), "--port", "0", "--no-browser"]
    command += options
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            process.stdout.readline()
            address = process.stdout.readline().strip()
            assert address, "the server did not start"
            process.address = address
            process.netloc = urlsplit(address).netloc
            yield process
        finally:
            process.kill()


class Client:
    """One connection to one server; a slide and a session of it are what it asks about."""

    def __init__(self, netloc, h5ad="small.h5ad", session=""):
        self.connection = HTTPConnection(netloc)
        self.about = {"h5ad": h5ad, "session": session}

    def post(self, endpoint, **content):
        """Return the status and the body, as bytes."""
        body = json.dumps({**self.about, **content})
        self.connection.request(
            "POST", f"/plugins/SIC/{endpoint}", body, {"Content-Type": "application/json"}
        )
        response = self.connection.getresponse()
        return response.status, response.read()

    def state(self):
        status, body = self.post("open")
        assert status == 200, body
        return json.loads(body)

    def change(self, revision, **what):
        return self.post("change", revision=revision, change=what)

    def seed(self, row, label):
        """Seed a patch, as often as others come first; return how often that was."""
        refused, revision = 0, self.state()["revision"]
        while True:
            status, body = self.change(revision, kind="seed", label=label, patches=[row])
            if status == 200:
                return refused
            assert status in (409, 503), body  # 503: too many wait, try again
            refused, revision = refused + 1, self.state()["revision"]


def unpack(answer):
    """Return the state and the labels of an answer that has labels: its body, or what Flask's client gave."""
    body = getattr(answer, "data", answer)
    length = int.from_bytes(body[:4], "little")
    return json.loads(body[4 : 4 + length]), np.frombuffer(body[4 + length :], np.uint8)


def ask(server, endpoint, folder, content):
    """Ask a `Server` of this process, without Flask, as somebody who has given the password."""
    return server.ask(endpoint, reach_of(folder, content), content)
