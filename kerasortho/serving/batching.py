"""Requests of many clients, computed together: one call of the model for several images is faster than several calls.

As TensorFlow Serving's batching (its guide "TensorFlow Serving Batching"): requests for the same signature of the same
version are joined until a batch is full or its first request has waited long enough. The queue is bounded. What one
request brings never harms another: if a joined batch fails, its requests are computed one by one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

import grpc
import numpy as np

from kerasortho.serving.metrics import Metrics
from kerasortho.serving.refusal import Refusal, from_error, invalid
from kerasortho.serving.servable import Signature, Tensors
from kerasortho.serving.settings import Batching

_ERROR = "error"  # the output by which a model tells why an image has no answer (kerasortho/export/signatures.py)


@dataclass
class _Task:
    inputs: Tensors
    size: int
    arrived: float
    answer: Future[Tensors] = field(default_factory=Future)


class Batcher:
    """Computes requests in batches, in threads of its own."""

    def __init__(self, settings: Batching, metrics: Metrics) -> None:
        self.settings = settings
        self._metrics = metrics
        self._queues: dict[Signature, deque[_Task]] = {}  # none of them empty
        self._changed = threading.Condition()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{i}", daemon=True)
            for i in range(settings.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def check_size(self, size: int) -> None:
        """Raise Refusal for a request that is larger than any batch, or empty: the queue counts images alone."""
        if size < 1:
            raise invalid("The request is empty: at least one image is expected.")
        if size > self.settings.max_batch_size:
            raise invalid(f"Task size {size} is larger than maximum input batch size {self.settings.max_batch_size}")

    def submit(self, signature: Signature, inputs: Tensors, size: int) -> Future[Tensors]:
        """Return the answer to come: the outputs for these ``size`` rows alone, or Refusal.

        Raises Refusal at once where the queue is full (RESOURCE_EXHAUSTED) or the request larger than a batch.
        """
        self.check_size(size)
        task = _Task(inputs, size, time.monotonic())
        with self._changed:
            if self._stopping:
                raise _stopping()
            queue = self._queues.get(signature, deque())
            room = self.settings.max_enqueued_batches * self.settings.max_batch_size
            if sum(waiting.size for waiting in queue) + size > room:
                raise Refusal(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    "The batch scheduling queue to which this task was submitted is full: send it again later.",
                )
            queue.append(task)
            self._queues[signature] = queue
            self._changed.notify()
        return task.answer

    def waiting(self) -> int:
        """Return how many images wait in all queues."""
        with self._changed:
            return sum(task.size for queue in self._queues.values() for task in queue)

    def refuse_waiting(self) -> None:
        """Refuse what waits, and whatever comes from now on; batches that are being computed are answered."""
        with self._changed:
            self._stopping = True
            refused = [task for queue in self._queues.values() for task in queue]
            self._queues.clear()
            self._changed.notify_all()
        for task in refused:
            if task.answer.set_running_or_notify_cancel():
                task.answer.set_exception(_stopping())

    def stop(self) -> None:
        """Answer what waits, then end the threads."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            signature, tasks = batch
            tasks = [task for task in tasks if task.answer.set_running_or_notify_cancel()]
            if tasks:
                self._answer(signature, tasks)
            del batch, signature, tasks  # an unloaded model is not kept until the next batch

    def _next_batch(self) -> tuple[Signature, list[_Task]] | None:
        """Wait for a batch that is full or has waited long enough; None at the end. The longest-waiting goes first."""
        patience = self.settings.batch_timeout_micros / 1e6
        with self._changed:
            while True:
                if signature := self._first_due(time.monotonic() - patience):
                    return signature, self._take(signature)
                if self._stopping:
                    return None
                oldest = min((queue[0].arrived for queue in self._queues.values()), default=None)
                self._changed.wait(None if oldest is None else max(0.0, oldest + patience - time.monotonic()))

    def _first_due(self, arrived_before: float) -> Signature | None:
        due = [
            (queue[0].arrived, signature)
            for signature, queue in self._queues.items()
            if self._stopping
            or queue[0].arrived <= arrived_before
            or sum(task.size for task in queue) >= self.settings.max_batch_size
        ]
        return min(due, key=lambda item: item[0])[1] if due else None

    def _take(self, signature: Signature) -> list[_Task]:
        queue, tasks, room = self._queues[signature], [], self.settings.max_batch_size
        while queue and queue[0].size <= room:
            room -= queue[0].size
            tasks.append(queue.popleft())
        if not queue:
            del self._queues[signature]
        else:
            self._changed.notify()  # another thread may take the rest
        return tasks

    def _answer(self, signature: Signature, tasks: list[_Task]) -> None:
        try:
            self._metrics.batch_images.observe(sum(task.size for task in tasks))
            answers = _run_together(signature, tasks)
        except Exception as error:  # whatever one request brings, the others are answered
            if len(tasks) == 1:
                tasks[0].answer.set_exception(from_error(error))
            else:
                for task in tasks:
                    self._answer(signature, [task])
            return
        for task, answer in zip(tasks, answers, strict=True):
            if refusal := _nothing_readable(answer):
                task.answer.set_exception(refusal)
            else:
                task.answer.set_result(answer)


def _stopping() -> Refusal:
    return Refusal(grpc.StatusCode.UNAVAILABLE, "The server is stopping.")


def _run_together(signature: Signature, tasks: list[_Task]) -> list[Tensors]:
    joined = {name: np.concatenate([task.inputs[name] for task in tasks]) for name in tasks[0].inputs}
    outputs = signature.run(joined if len(tasks) > 1 else tasks[0].inputs)
    answers, start = [], 0
    for task in tasks:
        answers.append({name: value[start : start + task.size] for name, value in outputs.items()})
        start += task.size
    if any(len(value) != start for value in outputs.values()):
        raise ValueError("an output's first dimension is not that of the batch")
    return answers


def _nothing_readable(answer: Tensors) -> Refusal | None:
    """Refuse a request none of whose images can be read: the model does so itself when such a request comes alone."""
    errors = answer.get(_ERROR)
    if errors is None or not len(errors) or not all(errors):
        return None
    return invalid(errors[0].decode("utf-8", "replace"))
