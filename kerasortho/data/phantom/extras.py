"""What patients bring along: plates, nails and wires in their bones, casts, rings and bangles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kerasortho.data.phantom.bones import Bone
from kerasortho.data.phantom.fractures import axis_length, half_width, point_on
from kerasortho.data.phantom.meshes import Array, Mesh
from kerasortho.data.phantom.scene import Scene, Segment
from kerasortho.data.phantom.shapes import curved_tube

_SHORTEST_FOR_PLATES, _SHORTEST_FOR_NAILS = 28.0, 200.0  # mm
_LARGEST_CAST = 62.0  # mm, half width of a limb in a cast


def add_implant(scene: Scene, candidates: Sequence[int], rng: np.random.Generator) -> str:
    """Put a plate with screws, a nail or wires into one of the bones numbered in ``candidates``; return what, or ""."""
    bones = [scene.bones[number] for number in candidates]
    bones = [bone for bone in bones if axis_length(bone) > _SHORTEST_FOR_PLATES]
    if not bones:
        return ""
    bone = bones[rng.integers(len(bones))]
    kinds = ["plate", "plate", "wires"] + ["nail"] * (axis_length(bone) > _SHORTEST_FOR_NAILS)
    kind = str(rng.choice(kinds))
    parts = {"plate": _plate, "wires": _wires, "nail": _nail}[kind](bone, rng)
    scene.add_metal(str(rng.choice(["titanium", "steel"])), *parts)
    return kind


def add_cast(scene: Scene, rng: np.random.Generator) -> bool:
    """Lay a plaster cast around the limb, in place; return whether there is a limb to lay it around."""
    segments = [segment for segment in scene.segments if segment.widths.max() < _LARGEST_CAST]
    if not segments:
        return False
    padding, thickness = rng.uniform(2, 6), rng.uniform(3, 8)
    for segment in segments:
        inner, outer = (_around(segment, beyond) for beyond in (padding, padding + thickness))
        scene.plaster.append((outer, inner))
    return True


def add_jewellery(scene: Scene, rng: np.random.Generator) -> bool:
    """Put rings on fingers or bangles on a wrist, in place; return whether there is a hand."""
    fingers = [bone for bone in scene.bones if bone.name.startswith("proximal phalanx of finger")]
    if not fingers:
        return False
    bone = fingers[rng.integers(len(fingers))]
    assert bone.axis is not None
    point, direction = point_on(bone.axis, 0.5)
    scene.add_metal("steel", _ring(point, direction, 1.95 * half_width(bone, point, direction), rng.uniform(0.7, 1.6)))
    if rng.random() < 0.4:
        _add_bangles(scene, rng)
    return True


def _add_bangles(scene: Scene, rng: np.random.Generator) -> None:
    radius = next((bone for bone in scene.bones if bone.name == "radius"), None)
    if radius is None or radius.axis is None:
        return
    for _ in range(rng.integers(1, 4)):
        point, direction = point_on(radius.axis, rng.uniform(0.78, 0.95))
        tilted = direction + rng.normal(0, 0.12, 3)
        scene.add_metal("steel", _ring(point, tilted / np.linalg.norm(tilted), 37.0, rng.uniform(0.9, 2.2)))


def _plate(bone: Bone, rng: np.random.Generator) -> list[Mesh]:
    """Return a plate on the surface of ``bone`` and the screws through it."""
    axis, length = bone.axis, axis_length(bone)
    assert axis is not None
    reach = min(rng.uniform(40, 130), 0.55 * length) / length
    start = rng.uniform(0.1, 0.9 - reach)
    places = np.linspace(start, start + reach, 7)
    middle, direction = point_on(axis, float(places[3]))
    out = np.cross(direction, rng.normal(size=3))
    out /= np.linalg.norm(out)
    width = half_width(bone, middle, direction)
    thick, broad = np.clip(0.14 * width, 0.7, 2.2), np.clip(0.55 * width, 1.8, 7.0)
    surface = [
        point + out * (half_width(bone, point, along) + thick) for point, along in (point_on(axis, t) for t in places)
    ]
    plate = curved_tube(np.array(surface), [broad] * 7, [thick] * 7, side=np.cross(direction, out), rows=16, around=12)
    holes = np.linspace(0.05, 0.95, int(np.clip(reach * length / 11, 2, 9)))
    screws = []
    for hole in holes[rng.random(len(holes)) < 0.85]:
        head = np.array([np.interp(hole, np.linspace(0, 1, 7), np.array(surface)[:, k]) for k in range(3)])
        depth = 2 * width * rng.uniform(0.9, 1.15) + 2 * thick
        screws.append(_rod([head + out * thick, head - out * depth], np.clip(0.12 * width, 0.6, 2.2)))
    return [plate, *screws]


def _nail(bone: Bone, rng: np.random.Generator) -> list[Mesh]:
    """Return an intramedullary nail with its locking screws."""
    axis = bone.axis
    assert axis is not None
    start, end = rng.uniform(0.02, 0.1), rng.uniform(0.75, 0.92)
    points = [point_on(axis, t)[0] for t in np.linspace(start, end, 8)]
    middle, direction = point_on(axis, 0.5)
    radius = float(np.clip(0.42 * half_width(bone, middle, direction), 1.5, 5.5))
    screws = []
    for t in (start + 0.06, end - 0.05, end - 0.09):
        point, along = point_on(axis, t)
        across = np.cross(along, [0.0, 0.0, 1.0])
        across *= half_width(bone, point, along) * 1.15 / np.linalg.norm(across)
        screws.append(_rod([point - across, point + across], 0.42 * radius))
    return [_rod(points, radius), *screws]


def _wires(bone: Bone, rng: np.random.Generator) -> list[Mesh]:
    """Return one to three Kirschner wires across the bone."""
    axis = bone.axis
    assert axis is not None
    wires = []
    for _ in range(rng.integers(1, 4)):
        point, direction = point_on(axis, rng.uniform(0.15, 0.9))
        width = half_width(bone, point, direction)
        slope = direction * rng.choice([-1, 1]) + 0.6 * rng.normal(size=3)
        slope /= np.linalg.norm(slope)
        wires.append(
            _rod(
                [point - slope * rng.uniform(2, 4) * width, point + slope * rng.uniform(2, 6) * width],
                rng.uniform(0.5, 0.9),
            )
        )
    return wires


def _rod(points: list[Array], radius: float) -> Mesh:
    """Return a round rod through ``points``."""
    first = np.asarray(points[-1]) - np.asarray(points[0])
    side = np.cross(first, [0.31, 0.17, 0.93])
    return curved_tube(
        np.array(points), [radius] * len(points), None, side=side / np.linalg.norm(side), rows=12, around=10
    )


def _ring(centre: Array, direction: Array, radius: float, thickness: float) -> Mesh:
    """Return a ring around ``direction``: a tube whose ends meet."""
    first = np.cross(direction, [0.31, 0.17, 0.93])
    first /= np.linalg.norm(first)
    second = np.cross(direction, first)
    angles = np.linspace(0, 2 * np.pi, 25)
    points = [centre + radius * (np.cos(a) * first + np.sin(a) * second) for a in angles]
    return curved_tube(
        points, [1.6 * thickness] * 25, [thickness] * 25, side=direction, rows=49, around=8, domes=(0, 0)
    )


def _around(segment: Segment, beyond: float) -> Mesh:
    return curved_tube(
        segment.path, segment.widths + beyond, segment.depths + beyond, side=segment.side, rows=30, around=28
    )
