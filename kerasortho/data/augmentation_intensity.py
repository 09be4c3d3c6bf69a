"""Changes of grey levels and sharpness: another exposure, another vendor's processing, a worse detector."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from kerasortho.data.augmentation_spec import Augmentation

Tensor = Any

LARGEST_SHUTTER = 1 / 3  # of the radiograph's height or width, at each border
TONE_PIECES = 6  # of the broken line that stands for another look-up table
CURVE_STEPS = 4096  # grey levels: 12 bit
LOCAL_NEIGHBOURHOODS = 12  # local contrast is judged against means over this many parts of the image, each way


def open_field(content: Tensor, seed: Tensor) -> Tensor:
    """Return where a random rectangle of collimator shutters lets one see, ``(h, w, 1)`` bool.

    Each border of the radiograph has a shutter with probability 1/2, reaching in by up to `LARGEST_SHUTTER`.
    """
    draws = tf.random.stateless_uniform([2, 4], seed)
    shutters = tf.where(draws[0] < 0.5, LARGEST_SHUTTER * draws[1], 0.0)
    rows = _inside(tf.reduce_max(content[..., 0], axis=1), shutters[0], shutters[1])
    columns = _inside(tf.reduce_max(content[..., 0], axis=0), shutters[2], shutters[3])
    return (rows[:, tf.newaxis] & columns[tf.newaxis, :])[..., tf.newaxis]


def _inside(occupied: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Return which places along a line are between two shutters, given where the radiograph is ``(n,)`` {0, 1}."""
    places = tf.range(occupied.shape[0], dtype=tf.float32)
    last = tf.reduce_max(places * occupied)
    first = tf.reduce_min(tf.where(occupied > 0, places, float(occupied.shape[0])))
    length = last - first
    return (places >= first + before * length) & (places <= last - after * length)


def vary_tones(image: Tensor, content: Tensor, u: dict[str, Tensor], seed: Tensor, spec: Augmentation) -> Tensor:
    """Send ``(h, w, 1)`` through one random grey-scale curve: exposure, look-up table, contrast, brightness, inversion.

    The curve is worked out at `CURVE_STEPS` grey levels and looked up, which costs the same however much is varied.
    """
    curve = tf.linspace(0.0, 1.0, CURVE_STEPS)
    if spec.gamma:
        curve **= tf.exp(spec.gamma * either_way(u["gamma"]))
    if spec.tone_curve:
        curve = _bend(curve, spec.tone_curve, seed)
    if spec.contrast:
        mean = tf.reduce_sum(image * content) / tf.maximum(tf.reduce_sum(content), 1.0)
        pivot = tf.gather(curve, _level(mean))
        curve = pivot + (curve - pivot) * tf.exp(spec.contrast * either_way(u["contrast"]))
    if spec.brightness:
        curve += spec.brightness * either_way(u["brightness"])
    if spec.invert:
        curve = tf.where(u["invert"] < spec.invert, 1.0 - curve, curve)
    return tf.gather(curve, _level(image))


def _level(image: Tensor) -> Tensor:
    return tf.cast(tf.clip_by_value(image, 0.0, 1.0) * (CURVE_STEPS - 1) + 0.5, tf.int32)


def _bend(curve: Tensor, strength: float, seed: Tensor) -> Tensor:
    """Send grey levels ``(n,)`` through a rising broken line with knots at random heights, 0 -> 0 and 1 -> 1."""
    steps = tf.random.stateless_uniform([TONE_PIECES], seed, 1.0 - strength, 1.0 + strength) + 1e-3
    heights = tf.concat([[0.0], tf.cumsum(steps) / tf.reduce_sum(steps)], axis=0)
    position = curve * TONE_PIECES
    knot = tf.minimum(tf.floor(position), TONE_PIECES - 1.0)
    index = tf.cast(knot, tf.int32)
    start = tf.gather(heights, index)
    return start + (tf.gather(heights, index + 1) - start) * (position - knot)


def either_way(u: Tensor) -> Tensor:
    """Return a number in [0, 1) as one in [-1, 1)."""
    return 2.0 * u - 1.0


def sharpen(image: Tensor, amount: Tensor) -> Tensor:
    """Add ``amount`` times the difference to the local mean (unsharp masking at a wide radius)."""
    height, width = image.shape[0], image.shape[1]
    window = max(2, round(max(height, width) / LOCAL_NEIGHBOURHOODS))
    coarse = tf.nn.avg_pool2d(image[tf.newaxis], window, window, "SAME")
    local_mean = tf.image.resize(coarse, (height, width), "bilinear")[0]
    return image + amount * (image - local_mean)


def blur(image: Tensor, sigma: Tensor, largest: float) -> Tensor:
    """Blur ``(h, w, 1)`` with a Gaussian of ``sigma`` pixels, at most ``largest``; the border is mirrored."""
    height, width = image.shape[0], image.shape[1]
    radius = min(math.ceil(3 * largest), height - 1, width - 1)
    offsets = tf.range(-radius, radius + 1, dtype=tf.float32)
    kernel = tf.exp(-0.5 * tf.square(offsets / tf.maximum(sigma, 1e-3)))
    kernel /= tf.reduce_sum(kernel)
    padded = tf.pad(image, [[radius, radius], [radius, radius], [0, 0]], "REFLECT")[tf.newaxis]
    rows = tf.nn.conv2d(padded, tf.reshape(kernel, [-1, 1, 1, 1]), 1, "VALID")
    return tf.nn.conv2d(rows, tf.reshape(kernel, [1, -1, 1, 1]), 1, "VALID")[0]


def lose_resolution(image: Tensor, factor: Tensor) -> Tensor:
    """Shrink ``(h, w, 1)`` to ``factor`` of its size, antialiased, and enlarge it again."""
    shape = tf.constant([image.shape[0], image.shape[1]], tf.float32)
    small = tf.maximum(tf.cast(tf.round(shape * factor), tf.int32), 1)
    shrunk = tf.image.resize(image, small, "bilinear", antialias=True)
    return tf.image.resize(shrunk, image.shape[:2], "bilinear")


def add_noise(image: Tensor, sd: Tensor, seed: Tensor) -> Tensor:
    """Add Gaussian noise of standard deviation ``sd`` to ``(h, w, 1)``."""
    return image + sd * tf.random.stateless_normal(image.shape, seed)
