"""LiteRT in float32: the SavedModel's answers, names that clients can use, and nothing but built-in operations."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("litert_quantizer")
tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
from ai_edge_litert.interpreter import Interpreter  # noqa: E402

from kerasortho.errors import KerasOrthoError  # noqa: E402
from kerasortho.export.export import export  # noqa: E402
from kerasortho.export.litert import answers, check_litert, to_litert  # noqa: E402
from kerasortho.export.saved_model import SavedModel  # noqa: E402
from kerasortho.models.unet import build_unet  # noqa: E402

IMAGES = np.random.default_rng(0).random((3, 32, 32), np.float32)


def details(found: dict[str, Any]) -> dict[str, tuple[Any, list[int]]]:
    return {name: (one["dtype"], one["shape"].tolist()) for name, one in found.items()}


def operations(model: bytes) -> set[str]:
    interpreter = Interpreter(model_content=model)
    return {operation["op_name"] for operation in interpreter._get_ops_details()}


@pytest.fixture(scope="module")
def converted(exported: Path) -> dict[str, tuple[SavedModel, bytes]]:
    """Both models, and what becomes of them."""
    sources = {name: SavedModel(exported / name / "1") for name in ("limb", "bone")}
    return {name: (source, to_litert(source)) for name, source in sources.items()}


@pytest.mark.parametrize(
    "name, output, shape", [("limb", "probabilities", [1, 2]), ("bone", "probability", [1, 32, 32, 1])]
)
def test_names_shapes_and_types(
    converted: dict[str, tuple[SavedModel, bytes]], name: str, output: str, shape: list[int]
) -> None:
    interpreter = Interpreter(model_content=converted[name][1])
    assert interpreter.get_signature_list() == {"tensor": {"inputs": ["image"], "outputs": [output]}}
    runner = interpreter.get_signature_runner("tensor")
    assert details(runner.get_input_details()) == {"image": (np.float32, [1, 32, 32, 1])}
    assert details(runner.get_output_details()) == {output: (np.float32, shape)}


@pytest.mark.parametrize("name", ["limb", "bone"])
def test_answers_are_those_of_the_saved_model(converted: dict[str, tuple[SavedModel, bytes]], name: str) -> None:
    source, model = converted[name]
    expected = source.answers(IMAGES)
    assert expected.shape == ((3, 2) if name == "limb" else (3, 32, 32))
    np.testing.assert_allclose(answers(model, IMAGES), expected, atol=1e-6)


@pytest.mark.parametrize("upsampling", ["transposed", "bilinear"])
def test_both_kinds_of_unet_use_builtin_operations_only(tiny: SimpleNamespace, tmp_path: Path, upsampling: str) -> None:
    keras.utils.set_random_seed(0)
    model = build_unet(input_size=(32, 32), base_filters=4, depth=1, upsampling=upsampling)
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), model, "segmentation")
    source = SavedModel(export(run, tmp_path / "exported"))
    converted = to_litert(source)
    assert not [name for name in operations(converted) if "Flex" in name or "CUSTOM" in name.upper()]
    np.testing.assert_allclose(answers(converted, IMAGES), source.answers(IMAGES), atol=1e-5)


def test_other_operations_are_refused() -> None:
    """As a converter that is allowed to fall back on TensorFlow's own operations would leave them."""

    @tf.function(input_signature=[tf.TensorSpec([1, 4, 4], tf.float32, name="image")])
    def ask(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": tf.linalg.cholesky(image)}

    converter = tf.lite.TFLiteConverter.from_concrete_functions([ask.get_concrete_function()])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    with pytest.raises(KerasOrthoError, match="FlexCholesky"):
        check_litert(converter.convert())


def test_operations_that_litert_lacks(monkeypatch: pytest.MonkeyPatch, exported: Path) -> None:
    source = SavedModel(exported / "limb" / "1")
    spec = tf.TensorSpec([1, 32, 32, 1], tf.float32, name="image")
    odd = tf.function(lambda image: {"probabilities": tf.linalg.cholesky(image[..., 0])}, input_signature=[spec])
    monkeypatch.setattr(source, "function", lambda batch: odd)
    with pytest.raises(KerasOrthoError, match="LiteRT lacks an operation"):
        to_litert(source)


def test_no_saved_model(tmp_path: Path) -> None:
    with pytest.raises(KerasOrthoError, match="cannot be loaded as an exported model"):
        SavedModel(tmp_path)
