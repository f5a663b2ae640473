"""What is said of a command that Ctrl-C ends: that it goes on where it was only where that is so."""

import logging

import pytest

from embedder import cli


def stop(_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("arguments", "goes_on"),
    [
        (["embed", "slides", "-o", "out"], True),
        (["plan", "slides", "-o", "out"], False),
        (["check", "slide.h5ad"], False),
        (["encoders"], False),
    ],
)
def test_a_command_promises_to_go_on_only_where_it_does(arguments, goes_on, monkeypatch, caplog):
    for command in cli.COMMANDS.values():
        monkeypatch.setattr(command, "run", stop)
    with caplog.at_level(logging.ERROR):
        assert cli.main(arguments) == 130
    assert "stopped" in caplog.text
    assert ("goes on where it was" in caplog.text) == goes_on
