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


def to_stored_mask(mask: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a (H, W) mask of the upright view of an image back to its stored pixels, as `to_stored_pixels` does."""
    turned = {
        1: mask,
        2: mask[:, ::-1],
        3: mask[::-1, ::-1],
        4: mask[::-1],
        5: mask.T,
        6: np.rot90(mask, 1),
        7: mask[::-1, ::-1].T,
        8: np.rot90(mask, -1),
    }
    return np.ascontiguousarray(turned[orientation])


def fill_ellipse(
    centre: tuple[float, float], radii: tuple[float, float], angle: float, shape: tuple[int, int]
) -> np.ndarray:
    """Return the (H, W) bool mask of the pixels whose centre lies inside an ellipse.

    Args:
        centre: x, y in px, the corner of the first pixel at (0, 0).
        radii: along its first axis and across it, in px.
        angle: of the first axis from the x axis towards the y axis (clockwise, y being down), in radians.
        shape: (H, W) of the mask. What lies outside is cut off.
    """
    height, width = shape
    x = np.arange(width) + 0.5 - centre[0]
    y = (np.arange(height) + 0.5 - centre[1])[:, None]
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    return (along / radii[0]) ** 2 + (across / radii[1]) ** 2 < 1
