"""Clients of TissUUmaps behind our door, in this process."""

import json

from werkzeug.test import Client

from tissuumaps_sic.viewer.guard import guard_app
from tissuumaps_sic.viewer.serve import make_app


def client_of(folder, **options):
    return Client(guard_app(make_app(folder), folder / "auth", **options))


def state_of(answer):
    text = answer.text.partition("jsonState = ")[2].partition("\n")[0]
    return json.loads(text)
