"""Progress of anything long, on stderr: how many are done, how fast, how long it still takes."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TextIO, TypeVar

Item = TypeVar("Item")

_REDRAW_SECONDS = 0.1
_LINE_SECONDS = 10.0


class Progress:
    """Counts finished work and shows it.

    On a terminal one line is rewritten in place. Elsewhere (a log file, a pipe) a line is written every ten seconds,
    later after every tenth of the time so far, and one at the end.

    Example::

        with Progress(len(paths), "checking images") as progress:
            for path in paths:
                check(path)
                progress.advance()

    Args:
        total: how many units of work there are; None if nobody knows.
        label: what is being done, as in "checking images".
        stream: where to write; None is stderr.
        clock: seconds that never run backwards; for tests.
        quiet_end: write nothing at the end; whoever counts says more than "took 8 s".
        done: units that were done before, as where work is resumed; they count, but not for the speed.
    """

    def __init__(
        self,
        total: int | None,
        label: str,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        quiet_end: bool = False,
        done: int = 0,
    ) -> None:
        self.total = total
        self.label = label
        self.done = self._before = done
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty()
        self._clock = clock
        self._quiet_end = quiet_end
        self._lock = threading.Lock()
        self._note = ""
        self._start = clock()
        self._next = self._start + (0.0 if self._is_terminal else _LINE_SECONDS)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._quiet_end:
            if self._is_terminal:
                self._stream.write("\r\x1b[K")
            return
        elapsed = self._clock() - self._start
        ending = "stopped after" if kind else "took"
        self._write(f"{self._counted(elapsed)}, {ending} {format_duration(elapsed)}", last=True)

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count ``count`` more units; ``note`` (such as a file name) is shown behind the numbers. Thread-safe."""
        with self._lock:
            self.done += count
            self._note = note
            now = self._clock()
            if now < self._next:
                return
            elapsed = now - self._start
            wait = _REDRAW_SECONDS if self._is_terminal else max(_LINE_SECONDS, elapsed / 10)
            self._next = now + wait
            self._write(self._line(elapsed))

    def _counted(self, elapsed: float) -> str:
        of = "" if self.total is None else f" of {self.total}"
        fresh = self.done - self._before
        rate = f", {format_rate(fresh / elapsed)}" if fresh and elapsed > 0 else ""
        return f"{self.label}: {self.done}{of}{rate}"

    def _line(self, elapsed: float) -> str:
        line = self._counted(elapsed)
        fresh = self.done - self._before
        if self.total is not None and fresh:
            left = elapsed / fresh * max(0, self.total - self.done)
            line += f", {format_duration(left)} left"
        return f"{line}  {self._note}" if self._note else line

    def _write(self, line: str, *, last: bool = False) -> None:
        if self._is_terminal:
            width = max(20, shutil.get_terminal_size().columns - 1)
            line = f"\r{line[:width]}\x1b[K" + ("\n" if last else "")
        else:
            line += "\n"
        self._stream.write(line)
        self._stream.flush()


def track(
    items: Iterable[Item], label: str, *, total: int | None = None, stream: TextIO | None = None
) -> Iterator[Item]:
    """Yield ``items`` and show how far they are. ``total`` is needed only where ``len(items)`` does not work."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(total, label, stream=stream) as progress:
        for item in items:
            yield item
            progress.advance()


def format_duration(seconds: float) -> str:
    """Return a time span as people say it: ``"8 s"``, ``"2 min 05 s"``, ``"1 h 20 min"``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_rate(per_second: float) -> str:
    """Return a rate with about two digits, in the unit that suits it: ``"33/s"``, ``"2.5/s"``, ``"12/min"``."""
    if per_second >= 10:
        return f"{per_second:.0f}/s"
    if per_second >= 1:
        return f"{per_second:.1f}/s"
    return f"{per_second * 60:.1f}/min"
