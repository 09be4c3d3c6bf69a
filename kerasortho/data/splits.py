"""Splits that do not leak: whole groups only, classes balanced, the same result for the same images and seed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from kerasortho.data.grouping import Grouping
from kerasortho.data.manifest import SPLITS, Manifest, is_excluded, shorten
from kerasortho.errors import KerasOrthoError
from kerasortho.words import counted

DEFAULT_FRACTIONS = (0.7, 0.15, 0.15)
_PASSES = 20


class Parts(NamedTuple):
    """What a dataset is divided into: the column to write, the parts' titles, and their shares of the images."""

    column: str
    titles: tuple[str, ...]
    shares: tuple[float, ...]


def assign(groups: Sequence[str], classes: Sequence[str], fractions: Sequence[float], seed: int) -> list[int]:
    """Distribute whole groups over parts, so that every part gets its share of every class.

    Groups are dealt out, large ones first, to where they lower the chi-square distance to the wanted counts most;
    then single groups move as long as that helps. Depends on the names of groups, not on the order of rows.

    Args:
        groups: the group of every item.
        classes: the class of every item.
        fractions: the wanted share of every part, all above 0; they are scaled to sum 1.
        seed: another seed, another distribution.

    Returns:
        The number of the part of every item. Raises KerasOrthoError where there are fewer groups than parts.
    """
    names, class_names = sorted(set(groups)), sorted(set(classes))
    if len(names) < len(fractions):
        raise KerasOrthoError(
            f"{counted(len(names), 'group')} cannot fill {len(fractions)} parts: more groups or fewer parts are needed."
        )
    row_of, column_of = ({name: i for i, name in enumerate(items)} for items in (names, class_names))
    counts = np.zeros((len(names), len(class_names) + 1))
    for group, kind in zip(groups, classes, strict=True):
        counts[row_of[group], column_of[kind]] += 1
        counts[row_of[group], -1] += 1
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-counts[order, -1], kind="stable")]
    target = np.outer(np.asarray(fractions) / sum(fractions), counts.sum(axis=0))
    part = _improve(_deal(counts, target, order), counts, target, order)
    return [int(part[row_of[group]]) for group in groups]


def _deal(counts: np.ndarray, target: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the part of every group, dealt out in ``order``; the last groups go to parts that are still empty."""
    part = np.zeros(len(counts), int)
    filled, members = np.zeros_like(target), np.zeros(len(target), int)
    for place, group in enumerate(order):
        cost = _added_cost(filled - target, counts[group], target)
        if (members == 0).sum() >= len(order) - place:
            cost[members > 0] = np.inf
        part[group] = chosen = int(np.argmin(cost))
        filled[chosen] += counts[group]
        members[chosen] += 1
    return part


def _improve(part: np.ndarray, counts: np.ndarray, target: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Move single groups to better parts, never the last one of a part, until nothing helps."""
    excess = -target.copy()
    np.add.at(excess, part, counts)
    members = np.bincount(part, minlength=len(target))
    for _ in range(_PASSES):
        moved = False
        for group in order:
            here = part[group]
            if members[here] == 1:
                continue
            excess[here] -= counts[group]
            cost = _added_cost(excess, counts[group], target)
            there = int(np.argmin(cost))
            if cost[there] < cost[here] - 1e-9:
                part[group], moved = there, True
                members[[here, there]] += (-1, 1)
            excess[part[group]] += counts[group]
        if not moved:
            break
    return part


def _added_cost(excess: np.ndarray, added: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return (parts,) by how much the sum of excess^2 / target grows when ``added`` joins a part."""
    return np.asarray(((2 * excess * added + added**2) / np.maximum(target, 1e-9)).sum(axis=1))


def wanted_parts(fractions: Sequence[float] | None = None, folds: int | None = None) -> Parts:
    """Return the parts of a split by ``fractions``, or of ``folds``. Raises KerasOrthoError for impossible ones."""
    if folds is not None:
        if folds < 2:
            raise KerasOrthoError(f"--folds must be 2 or more. Received: {folds}")
        return Parts("fold", tuple(str(number) for number in range(folds)), (1.0,) * folds)
    shares = tuple(float(share) for share in fractions or DEFAULT_FRACTIONS)
    if len(shares) != len(SPLITS) or min(shares) < 0 or not abs(sum(shares) - 1) < 1e-6 or shares[0] == 0:
        raise KerasOrthoError(
            "Fractions are three numbers for train, val and test that sum to 1, such as 0.7,0.15,0.15. "
            f"Received: {','.join(f'{share:g}' for share in shares)}"
        )
    if shares[0] == 1:
        raise KerasOrthoError(
            "With fractions 1,0,0 all images would train, and none validate or test. Give each its share, such as "
            "0.7,0.15,0.15; val or test alone may be 0."
        )
    titles = tuple(name for name, share in zip(SPLITS, shares, strict=True) if share)
    return Parts("split", titles, tuple(share for share in shares if share))


def split_columns(
    manifest: Manifest,
    grouping: Grouping,
    *,
    fractions: Sequence[float] | None = None,
    folds: int | None = None,
    stratify: str | None = None,
    seed: int = 0,
) -> Manifest:
    """Return the manifest with ``group``, and ``split`` (by ``fractions``) or ``fold`` (0 to ``folds`` - 1), filled in.

    Excluded rows get neither. Raises KerasOrthoError for impossible fractions or folds, or no column ``stratify``.
    """
    if stratify is not None:
        manifest.require_column(stratify)
    used = [index for index, name in enumerate(grouping.names) if name]
    if not used:
        raise KerasOrthoError(f"{manifest.path}: all images are excluded, there is nothing to split.")
    groups = [grouping.names[index] for index in used]
    classes = [manifest.rows[index][stratify] if stratify else "" for index in used]
    parts = wanted_parts(fractions, folds)
    cells = [""] * len(manifest.rows)
    for index, part in zip(used, assign(groups, classes, parts.shares, seed), strict=True):
        cells[index] = parts.titles[part]
    result = manifest.with_column("group", grouping.names).with_column(parts.column, cells)
    refuse_leak(result, "group", parts.column)
    return result


def crossing_groups(rows: Iterable[Mapping[str, str]], group_column: str, part_column: str) -> dict[str, list[str]]:
    """Return the groups that lie in several parts, with these parts; excluded rows do not count."""
    parts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.get(group_column) and row.get(part_column) and not is_excluded(row):
            parts[row[group_column]][row[part_column]] += 1
    return {group: sorted(found) for group, found in parts.items() if len(found) > 1}


def refuse_leak(manifest: Manifest, group_column: str, part_column: str) -> None:
    """Raise KerasOrthoError if a group lies in several parts."""
    crossing = crossing_groups(manifest.rows, group_column, part_column)
    if crossing:
        groups = counted(len(crossing), "group crosses", "groups cross")
        raise KerasOrthoError(f"{manifest.path}: {groups} {part_column}s: {shorten(crossing)}. Split again.")
