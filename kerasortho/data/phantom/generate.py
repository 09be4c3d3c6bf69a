"""A whole dataset of phantoms: pictures, exact bone masks and a manifest with a split."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from kerasortho import __version__
from kerasortho.data.manifest import SPLITS, Manifest, relative_cell, write_manifest
from kerasortho.data.parallel import parallel_map
from kerasortho.data.phantom.labels import LABELS
from kerasortho.data.phantom.patients import draw_patient
from kerasortho.data.phantom.picture import Content, take_picture
from kerasortho.data.phantom.writing import FORMATS, require_pydicom, write_picture
from kerasortho.data.splits import assign
from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.files import write_json

COLUMNS = (
    "image", "mask", "fracture_mask", "bone_label_mask", "label", "group", "split",
    "region", "view", "side", "age", "fracture", "implant", "cast", "limbs", "exposures",
)  # fmt: skip
SHARES = (0.6, 0.2, 0.2)  # of train, val and test
SMALLEST, LARGEST = 32, 4096


@dataclass(frozen=True)
class PhantomSettings:
    """What to draw: ``patients``, ``views`` of each, the longer side ``size`` px, ``format`` "png" or "dicom".

    ``fractures`` is the share of patients with a fracture, ``extras`` that of pictures with a wide field, casts, metal,
    jewellery, a second limb, somebody's hand or two exposures on one plate (any number of these).
    """

    patients: int = 40
    views: int = 2
    size: int = 512
    format: str = "png"
    fractures: float = Content.fractures
    extras: float = Content.extras
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("patients", 1, 99_999),
            ("views", 1, 100),
            ("size", SMALLEST, LARGEST),
            ("fractures", 0, 1),
            ("extras", 0, 1),
            ("seed", 0, 2**63),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise KerasOrthoError(f"{name} must be from {low} to {high}. Received: {value}")
        if self.format not in FORMATS:
            raise KerasOrthoError(
                f"format must be png or dicom. Received: {self.format}.{did_you_mean(self.format, FORMATS)}"
            )


def generate_phantoms(
    folder: str | os.PathLike[str], settings: PhantomSettings | None = None, *, processes: int = 1
) -> Manifest:
    """Write ``images/``, ``masks/``, ``labels/``, ``fractures/`` and, last, ``manifest.csv``; return the manifest.

    ``phantom.json`` holds the settings, ``labels.json`` the bones' names and their values in label images.
    The files are the same for any number of ``processes``. Files of an older run are never overwritten.
    Raises KerasOrthoError where the folder is not empty or not writable, or pydicom is missing.
    """
    settings = settings or PhantomSettings()
    if settings.format == "dicom":
        require_pydicom()
    target = Path(folder)
    _check_empty(target)
    write_json(target / "phantom.json", {"kerasortho": __version__, **asdict(settings)})
    write_json(target / "labels.json", LABELS)
    numbers = [(patient, view) for patient in range(settings.patients) for view in range(settings.views)]
    rows = parallel_map(partial(_write_one, target, settings), numbers, processes=processes, what="drawing phantoms")
    splits = split_patients(settings.patients, settings.seed)
    for row, (patient, _) in zip(rows, numbers, strict=True):
        row["split"] = splits[patient]
    manifest = Manifest(target / "manifest.csv", COLUMNS, tuple(rows))
    write_manifest(manifest)
    return manifest


def split_patients(patients: int, seed: int) -> list[str]:
    """Return each patient's split: 60 / 20 / 20 in either limb; all train where there are fewer than three."""
    if patients < len(SHARES):
        return ["train"] * patients
    people = [draw_patient(number, seed) for number in range(patients)]
    parts = assign([person.name for person in people], [person.limb for person in people], SHARES, seed)
    return [SPLITS[part] for part in parts]


def _write_one(folder: Path, settings: PhantomSettings, numbers: tuple[int, int]) -> dict[str, str]:
    content = Content(settings.fractures, settings.extras)
    picture = take_picture(*numbers, size=settings.size, seed=settings.seed, content=content)
    files = write_picture(picture, folder, settings.format, settings.seed)
    patient, stage = picture.patient, picture.stage
    return {
        **{column: relative_cell(file, folder) for column, file in files.items()},
        "label": patient.limb,
        "group": patient.name,
        "split": "",
        "region": patient.region,
        "view": picture.view,
        "side": patient.side,
        "age": str(patient.age),
        "fracture": picture.fracture,
        "implant": stage.implant,
        "cast": "yes" if stage.cast else "no",
        "limbs": str(stage.limbs),
        "exposures": str(picture.exposures),
    }


def _check_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise KerasOrthoError(f"{folder} is a file, not a folder. Name a new or empty folder for the phantoms.")
    if folder.is_dir() and any(folder.iterdir()):
        raise KerasOrthoError(
            f"{folder} is not empty, and phantoms overwrite nothing. Name a new folder, or delete this one first."
        )
