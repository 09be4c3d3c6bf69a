"""Transforms between images: the words for them, and masks carried along."""

from __future__ import annotations

import numpy as np
import pytest

from kerasortho.data.transforms import Transform

HEIGHT, WIDTH = 80, 50
SAME = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
MIRRORED = ((-1.0, 0.0, WIDTH - 1.0), (0.0, 1.0, 0.0))
UPSIDE_DOWN = ((1.0, 0.0, 0.0), (0.0, -1.0, HEIGHT - 1.0))
CLOCKWISE = ((0.0, -1.0, HEIGHT - 1.0), (1.0, 0.0, 0.0))


def transform(matrix=SAME, *, inverted=False, shares=(1.0, 1.0), grey_change=0.0) -> Transform:
    return Transform(matrix, inverted, shares, grey_change)


@pytest.mark.parametrize(
    ("done", "words"),
    [
        (transform(MIRRORED), "mirrored left-right"),
        (transform(UPSIDE_DOWN), "mirrored top-bottom"),
        (transform(CLOCKWISE), "rotated by 90 degrees clockwise"),
        (transform(((0.0, 1.0, 0.0), (1.0, 0.0, 0.0))), "mirrored left-right, rotated by 90 degrees counter-clockwise"),
        (transform(((-1.0, 0.0, 49.0), (0.0, -1.0, 79.0))), "rotated by 180 degrees"),
        (transform(((0.995, 0.0998, 0.0), (-0.0998, 0.995, 0.0))), "rotated by 5.7 degrees counter-clockwise"),
        (transform(((0.5, 0.0, -0.25), (0.0, 0.5, -0.25))), "scaled by 0.50"),
        (transform(shares=(0.71, 1.0)), "crop of 71 %"),
        (transform(shares=(1.0, 0.71)), "showing more (71 % are common)"),
        (transform(shares=(0.8, 0.75)), "cut otherwise (80 % and 75 % are common)"),
        (transform(inverted=True, grey_change=0.1), "inverted, other brightness or contrast"),
        (transform(MIRRORED, shares=(0.6, 1.0)), "mirrored left-right, crop of 60 %"),
        (transform(), "altered in places"),
    ],
)
def test_a_transform_is_told_in_words(done, words):
    assert done.describe() == words


@pytest.mark.parametrize(
    ("matrix", "by_numpy"),
    [
        (MIRRORED, lambda image: image[:, ::-1]),
        (UPSIDE_DOWN, lambda image: image[::-1]),
        (CLOCKWISE, lambda image: np.rot90(image, -1)),
    ],
)
def test_a_mask_is_carried_along(matrix, by_numpy):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:30, 5:20] = 1
    truth = by_numpy(mask)
    moved, known = transform(matrix).apply(mask, truth.shape)
    assert np.array_equal(moved, truth)
    assert known.all()


def test_what_a_crop_does_not_show_is_unknown():
    moved, known = transform(((1.0, 0.0, 10.0), (0.0, 1.0, 0.0))).apply(np.ones((20, 20), np.uint8), (20, 20))
    assert not known[:, :10].any() and known[:, 10:].all()
    assert np.array_equal(moved.astype(bool), known)


@pytest.mark.parametrize(("matrix", "mirrored"), [(SAME, False), (MIRRORED, True), (CLOCKWISE, False)])
def test_mirroring_is_told_from_rotation(matrix, mirrored):
    assert transform(matrix).mirrored is mirrored
