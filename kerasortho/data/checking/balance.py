"""How images spread over classes and groups: classes that are rare or hang on few groups, groups that are too large."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from kerasortho.data.checking.findings import Case, Finding
from kerasortho.data.grouping import group_of
from kerasortho.data.manifest import SPLITS, Manifest, Row, is_excluded
from kerasortho.words import counted

FEW_GROUPS = 10
"""Groups of a class below which its scores have no interval that can be relied on (as in the evaluation)."""

_RARE = 0.1  # of the images of the most frequent class
_LARGE = 0.2  # share of a split's, or of a class's, images that one group may have
_SHOWN_GROUPS = 5
_FEWEST_IMAGES = 20  # of a split or class, from which one group's share says anything


def balance_findings(manifest: Manifest) -> Iterator[Finding]:
    """Yield how the images in use spread over classes, groups and splits."""
    rows = [row for row in manifest.rows if not is_excluded(row)]
    by_class = _by_class(rows)
    counts = tuple(Case((name,), _describe(members, len(rows))) for name, members in by_class.items())
    yield Finding("info", "class_counts", "Images and groups of each class.", counts)
    largest = max(map(len, by_class.values()), default=0)
    rare = tuple(
        Case((name,), f"{counted(len(members), 'image')}, the most frequent class has {largest}")
        for name, members in by_class.items()
        if len(members) < _RARE * largest
    )
    meaning = "Classes with less than a tenth of the images of the most frequent one: consider data.balance."
    yield Finding("warning", "rare_classes", meaning, rare)
    if any(row.get("group") for row in rows):
        yield from _group_balance(rows, by_class)


def _group_balance(rows: Sequence[Row], by_class: dict[str, list[Row]]) -> Iterator[Finding]:
    few = []
    for name, members in by_class.items():
        for part, images in [("all images", members), *((split, _in_split(members, split)) for split in SPLITS)]:
            groups = len({group_of(row) for row in images})
            if part in ("all images", "test") and 0 < groups < FEW_GROUPS:
                few.append(Case((name,), f"{counted(len(images), 'image')} of {counted(groups, 'group')} in {part}"))
    meaning = (
        f"Classes of fewer than {FEW_GROUPS} groups (patients or studies): what is learned or measured of them is what "
        "these few have in common."
    )
    yield Finding("warning", "class_in_few_groups", meaning, tuple(few))
    parts = [(f"class {name}", members) for name, members in by_class.items()]
    parts += [(f"split {split}", _in_split(rows, split)) for split in SPLITS]
    large = []
    for part, images in [*parts, ("all images", list(rows))]:
        group, number = Counter(map(group_of, images)).most_common(1)[0] if images else ("", 0)
        if len(images) >= _FEWEST_IMAGES and number > _LARGE * len(images):
            large.append(Case((group,), f"{number} of {counted(len(images), 'image')} of {part}"))
    meaning = f"Groups with more than {100 * _LARGE:.0f} % of the images of a class or split: it hangs on them."
    yield Finding("warning", "dominating_groups", meaning, tuple(large))
    sizes = Counter(map(group_of, rows)).most_common()
    biggest = tuple(Case((group,), counted(number, "image")) for group, number in sizes[:_SHOWN_GROUPS])
    middle = sorted(number for _, number in sizes)[len(sizes) // 2]
    meaning = f"The largest of {counted(len(sizes), 'group')}; the median group has {counted(middle, 'image')}."
    yield Finding("info", "group_sizes", meaning, biggest)


def _by_class(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows of each class, the most frequent first."""
    by_class: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.get("label"):
            by_class[row["label"]].append(row)
    return dict(sorted(by_class.items(), key=lambda item: (-len(item[1]), item[0])))


def _in_split(rows: Sequence[Row], split: str) -> list[Row]:
    return [row for row in rows if row.get("split") == split]


def _describe(members: Sequence[Row], total: int) -> str:
    """Return images and groups of a class, and of each split, in words."""

    def told(rows: Sequence[Row]) -> str:
        groups = {group_of(row) for row in rows if row.get("group")}
        return counted(len(rows), "image") + (f" in {counted(len(groups), 'group')}" if groups else "")

    splits = [f"{split} {told(inside)}" for split in SPLITS if (inside := _in_split(members, split))]
    return "; ".join([f"{told(members)} ({100 * len(members) / total:.1f} %)", *splits])
