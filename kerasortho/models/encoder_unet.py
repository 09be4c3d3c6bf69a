"""A U-Net whose encoder is a pretrained backbone: few labelled radiographs go further with borrowed features."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from kerasortho.errors import KerasOrthoError
from kerasortho.models.backbones import build_backbone, call_backbone, get_backbone
from kerasortho.models.batchnorm import AUTO
from kerasortho.models.segmentation_head import (
    UPSAMPLINGS,
    check_divisible,
    check_option,
    conv_pair,
    probability_output,
    segmentation_input,
    upsample,
)

STRIDES = (8, 16, 32)
OUTPUT_STRIDES = (1, 2, 4)


def build_encoder_unet(
    backbone: str,
    *,
    input_size: tuple[int, int],
    weights: str | None = "imagenet",
    learn_batchnorm_from: str | None = AUTO,
    encoder_stride: int = 32,
    output_stride: int = 1,
    decoder_filters: tuple[int, ...] = (256, 128, 64, 32, 16),
    upsampling: str = "bilinear",
    dropout: float = 0.0,
    activation: str = "sigmoid",
    prior: float | None = None,
) -> keras.Model:
    """Return a U-Net on a ``keras.applications`` encoder.

    The encoder is frozen and runs in inference mode; which of its layers are trained is decided by
    `kerasortho.models.fine_tuning.unfreeze`.

    Layers: "image" -> "grey_to_channels" -> "input_scaling" -> "backbone" (nested, one output a scale) ->
    ``decoder_i_*`` (level ``i`` has stride ``2**i``) -> "logits" -> "probability". The encoder offers skips at strides
    2 and coarser; at full resolution the image itself is the skip.

    Args:
        backbone: key of `kerasortho.models.backbones.BACKBONES`, such as "resnet50" or "mobilenetv2".
        input_size: height and width in pixels, multiples of ``encoder_stride``.
        weights: "imagenet", the path of a weights file of the base without top, or None for random values.
        learn_batchnorm_from: as for `kerasortho.models.classifier.build_classifier`.
        encoder_stride: how far the encoder is used: 32 is all of it, 16 leaves out its last and heaviest stage, 8 two.
        output_stride: how fine the answer is worked out: 1 is each pixel; 2 or 4 leave out the decoder's last one or
            two levels, which cost most, and enlarge the logits bilinearly. Enough for targets with coarse outlines.
        decoder_filters: filters of the decoder's levels down to stride 1, the coarsest first; what a smaller
            ``encoder_stride`` or a larger ``output_stride`` leaves out is cut off, in front or at the end.
        upsampling: "transposed" or "bilinear".
        dropout: fraction of the coarsest features dropped in training, in [0, 1).
        activation: "sigmoid", or "softmax" over two channels (background, foreground).
        prior: expected share of foreground pixels, to set the output's bias; None leaves it at one half.

    Returns:
        A model from "image" ``(B, H, W, 1)`` float32 in [0, 1] to "probability" ``(B, H, W, 1)`` float32, or
        ``(B, H, W, 2)`` with softmax.

    Raises:
        KerasOrthoError: for an unknown or unusable argument, or weights that cannot be loaded.
    """
    check_option("upsampling", upsampling, UPSAMPLINGS)
    if output_stride not in OUTPUT_STRIDES:
        raise KerasOrthoError(f'"output_stride" must be 1, 2 or 4. Received: {output_stride!r}.')
    filters = _level_filters(decoder_filters, encoder_stride)
    check_divisible(input_size, encoder_stride)
    if not 0 <= dropout < 1:
        raise KerasOrthoError(f'"dropout" must be from 0 to below 1. Received: {dropout!r}.')

    image = segmentation_input(input_size)
    skip_layers = get_backbone(backbone).skips[: len(filters)]
    encoder = build_backbone(
        backbone, input_size, weights=weights, learn_batchnorm_from=learn_batchnorm_from, outputs=skip_layers
    )
    *skips, x = call_backbone(encoder, image, backbone)
    if dropout:
        x = layers.Dropout(dropout, name="bottom_dropout")(x)
    x = _decode(x, [image, *skips], filters, upsampling, last=output_stride.bit_length() - 1)
    probability = probability_output(x, activation, prior, enlarge=output_stride)
    return keras.Model(image, probability, name=f"unet_{backbone}")


def _level_filters(decoder_filters: tuple[int, ...], encoder_stride: int) -> list[int]:
    """Return the decoder's filters for as many levels as the encoder halves, the coarsest first."""
    if encoder_stride not in STRIDES:
        raise KerasOrthoError(f'"encoder_stride" must be 8, 16 or 32. Received: {encoder_stride!r}.')
    levels = encoder_stride.bit_length() - 1
    if len(decoder_filters) < levels or min(decoder_filters) < 1:
        raise KerasOrthoError(
            f'"decoder_filters" needs {levels} widths of at least 1, the coarsest level\'s first, for encoder_stride '
            f"{encoder_stride}. Received: {list(decoder_filters)}."
        )
    return list(decoder_filters[-levels:])


def _decode(x: Any, skips: list[Any], filters: list[int], upsampling: str, *, last: int) -> Any:
    """Return features of level ``last``; ``skips`` runs from level 0 (the image) to the one finer than ``x``."""
    for level in reversed(range(last, len(filters))):
        width = filters[len(filters) - 1 - level]
        x = upsample(x, width, upsampling, f"decoder_{level}")
        x = layers.Concatenate(name=f"decoder_{level}_skip")([skips[level], x])
        x = conv_pair(x, width, f"decoder_{level}")
    return x
