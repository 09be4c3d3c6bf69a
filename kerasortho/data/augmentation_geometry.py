"""Moving an image and its labels together: one transform, one interpolation."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from kerasortho.data.augmentation_spec import Augmentation

Tensor = Any

ELASTIC_GRID = 5  # knots of the elastic displacement field in each direction


def moves(spec: Augmentation) -> bool:
    """Return whether ``spec`` changes positions at all."""
    amounts = (spec.quarter_turn, spec.rotation, spec.shift, spec.elastic)
    return spec.horizontal_flip or spec.vertical_flip or any(amounts) or spec.scale != (1.0, 1.0)


def move(
    image: Tensor, labels: Tensor, u: dict[str, Tensor], seed: Tensor, spec: Augmentation
) -> tuple[Tensor, Tensor]:
    """Return image (bilinear) and labels (nearest), both moved alike; outside is 0.

    Args:
        image: ``(h, w, 1)`` float32.
        labels: ``(h, w, K)`` float32.
        u: even draws in [0, 1) by name.
        seed: ``(2,)`` int32, for the elastic field.
        spec: the amounts.
    """
    height, width = image.shape[0], image.shape[1]
    coefficients = _output_to_input(height, width, u, spec)
    if not spec.elastic:
        return _project(image, coefficients, "BILINEAR"), _project(labels, coefficients, "NEAREST")
    a, b, c, d, e, f = coefficients
    x, y = tf.range(width, dtype=tf.float32)[tf.newaxis, :], tf.range(height, dtype=tf.float32)[:, tf.newaxis]
    field = _displacement(height, width, spec.elastic, seed)
    return _sample(image, labels, d * x + e * y + f + field[..., 0], a * x + b * y + c + field[..., 1])


def _output_to_input(height: int, width: int, u: dict[str, Tensor], spec: Augmentation) -> list[Tensor]:
    """Return a, b, c, d, e, f of x' = a x + b y + c, y' = d x + e y + f, from output to input pixel centres."""
    turned = u["quarter_gate"] < spec.quarter_turn
    quarter = tf.where(turned, 1.0 + tf.floor(3.0 * u["quarter"]), 0.0)
    angle = quarter * (math.pi / 2) + math.radians(spec.rotation) * (2.0 * u["rotation"] - 1.0)
    smallest, largest = (math.log(limit) for limit in spec.scale)
    scale = tf.exp(smallest + (largest - smallest) * u["scale"])
    sideways = tf.equal(quarter % 2.0, 1.0)  # a turned image is fitted into the frame again
    scale *= tf.where(sideways, min(height, width) / max(height, width), 1.0)
    flip_x = tf.where(u["flip_x"] < 0.5, -1.0, 1.0) if spec.horizontal_flip else 1.0
    flip_y = tf.where(u["flip_y"] < 0.5, -1.0, 1.0) if spec.vertical_flip else 1.0
    cosine, sine = tf.cos(angle) / scale, tf.sin(angle) / scale
    a, b, d, e = flip_x * cosine, flip_x * sine, -flip_y * sine, flip_y * cosine
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    moved_x = centre_x + spec.shift * width * (2.0 * u["shift_x"] - 1.0)
    moved_y = centre_y + spec.shift * height * (2.0 * u["shift_y"] - 1.0)
    return [a, b, centre_x - a * moved_x - b * moved_y, d, e, centre_y - d * moved_x - e * moved_y]


def _project(values: Tensor, coefficients: list[Tensor], interpolation: str) -> Tensor:
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=values[tf.newaxis],
        transforms=tf.stack([*coefficients, 0.0, 0.0])[tf.newaxis],
        output_shape=[values.shape[0], values.shape[1]],
        fill_value=0.0,
        interpolation=interpolation,
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(moved[0], values.shape)


def _displacement(height: int, width: int, largest: float, seed: Tensor) -> Tensor:
    """Return a smooth random field ``(h, w, 2)`` in pixels: random at coarse knots, cubic between them."""
    knots = tf.random.stateless_uniform([ELASTIC_GRID, ELASTIC_GRID, 2], seed, -largest, largest)
    return tf.image.resize(knots, (height, width), "bicubic")


def _sample(image: Tensor, labels: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return image (bilinear) and labels (nearest) at rows ``y`` and columns ``x``, ``(h, w)`` float32 each.

    A frame of two zeros around both answers for every position outside.
    """
    height, width = image.shape[0], image.shape[1]
    top, left = tf.floor(y), tf.floor(x)
    below, right = y - top, x - left
    stride = width + 4
    row = tf.cast(tf.clip_by_value(top, -2.0, float(height)), tf.int32) + 2
    column = tf.cast(tf.clip_by_value(left, -2.0, float(width)), tf.int32) + 2
    corner = row * stride + column

    grey = _frame(image)[..., 0]
    neighbours = tf.stack([grey[:-1, :-1], grey[:-1, 1:], grey[1:, :-1], grey[1:, 1:]], axis=-1)  # gathered at once
    neighbours = tf.pad(neighbours, [[0, 1], [0, 1], [0, 0]])
    upper, upper_right, lower, lower_right = tf.unstack(tf.gather(tf.reshape(neighbours, [-1, 4]), corner), axis=-1)
    upper += right * (upper_right - upper)
    lower += right * (lower_right - lower)
    moved = (upper + below * (lower - upper))[..., tf.newaxis]

    nearest = corner + tf.where(below < 0.5, 0, stride) + tf.where(right < 0.5, 0, 1)
    return moved, tf.gather(tf.reshape(_frame(labels), [-1, labels.shape[-1]]), nearest)


def _frame(values: Tensor) -> Tensor:
    return tf.pad(values, [[2, 2], [2, 2], [0, 0]])
