from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasortho.data.graph_preprocessing import preprocess_graph, resampling_matrix_graph, to_native_graph
from kerasortho.radiograph.preprocessing import Preprocessing, letterbox, preprocess, resampling_matrix, to_native

SPECS = (
    Preprocessing((224, 224)),
    Preprocessing((48, 80), low=0.0, high=100.0),
    Preprocessing((65, 33), low=2.125, high=97.5),
    Preprocessing((32, 32), intensity="none"),
)


def compiled(spec: Preprocessing) -> tuple[tf.types.experimental.PolymorphicFunction, ...]:
    """Both directions as graphs, built before any image size is known."""
    forward = tf.function(
        lambda pixels: preprocess_graph(pixels, spec), input_signature=[tf.TensorSpec([None, None], tf.float32)]
    )
    backward = tf.function(
        lambda probability, shape: to_native_graph(probability, shape, spec),
        input_signature=[tf.TensorSpec(spec.size, tf.float32), tf.TensorSpec([2], tf.int32)],
    )
    return forward, backward


GRAPHS = {spec: compiled(spec) for spec in SPECS}


def scene(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Noise on a slope, with contrast at every scale, as radiographs have it."""
    generator = np.random.default_rng(seed)
    slope = np.linspace(0, 1, shape[1], dtype=np.float32) * np.linspace(0.2, 1, shape[0], dtype=np.float32)[:, None]
    return np.clip(0.7 * slope + 0.3 * generator.random(shape, dtype=np.float32), 0, 1)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.size}-{spec.intensity}")
@pytest.mark.parametrize("shape", [(373, 454), (2140, 1760), (50, 60), (224, 224), (1500, 40), (61, 977)])
def test_graph_equals_numpy(spec, shape):
    forward, backward = GRAPHS[spec]
    pixels = scene(shape, seed=shape[0])
    expected, box = preprocess(pixels, spec)
    result = forward(pixels)
    assert result.shape == spec.size
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(backward(expected, shape).numpy(), to_native(expected, box), atol=1e-5)


@given(st.sampled_from(SPECS), st.tuples(st.integers(1, 200), st.integers(1, 200)), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_graph_equals_numpy_at_any_size(spec, shape, seed):
    forward, backward = GRAPHS[spec]
    pixels = np.round(scene(shape, seed) * 4) / 4  # few values: the percentiles often fall between two of them
    expected, box = preprocess(pixels, spec)
    np.testing.assert_allclose(forward(pixels).numpy(), expected, atol=1e-5)
    assert box == letterbox(shape, spec.size)
    np.testing.assert_allclose(backward(expected, shape).numpy(), to_native(expected, box), atol=1e-5)


@given(st.integers(1, 65535), st.integers(1, 64))
@settings(max_examples=30, deadline=None)
def test_matrices_are_exact_up_to_the_largest_side(source, target):
    result = resampling_matrix_graph(tf.constant(source), tf.constant(target)).numpy()
    np.testing.assert_allclose(result, resampling_matrix(source, target), rtol=1e-5, atol=1e-9)


def test_graph_runs_in_litert():
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        Interpreter = tf.lite.Interpreter
    forward, _ = GRAPHS[SPECS[0]]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([forward.get_concrete_function()], forward)
    interpreter = Interpreter(model_content=converter.convert())
    pixels = scene((373, 454), seed=1)
    (entry,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(entry["index"], pixels.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(entry["index"], pixels)
    interpreter.invoke()
    np.testing.assert_allclose(interpreter.get_tensor(output["index"]), preprocess(pixels, SPECS[0])[0], atol=1e-5)
