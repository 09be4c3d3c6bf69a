"""Decoding inside the exported graph, against the reader of files: equal pixels, and the same files refused."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.reading import decode_radiograph

tf = pytest.importorskip("tensorflow")
from kerasortho.export import image_graph  # noqa: E402
from kerasortho.export.image_graph import decode_graph  # noqa: E402

MAX_PIXELS = 200_000
Decoder = Callable[[bytes], tuple[np.ndarray, str]]


@pytest.fixture(scope="module")
def decode() -> Decoder:
    graph = tf.function(lambda data: decode_graph(data, MAX_PIXELS), input_signature=[tf.TensorSpec([], tf.string)])

    def run(data: bytes) -> tuple[np.ndarray, str]:
        pixels, problem = graph(tf.constant(data))
        return pixels.numpy(), problem.numpy().decode()

    return run


def scene(bits: int = 8) -> np.ndarray:
    smooth = cv2.GaussianBlur(np.random.default_rng(0).random((211, 157)).astype(np.float32), (0, 0), 5)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return (smooth * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def encoded(image: np.ndarray, ending: str = ".png", *options: int) -> bytes:
    return bytes(cv2.imencode(ending, image, list(options))[1])


def tinted(bits: int) -> np.ndarray:
    grey = scene(bits)
    return cv2.merge([grey, grey - grey // 200, grey])


def by_pillow(image: np.ndarray, mode: str, kind: str, **options: object) -> bytes:
    pillow = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    pillow.fromarray(image).convert(mode).save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + b"\0" * 50


GREY, GREY16 = scene(8), scene(16)
OPAQUE = cv2.merge([GREY, GREY, GREY, np.full_like(GREY, 255)])
JPEG = encoded(GREY, ".jpg")
RESTARTS = encoded(GREY, ".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 4)

READABLE = {
    "png 8": encoded(GREY), "png 16": encoded(GREY16), "png rgb": encoded(cv2.merge([GREY] * 3)),
    "png tinted": encoded(tinted(8)), "png 16 tinted": encoded(tinted(16)), "png opaque": encoded(OPAQUE),
    "png bilevel": encoded(GREY // 128 * 255, ".png", cv2.IMWRITE_PNG_BILEVEL, 1), "one pixel": encoded(GREY[:1, :1]),
    "one row": encoded(GREY[:1]), "jpeg": JPEG, "jpeg one row": encoded(GREY[:1], ".jpg"),
    "jpeg rgb": encoded(cv2.merge([GREY] * 3), ".jpg"), "jpeg tinted": encoded(tinted(8), ".jpg"),
    "jpeg progressive": encoded(GREY, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1), "jpeg restarts": RESTARTS,
    "jpeg and more": JPEG + b"more" * 9,
}  # fmt: skip
COLOURS = cv2.merge([GREY, 255 - GREY, GREY // 2])
REFUSED = {
    "empty": (b"", image_graph.EMPTY), "text": (b"hello" * 99, image_graph.UNKNOWN),
    "png signature": (encoded(GREY)[:8], image_graph.DAMAGED), "jpeg signature": (JPEG[:3], image_graph.DAMAGED),
    "png cut": (encoded(GREY)[:-99], image_graph.DAMAGED), "png 16 cut": (encoded(GREY16)[:999], image_graph.DAMAGED),
    "jpeg cut": (JPEG[:-99], image_graph.DAMAGED),
    "jpeg lost its end": (JPEG[:-300] + b"\xff\xd9", image_graph.INCOMPLETE),
    "jpeg lost its middle": (JPEG[:1500] + JPEG[1800:], image_graph.INCOMPLETE),
    "restarts lost their middle": (RESTARTS[:1500] + RESTARTS[1800:], image_graph.INCOMPLETE),
    "png colour": (encoded(COLOURS), image_graph.COLOUR), "jpeg colour": (encoded(COLOURS, ".jpg"), image_graph.COLOUR),
    "transparent": (encoded(cv2.merge([GREY] * 4)), image_graph.TRANSPARENT),
    "no pixel": (png_header(0, 5), image_graph.DAMAGED),
}  # fmt: skip


@pytest.mark.parametrize("name", READABLE)
def test_pixels_are_those_of_the_reader(decode: Decoder, name: str) -> None:
    pixels, problem = decode(READABLE[name])
    assert problem == ""
    np.testing.assert_array_equal(pixels, decode_radiograph(READABLE[name]).pixels)


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_reader_refuses_is_refused_with_a_reason(decode: Decoder, name: str) -> None:
    data, reason = REFUSED[name]
    with pytest.raises(KerasOrthoError):
        decode_radiograph(data)
    pixels, problem = decode(data)
    assert problem == reason and pixels.shape == (1, 1)


@pytest.mark.parametrize("mode, kind, options", [
    ("P", "PNG", {}), ("LA", "PNG", {}), ("1", "PNG", {}), ("L", "PNG", {"transparency": 7}),
])  # fmt: skip
def test_kinds_that_opencv_does_not_write(decode: Decoder, mode: str, kind: str, options: dict[str, object]) -> None:
    data = by_pillow(GREY, mode, kind, **options)
    np.testing.assert_array_equal(decode(data)[0], decode_radiograph(data).pixels)


def test_cmyk_and_gif_are_refused(decode: Decoder) -> None:
    assert decode(by_pillow(GREY, "CMYK", "JPEG"))[1] == image_graph.CMYK
    assert decode(by_pillow(GREY, "L", "GIF"))[1] == image_graph.UNKNOWN


@pytest.mark.parametrize("mode, transparent", [("P", 100), ("RGB", (100, 100, 100))])
def test_a_transparent_colour_is_found(decode: Decoder, mode: str, transparent: object) -> None:
    data = by_pillow(GREY, mode, "PNG", transparency=transparent)
    assert b"tRNS" in data and 100 in GREY
    with pytest.raises(KerasOrthoError, match="transparent"):
        decode_radiograph(data)
    assert decode(data)[1] == image_graph.TRANSPARENT
    nowhere = by_pillow(GREY // 2, mode, "PNG", transparency=255 if mode == "P" else (255, 255, 255))
    np.testing.assert_array_equal(decode(nowhere)[0], decode_radiograph(nowhere).pixels)


MEMORY = """
import resource, sys
import cv2, numpy as np, tensorflow as tf
from kerasortho.export.image_graph import decode_graph
graph = tf.function(lambda data: decode_graph(data, 10**9), input_signature=[tf.TensorSpec([], tf.string)])
for side in (64, 4000):
    data = cv2.imencode(".png", np.full((side, side, 3), 30_000, np.uint16))[1].tobytes()
    before = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
    assert graph(tf.constant(data))[1] == b""
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / side**2)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_plate_stored_in_colour_takes_little_more_than_its_samples() -> None:
    """They have 6 bytes a pixel, and the answer 4. A request of a few small files must not need tens of GB."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, timeout=120, check=True)
    assert float(done.stdout) < 33  # 24 in fact; it was 45 with 32-bit samples and an alpha channel of nothing


def test_exif_orientation_is_not_applied(decode: Decoder) -> None:
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 274, 3, 1, 6, 0, 0)
    turned = JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + JPEG[2:]
    assert decode_radiograph(turned).tags["exif_orientation"] == 6
    np.testing.assert_array_equal(decode(turned)[0], decode(JPEG)[0])


def test_decompression_bombs_are_refused_by_their_header(decode: Decoder) -> None:
    for data in (png_header(30_000, 30_000), encoded(np.zeros((1000, 201), np.uint8), ".jpg")):
        assert "decompression bombs" in decode(data)[1]
    assert "65535" in decode(png_header(100_000, 1))[1]
    assert decode(encoded(np.zeros((1000, 200), np.uint8)))[1] == ""


def test_real_files(decode: Decoder, real_data: Path) -> None:
    """Every 40th file, and all that seem cut off: the same pixels, or refused by both."""
    graph = tf.function(lambda data: decode_graph(data, 10**8), input_signature=[tf.TensorSpec([], tf.string)])
    files = sorted((real_data / "data" / "FracAtlas" / "images").rglob("*.jpg"))
    suspects = [file for file in files if b"\xff\xd9" not in file.read_bytes()[-1024:]]
    refused = 0
    for file in sorted({*files[::40], *suspects}):
        pixels, problem = graph(tf.constant(file.read_bytes()))
        try:
            expected = decode_radiograph(file.read_bytes()).pixels
        except KerasOrthoError:
            refused += 1
            assert problem != b"", file.name
        else:
            assert problem == b"", file.name
            np.testing.assert_array_equal(pixels, expected, err_msg=file.name)
    assert refused > 40
