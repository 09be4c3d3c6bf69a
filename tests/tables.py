"""Manifests for tests, written without the package; used with runpy, because tests are no package."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path


def write_rows(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    """Write rows as a manifest."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
