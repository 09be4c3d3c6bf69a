"""The outline of a mask along its pixels' edges: a polygon that gives exactly the mask again."""

from __future__ import annotations

import numpy as np

_RIGHT, _DOWN, _LEFT, _UP = range(4)
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def trace_outline(mask: np.ndarray) -> np.ndarray | None:
    """Return the outline of a mask, clockwise; None for a mask that one outline cannot give: it has holes or pieces.

    Args:
        mask: (H, W) bool with at least one pixel. Pixels that touch at a corner only are not joined.

    Returns:
        (V, 2) integer corners x, y, the corner of the first pixel at (0, 0), as `fill_polygon` takes them.
    """
    edges = _edges(mask)
    y, x = (int(index) for index in np.argwhere(edges[_RIGHT])[0])
    start, direction, length = (x, y), _RIGHT, 0
    corners = [start]
    while length == 0 or (x, y) != start or direction != _RIGHT:
        dx, dy = _STEPS[direction]
        x, y, length = x + dx, y + dy, length + 1
        # Right first: the outline stays with its pixel where two pixels touch at a corner.
        for turn in (direction + 1, direction, direction + 3):
            if edges[turn % 4, y, x]:
                if turn % 4 != direction:
                    corners.append((x, y))
                direction = turn % 4
                break
    return np.array(corners[:-1]) if length == int(edges.sum()) else None


def _edges(mask: np.ndarray) -> np.ndarray:
    """Return (4, H + 1, W + 1) bool: from which corners an edge leads right, down, left, up, mask on its right hand."""
    height, width = mask.shape
    around = np.pad(mask, 1)
    edges = np.zeros((4, height + 1, width + 1), bool)
    edges[_RIGHT, :-1, :-1] = mask & ~around[:-2, 1:-1]
    edges[_DOWN, :-1, 1:] = mask & ~around[1:-1, 2:]
    edges[_LEFT, 1:, 1:] = mask & ~around[2:, 1:-1]
    edges[_UP, 1:, :-1] = mask & ~around[1:-1, :-2]
    return edges
