"""What the dataset checker found: as a table for people and as plain values for JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kerasortho.data.manifest import Manifest, is_excluded
from kerasortho.words import counted

LEVELS = ("error", "warning", "info")
_SHOWN = 3
_WIDTH = 110
_LONGEST_DETAIL = 150


@dataclass(frozen=True)
class Case:
    """One image (or two that are duplicates) as the manifest writes it, or one group, and what is the matter.

    ``boxes`` are places (x, y, width, height) in px of the first image as it is stored, such as of burned-in text.
    """

    names: tuple[str, ...]
    detail: str = ""
    boxes: tuple[tuple[int, int, int, int], ...] = ()

    def describe(self, folder: str) -> str:
        """Return the case in one line, its names without the ``folder`` they all lie in."""
        detail = textwrap.shorten(self.detail, _LONGEST_DETAIL, placeholder=" ...")
        return " = ".join(name.removeprefix(folder) for name in self.names) + (f": {detail}" if detail else "")


@dataclass(frozen=True)
class Finding:
    """All cases of one ``kind`` (a fixed word for programs), their ``level`` and what they mean."""

    level: str
    kind: str
    meaning: str
    cases: tuple[Case, ...]


def sort_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings that have cases, errors first."""
    return sorted((finding for finding in findings if finding.cases), key=lambda finding: LEVELS.index(finding.level))


def has_errors(findings: Sequence[Finding]) -> bool:
    """Tell whether any finding is an error."""
    return any(finding.level == "error" for finding in findings)


def report_table(manifest: Manifest, findings: Sequence[Finding]) -> str:
    """Return the findings as text: one paragraph each, with its count and the first few cases."""
    excluded = sum(is_excluded(row) for row in manifest.rows)
    folder = common_folder([row["image"] for row in manifest.rows])
    lines = [
        f"{manifest.path}: {counted(len(manifest.rows), 'image')}, {excluded} excluded",
        *([f"All images lie below {folder}"] if folder else []),
    ]
    for finding in findings:
        lines += ["", f"{finding.level.upper()}  {finding.kind}: {len(finding.cases)}"]
        lines += textwrap.wrap(finding.meaning, _WIDTH, initial_indent="  ", subsequent_indent="  ")
        lines += [f"    {case.describe(folder)}" for case in finding.cases[:_SHOWN]]
        if len(finding.cases) > _SHOWN:
            lines.append(f"    and {len(finding.cases) - _SHOWN} more")
    counts = {level: sum(finding.level == level for finding in findings) for level in LEVELS}
    lines += [
        "",
        f"{counted(counts['error'], 'kind')} of errors, {counts['warning']} of warnings, {counts['info']} of remarks.",
    ]
    return "\n".join(lines)


def common_folder(cells: Sequence[str]) -> str:
    """Return the folder, with its last slash, that all cells begin with; '' if there is none."""
    low, high = min(cells), max(cells)  # what these two share, all share
    same = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return low[: low.rfind("/", 0, same) + 1]


def report_values(manifest: Manifest, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings, with all their cases, as values that JSON can hold."""
    return {
        "manifest": str(manifest.path),
        "images": len(manifest.rows),
        "excluded": sum(is_excluded(row) for row in manifest.rows),
        "ok": not has_errors(findings),
        "findings": [
            {
                "level": finding.level,
                "kind": finding.kind,
                "meaning": finding.meaning,
                "count": len(finding.cases),
                "cases": [_case_values(case) for case in finding.cases],
            }
            for finding in findings
        ],
    }


def _case_values(case: Case) -> dict[str, Any]:
    boxes = {"boxes": [list(box) for box in case.boxes]} if case.boxes else {}
    return {"names": list(case.names), "detail": case.detail, **boxes}
