"""What clients are told of TensorFlow's errors."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

tf = pytest.importorskip("tensorflow")

from kerasortho.serving.refusal import from_error  # noqa: E402


def error_of(call: Any) -> Exception:
    with pytest.raises(tf.errors.OpError) as error:
        call()
    return error.value


@pytest.fixture
def model() -> Any:
    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def decode(file: Any) -> Any:
        with tf.control_dependencies([tf.debugging.Assert(tf.strings.length(file) > 0, ["The image is empty."])]):
            return tf.io.decode_png(file)

    return decode


def test_the_reason_is_found_among_what_tensorflow_writes_around_it(model: Any) -> None:
    refusal = from_error(error_of(lambda: model(tf.constant("x"))))
    assert refusal.message.startswith("Unknown image file format.") and "\n" not in refusal.message
    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert from_error(error_of(lambda: model(tf.constant("")))).message == "The image is empty."


@pytest.mark.parametrize("message", [
    "OOM when allocating tensor with shape[8,9]",
    "Graph execution error:\n\nDetected at node conv defined at (most recent call last):\n<stack traces unavailable>\n"
    "OOM when allocating tensor with shape[8,9]\n\t [[{{node conv}}]] [Op:__inference_f_7]",
    'Graph execution error:\n\nDetected at node conv defined at (most recent call last):\n  File "a.py", line 3, in f\n'
    "\nOOM when allocating tensor with shape[8,9]\n\t [[{{node conv}}]]\nHint: more. [Op:__inference_f_7]",
    "OOM when allocating tensor with shape[8,9] [Op:Conv2D] name: ",
])  # fmt: skip
def test_out_of_memory(message: str) -> None:
    refusal = from_error(tf.errors.ResourceExhaustedError(None, None, message))
    assert refusal.message == "OOM when allocating tensor with shape[8,9]"
    assert (refusal.code, refusal.http_status) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 429)


def test_no_reason_at_all() -> None:
    assert "no reason" in from_error(tf.errors.InternalError(None, None, "Graph execution error:\n")).message
