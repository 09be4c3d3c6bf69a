"""The client, against an HTTP server of the test's own: what is sent, how answers are read, when it asks again."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.predict import predict
from kerasortho.radiograph import Radiograph, read_radiograph
from kerasortho.radiograph.raster import encode_png
from kerasortho.serving import client
from kerasortho.serving.client import ServerPredictor, encoded
from kerasortho.serving.connection import connect

CLASSES = ["lower", "upper"]


class Server:
    """Answers as TensorFlow Serving with a classifier: "upper" for bright images; or as it is told to."""

    def __init__(self) -> None:
        self.outputs = ["probabilities", "label", "index", "classes", "error"]
        self.refusals: list[tuple[int, bytes]] = []  # these come first
        self.requests: list[tuple[str, bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(*outer.metadata(self.path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((self.path, body))
                self.answer(*(outer.refusals.pop(0) if outer.refusals else (200, outer.prediction(body))))

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def metadata(self, path: str) -> tuple[int, bytes]:
        if not path.startswith("/v1/models/limb"):
            return 404, b'{"error": "Servable not found for request: Latest(arm)"}'
        signature = {"serving_default": {"outputs": {name: {} for name in self.outputs}}}
        return 200, json.dumps({"metadata": {"signature_def": {"signature_def": signature}}}).encode()

    def prediction(self, body: bytes) -> bytes:
        pixels = self.sent(body)
        if "label" not in self.outputs:
            png = base64.b64encode(encode_png((pixels > np.median(pixels)).astype(np.uint8) * 255)).decode()
            row = {
                "mask_png_bytes": {"b64": png},
                "probability_png_bytes": {"b64": png},
                "threshold": 0.25,
                "error": "",
            }
            return json.dumps({"predictions": [{**row, "foreground_fraction": 0.5}]}).encode()
        upper = float(pixels.mean() > np.iinfo(pixels.dtype).max / 2)
        row = {"probabilities": [1 - upper, upper], "label": CLASSES[int(upper)], "index": int(upper)}
        return json.dumps({"predictions": [{**row, "classes": CLASSES, "error": ""}]}).encode()

    @staticmethod
    def sent(body: bytes) -> np.ndarray:
        (instance,) = json.loads(body)["instances"]
        data = base64.b64decode(instance["image_bytes"]["b64"])
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A bright PNG, a dark JPEG, a bright TIFF of 16 bits, and a file that is no image."""
    ramp = np.linspace(0, 60, 40 * 30).reshape(40, 30)
    cv2.imwrite(str(tmp_path / "a.png"), (190 + ramp).astype(np.uint8))
    cv2.imwrite(str(tmp_path / "b.jpg"), ramp.astype(np.uint8))
    cv2.imwrite(str(tmp_path / "c.tif"), (50_000 + 100 * ramp).astype(np.uint16))
    (tmp_path / "d.png").write_text("no image")
    return sorted(tmp_path.iterdir())


def test_answers_take_the_form_of_predict(server: Server, files: list[Path]) -> None:
    answers = list(predict(ServerPredictor(server.url, "limb"), files))
    assert [answer.get("label") for answer in answers] == ["upper", "lower", "upper", None]
    assert answers[0] == {"file": str(files[0]), "label": "upper", "probabilities": {"lower": 0.0, "upper": 1.0}}
    assert "no known image format" in answers[3]["error"]
    assert len(server.requests) == 3  # what cannot be read is not sent
    assert {path for path, _ in server.requests} == {"/v1/models/limb:predict"}


def test_versions_and_labels_are_part_of_the_address(server: Server, files: list[Path]) -> None:
    for model in ("limb/versions/3", "limb/labels/stable"):
        list(predict(ServerPredictor(server.url + "/", model), files[:1]))
        assert server.requests[-1][0] == f"/v1/models/{model}:predict"


def test_masks_of_the_server_are_written(server: Server, files: list[Path], tmp_path: Path) -> None:
    server.outputs = ["mask_png_bytes", "probability_png_bytes", "foreground_fraction", "threshold", "error"]
    (answer,) = predict(ServerPredictor(server.url, "limb"), files[2], output=tmp_path / "out")
    mask = cv2.imread(answer["mask"], cv2.IMREAD_UNCHANGED)
    stored = cv2.imread(str(files[2]), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, (stored > np.median(stored)) * 255)
    assert answer["threshold"] == 0.25 and answer["foreground_fraction"] == pytest.approx((mask > 0).mean(), abs=1e-6)
    assert Path(answer["overlay"]).is_file()


def test_png_and_jpeg_are_sent_as_they_are_and_others_without_loss(server: Server, files: list[Path]) -> None:
    for file in files[:2]:
        assert encoded(file, read_radiograph(file)) == file.read_bytes()
    radiograph = read_radiograph(files[2])
    sent = cv2.imdecode(np.frombuffer(encoded(files[2], radiograph), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(sent, cv2.imread(str(files[2]), cv2.IMREAD_UNCHANGED))


def test_the_real_dicom_is_sent_to_half_a_step_of_16_bits(real_data: Path) -> None:
    file = next((real_data / "data" / "dicom").glob("*.dcm"))
    radiograph = read_radiograph(file)
    sent = cv2.imdecode(np.frombuffer(encoded(file, radiograph), np.uint8), cv2.IMREAD_UNCHANGED)
    assert sent.dtype == np.uint16
    assert np.abs(sent / 65535 - radiograph.pixels.astype(np.float64)).max() <= 0.501 / 65535


def test_an_overloaded_server_is_asked_again(
    server: Server, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(client.time, "sleep", waits.append)
    server.refusals = [(429, b'{"error": "full"}'), (503, b"<html>"), (429, b'{"error": "full"}')]
    (answer,) = predict(ServerPredictor(server.url, "limb"), files[0])
    assert answer["label"] == "upper" and len(server.requests) == 4
    assert 0.05 <= waits[0] <= 0.15 and 0.1 <= waits[1] <= 0.3 and 0.2 <= waits[2] <= 0.6


def test_a_server_that_stays_overloaded_is_given_up(server: Server, files: list[Path]) -> None:
    server.refusals = [(429, b'{"error": "the queue is full"}')] * 99
    (answer,) = predict(ServerPredictor(server.url, "limb", patience_s=0.3), files[0])
    assert "stayed overloaded for 0.3 s" in answer["error"] and "the queue is full" in answer["error"]


@pytest.mark.parametrize("status, body, words", [
    (400, b'{"error": "assertion failed: [The image is empty.]"}', "the server says: assertion failed"),
    (500, b"<html>", "HTTP status 500"),
    (200, b'{"predictions": []}', "an answer of another form"),
    (200, b"not json", "does not answer"),
])  # fmt: skip
def test_refusals_of_one_image_leave_the_others(
    server: Server, files: list[Path], status: int, body: bytes, words: str
) -> None:
    predictor = ServerPredictor(server.url, "limb")
    server.refusals = [(status, body)]
    first, second = (next(iter(predict(predictor, file))) for file in files[:2])
    assert words in first["error"] and first["error"].count(str(files[0])) == 0
    assert second["label"] == "lower"


@pytest.mark.parametrize("url, model, words", [
    ("{url}", "arm", r"Servable not found for request: Latest\(arm\)\. Are the model's name and version right"),
    ("{url}/v1/models/limb", "limb", "not in the server's address.*--server http://127.0.0.1:[0-9]+ --model NAME"),
    ("http://127.0.0.1:1/proxy/v1/models", "limb", "Give --server http://127.0.0.1:1/proxy --model NAME"),
    ("http://127.0.0.1:1/proxy", "limb", "does not answer"),
    ("http://127.0.0.1:9", "limb", "Is the server running"),
    ("grpc://127.0.0.1:9", "limb", "gRPC port"),
    ("127.0.0.1:8501", "limb", "http://HOST:PORT"),
    ("grpc://127.0.0.1:99999", "limb", "'grpc://127.0.0.1:99999' is no server's address: Port out of range"),
    ("{url}", "limb/1", "NAME/versions/3"),
])  # fmt: skip
def test_mistakes_are_explained_before_any_file_is_read(server: Server, url: str, model: str, words: str) -> None:
    with pytest.raises(KerasOrthoError, match=words):
        ServerPredictor(url.format(url=server.url), model)


@pytest.mark.parametrize("outputs", [
    ["output_0"],
    ["probabilities", "label", "index"],
    ["mask_png_bytes", "threshold", "error"],
])  # fmt: skip
def test_models_of_others_are_refused(server: Server, outputs: list[str]) -> None:
    server.outputs = outputs
    with pytest.raises(KerasOrthoError, match=", ".join(sorted(outputs))):
        ServerPredictor(server.url, "limb")


def test_one_odd_file_or_answer_leaves_the_others(
    server: Server, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(file: Path) -> Radiograph:
        if file == files[1]:
            raise ZeroDivisionError("a mistake of a decoder's")
        return read_radiograph(file)

    monkeypatch.setattr(client, "read_radiograph", stumble)
    monkeypatch.setattr(client, "AT_ONCE", 1)  # so that the first request is the first file's
    server.refusals = [(200, b'{"predictions": [{"label": "upper", "error": ""}]}')]
    first, second, third = predict(ServerPredictor(server.url, "limb"), files[:3])
    assert "KeyError: 'probabilities'" in first["error"] and "ZeroDivisionError" in second["error"]
    assert third["label"] == "upper"


def test_damaged_masks_are_not_taken_for_answers(server: Server, files: list[Path]) -> None:
    server.outputs = ["mask_png_bytes", "probability_png_bytes", "threshold", "error"]
    row = {"mask_png_bytes": {"b64": "AAAA"}, "probability_png_bytes": {"b64": ""}, "threshold": 0.5, "error": ""}
    server.refusals = [(200, json.dumps({"predictions": [row]}).encode())]
    (answer,) = predict(ServerPredictor(server.url, "limb"), files[0])
    assert "no PNG of the image's size" in answer["error"]


def test_bytes_and_text_of_rest_answers(server: Server) -> None:
    row = {"label": "upper", "mask_png_bytes": {"b64": base64.b64encode(b"\x00\xff").decode()}, "index": 1}
    server.refusals = [(200, json.dumps({"predictions": [row]}).encode())]
    assert connect(server.url, "limb").ask(b"x") == {"label": "upper", "mask_png_bytes": b"\x00\xff", "index": 1}
