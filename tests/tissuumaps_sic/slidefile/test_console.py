import io
import logging
import sys

import pytest

import embedder.cli
import tissuumaps_sic.cli
from tissuumaps_sic.slidefile.console import escape_output


@pytest.fixture
def narrow(monkeypatch):
    """Terminals that know few letters, and refuse the others."""
    streams = {
        name: io.TextIOWrapper(io.BytesIO(), encoding="cp1252", errors="strict")
        for name in ("stdout", "stderr")
    }
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    return streams


def test_what_a_terminal_cannot_write_is_escaped(narrow):
    escape_output()
    for stream in narrow.values():
        print("切片 µm \udce9", file=stream, flush=True)
        assert stream.buffer.getvalue().decode("cp1252").strip() == r"\u5207\u7247 µm \udce9"


@pytest.mark.parametrize("main", [embedder.cli.main, tissuumaps_sic.cli.main])
def test_both_commands_escape(narrow, main):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert [stream.errors for stream in narrow.values()] == ["backslashreplace"] * 2


def test_streams_that_are_something_else_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", None)
    escape_output()
    logging.getLogger("embedder").debug("nothing happens")
