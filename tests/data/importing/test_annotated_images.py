"""Masks of what is marked on an image: turned, cut, refused; and how polygons differ from pycocotools'."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as truth

from kerasortho.data.importing.annotated_images import AnnotatedImage, Ellipse, Marked, Polygon, RunLengths, draw_masks
from kerasortho.data.importing.polygons import fill_ellipse, fill_polygon, to_stored_mask, to_stored_pixels
from kerasortho.data.importing.run_lengths import encode

SQUARE = np.array([[2.0, 3.0], [10.0, 3.0], [10.0, 9.0], [2.0, 9.0]])
UPRIGHT = (24, 16)


def image(*parts: Polygon | Ellipse | RunLengths, shape: tuple[int, int] | None = UPRIGHT) -> AnnotatedImage:
    return AnnotatedImage("a.png", shape, (Marked(parts),))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_are_turned_as_points_are(orientation: int) -> None:
    stored = UPRIGHT[::-1] if orientation > 4 else UPRIGHT
    turned = to_stored_mask(fill_polygon(SQUARE, UPRIGHT), orientation)
    assert np.array_equal(turned, fill_polygon(to_stored_pixels(SQUARE, orientation, stored), stored))


def test_what_the_size_tells_about_turning() -> None:
    square = image(Polygon(SQUARE))
    drawn = draw_masks(square, UPRIGHT[::-1], 6)
    assert np.array_equal(np.rot90(drawn.mask, -1), fill_polygon(SQUARE, UPRIGHT))
    assert drawn.remark == "polygons turned back from EXIF orientation 6"
    stored = draw_masks(square, UPRIGHT, 6)
    assert stored.problem == stored.remark == "" and np.array_equal(stored.mask, fill_polygon(SQUARE, UPRIGHT))


@pytest.mark.parametrize(("shape", "orientation"), [(UPRIGHT, 3), (None, 6), (None, 2)])
def test_turning_that_nothing_tells_is_asked_for(shape: tuple[int, int] | None, orientation: int) -> None:
    square = image(Polygon(SQUARE), shape=shape)
    stored = UPRIGHT if orientation < 5 else UPRIGHT[::-1]
    assert f"EXIF orientation {orientation}" in draw_masks(square, stored, orientation).problem
    upright = draw_masks(square, stored, orientation, "upright").mask
    assert np.array_equal(upright, to_stored_mask(fill_polygon(SQUARE, UPRIGHT), orientation))
    assert draw_masks(AnnotatedImage("a.png", shape), stored, orientation).problem == ""


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        (Polygon(SQUARE[:2]), "polygon with 2 corners"),
        (Polygon(SQUARE + 8), "polygon reaches outside the image of 16x24 pixels"),
        (Polygon(SQUARE * 0.01), "polygon that covers no pixel"),
        (Polygon(SQUARE * np.nan), "polygon with a coordinate that is no number"),
        (Ellipse((8, 8), (0, 3)), "ellipse without size"),
        (Ellipse((3, 8), (5, 2)), "ellipse reaches outside the image of 16x24 pixels"),
        (RunLengths((16, 24), (384,)), "run lengths for 24x16 pixels, but the image has 16x24"),
        (RunLengths(UPRIGHT, (384, 1)), "run lengths of 385 pixels for an image of 16x24"),
        (RunLengths(UPRIGHT, (384,)), "mask of run lengths that covers no pixel"),
    ],
)
def test_what_does_not_fit_is_a_problem(part: Polygon | Ellipse | RunLengths, problem: str) -> None:
    drawn = draw_masks(image(part), UPRIGHT, 1)
    assert drawn.problem == problem and not drawn.mask.any()


def test_other_sizes_are_a_problem() -> None:
    square = image(Polygon(SQUARE))
    assert draw_masks(square, (16, 24), 1).problem == "annotated at 16x24 pixels, but the image has 24x16"
    assert draw_masks(square, (48, 32), 1).problem == "annotated at 16x24 pixels, but the image has 32x48"
    assert draw_masks(AnnotatedImage("a.png", UPRIGHT), (48, 32), 1).problem != ""


def test_parts_doubts_and_slivers() -> None:
    sliver = Polygon(np.array([[1.0, 1.0], [5.0, 1.1], [5.0, 1.2]]))
    crowd = RunLengths(UPRIGHT, tuple(encode(np.eye(24, 16, dtype=bool))))
    drawn = draw_masks(
        AnnotatedImage("a", None, (Marked((Polygon(SQUARE), sliver)), Marked((crowd,), doubtful=True))), UPRIGHT, 1
    )
    assert np.array_equal(drawn.mask, fill_polygon(SQUARE, UPRIGHT))
    assert np.array_equal(drawn.ignore, np.eye(24, 16, dtype=bool))
    assert drawn.remark == "1 outline of several parts without any pixel"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_polygons_differ_from_pycocotools_along_the_outline_only(seed: int) -> None:
    """Ours: pixels whose centre is inside. Theirs: also pixels that the outline touches, by a rule of its own."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
    points = 30 + rng.uniform(8, 25, (12, 1)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ours = fill_polygon(points, (60, 60))
    theirs = truth.decode(truth.merge(truth.frPyObjects([points.ravel().tolist()], 60, 60))).astype(bool)
    line = np.round((np.vstack([points, points[:1]]) - 0.5) * 16).astype(np.int32)
    outline = cv2.polylines(np.zeros((60, 60), np.uint8), [line], False, 1, thickness=3, shift=4).astype(bool)
    assert not (ours ^ theirs)[~outline].any()


@pytest.mark.parametrize("angle", [0.0, 0.7, -2.0])
def test_ellipses_are_those_of_many_corners(angle: float) -> None:
    turn = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    along, across = 11.3 * np.cos(turn), 4.2 * np.sin(turn)
    points = np.stack(
        [
            20.2 + along * np.cos(angle) - across * np.sin(angle),
            15.1 + along * np.sin(angle) + across * np.cos(angle),
        ],
        axis=1,
    )
    drawn = fill_ellipse((20.2, 15.1), (11.3, 4.2), angle, (30, 40))
    assert (drawn ^ fill_polygon(points, (30, 40))).sum() <= 1 and drawn.sum() > 130
