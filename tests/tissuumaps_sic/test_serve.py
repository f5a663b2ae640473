"""Who may be served: this machine, others by a password, everyone when it was said twice."""

import pytest
import waitress.server

from tissuumaps_sic.cli import main
from tissuumaps_sic.serve import ServeError, serve


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
