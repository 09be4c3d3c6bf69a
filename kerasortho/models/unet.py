"""The U-Net of Ronneberger, Fischer and Brox 2015 (doi:10.1007/978-3-319-24574-4_28) in its modern form."""

from __future__ import annotations

import keras
from keras import layers

from kerasortho.errors import KerasOrthoError
from kerasortho.models.segmentation_head import (
    UPSAMPLINGS,
    check_divisible,
    check_option,
    conv_pair,
    probability_output,
    segmentation_input,
    upsample,
)


def build_unet(
    *,
    input_size: tuple[int, int],
    depth: int = 4,
    base_filters: int = 64,
    max_filters: int = 1024,
    upsampling: str = "transposed",
    dropout: float = 0.0,
    activation: str = "sigmoid",
    prior: float | None = None,
) -> keras.Model:
    """Return a U-Net: ``depth`` halvings, the way back up, and a skip connection at every scale.

    Depth 4 with 64 base filters is the paper's network (31.05 million parameters with transposed upsampling). Modern
    form: convolutions keep the size ("same" padding), so the output is as large as the input, and BatchNorm follows
    each of them. Level ``i`` has ``base_filters * 2**i`` filters and layers named ``encoder_i_*`` and ``decoder_i_*``;
    the lowest is ``bottom_*``.

    Args:
        input_size: height and width in pixels, multiples of ``2**depth``.
        depth: number of halvings, 1 to 6.
        base_filters: filters at full resolution.
        max_filters: no level has more than this.
        upsampling: "transposed" (2 x 2 transposed convolution, as in the paper) or "bilinear".
        dropout: fraction dropped after the two lowest levels' convolutions in training, in [0, 1).
        activation: "sigmoid", or "softmax" over two channels (background, foreground).
        prior: expected share of foreground pixels, to set the output's bias; None leaves it at one half.

    Returns:
        A model from "image" ``(B, H, W, 1)`` float32 in [0, 1] to "probability" ``(B, H, W, 1)`` float32, or
        ``(B, H, W, 2)`` with softmax.

    Raises:
        KerasOrthoError: for an argument out of range, or a size that does not fit the depth.
    """
    _check_arguments(depth, base_filters, max_filters, dropout)
    check_option("upsampling", upsampling, UPSAMPLINGS)
    check_divisible(input_size, 2**depth)
    filters = [min(base_filters * 2**level, max_filters) for level in range(depth + 1)]

    image = segmentation_input(input_size)
    x, skips = image, []
    for level in range(depth):
        x = conv_pair(x, filters[level], f"encoder_{level}")
        if dropout and level == depth - 1:
            x = layers.Dropout(dropout, name=f"encoder_{level}_dropout")(x)
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"encoder_{level}_pool")(x)

    x = conv_pair(x, filters[depth], "bottom")
    if dropout:
        x = layers.Dropout(dropout, name="bottom_dropout")(x)

    for level in reversed(range(depth)):
        x = upsample(x, filters[level], upsampling, f"decoder_{level}")
        x = layers.Concatenate(name=f"decoder_{level}_skip")([skips[level], x])
        x = conv_pair(x, filters[level], f"decoder_{level}")
    return keras.Model(image, probability_output(x, activation, prior), name="unet")


def _check_arguments(depth: int, base_filters: int, max_filters: int, dropout: float) -> None:
    if not 1 <= depth <= 6:
        raise KerasOrthoError(f'"depth" must be a whole number from 1 to 6. Received: {depth!r}.')
    if base_filters < 1 or max_filters < base_filters:
        raise KerasOrthoError(
            f'"base_filters" must be at least 1 and "max_filters" no smaller. '
            f"Received: {base_filters!r} and {max_filters!r}."
        )
    if not 0 <= dropout < 1:
        raise KerasOrthoError(f'"dropout" must be from 0 to below 1. Received: {dropout!r}.')
