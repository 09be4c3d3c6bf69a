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
# Flesh: x, y, z, half width, half depth in the frame of the bone inside
UPPER_ARM = (
    (0, -30, 0, 52, 50),
    (0, 30, 0, 54, 52),
    (0, 100, 0, 48, 48),
    (0, 180, 0, 45, 46),
    (0, 250, 0, 42, 40),
    (0, 292, 0, 40, 35),
    (0, 312, 0, 33, 27),
)
FOREARM = (
    (0, -22, 0, 32, 30),
    (0, 0, 0, 40, 36),
    (0, 50, 0, 46, 39),
    (0, 110, 0, 42, 34),
    (0, 180, 0, 33, 25),
    (0, 230, 0, 29, 20),
    (0, 249, 0, 29, 19),
    (0, 274, 0, 32, 17),
)
PALM = (
    (1, -12, 0, 29, 20),
    (2, 12, -2, 31, 19),
    (5, 35, -5, 38, 18),
    (3, 60, -6, 42, 17),
    (1, 88, -5, 43, 14),
    (1, 102, -3, 38, 10),
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
        scene.add_segment(UPPER_ARM, upper, (0, 0, 0), fat)
    if "forearm" in parts:
        scene.bones += [radius(build).moved(fore, elbow), ulna(build).moved(fore, elbow)]
        scene.add_segment(FOREARM, fore, elbow, 0.7 * fat)
    if {"humerus", "forearm"} <= set(parts):
        scene.add_fold(elbow, upper, fore, 62, 41, 33, fat)
    if "hand" in parts:
        bones = hand(build, pose.hand, rng)
        scene.bones += [bone.moved(palm, wrist) for bone in bones.bones]
        _hand_flesh(scene, bones, palm, wrist, fat)
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
    return (shaft + head + tubercle + capitellum.beside(inner_rim).beside(groove)).named("humerus")


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
    return bone.named("radius").moved(rotation("z", 0.5), (13.5, 9.0, -6))


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
    return (bone + styloid).named("ulna").moved(rotation("z", 1.5), (-6, -24, 5))


def _hand_flesh(scene: Scene, bones: Hand, palm: Array, wrist: Array, fat: float) -> None:
    scene.add_segment(PALM, palm, wrist, 0.35 * fat)
    for number, (joints, half) in enumerate(bones.rays):
        joints = wrist + joints @ palm.T
        ends = np.vstack([joints[:-1], joints[-1] + (joints[-1] - joints[-2]) * 0.12])
        widths = np.interp(np.linspace(0, 1, len(ends)), (0, 0.4, 1), (1.5, 1.5, 1.12)) * half
        if number == 0:
            widths[:2] *= (2.0, 1.7)
        scene.add_flesh(ends, widths, 0.85 * widths, 0.2 * fat, side=palm[:, 0], rows=22, around=18)
