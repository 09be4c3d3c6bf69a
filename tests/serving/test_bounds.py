"""The bounds of the embedded server: requests, connections, memory, and how long a client is waited for."""

from __future__ import annotations

import base64
import contextlib
import gc
import http.client
import json
import shutil
import socket
import threading
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

from kerasortho.serving import grpc_service  # noqa: E402
from kerasortho.serving import server as server_module  # noqa: E402
from kerasortho.serving.grpc_service import PredictionService  # noqa: E402
from kerasortho.serving.http_connections import BoundedHTTP  # noqa: E402
from kerasortho.serving.refusal import Refusal  # noqa: E402
from kerasortho.serving.servable import Servable  # noqa: E402
from kerasortho.serving.settings import Limits  # noqa: E402


def test_oversized_bodies(models: Path, start: Callable[..., Any]) -> None:
    server = start(models, limits=Limits(request_bytes=1 << 20))
    status, answer = server.http("/v1/models/bone:predict", b"x" * (5 << 20))
    assert status == 413 and "exceeds the limit of 1 MB. Received: 5 MB." in answer["error"]
    connection = http.client.HTTPConnection(server.addresses.rest.removeprefix("http://"), timeout=60)
    connection.request("POST", "/v1/models/bone:predict", iter([b"x" * 100_000] * 50), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})  # fmt: skip
    response = connection.getresponse()
    assert response.status == 413 and "exceeds the limit" in json.load(response)["error"]
    with pytest.raises(grpc.RpcError) as error:
        server.predict_grpc(b"x" * (2 << 20))
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
        return len(stub.Predict(server.message(b"x"), timeout=60).outputs)

    with ExitStack() as stack:
        assert [ask(), ask()] == [4, 4]
        with pytest.raises(grpc.RpcError) as error:
            ask()
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE


def test_an_answer_is_not_held_back(models: Path, start: Callable[..., Any]) -> None:
    """Header and body are two packets; the second must not wait until the client has acknowledged the first."""
    server = start(models)
    with contextlib.closing(http.client.HTTPConnection(server.addresses.rest.removeprefix("http://"))) as kept:
        kept.request("GET", "/healthz")
        assert kept.getresponse().read()
        (connection,) = [
            each
            for each in gc.get_objects()
            if isinstance(each, BoundedHTTP) and each.transport.get_extra_info("peername") == kept.sock.getsockname()
        ]
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


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
        next_one = server.stub.Predict.future(server.message(b"x"), timeout=60)
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
            server.predict_grpc(b"x")
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert b" 408 " in slow.recv(1000)  # who never finishes does not hold the room for ever
    server.wait(lambda: server.backend.running == 0)
    assert server.predict(b"x")[0] == 200


def test_memory_stays_where_it_is(models: Path, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Many large requests, a quarter of them refused, and versions that come and go: nothing of them is kept."""
    loaded: list[weakref.ref[Any]] = []
    init = Servable.__init__

    def note(self: Any, *what: Any) -> None:
        init(self, *what)
        loaded.append(weakref.ref(self))

    monkeypatch.setattr(Servable, "__init__", note)
    server = start(models)

    def resident() -> float:
        metrics = server.http("/monitoring/prometheus/metrics")[1]
        return float(metrics.split("\nprocess_resident_memory_bytes ")[1].split()[0]) / 1e6

    def ask(number: int) -> bool:
        file = (b"bad" if number % 4 == 0 else b"") + bytes(500_000)
        if number % 8 < 4:
            return server.predict(file)[0] == (400 if file.startswith(b"bad") else 200)
        try:
            return len(server.predict_grpc(file).outputs) == 4
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


def test_a_client_that_does_not_read_does_not_keep_the_server(
    models: Path, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "LAST_SECONDS", 0.2)
    server = start(models, limits=Limits(grace_seconds=0.2))
    with large_request(server) as client:
        assert b" 200 " in client.recv(100)
        server.stop()


def test_a_refused_grpc_request_is_let_go(
    models: Path, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC keeps an abort, and the frames it came through, until garbage is collected: no request may be in them."""
    kept: list[weakref.ref[Any]] = []

    class Tracked:  # messages themselves take no weak references
        def __init__(self, data: bytes) -> None:
            self.model_spec = predict_pb2.PredictRequest.FromString(data).model_spec
            kept.append(weakref.ref(self))

        FromString = classmethod(lambda cls, data: cls(data))

    async def refuse(self: Any, request: Any) -> Any:
        raise Refusal(grpc.StatusCode.NOT_FOUND, "There is none.")

    monkeypatch.setattr(grpc_service, "PredictRequest", Tracked)
    monkeypatch.setattr(PredictionService, "_predict", refuse)
    server = start(models)
    gc.disable()
    try:
        with pytest.raises(grpc.RpcError) as error:
            server.predict_grpc(b"x")
        assert error.value.code() == grpc.StatusCode.NOT_FOUND
        server.wait(lambda: kept[0]() is None, 20)
    finally:
        gc.enable()
