"""A small residual network (He 2016) for recognition from nothing: where no pretrained weights are at hand."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from kerasortho.errors import KerasOrthoError
from kerasortho.models.classifier import check_arguments
from kerasortho.models.segmentation_head import conv_bn_relu


def build_small_resnet(
    *, input_size: tuple[int, int], classes: int, base_filters: int = 16, depth: int = 4, dropout: float = 0.2
) -> keras.Model:
    """Return a classifier of ``depth`` stages, each a halving and one residual block, all of it trained.

    Layers: "image" -> "stem" -> ``stage_i_*`` (stride ``2**(i+1)``, ``base_filters * 2**i`` filters) -> "pool" ->
    "dropout" -> "logits" -> "probabilities". There is no backbone: ``unfreeze_from`` does not apply.

    Args:
        input_size: height and width in pixels, at least 32.
        classes: number of classes, at least 2.
        base_filters: filters of the first stage.
        depth: number of stages, 1 to 6.
        dropout: fraction of pooled features dropped in training, in [0, 1).

    Returns:
        A model from "image" ``(B, H, W, 1)`` float32 in [0, 1] to "probabilities" ``(B, classes)`` float32 (softmax).

    Raises:
        KerasOrthoError: for an argument out of range.
    """
    check_arguments(input_size, classes, "avg", dropout, 0)
    if not 1 <= depth <= 6 or base_filters < 1:
        raise KerasOrthoError(
            f'"depth" must be from 1 to 6 and "base_filters" at least 1. Received: {depth!r}, {base_filters!r}.'
        )
    image = keras.Input((*input_size, 1), name="image", dtype="float32")
    x = conv_bn_relu(image, base_filters, "stem")
    for stage in range(depth):
        x = _stage(x, base_filters * 2**stage, f"stage_{stage}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    logits = layers.Dense(classes, name="logits", dtype="float32")(x)
    probabilities = layers.Activation("softmax", name="probabilities", dtype="float32")(logits)
    return keras.Model(image, probabilities, name="small_resnet")


def _stage(x: Any, filters: int, name: str) -> Any:
    """Halve, widen to ``filters``, and add a residual: ``(B, h, w, C)`` -> ``(B, h/2, w/2, filters)``."""
    x = layers.MaxPooling2D(2, padding="same", name=f"{name}_halve")(x)
    x = conv_bn_relu(x, filters, f"{name}_widen")
    residual = conv_bn_relu(x, filters, f"{name}_residual")
    return layers.Add(name=f"{name}_add")([x, residual])
