"""Groups: from columns, from file numbers, from images; remembered, and tied by duplicates."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kerasortho.data.grouping import (
    GroupChoice,
    choose_groups,
    column_groups,
    describe_sources,
    group_of,
    group_sources,
    id_block_groups,
    patient_columns,
    tie,
)
from kerasortho.data.manifest import Manifest
from kerasortho.errors import KerasOrthoError

Table = Callable[..., Manifest]


def test_id_blocks(table: Table) -> None:
    manifest = table(
        image=["x/IMG0001.jpg", "y/IMG0019.jpg", "x/IMG0020.jpg", "x/IMG0100.jpg", "x/s7_03v.png", "x/IMG0002.jpg"],
        exclude=["", "", "", "", "", "broken"],
    )
    assert id_block_groups(manifest, 20) == ["IMG 0-19", "IMG 0-19", "IMG 20-39", "IMG 100-119", "s7_v 0-19", ""]
    alone = table(image=["x/IMG0019.jpg"], exclude=[""])
    assert id_block_groups(alone, 20) == ["IMG 0-19"]


def test_ids_that_say_nothing(table: Table) -> None:
    sides = table(image=["a/left.png", "a/right.png", "a/1.png"], exclude=["", "", ""])
    with pytest.raises(
        KerasOrthoError, match=r"2 images in use have none: a/left.png, a/right.png. Give them a reason"
    ):
        id_block_groups(sides, 5)
    assert id_block_groups(sides.with_column("exclude", ["logo", "logo", ""]), 5) == ["", "", "0-4"]
    twins = table(image=["p1/1.png", "p2/1.png", "p1/2.png", "p2/2.png"], exclude=[""] * 4)
    with pytest.raises(KerasOrthoError, match=r"2 pairs of images have the same: p1/1.png and p2/1.png, p1/2.png and"):
        id_block_groups(twins, 5)
    assert id_block_groups(twins.with_column("exclude", ["", "copy", "", "copy"]), 5) == ["0-4", "", "0-4", ""]


def test_numbers_that_count_views(table: Table) -> None:
    names = [f"{patient}-{view}-{side}.png" for patient in ("P07", "P08") for view, side in ((1, "L"), (2, "R"))]
    with pytest.raises(KerasOrthoError, match=r"last number.*P07-1-L.png.*hardly two images.*--group-column"):
        id_block_groups(table(image=names, exclude=[""] * 4), 20)
    with_sides = table(image=["1L.png", "1R.png", "2L.png", "2R.png"], exclude=[""] * 4)
    assert id_block_groups(with_sides, 20) == ["L 0-19", "R 0-19", "L 0-19", "R 0-19"]


def test_column_groups(table: Table) -> None:
    manifest = table(image=["a", "b"], patient=["p", ""], exclude=["", "broken"])
    assert column_groups(manifest, "patient") == ["p", ""]
    with pytest.raises(KerasOrthoError, match="1 image has no patient: b"):
        column_groups(manifest.with_column("exclude", ["", ""]), "patient")
    with pytest.raises(KerasOrthoError, match='Did you mean "patient"'):
        column_groups(manifest, "patients")


def test_columns_that_look_like_patients() -> None:
    names = [
        "image",
        "patient",
        "PatientID",
        "study_uid",
        "StudyInstanceUID",
        "subject no",
        "case",
        "patient_age",
        "hand",
    ]
    assert patient_columns(names) == names[1:7]


def test_duplicates_tie_groups(table: Table) -> None:
    manifest = table(image=list("abcdef"))
    grouping = tie(manifest, ["p1", "p1", "p2", "p3", "p4", ""], [(1, 2), (2, 4), (0, 1), (3, 5)])
    assert grouping.names == ("p1+p2+p4", "p1+p2+p4", "p1+p2+p4", "p3", "p1+p2+p4", "")
    assert grouping.notes == ("3 pairs of duplicates, of which 2 join different groups.",)
    long = tie(manifest, list("uvwxyz"), [(i, i + 1) for i in range(5)])
    assert set(long.names) == {"u+v+w+3 more"}


def groups_and_sources(manifest: Manifest) -> tuple[list[str], list[str]]:
    return [row["group"] for row in manifest.rows], [row["grouped_by"] for row in manifest.rows]


def test_the_source_of_groups_is_remembered(table: Table) -> None:
    manifest = table(image=["1.png", "2.png", "7.png"], patient=["p", "p", ""], exclude=["", "", "broken"])
    by_column = choose_groups(manifest, GroupChoice(column="patient"))
    assert groups_and_sources(by_column) == (["p", "p", ""], ["patient", "patient", ""])
    assert groups_and_sources(choose_groups(by_column, GroupChoice())) == groups_and_sources(by_column)
    by_blocks = choose_groups(manifest, GroupChoice(id_blocks=5))
    assert groups_and_sources(by_blocks) == (["0-4", "0-4", ""], ["id-blocks 5", "id-blocks 5", ""])
    by_image = choose_groups(manifest, GroupChoice(ungrouped=True))
    assert groups_and_sources(by_image) == (["1.png", "2.png", ""], ["image", "image", ""])
    given = choose_groups(manifest.with_column("group", ["a", "b", "c"]), GroupChoice(column="group"))
    assert groups_and_sources(given) == (["a", "b", ""], ["group", "group", ""])


def test_groups_of_single_images_are_not_taken_for_patients(table: Table) -> None:
    manifest = choose_groups(table(image=["1.png", "2.png"]), GroupChoice(ungrouped=True))
    for choice in (GroupChoice(), GroupChoice(column="group")):
        with pytest.raises(KerasOrthoError, match=r"single images, from --ungrouped.*--group-column.*--id-blocks"):
            choose_groups(manifest, choice)
    again = choose_groups(manifest, GroupChoice(ungrouped=True))
    assert groups_and_sources(again) == (["1.png", "2.png"], ["image", "image"])
    assert group_sources(choose_groups(manifest, GroupChoice(id_blocks=2)).rows) == ["id-blocks 2"]


def test_other_groups_give_way_only_when_told_to(table: Table) -> None:
    manifest = choose_groups(table(image=["1.png", "2.png"], patient=["p", "q"]), GroupChoice(id_blocks=5))
    assert choose_groups(manifest, GroupChoice(id_blocks=5)) == manifest
    for choice in (GroupChoice(id_blocks=2), GroupChoice(ungrouped=True)):
        with pytest.raises(KerasOrthoError, match=r"groups already \(blocks of 5 file numbers\).*--regroup"):
            choose_groups(manifest, choice)
    anew = choose_groups(manifest, GroupChoice(id_blocks=2, regroup=True))
    assert groups_and_sources(anew) == (["0-1", "2-3"], ["id-blocks 2", "id-blocks 2"])
    assert group_sources(choose_groups(manifest, GroupChoice(column="patient")).rows) == ["patient"]
    with pytest.raises(KerasOrthoError, match="--regroup makes new groups, and does not say of what"):
        choose_groups(manifest, GroupChoice(regroup=True))


def test_sources_in_words() -> None:
    rows = [
        {"image": "a", "group": "", "grouped_by": ""},
        {"image": "b", "group": "p"},
        {"image": "c", "group": "p", "grouped_by": "study"},
        {"image": "d", "group": "0-9", "grouped_by": "id-blocks 10"},
    ]
    assert [group_of(row) for row in rows] == ["a", "p", "p", "0-9"]
    assert group_sources(rows) == ["group", "id-blocks 10", "image", "study"]
    words = "column group and blocks of 10 file numbers and single images, patients unknown and column study"
    assert describe_sources(group_sources(rows)) == words
