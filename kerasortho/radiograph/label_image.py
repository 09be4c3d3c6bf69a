"""Mask files of several classes: grey values, palette entries or colours, as they are stored."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.raster import check_pixel_count, decode_as_stored
from kerasortho.radiograph.raster_header import raster_format, read_header
from kerasortho.radiograph.reading import MAX_SIDE, default_max_pixels, read_bytes, refuse_other_kind

MOST_CODES = 256
_PNG_COLOUR_TYPE = 25  # offset of the colour type in a PNG file; 3 has a palette
_PALETTE = 3


@dataclass(frozen=True)
class LabelImage:
    """A mask of several classes.

    codes: (H, W) integers: grey values, numbers of palette entries, or colours (red x 65536 + green x 256 + blue).
    kind: which of these. palette: (N, 3) uint8, red, green, blue of its entries; None for the other kinds.
    """

    codes: np.ndarray
    kind: Literal["grey", "palette", "colour"]
    palette: np.ndarray | None = None

    def count(self) -> dict[int, int]:
        """Return how many pixels each code has."""
        if self.kind == "colour":
            codes, counts = np.unique(self.codes, return_counts=True)
        else:
            numbers = np.bincount(self.codes.ravel())
            codes = np.flatnonzero(numbers)
            counts = numbers[codes]
        return dict(zip(codes.tolist(), counts.tolist(), strict=True))

    def colour(self, code: int) -> str:
        """Return the colour of a code, such as ``#ff0000``; of a 16-bit grey value, its upper eight bits."""
        if self.palette is not None:
            return "#" + bytes(self.palette[code].tolist()).hex()
        if self.kind == "colour":
            return f"#{code:06x}"
        grey = code >> 8 if self.codes.dtype == np.uint16 else code
        return f"#{grey:02x}{grey:02x}{grey:02x}"


def read_label_image(path: str | os.PathLike[str]) -> LabelImage:
    """Read a PNG, TIFF or BMP file of classes.

    Raises KerasOrthoError, beginning with the path: no such file, a damaged one, a JPEG (which blurs classes), partly
    transparent, or more than 256 values, as photographs have.
    """
    data = read_bytes(path)
    try:
        if not raster_format(data):
            refuse_other_kind(data)
        image = _decode(data)
        number = len(image.count())
        if number > MOST_CODES:
            raise KerasOrthoError(
                f"It holds {number} values, and is no mask of classes. Were edges smoothed? Save masks without."
            )
        return image
    except KerasOrthoError as error:
        raise type(error)(f"{path}: {error}") from error


def _decode(data: bytes) -> LabelImage:
    if raster_format(data) == "JPEG":
        raise KerasOrthoError("JPEG blurs masks: their classes cannot be told apart. Save them as PNG.")
    limit = default_max_pixels()
    if raster_format(data) == "PNG" and data[_PNG_COLOUR_TYPE : _PNG_COLOUR_TYPE + 1] == bytes([_PALETTE]):
        return _decode_palette(data, limit)
    stored = decode_as_stored(data, max_pixels=limit, max_side=MAX_SIDE)
    if stored.ndim == 2:
        return LabelImage(stored, "grey")
    if stored.dtype != np.uint8:
        raise KerasOrthoError(f"Its colours have {stored.dtype.itemsize * 8} bits. Save it with 8 bits a channel.")
    red, green, blue = (channel.astype(np.int32) for channel in cv2.split(stored))
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return LabelImage(stored[..., 0], "grey")
    return LabelImage((red << 16) | (green << 8) | blue, "colour")


def _decode_palette(data: bytes, limit: int) -> LabelImage:
    """Read a PNG with a palette: OpenCV gives its colours, but the numbers of its entries are what classes are."""
    from PIL import Image

    header = read_header(data)
    check_pixel_count(header.height, header.width, limit, MAX_SIDE)
    if header.truncated:
        raise KerasOrthoError(f"The PNG file is truncated: {header.truncated}. Get the file again.")
    try:
        with Image.open(io.BytesIO(data)) as image:
            palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
            codes = np.array(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise KerasOrthoError(f"The PNG file cannot be decoded ({error}). Get it again.") from error
    if int(codes.max()) >= len(palette):
        raise KerasOrthoError(f"It names entry {int(codes.max())} of a palette with {len(palette)} entries.")
    return LabelImage(codes, "palette", palette)
