"""What can be told from an image's making alone: its split, its source, and, worst, its label.

A regression on a few traits (size, compression, border, background, noise) is judged on groups that it has not seen.
Where it tells splits apart, the test differs from the training; where it tells the label, so can a model, without
looking at the anatomy (shortcut learning; Zech et al. 2018, PLoS Medicine 15:e1002683).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kerasortho.data.checking.findings import Case, Finding
from kerasortho.data.checking.logistic import auc, auc_interval, unseen_scores
from kerasortho.data.checking.traits import ACQUISITION, TRAITS
from kerasortho.data.grouping import group_of
from kerasortho.data.manifest import Manifest, Row

_CLEARLY = 0.6  # lower end of the AUC's interval from which something is told apart
_FEWEST_IMAGES, _FEWEST_GROUPS = 20, 10  # of each kind, without which nothing can be said
_NAMED = 3

Seen = Sequence[tuple[Row, np.ndarray]]


def separability_findings(
    manifest: Manifest, traits: Sequence[np.ndarray | None], source_column: str | None = None
) -> Iterator[Finding]:
    """Yield splits, sources and labels that the traits (one array a row, None for images not seen) tell apart."""
    seen = [(row, values) for row, values in zip(manifest.rows, traits, strict=True) if values is not None]
    train: Seen = [item for item in seen if item[0].get("split") == "train"]
    told: list[tuple[str, str, str, Seen, Seen, Sequence[str]]] = []
    for split in ("val", "test"):
        part: Seen = [item for item in seen if item[0].get("split") == split]
        told.append(("split", split, "train", part, train, TRAITS))
    for kind, column, names in [("source", source_column, TRAITS), ("label", "label", ACQUISITION)]:
        known: Seen = [item for item in seen if column and item[0].get(column)]
        values = sorted({row[column] for row, _ in known if column})
        for value in values if len(values) > 2 else values[:1]:
            inside: Seen = [item for item in known if column and item[0][column] == value]
            outside: Seen = [item for item in known if column and item[0][column] != value]
            told.append((kind, value, values[1] if len(values) == 2 else "the others", inside, outside, names))
    cases: dict[tuple[str, bool], list[Case]] = {}
    for kind, name, other, inside, outside, traits_used in told:
        result = _told_apart(name, other, inside, outside, traits_used)
        if result is not None:
            cases.setdefault((kind, result[0] >= _CLEARLY), []).append(result[1])
    yield from _findings(cases)


def _findings(cases: dict[tuple[str, bool], list[Case]]) -> Iterator[Finding]:
    method = "by a regression on traits of their making, judged on groups it has not seen (AUC 0.5: not at all)"
    meanings = {
        "label": "Labels can be told without looking at the anatomy: a model may learn that (a shortcut)",
        "split": "Splits differ: scores on one may not hold for the other. They can be told apart",
        "source": "Sources differ: a model may do worse on a new one. They can be told apart",
    }
    for kind, meaning in meanings.items():
        yield Finding("warning", f"{kind}_by_traits", f"{meaning} {method}.", tuple(cases.get((kind, True), ())))
    little = [case for kind in meanings for case in cases.get((kind, False), ())]
    yield Finding("info", "traits_tell_little", f"These are not clearly told apart {method}.", tuple(little))


def _told_apart(name: str, other: str, inside: Seen, outside: Seen, used: Sequence[str]) -> tuple[float, Case] | None:
    """Return the lower end of the AUC's interval and what is to be said; None where there are too few images."""
    for part in (inside, outside):
        if len(part) < _FEWEST_IMAGES or len({group_of(row) for row, _ in part}) < _FEWEST_GROUPS:
            return None
    columns = [TRAITS.index(trait) for trait in used]
    features = np.stack([values for _, values in [*inside, *outside]])[:, columns].astype(np.float64)
    positive = np.arange(len(features)) < len(inside)
    groups = [group_of(row) for row, _ in [*inside, *outside]]
    value, low, high = auc_interval(unseen_scores(features, positive, groups), positive, groups)
    alone = {trait: auc(features[:, place], positive) for place, trait in enumerate(used)}
    best = sorted(alone, key=lambda trait: -abs(alone[trait] - 0.5))[:_NAMED]
    words = ", ".join(
        f"{trait} {'greater' if alone[trait] > 0.5 else 'smaller'} ({max(alone[trait], 1 - alone[trait]):.2f})"
        for trait in best
    )
    told = f"AUC {value:.2f} ({low:.2f} to {high:.2f}); alone tell most: {words}"
    return low, Case((f"{name} and {other}",), told)
