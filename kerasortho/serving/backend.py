"""What REST and gRPC have in common: a request finds its model, is let in if there is room, and gets its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import grpc
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataResponse, SignatureDefMap
from tensorflow_serving.apis.model_pb2 import ModelSpec

from kerasortho.serving.batching import Batcher
from kerasortho.serving.metrics import UNKNOWN, Metrics
from kerasortho.serving.refusal import Refusal, invalid
from kerasortho.serving.repository import Repository
from kerasortho.serving.servable import DEFAULT_SIGNATURE, Servable, Signature, Tensors
from kerasortho.serving.settings import Limits, megabytes

SIGNATURE_DEF = "signature_def"  # the one metadata field of GetModelMetadata


class Backend:
    """The server behind both doors. `admit` and `predict` are called in one event loop; the rest from anywhere.

    Attributes:
        ready: whether all models of the first look are loaded and the server is not stopping.
        running: requests being received or answered; over REST until the client has the answer.
    """

    def __init__(self, repository: Repository, batcher: Batcher, metrics: Metrics, limits: Limits) -> None:
        self.repository = repository
        self.batcher = batcher
        self.metrics = metrics
        self.limits = limits
        self.loaded = False
        self.stopping = False
        self.running = 0
        self._bytes = 0
        metrics.watch("kerasortho_serving_waiting_images", "Images in the queues.", batcher.waiting)
        metrics.watch("kerasortho_serving_running_requests", "Requests in the server.", lambda: self.running)
        metrics.watch("kerasortho_serving_request_bytes", "Size of those requests.", lambda: self._bytes)
        metrics.watch("kerasortho_serving_ready", "1 when ready for requests.", lambda: self.ready)

    @property
    def ready(self) -> bool:
        return self.loaded and not self.stopping and any(self.repository.available().values())

    @contextmanager
    def admit(self, size: int) -> Iterator[Callable[[int], None]]:
        """Let in a request of so many bytes while the block lasts. Raises Refusal where there is no room.

        Yields what is called with the number of bytes that are held instead from then on, such as those of the answer.
        """
        if self.stopping:
            raise Refusal(grpc.StatusCode.UNAVAILABLE, "The server is stopping: send the request again.")
        if self._bytes + size > self.limits.waiting_bytes:
            raise Refusal(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"The server has no room for {megabytes(size)}: requests of {megabytes(self._bytes)} are being "
                f"answered and {megabytes(self.limits.waiting_bytes)} is the limit. Send it again later.",
            )
        held = size

        def hold(size: int) -> None:
            nonlocal held
            self._bytes += size - held
            held = size

        self.running += 1
        self._bytes += size
        try:
            yield hold
        finally:
            self.running -= 1
            self._bytes -= held

    async def predict(self, signature: Signature, inputs: Tensors, size: int) -> Tensors:
        """Return the outputs for checked inputs of batch size ``size``. Raises Refusal."""
        return await asyncio.wrap_future(self.batcher.submit(signature, inputs, size))

    def metadata(self, spec: ModelSpec, fields: Sequence[str]) -> GetModelMetadataResponse:
        """Return the signatures of a version. Raises Refusal as TensorFlow Serving does."""
        if not fields:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in fields:
            if field != SIGNATURE_DEF:
                raise invalid(f"Metadata field {field} is not supported")
        response = GetModelMetadataResponse()
        with self.repository.use(spec) as servable:
            response.model_spec.CopyFrom(spec_of(servable))
            response.metadata[SIGNATURE_DEF].Pack(SignatureDefMap(signature_def=servable.definitions))
        return response

    def label(self, name: str) -> str:
        """Return what metrics may call the model a client asked for."""
        return name if name in self.repository.available() else UNKNOWN


def spec_of(servable: Servable, signature: str = "") -> ModelSpec:
    """Return which version, and signature, has answered."""
    spec = ModelSpec(name=servable.name, signature_name=signature)
    spec.version.value = servable.version
    return spec


def signature_name(name: str) -> str:
    """Return the signature that a request means."""
    return name or DEFAULT_SIGNATURE
