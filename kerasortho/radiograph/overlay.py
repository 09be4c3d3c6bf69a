"""Masks drawn onto radiographs: a translucent fill with a contour, in colours that colour-blind people tell apart."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from kerasortho.errors import KerasOrthoError

# Okabe and Ito, Color Universal Design (2008); red, green, blue.
ORANGE = (230, 159, 0)
SKY_BLUE = (86, 180, 233)
PREDICTION, TRUTH = ORANGE, SKY_BLUE


def overlay(
    pixels: np.ndarray,
    mask: np.ndarray,
    *,
    truth: np.ndarray | None = None,
    colour: tuple[int, int, int] = PREDICTION,
    truth_colour: tuple[int, int, int] = TRUTH,
    alpha: float = 0.3,
) -> np.ndarray:
    """Draw a mask, and optionally the true one, onto a radiograph.

    pixels: (H, W) in [0, 1]. mask, truth: (H, W) of {0, 1}. colour, truth_colour: red, green, blue of 0..255.
    alpha: opacity of the fill, 0 (contour only) to 1. The truth is a contour only, drawn last.

    Returns (H, W, 3) uint8, red, green, blue. Raises KerasOrthoError where the sizes differ.
    """
    canvas = np.repeat(to_uint8(pixels)[..., None], 3, axis=2)
    inside = _as_mask(mask, pixels, "mask")
    blended = canvas.astype(np.float32) * (1 - alpha) + np.asarray(colour, np.float32) * alpha
    canvas = np.where(inside[..., None] > 0, np.rint(blended).astype(np.uint8), canvas)
    _draw_contour(canvas, inside, colour)
    if truth is not None:
        _draw_contour(canvas, _as_mask(truth, pixels, "truth"), truth_colour)
    return canvas


def side_by_side(images: Sequence[np.ndarray], *, gap: int = 8) -> np.ndarray:
    """Set images next to each other, on the height of the first one, with white gaps of ``gap`` pixels.

    images: each (H, W) in [0, 1] (bool and floats) or (H, W, 3) uint8. Returns (H, W', 3) uint8, red, green, blue.
    """
    if not images:
        raise KerasOrthoError("side_by_side needs at least one image.")
    height = images[0].shape[0]
    parts: list[np.ndarray] = []
    for image in images:
        colour = image if image.ndim == 3 else np.repeat(to_uint8(image)[..., None], 3, axis=2)
        width = max(1, round(colour.shape[1] * height / colour.shape[0]))
        if colour.shape[:2] != (height, width):
            colour = np.asarray(cv2.resize(colour, (width, height), interpolation=cv2.INTER_AREA))
        parts += [np.full((height, gap, 3), 255, np.uint8), colour]
    return np.concatenate(parts[1:], axis=1)


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Turn (H, W) in [0, 1] into (H, W) uint8 of 0..255, rounded; values outside are clipped."""
    return np.rint(np.clip(np.asarray(pixels, np.float32), 0.0, 1.0) * 255).astype(np.uint8)


def _as_mask(mask: np.ndarray, pixels: np.ndarray, name: str) -> np.ndarray:
    if mask.shape != pixels.shape:
        raise KerasOrthoError(f"The {name} must have the image's size {pixels.shape}. Received shape: {mask.shape}.")
    return np.ascontiguousarray(mask != 0).astype(np.uint8)


def _draw_contour(canvas: np.ndarray, inside: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Draw the outlines of ``inside`` in place, holes too, about 1/500 of the image's longer side thick."""
    contours, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(max(inside.shape) / 500))
    cv2.drawContours(canvas, contours, -1, colour, thickness, cv2.LINE_8)
