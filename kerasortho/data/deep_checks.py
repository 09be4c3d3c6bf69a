"""The checks that take minutes, behind ``kerasortho data check --deep``: one module each, their findings together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kerasortho.data.findings import Finding
from kerasortho.data.inspection import Inspection
from kerasortho.data.manifest import Manifest


def deep_findings(
    manifest: Manifest, inspections: Sequence[Inspection | None], *, processes: int = 1, what: str = ""
) -> Iterator[Finding]:
    """Yield the findings of all deep checks, with or without cases.

    Args:
        manifest: the dataset.
        inspections: one for every row, None for excluded ones, as `inspect_manifest` returns them.
        processes: how many processes read files.
        what: empty for no progress on stderr.
    """
    yield from ()
