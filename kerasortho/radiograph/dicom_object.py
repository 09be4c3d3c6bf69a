"""What a DICOM object is, told by its header alone: one grey frame, or something else that is no radiograph."""

from __future__ import annotations

from typing import Any, NamedTuple

from kerasortho.radiograph.dicom_values import integer_of, text_of, value_of

PROJECTIONS = frozenset({"CR", "DX", "RF", "XA", "MG", "IO", "PX", "RG", "DF", "DR", "OT", "SC"})


class Refusal(NamedTuple):
    """Why an object is not one grey frame: in a few words to count by, and as a message that says what to do."""

    reason: str
    message: str


def find_refusal(dataset: Any) -> Refusal | None:
    """Return why the object is not one frame of 8- or 16-bit grey values; None if it is. Needs no pixels."""
    kind = describe_object(dataset)
    if not integer_of(dataset, "Rows") and "PixelData" not in dataset:
        return Refusal("no image", f"This DICOM object ({kind}) holds no image. Name the image files instead.")
    if text_of(dataset, "Modality") == "SEG":
        return Refusal(
            "segmentation",
            "This DICOM object is a segmentation, not a radiograph. Name the image it belongs to.",
        )
    frames = text_of(dataset, "NumberOfFrames") or "1"
    if frames != "1":
        return Refusal(
            "several frames", f"This DICOM object ({kind}) holds {frames[:12]} frames. Export the wanted one alone."
        )
    colour = (text_of(dataset, "PhotometricInterpretation") or "").upper()
    if integer_of(dataset, "SamplesPerPixel", 1) != 1 or colour not in ("MONOCHROME1", "MONOCHROME2"):
        return Refusal(
            "not grey",
            f"This DICOM image is not grey (PhotometricInterpretation {colour[:16] or 'missing'}). Export the original "
            "radiograph, not a screen capture.",
        )
    bits, high = integer_of(dataset, "BitsAllocated"), integer_of(dataset, "HighBit", -1)
    stored = integer_of(dataset, "BitsStored", bits)
    if bits not in (8, 16) or not 1 <= stored <= bits or (high != -1 and high != stored - 1):
        return Refusal(
            "unusual bits",
            f"The pixels of this DICOM object ({kind}) cannot be used: BitsAllocated {bits}, BitsStored {stored}, "
            f"HighBit {high}. A radiograph has 8 or 16 bits allocated, its high bit below the number of stored ones.",
        )
    return None


def describe_object(dataset: Any) -> str:
    """Return the name of the object's SOP class, else its modality, else that its kind is unknown."""
    return sop_class_name(dataset) or text_of(dataset, "Modality") or "unknown kind"


def sop_class_name(dataset: Any) -> str | None:
    """Return the name of the SOP class, also of one that only the file's meta information names; None if unknown."""
    for holder, keyword in ((dataset, "SOPClassUID"), (getattr(dataset, "file_meta", {}), "MediaStorageSOPClassUID")):
        uid = value_of(holder, keyword)
        name = getattr(uid, "name", None)
        if isinstance(name, str) and name != str(uid):
            return name
    return None
