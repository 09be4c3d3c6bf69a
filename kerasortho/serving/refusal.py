"""A request that gets no answer, and why: one code for gRPC and REST, as TensorFlow Serving has it."""

from __future__ import annotations

import re

import grpc
import tensorflow as tf

# TensorFlow Serving's own table (model_servers/http_rest_api_util and http_server: ToHTTPStatusCode).
HTTP_STATUS = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
}
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_ASSERTION = re.compile(r"assertion failed: \[(.*?)\]", re.DOTALL)
# What TensorFlow puts around its own words: a header, the operation, where it was defined, and the call.
_AROUND = re.compile(r"\s*$|\s|Graph execution error|Detected at |<stack traces|Node: |\d+ root error")
_CALL = re.compile(r"\s*\[Op:\w+\].*$", re.DOTALL)


class Refusal(Exception):
    """A request cannot be answered.

    Attributes:
        code: what gRPC answers.
        message: for whoever sent the request.
        http_status: what REST answers, with ``{"error": message}``.
    """

    def __init__(self, code: grpc.StatusCode, message: str, http_status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = HTTP_STATUS.get(code, 500) if http_status is None else http_status


def invalid(message: str) -> Refusal:
    """Return the refusal of a request that no repetition will mend: INVALID_ARGUMENT, HTTP 400."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, message)


def from_error(error: Exception) -> Refusal:
    """Return the refusal for whatever went wrong while a model computed."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, tf.errors.OpError):
        return Refusal(_CODES.get(error.error_code, grpc.StatusCode.INTERNAL), _reason(error.message))
    if isinstance(error, MemoryError):
        return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "The server is out of memory.")
    return Refusal(grpc.StatusCode.INTERNAL, f"Internal error of the server: {type(error).__name__}.")


def _reason(message: str) -> str:
    """Return the reason in the message of a TensorFlow error: the model's own words, or the first line that is one."""
    if assertion := _ASSERTION.search(message):
        return assertion[1].strip()
    lines = [line for line in _CALL.sub("", message).splitlines() if not _AROUND.match(line)]
    return lines[0].strip() if lines else "The model failed, and TensorFlow gives no reason."
