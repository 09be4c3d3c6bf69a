"""BatchNorm of a base: frozen where it was trained before, learning where it never was."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.models import build_model, get_base, unfreeze
from kerasortho.models.backbones import build_backbone
from kerasortho.models.batchnorm import MOMENTUM, learning_batchnorm
from kerasortho.training.losses import classification_loss

FIRST_UNTRAINED = "block_13_expand_BN"


def is_batchnorm(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization)


@pytest.fixture(scope="module")
def incomplete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of MobileNetV2 whose BatchNorm has statistics up to block 12 and none from block 13 on."""
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3))
    random = np.random.default_rng(0)
    for layer in network.layers:
        if layer.name == FIRST_UNTRAINED:
            break
        if is_batchnorm(layer):
            layer.moving_mean.assign(random.normal(0, 0.1, layer.moving_mean.shape))
            layer.moving_variance.assign(random.uniform(0.5, 2, layer.moving_variance.shape))
    path = tmp_path_factory.mktemp("weights") / "incomplete.weights.h5"
    network.save_weights(path)
    return path


def classifier(weights: Path | None, **options: object) -> keras.Model:
    return build_model("mobilenetv2", input_size=(32, 32), classes=2, weights=weights, **options)


def learning(model: keras.Model) -> list[str]:
    return [layer.name for layer in learning_batchnorm(get_base(model))]


def call_of_the_base(model: keras.Model) -> object:
    """Return what the model says to its base about ``training``."""
    config = next(layer for layer in model.get_config()["layers"] if layer["name"] == "backbone")
    return config["inbound_nodes"][0]["kwargs"].get("training")


def test_layers_without_statistics_learn(incomplete: Path) -> None:
    model = classifier(incomplete)
    base = get_base(model)
    names = [layer.name for layer in base.layers if is_batchnorm(layer)]
    assert base.learn_batchnorm_from == FIRST_UNTRAINED
    assert learning(model) == names[names.index(FIRST_UNTRAINED) :]
    assert all(
        (layer.momentum == MOMENTUM) == (layer.name in learning(model)) for layer in base.layers if is_batchnorm(layer)
    )


def test_only_where_the_base_is_trained(incomplete: Path) -> None:
    model = classifier(incomplete)
    trained = lambda: [layer.name for layer in get_base(model).layers if is_batchnorm(layer) and layer.trainable]  # noqa: E731
    assert trained() == []
    unfreeze(model, "block_15")
    assert trained() == [name for name in learning(model) if not name.startswith(("block_13", "block_14"))]
    unfreeze(model, "all")
    assert trained() == learning(model)


def test_only_their_statistics_move_in_training(incomplete: Path, images: np.ndarray) -> None:
    model = classifier(incomplete)
    unfreeze(model, "all")
    model.compile("sgd", classification_loss(), run_eagerly=True)
    statistics = {w.path: w.numpy() for w in get_base(model).weights if "moving" in w.path}
    model.train_on_batch(images, np.eye(2, dtype=np.float32))
    moved = {
        w.path for w in get_base(model).weights if w.path in statistics and (w.numpy() != statistics[w.path]).any()
    }
    expected = {w.path for layer in learning_batchnorm(get_base(model)) for w in layer.weights if "moving" in w.path}
    assert moved == expected


def test_trained_base_runs_in_inference_mode_for_good(incomplete: Path) -> None:
    assert call_of_the_base(classifier(incomplete, learn_batchnorm_from=None)) is False
    assert call_of_the_base(classifier(incomplete)) is None


@pytest.mark.parametrize("name", ["mobilenetv2", "unet_mobilenetv2"])
def test_base_without_weights_learns_all_of_it(name: str) -> None:
    classes = 2 if name == "mobilenetv2" else 1
    base = get_base(build_model(name, input_size=(32, 32), classes=classes, weights=None))
    assert learning_batchnorm(base) == [layer for layer in base.layers if is_batchnorm(layer)]


def test_where_it_begins_can_be_said(incomplete: Path) -> None:
    assert learning(classifier(incomplete, learn_batchnorm_from="block_16"))[0] == "block_16_expand_BN"
    assert learning(classifier(incomplete, learn_batchnorm_from=None)) == []
    with pytest.raises(KerasOrthoError, match='Did you mean "block_16"'):
        classifier(incomplete, learn_batchnorm_from="blok_16")


def test_stand_in_file_of_resnet50_leaves_out_its_last_stage(real_data: Path) -> None:
    path = real_data / "weights" / "resnet50_notop_conv1-4_from_resnet152_imagenet.weights.h5"
    model = build_model("resnet50", input_size=(32, 32), classes=2, weights=path)
    assert {name.split("_")[0] for name in learning(model)} == {"conv5"}


def test_complete_file_leaves_all_of_it_frozen(real_data: Path) -> None:
    path = real_data / "weights" / "mobilenetv2_imagenet_1.0_224_no_top_from-int8.weights.h5"
    model = build_model("mobilenetv2", input_size=(32, 32), classes=2, weights=path)
    assert get_base(model).learn_batchnorm_from is None and learning(model) == []


def zero_scales(base: keras.Model) -> list[str]:
    return [layer.name for layer in base.layers if is_batchnorm(layer) and not np.any(layer.gamma)]


def test_untrained_residual_branches_begin_at_zero(incomplete: Path) -> None:
    assert zero_scales(get_base(classifier(incomplete))) == ["block_14_project_BN", "block_15_project_BN"]
    assert zero_scales(get_base(classifier(incomplete, learn_batchnorm_from=None))) == []
    resnet = build_backbone("resnet50", (32, 32), weights=None)  # its projections end in BatchNorm, too
    assert len(zero_scales(resnet)) == 16 and all(name.endswith("_3_bn") for name in zero_scales(resnet))
    # what ends a block here is the next one's shortcut: zero would leave nothing
    assert zero_scales(build_backbone("efficientnetv2b0", (32, 32), weights=None)) == []


def test_a_network_of_zero_branches_still_answers() -> None:
    images = np.random.default_rng(0).random((2, 32, 32, 1), np.float32)
    answers = np.asarray(build_model("resnet50", input_size=(32, 32), classes=2, weights=None)(images))
    assert np.isfinite(answers).all() and np.abs(answers[0] - answers[1]).max() > 1e-3
