from __future__ import annotations

import pickle
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph import read_mask, read_radiograph
from kerasortho.radiograph.raster import TruncatedImageError, encode_png
from kerasortho.radiograph.reading import DEFAULT_MAX_PIXELS, decode_radiograph, read_mask_values


def limb(height: int = 120, width: int = 90, seed: int = 0) -> np.ndarray:
    """A smooth grey image (H, W) uint8."""
    noise = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.rint((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)


def encoded(ending: str, image: np.ndarray, *options: int) -> bytes:
    done, data = cv2.imencode(ending, image, list(options))
    assert done
    return data.tobytes()


def tiff(values: np.ndarray, photometric: int = 1, order: str = "<", **more: int) -> bytes:
    """An uncompressed TIFF file of one strip, written by hand (TIFF 6.0)."""
    names = {"orientation": 274, "sample_format": 339, "bits": 258, "subfile": 254}
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    height, width = values.shape
    entries = {256: width, 257: height, 258: values.dtype.itemsize * 8, 259: 1, 262: photometric, 273: 8, 277: 1}
    entries |= {278: height, 279: len(data)} | {names[name]: value for name, value in more.items()}
    directory = struct.pack(order + "H", len(entries))
    for tag, value in sorted(entries.items()):
        directory += (
            struct.pack(order + "HHII", tag, 4, 1, value)
            if tag in (273, 279)
            else (struct.pack(order + "HHIHH", tag, 3, 1, value, 0))
        )
    magic = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(data))
    return magic + data + directory + struct.pack(order + "I", 0)


def with_exif(jpeg: bytes, orientation: int) -> bytes:
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


@pytest.mark.parametrize("ending", [".png", ".tif", ".bmp"])
def test_lossless_8_bit(tmp_path: Path, ending):
    path = tmp_path / f"no hint in the name {ending[1:]} ä"
    path.write_bytes(encoded(ending, limb()))
    radiograph = read_radiograph(path)
    np.testing.assert_array_equal(radiograph.pixels, limb().astype(np.float32) / 255)
    assert radiograph.pixels.dtype == np.float32 and not radiograph.pixels.flags.writeable
    assert radiograph.spacing_mm is None and radiograph.spacing_source is None
    assert radiograph.tags["bits"] == 8 and radiograph.warnings == ()
    for same in (radiograph, pickle.loads(pickle.dumps(radiograph))):
        with pytest.raises(ValueError):
            same.pixels[0, 0] = 1


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_16_and_8_bit_land_on_one_scale(ending):
    deep = decode_radiograph(encoded(ending, limb().astype(np.uint16) * 257))
    shallow = decode_radiograph(encoded(ending, limb()))
    np.testing.assert_allclose(deep.pixels, shallow.pixels, atol=1e-7)
    assert deep.tags["bits"] == 16


def test_dark_16_bit_files_carry_a_warning():
    assert "dark" in decode_radiograph(encoded(".png", limb().astype(np.uint16) * 4)).warnings[0]


def test_jpeg_grey_and_colour_coded_agree():
    grey = decode_radiograph(encoded(".jpg", limb(), cv2.IMWRITE_JPEG_QUALITY, 95))
    colour = decode_radiograph(encoded(".jpg", cv2.merge([limb()] * 3), cv2.IMWRITE_JPEG_QUALITY, 95))
    np.testing.assert_array_equal(grey.pixels, colour.pixels)
    assert np.abs(grey.pixels * 255 - limb()).mean() < 2
    assert grey.tags["format"] == "JPEG" and grey.warnings == ()


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 3)])
def test_truncated_jpeg_is_an_error_unless_allowed(options):
    data = encoded(".jpg", limb(400, 300), *options)
    assert decode_radiograph(data + b"junk after the end\xff\x00" * 9).warnings == ()
    for kept in (len(data) - 1, len(data) - 2, len(data) * 9 // 10, len(data) // 2):
        with pytest.raises(TruncatedImageError, match="truncated"):
            decode_radiograph(data[:kept], name="hand.jpg")
    partial = decode_radiograph(data[: len(data) * 3 // 4], allow_truncated=True)
    assert "truncated" in partial.warnings[0] and partial.pixels.shape == (400, 300)


@pytest.mark.parametrize("restarts", [0, 1, 4])
def test_jpeg_that_lost_its_middle_or_end_is_an_error_despite_its_end_marker(restarts):
    data = encoded(".jpg", limb(400, 300), cv2.IMWRITE_JPEG_RST_INTERVAL, restarts)
    for broken in (data[:-300] + b"\xff\xd9", data[: len(data) // 2] + data[len(data) // 2 + 400 :]):
        with pytest.raises(TruncatedImageError, match="missing"):
            decode_radiograph(broken)


@pytest.mark.parametrize("ending", [".png", ".tif", ".bmp"])
def test_truncated_lossless_files_are_errors(ending):
    data = encoded(ending, limb())
    for kept in (len(data) - 5, len(data) // 2, 60):
        with pytest.raises(KerasOrthoError):
            decode_radiograph(data[:kept])
        with pytest.raises(KerasOrthoError):
            decode_radiograph(data[:kept], allow_truncated=True)


def test_a_flipped_byte_in_a_png_is_found():
    data = bytearray(encode_png(limb()))
    data[len(data) // 2] ^= 1
    with pytest.raises(TruncatedImageError, match="checksum"):
        decode_radiograph(bytes(data))


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_exif_orientation_is_reported_and_not_applied(orientation):
    image = limb(40, 24)
    jpeg = encoded(".jpg", image)
    upright = decode_radiograph(jpeg).pixels
    for data, expected in (
        (with_exif(jpeg, orientation), upright),
        (tiff(image, orientation=orientation), image / np.float32(255)),
        (tiff(image, orientation=orientation, order=">"), image / np.float32(255)),
        (tiff(image.astype(np.uint16) * 257, orientation=orientation), image / np.float32(255)),
    ):
        radiograph = decode_radiograph(data)
        np.testing.assert_allclose(radiograph.pixels, expected, atol=1e-6)
        assert radiograph.tags["exif_orientation"] == orientation
        assert f"orientation {orientation}" in radiograph.warnings[0]


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_tiff_with_white_zero_is_turned(depth):
    values = limb(20, 30).astype(depth) * (257 if depth == np.uint16 else 1)
    black, white = decode_radiograph(tiff(values, 1)), decode_radiograph(tiff(values, 0))
    np.testing.assert_allclose(white.pixels, 1 - black.pixels, atol=1e-6)


@pytest.mark.parametrize(
    "data, words",
    [
        (tiff(limb().astype(np.float32), sample_format=3), "not unsigned integers"),
        (tiff(limb().astype(np.int16), sample_format=2), "not unsigned integers"),
        (tiff(limb(), photometric=5), "PhotometricInterpretation 5"),
        (tiff(limb(), bits=12), "12 bits a sample"),
        (b"", "empty"),
        (bytes(500), "only zeros"),
        (b"GIF89a" + bytes(range(200)), "GIF"),
        (b"%PDF-1.7 " + bytes(200), "PDF"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"some text that is no image at all", "no known image format"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "PNG header gives no size"),
        (b"\xff\xd8\xff\xd9" + bytes(10), "JPEG header gives no size"),
    ],
)
def test_what_cannot_be_read_is_explained(data, words):
    with pytest.raises(KerasOrthoError, match=words) as caught:
        decode_radiograph(data, name="folder/hand.png")
    assert str(caught.value).startswith("folder/hand.png: ")


def test_files_that_are_not_there_are_explained(tmp_path: Path):
    with pytest.raises(KerasOrthoError, match="no such file"):
        read_radiograph(tmp_path / "nothing.png")
    with pytest.raises(KerasOrthoError, match="folder"):
        read_radiograph(tmp_path)


def test_colour_is_refused_and_nearly_grey_is_not():
    grey = cv2.merge([limb()] * 3)
    colour = grey.copy()
    colour[..., 0] = 255 - colour[..., 0]
    for ending in (".png", ".jpg", ".tif", ".bmp"):
        with pytest.raises(KerasOrthoError, match="colour image"):
            decode_radiograph(encoded(ending, colour))
        decode_radiograph(encoded(ending, grey))
    noisy = np.clip(grey.astype(int) + np.random.default_rng(0).integers(-1, 2, grey.shape), 0, 255).astype(np.uint8)
    assert np.abs(decode_radiograph(encoded(".png", noisy)).pixels * 255 - limb()).max() <= 2
    marked = grey.copy()
    marked[5:9, 5:20] = (0, 0, 255)
    assert "coloured" in decode_radiograph(encoded(".png", marked)).warnings[0]


def test_opaque_alpha_is_dropped_and_real_transparency_refused():
    image = cv2.merge([limb()] * 3 + [np.full_like(limb(), 255)])
    np.testing.assert_array_equal(decode_radiograph(encoded(".png", image)).pixels, limb() / np.float32(255))
    image[3, 3, 3] = 0
    with pytest.raises(KerasOrthoError, match="transparent"):
        decode_radiograph(encoded(".png", image))


def png_of(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def test_decompression_bombs_are_refused_by_their_header():
    with pytest.raises(KerasOrthoError, match="decompression bombs"):
        decode_radiograph(png_of(60_000, 60_000))
    with pytest.raises(KerasOrthoError, match="no side may exceed"):
        decode_radiograph(png_of(1, 70_000_000))
    with pytest.raises(KerasOrthoError, match="max_pixels"):
        decode_radiograph(encode_png(limb()), max_pixels=1000)


def test_environment_variable_sets_the_limit_at_every_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    path = tmp_path / "mask.png"
    path.write_bytes(encode_png(limb() > 100))
    readers = (read_radiograph, read_mask, read_mask_values)
    for limit in ("10799", str(limb().size)):
        monkeypatch.setenv("KERASORTHO_MAX_PIXELS", limit)
        for read in readers:
            if limit == "10799":
                with pytest.raises(KerasOrthoError, match=r"limit of 10799 .* set .*KERASORTHO_MAX_PIXELS"):
                    read(path)
                read(path, max_pixels=limb().size)  # an argument goes before it
            else:
                read(path)
    monkeypatch.setenv("KERASORTHO_MAX_PIXELS", "100000000")
    with pytest.raises(KerasOrthoError, match="damaged"):  # not refused for its size any more
        decode_radiograph(png_of(10_000, 10_000))
    monkeypatch.setenv("KERASORTHO_MAX_PIXELS", "")
    with pytest.raises(KerasOrthoError, match=f"limit of {DEFAULT_MAX_PIXELS} "):
        decode_radiograph(png_of(10_000, 10_000))


@pytest.mark.parametrize("text", ["many", "0", "-5", "1e9", "100_000_000", "2.5", str(2**30 + 1), "9" * 5000])
def test_bad_limit_in_the_environment_is_an_error_that_names_it(text: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KERASORTHO_MAX_PIXELS", text)
    with pytest.raises(KerasOrthoError, match=r"KERASORTHO_MAX_PIXELS is .* whole number"):
        decode_radiograph(encode_png(limb()))


SOURCES = tuple(
    [encoded(ending, limb(40, 30)) for ending in (".png", ".jpg", ".tif", ".bmp")]
    + [with_exif(encoded(".jpg", limb(40, 30), cv2.IMWRITE_JPEG_PROGRESSIVE, 1), 6)]
    + [tiff(limb(40, 30).astype(np.uint16))]
)


@given(st.sampled_from(SOURCES), st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_files_never_end_in_a_traceback(source, data):
    broken = bytearray(source[: data.draw(st.integers(0, len(source)))])
    for place in data.draw(st.lists(st.integers(0, max(len(broken) - 1, 0)), max_size=6)):
        if broken:
            broken[place] = data.draw(st.integers(0, 255))
    for allow_truncated in (False, True):
        try:
            pixels = decode_radiograph(bytes(broken), max_pixels=1 << 22, allow_truncated=allow_truncated).pixels
        except KerasOrthoError:
            continue
        assert pixels.ndim == 2 and pixels.min() >= 0 and pixels.max() <= 1


def test_every_broken_real_file_is_refused_and_no_good_one(real_data: Path):
    """Pillow, which stops where data ends, is the judge of what is broken; every 4th file and all suspects are read."""
    image = pytest.importorskip("PIL.Image")
    files = sorted((real_data / "data" / "FracAtlas" / "images").rglob("*.jpg"))
    without_end = [path for path in files if b"\xff\xd9" not in path.read_bytes()[-1024:]]
    assert len(files) > 3000 and len(without_end) > 40
    refused, broken = set(), set()
    for path in sorted({*files[::4], *without_end}):
        try:
            read_radiograph(path)
        except TruncatedImageError:
            refused.add(path.name)
        try:
            image.open(path).load()
        except OSError:
            broken.add(path.name)
    assert refused == broken and len(broken) > 40
