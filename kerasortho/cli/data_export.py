"""``kerasortho data export``: a manifest's images and masks in the layout of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kerasortho.cli.options import processes_option
from kerasortho.words import counted

if TYPE_CHECKING:
    from kerasortho.data.importing.exports_nnunet import Exported

_MANIFEST = click.argument("manifest", type=click.Path(path_type=Path, dir_okay=False))


@click.group("export")
def export_command() -> None:
    """Write a manifest's images and masks for other programs."""


@export_command.command("nnunet")
@_MANIFEST
@click.argument("folder", metavar="OUTDIR", type=click.Path(path_type=Path))
@click.option("--label", default="foreground", show_default=True, help="What the masks mark.")
@click.option("--by", type=click.Choice(["split", "fold"]), help="Column that tells the parts, if there are both.")
@processes_option
def nnunet_command(manifest: Path, folder: Path, **chosen: Any) -> None:
    """A dataset of nnU-Net (version 2) in the new folder OUTDIR, such as Dataset501_Bones.

    Images of the split test go to imagesTs; folds, or train and val, to splits_final.json.
    """
    from kerasortho.data.importing.exports_nnunet import export_nnunet

    _report(export_nnunet(manifest, folder, what="writing cases", **chosen))


@export_command.command("coco")
@_MANIFEST
@click.argument("output", metavar="OUT.json", type=click.Path(path_type=Path))
@click.option("--category", default="foreground", show_default=True, help="What the masks mark.")
@click.option("--split", metavar="NAME", help="Only the images of this split.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.json if it exists.")
@processes_option
def coco_command(manifest: Path, output: Path, **chosen: Any) -> None:
    """A COCO file of polygons and run lengths that give exactly the same masks again."""
    from kerasortho.data.importing.exports_coco import export_coco

    _report(export_coco(manifest, output, what="tracing masks", **chosen))


def _report(exported: Exported) -> None:
    for note in exported.notes:
        click.echo(note, err=True)
    click.echo(f"Wrote {exported.path}: {counted(exported.images, 'image')}.")
