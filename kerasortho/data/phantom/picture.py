"""One finished phantom radiograph: a patient's view, exposed, shown, collimated and marked L or R."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kerasortho.data.phantom.beam import Exposure, measure
from kerasortho.data.phantom.borders import collimate, lay_plate_edges, mark
from kerasortho.data.phantom.display import draw_display, show
from kerasortho.data.phantom.materials import HIGHEST_KV, LOWEST_KV
from kerasortho.data.phantom.meshes import Array
from kerasortho.data.phantom.patients import Patient, draw_patient
from kerasortho.data.phantom.projection import Camera
from kerasortho.data.phantom.staging import Stage, set_up
from kerasortho.data.phantom.tracing import trace
from kerasortho.data.phantom.views import VIEWS

SHAPES = (1.0, 0.8, 0.8, 0.83, 0.75)  # short side : long side of usual cassettes and detectors
TWO_ON_ONE = 0.08
"""Share of pictures with extras that hold two exposures on one plate."""


@dataclass(frozen=True)
class Content:
    """What is to be seen: the share of pictures with a fracture, and of those with extras (casts, metal, ...)."""

    fractures: float = 0.15
    extras: float = 0.5


@dataclass(frozen=True)
class Picture:
    """``pixels`` (H, W) float32 in [0, 1], bone bright, with exact masks (H, W) uint8 of what is visible.

    ``mask`` (0, 1) is the bone of the patient's limb, ``labels`` which bone (`kerasortho.data.phantom.labels.LABELS`),
    ``fractured`` (0, 1) the bone within 1.5 mm of a broken surface.
    """

    patient: Patient
    number: int  # of the patient's views, from 1
    view: str
    stage: Stage
    spacing: float  # mm at the detector
    source: float  # mm from the source to the detector
    distance: float  # mm from the limb to the detector
    kilovolts: float
    pixels: Array
    mask: np.ndarray
    labels: np.ndarray
    fractured: np.ndarray
    bits: int  # of a PNG: 8 or 16
    inverted: bool  # stored as MONOCHROME1, in DICOM
    exposures: int = 1  # on the plate

    @property
    def name(self) -> str:
        """The file name without ending, for example ``phantom-00001-1-hand-frontal-R``."""
        return f"{self.patient.name}-{self.number}-{self.patient.region}-{self.view}-{self.patient.side}"

    @property
    def position(self) -> str:
        """DICOM's View Position."""
        lateral = self.patient.side + ("L" if self.view == "lateral" else "LO")
        return self.stage.position if self.view == "frontal" else lateral

    @property
    def fracture(self) -> str:
        """The broken bone, where the picture shows the break; else ''."""
        return self.stage.fracture if self.fractured.any() else ""


@dataclass(frozen=True)
class _Plate:
    """What a plate holds after one or more exposures: the measured path and the masks, (H, W); and the camera."""

    path: Array
    mask: np.ndarray
    labels: np.ndarray
    fractured: np.ndarray
    camera: Camera
    exposures: int = 1


def take_picture(number: int, view_number: int, *, size: int, seed: int, content: Content | None = None) -> Picture:
    """Return view ``view_number`` (from 0) of patient ``number`` (from 0); ``size`` px is the longer side.

    The result depends on nothing but the arguments. Noise has generators of its own, so that what is drawn of a scene
    does not depend on the number of pixels.
    """
    content = content or Content()
    patient = draw_patient(number, seed)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, view_number)))
    of_patient = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, 0, 1)))
    broken = bool(of_patient.random() < content.fractures)  # in all views of a patient, or in none
    extras = bool(rng.random() < content.extras)
    exposure, display = _draw_exposure(rng), draw_display(rng)

    def turn_to(view: str) -> Stage:
        return set_up(patient, view, rng, broken=broken, extras=extras)

    view = VIEWS[view_number % len(VIEWS)]
    stage = turn_to(view)
    shape = _plate_shape(stage.field, size, rng)
    if extras and not stage.trunk and rng.random() < TWO_ON_ONE:
        plate = _expose_twice([stage, turn_to(VIEWS[(view_number + 1) % len(VIEWS)])], shape, patient, exposure, rng)
    else:
        plate = _expose(stage, _camera(stage, shape, rng), patient, exposure, rng)
    pixels = show(plate.path, display, plate.camera.spacing, rng.spawn(1)[0])
    seen = collimate(pixels, display.background, rng) & lay_plate_edges(pixels, rng.spawn(1)[0])
    mask, labels, fractured = (
        np.where(seen, found, 0).astype(np.uint8) for found in (plate.mask, plate.labels, plate.fractured)
    )
    mark(pixels, mask, seen, patient.side, rng)
    np.clip(pixels, 0, 1, out=pixels)  # blending leaves rounding errors
    bits, inverted = (8, 16)[rng.integers(2)], bool(rng.integers(2))
    camera = plate.camera
    return Picture(
        patient, view_number + 1, view, stage, camera.spacing, camera.source, camera.distance, exposure.kilovolts,
        pixels, mask, labels, fractured, bits, inverted, plate.exposures,
    )  # fmt: skip


def _plate_shape(field: tuple[float, float], size: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return height and width in px of a plate that suits a field (width, height) mm; its longer side is ``size``."""
    short = round(size * rng.choice(SHAPES))
    return (size, short) if field[1] >= field[0] else (short, size)


def _camera(stage: Stage, shape: tuple[int, int], rng: np.random.Generator) -> Camera:
    """Return a camera whose plate of ``shape`` px the stage's field just fits on."""
    wide, high = stage.field
    source, distance = rng.uniform(1000, 1200), rng.uniform(40, 80)
    spacing = max(wide / shape[1], high / shape[0]) * source / (source - distance)
    shift = rng.normal(0, 0.05, 2) * stage.field
    return Camera(shape, float(spacing), (float(shift[0]), float(shift[1])), source, distance)


def _expose(stage: Stage, camera: Camera, patient: Patient, exposure: Exposure, rng: np.random.Generator) -> _Plate:
    """Return what the plate measures."""
    tissue = trace(stage.scene, camera, patient.spongy)
    path = measure(tissue, exposure, camera.spacing, rng.spawn(1)[0])
    return _Plate(path, tissue.mask, tissue.labels, tissue.broken, camera)


def _expose_twice(
    stages: Sequence[Stage], shape: tuple[int, int], patient: Patient, exposure: Exposure, rng: np.random.Generator
) -> _Plate:
    """Return two exposures on the two halves of one plate, a strip between them that was hit by both or by neither."""
    height, width = shape
    strip = max(2, round(rng.uniform(0.005, 0.04) * max(shape)))
    beside = width * stages[0].field[1] >= height * stages[0].field[0] * 0.8
    half = (height, (width - strip) // 2) if beside else ((height - strip) // 2, width)
    cameras = [_camera(stage, half, rng) for stage in stages]
    spacing = max(camera.spacing for camera in cameras)  # it is one plate
    cameras = [replace(cameras[0], spacing=spacing, centre=camera.centre) for camera in cameras]
    one, other = (_expose(stage, camera, patient, exposure, rng) for stage, camera in zip(stages, cameras, strict=True))
    between = (height, width - 2 * half[1]) if beside else (height - 2 * half[0], width)
    dark = float(rng.choice([0.0, max(one.path.max(), other.path.max())]))

    def join(name: str, fill: float) -> np.ndarray:
        parts = [getattr(one, name), np.full(between, fill, getattr(one, name).dtype), getattr(other, name)]
        return np.concatenate(parts, axis=1 if beside else 0)

    return _Plate(join("path", dark), join("mask", 0), join("labels", 0), join("fractured", 0), one.camera, 2)


def _draw_exposure(rng: np.random.Generator) -> Exposure:
    return Exposure(
        kilovolts=float(rng.uniform(LOWEST_KV, HIGHEST_KV)),
        dose=float(np.exp(rng.uniform(np.log(250), np.log(4000)))),
        scatter=float(rng.uniform(0.02, 0.14)),
        blur=float(rng.uniform(0.45, 1.1)),
        focus=float(rng.uniform(0.03, 0.2)),
        texture=float(rng.uniform(0.06, 0.15)),
    )
