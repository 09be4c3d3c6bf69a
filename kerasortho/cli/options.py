"""Options that several commands have in common."""

from __future__ import annotations

import click

from kerasortho.machine import processor_count

processes_option = click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=processor_count,
    show_default="all processors",
    help="Processes that work on images.",
)
