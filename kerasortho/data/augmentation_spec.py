"""What may be varied in a training image, and by how much. Read by the configuration, so: no TensorFlow here."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from kerasortho.errors import KerasOrthoError

_LIMITS = {  # amount -> (largest allowed value, its unit in words)
    "quarter_turn": (1.0, "a probability"),
    "rotation": (180.0, "degrees"),
    "shift": (1.0, "a fraction of the image's size"),
    "elastic": (100.0, "pixels of the model's input"),
    "collimation": (1.0, "a probability"),
    "gamma": (2.0, "the natural logarithm of the largest exponent"),
    "contrast": (2.0, "the natural logarithm of the largest factor"),
    "brightness": (1.0, "in units of the intensity range"),
    "tone_curve": (1.0, "a strength"),
    "local_contrast": (5.0, "a strength"),
    "blur": (20.0, "pixels of the model's input"),
    "resolution_loss": (0.95, "a fraction of the resolution"),
    "noise": (1.0, "in units of the intensity range"),
    "invert": (1.0, "a probability"),
}


@dataclass(frozen=True)
class Augmentation:
    """Random changes to a training image; every amount is off at its default, and all defaults together change nothing.

    Amounts are limits: each image draws its own value, evenly between the limit and none (or its negative). Blur, loss
    of resolution, noise and local contrast leave half of the images alone, so that the model also sees clean ones.
    Raises KerasOrthoError naming the field for a value out of range.
    """

    horizontal_flip: bool = False  # mirrored left-right, half of the images
    vertical_flip: bool = False  # mirrored top-bottom, half of the images
    quarter_turn: float = 0.0  # probability of a turn by 90, 180 or 270 degrees (an image stored sideways)
    rotation: float = 0.0  # degrees, either way
    scale: tuple[float, float] = (1.0, 1.0)  # smallest and largest magnification, drawn evenly in its logarithm
    shift: float = 0.0  # either way, as a fraction of the height and of the width
    elastic: float = 0.0  # largest local displacement, in pixels of the model's input (Simard 2003, coarse grid)
    collimation: float = 0.0  # probability that up to a third at each border is covered, dark or bright
    gamma: float = 0.0  # exposure: exponent between exp(-gamma) and exp(gamma)
    contrast: float = 0.0  # factor about the mean, between exp(-contrast) and exp(contrast)
    brightness: float = 0.0  # added to the intensities [0, 1], either way
    tone_curve: float = 0.0  # 0..1: how far a random rising curve bends the grey scale (a vendor's look-up table)
    local_contrast: float = 0.0  # unsharp masking at a wide radius: up to this much detail added (vendor processing)
    blur: float = 0.0  # Gaussian, largest sigma in pixels of the model's input
    resolution_loss: float = 0.0  # 0..0.95: shrunk to at least 1 - this and enlarged again
    noise: float = 0.0  # Gaussian, largest standard deviation, in units of the intensity range
    invert: float = 0.0  # probability of a negative (bone dark)

    def __post_init__(self) -> None:
        for name, (largest, unit) in _LIMITS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= largest:
                raise KerasOrthoError(
                    f'"augmentation.{name}" must be {unit}, from 0 (off) to {largest:g}. Received: {value!r}.'
                )
        for name in ("horizontal_flip", "vertical_flip"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise KerasOrthoError(f'"augmentation.{name}" must be true or false. Received: {value!r}.')
        self._check_scale()

    def _check_scale(self) -> None:
        valid = isinstance(self.scale, tuple | list) and len(self.scale) == 2
        valid = valid and all(isinstance(v, int | float) and math.isfinite(v) for v in self.scale)
        if not valid or not 0.1 <= self.scale[0] <= self.scale[1] <= 10:
            raise KerasOrthoError(
                '"augmentation.scale" must be two magnifications, the smaller first, both from 0.1 to 10, such as '
                f"[0.8, 1.25]. Received: {self.scale!r}."
            )
        object.__setattr__(self, "scale", (float(self.scale[0]), float(self.scale[1])))

    @property
    def is_identity(self) -> bool:
        """Whether nothing is varied at all."""
        return all(getattr(self, field.name) == field.default for field in fields(self))
