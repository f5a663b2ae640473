"""What the commands write to the terminal."""

from __future__ import annotations

import io
import sys


def escape_output() -> None:
    r"""Let stdout and stderr write what their encoding lacks as ``\xb5`` or ``\u5207``: never an exception.

    A terminal of Windows, or a pipe, may have an encoding that lacks the signs of a slide's name, and whose
    owner wants the other lines all the same.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
