"""The shapes that bones and soft tissue are built from: tubes, blobs and plates, in millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from kerasortho.data.phantom.meshes import Array, Mesh, stack

Numbers = Sequence[float] | Array
Table = Sequence[Sequence[float]] | Array
_FINE = 121  # rows of a table while it is smoothed


@dataclass(frozen=True)
class Bump:
    """A knob (or, with a negative height, a dent) on a tube: where along it (0..1), on which side, and how big."""

    along: float
    side: float  # degrees: 0 = +x, 90 = +z
    height: float  # mm
    length: float = 0.06  # standard deviation along the tube, fraction
    breadth: float = 35.0  # standard deviation around it, degrees


def smooth_table(table: Table, rows: int, start: float = 0.0, end: float = 1.0) -> Array:
    """Resample a table whose first column ascends, at ``rows`` places between the fractions ``start`` and ``end``.

    Short rows end in zeros. Linear interpolation rounded by a Gaussian; rows lie closer together near the ends, where
    bones change most.
    """
    longest = max(len(row) for row in table)
    values = np.array([[*row, *[0.0] * (longest - len(row))] for row in table], float)
    fine = _interpolated(values, values[:, 0], np.linspace(values[0, 0], values[-1, 0], _FINE))
    where = start + (end - start) * (0.5 - 0.5 * np.cos(np.linspace(0, np.pi, rows)))
    return _interpolated(_rounding() @ fine, np.linspace(0, 1, _FINE), where)


def _interpolated(values: Array, knots: Array, where: Array) -> Array:
    after = np.clip(np.searchsorted(knots, where), 1, len(knots) - 1)
    part = (where - knots[after - 1]) / (knots[after] - knots[after - 1])
    result: Array = values[after - 1] + (values[after] - values[after - 1]) * part[:, None]
    return result


@lru_cache(maxsize=1)
def _rounding() -> Array:
    """Return the (FINE, FINE) matrix that blurs a column, ends held fixed by odd reflection."""
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / 2.5) ** 2)
    padded = np.pad(np.eye(_FINE), ((6, 6), (0, 0)), mode="reflect", reflect_type="odd")
    return np.stack([np.convolve(padded[:, k], kernel / kernel.sum(), "valid") for k in range(_FINE)], -1)


def _capped(rings: Array, centres: Array, axes: Array, domes: tuple[float, float]) -> Mesh:
    """Close a tube's rings by domes of the given heights (mm; negative is a hollow)."""
    angles = np.radians([25.0, 50.0, 70.0, 83.0])[:, None, None]

    def cap(at: int, sign: float, height: float) -> tuple[Array, Array]:
        rim, centre, axis = rings[at], centres[at], axes[at] * sign
        return centre + (rim - centre) * np.cos(angles) + axis * height * np.sin(angles), centre + axis * height

    before, start = cap(0, -1.0, domes[0])
    after, end = cap(-1, 1.0, domes[1])
    return stack(np.concatenate([before[::-1], rings, after]), start, end)


def straight_tube(
    table: Table,
    *,
    rows: int = 30,
    around: int = 28,
    span: tuple[float, float] = (0.0, 1.0),
    inset: Array | None = None,
    domes: tuple[float, float] = (1.0, 1.0),
    tilts: tuple[float, float] = (0.0, 0.0),
    bumps: Sequence[Bump] = (),
) -> Mesh:
    """Return a bone along +y from a table of (y, half width, half depth[, x offset, z offset]) in mm.

    ``inset`` (rows,) mm is taken off the radii; ``tilts`` slant the ends (mm of y for each mm of x).
    """
    full = [[*row, 0.0, 0.0][:5] for row in table]
    y, width, depth, x0, z0 = smooth_table(full, rows, *span).T
    if inset is not None:
        width, depth = np.maximum(width - inset, 0.05), np.maximum(depth - inset, 0.05)
    phi = np.linspace(0, 2 * np.pi, around, endpoint=False)
    where = (y - full[0][0]) / (full[-1][0] - full[0][0])
    offset = np.zeros((rows, around))
    for bump in bumps:
        turn = (np.degrees(phi) - bump.side + 180.0) % 360.0 - 180.0
        offset += bump.height * np.exp(
            -0.5 * ((where[:, None] - bump.along) / bump.length) ** 2 - 0.5 * (turn / bump.breadth) ** 2
        )
    x = (width[:, None] + offset) * np.cos(phi)
    z = (depth[:, None] + offset) * np.sin(phi)
    slant = tilts[0] * np.clip(1 - where / 0.15, 0, 1) + tilts[1] * np.clip(1 - (1 - where) / 0.15, 0, 1)
    rings = np.stack([x + x0[:, None], y[:, None] + slant[:, None] * x, z + z0[:, None]], -1)
    centres = np.stack([x0, y, z0], -1)
    return _capped(rings, centres, np.tile([0.0, 1.0, 0.0], (rows, 1)), domes)


def curved_tube(
    points: Table,
    widths: Numbers,
    depths: Numbers | None = None,
    *,
    rows: int = 36,
    around: int = 24,
    domes: tuple[float, float] | None = None,
    inset: float = 0.0,
    side: Numbers = (1.0, 0.0, 0.0),
) -> Mesh:
    """Return a tube through ``points`` (K, 3) mm with half widths along ``side`` and half depths across it."""
    path = np.asarray(points, float)
    steps = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    table = np.column_stack([steps, path, widths, widths if depths is None else depths])
    table = smooth_table(table, rows)
    centres, width, depth = table[:, 1:4], table[:, 4], table[:, 5]
    width, depth = np.maximum(width - inset, 0.1), np.maximum(depth - inset, 0.1)
    axes = np.gradient(centres, axis=0)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    across = np.asarray(side, float) - (axes @ np.asarray(side, float))[:, None] * axes
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    third = np.cross(axes, across)
    phi = np.linspace(0, 2 * np.pi, around, endpoint=False)[None, :, None]
    rings = centres[:, None] + across[:, None] * width[:, None, None] * np.cos(phi)
    rings = rings - third[:, None] * depth[:, None, None] * np.sin(phi)
    ends = (0.7 * min(width[0], depth[0]), 0.7 * min(width[-1], depth[-1])) if domes is None else domes
    return _capped(rings, centres, axes, ends)


def blob(
    centre: Numbers,
    radii: Numbers,
    *,
    turn: Array | None = None,
    boxy: float = 2.0,
    inset: float = 0.0,
    lumps: Sequence[Sequence[float]] = (),
    rows: int = 18,
    around: int = 24,
) -> Mesh:
    """Return a superellipsoid (``boxy`` 2 is an ellipsoid, 4 a rounded box) with half axes ``radii`` in mm.

    ``lumps`` are rows of (x, y, z, height): in that direction the surface rises by the fraction ``height``.
    """
    polar = np.linspace(0, np.pi, rows + 2)[:, None]
    phi = np.linspace(0, 2 * np.pi, around, endpoint=False)[None]
    unit = np.stack([np.sin(polar) * np.cos(phi), np.cos(polar) + 0 * phi, np.sin(polar) * np.sin(phi)], -1)
    reach = (np.abs(unit) ** boxy).sum(-1) ** (-1 / boxy)
    for *direction, height in lumps:
        towards = np.asarray(direction, float) / np.linalg.norm(direction)
        reach = reach * (1 + height * np.exp(4.0 * (unit @ towards - 1)))
    surface = unit * reach[..., None] * np.maximum(np.asarray(radii, float) - inset, 0.2)
    mesh = stack(surface[1:-1], surface[0, 0], surface[-1, 0])
    return mesh.moved(np.eye(3) if turn is None else turn, centre)


def plate(
    outline: Table,
    centre: Numbers,
    *,
    rim: float,
    middle: float,
    bow: Numbers = (0.0, 0.0, 0.0),
    inset: float = 0.0,
    around: int = 60,
) -> Mesh:
    """Return a bowed plate in the xy plane: ``outline`` (K, 2) mm, seen from ``centre`` (2,) as a star-shaped polygon.

    ``rim`` and ``middle`` are half thicknesses (mm); ``bow`` is (per x, per y, per squared distance / 1000) of z.
    """
    corners = np.asarray([*outline, outline[0]], float)
    steps = np.linspace(0, len(corners) - 1, around, endpoint=False)
    edge = np.stack([np.interp(steps, np.arange(len(corners)), corners[:, k]) for k in (0, 1)], -1)
    edge = (
        np.roll(edge, 2, 0) + 2 * np.roll(edge, 1, 0) + 3 * edge + 2 * np.roll(edge, -1, 0) + np.roll(edge, -2, 0)
    ) / 9
    middle_point = np.asarray(centre, float)
    edge = edge - (edge - middle_point) * inset / np.linalg.norm(edge - middle_point, axis=1, keepdims=True)
    fraction = np.array([0.25, 0.5, 0.7, 0.85, 0.95, 1.0])
    half = np.maximum(middle + (rim - middle) * fraction**3 - inset, 0.1)
    half[-1] *= 0.4
    flat = middle_point + (edge - middle_point) * fraction[:, None, None]
    away = flat - middle_point
    bend = away[..., 0] * bow[0] + away[..., 1] * bow[1] + (away**2).sum(-1) / 1000 * bow[2]
    front = np.concatenate([flat, (bend + half[:, None])[..., None]], -1)
    back = np.concatenate([flat, (bend - half[:, None])[..., None]], -1)
    poles = [np.array([*middle_point, sign * max(middle - inset, 0.1)]) for sign in (1, -1)]
    return stack(np.concatenate([front, back[::-1]]), poles[0], poles[1])
