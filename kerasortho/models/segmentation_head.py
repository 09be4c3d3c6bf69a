"""What every segmentation network shares: its input rule, its convolution pair, its upsampling and its output."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers

from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.models.batchnorm import MOMENTUM

UPSAMPLINGS = ("transposed", "bilinear")
ACTIVATIONS = ("sigmoid", "softmax")


def check_option(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raise KerasOrthoError with a did-you-mean unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        raise KerasOrthoError(
            f'"{name}" must be one of {", ".join(allowed)}. Received: {value!r}.{did_you_mean(str(value), allowed)}'
        )


def check_divisible(size: tuple[int, int], stride: int) -> None:
    """Raise KerasOrthoError naming the nearest valid sizes unless height and width are multiples of ``stride``."""
    for what, pixels in zip(("height", "width"), size, strict=True):
        if pixels < stride or pixels % stride:
            below, above = pixels // stride * stride, (pixels // stride + 1) * stride
            nearest = f"{below} and {above}" if below >= stride else f"{above}"
            raise KerasOrthoError(
                f"This network halves its input down to 1/{stride}, so the {what} in preprocessing.size must be a "
                f"multiple of {stride}. Received: {pixels}. Nearest valid: {nearest}."
            )


def conv_pair(x: Any, filters: int, name: str) -> Any:
    """Return two 3 x 3 convolutions, each with BatchNorm and ReLU: ``(B, h, w, C)`` -> ``(B, h, w, filters)``."""
    for step in (1, 2):
        x = conv_bn_relu(x, filters, f"{name}_{step}")
    return x


def conv_bn_relu(x: Any, filters: int, name: str) -> Any:
    """Return a 3 x 3 convolution, BatchNorm and ReLU: ``(B, h, w, C)`` -> ``(B, h, w, filters)``."""
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv")(
        x
    )
    x = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def upsample(x: Any, filters: int, kind: str, name: str) -> Any:
    """Return ``x`` at twice the size with ``filters`` channels: a 2 x 2 transposed convolution ("transposed"), or
    bilinear interpolation after a 1 x 1 convolution ("bilinear")."""
    if kind == "transposed":
        return layers.Conv2DTranspose(filters, 2, strides=2, kernel_initializer="he_normal", name=f"{name}_up")(x)
    x = layers.Conv2D(filters, 1, kernel_initializer="he_normal", name=f"{name}_reduce")(x)
    return layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_up")(x)


def probability_output(x: Any, activation: str, prior: float | None, *, enlarge: int = 1) -> Any:
    """Return the float32 output layer "probability": ``(B, h, w, 1)`` sigmoid, or ``(B, h, w, 2)`` softmax.

    The last channel is the foreground either way. Logits are enlarged bilinearly by the factor ``enlarge``, from
    ``x`` ``(B, h / enlarge, w / enlarge, C)``. ``prior``, the expected share of foreground, sets the bias so that
    training starts from answers near it; cross-entropy then does not begin by unlearning a guess of one half
    (Lin 2017, doi:10.1109/ICCV.2017.324, section 4.1).
    """
    check_option("activation", activation, ACTIVATIONS)
    bias = 0.0
    if prior is not None:
        if not 0 < prior < 1:
            raise KerasOrthoError(f'"prior" must be a share of foreground between 0 and 1. Received: {prior!r}.')
        bias = math.log(prior / (1 - prior))
    channels = 1 if activation == "sigmoid" else 2
    head = layers.Conv2D(channels, 1, name="logits", dtype="float32")
    logits = head(x)
    if prior is not None:
        head.bias.assign([bias] if channels == 1 else [0.0, bias])
        head.kernel.assign(head.kernel * 0.1)  # so that the prior is not drowned by random features
    if enlarge > 1:
        logits = layers.UpSampling2D(enlarge, interpolation="bilinear", name="logits_up", dtype="float32")(logits)
    return layers.Activation(activation, name="probability", dtype="float32")(logits)


def segmentation_input(input_size: tuple[int, int]) -> Any:
    """Return the input "image", ``(B, H, W, 1)`` float32 in [0, 1]."""
    return keras.Input((*input_size, 1), name="image", dtype="float32")
