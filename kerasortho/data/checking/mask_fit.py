"""How well a mask's outline lies on the edges of an image: as it is, and mirrored, turned, shifted or scaled.

Bone is brighter than what surrounds it, so a good outline has the image's gradient pointing inwards all along. The
score is the mean, over the outline, of the cosine-like product of the mask's gradient and the image's, which is scaled
so that faint edges count nearly as much as strong ones. The scores of all shifts at once are a cross-correlation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 192
"""The longer side, in px, that images and masks are compared on."""

_BLUR = 1.2
_STAYS = 0.015  # a shift of less, in parts of the longer side, is none: outlines are drawn by hand
_LEAST_SHIFT = 0.03
_LARGEST_SHIFT = 0.25
_SCALES = (0.5, 2 / 3, 0.8, 1.25, 1.5, 2.0)
_TURNS = {
    "mirrored left-right": (1, 0),
    "mirrored top-bottom": (1, 2),
    "rotated by 180 degrees": (0, 2),
    "rotated by 90 degrees clockwise": (0, 3),
    "rotated by 90 degrees counter-clockwise": (0, 1),
    "transposed": (1, 1),
    "transposed along the other diagonal": (1, 3),
}
"""Mirrorings of left and right (0 or 1) and then quarter turns counter-clockwise, by what they do."""


@dataclass(frozen=True)
class Fit:
    """How a mask fits an image, as it is and in the best other way.

    score, better: in [-1, 1]; about 0 for an outline anywhere, more than 0.5 for a good one.
    way: what has to be done to the mask for ``better``.
    outline: length of the outline, in px of the image shrunk to 192.
    """

    score: float
    better: float
    way: str
    outline: float


def edges(pixels: np.ndarray) -> np.ndarray:
    """Return the edges of (H, W) pixels, bone bright: (2, h, w) float32, lengths in [0, 1), longer side 192."""
    field = _gradient(_shrunk(pixels, _grid(pixels.shape)))
    length = np.hypot(*field)
    return np.asarray(field / (length + length.mean() + 1e-6))


def outline(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the outline of a (H, W) mask as arrows inwards: (2, h, w) float32 of ``shape``."""
    return _gradient(_shrunk((mask != 0).astype(np.float32), shape))


def outline_length(field: np.ndarray) -> float:
    """Return the length in px of an `outline`: across it, the gradient adds up to 1."""
    return float(np.hypot(*field).sum())


def fit(pixels: np.ndarray, mask: np.ndarray) -> Fit:
    """Return how a mask, stretched to the size of an image, fits it, and in what other way it would fit better."""
    field = edges(pixels)
    shape = field.shape[1:]
    target = _Correlation(field)
    own = outline(mask, shape)
    places = target.scores(own)
    middle = _near(places, _STAYS)
    alternatives = [*_shifted(places), *_scaled(target, mask, shape), *_turned(target, mask, shape)]
    better, way = max(alternatives)
    return Fit(middle, better, way, outline_length(own))


def place_score(field: np.ndarray, own: np.ndarray) -> float:
    """Return the score of an outline on edges, both (2, h, w), where it is."""
    return float((field * own).sum() / max(outline_length(own), 1e-6))


def _grid(shape: tuple[int, ...]) -> tuple[int, int]:
    scale = SIDE / max(shape)
    return max(8, round(shape[0] * scale)), max(8, round(shape[1] * scale))


def _shrunk(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    small = cv2.resize(image.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), _BLUR, borderType=cv2.BORDER_REPLICATE))


def _gradient(image: np.ndarray) -> np.ndarray:
    padded = np.pad(image, 1, mode="edge")
    return np.stack([padded[1:-1, 2:] - padded[1:-1, :-2], padded[2:, 1:-1] - padded[:-2, 1:-1]]) / 2


class _Correlation:
    """The scores of outlines on one image's edges, for all shifts."""

    def __init__(self, field: np.ndarray) -> None:
        self._reach = round(_LARGEST_SHIFT * SIDE)
        self._size = [cv2.getOptimalDFTSize(side + self._reach) for side in field.shape[1:]]
        self._field = np.fft.rfft2(field, self._size)

    def scores(self, own: np.ndarray) -> np.ndarray:
        """Return the score for every shift: (2 r + 1, 2 r + 1), the middle one for none; r is a quarter of 192."""
        product = self._field * np.conj(np.fft.rfft2(own, self._size))
        whole = np.fft.irfft2(product.sum(axis=0), self._size) / max(outline_length(own), 1e-6)
        places = np.arange(-self._reach, self._reach + 1)
        return np.asarray(whole[np.ix_(places, places)])


def _near(places: np.ndarray, share: float) -> float:
    """Return the best score of shifts of at most ``share`` of the longer side."""
    return float(places[_distances(places) <= share * SIDE].max())


def _distances(places: np.ndarray) -> np.ndarray:
    steps = np.arange(len(places)) - len(places) // 2
    return np.hypot(steps[:, None], steps[None])


def _shifted(places: np.ndarray) -> Iterator[tuple[float, str]]:
    """Yield the best score of a shift that is more than careless drawing."""
    allowed = np.where(_distances(places) >= _LEAST_SHIFT * SIDE, places, -1)
    down, right = np.unravel_index(int(allowed.argmax()), places.shape)
    middle = len(places) // 2
    yield float(allowed.max()), f"shifted by {_direction(int(down) - middle, int(right) - middle)}"


def _direction(down: int, right: int) -> str:
    steps = ((down, "down" if down > 0 else "up"), (right, "right" if right > 0 else "left"))
    return " and ".join(f"{abs(step) / SIDE:.0%} {word}" for step, word in steps if step) + " of the longer side"


def _scaled(target: _Correlation, mask: np.ndarray, shape: tuple[int, int]) -> Iterator[tuple[float, str]]:
    """Yield the best scores of the mask scaled, anywhere near its place."""
    for factor in _SCALES:
        matrix = np.array([(factor, 0, 0), (0, factor, 0)], np.float64)
        size = mask.shape[1], mask.shape[0]
        moved = cv2.warpAffine((mask != 0).astype(np.float32), matrix, size, flags=cv2.INTER_LINEAR)
        own = outline(moved, shape)
        if outline_length(own) >= 1:
            yield _near(target.scores(own), _LARGEST_SHIFT), f"scaled by {factor:.2f}"


def _turned(target: _Correlation, mask: np.ndarray, shape: tuple[int, int]) -> Iterator[tuple[float, str]]:
    """Yield the scores of the mask mirrored and turned, at its place."""
    for way, (mirrored, turns) in _TURNS.items():
        moved = np.rot90(mask[:, ::-1] if mirrored else mask, turns)
        yield _near(target.scores(outline(np.ascontiguousarray(moved), shape)), _STAYS), way


def describe_way(fitted: Fit) -> str:
    """Return the better way in words, with both scores."""
    return f"fits better when {fitted.way} ({fitted.better:.2f}, as it is {fitted.score:.2f})"
