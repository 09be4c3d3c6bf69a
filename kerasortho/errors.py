"""The one exception that a user is meant to read, and the did-you-mean that goes with it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class KerasOrthoError(Exception):
    """A mistake the user can mend: the message names the file, the field and the fix.

    The command line prints the message alone, without a traceback, and exits with code 2.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``' Did you mean "x"?'`` for the known word closest to ``word``, or ``''`` if none is close."""
    close = difflib.get_close_matches(str(word).lower(), {name.lower(): name for name in known}, n=1, cutoff=0.6)
    if not close:
        return ""
    original = next(name for name in known if name.lower() == close[0])
    return f' Did you mean "{original}"?'
