"""Local features of a radiograph: they survive turning, mirroring, cropping, scaling and another exposure.

SIFT (Lowe 2004) on grey values that are normalised by their surroundings. The descriptors of the mirrored and of the
inverted image are those of the image with their numbers in another order, so that all four are had for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.reading import read_radiograph

VARIANTS = ((False, False), (True, False), (False, True), (True, True))
"""(mirrored, inverted): the ways an image may differ that descriptors do not survive unchanged."""

_SIDE = 320  # px of the longer side on which features are searched
_MOST = 200
_CONTRAST = 0.02
_EDGE = 12
_SURROUNDINGS = 31  # px
_FLOOR = 0.02  # grey values' deviation that counts as noise, in fractions of the image's contrast

_BINS = np.arange(128).reshape(4, 4, 8)  # SIFT: rows and columns of cells along and across the main direction; angles
_MIRRORED = _BINS[::-1, :, -np.arange(8) % 8].ravel()
_INVERTED = _BINS[::-1, ::-1, :].ravel()  # the main direction turns round, the angles to it stay


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """Features of an image of ``shape`` (H, W).

    points: (N, 4) float32: column and row in px of the image, size in px, direction in degrees.
    descriptors: (N, 128) uint8.
    """

    shape: tuple[int, int]
    points: np.ndarray
    descriptors: np.ndarray

    def variant(self, mirrored: bool, inverted: bool) -> LocalFeatures:
        """Return the features of the image mirrored left-right, inverted, or both."""
        points, order = self.points.copy(), np.arange(128)
        if inverted:
            points[:, 3] += 180
            order = order[_INVERTED]
        if mirrored:
            points[:, 0] = self.shape[1] - 1 - points[:, 0]
            points[:, 3] = 180 - points[:, 3]
            order = order[_MIRRORED]
        return LocalFeatures(self.shape, points, self.descriptors[:, order])


def find_features(pixels: np.ndarray) -> LocalFeatures:
    """Return at most 200 features, those of the most contrast, of (H, W) float32 pixels in [0, 1]."""
    height, width = pixels.shape
    scale = _SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    detector = cv2.SIFT.create(nfeatures=_MOST, contrastThreshold=_CONTRAST, edgeThreshold=_EDGE)
    keys, descriptors = detector.detectAndCompute(_evened(small), None)
    keys = keys[:_MOST]
    if not keys:
        return LocalFeatures((height, width), np.zeros((0, 4), np.float32), np.zeros((0, 128), np.uint8))
    points = np.array([(*key.pt, key.size, key.angle) for key in keys], np.float32)
    factors = np.array((width / size[0], height / size[1]), np.float32)
    points[:, :2] = (points[:, :2] + 0.5) * factors - 0.5
    points[:, 2] *= factors.mean()
    return LocalFeatures((height, width), points, descriptors[:_MOST].astype(np.uint8))


def read_features(file: Path) -> LocalFeatures | None:
    """Return the features of an image file, None if it cannot be read."""
    try:
        return find_features(read_radiograph(file).pixels)
    except KerasOrthoError:
        return None


def _evened(image: np.ndarray) -> np.ndarray:
    """Return uint8 grey values relative to the mean and the spread of their surroundings."""
    low, high = np.percentile(image, (0.5, 99.5))
    stretched = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    around = (_SURROUNDINGS, _SURROUNDINGS)
    mean = cv2.blur(stretched, around)
    spread = np.sqrt(np.maximum(cv2.blur(stretched * stretched, around) - mean * mean, 0))
    return np.clip(128 + 40 * (stretched - mean) / (spread + _FLOOR), 0, 255).astype(np.uint8)
