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
        assertion = _ASSERTION.search(error.message)  # the model's own words, without the names of operations
        message = assertion[1].strip() if assertion else error.message.strip().splitlines()[0]
        return Refusal(_CODES.get(error.error_code, grpc.StatusCode.INTERNAL), message)
    if isinstance(error, MemoryError):
        return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "The server is out of memory.")
    return Refusal(grpc.StatusCode.INTERNAL, f"Internal error of the server: {type(error).__name__}.")
