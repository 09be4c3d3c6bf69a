"""The preprocessing of ``radiograph/preprocessing.py`` as TensorFlow operations, to travel inside an exported model.

Two matrix products and one sort: image sizes may be unknown when the graph is built, and all converts to LiteRT.
Sizes are counted in 32-bit integers: exact for images up to 65,535 and inputs up to 4,096 pixels a side.
"""

from __future__ import annotations

import tensorflow as tf

from kerasortho.radiograph.preprocessing import PERCENTILE_STEPS, SMALLEST_CONTRAST, Preprocessing

_OUTSIDE = -1.0  # below every pixel value: padding sorts behind the content


def preprocess_graph(pixels: tf.Tensor, spec: Preprocessing) -> tf.Tensor:
    """Turn ``pixels`` (H, W) float32 in [0, 1] into a model's input (h, w) float32 in [0, 1], as ``preprocess``."""
    shape = tf.shape(pixels)
    top, left, height, width = letterbox_graph(shape[0], shape[1], spec.size)
    content = _resample(pixels, shape[0], shape[1], height, width)
    (h, w) = spec.size
    margins = [[top, h - height - top], [left, w - width - left]]
    canvas = tf.reshape(tf.pad(content, margins, constant_values=_OUTSIDE), [h, w])
    stretched = canvas
    if spec.intensity == "percentile":
        low, high = _percentiles(canvas, height * width, (spec.low, spec.high))
        stretched = (canvas - low) / tf.maximum(high - low, SMALLEST_CONTRAST)
    clipped = tf.clip_by_value(stretched, 0.0, 1.0)
    return tf.where(canvas > _OUTSIDE / 2, clipped, tf.zeros_like(clipped))


def to_native_graph(probability: tf.Tensor, shape: tf.Tensor, spec: Preprocessing) -> tf.Tensor:
    """Map ``probability`` (h, w) float32 back to the image's own ``shape``, int32 (H, W), as ``to_native`` does."""
    rows, columns = shape[0], shape[1]
    top, left, height, width = letterbox_graph(rows, columns, spec.size)
    content = probability[top : top + height, left : left + width]
    return _resample(content, height, width, rows, columns)


def letterbox_graph(
    rows: tf.Tensor, columns: tf.Tensor, size: tuple[int, int]
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return top, left, height and width (int32) of the content of an image of (rows, columns) in ``size`` (h, w)."""
    h, w = size
    tall = h * columns <= w * rows
    height = tf.where(tall, h, tf.maximum(1, (2 * rows * w + columns) // (2 * columns)))
    width = tf.where(tall, tf.maximum(1, (2 * columns * h + rows) // (2 * rows)), w)
    return (h - height) // 2, (w - width) // 2, height, width


def resampling_matrix_graph(source: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Return the (target, source) float32 matrix of ``resampling_matrix`` for int32 scalars."""
    centres = (2 * tf.range(target)[:, None] + 1) * source
    positions = (2 * tf.range(source)[None, :] + 1) * target
    weights = tf.cast(tf.maximum(2 * tf.maximum(source, target) - tf.abs(centres - positions), 0), tf.float32)
    return weights / tf.reduce_sum(weights, axis=1, keepdims=True)


def _resample(image: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    vertical = resampling_matrix_graph(rows, height)
    horizontal = resampling_matrix_graph(columns, width)
    return tf.matmul(tf.matmul(vertical, image), horizontal, transpose_b=True)


def _percentiles(canvas: tf.Tensor, count: tf.Tensor, percents: tuple[float, float]) -> tuple[tf.Tensor, tf.Tensor]:
    """Return two percentiles of the ``count`` content values of ``canvas`` (h, w), interpolated linearly.

    The place among the sorted values, (count - 1) * percent / 100, is worked out in integers: float32 would be off by
    thousandths of a place, and 32 bits overflow unless the count is split.
    """
    descending = tf.math.top_k(tf.reshape(canvas, [-1]), k=canvas.shape[0] * canvas.shape[1]).values
    unit = 100 * PERCENTILE_STEPS
    results = []
    for percent in percents:
        steps = round(percent * PERCENTILE_STEPS)
        thousands, rest = (count - 1) // 1000 * steps, (count - 1) % 1000 * steps
        remainder = thousands % (unit // 1000) * 1000 + rest
        below = count - 1 - (thousands // (unit // 1000) + remainder // unit)
        fraction = tf.cast(remainder % unit, tf.float32) / unit
        smaller, larger = tf.gather(descending, below), tf.gather(descending, tf.maximum(below - 1, 0))
        results.append(smaller + (larger - smaller) * fraction)
    return results[0], results[1]
