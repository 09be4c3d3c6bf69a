"""Exact X-ray projection of closed meshes: how many millimetres of each a ray passes through.

The chord of a ray through a closed surface is the sum of its exits minus the sum of its entries. Seen along z, each
triangle adds its depth with the sign of its facing. Down a pixel column that sum is a piecewise linear function which
changes only where the column crosses an edge, so that two running sums of those changes give it for all rows at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kerasortho.data.phantom.meshes import Array, Mesh, Topology

TOUCH = 1e-3  # mm: shorter chords are rounding errors of the running sums
EDGE_ON = 1e-7  # px^2: a face of less area hides behind its own edge


@dataclass(frozen=True)
class Camera:
    """Where the detector is: a parallel plate ``distance`` mm below the scene's origin under a point source.

    ``shape`` (H, W) pixels of ``spacing`` mm at the detector; ``centre`` (x, y) mm at the origin's depth.
    """

    shape: tuple[int, int]
    spacing: float
    centre: tuple[float, float]
    source: float = 1100.0  # mm from source to detector
    distance: float = 60.0  # mm from origin to detector

    def to_pixels(self, vertices: Array) -> Array:
        """Project (N, 3) mm to (column, row, depth mm); pixel centres have whole numbers."""
        magnify = self.source / np.maximum(self.source - self.distance - vertices[:, 2], 100.0)
        middle = np.asarray(self.centre) * self.source / (self.source - self.distance)
        place = (vertices[:, :2] * magnify[:, None] - middle) / self.spacing
        return np.column_stack([place + (np.array(self.shape[::-1]) - 1) / 2, vertices[:, 2]])


@dataclass(frozen=True)
class Patch:
    """Chord lengths (h, w) mm of one mesh and the corner (row, column) of the image they belong to."""

    chords: Array
    row: int
    column: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of a whole image that the patch covers."""
        height, width = self.chords.shape
        return slice(self.row, self.row + height), slice(self.column, self.column + width)

    def add_to(self, image: Array) -> None:
        """Add the patch to a whole image (H, W)."""
        image[self.window] += self.chords


def chords(mesh: Mesh, camera: Camera) -> Patch | None:
    """Return the chord length of every ray through ``mesh``, or None where the mesh lies outside the image."""
    points = camera.to_pixels(mesh.vertices)
    low = np.maximum(np.ceil(points[:, :2].min(0)), 0).astype(int)
    high = np.minimum(np.floor(points[:, :2].max(0)), np.array(camera.shape[::-1]) - 1).astype(int)
    if (high < low).any():
        return None
    points[:, :2] -= low
    width, height = (high - low + 1).tolist()
    total = _scan(points, mesh.topology, height, width)
    if total.sum() < 0:  # wound the other way round
        total = -total
    total[total < TOUCH] = 0.0
    return Patch(total, int(low[1]), int(low[0]))


def _scan(points: Array, topology: Topology, height: int, width: int) -> Array:
    """Return the signed depth between entries and exits, (height, width): each face switched on and off by its edges.

    A pixel column crosses an edge from left to right where one of the edge's faces begins and the other ends, so below
    that crossing the sum changes by the difference of the two faces' planes. Both faces see the same crossing: no gaps.
    """
    x, y = points[:, 0], points[:, 1]
    start, end = topology.edges
    forward = x[start] < x[end]
    left, right = np.where(forward, start, end), np.where(forward, end, start)
    first = np.clip(np.ceil(x[left]), 0, width).astype(np.int64)
    count = np.clip(np.ceil(x[right]), 0, width).astype(np.int64) - first
    edge = np.flatnonzero(count)
    left, right, first, count = left[edge], right[edge], first[edge], count[edge]
    planes = _planes(points, topology.faces)
    change = planes[:, topology.beside[0, edge]] - planes[:, topology.beside[1, edge]]
    change *= np.where(forward[edge], 1.0, -1.0)
    gradient = (y[right] - y[left]) / (x[right] - x[left])
    along = np.repeat(np.arange(len(edge)), count)
    column = np.arange(len(along)) - (np.cumsum(count) - count - first)[along]
    row = np.clip(np.ceil(y[left][along] + gradient[along] * (column - x[left][along])), 0, height).astype(np.int64)
    place, size = row * width + column, (height + 1) * width
    levels = np.bincount(place, change[0][along] + change[1][along] * column, size).reshape(height + 1, width)[:height]
    slopes = np.bincount(place, change[2][along], size).reshape(height + 1, width)[:height]
    depth: Array = np.cumsum(levels, 0) + np.arange(height)[:, None] * np.cumsum(slopes, 0)
    return depth


def _planes(points: Array, faces: np.ndarray) -> Array:
    """Return (3, F): each face's depth as c0 + c1 * column + c2 * row; zero for faces seen exactly from their edge."""
    a, b, c = points[faces[:, 0]], points[faces[:, 1]], points[faces[:, 2]]
    (ux, uy, uz), (vx, vy, vz) = (b - a).T, (c - a).T
    area = ux * vy - uy * vx
    scale = np.where(np.abs(area) > EDGE_ON, 1.0 / np.where(area == 0, 1.0, area), 0.0)
    by_column, by_row = (uz * vy - uy * vz) * scale, (ux * vz - uz * vx) * scale
    level = np.where(scale == 0, 0.0, a[:, 2]) - by_column * a[:, 0] - by_row * a[:, 1]
    return np.stack([level, by_column, by_row])


def merged_chords(meshes: Sequence[Mesh], camera: Camera, squarings: int = 2) -> Patch | None:
    """Return the chords of overlapping parts of one body: the p-norm of the parts' chords, p = 2 ** ``squarings``.

    The outline is exactly the union's; inside, the p-norm lies between the longest part (full overlap) and the sum.
    """
    patches = [patch for mesh in meshes if (patch := chords(mesh, camera)) is not None]
    if len(patches) < 2:
        return patches[0] if patches else None
    row, column = min(p.row for p in patches), min(p.column for p in patches)
    bottom = max(p.row + p.chords.shape[0] for p in patches)
    right = max(p.column + p.chords.shape[1] for p in patches)
    total = np.zeros((bottom - row, right - column))
    for patch in patches:
        powers = patch.chords
        for _ in range(squarings):
            powers = powers * powers
        Patch(powers, patch.row - row, patch.column - column).add_to(total)
    for _ in range(squarings):
        np.sqrt(total, out=total)
    return Patch(total, row, column)
