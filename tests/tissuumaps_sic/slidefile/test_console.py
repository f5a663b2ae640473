import io
import logging
import sys

import pytest

import embedder.cli
import tissuumaps_sic.cli
from tissuumaps_sic.slidefile.console import escape_output


def narrow_terminals(monkeypatch):
    """Put terminals that know few letters, and refuse the others, in place of pytest's streams."""
    streams = []
    for name in ("stdout", "stderr"):
        streams.append(io.TextIOWrapper(io.BytesIO(), encoding="cp1252", errors="strict"))
        monkeypatch.setattr(sys, name, streams[-1])
    return streams


def test_what_a_terminal_cannot_write_is_escaped(monkeypatch):
    with monkeypatch.context() as patched:
        streams = narrow_terminals(patched)
        escape_output()
    for stream in streams:
        print("切片 µm \udce9", file=stream, flush=True)
        assert stream.buffer.getvalue().decode("cp1252").strip() == r"\u5207\u7247 µm \udce9"


@pytest.mark.parametrize("main", [embedder.cli.main, tissuumaps_sic.cli.main])
def test_both_commands_escape(monkeypatch, main):
    with monkeypatch.context() as patched:
        streams = narrow_terminals(patched)
        with pytest.raises(SystemExit):
            main(["--help"])
    assert [stream.errors for stream in streams] == ["backslashreplace"] * 2


def test_streams_that_are_something_else_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", None)
    escape_output()
    logging.getLogger("embedder").debug("nothing happens")
