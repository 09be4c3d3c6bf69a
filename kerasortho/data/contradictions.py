"""Duplicates that are labelled or marked differently: one of them must be wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from kerasortho.data.duplicates import Duplicate
from kerasortho.data.findings import Case, Finding
from kerasortho.data.inspection import Inspection
from kerasortho.data.manifest import FIXED_COLUMNS, Manifest, is_excluded

_MOST_CLASSES = 20  # a further column with no more different values than this is taken for a label


def contradictions(
    manifest: Manifest, inspections: Sequence[Inspection | None], pairs: Sequence[Duplicate]
) -> Iterator[Finding]:
    """Yield duplicates that are labelled or marked differently."""
    columns = _label_columns(manifest)
    label, others = [name for name in columns if name == "label"], [name for name in columns if name != "label"]
    exact, near = [pair for pair in pairs if pair.exact], [pair for pair in pairs if not pair.exact]
    meaning = "have different labels: one of them must be wrong."
    yield Finding("error", "contradicting_labels", f"Identical images {meaning}", _differences(manifest, exact, label))
    yield Finding(
        "warning", "contradicting_near_labels", f"Near-duplicates {meaning}", _differences(manifest, near, label)
    )
    meaning = "Duplicates differ in other columns that look like labels."
    yield Finding("warning", "contradicting_columns", meaning, _differences(manifest, pairs, others))
    masks = []
    for pair in pairs:
        one_item, other_item = inspections[pair.first], inspections[pair.second]
        if not pair.exact or one_item is None or other_item is None or one_item.mask is None or other_item.mask is None:
            continue
        if one_item.mask.content_hash != other_item.mask.content_hash:
            masks.append(pair_case(manifest, pair, ""))
    yield Finding("warning", "contradicting_masks", "Identical images have different masks.", tuple(masks))


def label_spellings(manifest: Manifest) -> Iterator[Finding]:
    """Yield labels that are the same but for case and blanks: they would be classes of their own."""
    cases = []
    for column in _label_columns(manifest):
        spellings: dict[str, set[str]] = defaultdict(set)
        for row in manifest.rows:
            if row[column] and not is_excluded(row):
                spellings["".join(row[column].lower().split())].add(row[column])
        cases += [Case(tuple(sorted(names)), f"in column {column}") for names in spellings.values() if len(names) > 1]
    meaning = "Labels differ only in case or blanks: each counts as a class of its own. Write them alike."
    yield Finding("warning", "label_spellings", meaning, tuple(cases))


def count_contradictions(manifest: Manifest, pairs: Sequence[Duplicate]) -> int:
    """Return how many of the ``pairs`` of duplicates differ in a column that is, or looks like, a label."""
    return len(_differences(manifest, pairs, _label_columns(manifest)))


def _differences(manifest: Manifest, pairs: Sequence[Duplicate], columns: Sequence[str]) -> tuple[Case, ...]:
    """Return the pairs of rows that differ in any of ``columns``, and how."""
    cases = []
    for pair in pairs:
        one, other = manifest.rows[pair.first], manifest.rows[pair.second]
        different = [
            f"{name} {one[name] or '(empty)'} and {other[name] or '(empty)'}"
            for name in columns
            if one[name] != other[name]
        ]
        if different:
            cases.append(pair_case(manifest, pair, ", ".join(different)))
    return tuple(cases)


def _label_columns(manifest: Manifest) -> list[str]:
    """Return ``label`` and the further columns that look like labels: few different values, none a reserved column."""
    columns = ["label"] if "label" in manifest.columns else []
    for column in manifest.columns:
        values = {row[column] for row in manifest.rows}
        if column not in FIXED_COLUMNS and 1 < len(values) <= min(_MOST_CLASSES, len(manifest.rows) // 2):
            columns.append(column)
    return columns


def pair_case(manifest: Manifest, pair: Duplicate, detail: str) -> Case:
    """Return the two images of a pair as one case."""
    return Case((manifest.rows[pair.first]["image"], manifest.rows[pair.second]["image"]), detail)


def likeness(pair: Duplicate) -> str:
    """Return how alike the images of a pair are, in words."""
    return "identical" if pair.exact else f"correlation {pair.score:.3f}"
