"""How one image was made of another: mirrored, rotated, scaled, cropped, with other grey values; in words."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_WHOLE = 0.97  # share of an image from which all of it counts as seen
_DEGREES = 0.7  # a smaller rotation is none
_SCALE = 0.02
_GREY = 0.04


@dataclass(frozen=True)
class Transform:
    """What was done to the first image of a pair to make the second.

    matrix: two rows of three numbers, that take (column, row, 1) in px of the first to px of the second.
    inverted: dark became bright.
    shares: which share of the first image's area, and of the second's, the other shows.
    grey_change: mean absolute difference of stretched grey values, in [0, 1].
    """

    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]
    inverted: bool
    shares: tuple[float, float]
    grey_change: float

    @property
    def mirrored(self) -> bool:
        """Tell whether left became right (or top bottom): sides that labels name are then the others."""
        return bool(np.linalg.det(np.array(self.matrix)[:, :2]) < 0)

    @property
    def scale(self) -> float:
        """Return how many px of the second one px of the first became."""
        return float(np.sqrt(abs(np.linalg.det(np.array(self.matrix)[:, :2]))))

    @property
    def degrees(self) -> float:
        """Return the rotation, in (-180, 180], clockwise positive, after a mirroring of left and right."""
        turn = np.array(self.matrix)[:, :2] @ np.diag((-1 if self.mirrored else 1, 1))
        return float(np.rad2deg(np.arctan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1])))

    def describe(self) -> str:
        """Return what was done, such as ``"mirrored left-right, rotated by 90 degrees clockwise, crop of 71 %"``."""
        words = [*self._turns()]
        if abs(self.scale - 1) > _SCALE:
            words.append(f"scaled by {self.scale:.2f}")
        first, second = (round(100 * share) for share in self.shares)
        if min(self.shares) < _WHOLE <= max(self.shares):
            words.append(f"crop of {first} %" if self.shares[0] < _WHOLE else f"showing more ({second} % are common)")
        elif max(self.shares) < _WHOLE:
            words.append(f"cut otherwise ({first} % and {second} % are common)")
        if self.inverted:
            words.append("inverted")
        if self.grey_change > _GREY:
            words.append("other brightness or contrast")
        return ", ".join(words) or "altered in places"

    def apply(self, image: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return a mask (H, W) uint8 of the first image as one of the second, of ``shape``, and where it is known."""
        size = shape[1], shape[0]
        matrix = np.array(self.matrix)
        moved = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_NEAREST)
        known = cv2.warpAffine(np.ones(image.shape, np.uint8), matrix, size, flags=cv2.INTER_NEAREST)
        return moved, known.astype(bool)

    def _turns(self) -> list[str]:
        degrees = self.degrees
        quarter = round(degrees / 90) * 90
        if abs(degrees - quarter) < _DEGREES:
            degrees = quarter
        if self.mirrored and abs(degrees) == 180:
            return ["mirrored top-bottom"]
        words = ["mirrored left-right"] if self.mirrored else []
        if abs(degrees) == 180:
            words.append("rotated by 180 degrees")
        elif degrees:
            amount = f"{abs(degrees):.0f}" if abs(degrees) in (90, 180) else f"{abs(degrees):.1f}"
            words.append(f"rotated by {amount} degrees {'clockwise' if degrees > 0 else 'counter-clockwise'}")
        return words
