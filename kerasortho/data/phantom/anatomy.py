"""Who is imaged and how: patients of all ages, and for every region the views a radiographer would take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kerasortho.data.phantom.arm import ArmPose, arm
from kerasortho.data.phantom.bones import Build
from kerasortho.data.phantom.hand import HandPose
from kerasortho.data.phantom.leg import FROM_FOOT, LegPose, leg
from kerasortho.data.phantom.meshes import Array, rotation
from kerasortho.data.phantom.scene import Scene
from kerasortho.data.phantom.trunk import HIP, MIRROR, pelvis, shoulder_girdle

VIEWS = ("frontal", "lateral", "oblique")


@dataclass(frozen=True)
class Patient:
    """One phantom person and the limb that is imaged.

    ``size`` scales all lengths (1 is a tall man), ``fat`` is in mm, ``spongy`` the mineral share of trabecular bone.
    """

    name: str
    limb: str  # "upper" or "lower"
    region: str
    side: str  # "L" or "R"
    age: int
    size: float
    fat: float
    spongy: float
    build: Build


@dataclass(frozen=True)
class Setup:
    """A scene as the beam sees it: ``field`` (width, height) mm around ``landmark`` after ``turn`` (3, 3)."""

    scene: Scene
    turn: Array
    landmark: str
    field: tuple[float, float]
    position: str  # DICOM View Position of the frontal view: "PA" or "AP"
    upright: tuple[int, ...] = (0,)  # usual in-plane turns in degrees


Maker = Callable[[Patient, str, np.random.Generator], Setup]


def draw_patient(number: int, seed: int) -> Patient:
    """Return patient ``number`` (from 0) of a seed: upper and lower limbs alternate, regions take turns."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    limb = ("upper", "lower")[number % 2]
    regions = [name for name, (owner, _, _) in REGIONS.items() if owner == limb]
    age = int(rng.choice([rng.integers(5, 17), rng.integers(18, 60), rng.integers(60, 95)], p=[0.2, 0.5, 0.3]))
    grown = float(np.clip((age - 2) / 15, 0, 1))
    size = (0.5 + 0.45 * grown) * rng.normal(1.0, 0.05)
    frail = np.clip((age - 55) / 40, 0, 1) * rng.uniform(0.3, 1.0)
    build = Build(
        cortex=float(rng.normal(1.0, 0.08) * (1 - 0.4 * frail)),
        thickness=float(rng.normal(0.97, 0.05)),
        growing=1 - grown,
    )
    return Patient(
        name=f"phantom-{number + 1:05d}",
        limb=limb,
        region=regions[(number // 2) % len(regions)],
        side="LR"[rng.integers(2)],
        age=age,
        size=float(np.clip(size, 0.4, 1.12)),
        fat=float(rng.uniform(1.5, 7)),
        spongy=float(0.24 * (1 - 0.35 * frail) * rng.normal(1, 0.1)),
        build=build,
    )


def set_up(patient: Patient, view: str, rng: np.random.Generator) -> tuple[Scene, Setup, tuple[str, str]]:
    """Return the scene in beam coordinates (mm, its landmark at the origin), its set-up and its Patient Orientation."""
    seen = REGIONS[patient.region][2](patient, view, rng)
    in_plane = rotation("z", rng.normal(0, 7) + rng.choice(seen.upright))
    wobble = rotation("y", rng.normal(0, 5)) @ rotation("x", rng.normal(0, 4))
    side = np.eye(3) if patient.side == "R" else MIRROR
    place = in_plane @ side @ wobble @ seen.turn
    scene = seen.scene.moved(place * patient.size)
    return scene.moved(np.eye(3), -scene.landmarks[seen.landmark]), seen, _orientation(place @ side)


def _orientation(place: Array) -> tuple[str, str]:
    """Return where the image's rows and columns mainly lead in the patient: right, feet, back, ..."""
    row, column = ("RFP"[k] if axis[k] > 0 else "LHA"[k] for axis in place[:2] for k in [int(np.abs(axis).argmax())])
    return row, column


def _about(view: str, frontal: float, lateral: float, oblique: float) -> Array:
    return rotation("y", {"frontal": frontal, "lateral": lateral, "oblique": oblique}[view])


def _fingers(view: str, rng: np.random.Generator) -> HandPose:
    spread = np.array([8, 4, 1, -2, -7]) * rng.uniform(0.5, 2.0) + rng.normal(0, 1.5, 5)
    bend = rng.uniform(0, 10) + rng.normal(0, 3, 5)
    if view != "frontal":
        bend = np.array([8, 2, 10, 20, 30]) * rng.uniform(0.3, 1.4) + rng.normal(0, 4, 5)
    return HandPose(tuple(spread), tuple(np.maximum(bend, -4)))


def _hand(patient: Patient, view: str, rng: np.random.Generator) -> Setup:
    pose = ArmPose(hand=_fingers(view, rng), wrist=rng.normal(0, 6))
    scene = arm(patient.build, pose, {"forearm", "hand"}, patient.fat, rng)
    return Setup(scene, _about(view, 0, 85, 42), "palm", (215, 275), "PA", (0, 180))


def _wrist(patient: Patient, view: str, rng: np.random.Generator) -> Setup:
    pose = ArmPose(hand=_fingers(view, rng), wrist=rng.normal(0, 6))
    scene = arm(patient.build, pose, {"forearm", "hand"}, patient.fat, rng)
    return Setup(scene, _about(view, 0, 88, 45), "wrist", (150, 200), "PA", (0, 180))


def _forearm(patient: Patient, view: str, rng: np.random.Generator) -> Setup:
    pose = ArmPose(hand=_fingers(view, rng), elbow=rng.uniform(70, 100) if view == "lateral" else rng.uniform(2, 12))
    scene = arm(patient.build, pose, {"humerus", "forearm", "hand"}, patient.fat, rng)
    turn = _about(view, 180, 90, 140)
    if view == "lateral":
        turn = rotation("z", -90) @ turn
    return Setup(scene, turn, "mid_forearm", (260, 350), "AP", (0, 180))


def _elbow(patient: Patient, view: str, rng: np.random.Generator) -> Setup:
    pose = ArmPose(elbow=rng.uniform(70, 105) if view == "lateral" else rng.uniform(2, 15))
    scene = arm(patient.build, pose, {"humerus", "forearm"}, patient.fat, rng)
    return Setup(scene, _about(view, 180, 90, 138), "elbow", (180, 220), "AP", (0, 0, 90, 180))


def _shoulder(patient: Patient, view: str, rng: np.random.Generator) -> Setup:
    pose = ArmPose(abduction=rng.uniform(5, 75) if view == "frontal" else rng.uniform(5, 30))
    scene = arm(patient.build, pose, {"humerus"}, patient.fat, rng)
    scene.join(shoulder_girdle(patient.build, patient.fat))
    return Setup(scene, _about(view, 180, 125, 150), "girdle", (300, 320), "AP")


def _foot(patient: Patient, view: str, rng: np.random.Generator) -> Setup:
    bend = rng.uniform(-5, 15) if view == "lateral" else rng.uniform(30, 50)
    pose = LegPose(ankle=bend, inward=0, knee=0, toes=rng.uniform(5, 25))
    scene = leg(patient.build, pose, {"shin", "foot"}, patient.fat, rng)
    if view == "lateral":
        return Setup(scene, rotation("y", 90), "midfoot", (280, 250), "AP")
    from_above = (FROM_FOOT @ rotation("x", -bend)).T
    return Setup(
        scene, _about(view, 0, 0, -32) @ rotation("x", -8) @ from_above, "midfoot", (210, 290), "AP", (0, 0, 180)
    )


def _ankle(patient: Patient, view: str, rng: np.random.Generator) -> Setup:
    pose = LegPose(ankle=rng.uniform(-5, 12), inward=0, knee=0, toes=rng.uniform(5, 25))
    scene = leg(patient.build, pose, {"shin", "foot"}, patient.fat, rng)
    return Setup(scene, _about(view, 184, 90, 160), "ankle", (200, 250), "AP")


def _lower_leg(patient: Patient, view: str, rng: np.random.Generator) -> Setup:
    pose = LegPose(ankle=rng.uniform(0, 30), inward=0, knee=rng.uniform(20, 80) if view == "lateral" else 3)
    scene = leg(patient.build, pose, {"femur", "shin", "foot"}, patient.fat, rng)
    turn = rotation("x", -pose.knee)
    return Setup(scene, _about(view, 180, 90, 145) @ turn, "mid_shin", (330, 430), "AP", (0, 0, 90))


def _knee(patient: Patient, view: str, rng: np.random.Generator) -> Setup:
    pose = LegPose(inward=0, knee=rng.uniform(20, 90) if view == "lateral" else rng.uniform(0, 10))
    scene = leg(patient.build, pose, {"femur", "shin"}, patient.fat, rng)
    return Setup(scene, _about(view, 180, 90, 150), "knee", (210, 270), "AP", (0, 0, 90))


def _hip(patient: Patient, view: str, rng: np.random.Generator) -> Setup:
    pose = LegPose(abduction=rng.uniform(-3, 10) if view == "frontal" else rng.uniform(25, 45), inward=rng.normal(5, 8))
    if view != "frontal":
        pose = LegPose(abduction=pose.abduction, inward=-50)  # the frog-leg position shows the neck from its side
    scene = leg(patient.build, pose, {"femur"}, patient.fat, rng)
    both = rng.random() < 0.6
    if both:
        scene.join(leg(patient.build, pose, {"femur"}, patient.fat, rng).moved(MIRROR, (-2 * HIP, 0, 0)))
    scene.join(pelvis(patient.build, patient.fat))
    return Setup(
        scene, _about(view, 180, 180, 150), "pelvis" if both else "hip", (420, 360) if both else (280, 300), "AP"
    )


# name: limb, DICOM Body Part Examined, how to pose and frame it
REGIONS: dict[str, tuple[str, str, Maker]] = {
    "hand": ("upper", "HAND", _hand),
    "wrist": ("upper", "WRIST", _wrist),
    "forearm": ("upper", "FOREARM", _forearm),
    "elbow": ("upper", "ELBOW", _elbow),
    "shoulder": ("upper", "SHOULDER", _shoulder),
    "foot": ("lower", "FOOT", _foot),
    "ankle": ("lower", "ANKLE", _ankle),
    "lower_leg": ("lower", "LEG", _lower_leg),
    "knee": ("lower", "KNEE", _knee),
    "hip": ("lower", "HIP", _hip),
}
