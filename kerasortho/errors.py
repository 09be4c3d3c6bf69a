"""The one exception that a user is meant to read, and the did-you-mean that goes with it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class KerasOrthoError(Exception):
    """A mistake the user can mend: the message names the file, the field and the fix.

    The command line prints the message alone, without a traceback, and exits with code 2.
    """


class Interrupted(KerasOrthoError):
    """Work was asked to stop, and has saved where it was; the message tells how to go on. The exit code is 130."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``' Did you mean "x"?'`` for the known word closest to ``word``, or ``''`` if none is close."""
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(str(word).lower(), names, n=1, cutoff=0.6)
    return f' Did you mean "{names[close[0]]}"?' if close else ""
