"""``kerasortho data import labels``: binary masks from masks of several classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kerasortho.cli.import_options import overwrite_option, report
from kerasortho.cli.options import processes_option

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("labels")
@click.option("--images", required=True, type=_FOLDER, help="Folder of images; sub-folders are searched too.")
@click.option("--masks", required=True, type=_FOLDER, help="Folder of masks, named like their images up to the ending.")
@click.option("--foreground", multiple=True, metavar="1,2|#ff0000", help="Values or colours to mark.")
@click.option("--ignore-value", multiple=True, metavar="255", help="Value or colour of doubtful pixels.")
@click.option("--skip-unmatched", is_flag=True, help="Leave out images without a mask, instead of refusing.")
@click.argument("output", metavar="OUT.csv", type=click.Path(path_type=Path))
@processes_option
@overwrite_option
def labels_command(images: Path, masks: Path, output: Path, **chosen: Any) -> None:
    """Masks of several classes: grey values, palettes or colours.

    Masks of 0 and 255 are written into a folder beside OUT.csv.
    """
    from kerasortho.data.importing.label_import import import_labels

    report(import_labels(images, masks, output, what="masks", **chosen))
