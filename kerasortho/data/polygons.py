"""Annotation polygons: from the view they were drawn on to stored pixels, and from outlines to masks."""

from __future__ import annotations

import numpy as np

SIDES_SWAPPED = (5, 6, 7, 8)
"""EXIF orientations whose upright view has width and height exchanged."""


def fill_polygon(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the (H, W) bool mask of the pixels whose centre lies inside a polygon.

    Args:
        points: (V, 2) float, x to the right and y down in px, the corner of the first pixel at (0, 0) as in COCO files.
        shape: (H, W) of the mask. What lies outside is cut off.

    A polygon that crosses itself is filled everywhere it winds around (non-zero rule).
    """
    height, width = shape
    columns = np.arange(width) + 0.5
    winding = np.zeros(shape, np.int16)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        first, last = (int(np.clip(np.ceil(y - 0.5), 0, height)) for y in sorted((y0, y1)))
        rows = np.arange(first, last) + 0.5
        crossing = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
        winding[first:last] += np.where(columns > crossing[:, None], 1 if y1 > y0 else -1, 0).astype(np.int16)
    return winding != 0


def to_stored_pixels(points: np.ndarray, orientation: int, shape: tuple[int, int]) -> np.ndarray:
    """Map (V, 2) points drawn on the upright view of an image to its stored pixels.

    Args:
        points: x, y in px of the view that a browser shows, which obeys the EXIF orientation.
        orientation: EXIF tag 0x0112, 1 to 8 (Exif 2.32, table 6).
        shape: (H, W) of the stored pixels.
    """
    height, width = shape
    x, y = points[:, 0], points[:, 1]
    stored = {
        1: (x, y),
        2: (width - x, y),
        3: (width - x, height - y),
        4: (x, height - y),
        5: (y, x),
        6: (y, height - x),
        7: (width - y, height - x),
        8: (width - y, x),
    }
    return np.stack(stored[orientation], axis=1)
