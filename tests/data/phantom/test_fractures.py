"""Broken bones: nothing is lost at a cut, the break has its mask, and what is far from it stays in its place."""

from __future__ import annotations

import numpy as np
import pytest

from kerasortho.data.phantom import Content, take_picture
from kerasortho.data.phantom.arm import radius
from kerasortho.data.phantom.bones import Bone, Build
from kerasortho.data.phantom.fractures import axis_length, break_bone, half_width, point_on
from kerasortho.data.phantom.leg import femur
from kerasortho.data.phantom.meshes import rotation
from kerasortho.data.phantom.projection import Camera, merged_chords
from kerasortho.data.phantom.scene import Scene

CAMERA = Camera((700, 420), 0.8, (0.0, 230.0), source=1e9, distance=0.0)
ALL_BROKEN, NONE_BROKEN = Content(fractures=1, extras=0), Content(fractures=0, extras=0)


def volume(bone: Bone) -> float:
    patch = merged_chords(bone.outer[:1], CAMERA)
    assert patch is not None
    return float(patch.chords.sum()) * CAMERA.spacing**2


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("make", [radius, femur])
def test_both_pieces_together_are_the_bone(make, seed: int) -> None:
    whole = make(Build())
    scene = Scene(bones=[whole])
    assert break_bone(scene, [0], np.random.default_rng(seed)) == whole.name
    assert volume(scene.bones[0]) == pytest.approx(volume(whole), rel=0.01)
    assert len(scene.breaks) == 2 * len(whole.outer)


def test_one_end_stays_and_the_break_is_thin() -> None:
    whole = radius(Build())
    assert whole.axis is not None
    for seed in range(8):
        scene = Scene(bones=[whole])
        break_bone(scene, [0], np.random.default_rng(seed))
        broken = scene.bones[0].axis
        assert broken is not None
        assert np.allclose(broken[0], whole.axis[0])
        assert 0.1 < np.linalg.norm(broken[-1] - whole.axis[-1]) < 60
        across = scene.breaks[0].vertices @ _direction(whole.axis)
        assert np.ptp(across) < 60  # mm, of 240: an oblique cut is as long as the bone is wide


def test_short_bones_do_not_break() -> None:
    scene = Scene(bones=[Bone((), axis=np.array([[0, 0, 0], [0, 12.0, 0]]), name="distal phalanx of finger 5")])
    assert break_bone(scene, [0], np.random.default_rng(0)) == ""
    assert break_bone(scene, [], np.random.default_rng(0)) == ""
    assert not scene.breaks


def test_all_views_of_a_patient_are_broken_or_none_is() -> None:
    for number in range(4):
        views = [take_picture(number, view, size=96, seed=3, content=ALL_BROKEN) for view in range(3)]
        assert all(picture.stage.fracture for picture in views)
        assert not take_picture(number, 0, size=96, seed=3, content=NONE_BROKEN).stage.fracture


def test_the_break_is_on_the_bone_and_small() -> None:
    seen = 0
    for number in range(12):
        picture = take_picture(number, 0, size=192, seed=4, content=ALL_BROKEN)
        assert (picture.mask[picture.fractured > 0] == 1).all()
        assert picture.fractured.sum() < 0.3 * picture.mask.sum()
        assert bool(picture.fracture) == bool(picture.fractured.any())
        seen += bool(picture.fracture)
    assert seen >= 9


def test_shares_are_kept() -> None:
    half = Content(fractures=0.5, extras=0)
    broken = [bool(take_picture(number, 0, size=32, seed=9, content=half).stage.fracture) for number in range(60)]
    assert 18 <= sum(broken) <= 42  # binomial, 60 draws: 0.2 % outside


def test_axis_width_and_length_move_with_the_bone() -> None:
    bone = radius(Build())
    assert bone.axis is not None
    point, direction = point_on(bone.axis, 0.5)
    assert axis_length(bone) == pytest.approx(240, rel=0.05)
    width = half_width(bone, point, direction)
    assert 6 < width < 9
    turned = bone.moved(rotation("x", 70), (5, 6, 7))
    assert turned.axis is not None
    again, towards = point_on(turned.axis, 0.5)
    assert half_width(turned, again, towards) == pytest.approx(width, rel=1e-6)


def _direction(axis: np.ndarray) -> np.ndarray:
    along = axis[-1] - axis[0]
    return along / np.linalg.norm(along)
