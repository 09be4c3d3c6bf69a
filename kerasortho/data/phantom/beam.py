"""From millimetres of tissue to what the detector measures: attenuation, scatter, blur and noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from kerasortho.data.phantom.materials import attenuation, spectrum
from kerasortho.data.phantom.meshes import Array
from kerasortho.data.phantom.tracing import Tissue

_FAINTEST = 2e-4  # of the open beam: what a detector tells from nothing


@dataclass(frozen=True)
class Exposure:
    """How the picture was taken."""

    kilovolts: float = 60.0  # tube voltage, from 50 to 75
    dose: float = 600.0  # quanta per pixel behind the limb, on average: what automatic exposure control holds
    scatter: float = 0.08  # scattered share of the open beam at 100 mm of tissue
    blur: float = 0.6  # standard deviation of the detector's point spread, px
    focus: float = 0.1  # standard deviation of the focal spot's blur, mm at the detector
    texture: float = 0.35  # contrast of the spongy pattern


def measure(tissue: Tissue, exposure: Exposure, spacing: float, rng: np.random.Generator) -> Array:
    """Return what each pixel measures: the optical path -ln(I / I0), (H, W) float32, 0 in air, larger behind more.

    Polychromatic Beer-Lambert attenuation, scatter as a wide blur of what passes (growing with the thickness of the
    limb), the blur of focal spot and detector, and quantum noise.
    """
    light = _transmitted(tissue, exposure, spacing, rng)
    light = cv2.GaussianBlur(light, (0, 0), float(np.hypot(exposure.blur, exposure.focus / spacing)))
    thick = float((tissue.muscle + tissue.fat).mean()) / 100
    light = light + exposure.scatter * min(thick, 1.5) * smooth(light, 25 / spacing)
    behind = tissue.muscle > 0
    unit = np.float32((light[behind].mean() if behind.any() else 1.0) / exposure.dose)  # one quantum
    quanta = light + np.sqrt(light * unit) * rng.standard_normal(light.shape, np.float32)  # Poisson's limit for many
    path: Array = -np.log(np.maximum(quanta, _FAINTEST))
    return path


def _transmitted(tissue: Tissue, exposure: Exposure, spacing: float, rng: np.random.Generator) -> Array:
    """Return the share of the signal that passes, (H, W) float32 in [0, 1]."""
    shape = tissue.muscle.shape
    pattern = noise(shape, 0.4 / spacing, rng) + 0.6 * noise(shape, 0.9 / spacing, rng)
    lengths = {
        "bone": tissue.cortical + tissue.spongy * (1 + exposure.texture * pattern),
        "soft": tissue.muscle * (1 + 0.01 * noise(shape, 10 / spacing, rng)),
        "fat": tissue.fat,
        **tissue.metal,
    }
    if tissue.plaster.any():
        lengths["plaster"] = tissue.plaster * (1 + 0.12 * noise(shape, 3 / spacing, rng))
    paths = [(attenuation(name).astype(np.float32), length.astype(np.float32)) for name, length in lengths.items()]
    light: Array = np.zeros(shape, np.float32)
    for number, share in enumerate(spectrum(exposure.kilovolts)):
        if share:
            light += np.float32(share) * np.exp(-sum(weakening[number] * length for weakening, length in paths))
    return light


def smooth(image: Array, sigma: float) -> Array:
    """Blur by a wide Gaussian, on a coarse grid: sigma in px."""
    step = max(1, int(sigma / 3))
    height, width = image.shape
    small = cv2.resize(image, (max(2, width // step), max(2, height // step)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / step)
    wide: Array = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return wide


def noise(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> Array:
    """Return smooth noise (H, W) float32 of unit variance, with structures of about ``sigma`` px."""
    step = max(1, int(sigma / 1.5))
    coarse: Array = rng.standard_normal((shape[0] // step + 2, shape[1] // step + 2), np.float32)
    coarse = cv2.GaussianBlur(coarse, (0, 0), max(sigma / step, 0.3))
    fine: Array = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return fine / np.float32(max(float(coarse.std()), 1e-6))
