"""PNG and JPEG bytes as TensorFlow operations: the same grey pixels as ``radiograph/raster.py``, and the same refusals.

A decoding operation that fails takes its whole batch along, other clients' images included. Here every image is decoded
in a `tf.data` pipeline of its own that drops what fails, so that a bad image becomes a message and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from kerasortho.radiograph.raster import COLOUR_SPREAD, JPEG_END, JPEG_FILLER
from kerasortho.radiograph.reading import MAX_SIDE

EMPTY = "The image is empty."
UNKNOWN = "Neither PNG nor JPEG. Convert the image: the kerasortho client does so for DICOM, TIFF and BMP."
DAMAGED = "The image cannot be decoded: it is damaged or truncated. Get it again."
INCOMPLETE = "The JPEG is truncated: image data is missing before its end marker. Get it again."
CMYK = "This is a CMYK image, which has no channel of grey. Save it as greyscale."
COLOUR = "This is a colour image, and one channel of grey is needed. If it is only tinted, save it as greyscale."
TRANSPARENT = "The image is partly transparent. Save it as greyscale without an alpha channel."
_REFUSALS = ("", TRANSPARENT, COLOUR, INCOMPLETE)  # by the number that a decoder gives

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_DATA, _PNG_TRANSPARENCY = b"IDAT", b"tRNS"
_JPEG = b"\xff\xd8\xff"
_JPEG_SCAN = b"\xff\xda"  # start of scan; inside a scan 0xff is followed by 0, or by a restart marker's number
_EXACT = "INTEGER_ACCURATE"  # OpenCV decodes so


def decode_graph(data: tf.Tensor, max_pixels: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode one PNG or JPEG file, a string scalar, whose EXIF orientation counts as little as anywhere here.

    Returns pixels (H, W) float32 in [0, 1], bone bright, and a string that is empty or says why there are none; the
    pixels are then one black pixel.
    """
    is_png = tf.strings.substr(data, 0, len(_PNG)) == _PNG
    known = is_png | (tf.strings.substr(data, 0, len(_JPEG)) == _JPEG)
    size = _tolerantly(
        lambda d: tf.cond(is_png, lambda: _png_size(d), lambda: _jpeg_size(d)), data, tf.zeros([3], tf.int64)
    )
    problem = _first_of([
        (tf.strings.length(data) == 0, EMPTY),
        (~known, UNKNOWN),
        (tf.reduce_min(size) < 1, DAMAGED),
        (size[2] == 4, CMYK),
        (size[0] * size[1] > max_pixels, _too_large(max_pixels)),
        (tf.reduce_max(size[:2]) > MAX_SIDE, f"No side of the image may exceed {MAX_SIDE} pixels."),
    ])  # fmt: skip
    nothing = (tf.zeros([1, 1]), tf.constant(-1))

    def decode() -> tuple[tf.Tensor, tf.Tensor]:
        return _tolerantly(lambda d: tf.cond(is_png, lambda: _decode_png(d), lambda: _decode_jpeg(d)), data, nothing)

    pixels, refusal = tf.cond(problem == "", decode, lambda: nothing)
    reason = tf.where(refusal < 0, DAMAGED, tf.gather(tf.constant(_REFUSALS), tf.maximum(refusal, 0)))
    problem = tf.where(problem == "", reason, problem)
    return tf.cond(problem == "", lambda: pixels, lambda: tf.zeros([1, 1])), problem


def _too_large(max_pixels: int) -> str:
    return f"The image has more pixels than the limit of {max_pixels} that guards against decompression bombs."


def _first_of(cases: list[tuple[tf.Tensor, str]]) -> tf.Tensor:
    """Return the text of the first condition that holds, or an empty one."""
    text = tf.constant("")
    for condition, found in reversed(cases):
        text = tf.where(condition, found, text)
    return text


def _tolerantly(work: Callable[[tf.Tensor], Any], data: tf.Tensor, otherwise: Any) -> Any:
    """Return ``work(data)``, or ``otherwise`` where an operation of it fails."""
    attempt = tf.data.Dataset.from_tensors(data).map(work).ignore_errors(log_warning=False)
    return attempt.concatenate(tf.data.Dataset.from_tensors(otherwise)).take(1).get_single_element()


def _png_size(data: tf.Tensor) -> tf.Tensor:
    """Return height and width of the IHDR chunk, which comes first (PNG specification, 5.6 and 11.2.2), and 1.

    As many numbers as `_jpeg_size` gives; how many channels there are, the decoder looks up for itself.
    """
    numbers = tf.cast(tf.io.decode_raw(tf.strings.substr(data, 16, 8), tf.uint8), tf.int64)
    width, height = tf.unstack(tf.reduce_sum(tf.reshape(numbers, [2, 4]) * [1 << 24, 1 << 16, 1 << 8, 1], axis=1))
    return tf.stack([height, width, 1])


def _jpeg_size(data: tf.Tensor) -> tf.Tensor:
    """Return height, width and channels of a JPEG file, int64 (3,)."""
    return tf.cast(tf.image.extract_jpeg_shape(data), tf.int64)


def _decode_png(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    kind = tf.cast(tf.io.decode_raw(tf.strings.substr(data, 24, 2), tf.uint8), tf.int32)  # bit depth, colour type

    def grey() -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.io.decode_png(data, channels=1, dtype=tf.uint16)[..., 0]
        return tf.cast(pixels, tf.float32) / 65535.0, tf.constant(0)

    def others() -> tuple[tf.Tensor, tf.Tensor]:
        return tf.cond(
            kind[0] == 16,
            lambda: _decode_colours(data, kind[1], tf.uint16),
            lambda: _decode_colours(data, kind[1], tf.uint8),
        )

    return tf.cond(kind[1] == 0, grey, others)


def _decode_colours(data: tf.Tensor, colour_type: tf.Tensor, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode a PNG file with more channels than grey: with no more bits, and no more channels, than it has.

    A plate stored in colour has 200 MB of samples; as 32-bit numbers with a channel of nothing it would have 1.4 GB.
    """

    def opaque() -> tuple[tf.Tensor, tf.Tensor]:
        samples = tf.io.decode_png(data, channels=3, dtype=dtype)
        return _luminance(samples), _colour_refusal(samples)

    def with_alpha() -> tuple[tf.Tensor, tf.Tensor]:
        samples = tf.io.decode_png(data, channels=4, dtype=dtype)
        transparent = tf.reduce_min(samples[..., 3]) < dtype.max
        return _luminance(samples), tf.where(transparent, 1, _colour_refusal(samples[..., :3]))

    before_data = tf.strings.split(data, _PNG_DATA)[0]  # a transparent colour is named there
    has_alpha = (colour_type >= 4) | (tf.size(tf.strings.split(before_data, _PNG_TRANSPARENCY)) > 1)
    pixels, refusal = tf.cond(has_alpha, with_alpha, opaque)
    return tf.cast(pixels, tf.float32) / float(dtype.max), refusal


def _decode_jpeg(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode the luminance, which is stored by itself, and look at the colours in half size."""
    grey = tf.io.decode_jpeg(data, channels=1, dct_method=_EXACT)
    refusal = _colour_refusal(tf.io.decode_jpeg(data, channels=3, ratio=2))
    complete = _is_complete(data, grey) & _restarts_in_order(data)
    return tf.cast(grey[..., 0], tf.float32) / 255.0, tf.where(complete, refusal, 3)


def _is_complete(data: tf.Tensor, grey: tf.Tensor) -> tf.Tensor:
    """Tell whether no image data is missing before the end marker, by the probe that `raster._decode_jpeg` describes.

    The last row is left out: its decoding would end with libjpeg's complaint about the filler, in the server's log.
    """
    body = tf.strings.reduce_join(tf.strings.split(data, JPEG_END)[:-1], separator=JPEG_END)
    rows = tf.maximum(tf.shape(grey)[0] - 1, 1)
    probe = tf.image.decode_and_crop_jpeg(
        tf.strings.join([body, tf.constant(JPEG_FILLER)]), tf.stack([0, 0, rows, tf.shape(grey)[1]]),
        channels=1, dct_method=_EXACT, try_recover_truncated=True, acceptable_fraction=0.0,
    )  # fmt: skip
    return tf.reduce_all(probe == grey[:rows])


def _restarts_in_order(data: tf.Tensor) -> tf.Tensor:
    """Tell whether the restart markers of the last scan are numbered 0 to 7 over and over (T.81, E.1.4)."""
    scan = tf.io.decode_raw(tf.strings.split(data, _JPEG_SCAN)[-1], tf.uint8)
    first, second = scan[:-1], scan[1:]
    numbers = tf.boolean_mask(second, (first == 0xFF) & (second >= 0xD0) & (second <= 0xD7))
    return tf.reduce_all(tf.cast(numbers, tf.int32) == 0xD0 + tf.range(tf.size(numbers)) % 8)


def _colour_refusal(samples: tf.Tensor) -> tf.Tensor:
    """Return 2 for an image (H, W, 3) of unsigned integers whose channels differ as a whole, else 0; see raster.py."""
    spread = tf.reduce_max(samples, axis=-1) - tf.reduce_min(samples, axis=-1)
    mean = tf.reduce_mean(tf.cast(spread, tf.float32)) * 255.0 / float(samples.dtype.max)
    return tf.where(mean > COLOUR_SPREAD, 2, 0)


def _luminance(samples: tf.Tensor) -> tf.Tensor:
    """Return the brightness (H, W) int32 of (H, W, 3 or 4): ITU-R BT.601 in fixed point, as OpenCV's COLOR_BGR2GRAY."""
    total = tf.constant(1 << 14)
    for channel, weight in enumerate((9798, 19235, 3735)):
        total += tf.cast(samples[..., channel], tf.int32) * weight
    return tf.bitwise.right_shift(total, 15)
