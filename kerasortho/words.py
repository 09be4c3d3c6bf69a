"""Words that messages have in common: numbers of things, sizes, and values as the user gave them."""

from __future__ import annotations

_LONGEST_ECHO = 80


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number of things: ``"1 image"``, ``"2 images"``; ``many`` where that is not ``one`` with an s."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def echo(value: object) -> str:
    """Return a received value as Python writes it, cut where it is long."""
    return cut(repr(value))


def cut(text: str) -> str:
    """Return ``text``, or the beginning of a long one."""
    return text if len(text) <= _LONGEST_ECHO else f"{text[: _LONGEST_ECHO - 4]} ..."


def byte_size(count: int) -> str:
    """Return a size in the unit that suits it: ``"512 bytes"``, ``"4.0 KB"``, ``"1.5 GB"``."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if count >= scale:
            return f"{count / scale:,.1f} {unit}"
    return counted(count, "byte")
