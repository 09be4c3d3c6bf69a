"""From a scene to millimetres of each tissue along each ray, and to the exact masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from kerasortho.data.phantom.bones import Bone
from kerasortho.data.phantom.labels import LABELS, TRUNK
from kerasortho.data.phantom.materials import SPONGY
from kerasortho.data.phantom.meshes import Array, Mesh
from kerasortho.data.phantom.projection import Camera, Patch, chords, merged_chords
from kerasortho.data.phantom.scene import Scene

_THINNEST_BREAK = 0.4  # mm: less is the sheet of no thickness that closes a cut, seen from its edge


@dataclass(frozen=True)
class Tissue:
    """Millimetres of each tissue along each ray, (H, W): ``cortical`` and ``spongy`` are mineral; and the masks.

    ``mask`` (bool): the ray meets a bone of the patient's limb, girdle included, trunk not. ``labels`` (uint8): which
    bone, of several the one with the longest chord (`kerasortho.data.phantom.labels.LABELS`). ``broken`` (bool): the
    ray meets a fracture. ``metal`` maps a material to its millimetres.
    """

    cortical: Array
    spongy: Array
    muscle: Array
    fat: Array
    plaster: Array
    metal: dict[str, Array]
    mask: np.ndarray
    labels: np.ndarray
    broken: np.ndarray


@dataclass
class _Bones:
    """Sums over the bones traced so far."""

    shape: tuple[int, int]
    cortical: Array = field(init=False)
    spongy: Array = field(init=False)
    longest: Array = field(init=False)
    labels: np.ndarray = field(init=False)
    mask: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.cortical, self.spongy, self.longest = (np.zeros(self.shape) for _ in range(3))
        self.labels, self.mask = np.zeros(self.shape, np.uint8), np.zeros(self.shape, bool)

    def mark(self, bone: Bone, outer: Patch) -> None:
        """Mark in masks where the rays meet ``bone``; one of somebody else (without a name) is not marked."""
        if not bone.name:
            return
        here = outer.window
        self.labels[here][outer.chords > self.longest[here]] = LABELS[bone.name]
        np.maximum(self.longest[here], outer.chords, out=self.longest[here])
        if bone.name not in TRUNK:
            self.mask[here] |= outer.chords > 0


def trace(scene: Scene, camera: Camera, spongy: float = SPONGY) -> Tissue:
    """Project a scene: the masks are exact, the lengths up to the p-norm where parts of one bone overlap."""
    bones = _Bones(camera.shape)
    for bone in scene.bones:
        _trace_bone(bone, camera, spongy, bones)
    np.maximum(bones.cortical, 0.0, out=bones.cortical)
    metal = {name: _sum(meshes, camera) for name, meshes in scene.metal.items()}
    skin = _total(scene.skin, camera, 3)
    muscle = np.minimum(_total(scene.muscle, camera, 3), skin)
    air = np.minimum(_total(scene.air, camera, 2), 0.9 * muscle)
    displaced = bones.cortical + bones.spongy + air + sum(metal.values())
    return Tissue(
        bones.cortical,
        bones.spongy,
        np.maximum(muscle - displaced, 0),
        skin - muscle,
        _plaster(scene.plaster, camera),
        metal,
        bones.mask,
        bones.labels,
        (_sum(scene.breaks, camera) > _THINNEST_BREAK) & bones.mask,
    )


def _trace_bone(bone: Bone, camera: Camera, spongy: float, into: _Bones) -> None:
    outer = merged_chords(bone.outer, camera)
    if outer is None:
        return
    outer.add_to(into.cortical)
    into.mark(bone, outer)
    inner = merged_chords(bone.inner, camera)
    if inner is None:
        return
    Patch(-inner.chords, inner.row, inner.column).add_to(into.cortical)
    Patch(spongy * inner.chords, inner.row, inner.column).add_to(into.spongy)
    canal = merged_chords(bone.canal, camera)
    if canal is not None:
        Patch(-0.92 * spongy * canal.chords, canal.row, canal.column).add_to(into.spongy)


def _plaster(pairs: Sequence[tuple[Mesh, Mesh]], camera: Camera) -> Array:
    outer, inner = (_total([pair[k] for pair in pairs], camera, 3) for k in (0, 1))
    return np.maximum(outer - inner, 0)


def _total(meshes: Sequence[Mesh], camera: Camera, squarings: int) -> Array:
    """Return the chords of overlapping parts of one body."""
    total = np.zeros(camera.shape)
    patch = merged_chords(meshes, camera, squarings)
    if patch is not None:
        patch.add_to(total)
    return total


def _sum(meshes: Sequence[Mesh], camera: Camera) -> Array:
    """Return the chords of parts that lie one behind the other."""
    total = np.zeros(camera.shape)
    for mesh in meshes:
        patch = chords(mesh, camera)
        if patch is not None:
            patch.add_to(total)
    return total
