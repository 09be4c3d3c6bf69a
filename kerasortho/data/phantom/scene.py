"""A posed limb: its bones, its soft tissue, where its joints are, and what else is in the beam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kerasortho.data.phantom.bones import Bone
from kerasortho.data.phantom.meshes import Array, Mesh
from kerasortho.data.phantom.shapes import Numbers, Table, curved_tube


@dataclass(frozen=True)
class Segment:
    """A limb segment's flesh: its middle line (K, 3), half widths along ``side`` and half depths across it, in mm."""

    path: Array
    widths: Array
    depths: Array
    side: Array


@dataclass
class Scene:
    """Everything in the beam, in mm: ``skin`` encloses ``muscle`` (fat lies between them); ``air`` is lung.

    ``plaster`` holds pairs of an outer and an inner surface, ``metal`` the surfaces of each metal by its name in
    `kerasortho.data.phantom.materials.MASS_ATTENUATION`, ``breaks`` thin slices of bone around each fracture.
    ``segments`` are the limb's, for what is laid around it, before the scene is moved.
    """

    bones: list[Bone] = field(default_factory=list)
    skin: list[Mesh] = field(default_factory=list)
    muscle: list[Mesh] = field(default_factory=list)
    air: list[Mesh] = field(default_factory=list)
    plaster: list[tuple[Mesh, Mesh]] = field(default_factory=list)
    metal: dict[str, list[Mesh]] = field(default_factory=dict)
    breaks: list[Mesh] = field(default_factory=list)
    landmarks: dict[str, Array] = field(default_factory=dict)
    segments: list[Segment] = field(default_factory=list)

    def add_flesh(
        self,
        path: Sequence[Sequence[float]] | Sequence[Array] | Array,
        widths: Numbers,
        depths: Numbers,
        fat: float,
        *,
        side: Numbers,
        rows: int = 30,
        around: int = 28,
    ) -> None:
        """Add a tube of muscle under ``fat`` mm of fat and skin."""
        points = np.asarray(path, float)
        kw: dict[str, Any] = {"side": np.asarray(side, float), "rows": rows, "around": around}
        wide, deep = np.asarray(widths, float), np.asarray(depths, float)
        self.skin.append(curved_tube(points, wide, deep, **kw))
        self.muscle.append(curved_tube(points, wide, deep, inset=1.2 + fat, **kw))

    def add_segment(self, table: Table, frame: Array, origin: Numbers, fat: float) -> None:
        """Add a limb segment from rows (x, y, z, half width, half depth) in mm, in the ``frame`` (3, 3) of a bone."""
        rows = np.asarray(table, float)
        segment = Segment(np.asarray(origin) + rows[:, :3] @ frame.T, rows[:, 3], rows[:, 4], frame[:, 0])
        self.add_flesh(segment.path, segment.widths, segment.depths, fat, side=segment.side)
        self.segments.append(segment)

    def add_fold(
        self, joint: Numbers, upper: Array, lower: Array, reach: float, width: float, depth: float, fat: float
    ) -> None:
        """Fill the inside of a bent joint: flesh from ``reach`` mm above it (frame ``upper``) to as far below."""
        above, below = upper @ [0.0, -reach, 3.0], lower @ [0.0, reach, 3.0]
        path = np.asarray(joint) + np.stack([above, (above + below) / 2, below])
        self.add_flesh(path, [width] * 3, [depth, 0.9 * depth, depth], fat, side=upper[:, 0])

    def add_metal(self, name: str, *meshes: Mesh) -> None:
        """Add parts of a metal."""
        self.metal.setdefault(name, []).extend(meshes)

    def moved(self, rotation: Array, origin: Numbers = (0.0, 0.0, 0.0)) -> Scene:
        """Return the scene, without its segments, after ``rotation`` (3, 3) and then a shift by ``origin`` (3,) mm."""
        shift = np.asarray(origin, float)

        def move(mesh: Mesh) -> Mesh:
            return mesh.moved(rotation, shift)

        return Scene(
            [bone.moved(rotation, shift) for bone in self.bones],
            list(map(move, self.skin)),
            list(map(move, self.muscle)),
            list(map(move, self.air)),
            plaster=[(move(outer), move(inner)) for outer, inner in self.plaster],
            metal={name: list(map(move, meshes)) for name, meshes in self.metal.items()},
            breaks=list(map(move, self.breaks)),
            landmarks={name: rotation @ place + shift for name, place in self.landmarks.items()},
        )

    def join(self, other: Scene) -> None:
        """Take in another scene's contents; of landmarks of one name, the other's are kept."""
        self.bones += other.bones
        self.skin += other.skin
        self.muscle += other.muscle
        self.air += other.air
        self.plaster += other.plaster
        self.breaks += other.breaks
        self.segments += other.segments
        for name, meshes in other.metal.items():
            self.add_metal(name, *meshes)
        self.landmarks.update(other.landmarks)
