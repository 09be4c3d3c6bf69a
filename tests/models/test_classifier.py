"""Transfer learning: the input each backbone wants, what is frozen, and what unfreezing sets free."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.models import build_model, count_parameters, get_base, unfreeze
from kerasortho.models.backbones import BACKBONES, scale_grey_input
from kerasortho.models.blocks import block_names
from kerasortho.training.losses import classification_loss

LABELS = np.array([[0, 1], [0, 1]], np.float32)


@pytest.mark.parametrize(
    ("name", "module"),
    [("resnet50", "resnet50"), ("resnet101", "resnet"), ("mobilenetv2", "mobilenet_v2"), ("densenet121", "densenet")],
)
def test_scaling_inside_the_model_is_keras_preprocess_input(name: str, module: str, images: np.ndarray) -> None:
    image = keras.Input((32, 32, 1))
    scaled = keras.Model(image, scale_grey_input(image, name))(images, training=False).numpy()
    rgb = np.repeat(images * 255, 3, axis=-1)
    expected = getattr(keras.applications, module).preprocess_input(rgb.copy())
    np.testing.assert_allclose(scaled, expected, atol=1e-4)


def test_efficientnet_scaling_is_that_of_its_own_preprocessing_layers(images: np.ndarray) -> None:
    network = keras.applications.EfficientNetV2B0(include_top=False, weights=None, input_shape=(32, 32, 3))
    own = keras.Model(network.input, network.get_layer("stem_conv").input)
    image = keras.Input((32, 32, 1))
    scaled = keras.Model(image, scale_grey_input(image, "efficientnetv2b0"))(images, training=False).numpy()
    np.testing.assert_allclose(scaled, own(np.repeat(images * 255, 3, axis=-1), training=False), atol=1e-4)


def test_only_the_head_is_trained_at_first(mobilenet: keras.Model) -> None:
    assert [w.path for w in mobilenet.trainable_weights] == ["logits/kernel", "logits/bias"]
    assert count_parameters(mobilenet).trained == 1280 * 2 + 2
    assert count_parameters(mobilenet).total == mobilenet.count_params()


def test_unfreezing_frees_the_convolutions_from_a_block_on(mobilenet: keras.Model) -> None:
    freed = unfreeze(mobilenet, "block_13")
    paths = [w.path for w in get_base(mobilenet).trainable_weights]
    blocks = {path.split("/")[0].rpartition("_")[0] for path in paths}
    assert blocks == {"block_13", "block_14", "block_15", "block_16", "Conv"}
    assert freed == len(paths) == 4 * 3 + 1  # expand, depthwise, project; Conv_1
    assert not any("gamma" in path or "beta" in path for path in paths)
    assert count_parameters(mobilenet).trained == sum(int(np.prod(w.shape)) for w in mobilenet.trainable_weights)
    assert unfreeze(mobilenet, "all") == 52  # every convolution of MobileNetV2
    assert unfreeze(mobilenet, None) == 0


def fit_batchnorm(base: keras.Model) -> None:
    """Fit the BatchNorm statistics of a random base to its activations, or signals die out on the way."""
    base.trainable = True
    norms = [layer for layer in base.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    base(np.random.default_rng(0).normal(size=(16, 32, 32, 3)).astype(np.float32), training=True)
    for layer in norms:
        layer.momentum = 0.5  # were statistics to move in training, one step would show it


def test_training_moves_what_is_free_and_nothing_else(
    build_new: Callable[[str], keras.Model], images: np.ndarray
) -> None:
    mobilenet = build_new("mobilenetv2")
    fit_batchnorm(get_base(mobilenet))
    unfreeze(mobilenet, "block_13")
    mobilenet.compile(keras.optimizers.SGD(0.01), classification_loss(), run_eagerly=True)
    before = {w.path: w.numpy().copy() for w in mobilenet.weights}
    mobilenet.train_on_batch(images, LABELS)
    moved = {w.path for w in mobilenet.weights if (w.numpy() != before[w.path]).any()}
    assert moved and moved <= {w.path for w in mobilenet.trainable_weights}
    assert any(path.startswith("block_13") for path in moved)
    assert not any("moving" in path for path in moved)  # BatchNorm statistics stay ImageNet's


def test_base_answers_alike_in_training_and_inference(mobilenet: keras.Model, images: np.ndarray) -> None:
    unfreeze(mobilenet, "all")
    features = keras.Model(mobilenet.input, mobilenet.get_layer("pool").output)
    np.testing.assert_array_equal(features(images, training=True), features(images, training=False))


def test_unknown_block_gets_a_suggestion_and_the_list(mobilenet: keras.Model) -> None:
    with pytest.raises(KerasOrthoError, match=r'Did you mean "block_13".*Blocks:.*block_16'):
        unfreeze(mobilenet, "blok_13")
    with pytest.raises(KerasOrthoError, match="no pretrained backbone"):
        unfreeze(build_model("unet", input_size=(16, 16), depth=1, base_filters=2), "all")


@pytest.mark.parametrize("name", BACKBONES)
def test_every_block_name_can_be_unfrozen(name: str, built: Callable[[str], keras.Model]) -> None:
    model = built(name)
    freed = [unfreeze(model, block) for block in block_names(get_base(model))]
    assert freed == sorted(freed, reverse=True) and freed[0] == unfreeze(model, "all")
    unfreeze(model, None)


@pytest.mark.parametrize("name", BACKBONES)
def test_skips_have_the_strides_that_the_table_says(name: str, built: Callable[[str], keras.Model]) -> None:
    base = get_base(built(name))
    assert [base.get_layer(skip).output.shape[1] for skip in BACKBONES[name].skips] == [16, 8, 4, 2, 1]


@pytest.mark.parametrize("pooling", ["max", "avgmax"])
def test_pooling_and_hidden_layer(pooling: str, images: np.ndarray) -> None:
    model = build_model("mobilenetv2", input_size=(32, 32), classes=3, weights=None, pooling=pooling, hidden_units=8)
    assert model.get_layer("pool").output.shape[-1] == (2560 if pooling == "avgmax" else 1280)
    np.testing.assert_allclose(model(images, training=False).numpy().sum(axis=-1), 1, atol=1e-6)


def test_unusable_options_are_refused() -> None:
    for wrong, message in [
        ({"pooling": "mean"}, '"pooling"'),
        ({"dropout": 1.0}, '"dropout"'),
        ({"hidden_units": -1}, '"hidden_units"'),
        ({"classes": 1}, "at least 2 classes"),
        ({"input_size": (16, 64)}, "at least 32 pixels"),
    ]:
        with pytest.raises(KerasOrthoError, match=message):
            build_model("mobilenetv2", **{"input_size": (32, 32), "classes": 2, "weights": None, **wrong})
