"""Text and side markers burned into the images: where they are, and whether they tell the label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from kerasortho.data.blanking import Box, format_boxes, parse_boxes
from kerasortho.data.checking.association import fisher_exact
from kerasortho.data.checking.findings import Case, Finding
from kerasortho.data.checking.text_detection import SIDES, Lettering
from kerasortho.data.grouping import group_of
from kerasortho.data.manifest import Manifest, Row, is_excluded

TEXT, MARKERS = "text_lines", "side_markers"
_CHANCE = 0.01  # p-value, all comparisons together, from which lettering and label go together
_FEWEST = 5  # images with lettering from which that is looked at

Found = tuple[Row, Sequence[Lettering]]


def text_findings(manifest: Manifest, lettering: Sequence[Sequence[Lettering] | None]) -> Iterator[Finding]:
    """Yield images with lettering, and labels that it goes with.

    ``lettering`` is that of every row; None where the image was not looked at. What column ``blank`` covers does not
    count.
    """
    found = [
        (row, _uncovered(manifest, row, items))
        for row, items in zip(manifest.rows, lettering, strict=True)
        if items is not None and not is_excluded(row)
    ]
    meaning = (
        "Lines of text are burned into the images: they may tell the label, or who the patient is. `--boxes` writes a "
        "manifest that has them blanked."
    )
    yield Finding("warning", TEXT, meaning, _cases(found, "text"))
    meaning = "Side markers (L, R) on the images. `--boxes` writes a manifest that has them blanked."
    yield Finding("info", MARKERS, meaning, _cases(found, "marker"))
    meaning = "Lettering goes with the label: a model can learn it in place of the anatomy. Blank it (`--boxes`)."
    yield Finding("warning", "text_tells_label", meaning, tuple(_telling(found)))


def with_blank_column(manifest: Manifest, findings: Sequence[Finding]) -> Manifest:
    """Return the manifest with the boxes of all lettering that was found in column ``blank``, after those there."""
    boxes: dict[str, list[Box]] = {}
    for finding in findings:
        if finding.kind in (TEXT, MARKERS):
            for case in finding.cases:
                boxes.setdefault(case.names[0], []).extend(case.boxes)
    cells = [format_boxes([*_blank(manifest, row), *boxes.get(row["image"], [])]) for row in manifest.rows]
    return manifest.with_column("blank", cells)


def _blank(manifest: Manifest, row: Row) -> tuple[Box, ...]:
    return parse_boxes(row.get("blank", ""), f"{manifest.path}, image {row['image']}, column blank")


def _uncovered(manifest: Manifest, row: Row, lettering: Sequence[Lettering]) -> list[Lettering]:
    """Return the lettering whose middle is blanked by no box."""
    covered = _blank(manifest, row)

    def is_covered(box: Box) -> bool:
        x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
        return any(left <= x <= left + wide and top <= y <= top + high for left, top, wide, high in covered)

    return [item for item in lettering if not is_covered(item.box)]


def _cases(found: Sequence[Found], kind: str) -> tuple[Case, ...]:
    cases = []
    for row, lettering in found:
        chosen = [item for item in lettering if item.kind == kind]
        if chosen:
            told = "; ".join(f"{item.reading or 'text'} at {', '.join(map(str, item.box))}" for item in chosen)
            cases.append(Case((row["image"],), f"{told} (x, y, width, height)", tuple(item.box for item in chosen)))
    return tuple(cases)


def _telling(found: Sequence[Found]) -> Iterator[Case]:
    """Yield the classes that have some kind of lettering more often, or less, than the others.

    Images of one group are alike, so groups are counted: a group's images of one class are one unit, which has
    lettering if any of them has. The p-value is multiplied by the number of comparisons (Bonferroni).
    """
    labelled = [(row, items) for row, items in found if row.get("label")]
    classes = sorted({row["label"] for row, _ in labelled})
    kinds = {
        name: test for name, test in _kinds().items() if sum(any(map(test, items)) for _, items in labelled) >= _FEWEST
    }
    compared = classes if len(classes) > 2 else classes[:1]
    for name, test in kinds.items():
        units: dict[tuple[str, str], bool] = {}
        for row, items in labelled:
            unit = (group_of(row), row["label"])
            units[unit] = units.get(unit, False) or any(map(test, items))
        for label in compared if len(classes) > 1 else []:
            inside = [has for (_, other), has in units.items() if other == label]
            outside = [has for (_, other), has in units.items() if other != label]
            chance = fisher_exact(sum(inside), len(inside) - sum(inside), sum(outside), len(outside) - sum(outside))
            chance = min(1.0, chance * len(kinds) * len(compared))
            if chance < _CHANCE:
                yield Case((label,), f"{_shares(name, test, label, classes, labelled)} (p = {chance:.1g}, by groups)")


def _shares(
    name: str, test: Callable[[Lettering], bool], label: str, classes: Sequence[str], labelled: Sequence[Found]
) -> str:
    """Return how many images of a class, and of the others, have a kind of lettering, in words."""

    def share(rows: Sequence[Found]) -> str:
        return f"{100 * sum(any(map(test, items)) for _, items in rows) / len(rows):.1f} %"

    inside = [item for item in labelled if item[0]["label"] == label]
    outside = [item for item in labelled if item[0]["label"] != label]
    others = next(other for other in classes if other != label) if len(classes) == 2 else "the others"
    return f"{name} in {share(inside)} of {label}, {share(outside)} of {others}"


def _kinds() -> Mapping[str, Callable[[Lettering], bool]]:
    """Return the kinds of lettering that may tell a label."""
    return {
        "text": lambda item: item.kind == "text",
        "a side marker": lambda item: item.kind == "marker",
        **{f"a marker {side}": partial(_reads, side) for side in SIDES},
    }


def _reads(side: str, item: Lettering) -> bool:
    return item.reading == side
