"""The server for other WSGI servers: settings by the environment, one process, nothing left behind."""

import sys
from importlib.util import find_spec
from urllib.error import URLError

import pytest
from making.wsgi import annotate, running
from werkzeug.test import Client

from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.viewer.wsgi import make_application


@pytest.fixture
def settings(small_h5ad, tmp_path, monkeypatch):
    """What the environment says of the folder; whatever an application sets is put back."""
    from tissuumaps_sic.viewer import serve, wsgi

    monkeypatch.setattr(serve.tempfile, "tempdir", str(tmp_path))
    ended = []
    monkeypatch.setattr(wsgi.atexit, "register", ended.append)
    app = serve.make_app(small_h5ad.parent)
    monkeypatch.setitem(app.config, "READ_ONLY", False)
    yield {"TISSUUMAPS_SIC_FOLDER": str(small_h5ad.parent), "TISSUUMAPS_SIC_PUBLIC": "1"}
    for end in ended:
        end()
    assert not list(tmp_path.glob("tissuumaps-sic-*"))


MANY = {"multithread": True}
SEED = {"kind": "seed", "label": 1, "patches": [1]}


def test_the_environment_says_how_a_folder_is_served(settings):
    settings |= {
        "TISSUUMAPS_SIC_ALLOWED_HOSTS": "slides.example, other.example",
        "TISSUUMAPS_SIC_SUB_PATH": "/slides/",
        "TISSUUMAPS_SIC_BEHIND_PROXY": "10.0.0.1,127.0.0.0/8",
        "TISSUUMAPS_SIC_READ_ONLY": "1",
    }
    client = Client(make_application({**settings, "PATH": "/bin"}))
    assert client.get("/slides/ping", headers={"Host": "other.example"}, **MANY).text == "pong"
    assert client.get("/ping", **MANY).status_code == 404
    assert client.get("/slides/ping", headers={"Host": "evil.example"}, **MANY).status_code == 421
    far = {"environ_base": {"REMOTE_ADDR": "127.0.0.9"}, **MANY}
    # What a proxy passes on from anybody is not its word: it leaves the path in addresses.
    anybody = {"X-Forwarded-Prefix": "/evil", "X-Forwarded-Proto": "https"}
    assert client.get("/slides/", headers=anybody, **far).headers["Location"] == "/slides/small.tmap"
    asked = {"h5ad": "small.h5ad", "session": "", "revision": 0, "change": SEED}
    refused = client.post("/slides/plugins/SIC/change", json=asked, **MANY)
    assert refused.status_code == 403
    assert "read-only" in refused.json["error"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"FOLDER": ""}, "TISSUUMAPS_SIC_FOLDER: is not set"),
        (
            {"READONLY": "1"},
            "TISSUUMAPS_SIC_READONLY: is not a setting; there are .*TISSUUMAPS_SIC_READ_ONLY",
        ),
        ({"READ_ONLY": "yes"}, "TISSUUMAPS_SIC_READ_ONLY: is yes; give 1 or 0"),
        ({"BEHIND_PROXY": "caddy"}, "caddy: is not the address of a proxy"),
        ({"SUB_PATH": "a b"}, "a b: is not a sub-path"),
        ({"PUBLIC": "0"}, "without a password"),
        ({"FOLDER": "/nowhere"}, "there is no such folder"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings, changed, told):
    settings |= {f"TISSUUMAPS_SIC_{name}": value for name, value in changed.items()}
    with pytest.raises(SicError, match=told):
        make_application(settings)


def test_one_of_several_processes_serves_nothing(settings, caplog):
    client = Client(make_application(settings))
    refused = client.get("/ping", multiprocess=True)
    assert refused.status_code == 500
    assert "gunicorn --workers 1 --threads 16" in refused.text
    for _ in range(2):
        assert client.get("/ping").text == "pong"
    assert len([each for each in caplog.records if "with one thread" in each.message]) == 1


WAITRESS = [
    *(sys.executable, "-m", "waitress", "--listen", "127.0.0.1:{port}", "--threads", "8"),
    *("--call", "tissuumaps_sic.viewer.wsgi:make_application"),
]


def test_waitress_serves_it_and_leaves_nothing(small_h5ad, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with running(WAITRESS, small_h5ad.parent, TMPDIR=str(temporary)) as (base, process):
        assert len(annotate(base)) > 96
        assert [each.name[:15] for each in temporary.iterdir()] == ["tissuumaps-sic-"]
        process.send_signal(2)
        process.wait()
    assert list(temporary.iterdir()) == []
    assert (small_h5ad.parent / "small.sic.json").is_file()


@pytest.mark.skipif(find_spec("gunicorn") is None, reason="gunicorn is not installed (pip install gunicorn)")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_gunicorn_serves_it_by_one_worker(small_h5ad, tmp_path, workers):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--bind",
        "127.0.0.1:{port}",
        "--workers",
        workers,
        "--threads",
        "8",
    ]
    command += ["tissuumaps_sic.viewer.wsgi:make_application()"]
    with running(command, small_h5ad.parent, TMPDIR=str(temporary)) as (base, process):
        if workers == "1":
            assert len(annotate(base)) > 96
        else:
            with pytest.raises(URLError, match="500"):
                annotate(base)
        process.terminate()
        process.wait()
    assert not list(temporary.glob("tissuumaps-sic-*"))
