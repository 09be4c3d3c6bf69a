"""From what the detector measures to grey values: what viewing stations do, as differently as between hospitals."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from kerasortho.data.phantom.beam import noise, smooth
from kerasortho.data.phantom.meshes import Array


@dataclass(frozen=True)
class Display:
    """How the measured path is shown."""

    detail: float = 0.4  # weight of the high-pass
    white_at: float = 1.0  # where white begins, as a share of the densest parts' path: below 1 they are burnt out
    gamma: float = 1.0
    toe: float = 0.0  # 0: a straight curve; 1: S-shaped like film
    local_contrast: float = 0.0  # clip limit of CLAHE, 0: none
    background: float = 0.04  # grey value of air
    white: float = 1.0  # grey value of the densest bone
    slope: float = 0.0  # how far the background differs from one side to the other (heel effect, uneven plate)
    streaks: float = 0.0  # standard deviation of the read-out's lines, in grey values


def draw_display(rng: np.random.Generator) -> Display:
    """Return a way of showing, drawn from the range that hospitals use."""
    return Display(
        detail=float(rng.uniform(0.1, 1.2)),
        white_at=float(rng.uniform(0.65, 1.25)),
        gamma=float(np.exp(rng.normal(-0.05, 0.28))),
        toe=float(rng.choice([0.0, rng.uniform(0.2, 0.8)])),
        local_contrast=float(rng.choice([0.0, 0.0, 0.0, rng.uniform(1.0, 3.0)])),
        background=float(rng.choice([rng.uniform(0.0, 0.05), rng.uniform(0.04, 0.28)])),
        white=float(rng.uniform(0.75, 1.0)),
        slope=float(rng.choice([0.0, rng.normal(0, 0.05)])),
        streaks=float(rng.choice([0.0, rng.uniform(0.001, 0.008)])),
    )


def show(path: Array, display: Display, spacing: float, rng: np.random.Generator) -> Array:
    """Return the picture (H, W) float32 in [0, 1], bone bright, of a measured path (H, W)."""
    path = path + display.detail * (path - smooth(path, 12 / spacing))
    top = max(float(np.percentile(path[::4, ::4], 99.7)), 0.3)
    level = np.clip(path / (display.white_at * 1.15 * top), 0, 1) ** display.gamma
    level = (1 - display.toe) * level + display.toe * level * level * (3 - 2 * level)
    if display.local_contrast:
        clahe = cv2.createCLAHE(display.local_contrast, (8, 8))
        level = clahe.apply(np.round(level * 65535).astype(np.uint16)).astype(np.float32) / 65535
    shown = display.background + (display.white - display.background) * level
    shown = shown + _unevenness(path.shape, display, rng) * (1 - level)
    return np.clip(shown, 0, 1).astype(np.float32)


def _unevenness(shape: tuple[int, ...], display: Display, rng: np.random.Generator) -> Array:
    """Return what is added to the background: a slope, and lines along the plate's read-out."""
    height, width = shape
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    added = display.slope * (np.sin(angle) * rows + np.cos(angle) * columns)
    if display.streaks:
        lines = rng.normal(0, display.streaks, width) + display.streaks * noise((1, width), 4, rng)[0]
        added = added + (lines if rng.random() < 0.7 else rng.normal(0, display.streaks, height)[:, None])
    return np.asarray(added, np.float32)
