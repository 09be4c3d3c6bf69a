"""Overload, change and abuse, on a stand-in for the models (`Echo` in conftest.py)."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

tf = pytest.importorskip("tensorflow")
grpc = pytest.importorskip("grpc")
pytest.importorskip("fastapi")

from kerasortho.serving import server as server_module  # noqa: E402
from kerasortho.serving.settings import Limits  # noqa: E402


def row(answer: tuple[int, Any]) -> dict[str, Any]:
    assert answer[0] == 200, answer
    (found,) = answer[1]["predictions"]
    return dict(found)


def echoed(answer: tuple[int, Any]) -> bytes:
    return base64.b64decode(row(answer)["file_bytes"]["b64"])


def test_a_full_queue_is_429_and_resource_exhausted(
    models: Path, start: Callable[..., Any], hold: Callable[..., Any]
) -> None:
    (models / "batching.config").write_text(
        "max_batch_size { value: 1 } max_enqueued_batches { value: 2 } num_batch_threads { value: 1 }"
    )
    server = start(models)
    gate, busy = hold()
    with ThreadPoolExecutor(3) as clients:
        first = clients.submit(server.predict, b"first")
        assert busy.wait(30)
        waiting = [clients.submit(server.predict, b"waits") for _ in range(2)]
        server.wait(lambda: server.backend.batcher.waiting() == 2)
        status, answer = server.predict(b"one more")
        assert status == 429 and "full" in answer["error"]
        with pytest.raises(grpc.RpcError) as error:
            server.predict_grpc(b"one more")
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
        mixed = clients.submit(server.predict_grpc, b"bad one", b"fine")
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
                outputs = server.predict_grpc(sent).outputs
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


def test_addresses_where_nothing_is_answer_as_the_others(models: Path, start: Callable[..., Any]) -> None:
    server = start(models)
    for path, body, status in (("/", None, 404), ("/predict", b"x" * 5_000_000, 404), ("/healthz", b"x", 405)):
        found, answer = server.http(path, body)
        assert (found, list(answer)) == (status, ["error"])
        assert f"There is no {'POST' if body else 'GET'} {path} here" in answer["error"]


def test_a_server_whose_models_cannot_be_loaded_is_not_ready(models: Path, start: Callable[..., Any]) -> None:
    (models / "bone" / "1" / "saved_model.pb").write_bytes(b"damaged")
    server = start(models)
    assert server.http("/readyz") == (503, {"status": "loading", "models": {"bone": []}})
    assert server.http("/healthz")[0] == 200
    assert server.predict(b"x")[0] == 404


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
    models: Path, start: Callable[..., Any], hold: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (models / "batching.config").write_text("max_batch_size { value: 1 } num_batch_threads { value: 1 }")
    server = start(models, limits=Limits(grace_seconds=0.1))
    gate, busy = hold()
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
