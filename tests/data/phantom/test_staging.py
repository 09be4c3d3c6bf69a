"""What else is in the beam: implants, casts, rings, the other limb, somebody's hand, two exposures."""

from __future__ import annotations

import numpy as np
import pytest

from kerasortho.data.phantom import Content, take_picture
from kerasortho.data.phantom.extras import add_cast, add_implant, add_jewellery
from kerasortho.data.phantom.patients import draw_patient
from kerasortho.data.phantom.picture import Picture
from kerasortho.data.phantom.projection import Camera
from kerasortho.data.phantom.staging import set_up
from kerasortho.data.phantom.tracing import trace
from kerasortho.data.phantom.views import MAKERS

CAMERA = Camera((220, 200), 1.6, (0.0, 0.0), source=1100, distance=60)


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    """Many small pictures, all of them with extras."""
    return [
        take_picture(number, view, size=64, seed=11, content=Content(0.3, 1.0))
        for number in range(48)
        for view in range(2)
    ]


def make(region: str, view: str = "frontal", seed: int = 0):
    number = next(n for n in range(24) if draw_patient(n, 0).region == region)
    return MAKERS[region](draw_patient(number, 0), view, False, np.random.default_rng(seed))


def test_every_extra_occurs_and_is_told(pictures: list[Picture]) -> None:
    stages = [picture.stage for picture in pictures]
    assert {stage.implant for stage in stages} >= {"", "plate", "wires", "nail"}
    assert {stage.cast for stage in stages} == {True, False}
    assert {stage.limbs for stage in stages} == {1, 2}
    assert {picture.exposures for picture in pictures} == {1, 2}


def test_without_extras_there_are_none() -> None:
    for number in range(12):
        stage = take_picture(number, 0, size=32, seed=11, content=Content(0, 0)).stage
        assert (stage.implant, stage.cast, stage.limbs, stage.fracture) == ("", False, 1, "")
        assert not stage.scene.metal
        assert not stage.scene.plaster


@pytest.mark.parametrize("seed", range(10))
def test_implants_are_metal_on_the_bone(seed: int) -> None:
    scene = make("lower_leg").scene
    tibia = [number for number, bone in enumerate(scene.bones) if bone.name == "tibia"]
    kind = add_implant(scene, tibia, np.random.default_rng(seed))
    assert kind in {"plate", "nail", "wires"}
    scene = scene.moved(np.eye(3), -scene.landmarks["mid_shin"])
    tissue = trace(scene, CAMERA)
    (metal,) = tissue.metal.values()
    assert metal.any()
    assert (tissue.mask & (metal > 0)).sum() > 0.4 * (metal > 0).sum()


def test_no_implant_without_a_long_bone() -> None:
    scene = make("hand").scene
    assert add_implant(scene, [], np.random.default_rng(0)) == ""
    assert not scene.metal


def test_a_cast_lies_around_the_skin() -> None:
    scene = make("forearm").scene
    assert add_cast(scene, np.random.default_rng(1))
    tissue = trace(scene.moved(np.eye(3), -scene.landmarks["mid_forearm"]), CAMERA)
    outline = (tissue.muscle + tissue.fat > 0).sum()
    assert tissue.plaster.any()
    assert (tissue.plaster > 0).sum() > 0.5 * outline
    at_bones = tissue.plaster[tissue.mask]
    assert 5 < np.median(at_bones[at_bones > 0]) < 25  # mm of plaster: two walls of 3 to 8 mm


def test_a_thick_thigh_gets_no_cast() -> None:
    scene = make("femur").scene
    scene.segments = [segment for segment in scene.segments if segment.widths.max() > 62]
    assert not add_cast(scene, np.random.default_rng(1))


def test_rings_need_a_hand() -> None:
    hand, knee = make("hand").scene, make("knee").scene
    assert add_jewellery(hand, np.random.default_rng(0))
    assert hand.metal["steel"]
    assert not add_jewellery(knee, np.random.default_rng(0))
    assert not knee.metal


def test_somebody_elses_bones_are_in_no_mask() -> None:
    """Among pictures with extras, some have a helping hand: it adds bone to the path and nothing to the masks."""
    patient, found = draw_patient(9, 0), 0
    for seed in range(40):
        stage = set_up(patient, "frontal", np.random.default_rng(seed), broken=False, extras=True)
        strangers = [bone for bone in stage.scene.bones if not bone.name]
        if not strangers:
            continue
        found += 1
        everything = trace(stage.scene, CAMERA)
        stage.scene.bones = [bone for bone in stage.scene.bones if bone.name]
        alone = trace(stage.scene, CAMERA)
        assert np.array_equal(everything.mask, alone.mask)
        assert np.array_equal(everything.labels, alone.labels)
        if found == 3:
            return
    pytest.fail("no helping hand in 40 pictures")


def test_two_limbs_are_both_marked() -> None:
    patient = draw_patient(7, 0)
    for seed in range(60):
        stage = set_up(patient, "frontal", np.random.default_rng(seed), broken=False, extras=True)
        if stage.limbs == 2:
            names = [bone.name for bone in stage.scene.bones]
            assert all(names.count(name) == 2 for name in set(names) - {""} if not name.startswith("sesamoids"))
            return
    pytest.fail("no second limb in 60 pictures")


def test_two_exposures_show_bones_in_both_halves(pictures: list[Picture]) -> None:
    plates = [picture for picture in pictures if picture.exposures == 2]
    assert plates
    for picture in plates:
        by_columns, by_rows = (np.array_split(picture.mask, 2, axis=axis) for axis in (1, 0))
        assert all(half.any() for half in by_columns) or all(half.any() for half in by_rows)
