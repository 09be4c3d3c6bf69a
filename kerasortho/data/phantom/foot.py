"""The foot's bones: x towards the great toe's side, y towards the toes, z up; origin at the ankle's axis; mm."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasortho.data.phantom.bones import Bone, Build, bent_bone, long_bone, short_bone
from kerasortho.data.phantom.hand import FINGERTIP, METACARPAL, PHALANX, phalanx
from kerasortho.data.phantom.meshes import Array, rotation
from kerasortho.data.phantom.shapes import Bump

CALCANEUS = (  # along y from the heel: half width, half height, x, z
    (-50, 11, 14, -4, -38),
    (-44, 14, 20, -4, -38),
    (-32, 14.5, 21, -4, -36),
    (-18, 13, 18.5, -4, -34),
    (-6, 14, 20, -3, -31),
    (4, 15, 17.5, -4, -31),
    (16, 13, 13, -8, -32),
    (26, 11.5, 12, -11, -31),
)
# name: centre, half axes, (turn about z, turn about x)
TARSALS = {
    "navicular": ((9, 39, -14), (17, 7.5, 12), (12, -8)),
    "cuboid": ((-15, 43, -29), (12, 16, 11), (14, 0)),
    "medial cuneiform": ((17, 59, -22), (8, 12.5, 14), (0, -14)),
    "middle cuneiform": ((5, 56, -14), (7, 9, 10), (2, -14)),
    "lateral cuneiform": ((-6, 57, -17), (7.5, 11.5, 11), (6, -14)),
}
# metatarsal base, its head, half width at the base, lengths of the phalanges
RAYS = (
    ((18, 74, -24), (25, 130, -42), 12.0, (31, 23)),
    ((6, 67, -16), (9.5, 137, -40), 7.8, (27, 13, 9)),
    ((-5, 70, -19), (-5, 134, -41), 7.8, (25, 11, 9)),
    ((-14, 64, -25), (-18, 127, -43), 7.8, (23, 9, 9)),
    ((-22, 59, -31), (-30, 118, -45), 8.2, (21, 8, 9)),
)


def foot(build: Build, curl: float, rng: np.random.Generator) -> tuple[list[Bone], list[tuple[Array, float]]]:
    """Return a right foot's bones and each ray's joints (K, 3) mm and half width; ``curl`` bends the toes (degrees)."""
    bones = [_calcaneus(build), _talus(build)]
    for name, (centre, radii, (about_z, about_x)) in TARSALS.items():
        turn = rotation("z", -about_z) @ rotation("x", about_x)
        axes = np.array(radii) * (1 - 0.3 * build.growing) * rng.normal(1, 0.03, 3)
        lumps = [(*rng.normal(size=3), rng.uniform(-0.08, 0.08)) for _ in range(3)]
        bone = short_bone(centre, axes, build, turn=turn, boxy=2.8, lumps=lumps, shell=0.8, rows=20, around=28)
        bones.append(bone.named(name))
    if build.growing < 0.5:
        pair = [short_bone((25 + x, 126, -55), (4.2, 6, 3.4), build, rows=8, around=12) for x in (-6.5, 6.5)]
        bones += [bone.named("sesamoids of the foot") for bone in pair]
    rays = []
    for number in range(5):
        ray_bones, joints = _ray(number, build, curl, rng)
        bones += ray_bones
        rays.append((joints, RAYS[number][2]))
    return bones, rays


def _calcaneus(build: Build) -> Bone:
    body = long_bone(
        CALCANEUS,
        build,
        cortex=(0.8, 1.2),
        domes=(6, 1.5),
        plates=(0.1,),
        rows=28,
        around=28,
        canal=False,
        bumps=(Bump(0.70, 90, 3, 0.06, 40), Bump(0.12, 270, 2, 0.06, 40)),
    )
    shelf = short_bone((11, -2, -26), (9, 11, 6), build, boxy=2.4)  # sustentaculum
    return (body + shelf).named("calcaneus")


def _talus(build: Build) -> Bone:
    dome = short_bone(
        (2, -2, -6), (15.5, 21, 14.5), build, boxy=2.6, lumps=((0, -1, -0.5, 0.14),), shell=1.1, rows=22, around=28
    )
    neck = bent_bone(
        [(3, 6, -11), (6, 18, -12), (8, 29, -14)], (12, 11, 14), (10, 9.5, 12), build, shell=1.0, domes=(2, 5)
    )
    return (dome + neck).named("talus")


def _ray(number: int, build: Build, curl: float, rng: np.random.Generator) -> tuple[list[Bone], Array]:
    base, head, half, lengths = RAYS[number]
    start, end = np.asarray(base, float), np.asarray(head, float)
    frame = _pointing(end - start)
    bones, joints = (
        [_metatarsal(number, float(np.linalg.norm(end - start)), half, build).moved(frame, start)],
        [start, end],
    )
    frame = rotation("z", rng.normal(0, 2)) @ frame @ rotation("x", 24)  # toes rise from the metatarsals
    place = end + frame @ [0.0, 5.5, 0.0]
    for k, size in enumerate(lengths):
        table = FINGERTIP if k == len(lengths) - 1 else PHALANX
        width = (0.86, 0.8, 0.8)[k] * half * (1.0 if number == 0 else 0.8)
        rows = [(t * size, w * width, d * width * 0.85) for t, w, d in table]
        shape: dict[str, Any] = {"cortex": (0.5, 0.2 * width), "domes": (-0.5, 0.8), "plates": (0.14,)}
        bone = long_bone(rows, build, rows=18, around=16, canal=size > 20, **shape)
        name = f"{phalanx(k + 1, len(lengths))} phalanx of toe {number + 1}"
        bones.append(bone.named(name).moved(frame, place))
        place = place + frame @ [0.0, size + 1.8, 0.0]
        joints.append(place)
        frame = frame @ rotation("x", -curl * (0.6 if number == 0 else 1.0))
    return bones, np.array(joints)


def _pointing(direction: Array) -> Array:
    """Return the frame (3, 3) whose y axis points along ``direction`` (3,) and whose x axis is level."""
    forward = direction / np.linalg.norm(direction)
    level = np.cross(forward, [0.0, 0.0, 1.0])
    level /= np.linalg.norm(level)
    return np.stack([level, forward, np.cross(level, forward)], -1)


def _metatarsal(number: int, length: float, half: float, build: Build) -> Bone:
    rows = [(t * length, w * half, d * half * 1.1) for t, w, d in METACARPAL]
    spur = (Bump(0.0, 180, 4.5, 0.05, 40),) if number == 4 else ()
    plates = (0.1 if number == 0 else 0.88,)
    bone = long_bone(
        rows, build, cortex=(0.6, 0.26 * half), domes=(0.8, 3.5), plates=plates, bumps=spur, rows=24, around=20
    )
    return bone.named(f"metatarsal {number + 1}")
