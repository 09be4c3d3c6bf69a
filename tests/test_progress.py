"""Progress: what is counted, when it is shown, and how."""

from __future__ import annotations

import io

import pytest

from kerasortho.progress import Progress, format_duration, format_rate, track


class Clock:
    """Seconds that pass only when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def run(stream: io.StringIO, total: int | None, seconds_each: float, units: int) -> str:
    clock = Clock()
    with Progress(total, "checking images", stream=stream, clock=clock) as progress:
        for _ in range(units):
            clock.now += seconds_each
            progress.advance()
    return stream.getvalue()


def test_log_gets_one_line_for_quick_work():
    assert run(io.StringIO(), 4, 0.5, 4) == "checking images: 4 of 4, 2.0/s, took 2 s\n"


def test_log_gets_a_line_every_ten_seconds_then_rarer():
    lines = run(io.StringIO(), 3600, 1.0, 3600).splitlines()
    assert lines[0] == "checking images: 10 of 3600, 1.0/s, 59 min 50 s left"
    assert lines[1].startswith("checking images: 20 of 3600")
    assert lines[-1] == "checking images: 3600 of 3600, 1.0/s, took 1 h 00 min"
    # Ten seconds until 100 s, then every tenth of the time so far: 10 + log(36) / log(1.1).
    assert len(lines) == pytest.approx(10 + 37, abs=4)


def test_terminal_rewrites_one_line():
    text = run(Terminal(), 3, 1.0, 3)
    assert text.count("\n") == 1 and text.endswith("\n")
    frames = [frame.removesuffix("\x1b[K") for frame in text.rstrip("\n").split("\r")]
    assert frames[1] == "checking images: 1 of 3, 1.0/s, 2 s left"
    assert frames[-1] == "checking images: 3 of 3, 1.0/s, took 3 s"


def test_terminal_is_redrawn_at_most_ten_times_a_second():
    assert run(Terminal(), 1000, 0.001, 1000).count("\r") <= 12


def test_terminal_line_never_wraps(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    clock = Clock()
    stream = Terminal()
    with Progress(10, "reading", stream=stream, clock=clock) as progress:
        clock.now += 1
        progress.advance(note="a/very/long/path/" * 10)
    assert max(len(frame.removesuffix("\x1b[K")) for frame in stream.getvalue().strip().split("\r")) < 40


def test_unknown_total_shows_neither_total_nor_time_left():
    text = run(io.StringIO(), None, 6.0, 2)
    assert text == "checking images: 2, 10.0/min\nchecking images: 2, 10.0/min, took 12 s\n"


def test_note_and_count():
    clock = Clock()
    stream = io.StringIO()
    with Progress(10, "reading", stream=stream, clock=clock) as progress:
        clock.now += 20
        progress.advance(5, note="leg.dcm")
    assert stream.getvalue().splitlines()[0] == "reading: 5 of 10, 15.0/min, 20 s left  leg.dcm"
    assert progress.done == 5


def test_what_was_done_before_counts_but_not_for_the_speed():
    clock, stream = Clock(), io.StringIO()
    with Progress(22, "epoch 2/5", stream=stream, clock=clock, done=3) as progress:
        clock.now += 20
        progress.advance(2)
        clock.now += 10
        progress.advance(17)
    assert stream.getvalue().splitlines() == [
        "epoch 2/5: 5 of 22, 6.0/min, 2 min 50 s left",
        "epoch 2/5: 22 of 22, 38.0/min, 0 s left",
        "epoch 2/5: 22 of 22, 38.0/min, took 30 s",
    ]


def test_error_is_passed_on_and_named_as_stopped():
    stream = io.StringIO()
    clock = Clock()
    with pytest.raises(ValueError, match="broken"), Progress(10, "reading", stream=stream, clock=clock) as progress:
        clock.now += 4
        progress.advance()
        raise ValueError("broken")
    assert stream.getvalue() == "reading: 1 of 10, 15.0/min, stopped after 4 s\n"


def test_nothing_done_divides_by_nothing():
    assert run(io.StringIO(), 0, 1.0, 0) == "checking images: 0 of 0, took 0 s\n"


def test_track_yields_everything_and_knows_the_length():
    stream = io.StringIO()
    assert list(track([3, 1, 2], "sorting", stream=stream)) == [3, 1, 2]
    assert stream.getvalue().startswith("sorting: 3 of 3")
    stream = io.StringIO()
    assert list(track((n for n in range(2)), "sorting", stream=stream)) == [0, 1]
    assert stream.getvalue().startswith("sorting: 2,")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.7, "1 h 00 min"),
        (4800, "1 h 20 min"),
        (7199, "2 h 00 min"),
        (90000, "25 h 00 min"),
    ],
)
def test_format_duration(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(("rate", "text"), [(1234.5, "1234/s"), (33.4, "33/s"), (2.5, "2.5/s"), (0.2, "12.0/min")])
def test_format_rate(rate, text):
    assert format_rate(rate) == text
