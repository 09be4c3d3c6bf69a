"""Traits of an image that tell of its making, not of what it shows: size, compression, border, background, noise."""

from __future__ import annotations

import cv2
import numpy as np

TRAITS = (
    "image width",
    "image height",
    "aspect ratio",
    "JPEG quantisation",
    "corner grey",
    "border grey",
    "background grey",
    "bits a pixel",
    "share of black",
    "share of white",
    "noise",
    "sharpness",
)
"""Names of the numbers that `measure_traits` returns, in their order."""

ACQUISITION = TRAITS[:5]
"""Those that hardly depend on the anatomy: if they tell the label, a model can learn it without looking at bones.
(A pelvis fills the plate, so that its border, background and compression are its own.)"""

_SIDE = 512  # px: longest side of the image that grey levels are measured on
_BORDER, _CORNER = 0.02, 0.06  # of the shorter side
_BACKGROUND = 10  # percentile of grey


def measure_traits(pixels: np.ndarray, data: bytes) -> np.ndarray:
    """Return (len(TRAITS),) float32: the traits of (H, W) float32 pixels in [0, 1], read from the bytes of a file."""
    height, width = pixels.shape
    scale = min(1.0, _SIDE / max(pixels.shape))
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    edge, corner = (max(1, round(share * min(small.shape))) for share in (_BORDER, _CORNER))
    sides = [small[:edge], small[-edge:], small[:, :edge], small[:, -edge:]]
    corners = [part[:, end] for part in (small[:corner], small[-corner:]) for end in (np.s_[:corner], np.s_[-corner:])]
    fine = pixels - cv2.medianBlur(pixels, 3)  # of the stored pixels: resizing takes noise away
    values = [
        width,
        height,
        np.log(width / height),
        _quantisation(data),
        np.median([np.median(part) for part in corners]),
        np.median(np.concatenate([side.ravel() for side in sides])),
        np.percentile(small, _BACKGROUND),
        8 * len(data) / pixels.size,
        (small < 0.02).mean(),
        (small > 0.98).mean(),
        np.median(np.abs(fine[::2, ::2])) * 255,
        cv2.Laplacian(small, cv2.CV_32F).std() * 255,
    ]
    return np.array(values, np.float32)


def _quantisation(data: bytes) -> float:
    """Return the mean of a JPEG file's first quantisation table (ISO 10918-1, B.2.4.1); 0 for other files."""
    place = 2
    while data[:2] == b"\xff\xd8" and place + 4 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xDB and length >= 67 and place + 2 + length <= len(data):
            wide = data[place + 4] >> 4
            table = np.frombuffer(data[place + 5 : place + 5 + 64 * (1 + wide)], ">u2" if wide else np.uint8)
            return float(table.mean()) if table.size == 64 else 0.0
        if marker == 0xDA or length < 2:
            break
        place += 2 + length
    return 0.0
