"""One door for every file: what a file is, is told by its content, never by its ending."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NoReturn

import numpy as np

from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.radiograph import Radiograph
from kerasortho.radiograph.raster import MAX_PIXELS_VARIABLE, decode_raster
from kerasortho.radiograph.raster_header import raster_format

DEFAULT_MAX_PIXELS = 178_956_970 // 2  # a 35 x 43 cm plate at 50 um has 60 million
LARGEST_MAX_PIXELS = 1 << 30  # OpenCV decodes no more
MAX_SIDE = 65_535
MAX_FILE_BYTES = 1 << 30
RASTER_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ""})  # DICOM files often have no ending
IMAGE_SUFFIXES = RASTER_SUFFIXES | DICOM_SUFFIXES

_OTHER_KINDS = (
    (0, b"GIF8", "a GIF image"),
    (8, b"WEBP", "a WebP image"),
    (4, b"ftyp", "a HEIC, AVIF or video file"),
    (0, b"\x00\x00\x00\x0cjP", "a bare JPEG 2000 file"),
    (0, b"\xff\x4f\xff\x51", "a bare JPEG 2000 file"),
    (0, b"II+\x00", "a BigTIFF file"),
    (0, b"MM\x00+", "a BigTIFF file"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip file (NIfTI, perhaps)"),
    (344, b"n+1\x00", "a NIfTI volume"),
    (0, b"NRRD", "an NRRD volume"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
    (0, b"<", "a web page or XML text"),
)


def default_max_pixels() -> int:
    """Return the limit of pixels where none is given: $KERASORTHO_MAX_PIXELS, read at every call, or the usual one.

    Raises KerasOrthoError unless the variable is a whole number from 1 to `LARGEST_MAX_PIXELS`.
    """
    text = os.environ.get(MAX_PIXELS_VARIABLE)
    if not text:
        return DEFAULT_MAX_PIXELS
    if not re.fullmatch("[0-9]{1,10}", text) or not 1 <= int(text) <= LARGEST_MAX_PIXELS:
        raise KerasOrthoError(
            f'The environment variable {MAX_PIXELS_VARIABLE} is "{text[:40]}". It must be a whole number from 1 to '
            f"{LARGEST_MAX_PIXELS}; without it the limit is {DEFAULT_MAX_PIXELS}."
        )
    return int(text)


def read_radiograph(
    path: str | os.PathLike[str], *, max_pixels: int | None = None, allow_truncated: bool = False
) -> Radiograph:
    """Read one radiograph: DICOM, PNG, JPEG, TIFF or BMP, recognised by content.

    max_pixels: limit on rows x columns, checked before anything is decoded; None: ``default_max_pixels``.
    allow_truncated: read what is there of an incomplete JPEG file; a warning is then among the tags.

    Returns a Radiograph with ``pixels`` (H, W) float32 in [0, 1], bone bright. Raises KerasOrthoError, its subclass
    TruncatedImageError for incomplete files; the message begins with the path.
    """
    data = read_bytes(path)
    return decode_radiograph(data, name=str(path), max_pixels=max_pixels, allow_truncated=allow_truncated)


def decode_radiograph(
    data: bytes, *, name: str = "image", max_pixels: int | None = None, allow_truncated: bool = False
) -> Radiograph:
    """Read one radiograph from the bytes of a file; ``name`` stands for it in messages. See ``read_radiograph``."""
    try:
        limit = default_max_pixels() if max_pixels is None else max_pixels
        if raster_format(data) and data[128:132] != b"DICM":
            return _decode_raster_radiograph(data, limit, allow_truncated)
        if is_dicom(data):
            from kerasortho.radiograph.dicom import decode_dicom

            return decode_dicom(data, max_pixels=limit, max_side=MAX_SIDE)
        refuse_other_kind(data)
    except KerasOrthoError as error:
        raise type(error)(f"{name}: {error}") from error


def read_mask(path: str | os.PathLike[str], *, max_pixels: int | None = None) -> np.ndarray:
    """Read a mask: (H, W) uint8 of {0, 1}, from a file of {0, 1} or {0, white} values (1, 8 or 16 bits).

    Raises KerasOrthoError where the file holds other values, names them, and says what to do.
    """
    data = read_bytes(path)
    values = _decode_mask_values(data, str(path), max_pixels)
    present = np.unique(values)
    white = {1, 255, int(np.iinfo(values.dtype).max)}
    if present.size > 2 or (present.size == 2 and present[0] != 0) or int(present[-1]) not in white | {0}:
        shown = ", ".join(str(value) for value in present[:8]) + (", ..." if present.size > 8 else "")
        advice = " JPEG blurs masks: save them as PNG." if raster_format(data) == "JPEG" else ""
        raise KerasOrthoError(
            f"{path}: a mask holds no other values than 0 and 1, or 0 and 255; this file holds {shown}.{advice} "
            "Write the wanted structure as 255 and the rest as 0."
        )
    return (values != 0).astype(np.uint8)


def read_mask_values(path: str | os.PathLike[str], *, max_pixels: int | None = None) -> np.ndarray:
    """Read a mask file as stored: (H, W) uint8 or uint16, any values. Raises KerasOrthoError as ``read_radiograph``."""
    return _decode_mask_values(read_bytes(path), str(path), max_pixels)


def _decode_mask_values(data: bytes, name: str, max_pixels: int | None) -> np.ndarray:
    try:
        limit = default_max_pixels() if max_pixels is None else max_pixels
        if raster_format(data):
            return decode_raster(data, max_pixels=limit, max_side=MAX_SIDE).values
        if is_dicom(data):
            raise KerasOrthoError("Masks are read from PNG, TIFF or BMP files; export this DICOM object as PNG first.")
        refuse_other_kind(data)
    except KerasOrthoError as error:
        raise type(error)(f"{name}: {error}") from error


def is_dicom(data: bytes) -> bool:
    """Tell whether bytes are a DICOM file: with its preamble, or without, beginning in group 0002 or 0008."""
    if data[128:132] == b"DICM":
        return True
    little, big = (b"\x02\x00", b"\x08\x00"), (b"\x00\x02", b"\x00\x08")
    return len(data) > 132 and (
        (data[:2] in little and data[3] == 0) or (data[:2] in big and data[2] == 0 and data[4:6].isalpha())
    )


def _decode_raster_radiograph(data: bytes, max_pixels: int, allow_truncated: bool) -> Radiograph:
    raster = decode_raster(data, max_pixels=max_pixels, max_side=MAX_SIDE, allow_truncated=allow_truncated)
    white = np.iinfo(raster.values.dtype).max
    tags = {
        "format": raster.header.format,
        "bits": int(white).bit_length(),
        "exif_orientation": raster.header.orientation,
        "warnings": raster.warnings,
    }
    return Radiograph(raster.values.astype(np.float32) / np.float32(white), tags=tags)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return what a file holds. Raises KerasOrthoError, beginning with the path, if it is too large or not there."""
    file = Path(path)
    try:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise KerasOrthoError(f"{path}: the file has {size / 1e9:.1f} GB, too large for a single radiograph.")
        return file.read_bytes()
    except FileNotFoundError:
        raise KerasOrthoError(f"{path}: there is no such file. Check the path.") from None
    except IsADirectoryError:
        raise KerasOrthoError(f"{path}: this is a folder, not an image file. Name the files in it.") from None
    except OSError as error:
        raise KerasOrthoError(f"{path}: the file cannot be read ({error.strerror or error}).") from error


def refuse_other_kind(data: bytes) -> NoReturn:
    """Raise the KerasOrthoError that says what a file is, if it is none of the kinds that are read."""
    if not data:
        raise KerasOrthoError("The file is empty. Get it again.")
    if not any(data):
        raise KerasOrthoError("The file holds only zeros: it was never written completely. Get it again.")
    kind = next((name for offset, magic, name in _OTHER_KINDS if data[offset : offset + len(magic)] == magic), None)
    what = f"This is {kind}" if kind else "The content is of no known image format"
    raise KerasOrthoError(f"{what}. kerasortho reads DICOM, PNG, JPEG, TIFF and BMP: convert the file to one of these.")
