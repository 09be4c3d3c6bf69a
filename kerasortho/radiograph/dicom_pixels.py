"""The stored values of one DICOM frame: raw, or decompressed by pydicom's plugins, or by GDCM itself."""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np

from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.dicom_values import integer_of
from kerasortho.radiograph.raster_header import TruncatedImageError

_JPEG_2000 = b"\xff\x4f\xff\x51"
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_START_OF_SCAN, _END_OF_IMAGE, _END = 0xDA, 0xD9, b"\xff\xd9"
_MARKER_AFTER_SCAN = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")  # not stuffed bytes (of JPEG-LS: below 0x80) nor restarts


def stored_values(dataset: Any, shape: tuple[int, int]) -> np.ndarray:
    """Return the stored values (H, W) of a dataset's only frame, an integer type; ``shape`` is (Rows, Columns).

    Bits above BitsStored, where old files keep overlays, are cleared (PS3.5 8.1.1).
    Raises KerasOrthoError where no decoder is there or sizes differ, TruncatedImageError where data is missing.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        plugins = _decoding_plugins(syntax)
        frame = _only_frame(dataset)
        _check_codestream(frame, shape)
        twelve_bits = syntax == _JPEG_EXTENDED and integer_of(dataset, "BitsStored") > 8
        if "pyjpegls" in plugins:  # rather than GDCM: it raises where GDCM may end the process
            dataset.pixel_array_options(decoding_plugin="pyjpegls")
        values = _decode_extended_jpeg(frame, dataset, shape) if twelve_bits else np.asarray(dataset.pixel_array)
    else:
        needed, there = shape[0] * shape[1] * integer_of(dataset, "BitsAllocated") // 8, len(dataset.PixelData)
        if there < needed:
            raise TruncatedImageError(
                f"The DICOM file is truncated: {there} of {needed} bytes of pixels are there. Get it again."
            )
        values = np.asarray(dataset.pixel_array)
    if values.shape != shape or values.dtype.kind not in "iu":
        raise KerasOrthoError("The DICOM file is damaged: its image has another size than its header says.")
    return values


def _decoding_plugins(syntax: Any) -> tuple[str, ...]:
    """Return the names of pydicom's plugins that can decode a transfer syntax; raise KerasOrthoError if none can."""
    from pydicom.pixels import get_decoder

    advice = "Install what is missing (pip install 'kerasortho[dicom]') or export the image uncompressed."
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise KerasOrthoError(f"The transfer syntax {syntax.name} is unknown. Export it uncompressed.") from error
    if not decoder.is_available:
        raise KerasOrthoError(f"No decoder for the transfer syntax {syntax.name} is installed. {advice}")
    return tuple(decoder.available_plugins)


def _only_frame(dataset: Any) -> bytes:
    from pydicom.encaps import generate_frames

    return next(generate_frames(dataset.PixelData, number_of_frames=1), b"")


def _check_codestream(frame: bytes, shape: tuple[int, int]) -> None:
    """Check a compressed frame before decoding: its own size (T.81 SOF, T.800 SIZ) and its end marker."""
    if frame.startswith(_JPEG_2000):
        right, bottom, left, top = struct.unpack_from(">IIII", frame, 8)
        size: tuple[int, int] | None = (bottom - top, right - left)
    elif frame.startswith(b"\xff\xd8"):
        size = _jpeg_size(frame)
    else:
        return
    if size is None:
        raise KerasOrthoError("The DICOM file is damaged: the segments of its JPEG image do not join up. Get it again.")
    if size != shape:
        raise KerasOrthoError(f"The DICOM file is damaged: Rows and Columns say {shape}, the compressed image {size}.")
    if _END not in frame[-4096:]:
        raise TruncatedImageError("The DICOM file is truncated: its compressed image has no end marker. Get it again.")


def _decode_extended_jpeg(frame: bytes, dataset: Any, shape: tuple[int, int]) -> np.ndarray:
    """Decode lossy JPEG of 12 bits (process 4) with GDCM, which can, though pydicom does not ask it to."""
    try:
        import gdcm
    except ImportError as error:
        raise KerasOrthoError(
            "Lossy JPEG of 12 bits needs GDCM: pip install 'kerasortho[dicom]', or export the image uncompressed."
        ) from error
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((shape[1], shape[0], 1))
    image.SetDataElement(element)
    photometric = gdcm.PhotometricInterpretation.GetPIType(str(dataset.PhotometricInterpretation))
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(photometric))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(_JPEG_EXTENDED)))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, integer_of(dataset, "PixelRepresentation")))
    decoded = image.GetBuffer().encode("utf-8", "surrogateescape")
    integers = np.int16 if integer_of(dataset, "PixelRepresentation") else np.uint16
    return np.frombuffer(decoded, integers).reshape(shape)


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    """Return (rows, columns) of a JPEG, lossless JPEG or JPEG-LS stream, None where its segments do not join up.

    Strict, because GDCM ends the whole process on some streams whose segments are out of step.
    """
    position, size = 2, None
    while position + 4 <= len(frame) and frame[position] == 0xFF:
        marker, length = frame[position + 1], int.from_bytes(frame[position + 2 : position + 4], "big")
        if marker == _END_OF_IMAGE:
            return size
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            rows, columns = struct.unpack_from(">HH", frame, position + 5)
            size = rows, columns
        if marker != 0xFF:
            position += 2 + max(length, 2)
        else:
            position += 1  # a fill byte
        if marker == _START_OF_SCAN:
            if (found := _MARKER_AFTER_SCAN.search(frame, position)) is None:
                return size  # no end marker: the caller's to say
            position = found.start()
    return size if frame[position : position + 2] == _END else None
