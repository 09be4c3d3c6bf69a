"""Phantom radiographs as files: 8- and 16-bit PNG, and DICOM "Digital X-Ray Image Storage - For Presentation"."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from kerasortho.data.phantom.picture import Picture
from kerasortho.errors import KerasOrthoError
from kerasortho.files import atomic_path

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

FORMATS = ("png", "dicom")
BITS_STORED = 12
DX_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"
# DICOM's Body Part Examined, and the SNOMED CT code of its CID 4009 "DX Anatomy Imaged"
ANATOMY = {
    "hand": ("HAND", "85562004", "Hand"),
    "wrist": ("WRIST", "74670003", "Wrist joint"),
    "forearm": ("FOREARM", "14975008", "Forearm"),
    "elbow": ("ELBOW", "16953009", "Elbow joint"),
    "shoulder": ("SHOULDER", "16982005", "Shoulder"),
    "upper_arm": ("HUMERUS", "85050009", "Humerus"),
    "foot": ("FOOT", "56459004", "Foot"),
    "ankle": ("ANKLE", "70258002", "Ankle joint"),
    "lower_leg": ("LEG", "30021000", "Lower leg"),
    "knee": ("KNEE", "72696002", "Knee"),
    "hip": ("HIP", "24136001", "Hip joint"),
    "femur": ("FEMUR", "71341001", "Femur"),
}


def require_pydicom() -> None:
    """Raise KerasOrthoError where pydicom, which writes DICOM, is not installed."""
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise KerasOrthoError(
            "Writing DICOM needs pydicom, which is not installed. Install it with: pip install 'kerasortho[dicom]'; "
            "or use --format png."
        ) from error


def write_picture(picture: Picture, folder: Path, file_format: str, seed: int) -> dict[str, Path]:
    """Write the picture and its masks below ``folder``, atomically; return their paths by the manifest's columns.

    Masks are PNG: ``mask`` and ``fracture_mask`` hold 0 and 255, ``bone_label_mask`` the values of labels.json.
    Raises KerasOrthoError where the disk is full or the folder not writable.
    """
    ending = "dcm" if file_format == "dicom" else "png"
    image = folder / "images" / f"{picture.name}.{ending}"
    with atomic_path(image) as temporary:
        if file_format == "dicom":
            to_dicom(picture, seed).save_as(temporary, enforce_file_format=True)
        else:
            temporary.write_bytes(_png(quantised(picture.pixels, picture.bits)))
    files = {"image": image}
    white = np.uint8(255)
    for column, name, values in (
        ("mask", "masks", picture.mask * white),
        ("bone_label_mask", "labels", picture.labels),
        ("fracture_mask", "fractures", picture.fractured * white),
    ):
        files[column] = folder / name / f"{picture.name}.png"
        with atomic_path(files[column]) as temporary:
            temporary.write_bytes(_png(values))
    return files


def quantised(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Return pixels (H, W) in [0, 1] as whole numbers 0 .. 2**bits - 1, uint8 or uint16."""
    return np.round(pixels.astype(np.float64) * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def _png(values: np.ndarray) -> bytes:
    done, data = cv2.imencode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise KerasOrthoError(
            "OpenCV could not encode a PNG file. Is opencv-python-headless installed whole? See `kerasortho doctor`."
        )
    return bytes(data.tobytes())


def to_dicom(picture: Picture, seed: int) -> Dataset:
    """Return the picture as a DX image: the modules of PS3.3 A.26, their required (type 1 and 2) attributes filled.

    All identifiers derive from the seed; dates and the patient's name stay empty.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(DX_FOR_PRESENTATION)
    meta.MediaStorageSOPInstanceUID = _uid(seed, picture, "instance", picture.number, picture.pixels.shape)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for part in (_patient_and_study(picture, seed), _anatomy(picture), _detector(picture), _pixels(picture)):
        for keyword, value in part.items():
            setattr(dataset, keyword, value)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset["PixelData"].VR = "OW"
    return dataset


def _uid(seed: int, picture: Picture, *level: object) -> UID:
    from pydicom.uid import generate_uid

    return generate_uid(entropy_srcs=["kerasortho phantom", str(seed), picture.patient.name, *map(str, level)])


def _patient_and_study(picture: Picture, seed: int) -> dict[str, Any]:
    patient = picture.patient
    return {
        "PatientName": "",
        "PatientID": patient.name,
        "PatientBirthDate": "",
        "PatientSex": "",
        "PatientAge": f"{patient.age:03d}Y",
        "StudyInstanceUID": _uid(seed, picture, "study"),
        "StudyDate": "",
        "StudyTime": "",
        "StudyID": "1",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "SeriesInstanceUID": _uid(seed, picture, "series"),
        "SeriesNumber": 1,
        "Modality": "DX",
        "PresentationIntentType": "FOR PRESENTATION",
        "Manufacturer": "kerasortho",
        "ManufacturerModelName": "phantom",
        "ImageComments": "Synthetic phantom: no patient was imaged.",
    }


def _anatomy(picture: Picture) -> dict[str, Any]:
    part, value, meaning = ANATOMY[picture.patient.region]
    return {
        "BodyPartExamined": part,
        "AnatomicRegionSequence": [_code(value, "SCT", meaning)],
        "ImageLaterality": picture.patient.side,
        "ViewPosition": picture.position,
        "ViewCodeSequence": [_view_code(picture)],
        "PatientOrientation": list(picture.stage.orientation),
        "AcquisitionContextSequence": [],
    }


def _view_code(picture: Picture) -> Dataset:
    """Return the view's code from DICOM's CID 4010 "DX View", written in SNOMED CT."""
    if picture.view == "lateral":
        return _code("399067008", "SCT", "lateral")
    if picture.view == "oblique":
        return _code("399182000", "SCT", "oblique")
    if picture.position == "PA":
        return _code("272479007", "SCT", "postero-anterior")
    return _code("399348003", "SCT", "antero-posterior")


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    from pydicom.dataset import Dataset

    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _detector(picture: Picture) -> dict[str, Any]:
    spacing, magnification = picture.spacing, picture.source / (picture.source - picture.distance)
    values = {
        "InstanceNumber": picture.number,
        "ImageType": ["DERIVED", "PRIMARY"],
        "ContentDate": "",
        "ContentTime": "",
        "DerivationDescription": "computed from a geometric model",
        "KVP": f"{picture.kilovolts:.1f}",
        "DistanceSourceToDetector": f"{picture.source:.6g}",
        "DistanceSourceToPatient": f"{picture.source - picture.distance:.6g}",
        "EstimatedRadiographicMagnificationFactor": f"{magnification:.6g}",
        "PositionerType": "NONE",
        "DetectorType": "DIRECT",
        "ImagerPixelSpacing": [f"{spacing:.6g}"] * 2,
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
    }
    if picture.number % 2 == 0:  # some machines also tell the size in the patient, some do not
        values["PixelSpacing"] = [f"{spacing / magnification:.6g}"] * 2
        values["PixelSpacingCalibrationType"] = "GEOMETRY"
        values["PixelSpacingCalibrationDescription"] = "in the plane of the limb's middle"
    return values


def _pixels(picture: Picture) -> dict[str, Any]:
    values = quantised(picture.pixels, BITS_STORED)
    full = 2**BITS_STORED
    if picture.inverted:
        values = np.uint16(full - 1) - values
    return {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME1" if picture.inverted else "MONOCHROME2",
        "Rows": values.shape[0],
        "Columns": values.shape[1],
        "BitsAllocated": 16,
        "BitsStored": BITS_STORED,
        "HighBit": BITS_STORED - 1,
        "PixelRepresentation": 0,
        "PixelIntensityRelationship": "LOG",
        "PixelIntensityRelationshipSign": 1 if picture.inverted else -1,
        "RescaleIntercept": "0",
        "RescaleSlope": "1",
        "RescaleType": "US",
        "PresentationLUTShape": "INVERSE" if picture.inverted else "IDENTITY",
        "WindowCenter": str(full // 2),
        "WindowWidth": str(full),
        "PixelData": values.astype("<u2").tobytes(),
    }
