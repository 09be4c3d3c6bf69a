"""``kerasortho data import nnunet``: a dataset in nnU-Net's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kerasortho.cli.import_options import overwrite_option, report
from kerasortho.cli.options import processes_option


@click.command("nnunet")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.argument("output", metavar="OUT.csv", type=click.Path(path_type=Path))
@click.option("--label", "labels", multiple=True, help="Label or region of dataset.json to mark; may be repeated.")
@click.option("--splits", type=click.Path(path_type=Path), help="A splits_final.json, for the columns split or fold.")
@click.option(
    "--orientation",
    type=click.Choice(["stored", "affine"]),
    help="NIfTI pictures that do not lie upright: as they are stored, or turned by their affine.",
)
@click.option("--skip-unmatched", is_flag=True, help="Leave out images without labels, instead of refusing.")
@processes_option
@overwrite_option
def nnunet_command(folder: Path, output: Path, **chosen: Any) -> None:
    """A dataset of nnU-Net (version 2): the folder of dataset.json.

    Masks and, of NIfTI, pictures are written into folders beside OUT.csv.
    """
    from kerasortho.data.importing.nnunet_import import import_nnunet

    report(import_nnunet(folder, output, what="reading cases", **chosen))
