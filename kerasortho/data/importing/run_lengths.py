"""Masks as run lengths, as COCO files keep them: plain numbers, or packed into text.

Runs go down the columns, from left to right, and begin with background. Packed, each number takes one or more
characters of six bits, lowest first: five bits of the number and one that says whether more follow; from the fourth
number on, what is packed is the difference to the last but one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kerasortho.errors import KerasOrthoError

_ZERO = 48  # the character of six zero bits


def encode(mask: np.ndarray) -> list[int]:
    """Return the run lengths of a (H, W) mask."""
    flat = np.asarray(mask, bool).ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(edges).tolist()
    return [0, *counts] if flat.size and flat[0] else counts


def decode(counts: Sequence[int] | np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the (H, W) bool mask of run lengths. Raises KerasOrthoError unless they fill ``shape`` exactly."""
    runs = np.asarray(counts, np.int64)
    height, width = shape
    if runs.size and int(runs.min()) < 0:
        raise KerasOrthoError("a run length is negative")
    if int(runs.sum()) != height * width:
        raise KerasOrthoError(f"run lengths of {int(runs.sum())} pixels for an image of {width}x{height}")
    values = np.arange(runs.size) % 2 == 1
    return np.repeat(values, runs).reshape((height, width), order="F")


def pack(counts: Sequence[int]) -> str:
    """Return run lengths packed into text."""
    characters = []
    for index, count in enumerate(counts):
        number = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            bits, number = number & 0x1F, number >> 5
            more = number != (-1 if bits & 0x10 else 0)
            characters.append(bits | (0x20 if more else 0))
    return "".join(chr(_ZERO + bits) for bits in characters)


def unpack(text: str) -> list[int]:
    """Return the run lengths that were packed into ``text``. Raises KerasOrthoError for text that is damaged."""
    counts: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - _ZERO
        if not 0 <= bits < 64:
            raise KerasOrthoError(f"run lengths with the character {character!r}, which they do not use")
        number |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            number -= 1 << shift
        counts.append(number + counts[-2] if len(counts) > 2 else number)
        number = shift = 0
    if shift:
        raise KerasOrthoError("run lengths that end within a number")
    return counts
