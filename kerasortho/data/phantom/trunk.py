"""The limb girdles and what the beam meets beside them: pelvis and sacrum; scapula, clavicle, ribs, spine and lung.

Seen from behind, right side: x to the right (lateral), y down, z posterior; mm.
"""

from __future__ import annotations

import numpy as np

from kerasortho.data.phantom.bones import Bone, Build, bent_bone, flat_bone, short_bone
from kerasortho.data.phantom.meshes import rotation
from kerasortho.data.phantom.scene import Scene
from kerasortho.data.phantom.shapes import curved_tube

MIRROR = np.diag([-1.0, 1.0, 1.0])
HIP = 88.0  # from the body's midline to a femoral head
SHOULDER = 175.0  # from the midline to a humeral head

ILIUM = (
    (18, -18),
    (30, -40),
    (36, -66),
    (48, -96),
    (42, -118),
    (14, -132),
    (-22, -132),
    (-48, -118),
    (-58, -98),
    (-46, -78),
    (-38, -50),
    (-30, -22),
    (-8, -8),
)
BLADE = ((-28, -6), (-40, 18), (-62, 70), (-86, 108), (-96, 108), (-98, 60), (-96, 5), (-88, -22), (-60, -16))


def pelvis(build: Build, fat: float) -> Scene:
    """Return both hip bones, sacrum and two lumbar vertebrae around a right femoral head at the origin."""
    half = _hip_bone(build)
    scene = Scene(landmarks={"pelvis": np.array([-HIP, -25.0, 0.0])})
    scene.bones += [half, half.moved(MIRROR, (-2 * HIP, 0, 0)), *_sacrum(build)]
    path = [(-HIP, y, 0) for y in (-240, -170, -110, -50, 0, 40, 62)]
    scene.add_flesh(path, (150, 152, 165, 176, 172, 150, 110), (88, 92, 100, 108, 100, 84, 50), 3 * fat, side=(1, 0, 0))
    return scene


def _hip_bone(build: Build) -> Bone:
    wing = flat_bone(ILIUM, (0, -75), build, rim=8.5, middle=3.0, bow=(-0.45, 0.1, 0.6), shell=1.5)
    socket = bent_bone(
        [(-14, -34, 4), (-22, -18, 4), (-26, 0, 2), (-22, 16, 2)], (11, 12, 9, 10), (20, 24, 24, 18), build, shell=1.4
    )
    roof = bent_bone(
        [(-14, -33, 0), (8, -33, 0), (25, -22, 0)], (7, 7, 3.5), (22, 22, 16), build, shell=1.6, side=(0, 1, 0)
    )
    upper_ramus = bent_bone(
        [(-16, 8, -14), (-36, 14, -34), (-58, 20, -44), (-80, 28, -46)],
        (10, 7.5, 8, 10),
        (10, 8, 8, 9),
        build,
        shell=1.3,
        side=(0, 1, 0),
    )
    body = bent_bone([(-80, 24, -46), (-81, 42, -44), (-76, 56, -38)], (7, 8, 7), (8, 8, 7), build)
    lower_ramus = bent_bone(
        [(-77, 54, -38), (-62, 72, -20), (-44, 82, 2), (-30, 74, 14)],
        (7, 6.5, 9, 13),
        (6, 5, 8, 12),
        build,
        side=(1, 0, 0),
    )
    ischium = bent_bone(
        [(-18, 12, 8), (-20, 36, 18), (-26, 62, 20), (-36, 80, 12)],
        (14, 12, 14, 12),
        (15, 13, 15, 12),
        build,
        shell=1.5,
    )
    brim = bent_bone(
        [(-50, -78, 34), (-36, -52, 22), (-30, -24, 6), (-38, 2, -16), (-62, 18, -40)],
        (4, 5, 5, 5, 6),
        (6, 7, 7, 6, 7),
        build,
    )
    return (wing + socket + roof + brim + upper_ramus + body + lower_ramus + ischium).named("hip bone")


def _sacrum(build: Build) -> list[Bone]:
    outline = (
        (-50, -38),
        (-20, -46),
        (20, -46),
        (50, -38),
        (46, -5),
        (26, 28),
        (10, 58),
        (-10, 58),
        (-26, 28),
        (-46, -5),
    )
    sacrum = flat_bone(outline, (0, -5), build, rim=12, middle=15, shell=1.2).moved(rotation("x", -28), (-HIP, -60, 45))
    bones = [sacrum.named("sacrum")]
    for y, z in ((-125, 20), (-162, 16)):
        body = short_bone((-HIP, y, z), (25, 14.5, 18), build, boxy=4.5, shell=1.3)
        wings = bent_bone(
            [(-HIP - 42, y, z + 26), (-HIP, y + 2, z + 26), (-HIP + 42, y, z + 26)],
            (5, 9, 5),
            (4, 8, 4),
            build,
            side=(0, 1, 0),
        )
        spine = short_bone((-HIP, y + 8, z + 46), (4, 13, 14), build, boxy=2.6)
        bones.append((body + wings + spine).named("vertebra"))
    return bones


def shoulder_girdle(build: Build, fat: float, rng: np.random.Generator) -> Scene:
    """Return scapula, clavicle, head, chest and the abdomen's top beside a right humeral head at the origin."""
    scene = Scene(landmarks={"girdle": np.array([-45.0, 25.0, 0.0])})
    scene.bones += [_scapula(build), _clavicle(build), *_chest(build, scene, rng.uniform(110, 230))]
    path = [(-SHOULDER, y, 0) for y in (-80, -50, -20, 30, 100, 180, 260, 340, 420)]
    widths, depths = (62, 90, 135, 150, 152, 148, 142, 140, 142), (58, 70, 88, 104, 112, 112, 110, 108, 108)
    scene.add_flesh(path, widths, depths, 2 * fat, side=(1, 0, 0))
    _add_head(scene, build, fat)
    cap = [(-110, -25, 8), (-60, -28, 8), (-20, -12, 4), (0, 20, 2), (4, 60, 0)]
    scene.add_flesh(cap, (60, 52, 52, 54, 48), (52, 50, 52, 54, 48), 1.5 * fat, side=(0, 1, 0))
    scene.add_flesh(
        [(-SHOULDER, -260, 0), (-SHOULDER, -120, 0), (-SHOULDER, -60, 0)],
        (55, 58, 80),
        (58, 58, 64),
        fat,
        side=(1, 0, 0),
    )
    return scene


def _scapula(build: Build) -> Bone:
    blade = flat_bone(BLADE, (-72, 25), build, rim=4.0, middle=1.6, bow=(-0.35, 0, 0.3), shell=0.9).moved(
        np.eye(3), (0, 0, 32)
    )
    neck = bent_bone(
        [(-64, 12, 26), (-46, 6, 16), (-29, 4, 6)], (9, 10, 18), (7, 8, 13), build, side=(0, 1, 0), domes=(1, -2)
    )
    spine = bent_bone(
        [(-96, 6, 44), (-62, -12, 48), (-28, -26, 38), (0, -36, 16), (8, -36, -6)],
        (3.5, 5, 6, 7, 6),
        (3, 5, 8, 13, 10),
        build,
        side=(0, 1, 0),
    )
    beak = bent_bone(
        [(-42, -12, 8), (-38, -26, -14), (-22, -20, -32), (-16, -14, -36)], (8, 7, 6, 4.5), (8, 7, 6, 4), build
    )
    return (blade + neck + spine + beak).named("scapula")


def _clavicle(build: Build) -> Bone:
    points = [(-4, -38, -6), (-30, -44, 4), (-62, -46, -8), (-100, -38, -36), (-130, -28, -48), (-150, -24, -50)]
    widths, depths = (6, 5.5, 5.5, 6, 8, 11), (8, 6, 5.5, 6, 8, 11)
    return bent_bone(points, widths, depths, build, shell=1.7, side=(0, 1, 0), rows=34).named("clavicle")


def _add_head(scene: Scene, build: Build, fat: float) -> None:
    """Add skull, jaw and the flesh around them, above the shoulders."""
    skull = short_bone((-SHOULDER, -295, 10), (72, 92, 92), build, boxy=2.2, shell=5.0, rows=20, around=28)
    jaw = bent_bone(
        [(-SHOULDER - 46, -225, 0), (-SHOULDER - 34, -196, -48), (-SHOULDER, -188, -68), (-SHOULDER + 34, -196, -48),
         (-SHOULDER + 46, -225, 0)],
        (9, 8, 8, 8, 9), (14, 13, 13, 13, 14), build, side=(0, 1, 0),
    )  # fmt: skip
    scene.bones += [skull.named("skull"), jaw.named("skull")]
    path = [(-SHOULDER, y, z) for y, z in ((-388, 8), (-340, 8), (-280, 0), (-215, -12), (-185, -20))]
    scene.add_flesh(path, (40, 74, 80, 68, 40), (50, 92, 100, 90, 60), 0.5 * fat, side=(1, 0, 0))


def _chest(build: Build, scene: Scene, diaphragm: float) -> list[Bone]:
    """Return ribs and spine, and put a lung into the scene that ends at y = ``diaphragm`` mm."""
    bones = []
    for number in range(9):
        top, reach = -44 + 27 * number, (66, 88, 104, 114, 120, 124, 126, 127, 128)[number]
        angles = np.radians(np.linspace(80, -42, 9))  # from the spine behind round the side to the front
        path = [
            (-SHOULDER + 10 + reach * np.cos(a), top + (34 + 6 * number) * (1 - np.sin(a)), 0.72 * reach * np.sin(a))
            for a in angles
        ]
        rib = bent_bone(path, [5.6] * 9, [3.2] * 9, build, shell=0.9, side=(0, 1, 0), rows=30, around=14)
        bones.append(rib.named("rib"))
    for number in range(-4, 14):
        y = -78 + (31 if number > 0 else 24) * number
        body = short_bone((-SHOULDER, y, 28), (17, 13.5, 15), build, boxy=4.5)
        spine = short_bone((-SHOULDER, y + 6, 64), (3.5, 12, 20), build, boxy=2.6)
        bones.append((body + spine).named("vertebra"))
    along = np.linspace(-30, diaphragm, 5)
    lung = [(-SHOULDER + x, y, 4) for x, y in zip((56, 62, 68, 72, 74), along, strict=True)]
    scene.air.append(curved_tube(lung, (36, 44, 52, 56, 54), (34, 60, 76, 80, 70), domes=(22, -12)))
    return bones
