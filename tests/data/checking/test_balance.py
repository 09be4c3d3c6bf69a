"""Class and group balance: what is rare or hangs on few groups is named, with its numbers; what is even is not."""

from __future__ import annotations

from collections.abc import Callable

from kerasortho.data.checking.balance import balance_findings
from kerasortho.data.checking.findings import Finding
from kerasortho.data.manifest import Manifest

Table = Callable[..., Manifest]


def found(manifest: Manifest) -> dict[str, Finding]:
    return {finding.kind: finding for finding in balance_findings(manifest) if finding.cases}


def columns(*parts: tuple[int, str, str, str]) -> dict[str, list[str]]:
    """Columns of parts (images, label, group with {} for a number, split)."""
    rows = [(label, group.format(i), split) for count, label, group, split in parts for i in range(count)]
    return {
        "image": [f"{number}.png" for number in range(len(rows))],
        "label": [row[0] for row in rows],
        "group": [row[1] for row in rows],
        "split": [row[2] for row in rows],
    }


def test_even_classes_in_many_groups(table: Table) -> None:
    even = columns((40, "hand", "h{}", "train"), (40, "leg", "l{}", "train"), (12, "hand", "x{}", "test"))
    findings = found(table(**even))
    assert set(findings) == {"class_counts", "group_sizes"}
    assert [case.names for case in findings["class_counts"].cases] == [("hand",), ("leg",)]
    assert findings["class_counts"].cases[0].detail == (
        "52 images in 52 groups (56.5 %); train 40 images in 40 groups; test 12 images in 12 groups"
    )


def test_rare_class_few_groups_and_a_group_that_dominates(table: Table) -> None:
    cells = columns(
        (100, "hand", "h{}", "train"), (30, "leg", "l{}", "train"), (25, "leg", "one", "test"), (9, "hip", "p{}", "val")
    )
    findings = found(table(**cells))
    assert [case.names for case in findings["rare_classes"].cases] == [("hip",)]
    few = {(case.names[0], case.detail) for case in findings["class_in_few_groups"].cases}
    assert few == {("leg", "25 images of 1 group in test"), ("hip", "9 images of 9 groups in all images")}
    large = {(case.names[0], case.detail) for case in findings["dominating_groups"].cases}
    assert large == {("one", "25 of 55 images of class leg"), ("one", "25 of 25 images of split test")}
    assert findings["group_sizes"].cases[0].names == ("one",)
    assert "140 groups; the median group has 1 image" in findings["group_sizes"].meaning


def test_excluded_rows_and_tables_without_labels_or_groups(table: Table) -> None:
    cells = columns((30, "hand", "h{}", "train"), (20, "leg", "same", "train"))
    assert "dominating_groups" not in found(table(**cells, exclude=[""] * 30 + ["blurred"] * 20))
    assert found(table(image=["a.png", "b.png"])) == {}
