"""``kerasortho data import csv``: a list of images with columns of any name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kerasortho.cli.import_options import overwrite_option, report, salt_env_option


@click.command("csv")
@click.argument("source", metavar="LIST.csv", type=click.Path(path_type=Path))
@click.argument("output", metavar="OUT.csv", type=click.Path(path_type=Path))
@click.option("--image-col", "image", default="image", show_default=True, help="Column of the image files.")
@click.option("--mask-col", "mask", help="Column of the mask files.")
@click.option("--ignore-col", "ignore", help="Column of masks of doubtful pixels.")
@click.option("--label-col", "label", help="Column of the classes.")
@click.option("--group-col", "group", help="Column of patients or studies; they become pseudonyms.")
@click.option("--split-col", "split", help="Column of train, val and test, by these or their usual other names.")
@click.option("--keep", multiple=True, help="Further column to take over; may be repeated.")
@click.option(
    "--root", type=click.Path(path_type=Path, file_okay=False), help="Folder where paths start; else LIST.csv's."
)
@click.option("--keep-groups", is_flag=True, help="Take over the groups as they are: they identify nobody.")
@salt_env_option
@click.option("--skip-missing", is_flag=True, help="Leave out lines whose files are missing, instead of refusing.")
@overwrite_option
def csv_command(
    source: Path,
    output: Path,
    image: str,
    mask: str | None,
    ignore: str | None,
    label: str | None,
    group: str | None,
    split: str | None,
    **chosen: Any,
) -> None:
    """A list of images in a CSV file, with columns of any name.

    Other columns are left out, for they may tell who the patients are.
    """
    from kerasortho.data.importing.list_import import ListColumns, import_list

    report(import_list(source, output, ListColumns(image, mask, ignore, label, group, split), **chosen))
