"""What the commands of ``kerasortho data import`` have in common: options, and the report at the end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from kerasortho.words import counted

if TYPE_CHECKING:
    from kerasortho.data.importing.importers import Imported

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace OUT.csv if it exists.")
salt_env_option = click.option(
    "--salt-env",
    metavar="VARIABLE",
    help="Environment variable with a secret text: imports that share it give a patient the same group.",
)


def report(imported: Imported) -> None:
    """Tell the notes on stderr, and what was written."""
    for note in imported.notes:
        click.echo(note, err=True)
    rows = imported.manifest.rows
    excluded = sum(bool(row.get("exclude")) for row in rows)
    aside = f", {excluded} of them excluded" if excluded else ""
    if "label" in imported.manifest.columns:
        counts = Counter(row["label"] for row in rows)
        listed = ", ".join(f"{label or '(none)'} {number}" for label, number in sorted(counts.items()))
        click.echo(f"labels: {listed}", err=True)
    click.echo(
        f"Wrote {imported.manifest.path}: {counted(len(rows), 'image')}{aside}. "
        f"Next: kerasortho data check {imported.manifest.path}"
    )
