"""Every model of the registry goes through the same mill: build, answer, learn. Saved ones load without kerasortho."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.models import MODELS, build_model, save_model, unfreeze
from kerasortho.training.losses import classification_loss, segmentation_loss

Build = Callable[[str], keras.Model]


def other_than(answer: np.ndarray) -> np.ndarray:
    """Return a truth that the answer does not meet yet."""
    if answer.ndim == 2:
        return np.eye(2, dtype=np.float32)[answer.argmin(axis=-1)]
    return np.concatenate([answer < 0.5, np.ones_like(answer)], axis=-1).astype(np.float32)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_answers_and_learns(name: str, built: Build, images: np.ndarray) -> None:
    model = built(name)
    classifier = MODELS[name].task == "classification"
    assert model.input.name == "image" and model.input.dtype == "float32"
    assert model.layers[-1].name == ("probabilities" if classifier else "probability")
    answer = model(images, training=False).numpy()
    assert answer.dtype == np.float32 and answer.shape == ((2, 2) if classifier else (2, 32, 32, 1))
    assert answer.min() >= 0 and answer.max() <= 1

    loss = classification_loss() if classifier else segmentation_loss("bce")
    model.compile("adam", loss, run_eagerly=True)  # tracing a graph for one step would take longer than the step
    before = [v.numpy().copy() for v in model.trainable_variables]
    assert np.isfinite(model.train_on_batch(images, other_than(answer)))
    assert any((old != new.numpy()).any() for old, new in zip(before, model.trainable_variables, strict=True))


def test_saved_model_is_the_same_model_to_plain_keras(images: np.ndarray, tmp_path: Path) -> None:
    model = build_model("unet_mobilenetv2", input_size=(32, 32), weights=None, encoder_stride=8)
    model.compile("adam", segmentation_loss("bce"))  # a compiled model must not carry our loss into the file
    save_model(model, tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    program = (
        "import json, sys, keras, numpy as np\n"
        "model = keras.saving.load_model('model.keras', safe_mode=True)\n"
        "assert not any(m.startswith('kerasortho') for m in sys.modules)\n"
        "np.save('answer.npy', model(np.load('images.npy'), training=False))\n"
        "json.dump([w.path for w in model.trainable_weights], open('trained.json', 'w'))\n"
    )
    subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "answer.npy"), model(images, training=False), atol=1e-6)
    assert json.loads((tmp_path / "trained.json").read_text()) == [w.path for w in model.trainable_weights]


def test_saved_classifier_keeps_what_is_frozen(mobilenet: keras.Model, tmp_path: Path) -> None:
    unfreeze(mobilenet, "block_16")
    save_model(mobilenet, tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert [w.path for w in loaded.trainable_weights] == [w.path for w in mobilenet.trainable_weights]
    assert len(loaded.trainable_weights) == 3 + 1 + 2  # expand, depthwise, project; Conv_1; the head


@pytest.mark.usefixtures("float32_policy_after")
@pytest.mark.parametrize(
    ("policy", "name"), [("mixed_float16", "unet"), ("mixed_bfloat16", "unet"), ("mixed_bfloat16", "mobilenetv2")]
)
def test_outputs_stay_float32_under_mixed_precision(
    policy: str, name: str, build_new: Build, images: np.ndarray
) -> None:
    keras.config.set_dtype_policy(policy)
    model = build_new(name)
    answer = model(images, training=False)
    assert answer.dtype == "float32" and np.isfinite(answer.numpy()).all()
    assert model.get_layer("logits").compute_dtype == "float32"
    if name == "mobilenetv2":
        assert model.get_layer("input_scaling").compute_dtype == "float32"
        assert model.get_layer("backbone").layers[1].compute_dtype == "bfloat16"
    else:
        assert model.get_layer("encoder_0_1_conv").compute_dtype == policy.removeprefix("mixed_")


def test_names_of_layers_do_not_depend_on_what_was_built_before(built: Build, build_new: Build) -> None:
    for name in ("unet", "unet_mobilenetv2"):
        first, second = built(name), build_new(name)
        assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]
        assert [w.path for w in first.weights] == [w.path for w in second.weights]


def test_mistyped_names_get_a_suggestion() -> None:
    with pytest.raises(KerasOrthoError, match='Did you mean "resnet50"'):
        build_model("resnet5O", input_size=(64, 64))
    with pytest.raises(KerasOrthoError, match='Did you mean "base_filters"'):
        build_model("unet", input_size=(64, 64), base_filter=8)
    with pytest.raises(KerasOrthoError, match=r'"model\.options\.depth" must be a whole number'):
        build_model("unet", input_size=(64, 64), depth="deep")
    with pytest.raises(KerasOrthoError, match="classes must be 1"):
        build_model("unet", input_size=(64, 64), classes=3)


def test_options_are_listed_with_their_defaults() -> None:
    assert MODELS["unet"].options["base_filters"] == 64
    assert MODELS["resnet50"].options["weights"] == "imagenet"
    assert "input_size" not in MODELS["unet"].options and "backbone" not in MODELS["resnet50"].options
