"""From millimetres of tissue to grey values: attenuation, scatter, blur, noise, and the viewing look-up table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from kerasortho.data.phantom.bones import Bone
from kerasortho.data.phantom.meshes import Array, Mesh
from kerasortho.data.phantom.projection import Camera, Patch, merged_chords
from kerasortho.data.phantom.scene import Scene

# Linear attenuation in 1/mm at 40, 60 and 80 keV: mass coefficients of ICRU-44 cortical bone, soft tissue and adipose
# tissue rounded from the NIST tables (Hubbell and Seltzer, NISTIR 5632) times 1.92, 1.06 and 0.95 g/cm3.
BONE = np.array([0.128, 0.060, 0.043])
SOFT = np.array([0.0285, 0.0217, 0.0193])
FAT = np.array([0.0228, 0.0188, 0.0171])
SPECTRUM = np.array([0.45, 0.40, 0.15])  # a rough 60-70 kVp beam, as seen by the detector
SPONGY = 0.26  # share of the spongy bone's volume that is mineral


@dataclass(frozen=True)
class Tissue:
    """Millimetres of each tissue along each ray, (H, W): ``cortical`` and ``spongy`` are mineral; and the bone mask."""

    cortical: Array
    spongy: Array
    muscle: Array
    fat: Array
    mask: np.ndarray  # (H, W) bool: the chord through some bone is longer than zero


@dataclass(frozen=True)
class Exposure:
    """How the picture was taken and shown."""

    dose: float = 600.0  # quanta per pixel behind the limb, on average: what automatic exposure control holds
    scatter: float = 0.08  # scattered share of the open beam at 100 mm of tissue
    blur: float = 0.6  # standard deviation of the point spread, px
    texture: float = 0.35  # contrast of the spongy pattern
    contrast: float = 1.0
    gamma: float = 1.0
    detail: float = 0.4  # weight of the high-pass that viewing stations add
    background: float = 0.04  # grey value of air
    white: float = 1.0  # grey value of the densest bone


def trace(scene: Scene, camera: Camera, spongy: float = SPONGY) -> Tissue:
    """Project a scene: the mask is exact, the lengths up to the p-norm where parts of one bone overlap."""
    cortical, trabecular = np.zeros(camera.shape), np.zeros(camera.shape)
    mask = np.zeros(camera.shape, bool)
    for bone in scene.bones:
        _trace_bone(bone, camera, spongy, cortical, trabecular, mask)
    np.maximum(cortical, 0.0, out=cortical)
    skin = _total(scene.skin, camera, 3)
    muscle = np.minimum(_total(scene.muscle, camera, 3), skin)
    air = np.minimum(_total(scene.air, camera, 2), 0.9 * muscle)
    bone_volume = cortical + trabecular
    return Tissue(cortical, trabecular, np.maximum(muscle - air - bone_volume, 0), skin - muscle, mask)


def _trace_bone(
    bone: Bone, camera: Camera, spongy: float, cortical: Array, trabecular: Array, mask: np.ndarray
) -> None:
    outer = merged_chords(bone.outer, camera)
    if outer is None:
        return
    outer.add_to(cortical)
    rows = slice(outer.row, outer.row + outer.chords.shape[0])
    columns = slice(outer.column, outer.column + outer.chords.shape[1])
    mask[rows, columns] |= outer.chords > 0
    inner = merged_chords(bone.inner, camera)
    if inner is None:
        return
    Patch(-inner.chords, inner.row, inner.column).add_to(cortical)
    Patch(spongy * inner.chords, inner.row, inner.column).add_to(trabecular)
    canal = merged_chords(bone.canal, camera)
    if canal is not None:
        Patch(-0.92 * spongy * canal.chords, canal.row, canal.column).add_to(trabecular)


def _total(meshes: Sequence[Mesh], camera: Camera, squarings: int) -> Array:
    total = np.zeros(camera.shape)
    patch = merged_chords(meshes, camera, squarings)
    if patch is not None:
        patch.add_to(total)
    return total


def expose(tissue: Tissue, exposure: Exposure, spacing: float, rng: np.random.Generator) -> Array:
    """Return the (H, W) float32 picture in [0, 1], bone bright, air at ``background``."""
    shape = tissue.muscle.shape
    pattern = _noise(shape, 0.4 / spacing, rng) + 0.6 * _noise(shape, 0.9 / spacing, rng)
    mineral = (tissue.cortical + tissue.spongy * (1 + exposure.texture * pattern)).astype(np.float32)
    muscle = (tissue.muscle * (1 + 0.01 * _noise(shape, 10 / spacing, rng))).astype(np.float32)
    fat = tissue.fat.astype(np.float32)
    light: Array = np.zeros(shape, np.float32)
    for weight, bone, soft, adipose in zip(SPECTRUM, BONE, SOFT, FAT, strict=True):
        light += np.float32(weight) * np.exp(
            -(np.float32(bone) * mineral + np.float32(soft) * muscle + np.float32(adipose) * fat)
        )
    light = cv2.GaussianBlur(light, (0, 0), exposure.blur)
    thick = float((muscle + fat).mean()) / 100
    light = light + exposure.scatter * min(thick, 1.5) * _smooth(light, 25 / spacing)
    behind = tissue.muscle > 0
    unit = np.float32((light[behind].mean() if behind.any() else 1.0) / exposure.dose)  # one quantum
    quanta = light + np.sqrt(light * unit) * rng.standard_normal(shape, np.float32)  # Poisson's limit for many quanta
    return _show(-np.log(np.maximum(quanta, 2e-4)), exposure, spacing)


def _show(density: Array, exposure: Exposure, spacing: float) -> Array:
    """Turn the optical path into grey values as a viewing station does: high-pass, range, gamma, contrast."""
    coarse = _smooth(density, 12 / spacing)
    density = density + exposure.detail * (density - coarse)
    top = max(float(np.percentile(density[::4, ::4], 99.7)), 0.3)
    level = np.clip(density / (1.15 * top), 0, 1) ** exposure.gamma
    level = np.clip(0.5 + (level - 0.5) * exposure.contrast, 0, 1)
    shown = exposure.background + (exposure.white - exposure.background) * level
    return np.asarray(shown, np.float32)


def _smooth(image: Array, sigma: float) -> Array:
    """Blur by a wide Gaussian, on a coarse grid: sigma in px."""
    step = max(1, int(sigma / 3))
    height, width = image.shape
    small = cv2.resize(image, (max(2, width // step), max(2, height // step)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / step)
    wide: Array = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return wide


def _noise(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> Array:
    """Return smooth noise (H, W) float32 of unit variance, with structures of about ``sigma`` px."""
    step = max(1, int(sigma / 1.5))
    coarse: Array = rng.standard_normal((shape[0] // step + 2, shape[1] // step + 2), np.float32)
    coarse = cv2.GaussianBlur(coarse, (0, 0), max(sigma / step, 0.3))
    fine: Array = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return fine / np.float32(max(float(coarse.std()), 1e-6))
