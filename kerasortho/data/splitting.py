"""From a manifest to a split manifest: choosing groups, tying duplicates, distributing, telling what came out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kerasortho.data.inspection import duplicate_rows, inspect_manifest
from kerasortho.data.manifest import SPLITS, Manifest, is_excluded, shorten
from kerasortho.data.splits import column_groups, id_block_groups, split_columns, tie
from kerasortho.errors import KerasOrthoError


@dataclass(frozen=True)
class GroupChoice:
    """Where groups come from; at most one is set, and none means the column ``group``."""

    column: str | None = None
    id_blocks: int | None = None
    ungrouped: bool = False


def split_manifest(
    manifest: Manifest,
    groups: GroupChoice = GroupChoice(),
    *,
    fractions: Sequence[float] | None = None,
    folds: int | None = None,
    stratify: str | None = None,
    seed: int = 0,
    processes: int = 1,
    what: str = "",
) -> tuple[Manifest, list[str]]:
    """Split a manifest by groups, with near-duplicates tied together and classes balanced.

    Args:
        manifest: the dataset; all images in use must be readable.
        groups: where the groups come from.
        fractions: shares of train, val and test (default 0.7, 0.15, 0.15), written to column ``split``.
        folds: write that many folds to column ``fold`` instead.
        stratify: column to balance (default ``label`` where present).
        seed: another seed, another split.
        processes: how many processes read images.
        what: a word for the progress on stderr; empty for none.

    Returns:
        The manifest with its new columns, and what was noticed, in sentences.

    Raises:
        KerasOrthoError: no groups to go by, unreadable images, impossible fractions, too few groups.
    """
    names = _choose_groups(manifest, groups)
    stratify = stratify_column(manifest, stratify)
    if stratify:
        manifest.require_column(stratify)
    inspections = inspect_manifest(manifest, masks=False, processes=processes, what=what)
    unreadable = [
        row["image"] for row, item in zip(manifest.rows, inspections, strict=True) if item is not None and item.problem
    ]
    if unreadable:
        raise KerasOrthoError(
            f"{manifest.path}: {len(unreadable)} images cannot be read: {shorten(unreadable)}. "
            "`kerasortho data check --exclude-broken` gives them a reason in column exclude."
        )
    pairs = duplicate_rows(inspections, what=what and "comparing")
    grouping = tie(manifest, names, [(pair.first, pair.second) for pair in pairs])
    result = split_columns(manifest, grouping, fractions=fractions, folds=folds, stratify=stratify, seed=seed)
    return result, [*grouping.notes, *_absent_classes(result, "fold" if folds else "split", stratify)]


def stratify_column(manifest: Manifest, asked: str | None) -> str | None:
    """Return the column to balance: the one asked for, else ``label`` where present, else None."""
    return asked or ("label" if "label" in manifest.columns else None)


def _choose_groups(manifest: Manifest, choice: GroupChoice) -> list[str]:
    if sum([choice.column is not None, choice.id_blocks is not None, choice.ungrouped]) > 1:
        raise KerasOrthoError("--group-column, --id-blocks and --ungrouped exclude each other. Choose one.")
    has_groups = any(row.get("group") for row in manifest.rows)
    if (choice.id_blocks is not None or choice.ungrouped) and has_groups:
        raise KerasOrthoError(
            f"{manifest.path} has groups already, in column group. Leave out --id-blocks or --ungrouped to go by them, "
            "or rename that column to make new groups."
        )
    if choice.id_blocks is not None:
        return id_block_groups(manifest, choice.id_blocks)
    if choice.ungrouped:
        return ["" if is_excluded(row) else row["image"] for row in manifest.rows]
    if choice.column is None and not has_groups:
        raise KerasOrthoError(
            f"{manifest.path} has no column group, so images of one patient could end up on both sides of a split, "
            "and scores would be too good to be true. Name the column of patients or studies with --group-column; "
            "or, where files were numbered in the order of examinations, group neighbours with --id-blocks 20; "
            "or state with --ungrouped that no patient has two images."
        )
    return column_groups(manifest, choice.column or "group")


def _classes(manifest: Manifest, stratify: str | None) -> list[str]:
    return sorted({row[stratify] for row in manifest.rows if not is_excluded(row)}) if stratify else []


def _absent_classes(manifest: Manifest, column: str, stratify: str | None) -> list[str]:
    present = {(row[column], row[stratify]) for row in manifest.rows if row[column]} if stratify else set()
    parts = _parts(manifest, column)
    absent = [
        f"{part} has no {name or '(empty)'}"
        for part in parts
        for name in _classes(manifest, stratify)
        if (part, name) not in present
    ]
    return [f"Too few groups for every class everywhere: {shorten(absent)}."] if absent else []


def _parts(manifest: Manifest, column: str) -> list[str]:
    present = {row[column] for row in manifest.rows if row[column]}
    return [name for name in SPLITS if name in present] if column == "split" else sorted(present, key=int)


def describe_parts(manifest: Manifest, column: str, stratify: str | None = None) -> str:
    """Return a table of images, groups and classes in every part (``column`` is split or fold)."""
    stratify = stratify_column(manifest, stratify)
    classes = _classes(manifest, stratify)
    lines = [(column, "images", "share", "groups", *(name or "(empty)" for name in classes))]
    total = sum(bool(row[column]) for row in manifest.rows)
    for part in _parts(manifest, column):
        rows = [row for row in manifest.rows if row[column] == part]
        counts = Counter(row[stratify] for row in rows) if stratify else Counter()
        groups = len({row["group"] for row in rows})
        lines.append(
            (part, str(len(rows)), f"{len(rows) / total:.1%}", str(groups), *(str(counts[name]) for name in classes))
        )
    left_out = len(manifest.rows) - total
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    table = [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    ]
    return "\n".join([*table, *([f"{left_out} excluded images are in no {column}."] if left_out else [])])
