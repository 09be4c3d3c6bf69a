"""The checks that take minutes, behind ``kerasortho data check --deep``: one module each, their findings together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kerasortho.data.checking.appearance import look_at_manifest
from kerasortho.data.checking.balance import balance_findings
from kerasortho.data.checking.burned_in_text import text_findings
from kerasortho.data.checking.exposure import exposure_findings
from kerasortho.data.checking.findings import Finding
from kerasortho.data.checking.mask_fit_findings import mask_fit_findings
from kerasortho.data.checking.power import Expected, power_findings
from kerasortho.data.checking.separability import separability_findings
from kerasortho.data.inspection import Inspection
from kerasortho.data.manifest import Manifest


@dataclass(frozen=True)
class DeepOptions:
    """What a user says of the dataset, and expects of the model."""

    expected: Expected = field(default_factory=Expected)
    source_column: str | None = None  # such as hospital or device


DEFAULT_OPTIONS = DeepOptions()


def deep_findings(
    manifest: Manifest,
    inspections: Sequence[Inspection | None],
    options: DeepOptions = DEFAULT_OPTIONS,
    *,
    processes: int = 1,
    what: str = "",
) -> Iterator[Finding]:
    """Yield the findings of all deep checks, with or without cases.

    Args:
        manifest: the dataset.
        inspections: one for every row, None for excluded ones, as `inspect_manifest` returns them.
        options: what the user says of the dataset and expects of the model.
        processes: how many processes read files.
        what: empty for no progress on stderr.
    """
    yield from balance_findings(manifest)
    yield from power_findings(manifest, inspections, options.expected)
    looks = look_at_manifest(manifest, inspections, processes=processes, what=what and "looking at images")
    yield from text_findings(manifest, [None if look is None else look.lettering for look in looks])
    yield from exposure_findings(manifest, [None if look is None else look.exposure for look in looks])
    traits = [None if look is None else look.traits for look in looks]
    yield from separability_findings(manifest, traits, options.source_column)
    yield from mask_fit_findings(manifest, inspections, processes=processes, what=what)
