"""The U-Net paper's border weight map: pixels between two objects that nearly touch count more."""

from __future__ import annotations

import cv2
import numpy as np

from kerasortho.errors import KerasOrthoError


def border_weight_map(
    mask: np.ndarray, *, w0: float = 10.0, sigma: float = 5.0, class_weights: tuple[float, float] = (1.0, 1.0)
) -> np.ndarray:
    """Return w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2)).

    Equation 2 of Ronneberger 2015 (doi:10.1007/978-3-319-24574-4_28). d1 and d2 are Euclidean distances in pixels to
    the nearest and the second nearest object, an object being an 8-connected component of the mask. The border term is
    for background pixels, and absent where there are fewer than two objects.

    Args:
        mask: ``(H, W)``, non-zero where an object is.
        w0: height of the border term, >= 0 (the paper's 10).
        sigma: its width in pixels, > 0 (the paper's 5).
        class_weights: w_c of background and foreground.

    Returns:
        ``(H, W)`` float32 weights.

    Raises:
        KerasOrthoError: for a mask that is not two-dimensional, or parameters out of range.
    """
    if mask.ndim != 2:
        raise KerasOrthoError(f"A border weight map needs a mask of shape (H, W). Received: {mask.shape}.")
    if w0 < 0 or sigma <= 0:
        raise KerasOrthoError(f'"w0" must be at least 0 and "sigma" above 0. Received: {w0!r}, {sigma!r}.')
    foreground = mask > 0
    weights = np.where(foreground, class_weights[1], class_weights[0]).astype(np.float32)
    count, labels = cv2.connectedComponents(foreground.astype(np.uint8), connectivity=8)
    if count < 3 or w0 == 0:  # label 0 is the background
        return weights
    nearest, second = _two_nearest_distances(labels, count)
    border = w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    return np.where(foreground, weights, weights + border).astype(np.float32)


def _two_nearest_distances(labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each pixel's distances to the nearest and second nearest of the objects 1..count-1, ``(H, W)`` each."""
    nearest = np.full(labels.shape, np.inf, np.float32)
    second = nearest.copy()
    for label in range(1, count):
        distance = cv2.distanceTransform((labels != label).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        second = np.minimum(second, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    return nearest, second
