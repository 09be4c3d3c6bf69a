"""How every figure looks: one type size, colours that colour-blind readers tell apart, nothing that is not needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasortho.files import atomic_path
from kerasortho.radiograph import overlay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito (2008), https://jfly.uni-koeln.de/color/
BLUE, GREEN, VERMILION, PURPLE = "#0072B2", "#009E73", "#D55E00", "#CC79A7"
PREDICTION, TRUTH = (tuple(part / 255 for part in colour) for colour in (overlay.PREDICTION, overlay.TRUTH))
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, PREDICTION, TRUTH)
INK, FAINT = "#222222", "#9a9a9a"
DPI = 150

_SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "figure.facecolor": "white",
}


@contextmanager
def figure(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure of ``width`` x ``height`` inches and write it to ``path`` (PNG), atomically.

    Built without pyplot: no display, no state, usable in a thread.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        drawn = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(drawn)
        yield drawn
        with atomic_path(path) as temporary:
            drawn.savefig(temporary, metadata={"Software": "kerasortho"})


def wrapped(name: str, length: int, lines: int = 2) -> str:
    """Return ``name`` on up to ``lines`` lines of ``length`` characters, its middle left out where that is too little.

    Lines end behind a blank, hyphen, underscore or dot where the rest still fits.
    """
    rest, parts = shortened(name, length * lines), list[str]()
    while len(rest) > length:
        room = length * (lines - len(parts) - 1)
        last = max(rest.rfind(mark, max(0, len(rest) - room - 1), length) for mark in " -_.")
        cut = last + 1 if last > 0 else length
        parts.append(rest[:cut].rstrip())
        rest = rest[cut:]
    return "\n".join([*parts, rest])


def shortened(name: str, length: int) -> str:
    """Return ``name`` with its middle left out where it is longer than ``length`` characters."""
    if len(name) <= length:
        return name
    head = (length - 1) // 2
    return f"{name[:head]}…{name[len(name) - (length - 1 - head) :]}"
