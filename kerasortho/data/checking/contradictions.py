"""Duplicates that are labelled or marked differently: one of them must be wrong."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from kerasortho.data.checking.findings import Case, Finding
from kerasortho.data.duplicates import Duplicate
from kerasortho.data.inspection import Inspection
from kerasortho.data.manifest import FIXED_COLUMNS, Manifest, is_excluded
from kerasortho.data.transforms import Transform
from kerasortho.radiograph.reading import read_mask_values

_SIDES = {"left": "right", "right": "left", "l": "r", "r": "l"}
_SIDE = re.compile(r"(^|[^a-z])(left|right|l|r)(?![a-z])", re.I)
_SAME_MASK = 0.9  # Dice of two people's outlines of one bone is higher
_MOST_CLASSES = 20  # a further column with no more different values than this is taken for a label


def contradictions(
    manifest: Manifest, inspections: Sequence[Inspection | None], pairs: Sequence[Duplicate]
) -> Iterator[Finding]:
    """Yield duplicates that are labelled or marked differently."""
    columns = _label_columns(manifest)
    label, others = [name for name in columns if name == "label"], [name for name in columns if name != "label"]
    meaning = "have different labels: one of them must be wrong."
    for kind, level, word, who in (
        ("exact", "error", "labels", "Identical images"),
        ("near", "warning", "near_labels", "Near-duplicates"),
        ("transformed", "warning", "transformed_labels", "Transformed duplicates"),
    ):
        alike = [pair for pair in pairs if pair.kind == kind]
        yield Finding(level, f"contradicting_{word}", f"{who} {meaning}", _differences(manifest, alike, label))
    meaning = "Duplicates differ in other columns that look like labels."
    yield Finding("warning", "contradicting_columns", meaning, _differences(manifest, pairs, others))
    meaning = "The one image is the other mirrored, and both are labelled with the same side."
    yield Finding("warning", "mirrored_same_side", meaning, mirrored_same_side(manifest, pairs, columns))
    meaning = "Duplicates have different masks."
    yield Finding("warning", "contradicting_masks", meaning, _different_masks(manifest, inspections, pairs))


def _different_masks(
    manifest: Manifest, inspections: Sequence[Inspection | None], pairs: Sequence[Duplicate]
) -> tuple[Case, ...]:
    """Return the identical images, and the transformed ones, whose masks are not the same."""
    cases = []
    for pair in pairs:
        items = inspections[pair.first], inspections[pair.second]
        masks = [item.mask for item in items if item is not None and item.mask is not None]
        if len(masks) < 2:
            continue
        if pair.exact and masks[0].content_hash != masks[1].content_hash:
            cases.append(pair_case(manifest, pair, ""))
        elif pair.transform is not None and all(
            item is not None and item.mask is not None and item.mask.shape == item.shape for item in items
        ):
            dice = _dice_of_masks(manifest, pair, pair.transform)
            if dice < _SAME_MASK:
                cases.append(pair_case(manifest, pair, f"Dice {dice:.2f} once laid over each other"))
    return tuple(cases)


def _dice_of_masks(manifest: Manifest, pair: Duplicate, transform: Transform) -> float:
    """Return the Dice of the masks of transformed duplicates where both images show the same; 1 if both are empty."""
    files = (manifest.resolve(manifest.rows[number], "mask") for number in (pair.first, pair.second))
    one, other = (read_mask_values(str(file)) != 0 for file in files)
    moved, known = transform.apply(one.astype(np.uint8), other.shape)
    area = int(moved[known].sum()) + int(other[known].sum())
    return 2 * int((moved.astype(bool) & other & known).sum()) / area if area else 1.0


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


def mirrored_same_side(manifest: Manifest, pairs: Sequence[Duplicate], columns: Sequence[str]) -> tuple[Case, ...]:
    """Return the mirrored duplicates that ``columns`` give the same side (left, right, L, R)."""
    cases = []
    for pair in pairs:
        one, other = manifest.rows[pair.first], manifest.rows[pair.second]
        same = [f"{name} {one[name]}" for name in columns if one[name] == other[name] != other_side(one[name])]
        if same and pair.transform is not None and pair.transform.mirrored:
            cases.append(pair_case(manifest, pair, f"both {', '.join(same)}; {pair.transform.describe()}"))
    return tuple(cases)


def other_side(label: str) -> str:
    """Return a label with its side changed: ``left`` for ``right``, ``hand_R`` for ``hand_L``; others as they are."""
    return _SIDE.sub(lambda found: found[1] + _matching_case(_SIDES[found[2].lower()], found[2]), label)


def _matching_case(word: str, model: str) -> str:
    return word.upper() if model.isupper() else word.capitalize() if model[0].isupper() else word


def count_contradictions(manifest: Manifest, pairs: Sequence[Duplicate]) -> int:
    """Return how many of the ``pairs`` of duplicates differ in a column that is, or looks like, a label."""
    return len(_differences(manifest, pairs, _label_columns(manifest)))


def _differences(manifest: Manifest, pairs: Sequence[Duplicate], columns: Sequence[str]) -> tuple[Case, ...]:
    """Return the pairs of rows that differ in any of ``columns``, and how."""
    cases = []
    for pair in pairs:
        one, other = manifest.rows[pair.first], manifest.rows[pair.second]
        mirrored = pair.transform is not None and pair.transform.mirrored
        different = [
            f"{name} {one[name] or '(empty)'} and {other[name] or '(empty)'}"
            for name in columns
            if one[name] != other[name] and not (mirrored and other_side(one[name]) == other[name])
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
    """Return how alike the images of a pair are, in words, and what was done to the first to make the second."""
    done = f"{pair.transform.describe()}; " if pair.transform else ""
    return "identical" if pair.exact else f"{done}correlation {pair.score:.3f}"
