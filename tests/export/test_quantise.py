"""Fewer bits: what becomes small, what stays float32, and the layers that are found to suffer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("litert_quantizer")
pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
from ai_edge_litert.interpreter import Interpreter  # noqa: E402

from kerasortho.export.export import export  # noqa: E402
from kerasortho.export.litert import answers, to_litert  # noqa: E402
from kerasortho.export.quantise import Quantiser, with_usable_scales  # noqa: E402
from kerasortho.export.saved_model import SavedModel  # noqa: E402
from kerasortho.radiograph.preprocessing import letterbox  # noqa: E402

IMAGES = np.random.default_rng(0).random((6, 32, 32), np.float32)
BOXES = [letterbox((32, 32), (32, 32))] * len(IMAGES)
FRAGILE_OFFSET = 600.0  # in int8 a step is 2.4 then: what is added to it, between 0 and 1, is lost


def litert(tiny: SimpleNamespace, folder: Path, model: Any) -> bytes:
    run = tiny.make_run(tiny.make_dataset(folder / "data"), model, "segmentation")
    return to_litert(SavedModel(export(run, folder / "exported")))


def network(*layers: Any) -> Any:
    image = keras.Input((32, 32, 1), name="image")
    x = image
    for layer in layers:
        x = layer(x)
    return keras.Model(image, x)


def conv(kernel: Any, bias: Any, name: str, activation: str | None = None) -> Any:
    """A 1 x 1 convolution with these weights: ``kernel`` (in, out), ``bias`` (out,)."""
    kernel, bias = np.array(kernel, np.float32), np.array(bias, np.float32)
    layer = keras.layers.Conv2D(kernel.shape[1], 1, activation=activation, name=name)
    layer.build((None, 32, 32, kernel.shape[0]))
    layer.set_weights([kernel[None, None], bias])
    return layer


def types(model: bytes) -> dict[str, Any]:
    """Element type of every tensor by name."""
    return {one["name"]: one["dtype"] for one in Interpreter(model_content=model).get_tensor_details()}


@pytest.fixture(scope="module")
def unet(tiny: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    from kerasortho.models.unet import build_unet

    keras.utils.set_random_seed(0)
    return litert(tiny, tmp_path_factory.mktemp("unet"), build_unet(input_size=(32, 32), base_filters=16, depth=2))


def test_sizes_and_closeness(unet: bytes) -> None:
    quantiser, expected = Quantiser(unet, IMAGES, BOXES), answers(unet, IMAGES)
    made = {"fp16": quantiser.fp16(), "dynamic": quantiser.dynamic_int8(), "int8": quantiser.int8()}
    shares = {name: len(model) / len(unet) for name, model in made.items()}
    errors = {name: float(np.abs(answers(model, IMAGES) - expected).max()) for name, model in made.items()}
    assert shares["fp16"] < 0.6 and shares["dynamic"] < 0.4 and shares["int8"] < 0.4
    assert errors["fp16"] < 2e-3 and 0 < errors["dynamic"] < 0.05 and 0 < errors["int8"] < 0.05


def test_int8_takes_and_gives_float32_in_the_same_signature(unet: bytes) -> None:
    runner = Interpreter(model_content=Quantiser(unet, IMAGES, BOXES).int8()).get_signature_runner("tensor")
    for details, name in ((runner.get_input_details(), "image"), (runner.get_output_details(), "probability")):
        assert {key: one["dtype"] for key, one in details.items()} == {name: np.float32}


def test_layers_can_stay_float32(unet: bytes) -> None:
    quantiser = Quantiser(unet, IMAGES, BOXES)
    layers = quantiser.layers
    assert len({layer.name for layer in layers}) == len(layers) > 10
    np.testing.assert_array_equal(answers(quantiser.int8(layers), IMAGES), answers(unet, IMAGES))
    kept = layers[3]
    plain, mixed = types(quantiser.int8()), types(quantiser.int8([kept]))
    assert plain[kept.name] == np.int8 and mixed[kept.name] == np.float32
    others = [layer.name for layer in layers if layer.name != kept.name]
    assert [name for name in others if plain[name] == np.int8 and mixed[name] != np.int8] == []


def test_the_layers_that_suffer_are_found(tiny: SimpleNamespace, tmp_path: Path) -> None:
    """Between two layers the information is a small part of large numbers; the others are harmless."""
    model = network(
        conv([[1.0]], [0.0], "harmless"),
        conv([[1.0]], [FRAGILE_OFFSET], "hides"),
        conv([[4.0]], [-4 * FRAGILE_OFFSET - 2], "reveals"),
        keras.layers.Activation("sigmoid"),
    )
    quantiser = Quantiser(litert(tiny, tmp_path, model), IMAGES, BOXES)
    expected = answers(quantiser._model, IMAGES)
    assert np.abs(answers(quantiser.int8(), IMAGES) - expected).mean() > 0.1
    worst = quantiser.worst(0.9)
    assert [any(name in layer.name for layer in worst) for name in ("harmless", "hides", "reveals")] == [
        False,
        True,
        True,
    ]
    assert all(name in " ".join(layer.label for layer in worst) for name in ("hides", "reveals"))
    assert np.abs(answers(quantiser.int8(worst), IMAGES) - expected).mean() < 0.01
    assert quantiser.worst(0) == []


def test_a_channel_without_weights_keeps_its_bias(tiny: SimpleNamespace, tmp_path: Path) -> None:
    """The second channel is the constant 2, and decides."""
    model = network(conv([[1.0, 0.0]], [0.0, 2.0], "first", "relu"), conv([[6.0], [-1.5]], [0.0], "second", "sigmoid"))
    float_model = litert(tiny, tmp_path, model)
    usable = with_usable_scales(float_model)
    assert usable != float_model and len(usable) == len(float_model)
    expected = answers(float_model, IMAGES)
    np.testing.assert_allclose(answers(usable, IMAGES), expected, atol=1e-3)
    np.testing.assert_allclose(answers(Quantiser(float_model, IMAGES, BOXES).int8(), IMAGES), expected, atol=0.03)


def test_models_with_usable_scales_are_left_alone(unet: bytes) -> None:
    assert with_usable_scales(unet) == unet
