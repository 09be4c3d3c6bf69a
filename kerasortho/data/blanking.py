"""Rectangles of an image that are blanked before a model sees it: burned-in text, above all.

The manifest's column ``blank`` holds them as "x, y, width, height" in px of the stored image, several with semicolons
between. Each is filled with the median of the pixels around it: the text goes, and no new edge tells where it was.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.radiograph import Radiograph
from kerasortho.radiograph.reading import read_radiograph
from kerasortho.words import echo

Box = tuple[int, int, int, int]
"""x, y (of the upper left corner), width and height, in px."""

_BOX = re.compile(r"\s*(\d+)\s*,\s*(\d+)\s*,\s*([1-9]\d*)\s*,\s*([1-9]\d*)\s*", re.ASCII)
_FRAME = 4  # px around a box whose median fills it


def parse_boxes(cell: str, place: str) -> tuple[Box, ...]:
    """Return the boxes of a cell such as "4, 345, 17, 13; 0, 0, 60, 20". ``place`` names it in a KerasOrthoError."""
    boxes = []
    for part in cell.split(";"):
        found = _BOX.fullmatch(part)
        if found:
            boxes.append((int(found[1]), int(found[2]), int(found[3]), int(found[4])))
        elif part.strip():
            raise KerasOrthoError(
                f'{place}: a box to blank must be "x, y, width, height", four whole numbers of px, with semicolons '
                f"between boxes. Received: {echo(part.strip())}"
            )
    return tuple(boxes)


def format_boxes(boxes: Sequence[Box]) -> str:
    """Return the cell that `parse_boxes` reads back to ``boxes``."""
    return "; ".join(", ".join(map(str, box)) for box in boxes)


def blanked(pixels: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """Return (H, W) pixels with each box filled with the median of the pixels around it that lie in no box.

    Raises KerasOrthoError for a box that reaches beyond the image: it was made for another one.
    """
    if not boxes:
        return pixels
    height, width = pixels.shape
    inside = np.zeros(pixels.shape, bool)
    for x, y, wide, high in boxes:
        if x + wide > width or y + high > height:
            raise KerasOrthoError(
                f"The box to blank {x}, {y}, {wide}, {high} (x, y, width, height) reaches beyond the image of "
                f"{width}x{height} px (width x height): it was made for another one. Correct it, or empty the cell."
            )
        inside[y : y + high, x : x + wide] = True
    result = pixels.copy()
    free = pixels[~inside]
    for x, y, wide, high in boxes:
        frame = np.s_[max(0, y - _FRAME) : y + high + _FRAME, max(0, x - _FRAME) : x + wide + _FRAME]
        around = pixels[frame][~inside[frame]]
        values = around if around.size else free
        result[y : y + high, x : x + wide] = np.median(values) if values.size else 0
    return result


def read_blanked(file: Path, boxes: Sequence[Box]) -> Radiograph:
    """Return the radiograph of a file with ``boxes`` blanked. Raises KerasOrthoError that names the file."""
    radiograph = read_radiograph(file)
    if not boxes:
        return radiograph
    try:
        return replace(radiograph, pixels=blanked(radiograph.pixels, boxes))
    except KerasOrthoError as error:
        raise KerasOrthoError(f"{file}: {error}") from None
