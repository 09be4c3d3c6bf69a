"""Every model of the registry goes through the same mill: build, answer, learn, save, load without kerasortho."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.models import MODELS, build_model, save_model
from kerasortho.training.losses import classification_loss, segmentation_loss

SMALL = {"unet": {"depth": 2, "base_filters": 4}}  # the others have no weights option of their own to turn off


def build_small(name: str) -> keras.Model:
    options = SMALL.get(name, {"weights": None})
    return build_model(name, input_size=(64, 64), classes=2 if MODELS[name].task == "classification" else 1, **options)


def truth(name: str) -> np.ndarray:
    if MODELS[name].task == "classification":
        return np.eye(2, dtype=np.float32)
    mask = np.random.default_rng(1).integers(0, 2, (2, 64, 64, 1)).astype(np.float32)
    return np.concatenate([mask, np.ones_like(mask)], axis=-1)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_answers_learns_and_loads_as_plain_keras(name: str, images: np.ndarray, tmp_path: Path) -> None:
    model = build_small(name)
    classifier = MODELS[name].task == "classification"
    assert model.input.name == "image" and model.input.dtype == "float32"
    assert model.layers[-1].name == ("probabilities" if classifier else "probability")
    answer = model.predict_on_batch(images)
    assert answer.dtype == np.float32 and answer.shape == ((2, 2) if classifier else (2, 64, 64, 1))
    assert answer.min() >= 0 and answer.max() <= 1

    model.compile("adam", classification_loss() if classifier else segmentation_loss("bce"))
    before = [v.numpy().copy() for v in model.trainable_variables]
    assert np.isfinite(model.train_on_batch(images, truth(name)))
    assert any((old != new.numpy()).any() for old, new in zip(before, model.trainable_variables, strict=True))

    save_model(model, tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded.predict_on_batch(images), model.predict_on_batch(images))
    assert len(loaded.trainable_variables) == len(model.trainable_variables)


def test_saved_model_loads_in_a_process_that_has_never_seen_kerasortho(images: np.ndarray, tmp_path: Path) -> None:
    model = build_small("unet_mobilenetv2")
    model.compile("adam", segmentation_loss("bce"))
    model.train_on_batch(images, truth("unet_mobilenetv2"))
    save_model(model, tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    program = (
        "import sys, keras, numpy as np\n"
        "model = keras.saving.load_model('model.keras')\n"
        "assert not any(m.startswith('kerasortho') for m in sys.modules)\n"
        "np.save('answer.npy', model.predict_on_batch(np.load('images.npy')))\n"
    )
    subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "answer.npy"), model.predict_on_batch(images), atol=1e-6)


@pytest.mark.usefixtures("float32_policy_after")
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["unet", "unet_mobilenetv2", "mobilenetv2"])
def test_outputs_stay_float32_under_mixed_precision(policy: str, name: str, images: np.ndarray) -> None:
    keras.config.set_dtype_policy(policy)
    model = build_small(name)
    answer = model(images, training=False)
    assert answer.dtype == "float32"
    assert model.get_layer("logits").compute_dtype == "float32"
    assert np.isfinite(answer.numpy()).all()
    names = [layer.name for layer in model.layers]
    if "input_scaling" in names:
        assert model.get_layer("input_scaling").compute_dtype == "float32"


def test_names_of_layers_do_not_depend_on_what_was_built_before() -> None:
    for name in ("unet", "unet_mobilenetv2", "mobilenetv2"):
        first, second = build_small(name), build_small(name)
        assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]
        assert [w.path for w in first.weights] == [w.path for w in second.weights]


def test_mistyped_names_get_a_suggestion() -> None:
    with pytest.raises(KerasOrthoError, match='Did you mean "resnet50"'):
        build_model("resnet5O", input_size=(64, 64))
    with pytest.raises(KerasOrthoError, match='Did you mean "base_filters"'):
        build_model("unet", input_size=(64, 64), base_filter=8)
    with pytest.raises(KerasOrthoError, match='"model.options.depth" must be a whole number'):
        build_model("unet", input_size=(64, 64), depth="deep")
    with pytest.raises(KerasOrthoError, match="classes must be 1"):
        build_model("unet", input_size=(64, 64), classes=3)


def test_options_are_listed_with_their_defaults() -> None:
    assert MODELS["unet"].options["base_filters"] == 64
    assert MODELS["resnet50"].options["weights"] == "imagenet"
    assert "input_size" not in MODELS["unet"].options and "backbone" not in MODELS["resnet50"].options
