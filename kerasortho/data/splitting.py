"""From a manifest to a split manifest: choosing groups, tying duplicates, distributing, telling what came out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kerasortho.data.checking.contradictions import count_contradictions
from kerasortho.data.grouping import (
    GIVEN_GROUPS,
    GroupChoice,
    choose_groups,
    describe_sources,
    group_sources,
    patient_columns,
    tie,
)
from kerasortho.data.inspection import duplicate_rows, inspect_manifest
from kerasortho.data.manifest import SPLITS, Manifest, is_excluded, shorten
from kerasortho.data.splits import crossing_groups, split_columns, wanted_parts
from kerasortho.data.transformed_duplicates import transformed_rows
from kerasortho.errors import KerasOrthoError
from kerasortho.words import counted


def split_manifest(
    manifest: Manifest,
    groups: GroupChoice = GIVEN_GROUPS,
    *,
    fractions: Sequence[float] | None = None,
    folds: int | None = None,
    stratify: str | None = None,
    seed: int = 0,
    quick: bool = False,
    processes: int = 1,
    what: str = "",
) -> tuple[Manifest, list[str]]:
    """Split a manifest by groups, with duplicates tied together and classes balanced.

    Args:
        manifest: the dataset; all images in use must be readable.
        groups: where the groups come from.
        fractions: shares of train, val and test (default 0.7, 0.15, 0.15), written to column ``split``.
        folds: write that many folds to column ``fold`` instead.
        stratify: column to balance (default ``label`` where present).
        seed: another seed, another split.
        quick: search for duplicates that were saved again, not for turned, mirrored, cropped or re-exposed ones.
        processes: how many processes read images.
        what: a word for the progress on stderr; empty for none.

    Returns:
        The manifest with the columns ``group``, ``grouped_by`` and ``split`` or ``fold``, and what was noticed, in
        sentences.

    Raises:
        KerasOrthoError: no groups to go by, unreadable images, impossible fractions, too few groups.
    """
    column = wanted_parts(fractions, folds).column
    manifest = choose_groups(manifest, groups)
    stratify = stratify_column(manifest, stratify)
    if stratify:
        manifest.require_column(stratify)
    inspections = inspect_manifest(manifest, masks=False, processes=processes, what=what)
    unreadable = [
        row["image"] for row, item in zip(manifest.rows, inspections, strict=True) if item is not None and item.problem
    ]
    if unreadable:
        raise KerasOrthoError(
            f"{manifest.path}: {counted(len(unreadable), 'image')} cannot be read: {shorten(unreadable)}. "
            "`kerasortho data check --exclude-broken` gives them a reason in column exclude."
        )
    pairs = duplicate_rows(inspections, what=what and "comparing pairs of images")
    if not quick:
        pairs += transformed_rows(manifest, inspections, pairs, processes=processes, what=what)
    names = [row["group"] for row in manifest.rows]
    grouping = tie(manifest, names, [(pair.first, pair.second) for pair in pairs])
    result = split_columns(manifest, grouping, fractions=fractions, folds=folds, stratify=stratify, seed=seed)
    other = "fold" if column == "split" else "split"
    notes = [*grouping.notes]
    if not stratify:
        notes.append("No column label, so no classes are balanced: --stratify COLUMN balances those of another column.")
    notes += _absent_classes(result, column, stratify)
    if groups.ungrouped and (ignored := patient_columns(manifest.columns)):
        notes.append(f"Column {ignored[0]} looks like patients or studies: --group-column {ignored[0]} goes by it.")
    if contradicting := count_contradictions(manifest, pairs):
        disagree = counted(contradicting, "of the pairs disagrees", "of the pairs disagree")
        notes.append(f"{disagree} on a label: see `kerasortho data check {manifest.path}`.")
    if crossing := crossing_groups(result.rows, "group", other):
        cross = counted(len(crossing), "of these groups crosses", "of these groups cross")
        notes.append(f"{cross} {other}s, which were made with other groups: make them anew.")
    return result, notes


def stratify_column(manifest: Manifest, asked: str | None) -> str | None:
    """Return the column to balance: the one asked for, else ``label`` where present, else None."""
    return asked or ("label" if "label" in manifest.columns else None)


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
    sources = describe_sources(group_sources(row for row in manifest.rows if row[column]))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    table = [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    ]
    excluded = [f"In no {column}, being excluded: {counted(left_out, 'image')}."] if left_out else []
    return "\n".join([*table, f"Groups: {sources}.", *excluded])
