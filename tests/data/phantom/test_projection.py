"""Chord lengths against closed formulas."""

from __future__ import annotations

import numpy as np
import pytest

from kerasortho.data.phantom.meshes import rotation
from kerasortho.data.phantom.projection import Camera, Patch, chords, merged_chords
from kerasortho.data.phantom.shapes import blob, curved_tube, plate, straight_tube

FAR = Camera((120, 140), 0.5, (0.0, 0.0), source=1e9, distance=0.0)  # parallel rays


def whole(patch: Patch | None, camera: Camera = FAR) -> np.ndarray:
    image = np.zeros(camera.shape)
    if patch is not None:
        patch.add_to(image)
    return image


def grid(camera: Camera = FAR) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.indices(camera.shape)
    x, y = columns - (camera.shape[1] - 1) / 2, rows - (camera.shape[0] - 1) / 2
    return x * camera.spacing, y * camera.spacing


def test_ellipsoid_chords_match_the_formula() -> None:
    x, y = grid()
    half = np.sqrt(np.maximum(0, 1 - ((x - 3) / 20) ** 2 - ((y + 2) / 15) ** 2))
    image = whole(chords(blob((3, -2, 7), (20, 15, 12), rows=120, around=160), FAR))
    inside = half > 0.15
    assert np.abs(image - 24 * half)[inside].max() < 0.05
    assert not image[(x / 20.1 - 3 / 20.1) ** 2 + ((y + 2) / 15.1) ** 2 > 1.01].any()


@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("degrees", [0, 30, 90, 137, 180])
def test_the_volume_does_not_depend_on_the_direction(axis: str, degrees: float) -> None:
    tube = straight_tube([(-14, 6, 5), (0, 3, 3), (15, 7, 6)])
    upright = whole(chords(tube, FAR)).sum()
    assert whole(chords(tube.moved(rotation(axis, degrees)), FAR)).sum() == pytest.approx(upright, rel=0.01)


def test_chords_are_nowhere_negative_or_beyond_the_body() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        turn = (
            rotation("x", rng.uniform(0, 360)) @ rotation("y", rng.uniform(0, 360)) @ rotation("z", rng.uniform(0, 360))
        )
        for mesh in (plate([(-9, -9), (9, -9), (9, 9), (-9, 9)], (0, 0), rim=2, middle=1), blob((0, 0, 0), (9, 7, 5))):
            image = whole(chords(mesh.moved(turn), FAR))
            assert image.min() >= 0
            assert image.max() < 27


def test_a_body_cut_by_the_border_keeps_its_chords() -> None:
    ball = blob((0, 0, 0), (20, 20, 20))
    narrow = Camera((30, 36), 0.5, (0.0, 0.0), source=1e9, distance=0.0)
    full = whole(chords(ball, FAR))
    assert np.allclose(whole(chords(ball, narrow), narrow), full[45:75, 52:88], atol=1e-9)


def test_a_body_outside_the_picture_has_no_chords() -> None:
    assert chords(blob((500, 0, 0), (20, 20, 20)), FAR) is None


def test_magnification_grows_towards_the_source() -> None:
    camera = Camera((120, 120), 1.0, (0.0, 0.0), source=1000, distance=100)
    far, near = (whole(chords(blob((0, 0, z), (10, 10, 2)), camera), camera) for z in (0, 400))
    assert (far > 0).sum() == pytest.approx(np.pi * (10 * 1000 / 900) ** 2, rel=0.03)
    assert (near > 0).sum() == pytest.approx(np.pi * (10 * 1000 / 500) ** 2, rel=0.03)


def test_merged_parts_lie_between_the_longest_and_the_sum() -> None:
    parts = [blob((0, 0, 0), (12, 12, 12)), curved_tube([(0, 0, 0), (15, 10, 0), (25, 15, 5)], (6, 6, 6))]
    merged = whole(merged_chords(parts, FAR))
    alone = np.stack([whole(chords(part, FAR)) for part in parts])
    assert (merged >= alone.max(0) - 1e-9).all()
    assert (merged <= alone.sum(0) + 1e-9).all()
    assert np.array_equal(merged > 0, (alone > 0).any(0))


def test_meshes_beside_each_other_add_up() -> None:
    one, two = blob((-8, 0, 0), (6, 6, 6)), blob((8, 0, 3), (6, 9, 6))
    assert np.allclose(whole(chords(one.beside(two), FAR)), whole(chords(one, FAR)) + whole(chords(two, FAR)))
