"""U-Nets on a pretrained encoder: strides, what is frozen, and what does not move."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from kerasortho.errors import KerasOrthoError
from kerasortho.models import build_model, get_base, unfreeze


def small(**options: object) -> keras.Model:
    options = {"decoder_filters": [16, 16, 8, 8, 8], **options}
    return build_model("unet_mobilenetv2", input_size=(32, 32), weights=None, **options)


@pytest.mark.parametrize(("stride", "levels"), [(8, 3), (16, 4)])
def test_encoder_is_used_as_far_as_asked(stride: int, levels: int) -> None:
    model = small(encoder_stride=stride)
    assert model.output.shape == (None, 32, 32, 1)
    assert len(get_base(model).outputs) == levels
    assert sum(layer.name.endswith("_skip") for layer in model.layers) == levels


@pytest.mark.parametrize(("stride", "levels"), [(1, {0, 1, 2, 3, 4}), (2, {1, 2, 3, 4}), (4, {2, 3, 4})])
def test_decoder_ends_where_asked(stride: int, levels: set[int]) -> None:
    model = small(output_stride=stride, decoder_filters=[20, 18, 12, 10, 8])
    assert model.output.shape == (None, 32, 32, 1)
    widths = {level: model.get_layer(f"decoder_{level}_2_conv").filters for level in levels}
    assert widths == {level: [8, 10, 12, 18, 20][level] for level in levels}
    assert sum(layer.name.endswith("_skip") for layer in model.layers) == len(levels)
    assert model.get_layer("logits").output.shape[1] == 32 // stride


def test_enlarged_answers_are_the_bilinear_ones_between_coarse_logits() -> None:
    model = small(output_stride=4)
    logits = keras.Model(model.input, model.get_layer("logits").output)
    image = np.random.default_rng(0).random((1, 32, 32, 1), np.float32)
    between = ops.image.resize(logits(image), (32, 32), interpolation="bilinear")
    np.testing.assert_allclose(model(image), ops.sigmoid(between), atol=1e-6)


def test_encoder_is_frozen_until_it_is_set_free() -> None:
    model = small(learn_batchnorm_from=None)
    assert get_base(model).trainable_weights == [] and model.trainable_weights
    unfreeze(model, "all")
    trained = [w.path for w in get_base(model).trainable_weights]
    assert trained and not any("gamma" in path or "beta" in path for path in trained)


def test_unusable_options_are_refused() -> None:
    with pytest.raises(KerasOrthoError, match="needs 5 widths"):
        small(decoder_filters=[16, 8])
    with pytest.raises(KerasOrthoError, match="8, 16 or 32"):
        small(encoder_stride=4)
    with pytest.raises(KerasOrthoError, match="1, 2 or 4"):
        small(output_stride=3)
    with pytest.raises(KerasOrthoError, match="multiple of 32"):
        build_model("unet_resnet50", input_size=(80, 64), weights=None)
