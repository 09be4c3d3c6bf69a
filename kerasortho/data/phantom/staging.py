"""Everything that is in the beam: the patient's limb in its view, what was done to it, and what is in the way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kerasortho.data.phantom.arm import ArmPose, arm
from kerasortho.data.phantom.bones import Build
from kerasortho.data.phantom.extras import add_cast, add_implant, add_jewellery
from kerasortho.data.phantom.fractures import break_bone
from kerasortho.data.phantom.hand import HandPose
from kerasortho.data.phantom.labels import TRUNK
from kerasortho.data.phantom.meshes import Array, rotation
from kerasortho.data.phantom.patients import Patient
from kerasortho.data.phantom.scene import Scene
from kerasortho.data.phantom.trunk import MIRROR
from kerasortho.data.phantom.views import MAKERS, Setup

WIDE = 0.7  # share of pictures with extras whose field is wide: more of the limb, and smaller
_SHARES = {"implant": 0.3, "cast": 0.25, "jewellery": 0.2, "second limb": 0.25, "helper": 0.2, "body": 0.2}
"""How often each extra is there, in pictures that have extras at all."""


@dataclass(frozen=True)
class Stage:
    """A scene in beam coordinates (mm, the landmark at the origin) and what is known of it.

    ``field`` (width, height) mm is what the radiographer wants to see; ``orientation`` is DICOM's Patient Orientation.
    """

    scene: Scene
    field: tuple[float, float]
    position: str
    orientation: tuple[str, str]
    fracture: str = ""  # the broken bone
    implant: str = ""  # "plate", "nail" or "wires"
    cast: bool = False
    limbs: int = 1  # of the patient, in the beam
    trunk: bool = False


def set_up(patient: Patient, view: str, rng: np.random.Generator, *, broken: bool, extras: bool) -> Stage:
    """Return a view of the patient: with a fracture if ``broken``, with some implant, cast, ring, ... if ``extras``."""
    wide = bool(rng.random() < WIDE) and extras
    seen = MAKERS[patient.region](patient, view, wide, rng)
    wobble = rotation("y", rng.normal(0, 5)) @ rotation("x", rng.normal(0, 4))
    side = np.eye(3) if patient.side == "R" else MIRROR
    in_plane = rotation("z", rng.normal(0, 7) + rng.choice(seen.upright))
    lying = in_plane @ side @ wobble
    zoom = rng.uniform(1.1, seen.widest) if wide else rng.uniform(0.92, 1.12)
    chosen = {name for name, share in _SHARES.items() if extras and rng.random() < share}
    stage = _treated(seen, lying @ seen.turn, chosen, broken, rng)
    scene = seen.scene.moved(lying @ seen.turn * patient.size)
    scene = scene.moved(np.eye(3), -scene.landmarks[seen.landmark])
    if "second limb" in chosen and seen.alone:
        other = MAKERS[patient.region](patient, view, wide, rng)
        place = in_plane @ side @ MIRROR @ wobble @ other.turn
        gap = seen.field[0] * patient.size * rng.uniform(0.75, 1.1)
        scene = _side_by_side(scene, other, place * patient.size, gap, in_plane[:, 0])
        stage = replace(stage, limbs=2)
        zoom *= rng.uniform(1.0, 1.2) if wide else rng.uniform(1.3, 1.8)
    if "helper" in chosen:
        scene.join(_helping_hand(seen.field, rng))
    width, height = (extent * patient.size * zoom for extent in seen.field)
    if "body" in chosen and seen.alone:
        _add_body_at_the_border(scene, (width, height), rng)
    orientation = _orientation(lying @ seen.turn @ side)
    return replace(stage, scene=scene, field=(width, height), orientation=orientation)


def _treated(seen: Setup, place: Array, chosen: set[str], broken: bool, rng: np.random.Generator) -> Stage:
    """Break a bone of the scene and lay on what is ``chosen``, in place; return what was done."""
    scene, candidates = seen.scene, _bones_in_the_field(seen, place)
    fracture = break_bone(scene, candidates, rng) if broken else ""
    implant = add_implant(scene, candidates, rng) if "implant" in chosen else ""
    if "jewellery" in chosen:
        add_jewellery(scene, rng)
    cast = "cast" in chosen and seen.alone and add_cast(scene, rng)
    return Stage(scene, seen.field, seen.position, ("", ""), fracture, implant, cast, trunk=not seen.alone)


def _bones_in_the_field(seen: Setup, place: Array) -> list[int]:
    """Return the numbers of the limb's long bones whose middle is well inside the picture."""
    centre, half = place @ seen.scene.landmarks[seen.landmark], 0.45 * np.array(seen.field)
    found = []
    for number, bone in enumerate(seen.scene.bones):
        if bone.axis is not None and bone.name not in TRUNK:
            middle = place @ bone.axis.mean(0) - centre
            if (np.abs(middle[:2]) < half).all():
                found.append(number)
    return found


def _side_by_side(scene: Scene, other: Setup, place: Array, gap: float, level: Array) -> Scene:
    """Return the scene with the patient's other limb ``gap`` mm beside it, both as far from the middle.

    The other limb lies on its own outer side; where that points along the beam, along ``level`` (3,).
    """
    outer = place[:, 0] * [1, 1, 0]
    outer = outer if np.linalg.norm(outer) > 0.5 * np.linalg.norm(place[:, 0]) else level
    shift = outer * gap / 2 / np.linalg.norm(outer)
    second = other.scene.moved(place)
    second = second.moved(np.eye(3), shift - second.landmarks[other.landmark])
    both = scene.moved(np.eye(3), -shift)
    both.join(second)
    return both


def _helping_hand(field: tuple[float, float], rng: np.random.Generator) -> Scene:
    """Return somebody's hand that reaches into the picture and holds the limb: its bones have no names."""
    spread, bend = (
        np.array([8, 4, 1, -2, -7]) * rng.uniform(0.5, 2),
        np.array([10, 15, 20, 20, 25]) * rng.uniform(0.3, 2),
    )
    pose = ArmPose(hand=HandPose(tuple(spread), tuple(bend)))
    build = Build(cortex=rng.normal(1, 0.08), thickness=rng.normal(0.95, 0.05))
    hand = arm(build, pose, {"forearm", "hand"}, rng.uniform(1, 4), rng)
    turn = (
        rotation("z", rng.uniform(0, 360))
        @ (np.eye(3) if rng.random() < 0.5 else MIRROR)
        @ rotation("y", rng.uniform(-60, 60))
    )
    size = rng.uniform(0.85, 1.05)
    hand = hand.moved(turn * size)
    reach = 0.5 * np.hypot(*field) * rng.uniform(0.55, 0.9)
    direction = -turn @ [0.0, 1.0, 0.0]
    direction = direction / max(float(np.linalg.norm(direction[:2])), 0.3)
    shift = np.array([*(reach * direction[:2]), rng.uniform(-60, 60)]) - hand.landmarks["palm"]
    hand = hand.moved(np.eye(3), shift)
    hand.bones = [bone.named("") for bone in hand.bones]
    hand.landmarks.clear()
    return hand


def _add_body_at_the_border(scene: Scene, field: tuple[float, float], rng: np.random.Generator) -> None:
    """Let the patient's trunk or thigh, without its bones, reach into the picture from one side, in place."""
    thick, along = rng.uniform(55, 130), rng.uniform(-40, 40)
    inside = rng.uniform(0.05, 0.25)
    upright = rng.random() < 0.5
    away = (field[0] if upright else field[1]) * (0.5 - inside) + thick
    line = np.array([[away, along + y, 0] for y in (-420, -200, 0, 200, 420)])
    path = line if upright else line[:, [1, 0, 2]]
    if rng.random() < 0.5:
        path = -path
    widths = thick * rng.uniform(0.85, 1.1, 5)
    scene.add_flesh(path, widths, 0.9 * widths, 8.0, side=(1, 0, 0) if upright else (0, 1, 0))


def _orientation(place: Array) -> tuple[str, str]:
    """Return where the image's rows and columns mainly lead in the patient: right, feet, back, ..."""
    row, column = ("RFP"[k] if axis[k] > 0 else "LHA"[k] for axis in place[:2] for k in [int(np.abs(axis).argmax())])
    return row, column
