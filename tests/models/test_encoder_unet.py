"""U-Nets on a pretrained encoder: strides, what is frozen, and what does not move."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.models import build_model, get_base
from kerasortho.training.losses import segmentation_loss


def small(**options: object) -> keras.Model:
    options = {"decoder_filters": [16, 16, 8, 8, 8], **options}
    return build_model("unet_mobilenetv2", input_size=(32, 32), weights=None, **options)


@pytest.mark.parametrize(("stride", "levels"), [(8, 3), (16, 4)])
def test_encoder_is_used_as_far_as_asked(stride: int, levels: int) -> None:
    model = small(encoder_stride=stride)
    assert model.output.shape == (None, 32, 32, 1)
    assert len(get_base(model).outputs) == levels
    assert sum(layer.name.endswith("_skip") for layer in model.layers) == levels


def moving_statistics(model: keras.Model) -> list[np.ndarray]:
    return [w.numpy().copy() for w in get_base(model).weights if "moving" in w.path]


@pytest.mark.parametrize("frozen", [True, False])
def test_batchnorm_of_the_encoder_is_frozen_on_request(frozen: bool, images: np.ndarray) -> None:
    model = small(freeze_batchnorm=frozen)
    assert any("gamma" in w.path for w in get_base(model).trainable_weights) is not frozen
    model.compile("sgd", segmentation_loss("bce"), run_eagerly=True)
    before = moving_statistics(model)
    model.train_on_batch(images, np.ones((2, 32, 32, 2), np.float32))
    moved = any((old != new).any() for old, new in zip(before, moving_statistics(model), strict=True))
    assert moved is not frozen


def test_batchnorm_of_a_random_encoder_learns_by_default(built: Callable[[str], keras.Model]) -> None:
    assert any("gamma" in w.path for w in get_base(built("unet_mobilenetv2")).trainable_weights)


def test_frozen_encoder_has_nothing_to_train() -> None:
    model = small(freeze_encoder=True)
    assert get_base(model).trainable_weights == [] and model.trainable_weights


def test_unusable_options_are_refused() -> None:
    with pytest.raises(KerasOrthoError, match="needs 5 widths"):
        small(decoder_filters=[16, 8])
    with pytest.raises(KerasOrthoError, match="8, 16 or 32"):
        small(encoder_stride=4)
    with pytest.raises(KerasOrthoError, match="multiple of 32"):
        build_model("unet_resnet50", input_size=(80, 64), weights=None)
