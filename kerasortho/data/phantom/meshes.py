"""Closed triangle meshes in millimetres: a stack of closed rings of points with a pole at either end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Topology:
    """How a closed surface hangs together.

    ``faces`` (F, 3) are vertex numbers, consistently wound; ``edges`` (2, E) run from a vertex to another; ``beside``
    (2, E) are the faces on both sides: the first one's winding follows the edge, the second one's goes against it.
    """

    faces: Indices
    edges: Indices
    beside: Indices


@dataclass(frozen=True)
class Mesh:
    """A closed surface: ``vertices`` (N, 3) in mm."""

    vertices: Array
    topology: Topology

    def moved(self, rotation: Array, origin: Array | Sequence[float] = (0.0, 0.0, 0.0)) -> Mesh:
        """Return the mesh after ``rotation`` (3, 3) and then a shift by ``origin`` (3,)."""
        return Mesh(self.vertices @ np.asarray(rotation).T + np.asarray(origin), self.topology)

    def beside(self, other: Mesh) -> Mesh:
        """Return both as one, for parts that do not overlap in space: a ray's chords then add up."""
        mine, theirs = self.topology, other.topology
        vertices, faces = len(self.vertices), len(mine.faces)
        topology = Topology(
            np.concatenate([mine.faces, theirs.faces + vertices]),
            np.concatenate([mine.edges, theirs.edges + vertices], axis=1),
            np.concatenate([mine.beside, theirs.beside + faces], axis=1),
        )
        return Mesh(np.concatenate([self.vertices, other.vertices]), topology)


def rotation(axis: str, degrees: float) -> Array:
    """Return the right-handed (3, 3) rotation about the axis ``"x"``, ``"y"`` or ``"z"``."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = c
    matrix[first, second], matrix[second, first] = -s, s
    return matrix


def turned_about(axis: Array, degrees: float) -> Array:
    """Return the right-handed (3, 3) rotation about any ``axis`` (3,) (Rodrigues' formula)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = np.radians(degrees)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def stack(rings: Array, start: Array, end: Array) -> Mesh:
    """Close rings (K, P, 3) with a pole at either end into a mesh."""
    return Mesh(np.concatenate([rings.reshape(-1, 3), start[None], end[None]]), _stacked(*rings.shape[:2]))


@lru_cache(maxsize=256)
def _stacked(count: int, points: int) -> Topology:
    index = np.arange(count * points).reshape(count, points)
    following = np.roll(index, -1, axis=1)
    a, b, c, d = index[:-1], following[:-1], index[1:], following[1:]
    first, last = count * points, count * points + 1
    triangles = [
        np.stack([a, b, d], -1).reshape(-1, 3),
        np.stack([a, d, c], -1).reshape(-1, 3),
        np.stack([np.full(points, first), following[0], index[0]], -1),
        np.stack([np.full(points, last), index[-1], following[-1]], -1),
    ]
    faces = np.concatenate(triangles)
    begin, finish = faces.reshape(-1), np.roll(faces, -1, axis=1).reshape(-1)
    owner = np.repeat(np.arange(len(faces)), 3)
    total = count * points + 2
    order, reverse = np.argsort(begin * total + finish), np.argsort(finish * total + begin)  # each edge meets its twin
    once = begin[order] < finish[order]
    return Topology(
        faces, np.stack([begin[order], finish[order]])[:, once], np.stack([owner[order], owner[reverse]])[:, once]
    )
