"""The hand's bones: x towards the thumb, y towards the fingertips, z dorsal; origin at the wrist's middle; mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kerasortho.data.phantom.bones import Bone, Build, long_bone, short_bone
from kerasortho.data.phantom.meshes import Array, rotation
from kerasortho.data.phantom.shapes import Bump

# (fraction of the length, half width, half depth) with the bone's own half width as unit
METACARPAL = (
    (0, 0.80, 0.95),
    (0.06, 0.88, 1.0),
    (0.16, 0.70, 0.8),
    (0.45, 0.5, 0.56),
    (0.68, 0.58, 0.6),
    (0.84, 0.85, 0.85),
    (0.93, 0.92, 0.95),
    (1, 0.72, 0.8),
)
PHALANX = (
    (0, 0.85, 0.8),
    (0.07, 1.0, 0.88),
    (0.18, 0.82, 0.7),
    (0.45, 0.56, 0.46),
    (0.72, 0.55, 0.42),
    (0.87, 0.76, 0.5),
    (0.95, 0.8, 0.52),
    (1, 0.66, 0.42),
)
FINGERTIP = (
    (0, 0.88, 0.75),
    (0.1, 1.0, 0.75),
    (0.3, 0.6, 0.45),
    (0.6, 0.42, 0.36),
    (0.8, 0.55, 0.34),
    (0.92, 0.62, 0.3),
    (1, 0.4, 0.2),
)
# name: centre, half axes, turn about z
CARPALS = {
    "scaphoid": ((12.0, 9.0, -1), (5.6, 10.2, 6.5), -36),
    "lunate": ((-1.0, 6.0, 0), (7.4, 6.2, 8.0), 6),
    "triquetrum": ((-12.5, 10.2, 1), (5.6, 7.0, 6.5), 34),
    "pisiform": ((-14.5, 12.5, -10), (4.4, 5.2, 4.8), 0),
    "trapezium": ((20.5, 19.5, -4), (6.2, 7.2, 7.5), -32),
    "trapezoid": ((11.2, 21.5, 0), (4.9, 5.4, 7.0), -10),
    "capitate": ((1.6, 19.5, 0), (5.8, 10.6, 8.5), 2),
    "hamate": ((-8.6, 21.0, 0), (6.0, 8.8, 8.0), 14),
}
# metacarpal base, its direction (degrees towards the thumb), half width, and lengths of the ray's bones
RAYS = (
    ((24.5, 25.5, -7), 38, 7.6, (45, 31, 22)),
    ((11.5, 28.0, 0), 9, 8.6, (67, 41, 24, 18)),
    ((1.0, 30.5, 1), 1, 8.2, (64, 45, 28, 18.5)),
    ((-7.8, 30.0, 0), -7, 7.2, (57, 41.5, 26.5, 18.5)),
    ((-15.0, 28.5, -1), -15, 7.2, (53, 33, 19, 16.5)),
)


@dataclass(frozen=True)
class HandPose:
    """Joint angles in degrees: five of each, thumb first."""

    spread: tuple[float, ...] = (8, 4, 1, -2, -7)
    flexion: tuple[float, ...] = (12, 4, 4, 4, 4)  # at the knuckle; a share of it again at each further joint


@dataclass(frozen=True)
class Hand:
    """Bones, and for each ray the joints' places (K, 3) mm and half widths for the soft tissue."""

    bones: list[Bone]
    rays: list[tuple[Array, float]]


def hand(build: Build, pose: HandPose, rng: np.random.Generator) -> Hand:
    """Return a right hand in its own frame."""
    bones = [_carpal(name, build, rng) for name in CARPALS]
    bones += [short_bone((31.5, 66, -12), (2.6, 3.2, 2.2), build, rows=8, around=12).named("sesamoid of the hand")]
    rays = []
    for number in range(5):
        ray_bones, joints = _ray(number, build, pose, rng)
        bones += ray_bones
        rays.append((joints, RAYS[number][2]))
    return Hand(bones, rays)


def _carpal(name: str, build: Build, rng: np.random.Generator) -> Bone:
    centre, radii, turn = CARPALS[name]
    small = 1 - 0.35 * build.growing
    axes = np.array(radii) * small * rng.normal(1, 0.04, 3)
    lumps = [(*rng.normal(size=3), rng.uniform(-0.08, 0.1)) for _ in range(4)]
    boxy = 2.0 if build.growing > 0.3 else 3.0
    return short_bone(centre, axes, build, shell=0.8, turn=rotation("z", turn), boxy=boxy, lumps=lumps).named(name)


def _ray(number: int, build: Build, pose: HandPose, rng: np.random.Generator) -> tuple[list[Bone], Array]:
    base, direction, half, lengths = RAYS[number]
    roll = rotation("y", 55 if number == 0 else 0)  # the thumb is seen from its side
    frame = rotation("z", -direction) @ rotation("x", -14 if number == 0 else -2) @ roll
    place = np.asarray(base, float)
    bones, joints = [], [place + frame @ [0.0, 8.0, 0.0]]
    last = len(lengths) - 1
    for k, length in enumerate(lengths):
        length = length * rng.normal(1, 0.02)
        if k > 0:
            share = 1.0 if k == 1 else 1.4 if k == 2 else 0.8
            sideways = pose.spread[number] if k == 1 else 0.0
            frame = rotation("z", -sideways) @ frame @ rotation("x", -pose.flexion[number] * share)
        table = METACARPAL if k == 0 else FINGERTIP if k == last else PHALANX
        width = half * (1.0, 0.98, 0.84, 0.72)[min(k + (number == 0 and k == last), 3)]
        name = "metacarpal" if k == 0 else f"{phalanx(k, last)} phalanx of finger"
        bone = _tubular(table, length, width, build, k == 0, k == last).named(f"{name} {number + 1}")
        bones.append(bone.moved(frame, place))
        place = place + frame @ [0.0, length + 1.9, 0.0]
        joints.append(place)
    return bones, np.array(joints)


def phalanx(number: int, last: int) -> str:
    """Return what phalanx ``number`` (from 1) of a ray with ``last`` phalanges is called."""
    return "distal" if number == last else ("proximal", "middle")[number - 1]


def _tubular(
    table: tuple[tuple[float, ...], ...], length: float, half: float, build: Build, metacarpal: bool, tip: bool
) -> Bone:
    rows = [(t * length, w * half, d * half) for t, w, d in table]
    plate = 0.86 if metacarpal else 0.12
    domes = (0.8, 3.4) if metacarpal else (-0.8, 1.0 if tip else 0.9)
    notch = () if metacarpal or tip else (Bump(1.0, 90, -0.8, 0.05, 30), Bump(1.0, 270, -0.8, 0.05, 30))
    return long_bone(
        rows,
        build,
        cortex=(0.5, 0.23 * half if not tip else 0.14 * half),
        domes=domes,
        bumps=notch,
        plates=(plate,),
        rows=22,
        around=20,
        canal=not tip,
    )
