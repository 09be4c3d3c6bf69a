"""What surrounds the exposed field, and what lies on it: collimation, plate edges, lead letters, printed text."""

from __future__ import annotations

import cv2
import numpy as np

from kerasortho.data.phantom.beam import noise
from kerasortho.data.phantom.meshes import Array

_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_PLAIN)
_COLLIMATED, _EDGED, _LETTERED, _PRINTED = 0.5, 0.35, 0.8, 0.08  # shares of pictures


def collimate(pixels: Array, background: float, rng: np.random.Generator) -> np.ndarray:
    """Shut the beam's borders in place (black shutter, or an unexposed white plate); return the open field, bool."""
    height, width = pixels.shape
    open_field = np.ones((height, width), np.uint8)
    if rng.random() < _COLLIMATED:
        left, right, top, bottom = rng.uniform(0, rng.choice([0.05, 0.15]), 4) * (rng.random(4) < 0.7)
        middle = (width * (1 + left - right) / 2, height * (1 + top - bottom) / 2)
        box = (middle, (width * (1 - left - right), height * (1 - top - bottom)), rng.normal(0, 1.2))
        open_field[:] = 0
        cv2.fillPoly(open_field, [np.round(cv2.boxPoints(box)).astype(np.int32)], 1)
        outside = float(rng.choice([0.0, background * 0.6, 0.95]))
        soft = cv2.GaussianBlur(open_field.astype(np.float32), (0, 0), rng.uniform(0.5, 2.5))
        pixels *= soft
        pixels += outside * (1 - soft)
    return open_field.astype(bool)


def lay_plate_edges(pixels: Array, rng: np.random.Generator) -> np.ndarray:
    """Let the plate end inside the picture, in place, with a ragged white or black edge; return what is left, bool."""
    height, width = pixels.shape
    plate = np.ones((height, width), bool)
    if rng.random() > _EDGED:
        return plate
    for turns in np.flatnonzero(rng.random(4) < 0.45):
        view, kept = np.rot90(pixels, int(turns)), np.rot90(plate, int(turns))  # views: the top edge of each
        deep = rng.uniform(0.004, 0.07) * view.shape[0]
        ragged = noise((1, view.shape[1]), rng.uniform(5, 60), rng)[0] * min(1.5, 0.2 * deep)
        slanted = deep + ragged + rng.normal(0, 0.01) * np.linspace(-1, 1, view.shape[1]) * view.shape[0]
        rows = np.arange(view.shape[0], dtype=np.float32)[:, None]
        share = np.clip(slanted - rows + 0.5, 0, 1)  # antialiased
        grey = rng.uniform(0.85, 1.0) if rng.random() < 0.8 else rng.uniform(0, 0.05)
        view += (share * (grey - view)).astype(np.float32)
        kept &= share < 0.5
    return plate


def mark(pixels: Array, mask: np.ndarray, open_field: np.ndarray, side: str, rng: np.random.Generator) -> None:
    """Lay a lead letter into the corner of the open field with the least bone, and print text at times, in place."""
    height, width = pixels.shape
    tall = max(9, round(rng.uniform(0.025, 0.055) * max(height, width)))
    inset = round(rng.uniform(0.05, 0.13) * min(height, width))
    corners = [(r, c) for r in (inset, height - inset - tall) for c in (inset, width - inset - tall)]

    def bone(corner: list[int]) -> int:
        row, column = corner
        return int(mask[max(0, row - tall) : row + 2 * tall, max(0, column - tall) : column + 2 * tall].sum())

    row, column = min(rng.permutation(corners).tolist(), key=bone)
    if not bone([row, column]) and rng.random() < _LETTERED:
        _write(pixels, side, (row, column), tall, open_field, rng, turned=rng.random() < 0.15)
    if rng.random() < _PRINTED:
        text = str(rng.choice(["AP", "LAT", "PA", "OBL", f"{side} AP", f"{side} LAT", "STAT", "PORTABLE"]))
        place = (round(rng.uniform(0.02, 0.9) * height), round(rng.uniform(0.02, 0.7) * width))
        _write(pixels, text, place, max(8, round(0.7 * tall)), np.ones_like(open_field), rng, turned=False)


def _write(
    pixels: Array,
    text: str,
    place: tuple[int, int],
    tall: int,
    field: np.ndarray,
    rng: np.random.Generator,
    *,
    turned: bool,
) -> None:
    row, column = place
    stamp = np.zeros(pixels.shape, np.uint8)
    font, thick = int(rng.choice(_FONTS)), max(1, tall // 8)
    cv2.putText(stamp, text, (column, row + tall), font, tall / 22, 255, thick, cv2.LINE_AA)
    if turned:
        stamp = np.ascontiguousarray(stamp[:, ::-1])  # laid on the plate's back
    letters = (stamp * field).astype(np.float32) / 255
    pixels += letters * (0.97 - pixels)
