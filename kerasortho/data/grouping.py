"""Groups of images that must stay together: where they come from, which the manifest remembers, and what ties them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kerasortho.data.duplicates import connected
from kerasortho.data.manifest import Manifest, Row, is_excluded, shorten
from kerasortho.errors import KerasOrthoError
from kerasortho.words import counted

BY_IMAGE = "image"
"""What column ``grouped_by`` says where no patients or studies are known, and each image is a group by itself."""

_ID_BLOCKS = "id-blocks "
_LISTED_NAMES = 3
_PATIENTS = re.compile(
    r"(patient|study|subject|case|person|exam|examination)s?[ _-]?(instance)?[ _-]?(id|uid|no|nr|number|name|key)?",
    re.I,
)


@dataclass(frozen=True)
class GroupChoice:
    """Where groups come from; at most one of the first three is set, and none means the column ``group``.

    Groups that are there already give way to others only with ``regroup``.
    """

    column: str | None = None
    id_blocks: int | None = None
    ungrouped: bool = False
    regroup: bool = False

    def source(self) -> str | None:
        """Return what column ``grouped_by`` will say; None for groups that are there already."""
        if sum([self.column is not None, self.id_blocks is not None, self.ungrouped]) > 1:
            raise KerasOrthoError("--group-column, --id-blocks and --ungrouped exclude each other. Choose one.")
        if self.ungrouped:
            return BY_IMAGE
        if self.id_blocks is not None:
            return f"{_ID_BLOCKS}{self.id_blocks}"
        return None if self.column == "group" else self.column


GIVEN_GROUPS = GroupChoice()


def group_of(row: Row) -> str:
    """Return the group of a row; where none is given, the image is one by itself."""
    return row.get("group") or row["image"]


def group_sources(rows: Iterable[Row]) -> list[str]:
    """Return where the groups of ``rows`` came from: names of columns, "id-blocks N", or "image" (`BY_IMAGE`)."""
    return sorted({(row.get("grouped_by") or "group") if row.get("group") else BY_IMAGE for row in rows})


def describe_sources(sources: Iterable[str]) -> str:
    """Return `group_sources` in words."""
    words = []
    for source in sources:
        if source == BY_IMAGE:
            words.append("single images, patients unknown")
        elif is_made(source):
            words.append(f"blocks of {source.removeprefix(_ID_BLOCKS)} file numbers")
        else:
            words.append(f"column {source}")
    return " and ".join(words)


def is_made(source: str) -> bool:
    """Tell whether groups of that source stand in for patients or studies, made from file numbers."""
    return source.startswith(_ID_BLOCKS)


def patient_columns(columns: Iterable[str]) -> list[str]:
    """Return the columns whose names say that they hold patients or studies."""
    return [name for name in columns if _PATIENTS.fullmatch(name)]


def choose_groups(manifest: Manifest, choice: GroupChoice) -> Manifest:
    """Return the manifest with the columns ``group`` and ``grouped_by`` filled in as chosen.

    Raises:
        KerasOrthoError: there are no groups to go by, or there are and they are not to be replaced.
    """
    source = choice.source()
    rows = [row for row in manifest.rows if not is_excluded(row)]
    present = group_sources(row for row in rows if row.get("group"))
    if source is None:
        _require_groups(manifest, present, choice.regroup)
        groups = column_groups(manifest, "group")
        sources = [row.get("grouped_by") or "group" for row in manifest.rows]
        return _with_groups(manifest, groups, sources)
    made = source == BY_IMAGE or choice.id_blocks is not None
    if made and not choice.regroup and set(present) - {BY_IMAGE, source}:
        raise KerasOrthoError(
            f"{manifest.path} has groups already ({describe_sources(present)}). Leave out --id-blocks or --ungrouped "
            "to go by them, or add --regroup to make new ones in their place."
        )
    groups = (
        column_groups(manifest, source) if choice.id_blocks is None else id_block_groups(manifest, choice.id_blocks)
    )
    return _with_groups(manifest, groups, [source] * len(groups))


def _with_groups(manifest: Manifest, groups: Sequence[str], sources: Sequence[str]) -> Manifest:
    """Return the manifest with groups and their sources; excluded rows have neither."""
    told = [source if group else "" for group, source in zip(groups, sources, strict=True)]
    return manifest.with_column("group", groups).with_column("grouped_by", told)


def _require_groups(manifest: Manifest, present: Sequence[str], regroup: bool) -> None:
    """Raise KerasOrthoError unless the groups of a manifest, from ``present`` sources, can be gone by."""
    if present and BY_IMAGE not in present and not regroup:
        return
    if regroup:
        why = "--regroup makes new groups, and does not say of what"
    elif present:
        why = (
            f"{manifest.path} has groups of single images, from --ungrouped: they say nothing of patients, and images "
            "of one could end up on both sides of a split"
        )
    else:
        why = (
            f"{manifest.path} has no column group, so images of one patient could end up on both sides of a split, "
            "and scores would be too good to be true"
        )
    raise KerasOrthoError(
        f"{why}. Name the column of patients or studies with --group-column; "
        "or, where files were numbered in the order of examinations, group neighbours with --id-blocks 20; "
        "or state with --ungrouped that no patient has two images."
    )


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
            f"{manifest.path}: {counted(len(empty), 'image has', 'images have')} no {column}: {shorten(empty)}. Fill "
            "in what is missing, or give a reason in column exclude."
        )
    return ["" if is_excluded(row) else row[column] for row in manifest.rows]


def id_block_groups(manifest: Manifest, size: int) -> list[str]:
    """Return blocks of ``size`` consecutive file numbers as groups: neighbours in number are often views of one study.

    The number is the last one in the file name (``IMG0000261.jpg``: 261, with 20 a block in group ``IMG 260-279``).
    The block of an image does not depend on which other images there are; excluded ones have none.

    Raises:
        KerasOrthoError: a name without a number, or one name in two folders: numbers then say nothing of neighbours.
    """
    if size < 1:
        raise KerasOrthoError(f"--id-blocks must be 1 or more images. Received: {size}")
    used = [row["image"] for row in manifest.rows if not is_excluded(row)]
    found = {image: _numbered(image) for image in used}
    ids = {image: name for image, name in found.items() if name is not None}
    if lacking := [image for image in used if image not in ids]:
        raise KerasOrthoError(
            f"{manifest.path}: --id-blocks goes by the numbers in file names, but {counted(len(lacking), 'image')} in "
            f"use {'has' if len(lacking) == 1 else 'have'} none: {shorten(lacking)}. Give them a reason in column "
            "exclude, rename them, or give groups in a column and name it with --group-column."
        )
    first_with: dict[tuple[str, int, str], str] = {}
    twins = [
        f"{twin} and {image}" for image, name in ids.items() if (twin := first_with.setdefault(name, image)) != image
    ]
    if twins:
        raise KerasOrthoError(
            f"{manifest.path}: numbers do not tell neighbours here, for {counted(len(twins), 'pair')} of images have "
            f"the same: {shorten(twins)}. Give groups in a column, and name it with --group-column."
        )
    texts = {(before, after) for before, _, after in ids.values()}
    if len(texts) > max(1, len(ids) // 2):  # the last number counts views, say, and the patient's stands before it
        raise KerasOrthoError(
            f"{manifest.path}: --id-blocks goes by the last number in a file's name, but most names differ elsewhere, "
            f"too ({shorten(list(ids)[:_LISTED_NAMES])}), so hardly two images would share a block. Give groups in a "
            "column, and name it with --group-column."
        )
    return ["" if is_excluded(row) else _block(*ids[row["image"]], size) for row in manifest.rows]


def _numbered(image: str) -> tuple[str, int, str] | None:
    """Return the last number in a file's name, and what stands before and behind it; None if it has none."""
    name = image.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    found = re.fullmatch(r"(.*?)(\d+)(\D*)", name, re.DOTALL)
    return None if found is None else (found[1], int(found[2]), found[3])


def _block(before: str, number: int, after: str, size: int) -> str:
    first = number // size * size
    return f"{before}{after} {first}-{first + size - 1}".strip()


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
        [f"{counted(len(duplicates), 'pair')} of duplicates, of which {crossing} join different groups."]
        if duplicates
        else []
    )
    return Grouping(tuple(names), tuple(notes))


def _joined(names: set[str]) -> str:
    ordered = sorted(names)
    more = f"+{len(ordered) - _LISTED_NAMES} more" if len(ordered) > _LISTED_NAMES else ""
    return "+".join(ordered[:_LISTED_NAMES]) + more
