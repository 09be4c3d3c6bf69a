"""How much a small shape looks like a letter or a digit: correlation with drawn ones, upright, turned and mirrored.

No reading machine: it tells that something is lettering, and which single letter a side marker shows.
"""

from __future__ import annotations

import string
from functools import lru_cache

import cv2
import numpy as np

SIDE = 16
"""Height and width, in px, to which shapes are stretched before they are compared."""

_CHARACTERS = string.digits + string.ascii_uppercase + "abdefghknpqrty"
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX)
_CAP_HEIGHT = 64  # px
_STROKES = (6, 11, 16)  # px
_ASPECT = 1.5  # largest ratio between the aspect ratios of shape and letter


def letter_likeness(shapes: list[np.ndarray]) -> tuple[np.ndarray, list[str]]:
    """Return (n,) correlations in [-1, 1] of shapes with the most similar letter each, and these letters.

    Args:
        shapes: n masks (h, w) bool, each the bounding box of one connected shape.
    """
    if not shapes:
        return np.zeros(0), []
    bank, aspects, names = _bank()
    scores = np.stack([_normalised(shape) for shape in shapes]) @ bank.T
    wide = np.log([shape.shape[1] / shape.shape[0] for shape in shapes])
    scores[np.abs(wide[:, None] - aspects[None]) > np.log(_ASPECT)] = -1
    best = scores.argmax(axis=1)
    return scores[np.arange(len(shapes)), best], [names[index] for index in best]


@lru_cache(maxsize=1)
def _bank() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return (m, SIDE * SIDE) normalised letters, (m,) logarithms of width / height, and their names."""
    rows, aspects, names = [], [], []
    for character in _CHARACTERS:
        for upright in _drawn(character):
            for mirrored in (upright, upright[:, ::-1]):
                for turns in range(4):
                    shape = np.rot90(mirrored, turns)
                    rows.append(_normalised(shape))
                    aspects.append(np.log(shape.shape[1] / shape.shape[0]))
                    names.append(character)
    return np.stack(rows), np.array(aspects), names


def _drawn(character: str) -> list[np.ndarray]:
    """Return the character in all fonts and strokes: masks cut to their bounding boxes."""
    shapes = []
    for font in _FONTS:
        for stroke in _STROKES:
            canvas = np.zeros((4 * _CAP_HEIGHT, 4 * _CAP_HEIGHT), np.uint8)
            scale = cv2.getFontScaleFromHeight(font, _CAP_HEIGHT, 1)
            cv2.putText(canvas, character, (_CAP_HEIGHT, 3 * _CAP_HEIGHT), font, scale, 255, stroke)
            x, y, width, height = cv2.boundingRect(canvas)
            shapes.append(canvas[y : y + height, x : x + width] > 0)
    return shapes


def _normalised(shape: np.ndarray) -> np.ndarray:
    """Return a shape stretched to SIDE x SIDE, as (SIDE * SIDE,) float32 of mean 0 and length 1."""
    flat = cv2.resize(shape.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA).ravel()
    flat = flat - flat.mean()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1e-6))
