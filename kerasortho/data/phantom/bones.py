"""What a bone is made of: a cortical shell, spongy bone inside it and, in long bones, a marrow canal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from kerasortho.data.phantom.meshes import Array, Mesh
from kerasortho.data.phantom.shapes import Bump, Numbers, Table, blob, curved_tube, plate, smooth_table, straight_tube


@dataclass(frozen=True)
class Bone:
    """One bone: ``outer`` surfaces (their union is the bone), ``inner`` ones under the cortex, and the ``canal``.

    ``name`` is a key of `kerasortho.data.phantom.labels.LABELS`, or "" for a bone of somebody else, who is in the way;
    ``axis`` (K, 3) mm runs through a long bone from its proximal to its distal end, and is None in others.
    """

    outer: tuple[Mesh, ...]
    inner: tuple[Mesh, ...] = ()
    canal: tuple[Mesh, ...] = ()
    name: str = ""
    axis: Array | None = None

    def moved(self, rotation: Array, origin: Numbers = (0.0, 0.0, 0.0)) -> Bone:
        """Return the bone after ``rotation`` (3, 3) and then a shift by ``origin`` (3,) mm."""
        axis = None if self.axis is None else self.axis @ np.asarray(rotation).T + np.asarray(origin)
        return replace(self.reshaped(lambda mesh: mesh.moved(rotation, origin)), axis=axis)

    def reshaped(self, change: Callable[[Mesh], Mesh]) -> Bone:
        """Return the bone with every surface changed."""
        outer, inner, canal = (tuple(map(change, meshes)) for meshes in (self.outer, self.inner, self.canal))
        return replace(self, outer=outer, inner=inner, canal=canal)

    def named(self, name: str) -> Bone:
        """Return the bone with a name."""
        return replace(self, name=name)

    def beside(self, other: Bone) -> Bone:
        """Grow the two together where they do not overlap in space (two condyles): their chords add up."""
        return Bone((self.outer[0].beside(other.outer[0]),), (self.inner[0].beside(other.inner[0]),))

    def __add__(self, other: Bone) -> Bone:
        """Grow the two together into one bone, with the name and the axis of the first."""
        return Bone(
            self.outer + other.outer,
            self.inner + other.inner,
            self.canal + other.canal,
            self.name,
            self.axis,
        )


@dataclass(frozen=True)
class Build:
    """How a patient's bones differ from the tables': the tables are a tall man's."""

    cortex: float = 1.0  # factor on cortical thickness
    thickness: float = 1.0  # factor on bone widths
    growing: float = 0.0  # 0 adult .. 1 small child: open growth plates, small round carpals


def long_bone(
    table: Table,
    build: Build,
    *,
    cortex: tuple[float, float],
    domes: tuple[float, float] = (1.0, 1.0),
    tilts: tuple[float, float] = (0.0, 0.0),
    bumps: Sequence[Bump] = (),
    plates: Sequence[float] = (),
    rows: int = 28,
    around: int = 24,
    canal: bool = True,
) -> Bone:
    """Build a bone along +y from rows (y, half width, half depth[, x offset, z offset]) in mm.

    ``cortex`` is its thickness in mm at (ends, mid-shaft); ``plates`` are the places (fractions) of growth plates,
    open in a child.
    """
    table = [[row[0], row[1] * build.thickness, row[2] * build.thickness, *row[3:]] for row in table]
    length = table[-1][0] - table[0][0]
    gap = 1.3 * build.growing / length if build.growing > 0.15 else 0.0
    cuts = [0.0, *(sorted(plates) if gap else []), 1.0]
    bone = Bone((), (), ())
    for k, (low, high) in enumerate(pairwise(cuts)):
        span = (low + gap * (k > 0), high - gap * (k < len(cuts) - 2))
        ends = (domes[0] if k == 0 else 0.6, domes[1] if k == len(cuts) - 2 else 0.6)
        count = max(8, int(rows * (0.35 + 0.65 * (high - low))))
        bone += _piece(table, build, cortex, ends, tilts, bumps, span, count, around)
    if canal:
        bone = replace(bone, canal=(_canal(table, build, cortex, bumps, around),))
    full = np.array([[*row, 0.0, 0.0][:5] for row in table], float)
    return replace(bone, axis=full[:, [3, 0, 4]])


def _piece(
    table: Table,
    build: Build,
    cortex: tuple[float, float],
    domes: tuple[float, float],
    tilts: tuple[float, float],
    bumps: Sequence[Bump],
    span: tuple[float, float],
    rows: int,
    around: int,
) -> Bone:
    length = table[-1][0] - table[0][0]
    margin = min(cortex[0] / length, 0.2 * (span[1] - span[0]))
    inside = (span[0] + margin, span[1] - margin)
    where = (smooth_table(table, rows, *inside)[:, 0] - table[0][0]) / length
    shell = build.cortex * (cortex[0] + (cortex[1] - cortex[0]) * (1 - np.abs(2 * where - 1) ** 3))
    outer = straight_tube(table, rows=rows, around=around, span=span, domes=domes, tilts=tilts, bumps=bumps)
    inner = straight_tube(
        table, rows=rows, around=around, span=inside, inset=shell, domes=domes, tilts=tilts, bumps=bumps
    )
    return Bone((outer,), (inner,))


def _canal(table: Table, build: Build, cortex: tuple[float, float], bumps: Sequence[Bump], around: int) -> Mesh:
    span = (0.16, 0.84)
    where = (smooth_table(table, 20, *span)[:, 0] - table[0][0]) / (table[-1][0] - table[0][0])
    width = smooth_table(table, 20, *span)[:, 1]
    shell = build.cortex * (cortex[0] + (cortex[1] - cortex[0]) * (1 - np.abs(2 * where - 1) ** 3))
    taper = np.sqrt(np.clip(1 - np.abs((where - 0.5) / 0.34) ** 3, 0, 1))
    inset = shell + np.maximum(width - shell, 0) * (1 - 0.95 * taper)
    return straight_tube(
        table, rows=20, around=max(12, around - 8), span=span, inset=inset, domes=(0.2, 0.2), bumps=bumps
    )


def short_bone(
    centre: Numbers,
    radii: Numbers,
    build: Build,
    *,
    shell: float = 0.9,
    turn: Array | None = None,
    boxy: float = 2.4,
    lumps: Sequence[Sequence[float]] = (),
    rows: int = 16,
    around: int = 22,
) -> Bone:
    """Build a carpal, a tarsal, a patella, a condyle...: a lumpy superellipsoid with half axes ``radii`` mm."""
    kw: dict[str, Any] = {"turn": turn, "boxy": boxy, "lumps": lumps, "rows": rows, "around": around}
    outer = blob(centre, radii, **kw)
    inner = blob(centre, radii, inset=shell * build.cortex, **kw)
    return Bone((outer,), (inner,))


def bent_bone(
    points: Table,
    widths: Numbers,
    depths: Numbers | None,
    build: Build,
    *,
    shell: float = 1.4,
    side: Numbers = (1.0, 0.0, 0.0),
    rows: int = 30,
    around: int = 20,
    domes: tuple[float, float] | None = None,
) -> Bone:
    """Build a clavicle, a rib, a pubic ramus, a femoral neck...: a tube through ``points`` (K, 3) mm."""

    def tube(inset: float) -> Mesh:
        return curved_tube(points, widths, depths, rows=rows, around=around, inset=inset, side=side, domes=domes)

    return Bone((tube(0.0),), (tube(shell * build.cortex),), axis=np.asarray(points, float))


def flat_bone(
    outline: Table,
    centre: Numbers,
    build: Build,
    *,
    rim: float,
    middle: float,
    bow: Numbers = (0.0, 0.0, 0.0),
    shell: float = 1.0,
) -> Bone:
    """Build a scapula's blade or an ilium's wing: a bowed plate in the xy plane (mm)."""
    outer = plate(outline, centre, rim=rim, middle=middle, bow=bow)
    inner = plate(outline, centre, rim=rim, middle=middle, bow=bow, inset=shell * build.cortex)
    return Bone((outer,), (inner,))
