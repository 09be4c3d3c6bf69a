"""Batching by itself, with stand-ins for the model's signatures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

import grpc
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("prometheus_client")

from kerasortho.serving.batching import Batcher  # noqa: E402
from kerasortho.serving.metrics import Metrics  # noqa: E402
from kerasortho.serving.refusal import Refusal  # noqa: E402
from kerasortho.serving.settings import Batching  # noqa: E402


class Doubling:
    """Answers twice its input, and notes the size of every batch. A negative number fails the whole batch."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.batches: list[int] = []
        self.gate = gate
        self.busy = threading.Event()

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.busy.set()
        if self.gate is not None:
            assert self.gate.wait(30)
        values = inputs["x"]
        self.batches.append(len(values))
        if (values < 0).any():
            raise tf.errors.InvalidArgumentError(
                None, None, "assertion failed: [A negative number.]\n\t [[{{node x}}]]"
            )
        errors = np.array([b"zero" if value == 0 else b"" for value in values], object)
        return {"y": 2 * values, "error": errors}


@pytest.fixture
def make() -> Any:
    made = []

    def batcher(batch: int = 4, timeout_ms: float = 20, waiting: int = 4, threads: int = 1) -> Batcher:
        made.append(Batcher(Batching(batch, int(timeout_ms * 1000), waiting, threads), Metrics()))
        return made[-1]

    yield batcher
    for each in made:
        each.stop()


def ask(batcher: Batcher, signature: Any, *values: float) -> Future[Any]:
    return batcher.submit(signature, {"x": np.array(values, np.float32)}, len(values))


def refusal(answer: Future[Any]) -> Refusal:
    error = answer.exception(30)
    assert isinstance(error, Refusal)
    return error


def test_every_request_gets_its_own_rows(make: Callable[..., Batcher]) -> None:
    batcher, model = make(batch=7, threads=3), Doubling()
    random = np.random.default_rng(0)
    asked = [random.uniform(1, 9, random.integers(1, 5)).astype(np.float32) for _ in range(300)]
    answers: list[Future[Any]] = []
    for values in asked:
        while True:
            try:
                answers.append(ask(batcher, model, *values))
                break
            except Refusal:
                time.sleep(0.001)
    for values, answer in zip(asked, answers, strict=True):
        np.testing.assert_array_equal(answer.result(30)["y"], 2 * values)
    assert max(model.batches) <= 7 and len(model.batches) < 300
    assert sum(model.batches) == sum(map(len, asked))


def test_a_full_batch_does_not_wait(make: Callable[..., Batcher]) -> None:
    batcher, model = make(batch=4, timeout_ms=60_000), Doubling()
    wait([ask(batcher, model, 1), ask(batcher, model, 2, 3, 4)], timeout=30)
    assert model.batches == [4]


def test_a_batch_that_is_not_full_waits_for_others_but_not_for_ever(make: Callable[..., Batcher]) -> None:
    batcher, model = make(batch=4, timeout_ms=200), Doubling()
    start = time.monotonic()
    wait([ask(batcher, model, 1), ask(batcher, model, 2)], timeout=30)
    assert model.batches == [2] and 0.2 <= time.monotonic() - start < 10


def test_signatures_are_not_mixed_and_none_starves(make: Callable[..., Batcher]) -> None:
    batcher, one, other = make(timeout_ms=1), Doubling(), Doubling()
    answers = [ask(batcher, model, 1, 2) for _ in range(4) for model in (one, other)]
    assert not wait(answers, timeout=30).not_done
    assert sum(one.batches) == sum(other.batches) == 8


def test_one_failing_request_harms_no_other(make: Callable[..., Batcher]) -> None:
    batcher, model = make(batch=4, timeout_ms=60_000), Doubling()
    good, bad, fine = ask(batcher, model, 1), ask(batcher, model, -1, 5), ask(batcher, model, 3)
    assert good.result(30)["y"].tolist() == [2] and fine.result(30)["y"].tolist() == [6]
    assert refusal(bad).code == grpc.StatusCode.INVALID_ARGUMENT
    assert refusal(bad).message == "A negative number."  # without the names of operations
    assert model.batches == [4, 1, 2, 1]


def test_a_request_without_anything_readable_is_refused_in_company_too(make: Callable[..., Batcher]) -> None:
    batcher, model = make(batch=5, timeout_ms=60_000), Doubling()
    good, unreadable, half = ask(batcher, model, 1), ask(batcher, model, 0, 0), ask(batcher, model, 0, 7)
    assert good.result(30)["y"].tolist() == [2]
    assert half.result(30)["error"].tolist() == [b"zero", b""]
    assert (refusal(unreadable).code, refusal(unreadable).message) == (grpc.StatusCode.INVALID_ARGUMENT, "zero")


def test_whatever_is_raised_is_answered_and_the_thread_goes_on(make: Callable[..., Batcher]) -> None:
    class Broken:
        def __init__(self, error: Exception) -> None:
            self.error = error

        def run(self, inputs: Any) -> Any:
            raise self.error

    batcher = make(timeout_ms=0)
    for error, code in (
        (MemoryError(), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (KeyError("secret"), grpc.StatusCode.INTERNAL),
    ):
        found = refusal(ask(batcher, Broken(error), 1))
        assert found.code == code and "secret" not in found.message
    assert ask(batcher, Doubling(), 1).result(30)["y"].tolist() == [2]


def test_outputs_of_another_length_are_never_dealt_out(make: Callable[..., Batcher]) -> None:
    """Neither to two requests that were joined, nor to each of them alone."""
    sizes = []

    class Long:
        def run(self, inputs: Any) -> Any:
            sizes.append(len(inputs["x"]))
            return {"y": np.zeros(3)}

    batcher, model = make(batch=2, timeout_ms=60_000), Long()
    first, second = ask(batcher, model, 1), ask(batcher, model, 2)
    assert [refusal(answer).code for answer in (first, second)] == [grpc.StatusCode.INTERNAL] * 2
    assert sizes == [2, 1, 1]


def test_a_full_queue_refuses_and_takes_requests_again_later(make: Callable[..., Batcher]) -> None:
    gate = threading.Event()
    batcher, model = make(batch=2, timeout_ms=0, waiting=3), Doubling(gate)
    running = ask(batcher, model, 1, 1)
    assert model.busy.wait(30)
    waiting = [ask(batcher, model, 1, 2) for _ in range(3)]
    with pytest.raises(Refusal, match=r"queue .* is full") as error:
        ask(batcher, model, 1)
    assert (error.value.code, error.value.http_status) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 429)
    assert batcher.waiting() == 6
    gate.set()
    assert not wait([running, *waiting], timeout=30).not_done
    assert ask(batcher, model, 1).result(30)["y"].tolist() == [2]


def test_requests_larger_than_a_batch(make: Callable[..., Batcher]) -> None:
    with pytest.raises(Refusal, match="Task size 3 is larger than maximum input batch size 2"):
        ask(make(batch=2), Doubling(), 1, 2, 3)


def test_requests_without_images(make: Callable[..., Batcher]) -> None:
    """They would take no room in the queue, however many there are."""
    with pytest.raises(Refusal, match="at least one image") as error:
        ask(make(), Doubling())
    assert error.value.http_status == 400


def test_requests_that_were_given_up_are_not_computed(make: Callable[..., Batcher]) -> None:
    gate = threading.Event()
    batcher, model = make(batch=1, timeout_ms=0), Doubling(gate)
    first = ask(batcher, model, 1)
    assert model.busy.wait(30)
    given_up, kept = ask(batcher, model, 2), ask(batcher, model, 3)
    assert given_up.cancel()
    gate.set()
    assert first.result(30) and kept.result(30)["y"].tolist() == [6]
    assert len(model.batches) == 2


def test_refusing_what_waits(make: Callable[..., Batcher]) -> None:
    gate = threading.Event()
    batcher, model = make(batch=1, timeout_ms=0), Doubling(gate)
    running = ask(batcher, model, 1)
    assert model.busy.wait(30)
    waiting = [ask(batcher, model, 2), ask(batcher, model, 3)]
    batcher.refuse_waiting()
    assert [refusal(answer).http_status for answer in waiting] == [503, 503] and batcher.waiting() == 0
    with pytest.raises(Refusal, match="stopping"):
        ask(batcher, model, 4)
    gate.set()
    assert running.result(30)["y"].tolist() == [2]
    batcher.stop()
    assert model.batches == [1]


def test_stopping_answers_what_waits(make: Callable[..., Batcher]) -> None:
    batcher, model = make(batch=8, timeout_ms=60_000, threads=2), Doubling()
    answers = [ask(batcher, model, n) for n in range(1, 4)]
    batcher.stop()
    assert [answer.result(0)["y"].tolist() for answer in answers] == [[2], [4], [6]]
    with pytest.raises(Refusal, match="stopping") as error:
        ask(batcher, model, 1)
    assert error.value.http_status == 503
