from __future__ import annotations

import numpy as np
import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.overlay import PREDICTION, TRUTH, overlay, side_by_side


def square(top: int, left: int) -> np.ndarray:
    mask = np.zeros((60, 80), np.uint8)
    mask[top : top + 20, left : left + 20] = 1
    return mask


def test_contour_fill_and_the_rest():
    pixels = np.full((60, 80), 0.5, np.float32)
    drawn = overlay(pixels, square(10, 10), truth=square(30, 50), alpha=0.3)
    assert drawn.shape == (60, 80, 3) and drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn[10, 15], PREDICTION)
    np.testing.assert_array_equal(drawn[30, 55], TRUTH)
    np.testing.assert_array_equal(drawn[20, 20], np.rint(128 * 0.7 + np.array(PREDICTION) * 0.3))
    np.testing.assert_array_equal(drawn[40, 60], [128, 128, 128])
    np.testing.assert_array_equal(drawn[5, 5], [128, 128, 128])


def test_empty_and_bool_masks_and_alpha_zero():
    pixels = np.linspace(0, 1, 60 * 80, dtype=np.float32).reshape(60, 80)
    plain = overlay(pixels, np.zeros((60, 80), bool))
    np.testing.assert_array_equal(plain[..., 0], np.rint(pixels * 255))
    outline = overlay(pixels, square(10, 10) > 0, alpha=0)
    np.testing.assert_array_equal(outline[20, 20], plain[20, 20])


def test_sizes_must_agree():
    with pytest.raises(KerasOrthoError, match="mask must have the image's size"):
        overlay(np.zeros((5, 5)), np.zeros((5, 6), np.uint8))


def test_side_by_side():
    grey, colour = np.ones((40, 20), np.float32), np.zeros((80, 60, 3), np.uint8)
    row = side_by_side([grey, colour], gap=4)
    assert row.shape == (40, 20 + 4 + 30, 3) and row.dtype == np.uint8
    assert row[0, 0, 0] == 255 and row[0, -1, 0] == 0
    with pytest.raises(KerasOrthoError):
        side_by_side([])
