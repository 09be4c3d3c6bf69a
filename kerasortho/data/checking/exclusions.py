"""Images that a check proposes to exclude: a table for the user to confirm, and a manifest with what was confirmed."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kerasortho.data.checking.findings import Finding
from kerasortho.data.manifest import Manifest, is_excluded, read_csv_rows, shorten
from kerasortho.errors import KerasOrthoError
from kerasortho.files import write_text
from kerasortho.words import counted, echo

COLUMNS = ("image", "reason", "confirmed")
YES, NO = ("yes", "y", "1", "true", "x"), ("", "no", "n", "0", "false")

ALL, LATER = "all", "later"
PROPOSED: Mapping[str, str] = {
    "missing": ALL,
    "truncated": ALL,
    "unreadable": ALL,
    "constant": ALL,
    "damaged_bottom": ALL,
    "exact_duplicates": LATER,
    "near_duplicates": LATER,
    "transformed_duplicates": LATER,
    "contradicting_labels": ALL,
    "contradicting_near_labels": ALL,
    "contradicting_transformed_labels": ALL,
    "mask_size": ALL,
    "mask_misfit": ALL,
}
"""Kinds of findings whose images are better left out: all of a case, or all but the first (copies)."""


@dataclass(frozen=True)
class Proposal:
    """An image and why it may be better left out: finding and detail, several joined by semicolons."""

    image: str
    reason: str


def propose(manifest: Manifest, findings: Sequence[Finding]) -> list[Proposal]:
    """Return the images that the findings speak against, in the manifest's order; excluded ones are left out."""
    reasons: dict[str, list[str]] = {}
    for finding in findings:
        for case in finding.cases:
            names = {ALL: case.names, LATER: case.names[1:]}.get(PROPOSED.get(finding.kind, ""), ())
            for name in names:
                others = [other for other in case.names if other != name]
                beside = f" (of {', '.join(others)})" if others else ""
                detail = f": {case.detail}" if case.detail else ""
                reasons.setdefault(name, []).append(f"{finding.kind}{beside}{detail}")
    used = [row["image"] for row in manifest.rows if not is_excluded(row)]
    return [Proposal(image, "; ".join(dict.fromkeys(reasons[image]))) for image in used if image in reasons]


def write_proposals(proposals: Iterable[Proposal], file: str | os.PathLike[str]) -> None:
    """Write a CSV with the columns image, reason and confirmed; the last is empty, for the user to fill in."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([proposal.image, proposal.reason, ""] for proposal in proposals)
    write_text(file, text.getvalue())


def read_confirmed(file: str | os.PathLike[str], *, everything: bool = False) -> dict[str, str]:
    """Return image -> reason for the lines that were confirmed, or for all of them with ``everything``.

    Raises KerasOrthoError for a missing column, an image twice, or a word in column confirmed that is no answer.
    """
    columns, rows = read_csv_rows(file)
    for name in COLUMNS:
        Manifest(Path(file), columns, ()).require_column(
            name, fix="`kerasortho data check --report` writes such a file."
        )
    found: dict[str, str] = {}
    for row in rows:
        word = row["confirmed"].strip().lower()
        if word not in YES and word not in NO:
            raise KerasOrthoError(
                f"{file}: column confirmed of {row['image']} says {echo(row['confirmed'])}. Write yes, or nothing."
            )
        if row["image"] in found:
            raise KerasOrthoError(f"{file} names {row['image']} twice. Keep one line an image.")
        if word in YES or everything:
            found[row["image"]] = row["reason"] or "excluded by hand"
    return found


def exclude(manifest: Manifest, reasons: Mapping[str, str]) -> Manifest:
    """Return the manifest with the ``reasons`` in column exclude; what was excluded before keeps its reason.

    Raises KerasOrthoError for images that the manifest does not name.
    """
    known = {row["image"] for row in manifest.rows}
    strange = [image for image in reasons if image not in known]
    if strange:
        raise KerasOrthoError(
            f"{manifest.path} lacks {counted(len(strange), 'image')} of the list: {shorten(strange)}. Was it made for "
            "another manifest?"
        )
    return manifest.with_column(
        "exclude", [row.get("exclude") or reasons.get(row["image"], "") for row in manifest.rows]
    )
