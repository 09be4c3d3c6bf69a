"""Synthetic DICOM files, made at test time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DicomMaker = Callable[..., Path]


@pytest.fixture
def make_dicom(tmp_path: Path) -> DicomMaker:
    """Return a function that writes stored values (H, W) as a DICOM DX file, with attributes set or (None) removed."""
    pytest.importorskip("pydicom")

    def make(
        values: np.ndarray, *, name: str = "image.dcm", syntax: str = "1.2.840.10008.1.2.1", **attributes: Any
    ) -> Path:
        dataset = dx_dataset(values, syntax)
        for keyword, value in attributes.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        path = tmp_path / name
        dataset.save_as(path, enforce_file_format=True)
        return path

    return make


def dx_dataset(values: np.ndarray, syntax: str) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = generate_uid()
    dataset.PatientName = "Identity^Secret"
    dataset.PatientID = "SECRET-4711"
    dataset.PatientBirthDate = "19500101"
    dataset.InstitutionName = "SECRET HOSPITAL"
    dataset.Modality = "DX"
    dataset.BodyPartExamined = "HAND"
    dataset.ViewPosition = "PA"
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    bits = values.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    order = ">" if syntax == "1.2.840.10008.1.2.2" else "<"
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    dataset.PixelData = data + b"\x00" * (len(data) % 2)
    dataset["PixelData"].VR = "OW"
    return dataset
