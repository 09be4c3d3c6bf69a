"""Phantoms as DICOM DX files, read back by the package's own reader and checked against PS3.3."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from kerasortho.data.phantom import PhantomSettings, generate_phantoms, take_picture
from kerasortho.data.phantom.patients import LIMB_OF
from kerasortho.data.phantom.writing import ANATOMY, to_dicom
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph import read_radiograph

pydicom = pytest.importorskip("pydicom")

SETTINGS = PhantomSettings(patients=6, views=2, size=128, format="dicom", seed=1)

# fmt: off
# Type 1 attributes of the DX Image For Presentation IOD's mandatory modules (PS3.3 A.26): present and not empty
TYPE_1 = [
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "PresentationIntentType",
    "ImageType", "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "PixelData", "PixelIntensityRelationship", "PixelIntensityRelationshipSign",
    "RescaleIntercept", "RescaleSlope", "RescaleType", "PresentationLUTShape", "LossyImageCompression",
    "PatientOrientation", "BurnedInAnnotation", "ImageLaterality", "ImagerPixelSpacing", "WindowCenter",
    "WindowWidth", "ViewPosition", "BodyPartExamined",
]
# Type 2: present, may be empty
TYPE_2 = [
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "ReferringPhysicianName", "StudyID", "AccessionNumber", "SeriesNumber", "Manufacturer", "InstanceNumber",
    "DetectorType", "PositionerType", "AnatomicRegionSequence", "AcquisitionContextSequence",
]
# fmt: on


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("phantom") / "dicom"
    generate_phantoms(path, SETTINGS)
    return path


def files(folder: Path) -> list[Path]:
    return sorted((folder / "images").glob("*.dcm"))


def test_pixels_come_back_whatever_the_photometric_interpretation(folder: Path) -> None:
    seen = set()
    for path in files(folder):
        number, view = (int(part) for part in path.stem.split("-")[1:3])
        picture = take_picture(number - 1, view - 1, size=SETTINGS.size, seed=SETTINGS.seed)
        read = read_radiograph(path)
        assert np.abs(read.pixels - picture.pixels).max() <= 0.501 / 4095
        magnification = picture.source / (picture.source - picture.distance)
        spacing = picture.spacing if picture.number % 2 else picture.spacing / magnification
        assert read.spacing_mm == pytest.approx((spacing, spacing), rel=1e-5)
        assert 1.03 < magnification < 1.09
        beside = (cv2.dilate(picture.mask, np.ones((7, 7), np.uint8)) > 0) & (picture.mask == 0)
        assert read.pixels[picture.mask > 0].mean() > read.pixels[beside].mean()
        seen.add(str(pydicom.dcmread(path).PhotometricInterpretation))
    assert seen == {"MONOCHROME1", "MONOCHROME2"}


def test_required_attributes_are_there(folder: Path) -> None:
    for path in files(folder):
        dataset = pydicom.dcmread(path)
        for keyword in TYPE_1:
            assert keyword in dataset and not dataset[keyword].is_empty, keyword
        for keyword in TYPE_2:
            assert keyword in dataset, keyword
        assert dataset.SOPClassUID == pydicom.uid.DigitalXRayImageStorageForPresentation
        assert dataset.Modality == "DX"
        assert dataset.BitsStored == 12
        inverse = dataset.PhotometricInterpretation == "MONOCHROME1"
        assert dataset.PresentationLUTShape == ("INVERSE" if inverse else "IDENTITY")
        assert dataset.PixelIntensityRelationshipSign == (1 if inverse else -1)
        assert dataset.PatientOrientation[0] in {"L", "R", "A", "P", "H", "F"}
        assert dataset.PatientOrientation[0] != dataset.PatientOrientation[1]


def test_identifiers_are_unique_and_repeatable(folder: Path) -> None:
    datasets = [pydicom.dcmread(path) for path in files(folder)]
    assert len({dataset.SOPInstanceUID for dataset in datasets}) == 12
    assert len({dataset.StudyInstanceUID for dataset in datasets}) == 6
    first = take_picture(0, 0, size=SETTINGS.size, seed=SETTINGS.seed)
    assert to_dicom(first, SETTINGS.seed).SOPInstanceUID == datasets[0].SOPInstanceUID
    assert to_dicom(first, SETTINGS.seed + 1).SOPInstanceUID != datasets[0].SOPInstanceUID


def test_codes_are_those_of_the_standard() -> None:
    from pydicom.sr.codedict import codes

    assert set(ANATOMY) == set(LIMB_OF)
    known = {codes.CID4009.__getattr__(name).value for name in codes.CID4009.dir()}
    assert {value for _, value, _ in ANATOMY.values()} <= known


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian package dicom3tools) is not installed")
def test_dciodvfy_finds_no_error(folder: Path) -> None:
    for path in files(folder):
        said = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False).stderr
        assert "DXImageForPresentation" in said
        assert "Error" not in said


def test_no_identity_is_written(folder: Path) -> None:
    for path in files(folder):
        dataset = pydicom.dcmread(path)
        assert str(dataset.PatientName) == ""
        assert dataset.PatientID.startswith("phantom-")
        for keyword in ("PatientBirthDate", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"):
            assert not dataset.get(keyword)
        assert "InstitutionName" not in dataset


def test_missing_pydicom_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(KerasOrthoError, match=r"kerasortho\[dicom\]"):
        generate_phantoms(tmp_path / "out", SETTINGS)
    assert not (tmp_path / "out").exists()
