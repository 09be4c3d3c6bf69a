"""What is wrong with a dataset: broken files, unfit masks, duplicates, leaks and contradictions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from kerasortho.data.checking.contradictions import contradictions, label_spellings, likeness, pair_case
from kerasortho.data.checking.deep_checks import DeepOptions, deep_findings
from kerasortho.data.checking.findings import Case, Finding, sort_findings
from kerasortho.data.duplicates import Duplicate
from kerasortho.data.grouping import BY_IMAGE, describe_sources, group_sources, is_made
from kerasortho.data.inspection import Inspection, MaskFacts, duplicate_rows, inspect_manifest
from kerasortho.data.manifest import Manifest, Row, is_excluded
from kerasortho.data.splits import crossing_groups
from kerasortho.data.transformed_duplicates import transformed_rows
from kerasortho.words import counted

BROKEN = ("missing", "truncated", "unreadable")
"""Kinds of findings whose images cannot be used at all."""

_Used = list[tuple[Row, Inspection]]


def check_manifest(
    manifest: Manifest, *, deep: DeepOptions | None = None, processes: int = 1, what: str = ""
) -> list[Finding]:
    """Return everything that is found in a manifest and its files, errors first.

    Excluded rows are only counted: they are known to be bad.

    Args:
        manifest: read it with ``check_files=False``, so that missing files become findings.
        deep: run the checks of `deep_findings` too, which take minutes, with these options; None: leave them out.
        processes: how many processes read files.
        what: a word for the progress on stderr; empty for none.
    """
    inspections = inspect_manifest(manifest, processes=processes, what=what)
    used = [(row, item) for row, item in zip(manifest.rows, inspections, strict=True) if item is not None]
    pairs = duplicate_rows(inspections, what=what and "comparing pairs of images")
    if deep:
        pairs += transformed_rows(manifest, inspections, pairs, processes=processes, what=what)
    return sort_findings(
        [
            *_file_findings(used),
            *_mask_findings(used),
            *_leaks(manifest, pairs),
            *_duplicates(manifest, pairs),
            *contradictions(manifest, inspections, pairs),
            *label_spellings(manifest),
            *_table_findings(manifest),
            *(deep_findings(manifest, inspections, deep, processes=processes, what=what) if deep else ()),
        ]
    )


def exclude_broken(manifest: Manifest, findings: Sequence[Finding]) -> Manifest:
    """Return the manifest with the reason in column ``exclude`` for every image that cannot be read."""
    reasons = {
        case.names[0]: f"{finding.kind}: {case.detail}"
        for finding in findings
        if finding.kind in BROKEN
        for case in finding.cases
    }
    return manifest.with_column("exclude", [reasons.get(row["image"], row.get("exclude", "")) for row in manifest.rows])


def _file_findings(used: _Used) -> Iterator[Finding]:
    broken = [(row["image"], item) for row, item in used if item.problem]
    cases = {kind: [Case((image,), item.problem) for image, item in broken if _kind(item) == kind] for kind in BROKEN}
    yield Finding("error", "missing", "Image files that the manifest names are not there.", tuple(cases["missing"]))
    yield Finding(
        "error",
        "truncated",
        "The files end before their images do. Get them again or exclude them.",
        tuple(cases["truncated"]),
    )
    yield Finding("error", "unreadable", "The files cannot be read as radiographs.", tuple(cases["unreadable"]))
    constant = tuple(Case((row["image"],)) for row, item in used if item.constant)
    yield Finding("warning", "constant", "All pixels have the same value: there is nothing on the image.", constant)
    meaning = "The bottom rows are a decoder's filler: a file that was cut off, and saved again."
    damaged = tuple(Case((row["image"],), counted(item.filler_rows, "row")) for row, item in used if item.filler_rows)
    yield Finding("warning", "damaged_bottom", meaning, damaged)
    warned: dict[str, list[Case]] = defaultdict(list)
    for row, item in used:
        for text in item.warnings:
            warned[text].append(Case((row["image"],)))
    for text, images in warned.items():
        yield Finding("info", "reader_remark", text, tuple(images))


def _kind(item: Inspection) -> str:
    return "missing" if item.missing else "truncated" if item.truncated else "unreadable"


def _mask_findings(used: _Used) -> Iterator[Finding]:
    readable = [(row, item) for row, item in used if not item.problem]
    for column in ("mask", "ignore"):
        facts = [(row, item, item.mask if column == "mask" else item.ignore) for row, item in readable]
        problems = [(row, item.mask_problem if column == "mask" else item.ignore_problem) for row, item in readable]
        missing = tuple(Case((row["image"],), row[column]) for row, text in problems if text == "no such file")
        yield Finding("error", f"{column}_missing", f"Files in column {column} are not there.", missing)
        unreadable = tuple(_mask_case(row, column, text) for row, text in problems if text not in ("", "no such file"))
        yield Finding("error", f"{column}_unreadable", f"Files in column {column} cannot be read.", unreadable)
        yield from _fitting(column, [(row, item, found) for row, item, found in facts if found is not None])
    if any(row.get("mask") for row, _ in used):
        without = tuple(Case((row["image"],), row.get("mask_note", "")) for row, _ in used if not row["mask"])
        yield Finding("info", "no_mask", "Images without a mask: segmentation leaves them out.", without)


def _fitting(column: str, facts: list[tuple[Row, Inspection, MaskFacts]]) -> Iterator[Finding]:
    """Yield what is wrong with readable masks."""
    other_size = tuple(
        _mask_case(
            row,
            column,
            f"{_size(found.shape)}, the image {_size(item.shape)} pixels (height x width)"
            f"{_how_sizes_differ(found.shape, item.shape)}",
        )
        for row, item, found in facts
        if item.shape is not None and found.shape != item.shape
    )
    yield Finding(
        "error", f"{column}_size", f"Files in column {column} have another size than their images.", other_size
    )
    not_binary = tuple(
        _mask_case(row, column, f"values {_listed(found.values)}") for row, _, found in facts if not found.binary
    )
    meaning = f"Files in column {column} hold other values than 0 and 1, or 0 and 255 (saved as JPEG, perhaps)."
    yield Finding("error", f"{column}_values", meaning, not_binary)
    full = tuple(_mask_case(row, column) for row, _, found in facts if found.binary and found.share == 1)
    yield Finding("warning", f"{column}_full", f"The {column} covers the whole image.", full)
    if column == "mask":
        empty = tuple(_mask_case(row, column) for row, _, found in facts if found.share == 0)
        yield Finding(
            "warning", "mask_empty", "Nothing is marked in the mask: right only where there is nothing to mark.", empty
        )


def _mask_case(row: Row, column: str, detail: str = "") -> Case:
    """Return an image and what is the matter with its file in ``column``, which is named."""
    return Case((row["image"],), f"{row[column]}: {detail}" if detail else row[column])


def _how_sizes_differ(mask: tuple[int, int], image: tuple[int, int]) -> str:
    """Return what may have been done to the image before it was marked, as words to add; '' where it is not plain."""
    if mask == image[::-1]:
        return ": the same size turned, as where an EXIF orientation (5 to 8) was applied before it was marked"
    factor = max(mask) / max(image)
    for turned, shape in (("", image), (", and turned", image[::-1])):
        if all(abs(side * factor - other) <= 1 for side, other in zip(shape, mask, strict=True)):
            return f": scaled by {factor:.3g}{turned}"
    return ""


def _size(shape: tuple[int, int] | None) -> str:
    return f"{shape[0]}x{shape[1]}" if shape else "?"


def _listed(values: tuple[int, ...]) -> str:
    return ", ".join(str(value) for value in values) + (", ..." if len(values) > 7 else "")


def _leaks(manifest: Manifest, pairs: Sequence[Duplicate]) -> Iterator[Finding]:
    """Yield groups and duplicates that lie on both sides of a split or fold."""
    for column in ("split", "fold"):
        if column not in manifest.columns:
            continue
        crossing = crossing_groups(manifest.rows, "group", column)
        groups = tuple(Case((group,), " and ".join(parts)) for group, parts in crossing.items())
        yield Finding(
            "error",
            f"group_crosses_{column}s",
            f"The same group is in several {column}s: scores would be too good.",
            groups,
        )
        leaking = []
        for pair in pairs:
            one, other = manifest.rows[pair.first], manifest.rows[pair.second]
            if one[column] and other[column] and one[column] != other[column]:
                leaking.append(pair_case(manifest, pair, f"{one[column]} and {other[column]}, {likeness(pair)}"))
        meaning = (
            f"The same exposure is in several {column}s: scores would be too good. `kerasortho data split` prevents it."
        )
        yield Finding("error", f"duplicate_crosses_{column}s", meaning, tuple(leaking))


def _duplicates(manifest: Manifest, pairs: Sequence[Duplicate]) -> Iterator[Finding]:
    exact = tuple(pair_case(manifest, pair, "") for pair in pairs if pair.exact)
    yield Finding("warning", "exact_duplicates", "Images have identical pixels: they count twice.", exact)
    for kind, meaning in (
        ("near", "Images are the same exposure, saved again, resized, cut or damaged."),
        ("transformed", "The second image is the first one, with what is told done to it: they count twice."),
    ):
        cases = tuple(pair_case(manifest, pair, likeness(pair)) for pair in pairs if pair.kind == kind)
        yield Finding("warning", f"{kind}_duplicates", meaning, cases)


def _table_findings(manifest: Manifest) -> Iterator[Finding]:
    """Yield what the table alone shows."""
    rows = [row for row in manifest.rows if not is_excluded(row)]
    yield from _group_findings(manifest, rows)
    if any(row.get("split") for row in rows):
        unused = tuple(Case((row["image"],)) for row in rows if not row["split"])
        yield Finding("info", "no_split", "Images in no split: they are used for nothing.", unused)
        classes = sorted({row["label"] for row in rows if row.get("label")})
        present = {(row["split"], row.get("label", "")) for row in rows}
        absent = tuple(
            Case((name,), f"not in {part}")
            for part in sorted({row["split"] for row in rows} - {""})
            for name in classes
            if (part, name) not in present
        )
        yield Finding("warning", "class_missing_in_split", "Classes that a split has no image of.", absent)
    excluded = tuple(Case((row["image"],), row["exclude"]) for row in manifest.rows if is_excluded(row))
    yield Finding("info", "excluded", "Images with a reason in column exclude were not looked at.", excluded)


def _group_findings(manifest: Manifest, rows: Sequence[Row]) -> Iterator[Finding]:
    """Yield what is to be known of the groups of the ``rows`` in use."""
    grouped = [row for row in rows if row.get("group")]
    if not grouped:
        meaning = "There is no column group (patient or study): only the search for duplicates guards against leaks."
        yield Finding("warning", "no_groups", meaning, (Case((str(manifest.path.name),)),))
        return
    without = tuple(Case((row["image"],)) for row in rows if not row["group"])
    yield Finding("warning", "no_group", "Images without a group (patient or study).", without)
    alone = tuple(Case((row["image"],)) for row in grouped if group_sources([row]) == [BY_IMAGE])
    meaning = (
        "Images are groups by themselves (`data split --ungrouped`): right only where no patient has two; otherwise "
        "patients cross splits, and intervals are too narrow."
    )
    yield Finding("warning", "groups_are_images", meaning, alone)
    made = [source for source in group_sources(grouped) if is_made(source)]
    meaning = "Groups stand in for patients or studies, who are not known."
    yield Finding("info", "groups_are_made", meaning, tuple(Case((describe_sources([source]),)) for source in made))
