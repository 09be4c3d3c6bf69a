"""Exposures that stand out: too dark, too bright or flat beside the others, inverted, burned out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from kerasortho.data.checking.findings import Case, Finding
from kerasortho.data.manifest import Manifest

_SIDE = 256  # px: longest side of the image that is measured
_FAR = 5.0  # robust standard deviations from the median of all images
_FEWEST = 20  # images of a label without which none stands out
_SPREAD_OF_MAD = 1.4826  # standard deviations of a normal distribution in a median absolute deviation
_LEAST_SPREAD = 0.02  # grey, of [0, 1]: smaller differences are none
_FLAT = 0.15  # grey between the 1st and the 99th percentile, below which an image is flat whatever the others are
_WHITE = 0.95  # of the brightest grey
_BURNED_OUT = 0.01  # share of the image
_INVERTED = 0.65
"""Where between darkest and brightest (1st and 99th percentile) the median lies from which an image looks inverted. Of
408 images of FracAtlas none comes above 0.60; of the same ones inverted, 95 % do."""


@dataclass(frozen=True)
class Exposure:
    """Grey levels of one image in [0, 1], and shares of it.

    ``middle`` is the median, ``contrast`` the span from the 1st to the 99th percentile, ``tone`` where in that span the
    median lies, ``white`` the largest area near the maximum that does not reach the border.
    """

    middle: float
    contrast: float
    tone: float
    white: float


def measure_exposure(pixels: np.ndarray) -> Exposure:
    """Return the exposure of (H, W) float32 pixels in [0, 1], bone bright."""
    scale = min(1.0, _SIDE / max(pixels.shape))
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    low, middle, high = (float(value) for value in np.percentile(small, (1, 50, 99)))
    tone = (middle - low) / (high - low) if high > low else 0.0
    return Exposure(middle, high - low, tone, _enclosed_white(small))


def _enclosed_white(small: np.ndarray) -> float:
    """Return the share of an image that its largest area of the highest grey has that does not reach the border."""
    if float(np.ptp(small)) == 0:
        return 0.0
    white = (small >= _WHITE * float(small.max())).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(white, connectivity=8)
    x, y, width, height, area = stats[1:].T
    inside = (x > 0) & (y > 0) & (x + width < small.shape[1]) & (y + height < small.shape[0])
    return float(area[inside].max(initial=0) / small.size)


def exposure_findings(manifest: Manifest, exposures: Sequence[Exposure | None]) -> Iterator[Finding]:
    """Yield images whose exposure stands out from the others'; ``exposures`` has one a row, None for unread images."""
    seen = [(row["image"], item) for row, item in zip(manifest.rows, exposures, strict=True) if item is not None]
    for kind, attribute, sign, words in [
        ("too_dark", "middle", -1, "much darker than others of their label (median grey)"),
        ("too_bright", "middle", 1, "much brighter than others of their label (median grey)"),
        ("low_contrast", "contrast", -1, "much flatter than others of their label (1st to 99th percentile of grey)"),
    ]:
        yield Finding("warning", kind, f"Images are {words}.", tuple(_far_cases(manifest, exposures, attribute, sign)))
    flat = tuple(Case((name,), f"{item.contrast:.2f}") for name, item in seen if 0 < item.contrast < _FLAT)
    yield Finding("warning", "flat", f"Images use less than {_FLAT:g} of the grey scale.", flat)
    inverted = tuple(
        Case((name,), f"the median grey lies at {100 * item.tone:.0f} % of the span")
        for name, item in seen
        if item.tone > _INVERTED
    )
    meaning = "Most of the image is bright: it may be inverted (bone dark), or the plate was mostly not collimated."
    yield Finding("warning", "maybe_inverted", meaning, inverted)
    burned = tuple(Case((name,), f"{100 * item.white:.1f} %") for name, item in seen if item.white > _BURNED_OUT)
    meaning = "Parts inside the image are burned out: one white without structure (or metal, or a cast)."
    yield Finding("info", "burned_out", meaning, burned)


def _far_cases(manifest: Manifest, exposures: Sequence[Exposure | None], attribute: str, sign: int) -> Iterator[Case]:
    """Yield images whose ``attribute`` lies far above (``sign`` 1) or below (-1) that of the others of their label."""
    by_label: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for row, item in zip(manifest.rows, exposures, strict=True):
        if item is not None:
            by_label[row.get("label", "")].append((row["image"], float(getattr(item, attribute))))
    for members in by_label.values():
        if len(members) < _FEWEST:
            continue
        values = np.array([value for _, value in members])
        usual = float(np.median(values))
        for (name, value), out in zip(members, _standing_out(sign * values), strict=True):
            if out:
                yield Case((name,), f"{value:.2f}, usually {usual:.2f}")


def _standing_out(values: np.ndarray) -> np.ndarray:
    """Return (n,) bool: which values lie far above the others (median and median absolute deviation)."""
    centre = np.median(values)
    spread = max(_SPREAD_OF_MAD * float(np.median(np.abs(values - centre))), _LEAST_SPREAD)
    return np.asarray(values - centre > _FAR * spread)
