"""The gRPC door: PredictionService and ModelService with the stubs of the package tensorflow-serving-api.

Codes and texts are those of TensorFlow Serving (servables/tensorflow/predict_util.cc, get_model_metadata_impl.cc,
model_servers/get_model_status_impl.cc). Classify, Regress, MultiInference and HandleReloadConfigRequest are
UNIMPLEMENTED.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import tensorflow as tf
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, GetModelMetadataResponse
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, GetModelStatusResponse
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

from kerasortho.serving.backend import Backend, signature_name, spec_of
from kerasortho.serving.refusal import Refusal, from_error, invalid
from kerasortho.serving.servable import Signature, Tensors
from kerasortho.serving.settings import Limits

Method = Callable[[Any], Awaitable[Any]]
logger = logging.getLogger(__name__)


def make_server(backend: Backend, receiver: Receiver) -> grpc.aio.Server:
    """Return a server, without a port yet, that answers for ``backend`` what ``receiver`` receives."""
    batching = backend.batcher.settings
    most = batching.max_batch_size * (batching.max_enqueued_batches + batching.num_batch_threads)
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),  # else a second server would silently take half of the requests
            ("grpc.max_receive_message_length", backend.limits.request_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_allowed_incoming_connections", backend.limits.connections),
            ("grpc.http2.bdp_probe", 0),  # else what nobody reads yet may grow to megabytes a call
        ],
        # What comes beyond is refused with RESOURCE_EXHAUSTED before it is looked at.
        maximum_concurrent_rpcs=2 * most,
    )
    predictions, models = PredictionService(backend), ModelService(backend)
    services = {
        "tensorflow.serving.PredictionService": {
            "Predict": receiver.handler(predictions.Predict, PredictRequest),
            "GetModelMetadata": receiver.handler(predictions.GetModelMetadata, GetModelMetadataRequest),
        },
        "tensorflow.serving.ModelService": {
            "GetModelStatus": receiver.handler(models.GetModelStatus, GetModelStatusRequest)
        },
    }
    handlers = [grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items()]
    server.add_generic_rpc_handlers(tuple(handlers))
    return server


class Receiver:
    """Receives messages a few at a time, so that what is in memory before it is admitted has a bound.

    gRPC tells no size in advance, and reads the message of a plain call before the method is asked. Towards the method
    a call is therefore a stream of messages, of which it reads one: to the client that makes no difference.

    Attributes:
        slots: free while another message may be received.
    """

    def __init__(self, limits: Limits) -> None:
        self._seconds = limits.upload_seconds
        self.slots = asyncio.Semaphore(max(1, limits.waiting_bytes // limits.request_bytes))

    def handler(self, method: Method, request_type: Any) -> grpc.RpcMethodHandler:
        """Return what gRPC calls for ``method``, which takes a request and returns the response or raises."""

        async def receive_and_answer(requests: object, context: grpc.aio.ServicerContext) -> Any:
            answer = await self._answer(method, context)
            if isinstance(answer, _Refused):  # not where the request is known: gRPC keeps an abort and all its frames
                await context.abort(answer.code, answer.message)
            return answer

        return grpc.stream_unary_rpc_method_handler(
            receive_and_answer, request_type.FromString, lambda response: response.SerializeToString()
        )

    async def _answer(self, method: Method, context: grpc.aio.ServicerContext) -> Any:
        try:
            return await method(await self._receive(context))
        except Exception as error:
            if not isinstance(error, Refusal):
                logger.exception("A request failed.")
            return _Refused.of(from_error(error))

    async def _receive(self, context: grpc.aio.ServicerContext) -> Any:
        try:
            async with self.slots:
                message = await asyncio.wait_for(context.read(), self._seconds)
        except asyncio.TimeoutError:
            raise Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "The message did not arrive in time.") from None
        if message is grpc.aio.EOF:
            raise invalid("The call has no message.")
        return message


@dataclass(frozen=True)
class _Refused:
    """What is told of a refusal, without its frames."""

    code: grpc.StatusCode
    message: str

    @staticmethod
    def of(refusal: Refusal) -> _Refused:
        return _Refused(refusal.code, refusal.message)


class PredictionService:
    """Predict and GetModelMetadata."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def Predict(self, request: PredictRequest) -> PredictResponse:
        start, code = time.monotonic(), grpc.StatusCode.CANCELLED
        try:
            response = await self._predict(request)
            code = grpc.StatusCode.OK
            return response
        except Exception as error:
            code = from_error(error).code
            raise
        finally:
            model = self._backend.label(request.model_spec.name)
            self._backend.metrics.requests.labels(model, "grpc", code.name).inc()
            self._backend.metrics.seconds.labels(model, "grpc").observe(time.monotonic() - start)

    async def _predict(self, request: PredictRequest) -> PredictResponse:
        backend = self._backend
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        with backend.admit(request.ByteSize()), backend.repository.use(request.model_spec) as servable:
            name = signature_name(request.model_spec.signature_name)
            signature = servable.signatures.get(name)
            if signature is None:
                raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
            wanted = _wanted_outputs(signature, list(request.output_filter))
            inputs, size = await asyncio.to_thread(_checked_inputs, backend, signature, request)
            outputs = await backend.predict(signature, inputs, size)
            response = PredictResponse(model_spec=spec_of(servable, name))
            await asyncio.to_thread(_fill, response, {key: outputs[key] for key in wanted})
            return response

    async def GetModelMetadata(self, request: GetModelMetadataRequest) -> GetModelMetadataResponse:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        return self._backend.metadata(request.model_spec, list(request.metadata_field))


class ModelService:
    """GetModelStatus."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def GetModelStatus(self, request: GetModelStatusRequest) -> GetModelStatusResponse:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        return GetModelStatusResponse(model_version_status=self._backend.repository.statuses(request.model_spec))


def _wanted_outputs(signature: Signature, output_filter: list[str]) -> list[str]:
    known = sorted(signature.definition.outputs)
    for place, name in enumerate(output_filter):
        if name not in known:
            raise invalid(
                f"output tensor alias not found in signature: {name} Outputs expected to be in the set "
                f"{{{','.join(known)}}}."
            )
        if name in output_filter[:place]:
            raise invalid(f"duplicate output tensor alias: {name}")
    return output_filter or known


def _checked_inputs(backend: Backend, signature: Signature, request: PredictRequest) -> tuple[Tensors, int]:
    """Return the inputs as arrays. Types and shapes come first: a few bytes can claim to be terabytes."""
    shapes = {
        name: (proto.dtype, [dimension.size for dimension in proto.tensor_shape.dim])
        for name, proto in request.inputs.items()
    }
    size = signature.check(shapes)
    backend.batcher.check_size(size)
    inputs = {}
    for name, proto in request.inputs.items():
        try:
            inputs[name] = tf.make_ndarray(proto)
        except (TypeError, ValueError) as error:
            raise invalid(f"tensor parsing error: {name}") from error
    return inputs, size


def _fill(response: PredictResponse, outputs: Tensors) -> None:
    for name, value in outputs.items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
