"""The same work on many files: in several processes, with progress and time left on stderr."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from kerasortho.errors import KerasOrthoError
from kerasortho.progress import track

Item = TypeVar("Item")
Result = TypeVar("Result")

_CHUNKS_PER_PROCESS = 32
_LARGEST_CHUNK = 16
_FEWEST_FOR_PROCESSES = 64


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
    return list(parallel_each(function, items, processes=processes, what=what))


def parallel_each(
    function: Callable[[Item], Result], items: Sequence[Item], *, processes: int = 1, what: str = ""
) -> Iterator[Result]:
    """Yield what `parallel_map` returns, one after the other: for results that are too large to be kept."""
    results = _results(function, items, processes)
    return track(results, what, total=len(items)) if what else results


def _results(function: Callable[[Item], Result], items: Sequence[Item], processes: int) -> Iterator[Result]:
    if processes < 1:
        raise KerasOrthoError(f"The number of processes must be 1 or more. Received: {processes}")
    if processes == 1 or len(items) < _FEWEST_FOR_PROCESSES:
        yield from map(function, items)
        return
    chunk = max(1, min(_LARGEST_CHUNK, len(items) // (processes * _CHUNKS_PER_PROCESS)))
    # spawn, not fork: a forked TensorFlow may hang.
    with ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("spawn"), initializer=_one_thread
    ) as pool:
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
