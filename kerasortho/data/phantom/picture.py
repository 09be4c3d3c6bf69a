"""One finished phantom radiograph: a patient's view, exposed, collimated and marked L or R."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from kerasortho.data.phantom.anatomy import VIEWS, Patient, draw_patient, set_up
from kerasortho.data.phantom.beam import Exposure, expose, trace
from kerasortho.data.phantom.meshes import Array
from kerasortho.data.phantom.projection import Camera

SHAPES = (1.0, 0.8, 0.8, 0.83, 0.75)  # short side : long side of usual cassettes and detectors


@dataclass(frozen=True)
class Picture:
    """``pixels`` (H, W) float32 in [0, 1], bone bright; ``mask`` (H, W) uint8 in {0, 1}: exactly the visible bone."""

    patient: Patient
    number: int  # of the patient's views, from 1
    view: str
    position: str  # DICOM View Position
    spacing: float  # mm at the detector
    pixels: Array
    mask: np.ndarray
    orientation: tuple[str, str]  # DICOM Patient Orientation: where rows and columns lead
    bits: int  # of a PNG: 8 or 16
    inverted: bool  # stored as MONOCHROME1, in DICOM

    @property
    def name(self) -> str:
        """The file name without ending, for example ``phantom-00001-1-hand-frontal-R``."""
        return f"{self.patient.name}-{self.number}-{self.patient.region}-{self.view}-{self.patient.side}"


def take_picture(number: int, view_number: int, *, size: int, seed: int) -> Picture:
    """Return view ``view_number`` (from 0) of patient ``number`` (from 0); ``size`` px is the longer side.

    The result depends on nothing but the arguments.
    """
    patient = draw_patient(number, seed)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, view_number)))
    view = VIEWS[view_number % len(VIEWS)]
    scene, seen, orientation = set_up(patient, view, rng)
    camera = _camera(scene.landmarks[seen.landmark], np.array(seen.field) * patient.size, size, rng)
    tissue = trace(scene, camera, patient.spongy)
    spacing = camera.spacing
    exposure = _draw_exposure(rng)
    pixels = expose(tissue, exposure, spacing, rng)
    open_field = _collimate(pixels, exposure, rng)
    mask = (tissue.mask & open_field).astype(np.uint8)
    _mark(pixels, mask, open_field, patient.side, rng)
    lateral = patient.side + "L" if view == "lateral" else patient.side + "LO"
    position = seen.position if view == "frontal" else lateral
    bits, inverted = (8, 16)[rng.integers(2)], bool(rng.integers(2))
    return Picture(patient, view_number + 1, view, position, spacing, pixels, mask, orientation, bits, inverted)


def _camera(centre: Array, field: Array, size: int, rng: np.random.Generator) -> Camera:
    wide, high = field * rng.uniform(0.92, 1.12)
    short = rng.choice(SHAPES)
    shape = (size, round(size * short)) if high >= wide else (round(size * short), size)
    source, distance = rng.uniform(1000, 1200), rng.uniform(40, 80)
    magnify = source / (source - distance)
    spacing = max(wide / shape[1], high / shape[0]) * magnify
    shift = rng.normal(0, 0.035, 2) * field
    return Camera(shape, float(spacing), (float(centre[0] + shift[0]), float(centre[1] + shift[1])), source, distance)


def _draw_exposure(rng: np.random.Generator) -> Exposure:
    return Exposure(
        dose=float(np.exp(rng.uniform(np.log(250), np.log(4000)))),
        scatter=float(rng.uniform(0.02, 0.14)),
        blur=float(rng.uniform(0.45, 0.9)),
        texture=float(rng.uniform(0.06, 0.15)),
        contrast=float(rng.uniform(0.85, 1.2)),
        gamma=float(np.exp(rng.normal(-0.1, 0.22))),
        detail=float(rng.uniform(0.2, 1.2)),
        background=float(rng.choice([rng.uniform(0.0, 0.05), rng.uniform(0.05, 0.2)])),
        white=float(rng.uniform(0.8, 1.0)),
    )


def _collimate(pixels: Array, exposure: Exposure, rng: np.random.Generator) -> np.ndarray:
    """Shut the beam's borders in place (black shutter, or an unexposed white plate); return the open field."""
    height, width = pixels.shape
    open_field = np.ones((height, width), np.uint8)
    if rng.random() < 0.55:
        left, right, top, bottom = rng.uniform(0, 0.08, 4) * (rng.random(4) < 0.7)
        middle = (width * (1 + left - right) / 2, height * (1 + top - bottom) / 2)
        box = (middle, (width * (1 - left - right), height * (1 - top - bottom)), rng.normal(0, 1.2))
        open_field[:] = 0
        cv2.fillPoly(open_field, [np.round(cv2.boxPoints(box)).astype(np.int32)], 1)
        outside = float(rng.choice([0.0, exposure.background * 0.6, 0.95]))
        soft = cv2.GaussianBlur(open_field.astype(np.float32), (0, 0), 0.8)
        pixels *= soft
        pixels += outside * (1 - soft)
    return open_field.astype(bool)


def _mark(pixels: Array, mask: np.ndarray, open_field: np.ndarray, side: str, rng: np.random.Generator) -> None:
    """Lay a lead letter into the corner of the open field with the least bone, in place."""
    height, width = pixels.shape
    tall = max(9, round(rng.uniform(0.035, 0.055) * max(height, width)))
    inset = round(rng.uniform(0.09, 0.13) * min(height, width))
    corners = [(r, c) for r in (inset, height - inset - tall) for c in (inset, width - inset - tall)]

    def bone(corner: list[int]) -> int:
        row, column = corner
        return int(mask[max(0, row - tall) : row + 2 * tall, max(0, column - tall) : column + 2 * tall].sum())

    row, column = min(rng.permutation(corners).tolist(), key=bone)
    if bone([row, column]) or rng.random() < 0.15:
        return
    stamp = np.zeros(pixels.shape, np.uint8)
    cv2.putText(
        stamp, side, (column, row + tall), cv2.FONT_HERSHEY_SIMPLEX, tall / 22, 255, max(1, tall // 8), cv2.LINE_AA
    )
    letter = (stamp * open_field).astype(np.float32) / 255
    pixels += letter * (0.97 - pixels)
