"""DICOM files (PS3.3, PS3.5, PS3.10): one grey frame of CR, DX, RF, XA, MG and their like, read with pydicom.

Only the attributes named here are read: whoever the patient is never enters memory as an attribute.
"""

from __future__ import annotations

import io
import struct
import warnings as python_warnings
import zlib
from typing import Any

from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.dicom_display import to_brightness
from kerasortho.radiograph.dicom_object import PROJECTIONS, describe_object, find_refusal, sop_class_name
from kerasortho.radiograph.dicom_pixels import stored_values
from kerasortho.radiograph.dicom_values import integer_of, pixel_spacing, text_of, value_of
from kerasortho.radiograph.radiograph import Radiograph
from kerasortho.radiograph.raster import REDUCE_OR_RAISE, check_pixel_count
from kerasortho.radiograph.raster_header import TruncatedImageError

_ATTRIBUTES = (
    "SOPClassUID Modality PresentationIntentType BodyPartExamined ViewPosition Laterality ImageLaterality "
    "SamplesPerPixel PhotometricInterpretation PlanarConfiguration NumberOfFrames Rows Columns "
    "BitsAllocated BitsStored HighBit PixelRepresentation PixelPaddingValue PixelPaddingRangeLimit PixelData "
    "FloatPixelData DoubleFloatPixelData ExtendedOffsetTable ExtendedOffsetTableLengths LossyImageCompression "
    "ModalityLUTSequence RescaleSlope RescaleIntercept VOILUTSequence WindowCenter WindowWidth VOILUTFunction "
    "PresentationLUTShape PixelSpacing PixelSpacingCalibrationType ImagerPixelSpacing NominalScannedPixelSpacing"
)
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_BYTES_PER_PIXEL = 8  # what a deflated file may inflate to, for each pixel allowed


def decode_dicom(data: bytes, *, max_pixels: int, max_side: int) -> Radiograph:
    """Read one DICOM file from its bytes.

    Returns a Radiograph with ``pixels`` (H, W) float32 in [0, 1], bone bright. Raises KerasOrthoError for objects
    without an image, colour, several frames, too many pixels, a transfer syntax without a decoder, and damaged files
    (TruncatedImageError where image data is missing).
    """
    pydicom = import_pydicom()
    try:
        dataset = _read_dataset(pydicom, data, max_pixels)
        _check_is_one_grey_image(dataset)
        rows, columns = integer_of(dataset, "Rows"), integer_of(dataset, "Columns")
        check_pixel_count(rows, columns, max_pixels, max_side)
        values = stored_values(dataset, (rows, columns))
        pixels, display = to_brightness(values, dataset)
        spacing, source, spacing_warnings = pixel_spacing(dataset)
    except KerasOrthoError:
        raise
    except Exception as error:  # pydicom and its decoders raise all kinds of things on damaged files
        raise KerasOrthoError(
            f"The DICOM file is damaged or unusual ({type(error).__name__} while reading it). Export it again, "
            "uncompressed if possible."
        ) from error
    tags = {
        **_source_tags(dataset),
        "voi": display.voi,
        "window": display.window,
        "voi_function": display.voi_function,
        "inverted": display.inverted,
        "warnings": (*_source_warnings(dataset), *display.warnings, *spacing_warnings),
    }
    return Radiograph(pixels, spacing, source, tags)


def import_pydicom() -> Any:
    """Return pydicom, without its warnings. Raises KerasOrthoError where it is not installed."""
    try:
        import pydicom
        import pydicom.encaps
        import pydicom.pixels
        import pydicom.uid
    except ImportError as error:
        raise KerasOrthoError("Reading DICOM files needs pydicom: pip install 'kerasortho[dicom]'.") from error
    # Its warnings quote values of the file. (A filter by module, unlike catch_warnings, is safe among threads.)
    python_warnings.filterwarnings("ignore", module=r"pydicom\b")
    return pydicom


def _read_dataset(pydicom: Any, data: bytes, max_pixels: int) -> Any:
    check_inflated_size(data, max_pixels)
    with_preamble = data[128:132] == b"DICM"
    dataset = pydicom.dcmread(io.BytesIO(data), force=not with_preamble, specific_tags=_ATTRIBUTES.split())
    if not with_preamble and "Rows" not in dataset and "SOPClassUID" not in dataset:
        raise KerasOrthoError("The content is of no known image format: it begins like a DICOM file and then is none.")
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        uid = pydicom.uid
        plain = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else plain
    return dataset


def check_inflated_size(data: bytes, max_pixels: int) -> None:
    """Raise KerasOrthoError for a deflated file (PS3.5 A.5) that inflates to more than ``max_pixels`` pixels need."""
    if data[128:132] != b"DICM" or _DEFLATED not in data[:4096]:
        return
    if data[132:140] != b"\x02\x00\x00\x00UL\x04\x00":
        raise KerasOrthoError("The DICOM file is deflated and lacks the length of its header. Export it uncompressed.")
    rest = data[144 + struct.unpack_from("<I", data, 140)[0] :]
    limit = max_pixels * _BYTES_PER_PIXEL + (16 << 20)
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while rest and size <= limit:
        size += len(inflater.decompress(rest, 1 << 24))
        rest = inflater.unconsumed_tail
    if size > limit:
        raise KerasOrthoError(
            f"The deflated DICOM file inflates beyond {limit} bytes, more than any image within the limit of "
            f"{max_pixels} pixels needs. {REDUCE_OR_RAISE}"
        )


def _check_is_one_grey_image(dataset: Any) -> None:
    """Raise KerasOrthoError, with what to do, unless the object is one frame of 8- or 16-bit grey values."""
    kind = describe_object(dataset)
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise KerasOrthoError(f"This DICOM object ({kind}) holds floating-point pixels: it is not a radiograph.")
    if not value_of(dataset, "PixelData") and _should_hold_image(dataset):
        raise TruncatedImageError("The DICOM file is truncated: its image data is missing. Get it again.")
    if not value_of(dataset, "PixelData"):
        raise KerasOrthoError(f"This DICOM object ({kind}) holds no image. Name the image files of the study instead.")
    if refusal := find_refusal(dataset):
        raise KerasOrthoError(refusal.message)


def _should_hold_image(dataset: Any) -> bool:
    """Tell whether a dataset without pixels is one of an image; pydicom drops all attributes of some cut off files."""
    name = getattr(value_of(dataset.file_meta, "MediaStorageSOPClassUID"), "name", "")
    return "Rows" in dataset or "Image Storage" in name


def _source_tags(dataset: Any) -> dict[str, Any]:
    return {
        "format": "DICOM",
        "bits": integer_of(dataset, "BitsStored", integer_of(dataset, "BitsAllocated")),
        "photometric": text_of(dataset, "PhotometricInterpretation"),
        "transfer_syntax": dataset.file_meta.TransferSyntaxUID.name,
        "sop_class": sop_class_name(dataset),
        "modality": text_of(dataset, "Modality"),
        "body_part": text_of(dataset, "BodyPartExamined"),
        "view_position": text_of(dataset, "ViewPosition"),
        "laterality": text_of(dataset, "ImageLaterality") or text_of(dataset, "Laterality"),
        "presentation_intent": text_of(dataset, "PresentationIntentType"),
        "spacing_calibration": text_of(dataset, "PixelSpacingCalibrationType"),
        "exif_orientation": 1,
    }


def _source_warnings(dataset: Any) -> list[str]:
    found = []
    modality = text_of(dataset, "Modality")
    if modality is not None and modality not in PROJECTIONS:
        found.append(f"Modality {modality[:16]} is not that of a projection radiograph.")
    if text_of(dataset, "PresentationIntentType") == "FOR PROCESSING":
        found.append("The image is FOR PROCESSING: raw detector values, which may not look like a radiograph.")
    return found
