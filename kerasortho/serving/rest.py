"""The REST door: TensorFlow Serving's addresses, bodies and status codes (tensorflow.org/tfx/serving/api_rest).

    GET  /v1/models/NAME[/versions/N|/labels/L]            status of a model's versions
    GET  /v1/models/NAME[/versions/N|/labels/L]/metadata   its signatures
    POST /v1/models/NAME[/versions/N|/labels/L]:predict    its answer
    GET  /monitoring/prometheus/metrics

and of its own: ``GET /healthz`` (200 while the process answers) and ``GET /readyz`` (200 when it should get requests).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from typing import Any
from urllib.parse import unquote

import grpc
from fastapi import FastAPI, Request, Response
from google.protobuf import json_format
from google.protobuf.message import Message
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse
from tensorflow_serving.apis.model_pb2 import ModelSpec

from kerasortho.export.server_files import METRICS_PATH
from kerasortho.serving.backend import SIGNATURE_DEF, Backend, signature_name
from kerasortho.serving.metrics import CONTENT_TYPE
from kerasortho.serving.refusal import Refusal, from_error, invalid
from kerasortho.serving.rest_format import read_inputs, read_request, write_answer
from kerasortho.serving.servable import Signature, Tensors
from kerasortho.serving.settings import megabytes
from kerasortho.words import cut

# The patterns of TensorFlow Serving's http_rest_api_util.cc: they match whatever the case.
_WHICH = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PREDICTION = re.compile(_WHICH + r":(?P<method>classify|regress|predict)", re.IGNORECASE)
_STATUS = re.compile(_WHICH + r"(?P<metadata>/metadata)?", re.IGNORECASE)
_LARGEST_VERSION = (1 << 63) - 1
_PIECE = 1 << 16  # bytes of an answer that are handed over at once; the next ones wait until the client has read
logger = logging.getLogger(__name__)


def make_app(backend: Backend) -> FastAPI:
    """Return the application that answers for ``backend``."""
    app = FastAPI(title="kerasortho serve", openapi_url=None)

    @app.get("/healthz")
    async def health() -> Response:
        return _json({"status": "alive"})

    @app.get("/readyz")
    async def readiness() -> Response:
        status = "stopping" if backend.stopping else "ready" if backend.ready else "loading"
        return _json({"status": status, "models": backend.repository.available()}, 200 if backend.ready else 503)

    @app.get(METRICS_PATH)
    async def metrics() -> Response:
        return Response(backend.metrics.page(), media_type=CONTENT_TYPE)

    @app.exception_handler(HTTPException)
    async def nothing_there(request: Request, error: HTTPException) -> Response:
        await _discard(backend, request)
        place = f"{request.method} {request.url.path}"
        message = f"There is no {place} here. A model answers to POST /v1/models/NAME:predict; GET /readyz names them."
        return _json({"error": message}, error.status_code, error.headers)

    methods = ["GET", "POST", "PUT", "DELETE", "PATCH"]
    app.router.routes.append(Route("/v1/{path:path}", _Models(backend), methods=methods))
    return app


class _Models:
    """The addresses of the models. A request counts as running until its client has received the answer."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with ExitStack() as admission:
            response = await _answer(self._backend, Request(scope, receive), admission)
            with contextlib.suppress(asyncio.TimeoutError):  # the server then ends the connection of who does not read
                await asyncio.wait_for(_send(response, send), self._backend.limits.download_seconds)


async def _send(response: Response, send: Send) -> None:
    """Send in pieces: `send` waits for the client before it takes more, but takes whatever it gets into memory."""
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    body = bytes(response.body)
    for start in range(0, len(body), _PIECE):
        await send({"type": "http.response.body", "body": body[start : start + _PIECE], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _answer(backend: Backend, request: Request, admission: ExitStack) -> Response:
    try:
        path = request.scope["raw_path"].decode("ascii", "replace")
        if request.method == "POST" and (match := _PREDICTION.fullmatch(path)):
            return await _timed_prediction(backend, request, admission, _spec(match), match["method"].lower())
        if request.method == "GET" and (match := _STATUS.fullmatch(path)):
            return _describe(backend, _spec(match), metadata=bool(match["metadata"]))
        if request.method == "GET" and path.rstrip("/").lower() == "/v1/models":
            raise invalid("Missing model name in request.")
        await _discard(backend, request)
        raise invalid(f"Malformed request: {request.method} {path}")
    except Refusal as refusal:
        return _json({"error": refusal.message}, refusal.http_status)
    except Exception as error:
        logger.exception("A request failed.")
        return _json({"error": from_error(error).message}, 500)


def _spec(match: re.Match[str]) -> ModelSpec:
    spec = ModelSpec(name=unquote(match["name"]))
    if match["version"] is not None:
        if len(match["version"]) > 19 or int(match["version"]) > _LARGEST_VERSION:
            raise invalid(f"Failed to convert version: {cut(match['version'])} to numeric.")
        spec.version.value = int(match["version"])
    elif match["label"] is not None:
        spec.version_label = unquote(match["label"])
    return spec


def _describe(backend: Backend, spec: ModelSpec, *, metadata: bool) -> Response:
    if not metadata:
        return _json(_plain(GetModelStatusResponse(model_version_status=backend.repository.statuses(spec))))
    response, signatures = backend.metadata(spec, [SIGNATURE_DEF]), SignatureDefMap()
    response.metadata[SIGNATURE_DEF].Unpack(signatures)
    return _json({"model_spec": _plain(response.model_spec), "metadata": {SIGNATURE_DEF: _plain(signatures)}})


async def _timed_prediction(
    backend: Backend, request: Request, admission: ExitStack, spec: ModelSpec, method: str
) -> Response:
    start, code = time.monotonic(), grpc.StatusCode.INTERNAL
    try:
        response = await _predict(backend, request, admission, spec, method)
        code = grpc.StatusCode.OK
        return response
    except Refusal as refusal:
        code = refusal.code
        raise
    finally:
        model = backend.label(spec.name)
        backend.metrics.requests.labels(model, "rest", code.name).inc()
        backend.metrics.seconds.labels(model, "rest").observe(time.monotonic() - start)


async def _predict(backend: Backend, request: Request, admission: ExitStack, spec: ModelSpec, method: str) -> Response:
    try:
        hold = admission.enter_context(backend.admit(_announced_size(backend, request)))
        body = await _read_body(backend, request)
        if method != "predict":
            raise Refusal(grpc.StatusCode.UNIMPLEMENTED, f":{method} is not served; the models answer to :predict.")
        with backend.repository.use(spec) as servable:
            most = servable.most_values(backend.batcher.settings.max_batch_size)
            name, document = await asyncio.to_thread(read_request, body, most)
            name = signature_name(name)
            signature = servable.signatures.get(name)
            if signature is None:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            inputs, rows, size = await asyncio.to_thread(_checked_inputs, backend, signature, document)
            del body, document
            outputs = await backend.predict(signature, inputs, size)
        response = await asyncio.to_thread(lambda: _json(write_answer(outputs, rows)))
        hold(len(response.body))
        return response
    except Refusal:
        admission.close()  # others may have the room while the rest of this request arrives
        await _discard(backend, request)
        raise


def _checked_inputs(backend: Backend, signature: Signature, document: dict[str, Any]) -> tuple[Tensors, bool, int]:
    definition = signature.definition.inputs
    inputs, rows = read_inputs(document, definition)
    size = signature.check({name: (definition[name].dtype, value.shape) for name, value in inputs.items()})
    backend.batcher.check_size(size)
    return inputs, rows, size


def _announced_size(backend: Backend, request: Request) -> int:
    """Return the body's size, or if none is told the largest that there can be. Raises Refusal for a larger one."""
    largest = backend.limits.request_bytes
    size = int(request.headers.get("content-length", largest))
    if size > largest:
        raise _too_large(size, largest)
    return size


def _too_large(size: int | None, largest: int) -> Refusal:
    received = "" if size is None else f" Received: {megabytes(size)}."
    return Refusal(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"The request's body exceeds the limit of {megabytes(largest)}.{received} Send fewer images in one request.",
        http_status=413,
    )


async def _read_body(backend: Backend, request: Request) -> bytes:
    """Return the body. Raises Refusal for one that is too large or does not arrive."""
    chunks, size, largest = [], 0, backend.limits.request_bytes

    async def read() -> None:
        nonlocal size
        async for chunk in _chunks(request):
            size += len(chunk)
            if size > largest:
                raise _too_large(None, largest)
            chunks.append(chunk)

    try:
        await asyncio.wait_for(read(), backend.limits.upload_seconds)
    except asyncio.TimeoutError:
        raise Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "The request's body did not arrive in time.", 408) from None
    return b"".join(chunks)


async def _discard(backend: Backend, request: Request) -> None:
    """Receive what a refused request still sends: a client that is busy sending would miss the answer."""

    async def read() -> None:
        async for _ in _chunks(request):
            pass

    with contextlib.suppress(asyncio.TimeoutError, Refusal):
        await asyncio.wait_for(read(), backend.limits.upload_seconds)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    """Yield what there still is of the body; nothing once it is complete. Raises Refusal when the client has gone."""
    while not getattr(request.state, "complete", False):
        message = await request.receive()
        request.state.complete = not message.get("more_body", False)
        if message["type"] == "http.disconnect":
            raise Refusal(grpc.StatusCode.CANCELLED, "The client has gone.")
        yield message.get("body", b"")


def _plain(message: Message) -> dict[str, Any]:
    plain: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return plain


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps(value).encode(), status, headers, media_type="application/json")
