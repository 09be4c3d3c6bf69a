"""``kerasortho data cache``: what prepared images take on the disk, and how to get that back."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from kerasortho.data.cache import CacheEntry, cache_folder, clear, list_entries
from kerasortho.errors import KerasOrthoError
from kerasortho.words import byte_size, counted


@click.command("cache")
@click.option("--clear", "wanted", is_flag=True, help="Delete what is listed; a training makes anew what it needs.")
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="DAYS",
    help="Only what was not used for so long.",
)
@click.option(
    "--cache-dir",
    metavar="DIR",
    type=click.Path(),
    help="The data.cache_dir of a configuration.  [default: $KERASORTHO_CACHE or ~/.cache/kerasortho]",
)
def cache_command(wanted: bool, older_than: float, cache_dir: str | None) -> None:
    """List the prepared images that trainings keep on the disk for the next one, the longest unused first."""
    if cache_dir is not None and not Path(cache_dir).expanduser().is_dir():
        raise KerasOrthoError(f"--cache-dir: there is no folder {cache_dir}.")
    folder = cache_folder(cache_dir)
    entries = list_entries(folder, older_than=older_than)
    click.echo(f"Prepared images in {folder}: {_total(entries)}")
    for entry in entries:
        what = f"{counted(entry.images, 'image')} of {entry.size[0]}x{entry.size[1]}" if entry.images else "unfinished"
        used = datetime.fromtimestamp(entry.used).strftime("%Y-%m-%d %H:%M")
        click.echo(f"  {entry.folder.name}  {what}, {byte_size(entry.bytes)}, last used {used}")
    if wanted:
        gone = clear(entries)
        busy = (
            f"; {counted(len(entries) - len(gone), 'is being written and stays', 'are being written and stay')}"
            if len(gone) < len(entries)
            else ""
        )
        click.echo(f"Deleted {_total(gone)}{busy}.")


def _total(entries: list[CacheEntry]) -> str:
    return f"{counted(len(entries), 'entry', 'entries')}, {byte_size(sum(entry.bytes for entry in entries))}"
