"""Findings of lettering: where, whether it tells the label, and the boxes to blank it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import scipy.stats

from kerasortho.data.checking.association import fisher_exact
from kerasortho.data.checking.burned_in_text import text_findings, with_blank_column
from kerasortho.data.checking.findings import Finding
from kerasortho.data.checking.text_detection import Lettering
from kerasortho.data.manifest import Manifest

Table = Callable[..., Manifest]
TEXT, LEFT = Lettering((5, 6, 70, 9), "text"), Lettering((1, 2, 10, 14), "marker", "L")


def found(manifest: Manifest, lettering: list[list[Lettering] | None]) -> dict[str, Finding]:
    return {finding.kind: finding for finding in text_findings(manifest, lettering) if finding.cases}


@pytest.mark.parametrize(
    "table", [(3, 1, 1, 3), (10, 0, 2, 12), (31, 69, 2, 98), (0, 5, 5, 0), (0, 0, 3, 4), (7, 8, 9, 10)]
)
def test_fisher_is_scipys(table: tuple[int, int, int, int]) -> None:
    expected = scipy.stats.fisher_exact([table[:2], table[2:]]).pvalue
    assert fisher_exact(*table) == pytest.approx(expected, rel=1e-6)


def test_places_are_told(table: Table) -> None:
    manifest = table(image=["a.png", "b.png", "c.png"], label=["x", "y", "y"])
    findings = found(manifest, [[LEFT, TEXT], [], None])
    assert findings["side_markers"].level == "info" and findings["text_lines"].level == "warning"
    assert findings["text_lines"].cases[0].detail == "text at 5, 6, 70, 9 (x, y, width, height)"
    assert findings["side_markers"].cases[0].detail.startswith("L at 1, 2, 10, 14")
    assert findings["text_lines"].cases[0].boxes == ((5, 6, 70, 9),)
    assert "text_tells_label" not in findings


def test_text_of_one_class_is_told(table: Table) -> None:
    count = 100
    labels = ["upper"] * count + ["lower"] * count
    manifest = table(image=[f"{i}.png" for i in range(2 * count)], label=labels)
    lettering: list[list[Lettering] | None] = [[TEXT] if i < 31 or i in (150, 151) else [] for i in range(2 * count)]
    cases = found(manifest, lettering)["text_tells_label"].cases
    assert [case.names for case in cases] == [("lower",)]
    assert cases[0].detail.startswith("text in 2.0 % of lower, 31.0 % of upper (p = ")


def test_text_spread_evenly_or_in_one_group_tells_nothing(table: Table) -> None:
    labels = ["upper", "lower"] * 50
    even = table(image=[f"{i}.png" for i in range(100)], label=labels)
    assert "text_tells_label" not in found(even, [[TEXT] if i % 10 < 4 else [] for i in range(100)])
    patient = even.with_column("group", ["one" if i % 2 == 0 and i < 60 else str(i) for i in range(100)])
    assert "text_tells_label" in found(even, [[TEXT] if i % 2 == 0 and i < 60 else [] for i in range(100)])
    assert "text_tells_label" not in found(patient, [[TEXT] if i % 2 == 0 and i < 60 else [] for i in range(100)])


def test_boxes_become_column_blank_and_are_not_told_again(table: Table) -> None:
    manifest = table(image=["a.png", "b.png"], blank=["0, 0, 3, 3", ""])
    lettering: list[list[Lettering] | None] = [[LEFT, TEXT], []]
    blanked = with_blank_column(manifest, list(text_findings(manifest, lettering)))
    assert [row["blank"] for row in blanked.rows] == ["0, 0, 3, 3; 5, 6, 70, 9; 1, 2, 10, 14", ""]
    assert found(blanked, lettering) == {}
