"""Overload, change and abuse, on a stand-in for the models (`Echo` in conftest.py)."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

tf = pytest.importorskip("tensorflow")
grpc = pytest.importorskip("grpc")
pytest.importorskip("fastapi")
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc  # noqa: E402

from kerasortho.serving import server as server_module  # noqa: E402
from kerasortho.serving.servable import Servable, Signature  # noqa: E402
from kerasortho.serving.settings import Limits  # noqa: E402


def row(answer: tuple[int, Any]) -> dict[str, Any]:
    assert answer[0] == 200, answer
    (found,) = answer[1]["predictions"]
    return dict(found)


def echoed(answer: tuple[int, Any]) -> bytes:
    return base64.b64decode(row(answer)["file_bytes"]["b64"])


def grpc_stub(server: Any) -> Any:
    return prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(server.addresses.grpc))


def request(*files: bytes) -> Any:
    wanted = predict_pb2.PredictRequest()
    wanted.model_spec.name = "bone"
    wanted.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(files))
    return wanted


def test_a_full_queue_is_429_and_resource_exhausted(
    models: Path, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (models / "batching.config").write_text(
        "max_batch_size { value: 1 } max_enqueued_batches { value: 2 } num_batch_threads { value: 1 }"
    )
    server = start(models)
    gate, busy, run = threading.Event(), threading.Event(), Signature.run

    def slow(self: Any, inputs: Any) -> Any:
        busy.set()
        assert gate.wait(60)
        return run(self, inputs)

    monkeypatch.setattr(Signature, "run", slow)
    with ThreadPoolExecutor(3) as clients:
        first = clients.submit(server.predict, b"first")
        assert busy.wait(30)
        waiting = [clients.submit(server.predict, b"waits") for _ in range(2)]
        server.wait(lambda: server.backend.batcher.waiting() == 2)
        status, answer = server.predict(b"one more")
        assert status == 429 and "full" in answer["error"]
        with pytest.raises(grpc.RpcError) as error:
            grpc_stub(server).Predict(request(b"one more"), timeout=60)
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and "full" in error.value.details()
        gate.set()
        assert [echoed(answer.result()) for answer in (first, *waiting)] == [b"first", b"waits", b"waits"]
    assert echoed(server.predict(b"later")) == b"later"


def test_corrupt_images_in_company(models: Path, start: Callable[..., Any]) -> None:
    """In one batch: a good request, a bad one, a mixed one. Each is answered as if it were alone."""
    (models / "batching.config").write_text(
        "max_batch_size { value: 4 } batch_timeout_micros { value: 60000000 } num_batch_threads { value: 1 }"
    )
    server = start(models)
    with ThreadPoolExecutor(3) as clients:
        bad = clients.submit(server.predict, b"bad file")
        good = clients.submit(server.predict, b"good file")
        server.wait(lambda: server.backend.batcher.waiting() == 2)
        mixed = clients.submit(grpc_stub(server).Predict, request(b"bad one", b"fine"), timeout=60)
        assert bad.result() == (400, {"error": "Not readable."})
        assert echoed(good.result()) == b"good file"
        outputs = mixed.result().outputs
    assert tf.make_ndarray(outputs["file_bytes"]).tolist() == [b"bad one", b"fine"]
    assert tf.make_ndarray(outputs["error"]).tolist() == [b"Not readable.", b""]


def test_versions_are_swapped_under_load_without_losing_a_request(
    models: Path, add_version: Callable[[Path, int], Path], start: Callable[..., Any]
) -> None:
    server = start(models)
    stop, answers = threading.Event(), []

    def client(number: int) -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            sent = f"{number}/{turn}".encode()
            if number % 2:
                answers.append((sent, echoed(server.predict(sent))))
            else:
                outputs = grpc_stub(server).Predict(request(sent), timeout=60).outputs
                answers.append((sent, *tf.make_ndarray(outputs["file_bytes"])))

    with ThreadPoolExecutor(8) as clients:
        running = [clients.submit(client, number) for number in range(8)]
        for version in range(2, 6):
            add_version(models / "bone", version)
            server.wait(lambda: server.backend.repository.available()["bone"] == [version])  # noqa: B023
            assert row(server.predict(b"x"))["version"] == version
        stop.set()
        assert [future.result() for future in running] == [None] * 8
    assert len(answers) > 100 and all(sent == found for sent, found in answers)
    server.wait(lambda: server.http("/v1/models/bone/versions/4")[1]["model_version_status"][0]["state"] == "END")


def test_half_copied_version(models: Path, add_version: Callable[[Path, int], Path], start: Callable[..., Any]) -> None:
    """A copy that stops in the middle is told in the status; the older version goes on; the rest may still come."""
    server = start(models)
    half = add_version(models, 2)
    good = (half / "saved_model.pb").read_bytes()
    (half / "saved_model.pb").write_bytes(good[: len(good) // 2])
    half = half.rename(models / "bone" / "2")

    def state() -> Any:
        status, answer = server.http("/v1/models/bone/versions/2")
        return answer["model_version_status"][0] if status == 200 else {"state": ""}

    server.wait(lambda: state()["state"] == "END")
    assert state()["status"]["error_code"] == "FAILED_PRECONDITION" and "damaged" in state()["status"]["error_message"]
    assert row(server.predict(b"x"))["version"] == 1
    assert server.predict(b"x", which="/versions/2")[0] == 404
    (half / "model.json").rename(half / "card")
    server.wait(lambda: "model.json" in state()["status"]["error_message"])
    (half / "variables").rename(half / "variables-to-come")
    (half / "saved_model.pb").write_bytes(good)
    (half / "card").rename(half / "model.json")
    server.wait(lambda: state()["state"] == "END" and "model.json" not in state()["status"]["error_message"])
    assert server.http("/readyz")[0] == 200 and row(server.predict(b"x"))["version"] == 1
    (half / "variables-to-come").rename(half / "variables")
    server.wait(lambda: state()["state"] == "AVAILABLE")
    assert row(server.predict(b"x", which="/versions/2"))["version"] == 2


def test_oversized_bodies(models: Path, start: Callable[..., Any]) -> None:
    server = start(models, limits=Limits(request_bytes=1 << 20))
    status, answer = server.http("/v1/models/bone:predict", b"x" * (5 << 20))
    assert status == 413 and "exceeds the limit of 1.0 MB" in answer["error"]
    connection = http.client.HTTPConnection(server.addresses.rest.removeprefix("http://"), timeout=60)
    connection.request("POST", "/v1/models/bone:predict", iter([b"x" * 100_000] * 50), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})  # fmt: skip
    response = connection.getresponse()
    assert response.status == 413 and "exceeds the limit" in json.load(response)["error"]
    with pytest.raises(grpc.RpcError) as error:
        grpc_stub(server).Predict(request(b"x" * (2 << 20)), timeout=60)
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in error.value.details()  # by which the client tells it from an overload
    assert server.predict(b"x")[0] == 200
    server.wait(lambda: server.backend.running == 0)


def large_request(server: Any, size: int = 20_000_000) -> socket.socket:
    """Return the connection of a client that has asked for a large answer, and does not read it."""
    host, port = server.addresses.rest.removeprefix("http://").split(":")
    body = json.dumps({"instances": [{"b64": base64.b64encode(bytes(size)).decode()}]}).encode()
    client = socket.create_connection((host, int(port)), timeout=60)
    client.sendall(b"POST /v1/models/bone:predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n")
    client.sendall(b"Content-Length: %d\r\n\r\n" % len(body))
    client.sendall(body)
    return client


def test_an_answer_counts_until_the_client_has_it(models: Path, start: Callable[..., Any]) -> None:
    server = start(models)
    with large_request(server) as client:
        assert b" 200 " in client.recv(100)  # it is being sent
        assert server.backend.running == 1 and server.backend._bytes > 20_000_000
        while client.recv(1 << 20):
            pass
        server.wait(lambda: server.backend.running == 0)
        assert server.backend._bytes == 0


def test_who_does_not_read_the_answer_is_given_up(models: Path, start: Callable[..., Any]) -> None:
    server = start(models, limits=Limits(download_seconds=0.2))
    with large_request(server) as client:
        assert b" 200 " in client.recv(100)
        server.wait(lambda: server.backend.running == 0)
    assert server.predict(b"x")[0] == 200


def test_connections_are_bounded(models: Path, start: Callable[..., Any]) -> None:
    server = start(models, limits=Limits(connections=3))
    where = (server.addresses.host, server.addresses.rest_port)
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(where, timeout=60)) for _ in range(3)]
        for each in held:  # each has been accepted
            each.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 200 " in each.recv(1000)
        with socket.create_connection(where, timeout=60) as fourth:
            refusal = fourth.recv(1000)
            assert (
                b" 503 " in refusal and "too many connections" in json.loads(refusal.partition(b"\r\n\r\n")[2])["error"]
            )
            assert fourth.recv(1000) == b""
    server.wait(lambda: server.http("/healthz")[0] == 200)


def test_grpc_connections_are_bounded(models: Path, start: Callable[..., Any]) -> None:
    server = start(models, limits=Limits(connections=2))
    options = [("grpc.use_local_subchannel_pool", 1)]  # a connection each

    def ask() -> int:
        channel = stack.enter_context(grpc.insecure_channel(server.addresses.grpc, options))
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return len(stub.Predict(request(b"x"), timeout=60).outputs)

    with ExitStack() as stack:
        assert [ask(), ask()] == [4, 4]
        with pytest.raises(grpc.RpcError) as error:
            ask()
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("sent", [b"", b"POST /v1/mod"])
def test_silent_connections_are_closed(
    models: Path, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(server_module, "SILENT_SECONDS", 0.2)
    server = start(models)
    with socket.create_connection((server.addresses.host, server.addresses.rest_port), timeout=60) as silent:
        silent.sendall(sent)
        assert silent.recv(1000) == b""


def test_grpc_messages_are_received_a_few_at_a_time(models: Path, start: Callable[..., Any]) -> None:
    """As many as fit into the room for waiting requests, here one: the next is read when its turn has come."""
    server = start(models, limits=Limits(request_bytes=1 << 20, waiting_bytes=1 << 20, upload_seconds=2.0))
    never = threading.Event()

    def no_message() -> Iterator[Any]:
        never.wait(60)
        yield from ()

    with grpc.insecure_channel(server.addresses.grpc) as channel:
        path = "/tensorflow.serving.PredictionService/Predict"
        slow = channel.stream_unary(path).future(no_message(), timeout=60)
        slots = server.server.receiver.slots
        server.wait(slots.locked)
        next_one = grpc_stub(server).Predict.future(request(b"x"), timeout=60)
        assert slow.code() == grpc.StatusCode.DEADLINE_EXCEEDED and "did not arrive" in slow.details()
        assert len(next_one.result().outputs) == 4 and not slots.locked()
        never.set()


def test_no_room_for_more_requests(models: Path, start: Callable[..., Any]) -> None:
    """What all clients send together is bounded; a body whose size nobody tells counts as the largest."""
    server = start(models, limits=Limits(request_bytes=1 << 20, waiting_bytes=1 << 20, upload_seconds=1.0))
    host, port = server.addresses.rest.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as slow:
        slow.sendall(b"POST /v1/models/bone:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n{")
        server.wait(lambda: server.backend.running == 1)
        status, answer = server.predict(b"x")
        assert status == 429 and "no room" in answer["error"]
        with pytest.raises(grpc.RpcError) as error:
            grpc_stub(server).Predict(request(b"x"), timeout=60)
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert b" 408 " in slow.recv(1000)  # who never finishes does not hold the room for ever
    server.wait(lambda: server.backend.running == 0)
    assert server.predict(b"x")[0] == 200


def test_a_server_whose_models_cannot_be_loaded_is_not_ready(models: Path, start: Callable[..., Any]) -> None:
    (models / "bone" / "1" / "saved_model.pb").write_bytes(b"damaged")
    server = start(models)
    assert server.http("/readyz") == (503, {"status": "loading", "models": {"bone": []}})
    assert server.http("/healthz")[0] == 200
    assert server.predict(b"x")[0] == 404


def test_memory_stays_where_it_is(models: Path, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Many large requests, a quarter of them refused, and versions that come and go: nothing of them is kept."""
    loaded: list[weakref.ref[Any]] = []
    init = Servable.__init__

    def note(self: Any, *what: Any) -> None:
        init(self, *what)
        loaded.append(weakref.ref(self))

    monkeypatch.setattr(Servable, "__init__", note)
    server = start(models)
    stub = grpc_stub(server)

    def resident() -> float:
        metrics = server.http("/monitoring/prometheus/metrics")[1]
        return float(metrics.split("\nprocess_resident_memory_bytes ")[1].split()[0]) / 1e6

    def ask(number: int) -> bool:
        file = (b"bad" if number % 4 == 0 else b"") + bytes(500_000)
        if number % 8 < 4:
            return server.predict(file)[0] == (400 if file.startswith(b"bad") else 200)
        try:
            return len(stub.Predict(request(file), timeout=60).outputs) == 4
        except grpc.RpcError as error:
            return file.startswith(b"bad") and error.code() == grpc.StatusCode.INVALID_ARGUMENT

    def round_of_work(version: int) -> None:
        with ThreadPoolExecutor(8) as clients:
            assert all(clients.map(ask, range(24)))
        shutil.copytree(models / "bone" / "1", models / "bone" / f".{version}")
        (models / "bone" / f".{version}").rename(models / "bone" / str(version))
        server.wait(lambda: server.backend.repository.available()["bone"] == [version])

    for version in range(2, 6):
        round_of_work(version)
    before = resident()
    for version in range(6, 13):
        round_of_work(version)
    server.wait(lambda: [each() is not None for each in loaded] == [False] * 11 + [True])
    assert resident() - before < 60  # MB; of 70 MB of weights and 84 MB of files, several times over


def test_a_request_that_waits_is_answered_when_the_server_stops(models: Path, start: Callable[..., Any]) -> None:
    (models / "batching.config").write_text("batch_timeout_micros { value: 1500000 }")
    server = start(models)
    with ThreadPoolExecutor(1) as clients:
        answer = clients.submit(server.predict, b"x")
        server.wait(lambda: server.backend.batcher.waiting() == 1)
        server.server.stop()
        server.wait(lambda: server.backend.stopping)
        assert server.http("/readyz")[0] == 503
        status, refused = server.predict(b"x")
        assert status == 503 and "stopping" in refused["error"]
        assert row(answer.result())["error"] == ""
    server.thread.join(30)
    assert not server.thread.is_alive()
    time.sleep(0.1)
    with pytest.raises(OSError):
        server.http("/healthz")


def test_what_still_waits_after_the_grace_is_refused(
    models: Path, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (models / "batching.config").write_text("max_batch_size { value: 1 } num_batch_threads { value: 1 }")
    server = start(models, limits=Limits(grace_seconds=0.1))
    gate, busy, run = threading.Event(), threading.Event(), Signature.run

    def slow(self: Any, inputs: Any) -> Any:
        busy.set()
        assert gate.wait(60)
        return run(self, inputs)

    monkeypatch.setattr(Signature, "run", slow)
    monkeypatch.setattr(server_module, "LAST_SECONDS", 60)
    with ThreadPoolExecutor(2) as clients:
        first = clients.submit(server.predict, b"first")
        assert busy.wait(30)
        waiting = clients.submit(server.predict, b"waits")
        server.wait(lambda: server.backend.batcher.waiting() == 1)
        server.server.stop()
        status, answer = waiting.result(60)
        assert status == 503 and "stopping" in answer["error"]
        gate.set()
        assert echoed(first.result(60)) == b"first"
    server.thread.join(60)
    assert not server.thread.is_alive()


def test_a_client_that_does_not_read_does_not_keep_the_server(
    models: Path, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "LAST_SECONDS", 0.2)
    server = start(models, limits=Limits(grace_seconds=0.2))
    with large_request(server) as client:
        assert b" 200 " in client.recv(100)
        server.stop()
