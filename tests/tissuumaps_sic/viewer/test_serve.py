"""Who may be served: this machine, others by a password, everyone when it was said twice."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

import pytest
import waitress.server
from making.server import Client as Connection
from making.server import serving
from werkzeug.test import Client

from tissuumaps_sic.cli import main
from tissuumaps_sic.viewer.access import FOLDER
from tissuumaps_sic.viewer.guard import guard_app
from tissuumaps_sic.viewer.serve import ServeError, make_app, serve
from tissuumaps_sic.viewer.worklist import page


@pytest.fixture
def listening(monkeypatch):
    """The addresses that were listened on, without listening."""
    asked = []

    class Server:
        effective_port = 1

        def run(self):
            pass

        def close(self):
            pass

    def create(app, *, host, **_):
        asked.append(host)
        return Server()

    monkeypatch.setattr(waitress.server, "create_server", create)
    return asked


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.tmap").write_text("{}")
    return tmp_path


def run(folder, host, **options):
    serve(folder, host=host, browser=False, announce=lambda addresses: None, **options)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", "::1", "localhost"])
def test_this_machine_needs_no_password(folder, listening, host):
    run(folder, host)
    assert listening == [host]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "10.0.0.1", "pathology.example", ""])
def test_other_machines_are_refused_without_a_password_unless_told_twice(folder, listening, host):
    with pytest.raises(
        ServeError, match=r"without a password; put a line user;password into .*auth.*--public"
    ):
        run(folder, host)
    assert listening == []
    run(folder, host, public=True)
    (folder / "auth").write_text("anna;secret")
    run(folder, host)
    assert listening == [host, host]


def test_the_command_refuses_in_one_line(folder, listening, caplog):
    command = ["serve", str(folder), "--host", "0.0.0.0", "--no-browser"]
    assert main(command) == 1
    assert len(caplog.records) == 1
    assert listening == []
    assert main([*command, "--public"]) == 0
    assert listening == ["0.0.0.0"]


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("/a.tmap", {}),
        ("/a.tmap?path=sub", {}),
        # TissUUmaps looks for the password where the request says that it came from.
        ("/secret.csv", {"Referer": "http://localhost/a.tmap?path=/"}),
        ("/plugins/SIC.js", {}),
        ("/static/js/utils/pluginUtils.js", {}),
        ("/ping", {}),
    ],
)
def test_with_an_auth_file_nothing_is_answered_without_the_password(folder, address, headers):
    (folder / "secret.csv").write_text("a,b")
    (folder / "sub").mkdir()
    (folder / "sub" / "a.tmap").write_text("{}")
    client = Client(guard_app(make_app(folder), folder / "auth"))
    assert client.get(address, headers=headers).status_code == 200
    (folder / "auth").write_text("anna;secret\n")
    refused = client.get(address, headers=headers)
    assert refused.status_code == 401
    assert "Basic" in refused.headers["WWW-Authenticate"]
    for wrong in (("anna", "Secret"), ("ben", "secret"), ("", "")):
        assert client.get(address, headers=headers, auth=wrong).status_code == 401
    assert client.get(address, headers=headers, auth=("anna", "secret")).status_code == 200


@pytest.mark.parametrize(
    ("address", "query"),
    [
        ("/../secret.csv", {}),
        ("/sub/../../secret.csv", {}),
        ("/../secret.json", {}),
        ("/..\\secret.csv", {}),
        ("/secret.tmap", {"path": ".."}),
        ("/secret.tmap", {"path": "sub/../.."}),
        ("/secret.tmap", {"path": "OUTSIDE"}),
        ("/plugins/../evil/run", {}),
        ("/plugins/../../../evil/run", {}),
        ("/get_file_tree", {"root": "../"}),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_address_leaves_the_folder(tmp_path, address, query, method):
    """TissUUmaps itself reads, writes and executes files elsewhere when it is asked for them so."""
    folder = tmp_path / "served"
    folder.mkdir()
    for name in ("secret.csv", "secret.json", "secret.tmap"):
        (tmp_path / name).write_text('{"secret": 1}')
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
    query = {key: value.replace("OUTSIDE", str(tmp_path)) for key, value in query.items()}
    if address.startswith("/plugins"):
        up = os.path.relpath(tmp_path / "evil", FOLDER)
        address = f"/plugins/{up}/run"
    client = Client(guard_app(make_app(folder), folder / "auth"))
    answer = client.open(address, method=method, query_string=query, json={} if method == "POST" else None)
    assert answer.status_code == 404
    assert b"secret" not in answer.data
    assert (tmp_path / "secret.tmap").read_text() == '{"secret": 1}'
    assert not (tmp_path / "executed").exists()


def test_an_image_may_be_a_link_and_a_project_lie_below(tmp_path):
    folder = tmp_path / "served"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.tmap").write_text("{}")
    (tmp_path / "elsewhere.csv").write_text("x,y")
    (folder / "sub" / "link.csv").symlink_to(tmp_path / "elsewhere.csv")
    client = Client(guard_app(make_app(folder), folder / "auth"))
    assert client.get(page(folder, folder / "sub" / "a.tmap")).status_code == 200
    # Pictures are linked from where the scanner put them (`test_routes.py`); tables lie in the folder.
    assert client.get("/sub/link.csv").status_code == 404


def test_an_auth_file_without_a_password_lets_nobody_in(folder):
    for text in (b"", b"anna", b"anna;", b"\xff\xfe"):
        (folder / "auth").write_bytes(text)
        client = Client(guard_app(make_app(folder), folder / "auth"))
        for given in (("", ""), ("anna", "")):
            assert client.get("/a.tmap", auth=given).status_code == 401


def test_a_slide_comes_before_the_project_of_its_result(folder, listening):
    for name in ("a.labels.tmap", "b.tmap", "b.labels.tmap"):
        (folder / name).write_text("{}")
    told = []
    serve(folder, browser=False, announce=told.extend)
    assert [each.rpartition("/")[2] for each in told] == [
        "a.tmap",
        "a.labels.tmap",
        "b.tmap",
        "b.labels.tmap",
    ]


@pytest.mark.parametrize("text", [b"anna;x\nben;y", b"anna", b"anna;", b"", b"\xff\xfea\0n\0", b";\n"])
@pytest.mark.parametrize("where", ["", "sub"])
def test_passwords_that_let_nobody_in_are_refused_at_the_start(folder, listening, text, where):
    (folder / where).mkdir(exist_ok=True)
    auth = folder / where / "auth"
    auth.write_bytes(text)
    with pytest.raises(ServeError, match=r"auth: .*user;password"):
        run(folder, "127.0.0.1")
    assert listening == []
    auth.write_bytes(b"\xef\xbb\xbfanna;se;cret\r\n")
    run(folder, "127.0.0.1")


def test_the_command_takes_names_of_the_server(folder, listening, monkeypatch):
    asked = {}
    monkeypatch.setattr(
        "tissuumaps_sic.viewer.serve.guard_app", lambda app, auth, **options: asked.update(options)
    )
    names = ["--allowed-host", "a.example", "--allowed-host", "b.example"]
    assert main(["serve", str(folder), "--no-browser", *names]) == 0
    assert asked["names"] == ["a.example", "b.example"]


def test_a_proxy_lets_other_machines_in_and_its_path_is_in_the_addresses(folder, listening):
    # A path is there for a proxy, too.
    for behind in ({"proxies": ["127.0.0.1"]}, {"sub_path": "/slides"}):
        with pytest.raises(ServeError, match=r"a proxy: other machines .* without a password"):
            run(folder, "127.0.0.1", **behind)
    told = []
    more = {"sub_path": "slides", "proxies": ["127.0.0.1"], "public": True}
    serve(folder, browser=False, announce=told.extend, **more)
    assert told == ["http://127.0.0.1:1/slides/a.tmap"]
    (folder / "auth").write_text("anna;secret")
    run(folder, "127.0.0.1", proxies=["127.0.0.1"])
    assert listening == ["127.0.0.1"] * 2


def test_the_command_may_take_no_change_and_refuses_paths_and_proxies_that_are_none(
    folder, listening, monkeypatch, caplog, capsys
):
    monkeypatch.setitem(make_app(folder).config, "READ_ONLY", False)
    command = ["serve", str(folder), "--no-browser"]
    assert main([*command, "--read-only"]) == 0
    assert make_app(folder).config["READ_ONLY"] is True
    (folder / "b.tmap").write_bytes((folder / "a.tmap").read_bytes())
    assert main([*command, "--sub-path", "/slides", "--public"]) == 0
    assert "pictures: http://127.0.0.1:1/slides/\n" in capsys.readouterr().out
    assert main([*command, "--sub-path", "/a b"]) == 2
    assert main([*command, "--behind-proxy", "localhost", "--public"]) == 2
    assert "is not a sub-path" in caplog.text
    assert "is not the address of a proxy" in caplog.text
    assert listening == ["127.0.0.1"] * 2


def test_a_user_without_a_home_has_every_command(monkeypatch, caplog, tmp_path):
    monkeypatch.delenv("HOME", raising=False)

    def unknown(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    for command in ([], ["serve"], ["install-plugin"]):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--help"])
        assert ended.value.code == 0
    assert main(["install-plugin"]) == 2
    assert "--to: you have no home folder" in caplog.text
    assert main(["install-plugin", "--to", str(tmp_path / "plugins")]) == 0
    assert (tmp_path / "plugins" / "SIC.js").is_file()


def test_a_real_server_bounds_what_anyone_may_send_and_ends_cleanly(tmp_path, small_h5ad, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    (small_h5ad.parent / "auth").write_text("anna;se;cret")
    with serving(small_h5ad.parent) as server, ExitStack() as held:
        # Who connects and says nothing shuts nobody out.
        host, _, port = server.netloc.rpartition(":")
        for _ in range(300):
            held.enter_context(socket.create_connection((host, int(port))))
        connection = HTTPConnection(server.netloc, timeout=60)
        connection.request("GET", "/ping", headers={"Authorization": "Basic YW5uYTpzZTtjcmV0"})
        assert connection.getresponse().read() == b"pong"
        # A body is refused by what it says of its length, before it is sent and before the password.
        connection = HTTPConnection(server.netloc, timeout=60)
        connection.putrequest("POST", "/plugins/SIC/open")
        connection.putheader("Content-Length", str(400 * 2**20))
        connection.putheader("Content-Type", "application/json")
        connection.endheaders()
        assert connection.getresponse().status == 413
        left = [path for path in temporary.iterdir() if path.is_file()]
        assert left == []
        (folder,) = temporary.iterdir()
        (folder / "half an export").write_bytes(b"x")
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
    assert list(temporary.iterdir()) == []


def test_a_server_has_a_temporary_folder_of_its_own_that_goes_with_it(tmp_path, monkeypatch, caplog):
    from tissuumaps_sic.viewer import serve

    monkeypatch.setattr(serve.tempfile, "tempdir", str(tmp_path))
    with serve.folder_for_temporary_files():
        assert Path(serve.tempfile.gettempdir()).parent == tmp_path
    assert serve.tempfile.tempdir == str(tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(serve.tempfile, "tempdir", str(tmp_path / "none"))
    with serve.folder_for_temporary_files():
        assert "exports will fail" in caplog.text


def test_a_lock_that_another_program_holds_stops_nobody_else(small_h5ad):
    from concurrent.futures import ThreadPoolExecutor

    from tissuumaps_sic.slidefile.locking import hold_lock

    seed = {"kind": "seed", "label": 1, "patches": [1]}
    with serving(small_h5ad.parent) as server:
        pool = ThreadPoolExecutor(40)
        with hold_lock(small_h5ad.with_name(".small.sic.lock")):
            waiting = [pool.submit(Connection(server.netloc).change, 0, **seed) for _ in range(40)]
            refused = []
            while len(refused) < 16:
                refused = [each for each in waiting if each.done()]
            assert {each.result()[0] for each in refused} == {503}
            connection = HTTPConnection(server.netloc, timeout=60)
            connection.request("GET", "/ping")
            assert connection.getresponse().read() == b"pong"
            assert not all(each.done() for each in waiting)
        assert 200 in {each.result()[0] for each in waiting}
        pool.shutdown()


@pytest.mark.parametrize("what", ["export", "run"])
def test_sigterm_ends_a_command_and_leaves_nothing(tmp_path, small_h5ad, what):
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tissuumaps_sic import cli\n"
        "from tissuumaps_sic.slidefile.writing import replacing\n"
        "def slow(options):\n"
        f"    with replacing(Path({str(tmp_path / 'out.csv')!r})) as temporary:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        signal.pause()\n"
        f"cli.COMMANDS[{what!r}].run = slow\n"
        f"sys.exit(cli.main([{what!r}, {str(small_h5ad)!r}]))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], check=False)
    assert ended.returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == [small_h5ad.name]


def test_a_folder_that_was_served_before_leaves_no_first_page(tmp_path):
    make_app(tmp_path, default=tmp_path / "a.tmap")
    assert make_app(tmp_path).config["DEFAULT_PROJECT"] is None
