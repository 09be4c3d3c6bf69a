"""How wide the 95 % interval of the test scores will be, before anything is trained.

The mean of a score over n images has the variance sigma^2 / n * deff. The design effect deff = 1 + (m - 1) * icc tells
how much less n images of a few patients say than n of n patients (Kish 1965, Survey Sampling, section 5.4); for groups
of unlike sizes m_i, m is the mean size weighted by images, sum(m_i^2) / n (Eldridge, Ashby & Kerry 2006, International
Journal of Epidemiology 35:1292). The interval is 1.96 standard errors to each side.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kerasortho.data.checking.balance import FEW_GROUPS
from kerasortho.data.checking.findings import Case, Finding
from kerasortho.data.grouping import group_of
from kerasortho.data.inspection import Inspection
from kerasortho.data.manifest import Manifest, Row, is_excluded
from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.words import counted, echo

WANTED = 0.02
"""Half-width of the interval for which the needed number of images is told."""

_Z = 1.96
_WIDE = 0.1  # half-width from which a test split tells too little
_SPREAD_AT = (0.3, 0.86)  # mean Dice ...
_SPREAD_SHARE = (0.7, 0.3)  # ... and the spread there, as a share of the largest possible


@dataclass(frozen=True)
class Expected:
    """What a user expects of the model: mean scores, the spread of Dice between images, the likeness within groups.

    ``dice_sd`` None: from `usual_dice_spread`. ``icc``, the intraclass correlation, was 0.23 to 0.31 for the Dice of
    fracture models on FracAtlas (89 images in 17 groups) and at most 0.05 for being right about the limb.
    """

    dice: float = 0.8
    accuracy: float = 0.9
    dice_sd: float | None = None
    icc: float = 0.25


def parse_expected(settings: Sequence[str]) -> Expected:
    """Return the expectations of ``--expect`` options such as ``dice=0.9``. Raises KerasOrthoError for any other."""
    values: dict[str, float] = {}
    names = tuple(Expected.__dataclass_fields__)
    for setting in settings:
        name, _, text = setting.partition("=")
        name = name.strip().replace("-", "_")
        if name not in names:
            raise KerasOrthoError(
                f"--expect {echo(setting)}: there is no {echo(name)}.{did_you_mean(name, names)} "
                f"Use {', '.join(names)}, as in dice=0.9."
            )
        try:
            values[name] = float(text)
        except ValueError:
            values[name] = math.nan
        if not 0 <= values[name] <= 1:
            raise KerasOrthoError(f"--expect {name} must be a number from 0 to 1. Received: {echo(text)}")
    return Expected(**values)


def usual_dice_spread(dice: float) -> float:
    """Return the standard deviation of Dice between images that goes with a mean of ``dice``.

    It can be sqrt(d (1 - d)) at most (Bhatia & Davis 2000, American Mathematical Monthly 107:353). The models of this
    package had 0.7 of that on FracAtlas' fractures (mean 0.27 to 0.30: spread 0.29 to 0.32) and 0.25 to 0.37 on its
    bones (mean 0.85 to 0.92: spread 0.08 to 0.11); between these lies a straight line.
    """
    share = float(np.interp(dice, _SPREAD_AT, _SPREAD_SHARE))
    return share * math.sqrt(dice * (1 - dice))


def design_effect(sizes: Sequence[int], icc: float) -> float:
    """Return by how much groups of these ``sizes`` widen the variance of a mean over their images."""
    images = sum(sizes)
    return 1 + (sum(size * size for size in sizes) / images - 1) * icc


def half_width(sizes: Sequence[int], spread: float, icc: float) -> float:
    """Return half the width of the 95 % interval of a mean over images in groups of ``sizes``.

    ``spread`` is the standard deviation of the score between images; sqrt(p (1 - p)) for a proportion p.
    """
    return _Z * spread * math.sqrt(design_effect(sizes, icc) / sum(sizes))


def power_findings(
    manifest: Manifest, inspections: Sequence[Inspection | None], expected: Expected | None = None
) -> Iterator[Finding]:
    """Yield how wide the intervals of the test split's scores will be: Dice, and accuracy by class."""
    expected = expected or Expected()
    rows = [
        (row, item)
        for row, item in zip(manifest.rows, inspections, strict=True)
        if row.get("split") == "test" and not is_excluded(row) and (item is None or not item.problem)
    ]
    cases = list(_dice_cases([row for row, item in rows if item and item.mask and item.mask.share > 0], expected))
    cases += _accuracy_cases([row for row, _ in rows if row.get("label")], expected)
    meaning = (
        "How wide the 95 % intervals of the test split will be, if the model is as good as expected (--expect). "
        f"Likeness within groups (intraclass correlation) assumed: {expected.icc:g}."
    )
    yield Finding("info", "test_interval", meaning, tuple(case for _, case in cases))
    wide = tuple(case for width, case in cases if width > _WIDE)
    meaning = f"The test split will tell scores no better than +-{_WIDE:g}: too few images or groups to compare models."
    yield Finding("warning", "test_interval_wide", meaning, wide)


def _dice_cases(rows: Sequence[Row], expected: Expected) -> Iterator[tuple[float, Case]]:
    if rows:
        spread = usual_dice_spread(expected.dice) if expected.dice_sd is None else expected.dice_sd
        what = f"a Dice of {expected.dice:g} (spread between images {spread:.2f})"
        yield _case("test", f"with something marked, {what}", rows, spread, expected.icc)


def _accuracy_cases(rows: Sequence[Row], expected: Expected) -> list[tuple[float, Case]]:
    if not rows:
        return []
    spread = math.sqrt(expected.accuracy * (1 - expected.accuracy))
    labels = sorted({row["label"] for row in rows})
    parts = [
        ("test", rows),
        *((f"test, class {name}", [row for row in rows if row["label"] == name]) for name in labels),
    ]
    return [_case(name, f"an accuracy of {expected.accuracy:g}", part, spread, expected.icc) for name, part in parts]


def _case(name: str, what: str, rows: Sequence[Row], spread: float, icc: float) -> tuple[float, Case]:
    """Return the half-width of an interval, and what is to be said of it."""
    sizes = list(Counter(map(group_of, rows)).values())
    width = half_width(sizes, spread, icc)
    factor = (width / WANTED) ** 2
    needed = f"+-{WANTED:g} needs about {_rounded(len(rows) * factor)} images in {_rounded(len(sizes) * factor)} groups"
    few = f"; fewer than {FEW_GROUPS} groups: not reliable" if len(sizes) < FEW_GROUPS else ""
    told = f"{counted(len(rows), 'image')} in {counted(len(sizes), 'group')}"
    return width, Case((name,), f"{told}: {what} gets +-{width:.3f}{few}; {needed}")


def _rounded(number: float) -> int:
    """Return a number rounded up to two digits."""
    step = 10 ** max(0, math.floor(math.log10(max(number, 1))) - 1)
    return math.ceil(number / step) * step
