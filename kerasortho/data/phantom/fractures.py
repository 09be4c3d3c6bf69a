"""Fractures: a long bone cut by a rough plane, its distal part displaced or hardly moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from kerasortho.data.phantom.bones import Bone
from kerasortho.data.phantom.meshes import Array, Mesh, turned_about
from kerasortho.data.phantom.scene import Scene

HAIRLINE = 0.4
"""Share of fractures that are not displaced."""

_SHORTEST = 25.0  # mm: shorter bones are not broken
_HALF_SLICE = 1.5  # mm of bone on either side that belong to the fracture

_Side = Callable[[Array], Array]  # of points (N, 3), how far behind the plane they lie, in mm


def break_bone(scene: Scene, candidates: Sequence[int], rng: np.random.Generator) -> str:
    """Break one of the bones that are numbered in ``candidates``, in place; return its name, or "" where none is long.

    The scene's `breaks` get the slices of bone along the broken surfaces.
    """
    breakable = [number for number in candidates if axis_length(scene.bones[number]) > _SHORTEST]
    if not breakable:
        return ""
    chosen = int(rng.choice(breakable))
    scene.bones[chosen], slices = _broken(scene.bones[chosen], rng)
    scene.breaks += slices
    return scene.bones[chosen].name


def point_on(axis: Array, fraction: float) -> tuple[Array, Array]:
    """Return the point (3,) mm at a fraction of the way along ``axis`` (K, 3), and the direction (3,) there."""
    steps = np.linalg.norm(np.diff(axis, axis=0), axis=1)
    reached = np.concatenate([[0.0], np.cumsum(steps)]) / steps.sum()
    point = np.array([np.interp(fraction, reached, axis[:, k]) for k in range(3)])
    near = [
        np.array([np.interp(np.clip(fraction + step, 0, 1), reached, axis[:, k]) for k in range(3)])
        for step in (-0.04, 0.04)
    ]
    direction = near[1] - near[0]
    return point, direction / np.linalg.norm(direction)


def half_width(bone: Bone, point: Array, direction: Array) -> float:
    """Return how far the bone's surface is from its axis near ``point``, in mm, on average."""
    vertices = np.concatenate([mesh.vertices for mesh in bone.outer]) - point
    along = vertices @ direction
    near = vertices[np.argsort(np.abs(along))[:20]]
    return float(np.median(np.linalg.norm(near - (near @ direction)[:, None] * direction, axis=1)))


def _broken(bone: Bone, rng: np.random.Generator) -> tuple[Bone, list[Mesh]]:
    assert bone.axis is not None
    point, direction = point_on(bone.axis, rng.uniform(0.12, 0.93))
    width = half_width(bone, point, direction)
    across = np.cross(direction, rng.normal(size=3))
    across /= np.linalg.norm(across)
    normal = direction + np.tan(np.radians(abs(rng.normal(0, 28)))) * across
    side = _rough_plane(point, direction, normal / np.linalg.norm(normal), width, rng)
    turn, shift = np.eye(3), direction * rng.uniform(0.15, 0.6)
    if rng.random() > HAIRLINE:
        hinge = np.cross(direction, rng.normal(size=3))
        turn = turned_about(hinge, abs(rng.normal(0, 7)))
        sideways = np.cross(hinge, direction) / np.linalg.norm(hinge)
        shift = shift + sideways * width * rng.uniform(0, 0.8) + direction * rng.uniform(-2.0, 1.0)

    def displaced(mesh: Mesh) -> Mesh:
        return mesh.moved(np.eye(3), -point).moved(turn, point + shift)

    def cut(mesh: Mesh) -> Mesh:
        before, behind = _clamped(mesh, direction, side, (-np.inf, 0.0)), _clamped(mesh, direction, side, (0.0, np.inf))
        return before.beside(displaced(behind))

    thin = [_clamped(mesh, direction, side, (-_HALF_SLICE, _HALF_SLICE)) for mesh in bone.outer]
    axis = np.stack([p if side(p[None])[0] < 0 else turn @ (p - point) + point + shift for p in bone.axis])
    return replace(bone.reshaped(cut), axis=axis), [*thin, *map(displaced, thin)]


def _rough_plane(point: Array, direction: Array, normal: Array, width: float, rng: np.random.Generator) -> _Side:
    """Return how far points lie behind a plane whose trace around the bone is jagged."""
    turns, heights = np.arange(1, 6), rng.normal(0, 0.16, 5) * width / np.arange(1, 6) ** 0.6
    phases = rng.uniform(0, 2 * np.pi, 5)
    first = np.cross(direction, [0.3, 0.4, 0.86])
    first /= np.linalg.norm(first)
    second = np.cross(direction, first)

    def side(points: Array) -> Array:
        away = points - point
        around = np.arctan2(away @ second, away @ first)
        jag = (heights * np.sin(around[:, None] * turns + phases)).sum(1)
        return np.asarray(away @ normal / (direction @ normal) - jag)

    return side


def _clamped(mesh: Mesh, direction: Array, side: _Side, between: tuple[float, float]) -> Mesh:
    """Return the part of ``mesh`` between two distances behind the plane.

    What lies beyond is pushed along ``direction`` onto the cut, which closes it; a sheet of no thickness has no chords.
    """
    where = side(mesh.vertices)
    pushed = np.clip(where, *between) - where
    return Mesh(mesh.vertices + pushed[:, None] * direction, mesh.topology)


def axis_length(bone: Bone) -> float:
    """Return the length of a bone's axis in mm; 0 for a short bone."""
    return 0.0 if bone.axis is None else float(np.linalg.norm(np.diff(bone.axis, axis=0), axis=1).sum())
