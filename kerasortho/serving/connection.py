"""One connection to one model on a server, by REST or gRPC: what it answers with, and one question at a time.

REST: https://www.tensorflow.org/tfx/serving/api_rest. gRPC: the genuine stubs of tensorflow-serving-api.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from kerasortho.errors import KerasOrthoError, did_you_mean

TIMEOUT_S = 120.0
LARGEST_MESSAGE = 256 << 20  # bytes; gRPC's own default of 4 MB is less than a radiograph
_MODEL = re.compile(r"(?P<name>[^/]+)(/versions/(?P<version>\d+)|/labels/(?P<label>[^/]+))?")
_OVERLOAD = (429, 503)
_LOOK_AT_NAME = ". Are the model's name and version right? Its folder is named so, and the version's within it."
_TOO_LARGE = "larger than max"  # in gRPC's own words, which have the same code as an overload


class OverloadedError(KerasOrthoError):
    """The server has no room at the moment, or is starting: asking again later may succeed."""


class Connection(Protocol):
    """A model on a server."""

    def outputs(self) -> set[str]:
        """Return the names of what ``serving_default`` answers with."""

    def ask(self, image: bytes) -> Mapping[str, Any]:
        """Return the answer to one encoded image: strings as str, names ending in _bytes as bytes, numbers as such."""

    def tensor(self, image: np.ndarray) -> np.ndarray:
        """Return the answer to a preprocessed ``image`` (h, w) float32: (C,), or (h, w) of the foreground."""


def connect(server: str, model: str) -> Connection:
    """Return a connection to ``model`` ("NAME", "NAME/versions/3", "NAME/labels/stable") on ``server``."""
    named = _MODEL.fullmatch(model)
    if not named:
        raise KerasOrthoError(f"A model is named NAME, NAME/versions/3 or NAME/labels/stable. Received: {model!r}.")
    try:
        address = urllib.parse.urlsplit(server)
        port = address.port
    except ValueError as error:  # such as a port beyond 65535
        raise KerasOrthoError(f"{server!r} is no server's address: {error}.") from None
    before, models, _ = address.path.partition("/v1/models")  # a path before it is that of a proxy
    if address.hostname and (models or address.query or address.fragment):
        raise KerasOrthoError(
            f"The model is named with --model, not in the server's address. Received: {server!r}. "
            f"Give --server {address.scheme}://{address.netloc}{before} --model NAME."
        )
    if address.scheme in ("http", "https") and address.hostname:
        return RestConnection(server.rstrip("/"), model)
    if address.scheme == "grpc" and address.hostname and port:
        return GrpcConnection(address.netloc, **named.groupdict())
    raise KerasOrthoError(
        f"The server's address must be http://HOST:PORT, https://HOST:PORT or grpc://HOST:PORT. Received: {server!r}."
    )


class RestConnection:
    """HTTP and JSON."""

    def __init__(self, server: str, model: str) -> None:
        self._server, self._model, self._name = server, f"{server}/v1/models/{model}", model.split("/")[0]

    def outputs(self) -> set[str]:
        """See Connection."""
        metadata = self._call(f"{self._model}/metadata")
        try:
            return set(metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]["outputs"])
        except (KeyError, TypeError):
            raise KerasOrthoError(f"{self._model}/metadata names no signature serving_default.") from None

    def ask(self, image: bytes) -> Mapping[str, Any]:
        """See Connection."""
        instance = {"image_bytes": {"b64": base64.b64encode(image).decode()}}
        answer = self._call(f"{self._model}:predict", json.dumps({"instances": [instance]}).encode())
        try:
            (row,) = answer["predictions"]
            return {key: _plain(key, value) for key, value in row.items()}
        except (KeyError, TypeError, ValueError, AttributeError, binascii.Error):
            raise KerasOrthoError(f"{self._model} gave an answer of another form. Is it the right server?") from None

    def tensor(self, image: np.ndarray) -> np.ndarray:
        """See Connection."""
        body = {"signature_name": "tensor", "instances": [image[..., None].tolist()]}
        (answer,) = self._call(f"{self._model}:predict", json.dumps(body).encode())["predictions"]
        return _map_or_vector(answer)

    def _call(self, url: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            text = _error_text(error)
            if error.code == http.client.NOT_FOUND:
                text += self._models_there()
            raise (OverloadedError if error.code in _OVERLOAD else KerasOrthoError)(text) from None
        except http.client.RemoteDisconnected as error:  # a BadStatusLine, too, but one without a line
            raise self._silent(error) from None
        except http.client.BadStatusLine:
            address = urllib.parse.urlsplit(self._server).netloc
            raise KerasOrthoError(
                f"{self._server} answers, but is no HTTP server. If that is its gRPC port, ask grpc://{address}, or "
                "name the port of REST."
            ) from None
        except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
            raise self._silent(error) from None

    def _silent(self, error: Exception) -> KerasOrthoError:
        reason = _printable(str(getattr(error, "reason", error)))
        return KerasOrthoError(
            f"{self._server} does not answer ({reason}). Is the server running, and is this its REST address?"
        )

    def _models_there(self) -> str:
        """Return which models there are, as a sentence: `kerasortho serve` tells, TensorFlow Serving does not."""
        try:
            with urllib.request.urlopen(f"{self._server}/readyz", timeout=TIMEOUT_S) as response:
                models = {str(name): list(versions) for name, versions in json.load(response)["models"].items()}
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError):
            return _LOOK_AT_NAME
        known = ", ".join(f"{name} ({', '.join(map(str, versions))})" for name, versions in models.items() if versions)
        hint = "" if self._name in models else did_you_mean(self._name, models)
        return f". The models there, with their versions: {known}.{hint}"


class GrpcConnection:
    """gRPC, without encryption, as TensorFlow Serving's by default."""

    def __init__(self, address: str, *, name: str, version: str | None = None, label: str | None = None) -> None:
        import grpc
        from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

        limits = [(f"grpc.max_{way}_message_length", LARGEST_MESSAGE) for way in ("send", "receive")]
        self._address, self._name, self._version, self._label = address, name, version, label
        self._stub = PredictionServiceStub(grpc.insecure_channel(address, limits))

    def outputs(self) -> set[str]:
        """See Connection."""
        from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap

        request = GetModelMetadataRequest(metadata_field=["signature_def"])
        self._name_model(request.model_spec)
        signatures = SignatureDefMap()
        self._call(self._stub.GetModelMetadata, request).metadata["signature_def"].Unpack(signatures)
        return set(signatures.signature_def["serving_default"].outputs)

    def ask(self, image: bytes) -> Mapping[str, Any]:
        """See Connection."""
        import tensorflow as tf
        from tensorflow_serving.apis.predict_pb2 import PredictRequest

        request = PredictRequest()
        self._name_model(request.model_spec)
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([image]))
        outputs = self._call(self._stub.Predict, request).outputs
        return plain_row({key: tf.make_ndarray(value) for key, value in outputs.items()})

    def tensor(self, image: np.ndarray) -> np.ndarray:
        """See Connection."""
        import tensorflow as tf
        from tensorflow_serving.apis.predict_pb2 import PredictRequest

        request = PredictRequest()
        self._name_model(request.model_spec)
        request.model_spec.signature_name = "tensor"
        request.inputs["image"].CopyFrom(tf.make_tensor_proto(image[None, ..., None], tf.float32))
        (answer,) = self._call(self._stub.Predict, request).outputs.values()
        return _map_or_vector(tf.make_ndarray(answer)[0])

    def _name_model(self, spec: Any) -> None:
        spec.name = self._name
        if self._version is not None:
            spec.version.value = int(self._version)
        if self._label is not None:
            spec.version_label = self._label

    def _call(self, method: Any, request: Any) -> Any:
        import grpc

        try:
            return method(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
            if code == grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in details:
                raise KerasOrthoError(
                    f"the image or its answer is larger than a gRPC message may be ({details}). `kerasortho serve` "
                    "takes larger ones with --max-request-mb."
                ) from None
            if code == grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise OverloadedError(details) from None
            if code == grpc.StatusCode.UNAVAILABLE and "connect" not in details.lower():
                raise OverloadedError(details) from None
            if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                message = (
                    f"{self._address} does not answer ({details}). Is the server running, and is this its gRPC port?"
                )
                raise KerasOrthoError(message) from None
            hint = _LOOK_AT_NAME if code == grpc.StatusCode.NOT_FOUND else ""
            raise KerasOrthoError(f"the server says: {details}{hint}") from None


def plain_row(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first row of every output, an array (B, ...) or a tensor, as plain values; see `Connection.ask`."""
    return {key: _text(key, np.asarray(value)[:1].tolist()[0]) for key, value in outputs.items()}


def _map_or_vector(answer: Any) -> np.ndarray:
    array = np.asarray(answer, np.float32)
    return array[..., 0] if array.ndim == 3 else array


def _plain(key: str, value: Any) -> Any:
    """Return one value of a REST answer; an output whose name ends in _bytes comes as {"b64": ...}."""
    return base64.b64decode(value["b64"]) if key.endswith("_bytes") else value


def _text(key: str, value: Any) -> Any:
    """Return one value of a gRPC answer, with text as str."""
    if isinstance(value, list):
        return [_text(key, item) for item in value]
    return value.decode() if isinstance(value, bytes) and not key.endswith("_bytes") else value


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _error_text(error: urllib.error.HTTPError) -> str:
    try:
        return f"the server says: {json.load(error)['error']}"
    except (ValueError, KeyError, TypeError, OSError):
        return f"the server answers with HTTP status {error.code} ({error.reason})"
