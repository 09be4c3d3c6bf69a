"""What a raster file says about itself before anything is decoded: size, kind, orientation, completeness.

PNG (W3C PNG 3), JPEG (ITU-T T.81), TIFF 6.0 and Windows BMP. Nothing here allocates more than the file has bytes.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from kerasortho.errors import KerasOrthoError

_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # any but stuffed bytes, fill bytes and restart markers
_JPEG_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TIFF_INTEGERS = {1: ("B", 1), 3: ("H", 2), 4: ("I", 4)}  # BYTE, SHORT, LONG: all that sizes and offsets use


class TruncatedImageError(KerasOrthoError):
    """The file ends before its image does, or a part from its middle is missing."""


@dataclass(frozen=True)
class RasterHeader:
    """Facts from the header of a raster file.

    orientation: EXIF orientation, 1 (upright) to 8. scans, end: of a JPEG image, how many scans it has
    (more than one: progressive), and one past its last byte.
    white_is_zero: 16-bit TIFF whose smallest value is white. orientation_entry: where TIFF keeps its orientation.
    truncated: why the file is not complete, or None. refused: why the kind cannot be read, or None.
    """

    format: str
    height: int
    width: int
    channels: int
    orientation: int = 1
    scans: int = 1
    end: int | None = None
    white_is_zero: bool = False
    orientation_entry: int | None = None
    truncated: str | None = None
    refused: str | None = None


def raster_format(data: bytes) -> str | None:
    """Return "PNG", "JPEG", "TIFF" or "BMP" by the first bytes of a file, or None."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith((b"II*\x00", b"MM\x00*")):
        return "TIFF"
    if data.startswith(b"BM") and data[6:10] == bytes(4):
        return "BMP"
    return None


def read_header(data: bytes) -> RasterHeader:
    """Read the header of a PNG, JPEG, TIFF or BMP file and check that all of the file is there.

    Raises KerasOrthoError where the header is damaged or the format another, TruncatedImageError where it is cut off.
    """
    readers = {"PNG": _read_png, "JPEG": _read_jpeg, "TIFF": _read_tiff, "BMP": _read_bmp}
    name = raster_format(data)
    if name is None:
        raise KerasOrthoError("Not a PNG, JPEG, TIFF or BMP file.")
    try:
        header = readers[name](data)
    except (struct.error, IndexError) as error:
        raise TruncatedImageError(f"The {name} file ends within its header: it is truncated. Get it again.") from error
    if header.height < 1 or header.width < 1:
        raise KerasOrthoError(f"The {name} header gives no size ({header.height} x {header.width}). Get it again.")
    return header


def _read_png(data: bytes) -> RasterHeader:
    width, height, _, colour = struct.unpack_from(">IIBB", data, 16)
    if data[12:16] != b"IHDR":
        return RasterHeader("PNG", 0, 0, 1)
    channels = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(colour, 1)
    position, orientation, kind, truncated = 8, 1, b"", None
    while kind != b"IEND":
        if position + 12 > len(data):
            truncated = "its last chunk (IEND) is missing"
            break
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            truncated = f"its chunk {kind.decode('ascii', 'replace')} is cut off"
            break
        body = memoryview(data)[position + 8 : end - 4]
        if zlib.crc32(body, zlib.crc32(kind)) != struct.unpack_from(">I", data, end - 4)[0]:
            truncated = f"the checksum of its chunk {kind.decode('ascii', 'replace')} is wrong"
            break
        if kind == b"eXIf":
            orientation = _exif_orientation(bytes(body))
        position = end
    return RasterHeader("PNG", height, width, channels, orientation, truncated=truncated)


def _read_jpeg(data: bytes) -> RasterHeader:
    position, height, width, channels, orientation, units, interval = 2, 0, 0, 1, 1, 0, 0
    refused: str | None = None
    truncated: str | None = None
    scans = 0
    while True:
        found = _JPEG_MARKER.search(data, position)
        if found is None or (found[0][1] != 0xD9 and found.end() + 2 > len(data)):
            end, truncated = len(data), "its end-of-image marker is missing"
            break
        marker, position = found[0][1], found.end()
        if marker == 0xD9:
            end, truncated = position, truncated if scans else "it holds no image data"
            break
        if marker in (0x01, 0xD8):
            continue
        (length,) = struct.unpack_from(">H", data, position)
        body = data[position + 2 : position + max(length, 2)]
        if marker in _JPEG_FRAMES and height == 0:
            precision, height, width, channels = struct.unpack_from(">BHHB", body)
            units = _jpeg_units(body, height, width, channels) if marker in (0xC0, 0xC1) else 0
            if precision != 8:
                refused = f"JPEG with {precision} bits a sample is read from DICOM files only"
        elif marker == 0xDD:
            (interval,) = struct.unpack_from(">H", body)
        elif marker == 0xE1 and body.startswith(b"Exif\x00\x00"):
            orientation = _exif_orientation(body[6:])
        position += max(length, 2)
        if marker == 0xDA:
            scans += 1
            wanted = (units - 1) // interval if interval and units and body[0] == channels else 0
            truncated = truncated or _missing_restart(data, position, wanted)
    if channels == 4:
        refused = "a CMYK image has no grey scale of its own"
    return RasterHeader("JPEG", height, width, channels, orientation, scans, end, truncated=truncated, refused=refused)


def _jpeg_units(frame: bytes, height: int, width: int, channels: int) -> int:
    """Return how many coded units (MCU, T.81 A.2) a sequential image has, all of its channels being in one scan."""
    factors = [frame[7 + 3 * channel] for channel in range(channels)] if channels > 1 else [0x11]
    across, down = 8 * max(factor >> 4 for factor in factors), 8 * max(factor & 15 for factor in factors)
    return -(-width // max(across, 8)) * -(-height // max(down, 8))


def _missing_restart(data: bytes, start: int, wanted: int) -> str | None:
    """Tell whether the scan at ``start`` lacks restart markers: ``wanted`` at least, numbered 0 to 7 over and over."""
    end = _JPEG_MARKER.search(data, start)
    found = _JPEG_RESTART.findall(data, start, end.start() if end else len(data))
    in_order = all(marker[0] == 0xD0 + count % 8 for count, marker in enumerate(found))
    return None if in_order and len(found) >= wanted else "image data between its restart markers is missing"


def _read_tiff(data: bytes) -> RasterHeader:
    tags, following, entries = _read_directory(data)
    width, height = (tags.get(tag, (0,))[0] for tag in (256, 257))
    bits, channels, photometric = tags.get(258, (1,))[0], tags.get(277, (1,))[0], tags.get(262, (1,))[0]
    refused: str | None = None
    if any(kind != 1 for kind in tags.get(339, (1,))):
        refused = "its samples are not unsigned integers, so that black and white are not defined"
    elif bits not in (1, 8, 16):
        refused = f"it has {bits} bits a sample"
    elif photometric not in (0, 1, 2, 3, 6):
        refused = f"its PhotometricInterpretation {photometric} is neither grey, RGB, palette nor YCbCr"
    elif _has_second_image(data, following):
        refused = "it holds several images (pages)"
    truncated = None
    pieces = list(zip(tags.get(273, tags.get(324, ())), tags.get(279, tags.get(325, ())), strict=False))
    if not pieces:
        truncated = "it names no image data"
    elif max(offset + count for offset, count in pieces) > len(data):
        truncated = "image data that its header names lies beyond the end of the file"
    return RasterHeader(
        "TIFF",
        height,
        width,
        channels,
        tags.get(274, (1,))[0],
        white_is_zero=photometric == 0 and bits == 16,
        orientation_entry=entries.get(274),
        truncated=truncated,
        refused=refused,
    )


def _has_second_image(data: bytes, following: int) -> bool:
    if not following:
        return False
    try:
        tags = _read_directory(data, following)[0]
    except (struct.error, IndexError):
        return False
    return not tags.get(254, (0,))[0] & 1  # bit 0: a reduced copy, such as a preview


def _read_directory(data: bytes, offset: int | None = None) -> tuple[dict[int, tuple[int, ...]], int, dict[int, int]]:
    """Return a TIFF directory's integers (tag -> values), the next directory's offset, and tag -> entry's offset."""
    order = "<" if data[:2] == b"II" else ">"
    if offset is None:
        (offset,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, offset)
    tags: dict[int, tuple[int, ...]] = {}
    entries: dict[int, int] = {}
    for entry in range(offset + 2, offset + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", data, entry)
        if kind not in _TIFF_INTEGERS or not 0 < number <= len(data):
            continue
        letter, width = _TIFF_INTEGERS[kind]
        place = entry + 8 if number * width <= 4 else struct.unpack_from(order + "I", data, entry + 8)[0]
        tags[tag], entries[tag] = struct.unpack_from(f"{order}{number}{letter}", data, place), entry
    following = offset + 2 + 12 * count
    return tags, struct.unpack_from(order + "I", data, following)[0] if following + 4 <= len(data) else 0, entries


def _exif_orientation(exif: bytes) -> int:
    """Return the orientation (tag 274) of an EXIF block, 1 where it has none or is damaged."""
    try:
        return _read_directory(exif)[0].get(274, (1,))[0]
    except (struct.error, IndexError):
        return 1


def _read_bmp(data: bytes) -> RasterHeader:
    start, size = struct.unpack_from("<II", data, 10)
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    height = abs(height)  # negative: rows from top to bottom
    stored = (width * bits + 31) // 32 * 4 * height
    short = compression in (0, 3) and start + stored > len(data)
    truncated = f"it has {len(data)} bytes where its header asks for {start + stored}" if short else None
    return RasterHeader("BMP", height, width, 1 if bits == 8 else 3, truncated=truncated)
