"""The one base of what a person can act on: a message of one line, and how a program passes it on.

Every error of both packages that is told to people derives from `SicError`. The commands and the server
catch that class, once each; anything else is a mistake of ours and is told as one.
"""

from __future__ import annotations


class SicError(Exception):
    """Something is not as it should be; the message says what, with which value, and what to do next.

    Attributes
    ----------
    exit_code : int
        What a command ends with where this ends it: 1 when the work failed, 2 for wrong use.
    status : int
        The HTTP status by which the server answers a request that came upon it.
    """

    exit_code: int = 1
    status: int = 422


class WrongUseError(SicError):
    """Options or arguments that cannot be meant; a command ends with 2."""

    exit_code = 2
    status = 400
