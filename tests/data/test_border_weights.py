"""The border weight map against its formula, worked out by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from kerasortho.data.border_weights import border_weight_map
from kerasortho.errors import KerasOrthoError


def brute_force(mask: np.ndarray, w0: float, sigma: float) -> np.ndarray:
    """Evaluate the equation pixel by pixel, from the distances to every pixel of every object."""
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    objects = [np.argwhere(labels == i + 1) for i in range(count)]
    weights = np.ones(mask.shape)
    for y, x in np.argwhere(mask == 0):
        d1, d2 = sorted(np.hypot(*(pixels - (y, x)).T).min() for pixels in objects)[:2]
        weights[y, x] += w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2))
    return weights


def test_map_is_the_equation() -> None:
    mask = np.zeros((40, 50), np.uint8)
    mask[5:15, 5:20], mask[5:30, 24:35], mask[33:38, 8:44], mask[2, 45] = 1, 1, 1, 1
    expected = brute_force(mask, 10, 5)
    found = border_weight_map(mask, w0=10, sigma=5)
    assert found.dtype == np.float32 and found.shape == mask.shape
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert found[10, 22] > 7 and found[20, 2] < 1.1  # the gap of 4 pixels is heavy, the open background is not


def test_gap_weight_by_hand() -> None:
    mask = np.zeros((9, 30), np.uint8)
    mask[:, :10], mask[:, 13:] = 1, 1  # a gap of 3 pixels: its middle is 2 from both
    assert border_weight_map(mask, w0=10, sigma=5)[4, 11] == pytest.approx(1 + 10 * np.exp(-16 / 50), rel=1e-5)


@pytest.mark.parametrize("objects", [0, 1])
def test_fewer_than_two_objects_have_no_border(objects: int) -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[5:10, 5:10] = objects
    found = border_weight_map(mask, class_weights=(1.0, 3.0))
    np.testing.assert_array_equal(found, np.where(mask == 1, 3, 1))


def test_objects_themselves_keep_their_class_weight() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[:, :9], mask[:, 11:] = 255, 255
    assert (border_weight_map(mask, class_weights=(1.0, 2.0))[mask > 0] == 2).all()


def test_unusable_arguments_are_refused() -> None:
    with pytest.raises(KerasOrthoError, match=r"shape \(H, W\)"):
        border_weight_map(np.zeros((2, 2, 1), np.uint8))
    with pytest.raises(KerasOrthoError, match='"sigma" above 0'):
        border_weight_map(np.zeros((2, 2), np.uint8), sigma=0)
