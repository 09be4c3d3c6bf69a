"""How each region is imaged: the views a radiographer would take, posed, turned and framed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kerasortho.data.phantom.arm import ArmPose, arm
from kerasortho.data.phantom.hand import HandPose
from kerasortho.data.phantom.leg import FROM_FOOT, LegPose, leg
from kerasortho.data.phantom.meshes import Array, rotation
from kerasortho.data.phantom.patients import Patient
from kerasortho.data.phantom.scene import Scene
from kerasortho.data.phantom.trunk import HIP, MIRROR, pelvis, shoulder_girdle

VIEWS = ("frontal", "lateral", "oblique")
_ARM, _LEG = {"humerus", "forearm", "hand"}, {"femur", "shin", "foot"}


@dataclass(frozen=True)
class Setup:
    """A scene as the beam sees it: ``field`` (width, height) mm around ``landmark`` after ``turn`` (3, 3)."""

    scene: Scene
    turn: Array
    landmark: str
    field: tuple[float, float]
    position: str  # DICOM View Position of the frontal view: "PA" or "AP"
    upright: tuple[int, ...] = (0,)  # usual in-plane turns in degrees
    alone: bool = True  # without the trunk: a second limb may lie beside it, and a cast around it
    widest: float = 1.9  # by how much a wide field may be larger


Maker = Callable[[Patient, str, bool, np.random.Generator], Setup]
"""From a patient, a view of `VIEWS` and whether the field is wide, so that the whole limb may be seen."""


def _about(view: str, frontal: float, lateral: float, oblique: float) -> Array:
    return rotation("y", {"frontal": frontal, "lateral": lateral, "oblique": oblique}[view])


def _fingers(view: str, rng: np.random.Generator) -> HandPose:
    spread = np.array([8, 4, 1, -2, -7]) * rng.uniform(0.5, 2.0) + rng.normal(0, 1.5, 5)
    bend = rng.uniform(0, 10) + rng.normal(0, 3, 5)
    if view != "frontal":
        bend = np.array([8, 2, 10, 20, 30]) * rng.uniform(0.3, 1.4) + rng.normal(0, 4, 5)
    return HandPose(tuple(spread), tuple(np.maximum(bend, -4)))


def _elbow_bend(view: str, wide: bool, rng: np.random.Generator) -> float:
    """Return the elbow's angle for views of hand and wrist: it bends in the picture's plane or hardly at all."""
    return float(rng.uniform(0, 95)) if wide and view == "lateral" else float(rng.uniform(0, 12))


def _hand(patient: Patient, view: str, wide: bool, rng: np.random.Generator) -> Setup:
    pose = ArmPose(hand=_fingers(view, rng), wrist=rng.normal(0, 6), elbow=_elbow_bend(view, wide, rng))
    scene = arm(patient.build, pose, _ARM if wide else {"forearm", "hand"}, patient.fat, rng)
    return Setup(scene, _about(view, 0, 85, 42), "palm", (215, 275), "PA", (0, 180))


def _wrist(patient: Patient, view: str, wide: bool, rng: np.random.Generator) -> Setup:
    pose = ArmPose(hand=_fingers(view, rng), wrist=rng.normal(0, 6), elbow=_elbow_bend(view, wide, rng))
    scene = arm(patient.build, pose, _ARM if wide else {"forearm", "hand"}, patient.fat, rng)
    return Setup(scene, _about(view, 0, 88, 45), "wrist", (150, 200), "PA", (0, 180))


def _forearm(patient: Patient, view: str, wide: bool, rng: np.random.Generator) -> Setup:
    pose = ArmPose(hand=_fingers(view, rng), elbow=rng.uniform(70, 100) if view == "lateral" else rng.uniform(2, 12))
    scene = arm(patient.build, pose, _ARM, patient.fat, rng)
    turn = _about(view, 180, 90, 140)
    if view == "lateral":
        turn = rotation("z", -90) @ turn
    return Setup(scene, turn, "mid_forearm", (260, 350), "AP", (0, 180))


def _elbow(patient: Patient, view: str, wide: bool, rng: np.random.Generator) -> Setup:
    bend = rng.uniform(70, 105) if view == "lateral" else rng.uniform(2, 15)
    pose = ArmPose(elbow=bend, hand=_fingers(view, rng))
    scene = arm(patient.build, pose, _ARM if wide else {"humerus", "forearm"}, patient.fat, rng)
    return Setup(scene, _about(view, 180, 90, 138), "elbow", (180, 220), "AP", (0, 0, 90, 180))


def _shoulder(patient: Patient, view: str, wide: bool, rng: np.random.Generator) -> Setup:
    pose = ArmPose(abduction=rng.uniform(5, 95) if view == "frontal" else rng.uniform(5, 30), elbow=rng.uniform(0, 30))
    scene = arm(patient.build, pose, {"humerus", "forearm"} if wide else {"humerus"}, patient.fat, rng)
    scene.join(shoulder_girdle(patient.build, patient.fat, rng))
    return Setup(scene, _about(view, 180, 125, 150), "girdle", (300, 320), "AP", (0, 0, 0, 90), False, 1.5)


def _upper_arm(patient: Patient, view: str, wide: bool, rng: np.random.Generator) -> Setup:
    bend = rng.uniform(40, 95) if view == "lateral" else rng.uniform(0, 20)
    pose = ArmPose(abduction=rng.uniform(8, 60), elbow=bend)
    scene = arm(patient.build, pose, {"humerus", "forearm"}, patient.fat, rng)
    scene.join(shoulder_girdle(patient.build, patient.fat, rng))
    return Setup(scene, _about(view, 180, 140, 155), "mid_humerus", (250, 380), "AP", (0, 0, 0, 90), False, 1.25)


def _foot(patient: Patient, view: str, wide: bool, rng: np.random.Generator) -> Setup:
    bend = rng.uniform(-5, 15) if view == "lateral" else rng.uniform(30, 50)
    pose = LegPose(ankle=bend, inward=0, knee=0, toes=rng.uniform(5, 25))
    scene = leg(patient.build, pose, _LEG if wide else {"shin", "foot"}, patient.fat, rng)
    if view == "lateral":
        return Setup(scene, rotation("y", 90), "midfoot", (280, 250), "AP")
    from_above = (FROM_FOOT @ rotation("x", -bend)).T
    return Setup(
        scene, _about(view, 0, 0, -32) @ rotation("x", -8) @ from_above, "midfoot", (210, 290), "AP", (0, 0, 180)
    )


def _ankle(patient: Patient, view: str, wide: bool, rng: np.random.Generator) -> Setup:
    pose = LegPose(ankle=rng.uniform(-5, 12), inward=0, knee=0, toes=rng.uniform(5, 25))
    scene = leg(patient.build, pose, _LEG if wide else {"shin", "foot"}, patient.fat, rng)
    return Setup(scene, _about(view, 184, 90, 160), "ankle", (200, 250), "AP")


def _lower_leg(patient: Patient, view: str, wide: bool, rng: np.random.Generator) -> Setup:
    pose = LegPose(ankle=rng.uniform(0, 30), inward=0, knee=rng.uniform(20, 80) if view == "lateral" else 3)
    scene = leg(patient.build, pose, _LEG, patient.fat, rng)
    turn = rotation("x", -pose.knee)
    return Setup(scene, _about(view, 180, 90, 145) @ turn, "mid_shin", (330, 430), "AP", (0, 0, 90))


def _knee(patient: Patient, view: str, wide: bool, rng: np.random.Generator) -> Setup:
    pose = LegPose(inward=0, knee=rng.uniform(20, 90) if view == "lateral" else rng.uniform(0, 10))
    scene = leg(patient.build, pose, _LEG if wide else {"femur", "shin"}, patient.fat, rng)
    return Setup(scene, _about(view, 180, 90, 150), "knee", (210, 270), "AP", (0, 0, 90))


def _hip(patient: Patient, view: str, wide: bool, rng: np.random.Generator) -> Setup:
    pose = LegPose(abduction=rng.uniform(-3, 10) if view == "frontal" else rng.uniform(25, 45), inward=rng.normal(5, 8))
    if view != "frontal":
        pose = LegPose(abduction=pose.abduction, inward=-50)  # the frog-leg position shows the neck from its side
    scene = leg(patient.build, pose, {"femur"}, patient.fat, rng)
    both = rng.random() < 0.6
    if both:
        scene.join(leg(patient.build, pose, {"femur"}, patient.fat, rng).moved(MIRROR, (-2 * HIP, 0, 0)))
    scene.join(pelvis(patient.build, patient.fat))
    landmark, field = ("pelvis", (420, 360)) if both else ("hip", (280, 300))
    return Setup(scene, _about(view, 180, 180, 150), landmark, field, "AP", (0, 0, 0, 90), alone=False, widest=1.15)


def _femur(patient: Patient, view: str, wide: bool, rng: np.random.Generator) -> Setup:
    pose = LegPose(abduction=rng.uniform(0, 12), inward=rng.normal(5, 8), knee=rng.uniform(0, 40))
    scene = leg(patient.build, pose, {"femur", "shin"}, patient.fat, rng)
    if view == "lateral":
        return Setup(scene, rotation("y", 90), "distal_femur", (230, 330), "AP", (0, 0, 90), alone=False, widest=1.15)
    scene.join(pelvis(patient.build, patient.fat))
    return Setup(scene, _about(view, 180, 90, 155), "mid_femur", (260, 430), "AP", alone=False, widest=1.15)


# How to pose and frame each region of `kerasortho.data.phantom.patients.LIMB_OF`.
MAKERS: dict[str, Maker] = {
    "hand": _hand,
    "wrist": _wrist,
    "forearm": _forearm,
    "elbow": _elbow,
    "shoulder": _shoulder,
    "upper_arm": _upper_arm,
    "foot": _foot,
    "ankle": _ankle,
    "lower_leg": _lower_leg,
    "knee": _knee,
    "hip": _hip,
    "femur": _femur,
}
