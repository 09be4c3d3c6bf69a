"""The one exception that a user is meant to read, and what helps to word it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Literal


class KerasOrthoError(Exception):
    """A mistake the user can mend: the message names the file, the field and the fix.

    The command line prints the message alone, without a traceback, and exits with code 2.
    """


class Interrupted(KerasOrthoError):
    """Work was asked to stop, and has saved where it was; the message tells how to go on. The exit code is 130."""


# What TensorFlow, CUDA and their libraries say; within a compiled function it stands deep in a message of many lines.
_EXHAUSTED: dict[Literal["disk", "memory"], str] = {
    "disk": r"no space left|quota exceeded",
    "memory": r"OOM when|out of memory|ALLOC_FAILED|RESOURCE_EXHAUSTED|failed to allocate",
}


def find_exhausted(error: BaseException) -> tuple[Literal["disk", "memory"], str] | None:
    """Return what ran out, "disk" or "memory", and the line of TensorFlow's message that says so; else None."""
    lines = str(error).splitlines()
    for what, pattern in _EXHAUSTED.items():
        line = next((line for line in lines if re.search(pattern, line, re.IGNORECASE)), None)
        if line is not None:
            return what, line.strip()[:300]
    return None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``' Did you mean "x"?'`` for the known word closest to ``word``, or ``''`` if none is close."""
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(str(word).lower(), names, n=1, cutoff=0.6)
    return f' Did you mean "{names[close[0]]}"?' if close else ""
