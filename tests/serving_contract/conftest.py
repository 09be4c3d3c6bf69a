"""The server that the contract is checked on.

By default that is the embedded server, on tiny models that are exported for it. To check another one, such as
TensorFlow Serving itself, start it on an exported classifier and segmenter and name it:

    KERASORTHO_SERVING="rest=http://host:8501 grpc=host:8500 classifier=limb segmenter=bone label=stable max_batch=8" \\
        python -m pytest tests/serving_contract

``label`` is a version label of the classifier, ``max_batch`` the server's max_batch_size; tests that need one are
skipped where it is not given. Nothing of kerasortho is imported to ask: only the stubs of tensorflow-serving-api, and
plain HTTP.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

tf = pytest.importorskip("tensorflow")
grpc = pytest.importorskip("grpc")
from tensorflow_serving.apis import (  # noqa: E402
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

_made = runpy.run_path(str(Path(__file__).parents[1] / "export" / "conftest.py"))
tiny, runs = _made["tiny"], _made["runs"]


@dataclass(frozen=True)
class Target:
    """A server, and how to ask it."""

    rest: str
    grpc: str
    classifier: str
    segmenter: str
    label: str = ""
    max_batch: str = ""

    def http(self, path: str, body: Any = None, method: str | None = None) -> tuple[int, Any]:
        """Return status and JSON body of the answer; ``body`` is bytes, or what JSON is made of."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.rest}{path}", data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def rest_predict(self, model: str, body: Any, which: str = "") -> tuple[int, Any]:
        return self.http(f"/v1/models/{model}{which}:predict", body)

    def channel(self) -> Any:
        return grpc.insecure_channel(self.grpc, options=[("grpc.max_receive_message_length", -1)])

    def grpc_predict(
        self, model: str, inputs: dict[str, Any], *, signature: str = "", version: int | None = None, label: str = "",
        outputs: tuple[str, ...] = (),
    ) -> Any:  # fmt: skip
        request = predict_pb2.PredictRequest(output_filter=outputs)
        request.model_spec.name = model
        request.model_spec.signature_name = signature
        if version is not None:
            request.model_spec.version.value = version
        if label:
            request.model_spec.version_label = label
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        with self.channel() as channel:
            return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=60)

    def model_service(self, request: Any) -> Any:
        with self.channel() as channel:
            return model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=60)

    def metadata(self, request: Any) -> Any:
        with self.channel() as channel:
            return prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata(request, timeout=60)


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """The server under test, with both models available."""
    if described := os.environ.get("KERASORTHO_SERVING"):
        named = Target(**dict(word.split("=", 1) for word in described.split()))
        _wait_for(named)
        yield named
        return
    folder = request.getfixturevalue("labelled_models")
    command = [sys.executable, "-m", "kerasortho", "serve", str(folder), "--with", "embedded"]
    command += ["--rest-port", "0", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"rest=(\S+) grpc=(\S+)", process.stdout.readline())
            assert found, "the embedded server did not start"
            started = Target(found[1], found[2], "limb", "bone", label="stable", max_batch="8")
            _wait_for(started)
            yield started
        finally:
            process.terminate()
    assert process.returncode == 0


@pytest.fixture(scope="session")
def labelled_models(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from kerasortho.export.export import export

    folder = tmp_path_factory.mktemp("exported")
    export(runs["limb"], folder, label="stable")
    export(runs["bone"], folder)
    return folder


def _wait_for(server: Target, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    for model in (server.classifier, server.segmenter):
        while True:
            try:
                status, answer = server.http(f"/v1/models/{urllib.parse.quote(model)}")
                if status == 200 and any(v["state"] == "AVAILABLE" for v in answer["model_version_status"]):
                    break
            except OSError:
                pass
            assert time.monotonic() < end, f"{model} is not available at {server.rest}"
            time.sleep(0.2)
