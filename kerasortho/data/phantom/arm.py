"""The arm from shoulder to fingertips, a right arm seen from behind: x lateral, y distal, z posterior; mm."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from kerasortho.data.phantom.bones import Bone, Build, bent_bone, long_bone, short_bone
from kerasortho.data.phantom.hand import Hand, HandPose, hand
from kerasortho.data.phantom.meshes import Array, rotation
from kerasortho.data.phantom.scene import Scene
from kerasortho.data.phantom.shapes import Bump

HUMERUS = 312.0  # from the head's centre to the trochlea's
RADIUS = 240.0
WRIST = 248.5  # from the elbow's axis to the wrist's middle

HUMERUS_SHAFT = (
    (-10, 17, 18, 8),
    (4, 19, 19, 6),
    (20, 17, 17, 5),
    (45, 13, 13, 4),
    (90, 11, 11, 3),
    (170, 10.5, 10.5, 0),
    (230, 11, 10, 0),
    (262, 16, 9.5, 0, -1),
    (282, 25, 9.5, -2, -1),
    (294, 32, 10, -4, -1),
    (302, 31, 10, -3, -3),
    (309, 26, 9, -2, -4),
)
RADIUS_TABLE = (
    (0, 11, 11, 0),
    (7, 11.3, 11.3, 0),
    (12, 8.2, 8.2, 0),
    (20, 7, 7, -0.5),
    (32, 7.6, 7.5, -1),
    (60, 7, 6.8, 2),
    (110, 7.6, 6.5, 5),
    (160, 7.6, 6.3, 4),
    (200, 9.5, 7.5, 0),
    (222, 13.5, 10, -2),
    (234, 15.8, 11.5, -3),
    (240, 15.2, 11, -3),
)
ULNA_TABLE = (  # the trochlear notch is the dip on the anterior (-z) side at y = 22
    (0, 9, 7.0, 0, 4.5),
    (4, 12, 9.5, 0, 3.5),
    (10, 12.5, 8.5, 0, 5),
    (16, 11, 6.2, 0, 7.5),
    (24, 10.5, 5.6, 0, 8),
    (31, 11.5, 8.5, 0, 5.5),
    (37, 11.5, 13.0, 0, 1.2),
    (44, 10, 11.2, 0, 2.5),
    (60, 8.2, 8.6, 0, 3),
    (110, 7.3, 7.3, -1, 2),
    (180, 6.6, 6.4, 0, 0),
    (225, 5.4, 5.4, 1.5, 0),
    (250, 5.8, 5.8, 1, 0),
    (262, 8.6, 8, 0, 0),
    (268, 8.4, 7.6, 0, 0),
)


@dataclass(frozen=True)
class ArmPose:
    """Joint angles in degrees."""

    abduction: float = 0.0
    elbow: float = 5.0
    hand: HandPose = field(default_factory=HandPose)
    wrist: float = 0.0  # towards the thumb


def arm(build: Build, pose: ArmPose, parts: Collection[str], fat: float, rng: np.random.Generator) -> Scene:
    """Return the wanted parts ("humerus", "forearm", "hand") of a right arm and its landmarks in mm."""
    upper = rotation("z", -pose.abduction)
    elbow = upper @ [0.0, HUMERUS, 0.0]
    fore = upper @ rotation("z", -9 * (1 - min(pose.elbow, 90) / 90)) @ rotation("x", -pose.elbow)
    wrist = elbow + fore @ [0.0, WRIST, 0.0]
    palm = fore @ rotation("z", -pose.wrist)
    scene = Scene(landmarks={"shoulder": np.zeros(3), "elbow": elbow, "wrist": wrist})
    scene.landmarks["mid_humerus"], scene.landmarks["mid_forearm"] = elbow / 2, (elbow + wrist) / 2
    scene.landmarks["palm"] = wrist + palm @ [2.0, 62.0, 0.0]
    if "humerus" in parts:
        scene.bones.append(humerus(build).moved(upper))
    if "forearm" in parts:
        scene.bones += [radius(build).moved(fore, elbow), ulna(build).moved(fore, elbow)]
    if "hand" in parts:
        bones = hand(build, pose.hand, rng)
        scene.bones += [bone.moved(palm, wrist) for bone in bones.bones]
        _hand_hull(scene, bones, palm, wrist, fat)
    _hull(scene, upper, elbow, fore, wrist, parts, fat)
    return scene


def humerus(build: Build) -> Bone:
    """Return the humerus with its head at the origin and its elbow axis at y = 312."""
    shaft = long_bone(
        HUMERUS_SHAFT,
        build,
        cortex=(1.0, 4.2),
        domes=(7, 2),
        plates=(0.085, 0.965),
        rows=36,
        around=28,
        bumps=(
            Bump(0.905, 90, -4.5, 0.025, 28),
            Bump(0.91, 270, -3, 0.02, 25),
            Bump(0.935, 180, 5, 0.02, 30),
            Bump(0.35, 0, 1.5, 0.06, 40),
        ),
    )
    head = short_bone((-4, 0, 4), (23.5, 23.5, 22.5), build, boxy=2.0, shell=1.0, rows=18, around=26)
    tubercle = short_bone((17, -2, -3), (10, 14, 12), build, boxy=2.2, shell=1.0)
    capitellum = short_bone((13.5, HUMERUS - 7, -6.5), (11.3, 12.5, 12.5), build, boxy=2.0)
    inner_rim = short_bone((-17.5, HUMERUS - 5, -4), (7.6, 15, 13.5), build, boxy=2.2)
    groove = short_bone((-3.8, HUMERUS - 7, -4), (6.4, 12.5, 11), build, boxy=2.8)
    return shaft + head + tubercle + capitellum.beside(inner_rim).beside(groove)


def radius(build: Build) -> Bone:
    """Return the radius in the elbow's frame: its head under the capitellum, its styloid at the wrist's thumb side."""
    bone = long_bone(
        RADIUS_TABLE,
        build,
        cortex=(0.8, 2.9),
        domes=(-1.5, -2.5),
        tilts=(0, 0.32),
        plates=(0.035, 0.955),
        rows=34,
        bumps=(Bump(0.13, 200, 3.5, 0.03, 35), Bump(1.0, 0, 1.5, 0.03, 40), Bump(0.97, 90, 1.5, 0.03, 20)),
    )
    return bone.moved(rotation("z", 0.5), (13.5, 9.0, -6))


def ulna(build: Build) -> Bone:
    """Return the ulna in the elbow's frame: its notch around the trochlea, its styloid at the wrist."""
    bone = long_bone(
        ULNA_TABLE,
        build,
        cortex=(0.8, 2.7),
        domes=(3, 1.0),
        plates=(0.035, 0.965),
        rows=40,
        bumps=(Bump(0.98, 180, 1.0, 0.015, 35),),
    )
    styloid = bent_bone([(-5, 262, 4), (-6, 272, 5)], (3.2, 2.0), None, build, shell=0.7, rows=10, around=12)
    return (bone + styloid).moved(rotation("z", 1.5), (-6, -24, 5))


def _hull(
    scene: Scene, upper: Array, elbow: Array, fore: Array, wrist: Array, parts: Collection[str], fat: float
) -> None:
    if "humerus" in parts:
        path = [upper @ [0, y, 0] for y in (-30, 30, 100, 180, 250, HUMERUS - 20, HUMERUS)]
        scene.add_flesh(path, (52, 54, 48, 45, 42, 40, 33), (50, 52, 48, 46, 40, 35, 27), fat, side=upper[:, 0])
    if "forearm" in parts:
        path = [elbow + fore @ [0, y, 0] for y in (-22, 0, 50, 110, 180, 230, WRIST, WRIST + 25)]
        scene.add_flesh(
            path, (32, 40, 46, 42, 33, 29, 29, 32), (30, 36, 39, 34, 25, 20, 19, 17), 0.7 * fat, side=fore[:, 0]
        )
    if {"humerus", "forearm"} <= set(parts):
        crease = [
            elbow + upper @ [0, -62, 2],
            elbow + (upper @ [0, -30, 0] + fore @ [0, 30, 0]),
            elbow + fore @ [0, 62, 2],
        ]
        scene.add_flesh(crease, (40, 41, 42), (33, 31, 32), fat, side=fore[:, 0])


def _hand_hull(scene: Scene, bones: Hand, palm: Array, wrist: Array, fat: float) -> None:
    def at(x: float, y: float, z: float) -> Array:
        place: Array = wrist + palm @ [x, y, z]
        return place

    path = [at(1, -12, 0), at(2, 12, -2), at(5, 35, -5), at(3, 60, -6), at(1, 88, -5), at(1, 102, -3)]
    scene.add_flesh(path, (29, 31, 38, 42, 43, 38), (20, 19, 18, 17, 14, 10), 0.35 * fat, side=palm[:, 0])
    for number, (joints, half) in enumerate(bones.rays):
        joints = wrist + joints @ palm.T
        ends = np.vstack([joints[:-1], joints[-1] + (joints[-1] - joints[-2]) * 0.12])
        widths = np.interp(np.linspace(0, 1, len(ends)), (0, 0.4, 1), (1.5, 1.5, 1.12)) * half
        if number == 0:
            widths[:2] *= (2.0, 1.7)
        scene.add_flesh(ends, widths, 0.85 * widths, 0.2 * fat, side=palm[:, 0], rows=22, around=18)
