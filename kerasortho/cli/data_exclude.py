"""``kerasortho data exclude``: leave out what a check proposed and the user confirmed."""

from __future__ import annotations

from pathlib import Path

import click

from kerasortho.data.checking.exclusions import exclude, read_confirmed
from kerasortho.data.importing.importers import new_output
from kerasortho.data.manifest import is_excluded, read_manifest, write_manifest
from kerasortho.words import counted

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("exclude")
@click.argument("manifest", type=_FILE)
@click.argument("exclusions", metavar="EXCLUSIONS.csv", type=_FILE)
@click.argument("output", metavar="OUT.csv", type=_FILE)
@click.option("--all", "everything", is_flag=True, help="Take every line, confirmed or not.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.csv if it exists.")
def exclude_command(manifest: Path, exclusions: Path, output: Path, everything: bool, overwrite: bool) -> None:
    """Write OUT.csv: MANIFEST with a reason in column exclude for each line of EXCLUSIONS.csv that says yes.

    `kerasortho data check --report` proposes them. MANIFEST and the images stay as they are.
    """
    read = read_manifest(manifest, check_files=False)
    reasons = read_confirmed(exclusions, everything=everything)
    target = new_output(output, overwrite)
    result = exclude(read, reasons)
    write_manifest(result, target)
    before, after = (sum(map(is_excluded, rows)) for rows in (read.rows, result.rows))
    click.echo(
        f"Wrote {target}: {counted(after - before, 'image')} excluded, {before} were before, "
        f"{len(read.rows) - after} in use."
    )
    if not reasons:
        click.echo(f"No line of {exclusions} is confirmed: write yes in its column confirmed, or use --all.", err=True)
