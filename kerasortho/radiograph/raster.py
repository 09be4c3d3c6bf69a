"""PNG, JPEG, TIFF and BMP files: decoding to one grey channel, and writing PNG.

The stored pixels count everywhere: EXIF orientation is reported, never applied, because masks and annotations follow
the stored pixels and the serving graph cannot read EXIF.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import cv2
import numpy as np

from kerasortho.errors import KerasOrthoError
from kerasortho.files import atomic_path
from kerasortho.radiograph.raster_header import RasterHeader, TruncatedImageError, read_header

_AS_STORED = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
_GREY = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
COLOUR_SPREAD = 4.0  # mean difference between channels, in 8-bit grey levels, that makes an image a colour image
_COLOURED_PIXEL = 64.0  # a difference that makes one pixel coloured
JPEG_FILLER = b"\x35" * 512
JPEG_END = b"\xff\xd9"
MAX_PIXELS_VARIABLE = "KERASORTHO_MAX_PIXELS"
REDUCE_OR_RAISE = (
    f"Reduce the image; or, if the file is trusted, set the environment variable {MAX_PIXELS_VARIABLE} to a larger "
    "number (from Python: read_radiograph(..., max_pixels=...))."
)


@dataclass(frozen=True)
class Raster:
    """A decoded raster file: ``values`` (H, W) uint8 or uint16 as stored, its header, and what a reader should know."""

    values: np.ndarray
    header: RasterHeader
    warnings: tuple[str, ...]


def check_pixel_count(height: int, width: int, max_pixels: int, max_side: int) -> None:
    """Raise KerasOrthoError for an image that is too large to decode, judged by its header alone."""
    if height * width > max_pixels:
        raise KerasOrthoError(
            f"The image has {height} x {width} pixels, more than the limit of {max_pixels} that guards against "
            f"decompression bombs. {REDUCE_OR_RAISE}"
        )
    if max(height, width) > max_side:
        raise KerasOrthoError(f"The image has {height} x {width} pixels: no side may exceed {max_side}. Cut it.")


def decode_raster(data: bytes, *, max_pixels: int, max_side: int, allow_truncated: bool = False) -> Raster:
    """Decode a raster file to one grey channel of its own depth, uint8 or uint16.

    Raises TruncatedImageError for an incomplete file (a JPEG may be allowed: what is missing is then grey and a warning
    says so) and KerasOrthoError for oversized, colour, transparent, floating-point, many-page and damaged files.
    """
    header = _read_usable_header(data, max_pixels, max_side)
    problem = header.truncated
    if problem and not (allow_truncated and header.format == "JPEG"):
        raise _truncated(header, problem)
    if header.format == "JPEG":
        values, coloured, lacking = _decode_jpeg(data, header)
        if lacking and not problem:
            problem = "image data is missing before its end marker"
            if not allow_truncated:
                raise _truncated(header, problem)
    else:
        values, coloured = _to_grey(_decode(_without_orientation(data, header), _AS_STORED, header))
        if header.white_is_zero:
            values = np.iinfo(values.dtype).max - values
    if values.shape != (header.height, header.width):
        raise KerasOrthoError(f"The {header.format} file is damaged: its image has another size than its header says.")
    return Raster(values, header, _warnings(header, values, coloured, problem))


def decode_as_stored(data: bytes, *, max_pixels: int, max_side: int) -> np.ndarray:
    """Decode a lossless raster file to what it holds: (H, W) or (H, W, 3) red, green, blue, uint8 or uint16.

    Raises KerasOrthoError as `decode_raster` does, though not for colours.
    """
    header = _read_usable_header(data, max_pixels, max_side)
    if header.truncated:
        raise _truncated(header, header.truncated)
    image = _require_opaque(_decode(_without_orientation(data, header), _AS_STORED, header))
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1])


def _read_usable_header(data: bytes, max_pixels: int, max_side: int) -> RasterHeader:
    header = read_header(data)
    check_pixel_count(header.height, header.width, max_pixels, max_side)
    if header.refused:
        raise KerasOrthoError(
            f"This {header.format} file cannot be used: {header.refused}. Save it as 8- or 16-bit greyscale PNG."
        )
    return header


def _without_orientation(data: bytes, header: RasterHeader) -> bytes:
    """Set the orientation of a TIFF file to 1: its decoder turns 8-bit images by it, whatever it is asked."""
    if header.orientation == 1 or header.orientation_entry is None:
        return data
    value = header.orientation_entry + 8
    return data[:value] + (b"\x01\x00" if data[:2] == b"II" else b"\x00\x01") + data[value + 2 :]


def _decode(data: bytes, flags: int, header: RasterHeader) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (cv2.error, MemoryError) as error:
        raise KerasOrthoError(f"The {header.format} file cannot be decoded ({_short(error)}). Get it again.") from error
    if image is None:
        raise KerasOrthoError(f"The {header.format} file cannot be decoded: damaged, or a rare kind. Save it as PNG.")
    return np.asarray(image)


def _decode_jpeg(data: bytes, header: RasterHeader) -> tuple[np.ndarray, bool, bool]:
    """Return the luminance (H, W) uint8, whether some pixels are coloured, and whether image data is missing.

    A decoder fills missing data with grey and succeeds. Here the end marker is replaced by a filler: a complete image
    never reads it, an incomplete one does and then looks different or fails. (Progressive files cannot be probed so:
    libjpeg would print a false alarm for each whole one.)
    """
    body = data[: header.end] if header.truncated else data[: (header.end or len(data)) - len(JPEG_END)]
    grey = _decode(body + JPEG_END, _GREY, header)
    coloured = False
    if header.channels == 3:
        small = cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_IGNORE_ORIENTATION
        coloured = _is_partly_coloured(_decode(body + JPEG_END, small, header))
    if header.scans > 1:
        return grey, coloured, False
    probe = cv2.imdecode(np.frombuffer(body + JPEG_FILLER, np.uint8), _GREY)
    return grey, coloured, probe is None or not np.array_equal(probe, grey)


def _to_grey(image: np.ndarray) -> tuple[np.ndarray, bool]:
    """Reduce a decoded image to (H, W) of the same depth, and tell whether some pixels are coloured."""
    image = _require_opaque(image)
    if image.ndim == 2:
        return image, False
    coloured = _is_partly_coloured(image)
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), coloured


def _require_opaque(image: np.ndarray) -> np.ndarray:
    """Return a decoded image, (H, W) or (H, W, 3), without alpha. Raises KerasOrthoError if that says anything."""
    if image.dtype not in (np.uint8, np.uint16):
        raise KerasOrthoError(
            f"Its samples are {image.dtype}, for which black and white are not defined. Save it as 8- or 16-bit PNG."
        )
    if image.ndim == 3 and image.shape[2] == 4:
        if image[..., 3].min() < np.iinfo(image.dtype).max:
            raise KerasOrthoError("The image is partly transparent. Save it as greyscale without an alpha channel.")
        image = np.ascontiguousarray(image[..., :3])
    return image


def _is_partly_coloured(image: np.ndarray) -> bool:
    """Tell whether single pixels are coloured. Raises KerasOrthoError where the image as a whole is."""
    blue, green, red = cv2.split(image)
    spread = cv2.subtract(cv2.max(cv2.max(blue, green), red), cv2.min(cv2.min(blue, green), red))
    level = np.iinfo(image.dtype).max / 255
    if float(cv2.mean(spread)[0]) > COLOUR_SPREAD * level:
        raise KerasOrthoError(
            "This is a colour image, and one channel of grey is needed. If it is only tinted, save it as greyscale."
        )
    return bool(cv2.minMaxLoc(spread)[1] > _COLOURED_PIXEL * level)


def _warnings(header: RasterHeader, values: np.ndarray, coloured: bool, problem: str | None) -> tuple[str, ...]:
    found = []
    if problem:
        found.append(f"The file is truncated: {problem}; the missing part is grey.")
    if header.orientation != 1:
        found.append(f"EXIF orientation {header.orientation} is not applied: the stored pixels count, as for masks.")
    if coloured:
        found.append("Some pixels are coloured (an annotation, perhaps); their brightness was taken.")
    if values.dtype == np.uint16 and 0 < int(values.max()) < 4096:
        found.append(f"The 16-bit file uses only the values up to {int(values.max())}: it is dark on a 16-bit scale.")
    return tuple(found)


def _truncated(header: RasterHeader, problem: str) -> TruncatedImageError:
    return TruncatedImageError(
        f"The {header.format} file is truncated: {problem}. Get the file again, or leave it out."
    )


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def encode_png(array: np.ndarray) -> bytes:
    """Return ``array`` as PNG bytes.

    array: (H, W) bool (written as 0 and 255), uint8 or uint16, or (H, W, 3) uint8 in the order red, green, blue.
    """
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    colour = array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8
    if not colour and (array.ndim != 2 or array.dtype not in (np.uint8, np.uint16)):
        raise ValueError(f"PNG takes (H, W) bool, uint8, uint16 or (H, W, 3) uint8. Got {array.shape} {array.dtype}")
    written, encoded = cv2.imencode(".png", array[..., ::-1] if colour else array)
    if not written:
        raise ValueError(f"OpenCV could not encode an array of {array.shape} {array.dtype} as PNG")
    return encoded.tobytes()


def write_png(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write ``array`` as a PNG file, atomically; see ``encode_png`` for what it takes."""
    encoded = encode_png(array)
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded)
