"""Training images varied at random: position, exposure, sharpness; image, mask and weights always together.

Written against what differs between hospitals: exposure and vendor processing, scale, collimation, orientation and
resolution. Stateless: the seed alone decides, so a resumed run sees the same images.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kerasortho.data import augmentation_geometry as geometry
from kerasortho.data import augmentation_intensity as intensity
from kerasortho.data.augmentation_spec import Augmentation

Tensor = Any

_DRAWS = (  # one even number in [0, 1) for each, always in this order, so that switching one on leaves the others alone
    *("flip_x", "flip_y", "quarter_gate", "quarter", "rotation", "scale", "shift_y", "shift_x"),
    *("collimation_gate", "collimation_fill", "gamma", "contrast", "brightness", "invert"),
    *("local_contrast_gate", "local_contrast", "blur_gate", "blur", "resolution_gate", "resolution"),
    *("noise_gate", "noise"),
)


@tf.autograph.experimental.do_not_convert  # plain Python branches on the spec, tf.cond on the draws
def augment(
    image: Tensor, targets: Tensor | None, seed: Tensor, spec: Augmentation, content: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Return a random variation of one image and its targets; the same seed gives the same variation.

    Args:
        image: ``(h, w, 1)`` float32 in [0, 1], of known size.
        targets: ``(h, w, K)`` float32 or None. Channel 0 is the mask: covered bone (collimation) is no bone. The others
            are weights and only move. All are resampled to the nearest pixel and are 0 outside the original image.
        seed: ``(2,)`` int32.
        spec: what is varied, and how much. All off: image and targets are returned as they are.
        content: ``(h, w, 1)`` float32 {0, 1}, 1 on the radiograph and 0 on letterbox padding; None where there is no
            padding. Padding and everything moved in from outside stay exactly 0, as they are when the model is used.

    Returns:
        Image and targets, of the shapes given.
    """
    if spec.is_identity:
        return image, targets
    u = dict(zip(_DRAWS, tf.unstack(tf.random.stateless_uniform([len(_DRAWS)], seed)), strict=True))
    content = tf.ones_like(image) if content is None else content
    if spec.collimation:
        image, targets = _collimate(image, targets, content, u, seed, spec)
    if geometry.moves(spec):
        labels = content if targets is None else tf.concat([targets, content], axis=-1)
        image, labels = geometry.move(image, labels, u, fold(seed, 1), spec)
        content = labels[..., -1:]
        targets = None if targets is None else labels[..., :-1]
    image = _vary_intensity(image, content, u, seed, spec)
    return tf.clip_by_value(image, 0.0, 1.0) * content, targets


def fold(seed: Tensor, number: int) -> Tensor:
    """Return an independent seed for draw ``number``."""
    return tf.random.experimental.stateless_fold_in(seed, number)


def _collimate(
    image: Tensor, targets: Tensor | None, content: Tensor, u: dict[str, Tensor], seed: Tensor, spec: Augmentation
) -> tuple[Tensor, Tensor | None]:
    """Cover some borders with shutters, dark or bright; the mask ends at them."""

    def covered() -> tuple[Tensor, Tensor]:
        open_field = intensity.open_field(content, fold(seed, 2))
        fill = tf.where(u["collimation_fill"] < 0.5, 0.0, 1.0)
        return tf.where(open_field, image, fill * content), tf.cast(open_field, tf.float32)

    image, visible = tf.cond(u["collimation_gate"] < spec.collimation, covered, lambda: (image, tf.ones_like(image)))
    if targets is not None:
        targets = tf.concat([targets[..., :1] * visible, targets[..., 1:]], axis=-1)
    return image, targets


def _vary_intensity(image: Tensor, content: Tensor, u: dict[str, Tensor], seed: Tensor, spec: Augmentation) -> Tensor:
    """Apply what a detector and a vendor's processing change, in the order in which they do."""
    if spec.blur:
        sigma = spec.blur * u["blur"]
        image = _half_of_images(u["blur_gate"], lambda x: intensity.blur(x, sigma, spec.blur), image)
    if spec.resolution_loss:
        factor = 1 - spec.resolution_loss * u["resolution"]
        image = _half_of_images(u["resolution_gate"], lambda x: intensity.lose_resolution(x, factor), image)
    if spec.noise:
        sd = spec.noise * u["noise"]
        image = _half_of_images(u["noise_gate"], lambda x: intensity.add_noise(x, sd, fold(seed, 3)), image)
    if spec.local_contrast:
        amount = spec.local_contrast * u["local_contrast"]
        image = _half_of_images(u["local_contrast_gate"], lambda x: intensity.sharpen(x, amount), image)
    if spec.gamma or spec.tone_curve or spec.contrast or spec.brightness or spec.invert:
        image = intensity.vary_tones(image, content, u, fold(seed, 4), spec)
    return image


def _half_of_images(gate: Tensor, change: Any, image: Tensor) -> Tensor:
    """Apply ``change`` where ``gate``, even in [0, 1), is below a half; the other half costs nothing."""
    return tf.cond(gate < 0.5, lambda: tf.ensure_shape(change(image), image.shape), lambda: image)
