"""Small datasets on disk, drawn when a test asks for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from kerasortho.data.importing.fracatlas import import_fracatlas
from kerasortho.data.importing.importers import Imported
from kerasortho.data.manifest import Manifest
from kerasortho.radiograph.raster import write_png

Drawer = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def draw_limb() -> Drawer:
    """Return a function of a seed that draws a limb-like picture: (H, W) uint8 of shafts, soft tissue and grain."""

    def draw(seed: int, shape: tuple[int, int] = (150, 120)) -> np.ndarray:
        rng = np.random.default_rng(seed)
        height, width = shape
        picture = np.full(shape, 25, np.float32)
        middle = width * rng.uniform(0.35, 0.65)
        cv2.line(picture, (int(middle), 0), (int(middle + rng.uniform(-20, 20)), height), 90.0, int(width * 0.4))
        for _ in range(5):
            ends = rng.uniform(0, 1, (2, 2)) * (width, height)
            cv2.line(
                picture,
                tuple(int(v) for v in ends[0]),
                tuple(int(v) for v in ends[1]),
                rng.uniform(120, 230),
                int(rng.integers(3, 9)),
            )
        grain = cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), 1.5)
        return np.clip(cv2.GaussianBlur(picture, (0, 0), 1.0) + 25 * grain, 0, 255).astype(np.uint8)

    return draw


@pytest.fixture(scope="session")
def table() -> Callable[..., Manifest]:
    """Return a function that makes a manifest, without any file, of the cells of its columns."""

    def make(**columns: list[str]) -> Manifest:
        rows = (dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True))
        return Manifest(Path("m.csv"), tuple(columns), tuple(rows))

    return make


@pytest.fixture
def write_table(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a manifest's text and, by default, small images that it names."""

    def write(text: str, *, images: bool = True, name: str = "manifest.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode())
        if images:
            for line in text.splitlines()[1:]:
                write_png(tmp_path / line.replace(";", ",").split(",")[0], np.zeros((4, 4), np.uint8))
        return path

    return write


@pytest.fixture(scope="session")
def write_dx() -> Callable[..., Any]:
    """Return a function that writes a DX file of 12-bit values, attributes set or (None) left out, and returns it."""
    pytest.importorskip("pydicom")
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

    def write(path: Path, values: np.ndarray | None = None, **attributes: Any) -> Any:
        values = np.arange(30 * 20, dtype=np.uint16).reshape(30, 20) * 6 if values is None else values
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        preset = {
            "SOPClassUID": DigitalXRayImageStorageForPresentation,
            "SOPInstanceUID": generate_uid(),
            "StudyInstanceUID": generate_uid(),
            "SeriesInstanceUID": generate_uid(),
            "PatientID": "PAT-4711",
            "PatientName": "Mustermann^Erika",
            "PatientBirthDate": "19500401",
            "PatientSex": "F",
            "AccessionNumber": "ACC-998877",
            "StudyID": "1",
            "StudyDate": "20240305",
            "StudyTime": "101500",
            "ReferringPhysicianName": "Quincy^Jack",
            "InstanceNumber": 1,
            "SeriesNumber": 1,
            "Modality": "DX",
            "Manufacturer": "none",
            "BodyPartExamined": "HAND",
            "ViewPosition": "PA",
            "ImageLaterality": "L",
            "Rows": values.shape[0],
            "Columns": values.shape[1],
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "BitsAllocated": 16,
            "BitsStored": 12,
            "HighBit": 11,
            "PixelRepresentation": 0,
            "PixelData": values.astype("<u2").tobytes(),
        }
        for keyword, value in (preset | attributes).items():
            if value is not None:
                setattr(dataset, keyword, value)
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
        return dataset

    return write


@pytest.fixture(scope="session")
def fracatlas(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """The real FracAtlas archive, imported once, with its published split."""
    output = tmp_path_factory.mktemp("fracatlas") / "fa.csv"
    return import_fracatlas(real_data / "data" / "FracAtlas", output, published_split=True, processes=2)
