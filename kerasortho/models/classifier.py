"""Recognition: a pretrained backbone, its lower layers frozen, and a small trained head."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.models.backbones import build_backbone, call_backbone
from kerasortho.models.batchnorm import AUTO

POOLINGS = ("avg", "max", "avgmax")


def build_classifier(
    backbone: str,
    *,
    input_size: tuple[int, int],
    classes: int,
    weights: str | None = "imagenet",
    learn_batchnorm_from: str | None = AUTO,
    pooling: str = "avg",
    dropout: float = 0.2,
    hidden_units: int = 0,
) -> keras.Model:
    """Return an image classifier by transfer learning (Zhang 2024, doi:10.32629/jcmr.v5i2.2332).

    The base is frozen and runs in inference mode for good, so its BatchNorm statistics stay ImageNet's; which of its
    layers are trained is decided by `kerasortho.models.fine_tuning.unfreeze`. BatchNorm layers that were never trained
    are the exception: they learn where the layers around them do.

    Layers: "image" -> "grey_to_channels" -> "input_scaling" -> "backbone" (nested) -> "pool" -> "dropout" ->
    "logits" -> "probabilities".

    Args:
        backbone: key of `kerasortho.models.backbones.BACKBONES`, such as "resnet50".
        input_size: height and width, in pixels, at least 32.
        classes: number of classes, at least 2.
        weights: "imagenet", the path of a weights file of the base without top, or None for random values.
        learn_batchnorm_from: the base's BatchNorm layers from this one on learn, such as "conv5_block1"; None: none;
            "auto": from the first that holds no statistics, as with weights files that leave out the last stage.
        pooling: "avg", "max", or "avgmax" for both side by side.
        dropout: fraction of pooled features dropped in training, in [0, 1).
        hidden_units: width of one ReLU layer between pooling and logits; 0 for none.

    Returns:
        A model from "image" ``(B, H, W, 1)`` float32 in [0, 1] to "probabilities" ``(B, classes)`` float32 (softmax).

    Raises:
        KerasOrthoError: for an unknown or unusable argument, or weights that cannot be loaded.
    """
    check_arguments(input_size, classes, pooling, dropout, hidden_units)
    image = keras.Input((*input_size, 1), name="image", dtype="float32")
    base = build_backbone(backbone, input_size, weights=weights, learn_batchnorm_from=learn_batchnorm_from)
    features = call_backbone(base, image, backbone)
    x = _pool(features, pooling)
    if hidden_units:
        x = layers.Dense(hidden_units, activation="relu", name="hidden")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    logits = layers.Dense(classes, name="logits", dtype="float32")(x)
    probabilities = layers.Activation("softmax", name="probabilities", dtype="float32")(logits)
    return keras.Model(image, probabilities, name=backbone)


def _pool(features: Any, pooling: str) -> Any:
    if pooling == "avg":
        return layers.GlobalAveragePooling2D(name="pool")(features)
    if pooling == "max":
        return layers.GlobalMaxPooling2D(name="pool")(features)
    average = layers.GlobalAveragePooling2D(name="average_pool")(features)
    return layers.Concatenate(name="pool")([average, layers.GlobalMaxPooling2D(name="max_pool")(features)])


def check_arguments(size: tuple[int, int], classes: int, pooling: str, dropout: float, hidden_units: int) -> None:
    """Raise KerasOrthoError naming the argument of a classifier that is out of range."""
    if min(size) < 32:
        raise KerasOrthoError(f"The input must be at least 32 pixels high and wide. Received: {tuple(size)}.")
    if classes < 2:
        raise KerasOrthoError(f"A classifier needs at least 2 classes. Received: {classes}.")
    if pooling not in POOLINGS:
        raise KerasOrthoError(
            f'"pooling" must be one of {", ".join(POOLINGS)}. Received: {pooling!r}.{did_you_mean(pooling, POOLINGS)}'
        )
    if not 0 <= dropout < 1:
        raise KerasOrthoError(f'"dropout" must be from 0 to below 1. Received: {dropout!r}.')
    if hidden_units < 0:
        raise KerasOrthoError(f'"hidden_units" must be 0 (none) or a width. Received: {hidden_units!r}.')
