"""The leg from hip to toes, a right leg seen from behind: x lateral, y distal, z posterior; mm."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from kerasortho.data.phantom.bones import Bone, Build, bent_bone, long_bone, short_bone
from kerasortho.data.phantom.foot import foot
from kerasortho.data.phantom.meshes import Array, rotation
from kerasortho.data.phantom.scene import Scene
from kerasortho.data.phantom.shapes import Bump

FEMUR = 440.0  # from the head's centre to the knee's axis
TIBIA = 375.0  # from the knee's axis to the ankle's
FROM_FOOT = np.array([[-1.0, 0, 0], [0, 0, -1.0], [0, -1.0, 0]])  # the foot's x, y, z in the leg's frame

FEMUR_SHAFT = (  # the shaft runs from the great trochanter, 50 mm lateral of the head, to the knee
    (-8, 10, 12, 56, 8),
    (8, 16, 17, 51, 7),
    (25, 21, 19, 45, 4),
    (45, 23, 18.5, 41, 2),
    (62, 19, 17.5, 41, 1),
    (85, 15.5, 15.5, 41, 0),
    (130, 14, 14.5, 38, -3),
    (220, 14, 14.5, 28, -6),
    (310, 15, 15, 17, -4),
    (360, 20, 17, 11, -2),
    (388, 27, 19, 6, 0),
    (406, 36, 24, 4, 1),
    (420, 39, 26, 2, 2),
    (434, 37, 23, 2, 0),
)
TIBIA_TABLE = (
    (21, 35, 24, 0, 3),
    (27, 37.5, 25, 0, 3),
    (36, 33, 23, 0, 1),
    (52, 24, 21, 0, -1),
    (80, 17, 18, 0, -2),
    (130, 14, 16, 0, -2),
    (200, 12.5, 14, 0, -1),
    (270, 11.5, 12, 0, 0),
    (320, 13, 12.5, 0, 0),
    (345, 18, 15.5, -1, 0),
    (358, 22, 18, -1, 0),
    (363, 21.5, 18, -1, 0),
)
FIBULA_TABLE = (
    (0, 8, 8),
    (6, 11, 10.5),
    (14, 10, 9.5),
    (28, 6.5, 6.5),
    (60, 6.2, 6.2, -1),
    (150, 7, 7, -2),
    (250, 6.2, 6.2, -3),
    (310, 6.5, 7, -2),
    (330, 9, 9, 0),
    (346, 10, 10, 0),
    (358, 8, 9, 0),
    (368, 5, 6, 0),
)
# Flesh: x, y, z, half width, half depth in the frame of the bone inside
THIGH = (
    (48, -60, 6, 78, 88),
    (46, 0, 6, 84, 92),
    (38, 80, 6, 86, 90),
    (30, 170, 4, 80, 82),
    (18, 270, 2, 70, 72),
    (8, 360, 0, 60, 62),
    (2, 420, 0, 54, 56),
    (2, 462, 0, 50, 50),
)
SHIN = (
    (0, -25, 0, 50, 54),
    (0, 10, 0, 52, 56),
    (2, 60, 10, 54, 58),
    (3, 120, 14, 57, 60),
    (3, 200, 8, 47, 50),
    (2, 280, 4, 36, 38),
    (0, 340, 4, 34, 36),
    (0, 395, 2, 34, 40),
)
FOOT = (
    (-3, -60, -36, 20, 20),
    (-3, -45, -36, 27, 28),
    (-2, -15, -30, 33, 36),
    (0, 20, -27, 37, 38),
    (0, 60, -33, 42, 29),
    (0, 100, -43, 47, 20),
    (-1, 135, -46, 46, 15),
    (-1, 152, -42, 38, 11),
)
ANKLE = ((0, -4, 50, 29, 32), (0, -2, 20, 33, 38), (0, 0, -10, 36, 48), (-1, -8, -40, 32, 46))


@dataclass(frozen=True)
class LegPose:
    """Joint angles in degrees."""

    abduction: float = 0.0
    inward: float = 10.0  # of the whole leg at the hip
    knee: float = 5.0
    ankle: float = 0.0  # plantar flexion
    toes: float = 12.0


def leg(build: Build, pose: LegPose, parts: Collection[str], fat: float, rng: np.random.Generator) -> Scene:
    """Return the wanted parts ("femur", "shin", "foot") of a right leg and its landmarks in mm."""
    thigh = rotation("z", -pose.abduction) @ rotation("y", -pose.inward)
    axis = thigh @ [2.0, FEMUR, 0.0]
    knee = axis + thigh @ [0.0, 0.0, 5.0 * np.sin(np.radians(pose.knee))]  # a bending knee's condyles roll back
    shin = thigh @ rotation("x", pose.knee)
    ankle = knee + shin @ [0.0, TIBIA, 0.0]
    sole = shin @ FROM_FOOT @ rotation("x", -pose.ankle)
    scene = Scene(landmarks={"hip": np.zeros(3), "knee": knee, "ankle": ankle, "mid_shin": (knee + ankle) / 2})
    scene.landmarks["midfoot"] = ankle + sole @ [0.0, 55.0, -25.0]
    scene.landmarks["mid_femur"], scene.landmarks["distal_femur"] = 0.5 * knee, 0.68 * knee
    scene.landmarks["thigh"] = thigh @ [30.0, 120.0, 0.0]
    if "femur" in parts:
        scene.bones.append(femur(build).moved(thigh))
        scene.add_segment(THIGH, thigh, (0, 0, 0), 2 * fat)
    if "shin" in parts:
        scene.bones += [bone.moved(shin, knee) for bone in (tibia(build), fibula(build))]
        scene.add_segment(SHIN, shin, knee, 1.2 * fat)
    if {"femur", "shin"} <= set(parts):
        scene.add_fold(knee, thigh, shin, 75, 51, 46, fat)
        if build.growing < 0.75:  # a small child's kneecap is cartilage
            scene.bones.append(patella(build).moved(shin @ rotation("x", -0.42 * pose.knee), axis))
    if "foot" in parts:
        _add_foot(scene, build, pose, sole, ankle, fat, rng)
    return scene


def femur(build: Build) -> Bone:
    """Return the femur with its head at the origin and its knee axis at y = 440."""
    shaft = long_bone(
        FEMUR_SHAFT,
        build,
        cortex=(1.0, 6.2),
        domes=(4, 6),
        plates=(0.955,),
        rows=40,
        around=32,
        bumps=(Bump(0.155, 150, 8, 0.025, 35), Bump(0.98, 90, -5, 0.03, 30)),
    )
    head = short_bone((0, 0, 0), (24, 24, 24), build, boxy=2.0, shell=1.0, rows=20, around=28)
    neck = bent_bone(
        [(4, 3, 0), (20, 14, 0), (36, 27, 2), (46, 38, 2)], (19, 17, 22, 22), (18, 14, 16, 15), build, shell=1.4
    )
    trochanter = short_bone((52, 13, 8), (17, 21, 18), build, boxy=2.2, shell=1.2)
    inner = short_bone(
        (-20, FEMUR - 5, 4), (16.5, 25.5, 29.5), build, boxy=2.0, shell=1.2, turn=rotation("y", -6), rows=22, around=30
    )
    outer = short_bone(
        (24, FEMUR - 6, 3), (17, 25, 29), build, boxy=2.0, shell=1.2, turn=rotation("y", 6), rows=22, around=30
    )
    return (shaft + head + neck + trochanter + inner.beside(outer)).named("femur")


def tibia(build: Build) -> Bone:
    """Return the tibia in the shin's frame: its plateau 21 mm below the knee's axis, its ankle joint at y = 363."""
    bone = long_bone(
        TIBIA_TABLE,
        build,
        cortex=(0.9, 5.2),
        domes=(1.5, -3.0),
        plates=(0.055, 0.965),
        rows=40,
        around=30,
        bumps=(Bump(0.105, 270, 6, 0.03, 28), Bump(0.04, 90, -4, 0.03, 25)),
    )
    spines = [
        bent_bone([(x, 20, 4), (0.8 * x, 11, 4)], (6, 2.2), (7, 3), build, shell=0.6, rows=10, around=12)
        for x in (-5.5, 5.5)
    ]
    malleolus = bent_bone(
        [(-18, 345, 0), (-20.5, 362, -1), (-19.5, 374, -1)], (8, 6.5, 4), (14, 12, 8), build, shell=0.9
    )
    return (bone + spines[0] + spines[1] + malleolus).named("tibia")


def fibula(build: Build) -> Bone:
    """Return the fibula in the shin's frame, lateral and behind; it ends as the outer malleolus."""
    bone = long_bone(FIBULA_TABLE, build, cortex=(0.8, 2.6), domes=(3, 4), plates=(0.06, 0.945), rows=34, around=20)
    return bone.named("fibula").moved(rotation("z", 2.0) @ rotation("x", -1.6), (37, 27, 14))


def patella(build: Build) -> Bone:
    """Return the kneecap in the shin's frame with the knee straight."""
    small = 1 - 0.3 * build.growing
    return short_bone(
        (2, -12, -37), (22 * small, 22 * small, 10.5 * small), build, boxy=2.3, lumps=((0, 1, 0, 0.12),), shell=1.2
    ).named("patella")


def _add_foot(
    scene: Scene, build: Build, pose: LegPose, sole: Array, ankle: Array, fat: float, rng: np.random.Generator
) -> None:
    bones, rays = foot(build, pose.toes, rng)
    scene.bones += [bone.moved(sole, ankle) for bone in bones]

    scene.add_segment(FOOT, sole, ankle, 0.6 * fat)
    scene.add_segment(ANKLE, sole, ankle, 0.6 * fat)
    for joints, half in rays:
        joints = ankle + joints @ sole.T
        path = np.vstack([joints[1:], joints[-1] + (joints[-1] - joints[-2]) * 0.1])
        width = np.linspace(1.6, 1.3, len(path)) * max(half, 8.0)
        scene.add_flesh(path, width, 0.9 * width, 0.2 * fat, side=sole[:, 0], rows=20, around=18)
