"""The embedded server in this process, on tiny models."""

from __future__ import annotations

import base64
import json
import runpy
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("grpc")

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

_made = runpy.run_path(str(Path(__file__).parents[1] / "export" / "conftest.py"))
tiny, runs, exported = _made["tiny"], _made["runs"], _made["exported"]


class Echo(tf.Module):
    """A stand-in for an exported model that loads at once: it gives every file back, and its length and its version.

    Files that begin with "bad" are what an exported model calls unreadable.
    """

    def __init__(self, version: int) -> None:
        super().__init__()
        self.version = tf.Variable(version)
        self.weights = tf.Variable(tf.zeros([2_500_000]))  # 10 MB that a forgotten version would keep

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def answer(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        bad = tf.strings.substr(image_bytes, 0, 3) == b"bad"
        error = tf.where(bad, "Not readable.", "")
        some = tf.debugging.Assert(tf.reduce_any(~bad), [tf.concat([error, [""]], 0)[0]])
        with tf.control_dependencies([some]):
            length = tf.strings.length(image_bytes)
        version = tf.fill(tf.shape(length), self.version) + 0 * tf.cast(self.weights[0], tf.int32)
        return {"file_bytes": tf.identity(image_bytes), "length": length, "version": version, "error": error}


class Running:
    """An embedded server in a thread."""

    def __init__(self, folder: Path, **options: Any) -> None:
        from kerasortho.serving.server import Addresses, EmbeddedServer

        self.folder = folder
        self.server = EmbeddedServer(folder, Addresses(rest_port=0, grpc_port=0), poll_seconds=0.1, **options)
        self.backend = self.server.backend
        started = threading.Event()

        def note(addresses: Addresses) -> None:
            self.addresses = addresses
            started.set()

        self.thread = threading.Thread(target=self.server.run, args=(note,))
        self.thread.start()
        assert started.wait(30)

    def http(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Return status and body of the answer: JSON, or text for metrics."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            request = urllib.request.Request(f"{self.addresses.rest}{path}", data, headers or {})
            with urllib.request.urlopen(request, timeout=60) as response:
                status, content = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        try:
            return status, json.loads(content)
        except ValueError:
            return status, content.decode()

    def predict(self, image: bytes, model: str = "bone", which: str = "") -> tuple[int, Any]:
        body = {"instances": [{"b64": base64.b64encode(image).decode()}]}
        return self.http(f"/v1/models/{model}{which}:predict", body)

    @cached_property
    def stub(self) -> Any:
        return prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(self.addresses.grpc))

    @staticmethod
    def message(*files: bytes) -> Any:
        """Return the PredictRequest of ``files`` to "bone"."""
        wanted = predict_pb2.PredictRequest()
        wanted.model_spec.name = "bone"
        wanted.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(files))
        return wanted

    def predict_grpc(self, *files: bytes) -> Any:
        return self.stub.Predict(self.message(*files), timeout=60)

    def wait(self, condition: Callable[[], Any], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.02)

    def stop(self) -> None:
        self.server.stop()
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture
def add_version() -> Callable[[Path, int], Path]:
    """Write a version of `Echo`, as `kerasortho export` does: a temporary folder first, then a rename."""

    def add(folder: Path, version: int) -> Path:
        staging = folder / f".{version}"
        model = Echo(version)
        tf.saved_model.save(model, str(staging), signatures=model.answer)
        (staging / "model.json").write_text('{"format": 1}')
        return staging.rename(folder / str(version))

    return add


@pytest.fixture
def models(tmp_path: Path, add_version: Callable[[Path, int], Path]) -> Path:
    """A folder with version 1 of `Echo` under the name "bone"."""
    (tmp_path / "bone").mkdir()
    add_version(tmp_path / "bone", 1)
    return tmp_path


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    """Start a server on a folder; it is stopped at the end of the test."""
    servers = []

    def make(folder: Path, **options: Any) -> Running:
        servers.append(Running(folder, **options))
        servers[-1].wait(lambda: servers[-1].backend.loaded)
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], tuple[threading.Event, threading.Event]]]:
    """From the call on models wait before they answer: for the first of the events returned. The second: one waits."""
    from kerasortho.serving.servable import Signature

    gate, busy, run = threading.Event(), threading.Event(), Signature.run

    def held(self: Any, inputs: Any) -> Any:
        busy.set()
        assert gate.wait(60)
        return run(self, inputs)

    def begin() -> tuple[threading.Event, threading.Event]:
        monkeypatch.setattr(Signature, "run", held)
        return gate, busy

    yield begin
    gate.set()


@pytest.fixture(scope="session")
def running(exported: Path) -> Iterator[Running]:
    """A server with real models for all tests, which leave it as it is."""
    server = Running(exported)
    server.wait(lambda: server.backend.loaded)
    yield server
    server.stop()
