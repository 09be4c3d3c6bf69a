"""The one way from a radiograph to a model's input, and back: a specification kept as data, executed with numpy.

Every implementation of this specification (here, in the TensorFlow graph, on an edge device) gives the same numbers:
aspect ratio kept, content centred and never cropped, antialiased resampling, contrast stretched between two
percentiles of the content, padding 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.words import echo

VERSION = 1
INTENSITIES = ("percentile", "none")
SMALLEST_CONTRAST = 1 / 255  # less than one 8-bit grey level is noise: it is not stretched to the full range
PERCENTILE_STEPS = 1000  # percentiles have at most three decimals, so that integer arithmetic finds them exactly
LARGEST_SIDE = 4096  # of a model's input: keeps the integer arithmetic of the graph within 32 bits
_KEYS = ("version", "size", "intensity", "low", "high")


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a model's input.

    size: (height, width) of the model's input, in pixels.
    intensity: "percentile" stretches the content's ``low``..``high`` percentile to 0..1 and clips; "none" only clips.
    low, high: percentiles, 0 <= low < high <= 100, at most three decimals.
    Raises KerasOrthoError for values outside these.
    """

    size: tuple[int, int] = (224, 224)  # height and width of the model's input, in pixels
    intensity: str = "percentile"  # percentile: stretched between low and high and clipped; none: clipped alone
    low: float = 0.5  # percentile that becomes black
    high: float = 99.5  # percentile that becomes white

    def __post_init__(self) -> None:
        _check_size(self.size)
        if self.intensity not in INTENSITIES:
            raise KerasOrthoError(
                f"preprocessing.intensity must be one of {', '.join(INTENSITIES)}. Received: {echo(self.intensity)}."
                + did_you_mean(str(self.intensity), INTENSITIES)
            )
        for name in ("low", "high"):
            _check_percentile(name, getattr(self, name))
        if not self.low < self.high:
            raise KerasOrthoError(
                f"preprocessing.low must be below preprocessing.high. Received: low={self.low}, high={self.high}."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the specification as plain values for JSON or YAML."""
        return {
            "version": VERSION,
            "size": list(self.size),
            "intensity": self.intensity,
            "low": self.low,
            "high": self.high,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Read what ``to_dict`` wrote. Raises KerasOrthoError for an unknown key, value or version."""
        if not isinstance(values, Mapping):
            raise KerasOrthoError(f"preprocessing must map {', '.join(_KEYS)} to values. Received: {echo(values)}.")
        for key in values:
            if key not in _KEYS:
                raise KerasOrthoError(
                    f"Unknown key {echo(key)} in preprocessing; known: {', '.join(_KEYS)}."
                    f"{did_you_mean(str(key), _KEYS)}"
                )
        if values.get("version", VERSION) != VERSION:
            raise KerasOrthoError(
                f"preprocessing.version {values['version']!r} is not known to this kerasortho, which writes version "
                f"{VERSION}: use the kerasortho that wrote it, or a newer one."
            )
        fields = {key: value for key, value in values.items() if key != "version"}
        if isinstance(fields.get("size"), list):
            fields["size"] = tuple(fields["size"])
        return cls(**fields)


@dataclass(frozen=True)
class Letterbox:
    """Where an image of ``shape`` (H, W) lies inside a model input of ``size`` (h, w).

    The content rectangle is ``[top : top + height, left : left + width]``; the rest is padding.
    """

    shape: tuple[int, int]
    size: tuple[int, int]
    top: int
    left: int
    height: int
    width: int

    @property
    def content(self) -> tuple[slice, slice]:
        """The content rectangle as an index into a (h, w) array."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def letterbox(shape: tuple[int, int], size: tuple[int, int]) -> Letterbox:
    """Fit ``shape`` (H, W) into ``size`` (h, w): aspect ratio kept, centred, never cropped, one pixel at least.

    Integer arithmetic, so that every implementation rounds alike (halves round up).
    """
    (rows, columns), (h, w) = shape, size
    if rows < 1 or columns < 1:
        raise KerasOrthoError(f"An image must have at least one pixel each way. Received shape: {tuple(shape)}.")
    if h * columns <= w * rows:
        height, width = h, max(1, (2 * columns * h + rows) // (2 * rows))
    else:
        height, width = max(1, (2 * rows * w + columns) // (2 * columns)), w
    return Letterbox((rows, columns), (h, w), (h - height) // 2, (w - width) // 2, height, width)


@lru_cache(maxsize=32)
def resampling_matrix(source: int, target: int) -> np.ndarray:
    """Return the (target, source) float32 matrix that resamples one axis; every row sums to 1. Read-only.

    Triangle filter with half-pixel centres, widened by source / target when shrinking (antialiased), as in Pillow's
    BILINEAR and ``tf.image.resize(antialias=True)``. All distances are multiplied by ``2 * target``, which makes the
    weights integers and every implementation of them exact.
    """
    centres = (2 * np.arange(target, dtype=np.int64)[:, None] + 1) * source
    positions = (2 * np.arange(source, dtype=np.int64)[None, :] + 1) * target
    weights = np.maximum(2 * max(source, target) - np.abs(centres - positions), 0)
    matrix = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    matrix.flags.writeable = False
    return matrix


def preprocess(pixels: np.ndarray, spec: Preprocessing) -> tuple[np.ndarray, Letterbox]:
    """Turn ``pixels`` (H, W) in [0, 1] into a model's input (h, w) float32 in [0, 1] and say where the content is."""
    box = letterbox(_shape_of(pixels), spec.size)
    content = _resample(pixels, (box.height, box.width))
    if spec.intensity == "percentile":
        # Linear interpolation between order statistics (numpy's default) of the resampled content.
        low, high = np.percentile(content.astype(np.float64), [spec.low, spec.high]).astype(np.float32)
        content = (content - low) / np.maximum(high - low, np.float32(SMALLEST_CONTRAST))
    canvas = np.zeros(spec.size, np.float32)
    canvas[box.content] = np.clip(content, 0.0, 1.0)
    return canvas, box


def preprocess_mask(mask: np.ndarray, spec: Preprocessing) -> np.ndarray:
    """Turn a ``mask`` (H, W) of {0, 1} into (h, w) uint8 {0, 1}: resampled like the image, 1 where half is."""
    box = letterbox(_shape_of(mask), spec.size)
    canvas = np.zeros(spec.size, np.uint8)
    covered = _resample(mask, (box.height, box.width))
    canvas[box.content] = covered >= 0.5 - 1e-5  # an exact half counts, whatever the rounding of the sum
    return canvas


def content_mask(box: Letterbox) -> np.ndarray:
    """Return (h, w) uint8: 1 inside the content rectangle, 0 in the padding."""
    canvas = np.zeros(box.size, np.uint8)
    canvas[box.content] = 1
    return canvas


def to_native(probability: np.ndarray, box: Letterbox) -> np.ndarray:
    """Map a model's output ``probability`` (h, w) back to the image's own size: (H, W) float32, same range."""
    if probability.shape != box.size:
        raise KerasOrthoError(
            f"The probability map must have the model's size {box.size}. Received shape: {probability.shape}."
        )
    return _resample(probability[box.content], box.shape)


def _resample(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resample (H, W) to ``shape``: rows first, then columns, two matrix products in float32."""
    rows = resampling_matrix(image.shape[0], shape[0])
    columns = resampling_matrix(image.shape[1], shape[1])
    return rows @ image.astype(np.float32, copy=False) @ columns.T


def _shape_of(image: np.ndarray) -> tuple[int, int]:
    if image.ndim != 2:
        raise KerasOrthoError(f"Preprocessing takes one grey image (H, W). Received shape: {image.shape}.")
    return int(image.shape[0]), int(image.shape[1])


def _check_size(size: Any) -> None:
    integers = isinstance(size, tuple) and len(size) == 2 and all(type(side) is int for side in size)
    if not integers or not all(1 <= side <= LARGEST_SIDE for side in size):
        raise KerasOrthoError(
            f"preprocessing.size must be two integers (height, width) from 1 to {LARGEST_SIDE}. Received: {echo(size)}."
        )


def _check_percentile(name: str, value: Any) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not 0 <= value <= 100:
        raise KerasOrthoError(f"preprocessing.{name} must be a percentile from 0 to 100. Received: {echo(value)}.")
    if abs(value * PERCENTILE_STEPS - round(value * PERCENTILE_STEPS)) > 1e-6:
        raise KerasOrthoError(f"preprocessing.{name} may have at most three decimals. Received: {echo(value)}.")
