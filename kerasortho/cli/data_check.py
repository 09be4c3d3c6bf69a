"""``kerasortho data check``: what is wrong with a dataset, before a model learns it."""

from __future__ import annotations

from pathlib import Path

import click

from kerasortho.cli.options import processes_option
from kerasortho.data.checks import check_manifest, exclude_broken
from kerasortho.data.findings import has_errors, report_table, report_values
from kerasortho.data.manifest import read_manifest, write_manifest
from kerasortho.files import write_json


@click.command("check")
@click.argument("manifest", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--json", "json_file", metavar="FILE", type=click.Path(path_type=Path), help="Write all findings here too."
)
@click.option(
    "--exclude-broken", "exclude", is_flag=True, help="Give unreadable images a reason in column exclude of MANIFEST."
)
@processes_option
@click.pass_context
def check_command(
    context: click.Context, manifest: Path, json_file: Path | None, exclude: bool, processes: int
) -> None:
    """Find broken files, unfit masks, duplicates, leaks between splits and contradictions. Exit code 1 on errors."""
    read = read_manifest(manifest, check_files=False)
    findings = check_manifest(read, processes=processes, what="reading")
    if json_file:
        write_json(json_file, report_values(read, findings))
    click.echo(report_table(read, findings))
    if exclude:
        write_manifest(exclude_broken(read, findings))
        click.echo(f"Wrote the broken images' reasons into {manifest}.")
    if has_errors(findings):
        context.exit(1)
