"""The client against gRPC and against the embedded server; `kerasortho predict --server` from end to end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
grpc = pytest.importorskip("grpc")
pytest.importorskip("fastapi")
from tensorflow_serving.apis import prediction_service_pb2_grpc  # noqa: E402
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataResponse, SignatureDefMap  # noqa: E402
from tensorflow_serving.apis.predict_pb2 import PredictResponse  # noqa: E402

from kerasortho.cli.main import main  # noqa: E402
from kerasortho.data.phantom.generate import PhantomSettings, generate_phantoms  # noqa: E402
from kerasortho.errors import KerasOrthoError  # noqa: E402
from kerasortho.evaluation.predict import predict  # noqa: E402
from kerasortho.radiograph import read_radiograph  # noqa: E402
from kerasortho.serving import client  # noqa: E402
from kerasortho.serving.client import ServerPredictor, encoded  # noqa: E402

CLASSES = ["lower", "upper"]


class GrpcServer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers as TensorFlow Serving with a classifier that calls every image "upper"; or as it is told to."""

    def __init__(self) -> None:
        self.refusals: list[tuple[grpc.StatusCode, str]] = []  # these come first
        self.asked = 0

    def GetModelMetadata(self, request: Any, context: Any) -> Any:
        signatures = SignatureDefMap()
        for name in ("probabilities", "label", "classes", "error"):
            signatures.signature_def["serving_default"].outputs[name].name = name
        response = GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(signatures)
        return response

    def Predict(self, request: Any, context: Any) -> Any:
        self.asked += 1
        if self.refusals:
            context.abort(*self.refusals.pop(0))
        response = PredictResponse()
        answer = {"probabilities": [[0.25, 0.75]], "label": [b"upper"], "classes": [CLASSES], "error": [b""]}
        for name, value in answer.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A PNG."""
    cv2.imwrite(str(tmp_path / "a.png"), np.arange(0, 240, dtype=np.uint8).reshape(20, 12))
    return tmp_path / "a.png"


@pytest.fixture
def grpc_server() -> Iterator[tuple[GrpcServer, str]]:
    service, made = GrpcServer(), grpc.server(ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, made)
    port = made.add_insecure_port("127.0.0.1:0")
    made.start()
    yield service, f"grpc://127.0.0.1:{port}"
    made.stop(None).wait()


def test_the_grpc_port_is_no_http_server(grpc_server: tuple[GrpcServer, str]) -> None:
    address = grpc_server[1].removeprefix("grpc://")
    with pytest.raises(KerasOrthoError, match=f"is no HTTP server.*ask grpc://{address}") as error:
        ServerPredictor(f"http://{address}", "limb")
    assert str(error.value).isprintable()


@pytest.mark.parametrize("model, words", [
    ("limbo", r'Latest\(limbo\)\. The models there, with their versions: bone \(1\), limb \(1\)\. '
              r'Did you mean "limb"\?$'),
    ("limb/versions/7", r"Specific\(limb, 7\)\. The models there, with their versions: bone \(1\), limb \(1\)\.$"),
])  # fmt: skip
def test_models_that_the_embedded_server_does_not_have(running: Any, model: str, words: str) -> None:
    with pytest.raises(KerasOrthoError, match=words):
        ServerPredictor(running.addresses.rest, model)
    with pytest.raises(KerasOrthoError, match=r"Servable not found .* Are the model's name and version right"):
        ServerPredictor(f"grpc://{running.addresses.grpc}", model)


def test_an_overloaded_server_is_asked_again_over_grpc(
    grpc_server: tuple[GrpcServer, str], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, url = grpc_server
    waits: list[float] = []
    monkeypatch.setattr(client.time, "sleep", waits.append)
    service.refusals = [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full"),
        (grpc.StatusCode.UNAVAILABLE, "the server is stopping"),
    ]
    (answer,) = predict(ServerPredictor(url, "limb"), file)
    assert answer["label"] == "upper" and answer["probabilities"] == {"lower": 0.25, "upper": 0.75}
    assert service.asked == 3 and len(waits) == 2


def test_a_message_that_is_too_large_is_no_overload(grpc_server: tuple[GrpcServer, str], file: Path) -> None:
    """gRPC has one code for both; sending it again would not help. The text is gRPC's: see test_oversized_bodies."""
    service, url = grpc_server
    service.refusals = [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (2097176 vs. 1048576)")
    ]
    (answer,) = predict(ServerPredictor(url, "limb"), file)
    assert service.asked == 1 and "2097176 vs. 1048576" in answer["error"] and "--max-request-mb" in answer["error"]


def test_dicom_is_sent_to_half_a_step_of_16_bits(tmp_path: Path) -> None:
    """A phantom of 12 bits, as a scanner may store it."""
    pytest.importorskip("pydicom")
    file = phantom_dicom(tmp_path)
    radiograph = read_radiograph(file)
    sent = cv2.imdecode(np.frombuffer(encoded(file, radiograph), np.uint8), cv2.IMREAD_UNCHANGED)
    assert sent.dtype == np.uint16 and len(np.unique(sent)) > 256
    assert np.abs(sent / 65535 - radiograph.pixels.astype(np.float64)).max() <= 0.501 / 65535


def phantom_dicom(folder: Path) -> Path:
    generate_phantoms(folder / "phantom", PhantomSettings(patients=1, views=1, size=160, seed=3, format="dicom"))
    (file,) = folder.rglob("*.dcm")
    return file


@pytest.mark.parametrize("door", ["rest", "grpc"])
@pytest.mark.parametrize("model", ["limb", "bone"])
def test_the_command_asks_an_embedded_server_for_a_dicom_file(
    running: Any, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], door: str, model: str
) -> None:
    """`kerasortho predict --server`, by both doors: the answer is that of the run itself."""
    pytest.importorskip("pydicom")
    file = phantom_dicom(tmp_path / "study")
    url = running.addresses.rest if door == "rest" else f"grpc://{running.addresses.grpc}"
    answers = []
    for place, words in (("served", ["--server", url, "--model", model]), ("here", [str(runs[model])])):
        output = ["--output", str(tmp_path / place)] if model == "bone" else []
        assert main(["predict", *words, str(file), *output]) == 0
        (line,) = capsys.readouterr().out.splitlines()
        answers.append(json.loads(line))
    served, here = answers
    assert served.keys() == here.keys() and served["file"] == str(file)
    if model == "limb":
        assert served["label"] == here["label"]
        assert served["probabilities"] == pytest.approx(here["probabilities"], abs=1e-4)
    else:
        assert served["spacing_mm"] == here["spacing_mm"] and Path(served["overlay"]).is_file()
        masks = [cv2.imread(answer["mask"], cv2.IMREAD_UNCHANGED) for answer in answers]
        assert masks[0].shape == tuple(served["size"]) and (masks[0] != masks[1]).mean() < 1e-3
