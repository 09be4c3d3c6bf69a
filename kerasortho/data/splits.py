"""Splits that do not leak: whole groups only, classes balanced, the same result for the same images and seed."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kerasortho.data.duplicates import connected
from kerasortho.data.manifest import SPLITS, Manifest, is_excluded, shorten
from kerasortho.errors import KerasOrthoError

_PASSES = 20
_LISTED_NAMES = 3


@dataclass(frozen=True)
class Grouping:
    """A group name for every row of a manifest ('' for excluded rows), and how the groups came about, in words."""

    names: tuple[str, ...]
    notes: tuple[str, ...]


def column_groups(manifest: Manifest, column: str) -> list[str]:
    """Return the groups that ``column`` gives. Raises KerasOrthoError unless every row in use has one."""
    manifest.require_column(column)
    empty = [row["image"] for row in manifest.rows if not is_excluded(row) and not row[column]]
    if empty:
        raise KerasOrthoError(
            f"{manifest.path}: {len(empty)} images have no {column}: {shorten(empty)}. Fill them in, "
            "or give a reason in column exclude."
        )
    return ["" if is_excluded(row) else row[column] for row in manifest.rows]


def id_block_groups(manifest: Manifest, size: int) -> list[str]:
    """Return blocks of ``size`` consecutive file numbers as groups: neighbours in number are often views of one study.

    The number is the last one in the file name (``IMG0000261.jpg``: 261, with 20 a block in group ``IMG 260-279``).
    The block of an image does not depend on which other images there are.

    Raises:
        KerasOrthoError: a name without a number, or one name in two folders: numbers then say nothing of neighbours.
    """
    if size < 1:
        raise KerasOrthoError(f"--id-blocks must be 1 or more images. Received: {size}")
    groups, taken = [], dict[tuple[str, int, str], str]()
    for row in manifest.rows:
        name = row["image"].rsplit("/", 1)[-1].rsplit(".", 1)[0]
        found = re.fullmatch(r"(.*?)(\d+)(\D*)", name, re.DOTALL)
        if found is None:
            raise KerasOrthoError(
                f"{manifest.path}: the file name {row['image']} has no number, so it has no place in a block of ids."
            )
        before, number, after = found[1], int(found[2]), found[3]
        twin = taken.setdefault((before, number, after), row["image"])
        if twin != row["image"]:
            raise KerasOrthoError(
                f"{manifest.path}: {twin} and {row['image']} have the same number, so numbers do not tell neighbours "
                "here. Give groups in a column, and name it with --group-column."
            )
        first = number // size * size
        groups.append("" if is_excluded(row) else f"{before}{after} {first}-{first + size - 1}".strip())
    return groups


def tie(manifest: Manifest, groups: Sequence[str], pairs: Iterable[tuple[int, int]]) -> Grouping:
    """Join the groups of rows that are duplicates of each other.

    Args:
        manifest: the dataset.
        groups: a group for every row, '' for excluded ones.
        pairs: numbers of rows that show the same exposure.
    """
    used = [index for index, name in enumerate(groups) if name]
    position = {index: place for place, index in enumerate(used)}
    first_of: dict[str, int] = {}
    links = [(first_of.setdefault(groups[index], place), place) for place, index in enumerate(used)]
    duplicates = [(position[one], position[other]) for one, other in pairs if one in position and other in position]
    crossing = sum(groups[used[one]] != groups[used[other]] for one, other in duplicates)
    roots = connected(len(used), [*links, *duplicates])
    members: dict[int, set[str]] = defaultdict(set)
    for root, index in zip(roots, used, strict=True):
        members[root].add(groups[index])
    title = {root: _joined(names) for root, names in members.items()}
    names = [""] * len(groups)
    for root, index in zip(roots, used, strict=True):
        names[index] = title[root]
    notes = (
        [f"{len(duplicates)} pairs of duplicates; {crossing} of them tie different groups together."]
        if duplicates
        else []
    )
    return Grouping(tuple(names), tuple(notes))


def _joined(names: set[str]) -> str:
    ordered = sorted(names)
    more = f"+{len(ordered) - _LISTED_NAMES} more" if len(ordered) > _LISTED_NAMES else ""
    return "+".join(ordered[:_LISTED_NAMES]) + more


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
            f"{len(names)} groups cannot fill {len(fractions)} parts: more groups or fewer parts are needed."
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
    if folds is not None:
        if folds < 2:
            raise KerasOrthoError(f"--folds must be 2 or more. Received: {folds}")
        column, titles, shares = "fold", tuple(str(number) for number in range(folds)), (1.0,) * folds
    else:
        shares = _check_fractions(fractions or (0.7, 0.15, 0.15))
        column, titles = "split", tuple(name for name, share in zip(SPLITS, shares, strict=True) if share)
        shares = tuple(share for share in shares if share)
    cells = [""] * len(manifest.rows)
    for index, part in zip(used, assign(groups, classes, shares, seed), strict=True):
        cells[index] = titles[part]
    result = manifest.with_column("group", grouping.names).with_column(column, cells)
    refuse_leak(result, "group", column)
    return result


def _check_fractions(fractions: Sequence[float]) -> tuple[float, ...]:
    shares = tuple(float(share) for share in fractions)
    if len(shares) != len(SPLITS) or min(shares) < 0 or not abs(sum(shares) - 1) < 1e-6 or shares[0] == 0:
        raise KerasOrthoError(
            "Fractions are three numbers for train, val and test that sum to 1, such as 0.7,0.15,0.15. "
            f"Received: {','.join(f'{share:g}' for share in shares)}"
        )
    return shares


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
        raise KerasOrthoError(
            f"{manifest.path}: {len(crossing)} groups cross {part_column}s: {shorten(crossing)}. Split again."
        )
