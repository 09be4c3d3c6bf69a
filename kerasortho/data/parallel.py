"""The same work on many files: in several processes, with progress and time left on stderr."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TextIO, TypeVar

from kerasortho.errors import KerasOrthoError

Item = TypeVar("Item")
Result = TypeVar("Result")

_CHUNKS_PER_PROCESS = 32
_LARGEST_CHUNK = 16
_FEWEST_FOR_PROCESSES = 64


class Progress:
    """Counts finished items on ``stream``: one moving line on a terminal, else a line every ten seconds."""

    def __init__(self, what: str, total: int, stream: TextIO | None = None) -> None:
        self._what, self._total, self._done = what, total, 0
        self._stream = sys.stderr if stream is None else stream
        self._moving = self._stream.isatty()
        self._interval = 0.2 if self._moving else 10.0
        self._start = self._shown = time.monotonic()

    def step(self) -> None:
        """Count one more item."""
        self._done += 1
        now = time.monotonic()
        if now - self._shown >= self._interval:
            self._shown = now
            left = (now - self._start) / self._done * (self._total - self._done)
            self._show(f"{self._what}: {self._done} of {self._total}, {format_seconds(left)} left")

    def finish(self) -> None:
        """Say how long it took."""
        self._show(f"{self._what}: {self._done} of {self._total} in {format_seconds(time.monotonic() - self._start)}")
        if self._moving:
            self._stream.write("\n")

    def _show(self, text: str) -> None:
        self._stream.write(f"\r{text:<60}" if self._moving else f"{text}\n")
        self._stream.flush()


def format_seconds(seconds: float) -> str:
    """Return a duration as people say it: ``42 s``, ``3 min 05 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def processor_count() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parallel_map(
    function: Callable[[Item], Result], items: Sequence[Item], *, processes: int = 1, what: str = ""
) -> list[Result]:
    """Return ``[function(item) for item in items]``, computed in ``processes`` processes.

    Args:
        function: a function of a module (it travels to other processes by name), that raises nothing for bad items.
        items: what to work on; a short list is worked on in this process.
        processes: 1 stays in this process. More need, in a script, the usual ``if __name__ == "__main__":``.
        what: a word for the progress on stderr, such as ``reading``; empty for none.

    Raises:
        KerasOrthoError: a process died, by lack of memory or by a crash in a decoder.
    """
    progress = Progress(what, len(items)) if what else None
    results: list[Result] = []
    for result in _results(function, items, processes):
        results.append(result)
        if progress:
            progress.step()
    if progress:
        progress.finish()
    return results


def _results(function: Callable[[Item], Result], items: Sequence[Item], processes: int) -> Iterator[Result]:
    if processes < 1:
        raise KerasOrthoError(f"The number of processes must be 1 or more. Received: {processes}")
    if processes == 1 or len(items) < _FEWEST_FOR_PROCESSES:
        yield from map(function, items)
        return
    chunk = max(1, min(_LARGEST_CHUNK, len(items) // (processes * _CHUNKS_PER_PROCESS)))
    # spawn, not fork: a forked TensorFlow may hang.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"), initializer=_one_thread) as pool:
        try:
            yield from pool.map(function, items, chunksize=chunk)
        except BrokenProcessPool as error:
            raise KerasOrthoError(
                "A process that reads files died: the memory may be too small, or a file crashes its decoder. "
                "Use one process (--processes 1) to see which file it is."
            ) from error


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)
