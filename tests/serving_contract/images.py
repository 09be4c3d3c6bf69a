"""Images for requests: good ones that differ, and bad ones of every kind."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def png(shape: tuple[int, int] = (40, 30), *, top: bool = True, seed: int = 0) -> bytes:
    """Return a PNG whose upper or lower half is bright."""
    pixels = np.random.default_rng(seed).integers(0, 30, shape, np.uint8)
    half = shape[0] // 2
    pixels[slice(None, half) if top else slice(half, None)] += 180
    return encoded(Image.fromarray(pixels), "PNG")


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _bomb() -> bytes:
    """Return a PNG header that claims 30000 x 30000 pixels; a decoder that believes it takes 900 MB."""
    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _frames() -> list[Image.Image]:
    return [Image.new("L", (20, 20), level) for level in (0, 120, 250)]


def _noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))


BAD = {
    "text": b"not an image",
    "empty": b"",
    "truncated PNG": png()[:-40],
    "truncated JPEG": encoded(_noise(), "JPEG")[:900],
    "30000 x 30000": _bomb(),
    "CMYK JPEG": encoded(
        Image.effect_noise((40, 30), 80).convert("RGB").convert("CMYK").point(lambda v: v // 2), "JPEG"
    ),
    "animated GIF": encoded(_frames()[0], "GIF", save_all=True, append_images=_frames()[1:]),
    "colour": encoded(Image.new("RGB", (30, 30), (200, 30, 30)), "PNG"),
}
