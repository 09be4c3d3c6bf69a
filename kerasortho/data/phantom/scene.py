"""A posed limb: its bones, its soft tissue and where its joints are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kerasortho.data.phantom.bones import Bone
from kerasortho.data.phantom.meshes import Array, Mesh
from kerasortho.data.phantom.shapes import Numbers, Table, curved_tube


@dataclass
class Scene:
    """Everything in the beam, in mm: ``skin`` encloses ``muscle`` (fat lies between them); ``air`` is lung."""

    bones: list[Bone] = field(default_factory=list)
    skin: list[Mesh] = field(default_factory=list)
    muscle: list[Mesh] = field(default_factory=list)
    air: list[Mesh] = field(default_factory=list)
    landmarks: dict[str, Array] = field(default_factory=dict)

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
        """Add a limb segment: a tube of muscle under ``fat`` mm of fat and skin."""
        points = np.asarray(path, float)
        kw: dict[str, Any] = {"side": np.asarray(side, float), "rows": rows, "around": around}
        wide, deep = np.asarray(widths, float), np.asarray(depths, float)
        self.skin.append(curved_tube(points, wide, deep, **kw))
        self.muscle.append(curved_tube(points, wide, deep, inset=1.2 + fat, **kw))

    def add_segment(self, table: Table, frame: Array, origin: Numbers, fat: float) -> None:
        """Add flesh from rows (x, y, z, half width, half depth) in mm, in the ``frame`` (3, 3) of a bone."""
        rows = np.asarray(table, float)
        self.add_flesh(np.asarray(origin) + rows[:, :3] @ frame.T, rows[:, 3], rows[:, 4], fat, side=frame[:, 0])

    def add_fold(
        self, joint: Numbers, upper: Array, lower: Array, reach: float, width: float, depth: float, fat: float
    ) -> None:
        """Fill the inside of a bent joint: flesh from ``reach`` mm above it (frame ``upper``) to as far below."""
        above, below = upper @ [0.0, -reach, 3.0], lower @ [0.0, reach, 3.0]
        path = np.asarray(joint) + np.stack([above, (above + below) / 2, below])
        self.add_flesh(path, [width] * 3, [depth, 0.9 * depth, depth], fat, side=upper[:, 0])

    def moved(self, rotation: Array, origin: Numbers = (0.0, 0.0, 0.0)) -> Scene:
        """Return the scene after ``rotation`` (3, 3) and then a shift by ``origin`` (3,) mm."""
        shift = np.asarray(origin, float)
        return Scene(
            [bone.moved(rotation, shift) for bone in self.bones],
            [mesh.moved(rotation, shift) for mesh in self.skin],
            [mesh.moved(rotation, shift) for mesh in self.muscle],
            [mesh.moved(rotation, shift) for mesh in self.air],
            {name: rotation @ place + shift for name, place in self.landmarks.items()},
        )

    def join(self, other: Scene) -> None:
        """Take in another scene's contents."""
        self.bones += other.bones
        self.skin += other.skin
        self.muscle += other.muscle
        self.air += other.air
        self.landmarks.update(other.landmarks)
