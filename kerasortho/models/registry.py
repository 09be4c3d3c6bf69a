"""Every model by name: ``build_model("unet", input_size=(256, 256), classes=1, depth=3)``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, get_type_hints

import keras

from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.models.classifier import build_classifier
from kerasortho.models.encoder_unet import build_encoder_unet
from kerasortho.models.small_resnet import build_small_resnet
from kerasortho.models.unet import build_unet
from kerasortho.schema import convert


@dataclass(frozen=True)
class ModelEntry:
    """One model: its task ("classification" or "segmentation"), its builder, and a line about it."""

    task: str
    builder: Callable[..., keras.Model]
    summary: str

    @property
    def options(self) -> dict[str, Any]:
        """Names and defaults of what can be set besides size and classes."""
        parameters = inspect.signature(self.builder).parameters.values()
        return {p.name: p.default for p in parameters if p.default is not p.empty and p.kind is p.KEYWORD_ONLY}


def _classifier(backbone: str, summary: str) -> ModelEntry:
    return ModelEntry("classification", partial(build_classifier, backbone), summary)


def _encoder_unet(backbone: str, summary: str) -> ModelEntry:
    return ModelEntry("segmentation", partial(build_encoder_unet, backbone), summary)


MODELS: dict[str, ModelEntry] = {
    "unet": ModelEntry("segmentation", build_unet, "U-Net (Ronneberger 2015), trained from nothing"),
    "unet_resnet50": _encoder_unet("resnet50", "U-Net on a pretrained ResNet50"),
    "unet_mobilenetv2": _encoder_unet("mobilenetv2", "U-Net on a pretrained MobileNetV2: light"),
    "unet_efficientnetv2b0": _encoder_unet("efficientnetv2b0", "U-Net on a pretrained EfficientNetV2-B0"),
    "resnet50": _classifier("resnet50", "ResNet50 transfer learning (He 2016), the paper's recogniser"),
    "resnet101": _classifier("resnet101", "ResNet101 transfer learning (He 2016)"),
    "mobilenetv2": _classifier("mobilenetv2", "MobileNetV2 transfer learning (Sandler 2018): for edge devices"),
    "densenet121": _classifier("densenet121", "DenseNet121 transfer learning (Huang 2017)"),
    "small_resnet": ModelEntry("classification", build_small_resnet, "a small residual network, trained from nothing"),
    "efficientnetv2b0": _classifier("efficientnetv2b0", "EfficientNetV2-B0 transfer learning (Tan 2021)"),
}


def get_model_entry(name: str) -> ModelEntry:
    """Return the entry of model ``name``. Raises KerasOrthoError with a did-you-mean for an unknown name."""
    if name not in MODELS:
        hint = did_you_mean(str(name), MODELS)
        raise KerasOrthoError(f'There is no model "{name}".{hint} Known: {", ".join(MODELS)}.')
    return MODELS[name]


def build_model(name: str, *, input_size: tuple[int, int], classes: int = 1, **options: Any) -> keras.Model:
    """Return model ``name`` for images of ``input_size`` (height, width) in pixels.

    Args:
        name: key of `MODELS`.
        input_size: height and width of the input.
        classes: number of classes of a classifier; a segmentation model marks one and takes 1.
        options: the model's own, see the builder's docstring (`MODELS[name].options` lists them).

    Returns:
        A model from "image" ``(B, H, W, 1)`` float32 in [0, 1] to "probabilities" ``(B, classes)`` or "probability"
        ``(B, H, W, 1)``, float32.

    Raises:
        KerasOrthoError: for an unknown model or option (with a did-you-mean), or a value of the wrong type or range.
    """
    entry = get_model_entry(name)
    options = {option: _checked_option(name, entry, option, value) for option, value in options.items()}
    height, width = (int(extent) for extent in input_size)
    if entry.task == "classification":
        return entry.builder(input_size=(height, width), classes=classes, **options)
    if classes != 1:
        raise KerasOrthoError(f'The model "{name}" marks one kind of pixel: classes must be 1. Received: {classes}.')
    return entry.builder(input_size=(height, width), **options)


def _checked_option(name: str, entry: ModelEntry, option: str, value: Any) -> Any:
    """Return the value as the type that the builder's signature names."""
    if option not in entry.options:
        hint = did_you_mean(option, entry.options)
        raise KerasOrthoError(
            f'The model "{name}" has no option "{option}".{hint} Its options: {", ".join(entry.options)}.'
        )
    kind = get_type_hints(getattr(entry.builder, "func", entry.builder))[option]
    return convert(kind, str(value) if isinstance(value, os.PathLike) else value, f"model.options.{option}")
