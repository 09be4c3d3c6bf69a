"""The embedded server with real models: load, rubbish, and what it tells about itself."""

from __future__ import annotations

import base64
import io
import runpy
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
grpc = pytest.importorskip("grpc")
pytest.importorskip("fastapi")
from PIL import Image  # noqa: E402
from tensorflow.core.framework.tensor_pb2 import TensorProto  # noqa: E402
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc  # noqa: E402

from kerasortho.errors import KerasOrthoError  # noqa: E402

images = runpy.run_path(str(Path(__file__).parents[1] / "serving_contract" / "images.py"))
png, BAD = images["png"], images["BAD"]


def row(answer: tuple[int, Any]) -> dict[str, Any]:
    assert answer[0] == 200, answer
    (found,) = answer[1]["predictions"]
    return dict(found)


def mask_size(found: dict[str, Any]) -> tuple[int, int]:
    width, height = Image.open(io.BytesIO(base64.b64decode(found["mask_png_bytes"]["b64"]))).size
    return height, width


def grpc_stub(server: Any, **options: Any) -> Any:
    channel = grpc.insecure_channel(server.addresses.grpc, options=list(options.items()))
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request(model: str, data: Any, key: str = "image_bytes", signature: str = "") -> Any:
    wanted = predict_pb2.PredictRequest()
    wanted.model_spec.name, wanted.model_spec.signature_name = model, signature
    wanted.inputs[key].CopyFrom(data if isinstance(data, TensorProto) else tf.make_tensor_proto(data))
    return wanted


def test_answers_are_never_swapped_and_corrupt_images_harm_nobody(running: Any) -> None:
    """Every client sends images of a size of its own, over both doors; some of them send rubbish."""
    stub = grpc_stub(running)

    def client(number: int) -> int:
        shape = (20 + number, 90 - number)
        image = png(shape, top=number % 2 == 0, seed=number)
        answered = 0
        for turn in range(12):
            if number % 4 == 3 and turn % 2:
                status, answer = running.predict(list(BAD.values())[turn % len(BAD)])
                assert status == 400 and answer["error"]
            elif number % 2:
                assert mask_size(row(running.predict(image))) == shape
            else:
                response = stub.Predict(request("bone", [image]), timeout=60)
                (mask,) = tf.make_ndarray(response.outputs["mask_png_bytes"])
                assert Image.open(io.BytesIO(mask)).size == shape[::-1]
            answered += 1
        return answered

    with ThreadPoolExecutor(24) as clients:
        assert sum(clients.map(client, range(24))) == 24 * 12
    metrics = running.http("/monitoring/prometheus/metrics")[1]
    batches = float(metrics.split("kerasortho_serving_batch_images_count ")[1].split()[0])
    pictures = float(metrics.split("kerasortho_serving_batch_images_sum ")[1].split()[0])
    assert pictures / batches > 1.3  # they were computed together


def test_clients_that_leave(running: Any) -> None:
    host, port = running.addresses.rest.removeprefix("http://").split(":")
    for _ in range(20):
        with socket.create_connection((host, int(port))) as leaving:
            leaving.sendall(b"POST /v1/models/limb:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    running.wait(lambda: running.backend.running == 0)
    with pytest.raises(grpc.RpcError) as error:
        grpc_stub(running).Predict(request("bone", [png((900, 900))] * 8), timeout=0.02)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    running.wait(lambda: running.backend.running == 0)
    assert running.predict(png())[0] == 200


def test_tensors_that_claim_to_be_huge(running: Any) -> None:
    """A message of a few bytes stands for terabytes: one value, and a shape. Nothing of it is unpacked."""
    for shape in ([10**6, 32, 32, 1], [8, 10**6, 10**6, 1], [-1, 32, 32, 1], [1, 32, 32], []):
        proto = tf.make_tensor_proto(0.5, tf.float32)
        proto.tensor_shape.CopyFrom(tf.TensorShape([None if s < 0 else s for s in shape]).as_proto())
        with pytest.raises(grpc.RpcError) as error:
            grpc_stub(running).Predict(request("limb", proto, "image", "tensor"), timeout=60)
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT, shape
    broken = tf.make_tensor_proto(np.zeros([1, 32, 32, 1], np.float32))
    broken.tensor_content = broken.tensor_content[:100]
    with pytest.raises(grpc.RpcError) as error:
        grpc_stub(running).Predict(request("limb", broken, "image", "tensor"), timeout=60)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "tensor parsing error: image" in error.value.details()


def test_wrong_shapes_name_the_right_one(running: Any) -> None:
    status, answer = running.http(
        "/v1/models/limb:predict", {"signature_name": "tensor", "instances": [[[[0.5], [0.5]]]]}
    )
    assert status == 400 and "[1, 1, 2, 1]; [-1, 32, 32, 1] is expected" in answer["error"]


def test_json_that_would_harm_a_parser(running: Any) -> None:
    for body in (
        b"[" * 100_000,
        b'{"instances":' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"instances": [' + b"9" * 5000 + b"]}",
    ):
        status, answer = running.http("/v1/models/limb:predict", body)
        assert status == 400 and len(answer["error"]) < 500
    assert running.http("/v1/models/limb/versions/" + "9" * 4000)[0] == 400
    assert running.http("/v1/models/%FF%00:predict", {"instances": [1]})[0] == 404
    assert running.predict(png())[0] == 200


def test_no_more_numbers_are_read_than_the_model_takes(running: Any) -> None:
    """The tensor signatures take 8 images of 32 x 32; a batch of them is answered, a flood is not parsed."""
    full = {"signature_name": "tensor", "inputs": np.full([8, 32, 32, 1], 0.25).tolist()}
    assert running.http("/v1/models/limb:predict", full)[0] == 200
    status, answer = running.http("/v1/models/limb:predict", b"[" + b"0," * 20_000)
    assert status == 400 and "take 8192 at most" in answer["error"]


def test_requests_without_images(running: Any) -> None:
    status, answer = running.http("/v1/models/limb:predict", {"inputs": []})
    assert status == 400 and "at least one image" in answer["error"]
    with pytest.raises(grpc.RpcError) as error:
        grpc_stub(running).Predict(request("limb", tf.make_tensor_proto(np.empty([0], object))), timeout=60)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_the_saved_model_in_this_process_refuses_in_the_words_of_a_server(running: Any) -> None:
    from kerasortho.serving.ways import SavedModelWay

    with pytest.raises(KerasOrthoError) as error:
        SavedModelWay(running.folder / "limb" / "1").ask(b"")
    assert running.predict(b"", "limb")[1] == {"error": str(error.value)}


def test_classify_and_regress(running: Any) -> None:
    status, answer = running.http("/v1/models/limb:classify", {"examples": [{}]})
    assert status == 501 and ":predict" in answer["error"]


def test_health_readiness_and_metrics(running: Any) -> None:
    assert running.http("/healthz") == (200, {"status": "alive"})
    assert running.http("/readyz") == (200, {"status": "ready", "models": {"bone": [1], "limb": [1]}})
    running.predict(png(), "limb")
    running.predict(png(), "a-name-of-the-clients-own")
    metrics = running.http("/monitoring/prometheus/metrics")[1]
    assert 'kerasortho_serving_requests_total{api="rest",code="OK",model="limb"}' in metrics
    assert 'kerasortho_serving_requests_total{api="rest",code="NOT_FOUND",model="unknown"}' in metrics
    assert "a-name-of-the-clients-own" not in metrics
    assert "kerasortho_serving_ready 1.0" in metrics and "process_resident_memory_bytes" in metrics
