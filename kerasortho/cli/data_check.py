"""``kerasortho data check``: what is wrong with a dataset, before a model learns it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from kerasortho.cli.options import processes_option
from kerasortho.data.checking.burned_in_text import with_blank_column
from kerasortho.data.checking.checks import BROKEN, check_manifest, exclude_broken
from kerasortho.data.checking.deep_checks import DeepOptions
from kerasortho.data.checking.findings import Finding, has_errors, report_table, report_values
from kerasortho.data.checking.power import parse_expected
from kerasortho.data.manifest import Manifest, is_excluded, read_manifest, write_manifest
from kerasortho.errors import KerasOrthoError
from kerasortho.files import require_writable, write_json
from kerasortho.words import counted


@click.command("check")
@click.argument("manifest", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all findings here too.",
)
@click.option(
    "--report",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write report.html with pictures, findings.json and exclusions.csv there.",
)
@click.option(
    "--exclude-broken",
    "exclude",
    is_flag=True,
    help="Give images that cannot be read a reason in column exclude of MANIFEST.",
)
@click.option("--deep", is_flag=True, help="Search longer, and for more: it takes minutes.")
@click.option(
    "--expect",
    "expected",
    metavar="SCORE=VALUE",
    multiple=True,
    help="With --deep: a score the model will have, for the width of its interval: dice, accuracy; or dice-sd, icc.",
)
@click.option(
    "--source-column",
    metavar="COLUMN",
    help="With --deep: the column that tells hospitals or devices; are their images told apart by their making?",
)
@click.option(
    "--boxes",
    "boxes_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --deep: write MANIFEST here with a column blank, the boxes of burned-in text; training blanks them.",
)
@processes_option
@click.pass_context
def check_command(
    context: click.Context,
    manifest: Path,
    json_file: Path | None,
    report: Path | None,
    exclude: bool,
    deep: bool,
    expected: tuple[str, ...],
    source_column: str | None,
    boxes_file: Path | None,
    processes: int,
) -> None:
    """Find broken files, unfit masks, duplicates, leaks between splits and contradictions.

    Exit code 1 on errors, with --exclude-broken on those that are left.
    """
    for option, given in (("--expect", expected), ("--source-column", source_column), ("--boxes", boxes_file)):
        if given and not deep:
            raise KerasOrthoError(f"{option} is for --deep alone. Add --deep, or leave it out.")
    options = DeepOptions(parse_expected(expected), source_column) if deep else None
    read = read_manifest(manifest, check_files=False)
    if source_column:
        read.require_column(source_column, wanted_by="--source-column")
    for folder in [file.parent for file in (json_file, boxes_file, manifest if exclude else None) if file] + (
        [report] if report else []
    ):
        require_writable(folder)
    findings = check_manifest(read, deep=options, processes=processes, what="reading images")
    if json_file:
        write_json(json_file, report_values(read, findings))
    click.echo(report_table(read, findings))
    if report:
        click.echo(_write_report(read, findings, report, deep=deep, processes=processes))
    if boxes_file:
        write_manifest(with_blank_column(read, findings), boxes_file)
        click.echo(f"Wrote {boxes_file}: {manifest.name} with the boxes of burned-in text in column blank.")
    if exclude:
        click.echo(_exclude(read, findings))
        findings = [finding for finding in findings if finding.kind not in BROKEN]
    if has_errors(findings):
        context.exit(1)


def _write_report(manifest: Manifest, findings: Sequence[Finding], folder: Path, *, deep: bool, processes: int) -> str:
    """Write the page and what belongs to it; return what was written, in words."""
    from kerasortho.data.checking.check_report import PAGE, PROPOSALS, write_report

    proposed = write_report(manifest, findings, folder, deep=deep, processes=processes, what="drawing thumbnails")
    images = counted(proposed, "image is", "images are")
    return f"Wrote {folder / PAGE}. {images} proposed for exclusion in {folder / PROPOSALS}."


def _exclude(manifest: Manifest, findings: Sequence[Finding]) -> str:
    """Write the manifest with its broken images excluded; return what was done, in words."""
    broken = {finding.kind: len(finding.cases) for finding in findings if finding.kind in BROKEN}
    others = [finding.kind for finding in findings if finding.level == "error" and finding.kind not in BROKEN]
    left = f" Errors that exclude no image are left: {', '.join(others)}." if others else ""
    if not broken:
        return f"No image is broken: {manifest.path} is as it was.{left}"
    write_manifest(exclude_broken(manifest, findings))
    before = sum(is_excluded(row) for row in manifest.rows)
    excluded, kinds = sum(broken.values()), ", ".join(f"{number} {kind}" for kind, number in broken.items())
    return (
        f"Excluded {excluded} of {counted(len(manifest.rows), 'image')} in {manifest.path} ({kinds}); excluded before: "
        f"{before}, in use: {len(manifest.rows) - before - excluded}.{left}"
    )
